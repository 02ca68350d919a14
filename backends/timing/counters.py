"""What is asked of the machine, outside every span: clock, switches, faults, memory, CPUs."""

from __future__ import annotations

import math
import sys
import time
from array import array
from typing import Any, Callable, Dict, Optional

try:
    import resource
except ImportError:  # not a POSIX system
    resource = None  # type: ignore[assignment]

CLOCK_READS = 10_000


def clock_facts(clock: Callable[[], int], name: str) -> Dict[str, Any]:
    """Return name, resolution and the spread of successive differences of a clock.

    Measurement method 2.1: 10,000 differences; min, median and p99.9 (nearest rank) in ns.
    """
    reads = array("q", bytes(8 * (CLOCK_READS + 1)))
    for index in range(CLOCK_READS + 1):
        reads[index] = clock()
    differences = sorted(after - before for before, after in zip(reads, reads[1:]))
    resolution = time.get_clock_info("perf_counter").resolution if name == "perf_counter" else 1e-9
    return {
        "name": name,
        "resolution_s": resolution,
        "difference_ns": {
            "min": differences[0],
            "median": nearest_rank(differences, 0.5),
            "p999": nearest_rank(differences, 0.999),
        },
    }


def nearest_rank(ordered: Any, p: float) -> int:
    """Return the smallest of the ordered values that at least a share `p` does not exceed."""
    rank = max(1, math.ceil(p * len(ordered)))
    value: int = ordered[rank - 1]
    return value


def usage() -> Dict[str, int]:
    """Return context switches, page faults and CPU time of this process so far.

    Where the system does not count them, switches and faults are absent.
    """
    counters = {"cpu_ns": time.process_time_ns()}
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        counters["voluntary_switches"] = used.ru_nvcsw
        counters["involuntary_switches"] = used.ru_nivcsw
        counters["major_faults"] = used.ru_majflt
        counters["minor_faults"] = used.ru_minflt
    return counters


def major_faults() -> Optional[int]:
    """Return the page faults of this process that waited for a disk, None where not counted."""
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def difference(before: Dict[str, int], after: Dict[str, int]) -> Dict[str, int]:
    """Return what was counted between two calls of `usage`."""
    return {name: after[name] - before[name] for name in before}


def peak_rss_bytes() -> Optional[int]:
    """Return the largest resident size of this process, None where it is not known."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""What disturbed an iteration: asked before and after its span, never inside (method, section 7).

Each column holds one integer per iteration. What the system does not tell has no column.
"""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from backends.timing import counters

Column = Any  # array("q"), which is no generic type at run time
Reading = Callable[[], int]

TASKS = Path("/proc/self/task")
STAT = "/proc/stat"
STEAL_FIELD = 8
FREQUENCY = "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq"


class Causes:
    """Columns of one run of iterations.

    Args:
        count: iterations.
    """

    def __init__(self, count: int) -> None:
        self._files: List[int] = []
        self._spans: Dict[str, Reading] = {}
        self._levels: Dict[str, Reading] = {}
        self._find()
        self._columns: Dict[str, Column] = {
            name: array("q", bytes(8 * count)) for name in (*self._spans, *self._levels)
        }
        self._collected = array("q", bytes(8 * count))
        self._watched = [(read, self._columns[name]) for name, read in self._spans.items()]
        self._looked = [(read, self._columns[name]) for name, read in self._levels.items()]

    def _find(self) -> None:
        waits = [one for one in map(self._open, _task_files()) if one is not None]
        if waits:
            self._spans["runqueue_ns"] = lambda: sum(_field(one, 1) for one in waits)
        stat = self._open(STAT)
        if stat is not None and len(os.pread(stat, 256, 0).split()) > STEAL_FIELD:
            self._spans["steal_ticks"] = lambda: _field(stat, STEAL_FIELD)
        if counters.major_faults() is not None:
            self._spans["major_faults"] = lambda: counters.major_faults() or 0
        cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        clocks = [one for one in (self._open(FREQUENCY % cpu) for cpu in cpus) if one is not None]
        if clocks:
            self._levels["frequency_khz"] = lambda: max(_field(one, 0) for one in clocks)

    def _open(self, path: str) -> Optional[int]:
        try:
            found = os.open(path, os.O_RDONLY)
            self._files.append(found)
            os.pread(found, 1, 0)
        except (OSError, AttributeError):
            return None
        return found

    def before(self, index: int) -> None:
        """Read what is counted, before the span of an iteration."""
        for read, column in self._watched:
            column[index] = -read()

    def after(self, index: int) -> None:
        """Turn the readings into what was counted inside; look at levels."""
        for read, column in self._watched:
            column[index] += read()
        for read, column in self._looked:
            column[index] = read()

    def collected(self, index: int) -> None:
        """Note that a garbage collection ran just before an iteration."""
        self._collected[index] = 1

    def answer(self) -> Dict[str, List[int]]:
        """Return the columns by name."""
        found = {name: column.tolist() for name, column in self._columns.items()}
        found["after_collection"] = self._collected.tolist()
        return found

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.pop())


class NoCauses:
    """For a clock that is not the machine's: what disturbs the machine does not disturb it."""

    def before(self, index: int) -> None:
        """Ask nothing."""

    def after(self, index: int) -> None:
        """Ask nothing."""

    def collected(self, index: int) -> None:
        """Note nothing."""

    def answer(self) -> Dict[str, List[int]]:
        """Return no column."""
        return {}

    def close(self) -> None:
        """Have nothing to close."""


def _task_files() -> List[str]:
    try:
        return [str(task / "schedstat") for task in TASKS.iterdir()]
    except OSError:
        return []


def _field(file: int, place: int) -> int:
    """Return one number of a file of numbers; 0 when it is gone, as a finished thread's is."""
    try:
        return int(os.pread(file, 256, 0).split()[place])
    except (OSError, IndexError, ValueError):
        return 0

"""The processor: its name, the cores this process may use, thread counts."""

from __future__ import annotations

import importlib
import os
import platform
from pathlib import Path
from typing import List, Optional

FLAGS = ("flags", "Features")
"""What /proc/cpuinfo heads its list of extensions with, on x86 and on Arm."""
VECTOR = ("avx", "amx", "sse", "ssse", "fma", "f16c", "asimd", "sve", "sme", "i8mm", "bf16")
"""What the names of vector extensions start with there."""
ISA_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_CPU_ISA_HINTS")
"""Variables that limit which extensions kernels use."""


def threads() -> Optional[int]:
    """Return how many threads this process really has, None where it is not known."""
    try:
        with Path("/proc/self/status").open(encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("Threads:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """Return the processor's name."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as facts:
            for line in facts:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def vector_extensions() -> List[str]:
    """Return the vector extensions this process may use, and every limit set on them.

    Machines of one name differ in them, and a library's limit or a hypervisor hides some. numpy
    asks the processor itself; the system's list knows more names.
    """
    seen = set()
    for module in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        try:
            features = importlib.import_module(module).__cpu_features__
        except (ImportError, AttributeError):  # another version of numpy
            continue
        seen = {name for name, here in features.items() if here}
        break
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as facts:
            flags = next((line for line in facts if line.startswith(FLAGS)), "")
        seen.update(flag for flag in flags.partition(":")[2].split() if flag.startswith(VECTOR))
    except OSError:
        pass
    seen.update(f"{name}={os.environ[name]}" for name in ISA_LIMITS if name in os.environ)
    return sorted(seen)

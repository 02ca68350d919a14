"""The failures that the fake backend acts out."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Callable, Dict

FAILURES = (
    "", "probe", "compile", "load", "run", "hang", "exit", "segv", "kill", "garbage", "half",
    "noise", "flood", "memory", "clock",
)  # fmt: skip
FLOOD_BYTES = 1 << 24
MEMORY_BYTES = 1 << 28
"""What a scripted shortage of memory leaves to the process."""


def _hang() -> None:
    while True:
        time.sleep(3600)


ANSWERS = {"garbage": b"this is no JSON\n", "half": b'{"id": 7, "ok": tr'}
ENDINGS: Dict[str, Callable[[], None]] = {
    "hang": _hang,
    "exit": lambda: os._exit(3),
    "half": lambda: os._exit(0),
    "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def use_up_memory() -> None:
    """Ask for more memory than a limit set here allows.

    Raises:
        MemoryError: always, before the machine runs short.
    """
    import resource

    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    used = int(pages) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, hard))
    bytearray(2 * MEMORY_BYTES)

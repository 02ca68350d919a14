"""The decoder step under different thread settings, alone and beside busy processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from backends import counters
from benchmarks import forms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PAUSE_S = 0.02
"""An idle thread that spins stops after some milliseconds."""
BATCHES = (1, 8)
SETTINGS: Mapping[str, Mapping[str, bool | int]] = {
    "default": {},
    "one thread": {"intra_threads": 1},
    "spinning": {"spinning": True},
    "blocks": {"dynamic_blocks": 4},
}


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep so many CPUs busy."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


def rows(
    folders: Mapping[str, Path], names: Sequence[str], turns: int | None
) -> Iterator[forms.Row]:
    """Yield the decoder step of the forms named, under every setting."""
    for name in names:
        tried = [
            forms.Form(setting, folders[name], options) for setting, options in SETTINGS.items()
        ]
        for count in (0, counters.cpus()):
            with neighbours(count):
                found = forms.measure(
                    tried, "step", turns, base=tried[0], batches=BATCHES, pause_s=PAUSE_S
                )
                for row in found:
                    beside = f"beside {count} busy processes" if count else "alone"
                    yield replace(row, work=f"{row.work}, {name}, {beside}")

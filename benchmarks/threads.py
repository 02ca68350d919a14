"""The decoder step under different thread settings, alone and beside busy processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backends import processor, registry
from backends.base import check_options
from backends.errors import OptionError
from benchmarks import table, turns, works
from benchmarks.contestants import BACKEND_ENGINE, FLOAT32, REFERENCE, Contestant
from benchmarks.files import Files
from benchmarks.progress import Progress
from benchmarks.turns import PAUSE_S, Seat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.works import Setup


BATCHES = (1, 8)
BASE = "default"
SPIN = "spin_us"
SETTINGS: Mapping[str, Mapping[str, bool | int]] = {
    BASE: {},
    "asleep": {SPIN: 0},
    "20 us": {SPIN: 20},
    "50 us": {SPIN: 50},
    "200 us": {SPIN: 200},
    "forever": {SPIN: 1_000_000},
    "one thread": {"intra_threads": 1},
    "blocks": {"dynamic_blocks": 4},
}
QUANTS = {"fused": FLOAT32, "int8": "qint8_mixed_float32"}


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


def refused(setting: str) -> str | None:
    """Return why the backend does not take a setting, None where it does."""
    try:
        check_options(registry.find(REFERENCE).options, dict(SETTINGS[setting]), REFERENCE)
    except OptionError as error:
        return str(error)
    return None


def groups(setup: Setup, folder: Path, count: int | None) -> Iterator[dict[str, Any]]:
    """Yield the decoder step of each form and batch, everybody under every setting.

    Args:
        setup: the model.
        folder: an existing folder for model files and compiled models.
        count: turns; None: as many as the work has.
    """
    work = works.WORKS[works.STEP]
    pieces = [
        (name, rows, beside)
        for name in QUANTS
        for rows in BATCHES
        for beside in dict.fromkeys((0, 1, processor.cpus()))
    ]
    able = [setting for setting in SETTINGS if refused(setting) is None]
    progress = Progress([work.name] * len(pieces))
    files = Files(setup, folder, [work.name], progress.notify)
    for name, rows, beside in pieces:
        said = f"beside {beside} busy process{'es' * (beside > 1)}" if beside else "alone"
        label = f"{works.label(work.name, setup)}, {name}, {said}"
        progress.begin(f"{label}, batch {rows}", count or work.turns)
        seats = [_seat(setting, QUANTS[name], rows, files) for setting in able]
        with neighbours(beside):
            turns.take(seats, work, count or work.turns, progress.say)
        progress.end()
        yield {
            "work": work.name, "label": label, "rows": rows, "unit": work.unit, "base": BASE,
            "items": works.items(work.name, setup, rows), "counts": {},
            "contestants": [one.as_dict() for one in seats],
        }  # fmt: skip


def _seat(setting: str, quant: str, rows: int, files: Files) -> Seat:
    options = SETTINGS[setting]
    one = Contestant(setting, BACKEND_ENGINE, REFERENCE, quant, options)
    seat = Seat(setting, files.task(works.STEP, one, rows))
    # An idle thread that spins disturbs whoever comes next until it sleeps.
    return replace(seat, linger_s=PAUSE_S + options.get(SPIN, 0) / 1e6)


def lines(setup: Setup, folder: Path, count: int | None) -> Iterator[str]:
    """Yield the lines of the table; see `groups`."""
    yield from table.lines(list(groups(setup, folder, count)), None)
    reasons = {setting: refused(setting) for setting in SETTINGS}
    yield from table.absent([(name, reason) for name, reason in reasons.items() if reason])

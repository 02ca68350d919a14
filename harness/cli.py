"""One command, start to end: plan -> measure -> show -> save -> report -> exit status."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import (
    baselines,
    comparison,
    compat,
    compose,
    cooling,
    exclusive,
    extensions,
    fitness,
    forecast,
    naming,
    results,
    resume,
    store,
    trust,
)
from harness import folder as folders
from harness.config import FailOn, Retry
from harness.console import Console
from harness.errors import ExitStatus, UsageError
from harness.interrupt import Interrupt
from harness.plan import Planner, Side
from harness.sweep import Session, Sweep, device_names
from harness.units import parse_duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.compare import Comparison
    from harness.config import Config
    from harness.plan import PlannedPoint

REPORT_SHARE = 0.1
"""Most of a sweep's time that goes into reports before it ends."""
RENDER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import reports
reports.render(Path(sys.argv[2]))
"""


def run(configs: Sequence[Config]) -> ExitStatus:
    """Measure the points of one command and leave their results, log and report behind.

    Raises:
        UsageError: something cannot be measured as asked; nothing has been measured.
    """
    first, console = configs[0], Console()
    begun = time.monotonic()
    for line in (*extensions.broken(), *fitness.set_aside()):
        console.notice(line)
    store.mend_folders(console.notice)
    planner = Planner(console.notice, here=not compose.launches)
    points = planner.plan(configs)
    logs = _log_files(points)
    beside = baselines.beside(points, planner)
    points = [*points, *beside.points]
    asked = resume.asked(points, rounds=first.repeat, retry=first.retry is Retry.failed)
    session = Session(
        command=shlex.join(["python", "-m", "harness", *sys.argv[1:]]),
        arguments=compose.without_session(sys.argv[1:]),
        asked=asked,
        place=_place(first, asked, console),
        pairs=beside.pairs,
        budget=first.budget or "",
    )
    if first.plan:
        _show_plan(points, session, first, console, session.place.folder)
        return ExitStatus.FINE
    for point in () if compose.launches else points:
        cooling.check(point.config.measure)
        exclusive.check(device_names([point]))
    if first.budget:
        session.deadline = begun + (parse_duration(first.budget) or 0)
    statuses = set()
    with Interrupt(console) as interrupt:
        session.stopped = lambda: interrupt.asked
        while True:
            statuses.add(_round(points, session, logs, first, console))
            place = session.place
            if place.number >= first.repeat or interrupt.asked:
                return ExitStatus.worst(statuses)
            session.place = resume.Place(None, place.number + 1, place.group)


def _show_plan(
    points: Sequence[PlannedPoint],
    session: Session,
    config: Config,
    console: Console,
    folder: Path | None,
) -> None:
    """Show the plan.

    Raises:
        UsageError: the disk has no room for the results.
    """
    outputs = Path(config.outputs) if folder is None else folder.parent
    rows = forecast.forecast(points, outputs, folder, retry=session.asked.retry)
    total = forecast.total(rows, outputs)
    console.plan(rows, total, folder)
    if total.size_bytes > total.free_bytes and not config.plan:
        raise UsageError(
            f"outputs={outputs}: {size(total.free_bytes)} free, about {size(total.size_bytes)} "
            "needed; `python -m harness clean` finds what may go, or name another folder"
        )


def _place(config: Config, asked: resume.Asked, console: Console) -> resume.Place:
    if config.resume == "never":
        return resume.anew()
    if config.resume == "auto":
        place = resume.automatic(Path(config.outputs), asked, console.notice)
    else:
        place = resume.named(Path(config.resume), asked)
    if place.folder is None or not compose.launches:
        return place
    try:
        trust.refuse_launcher(f"resume={config.resume}", place.folder, config.allow)
    except UsageError as error:
        if config.resume != "auto":
            raise
        console.notice(f"{place.folder} is not continued ({error}): measured anew")
        return resume.anew()
    return place


def _round(
    points: Sequence[PlannedPoint],
    session: Session,
    logs: Mapping[str, Log],
    config: Config,
    console: Console,
) -> ExitStatus:
    """Measure the sweep once, into one folder."""
    with _held(session, config, console) as (folder, lock):
        session.worker = lock.worker
        sweep = Sweep(points, folder, console, session)
        session.point = _Saved(sweep, logs).point
        _show_plan(points, session, config, console, folder)
        status = sweep.run(_elsewhere(console))
        console.say()
        console.table(sweep.documents())
        compared = _compared(config, folder, console)  # before the report, which links it
        problem = _render(folder)
        for path in (folder / "summary.csv", folder / "report.html"):
            if path.is_file():
                console.say(str(path))
        if problem:
            console.notice(f"{folder}: the report cannot be written ({problem})")
        return ExitStatus.worst({status, _judge(config, compared, console)})


@dataclass(frozen=True)
class _Compared:
    """The comparison with the baseline, and the files it was written to."""

    found: Comparison
    paths: Sequence[Path]


def _compared(config: Config, folder: Path, console: Console) -> _Compared | None:
    """Compare with the baseline and write what was found; None where no baseline was asked for."""
    if config.baseline is None:
        return None
    from reports import comparisons  # noqa: PLC0415 - shown after measuring

    found = baselines.judge(folder, delta=comparison.MINIMUM_EFFECT)
    try:
        return _Compared(found, comparisons.write(found, folder))
    except OSError as error:  # the verdicts are said all the same
        console.notice(f"{folder}: the comparison cannot be written ({error.strerror})")
        return _Compared(found, ())


def _judge(config: Config, compared: _Compared | None, console: Console) -> ExitStatus:
    """Say what the comparison with the baseline found, where one was asked for."""
    if compared is None:
        return ExitStatus.FINE
    from reports import comparisons  # noqa: PLC0415 - shown after measuring

    console.say()
    console.say(comparisons.to_text(compared.found).rstrip())
    for path in compared.paths:
        console.say(str(path))
    return compared.found.status(fail_on_unresolved=config.fail_on is FailOn.unresolved)


def _elsewhere(console: Console) -> Callable[[Sweep], None] | None:
    """Return what measures the points on other machines, when a launcher is asked for."""
    if not compose.launches:
        return None
    from harness import fleet  # noqa: PLC0415 - only for many machines

    return partial(fleet.measure, fleet=compose.launches[0], tell=console.notice)


@contextlib.contextmanager
def _held(
    session: Session, config: Config, console: Console
) -> Iterator[tuple[Path, folders.Lock]]:
    folder = session.place.folder
    if folder is not None:
        try:
            lock = folders.Lock(folder).__enter__()
        except UsageError as error:
            if config.resume != "auto":
                raise
            if isinstance(error, folders.LockFileError):
                console.notice(f"{error}; measured anew meanwhile")
            folder = None  # another process was faster: this one measures for itself
            session.place = resume.anew()
        else:
            results.drop_leavings(folder)
            how = "was killed" if lock.left_behind else "ended early"
            console.notice(f"continuing {folder}, which {how}; resume=never starts afresh")
    if folder is None:
        folder = folders.create(Path(config.outputs))
        lock = folders.Lock(folder).__enter__()
    try:
        yield folder, lock
    finally:
        lock.__exit__()


class _Saved:
    """Keeps the original's log and the report beside the results, point by point."""

    def __init__(self, sweep: Sweep, logs: Mapping[str, Log]) -> None:
        self._sweep = sweep
        self._logs = logs
        self._next = 0.0

    def point(self, document: Mapping[str, Any]) -> None:
        """Write a finished point's log, and the report unless the last one was just made."""
        folder = self._sweep.folder
        if document["campaign"]["side"] != Side.CANDIDATE:
            return
        log = self._logs[document["point"]["id"]].within(folder)
        if document["summary"]:
            compat.write_log(log, document)
        begun = time.monotonic()
        if all(point.finished for point in self._sweep.points) or begun < self._next:
            return  # the last report is made when the sweep has ended
        _render(folder)
        ended = time.monotonic()
        self._next = ended + (ended - begun) / REPORT_SHARE


def _render(folder: Path) -> str | None:
    """Render the report in a process of its own, so that this one stays small; return what failed.

    No page can end a sweep.
    """
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", RENDER, root, str(folder)],
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if not done.returncode:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


@dataclass(frozen=True)
class Log:
    """Where the original's log of one point goes."""

    name: str
    """In a sweep's folder; no other point's log has it."""
    asked: Path | None = None
    """The file the command named instead."""

    def within(self, folder: Path) -> Path:
        """Return the file, for a sweep's folder."""
        return self.asked or folder / "logs" / self.name


def _log_files(points: Sequence[PlannedPoint]) -> dict[str, Log]:
    """Return where the log of each point goes, by the point's id.

    Raises:
        UsageError: two points would write the same file.
    """
    records = [one.point.record for one in points]
    asked = [one.config.log_file for one in points]
    places = [os.path.normpath(one) for one in asked if one]
    if len(set(places)) < len(places):
        keys = {"quant", "bs", "il", *naming.varying(records)}
        known = {
            "backend": "backend.name",
            "scenario": "scenario.kind",
            "measure": "measure.profile",
        }
        name = "_".join(f"${{{known.get(key, key)}}}" for key in sorted(keys, key=naming.rank))
        raise UsageError(
            f"log_file={next(filter(None, asked))}: {len(places)} points would write the same "
            f"file; use log_file='{name}_log_perf' or leave it out"
        )
    names = naming.log_names([compat.log_name({"point": one}) for one in records], records)
    return {
        one.point.id: Log(name, Path(named) if named else None)
        for one, name, named in zip(points, names, asked, strict=True)
    }

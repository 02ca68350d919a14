"""One command, start to end: plan -> measure -> show -> save -> report -> exit status."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import files
from harness.analysis import verdicts
from harness.commands.console import Console
from harness.commands.interrupt import Interrupt
from harness.commands.live_report import LiveReport, Log, log_files, render
from harness.commands.named import named
from harness.config.choices import FailOn, Retry
from harness.errors import ExitStatus, UsageError
from harness.judging import side_by_side
from harness.machine import host
from harness.measuring import cooling
from harness.measuring.sweep import Session, Sweep, device_names
from harness.models import store
from harness.planning import baselines, compose, forecast, plugins, resume, trust
from harness.planning.planner import Planner
from harness.records import sweep_folder
from harness.units import parse_duration, size
from harness.workers import device_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.config.schema import Config
    from harness.judging.comparison import Comparison
    from harness.planning.planner import PlannedPoint


def run(configs: Sequence[Config]) -> ExitStatus:
    """Measure the points of one command and leave their results, log and report behind.

    Raises:
        UsageError: something cannot be measured as asked; nothing has been measured.
    """
    first, console = configs[0], Console()
    begun = time.monotonic()
    for line in (*plugins.broken(), *host.set_aside()):
        console.notice(line)
    store.mend_folders(console.notice)
    planner = Planner(console.notice, here=not compose.launches)
    points = planner.plan(configs)
    logs = log_files(points)
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
        device_lock.check(device_names([point]))
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
            session.place = resume.SweepPlace(None, place.number + 1, place.group)


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


def _place(config: Config, asked: resume.SweepRequest, console: Console) -> resume.SweepPlace:
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
        session.point = LiveReport(sweep, logs).point
        _show_plan(points, session, config, console, folder)
        status = sweep.run(_elsewhere(console))
        console.say()
        console.table(sweep.documents())
        compared = _compared(config, folder, console)  # before the report, which links it
        problem = render(folder)
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
    found = side_by_side.judge(folder, delta=verdicts.MINIMUM_EFFECT)
    try:
        return _Compared(found, named("reports.exports.comparison:write")(found, folder))
    except OSError as error:  # the verdicts are said all the same
        console.notice(f"{folder}: the comparison cannot be written ({error.strerror})")
        return _Compared(found, ())


def _judge(config: Config, compared: _Compared | None, console: Console) -> ExitStatus:
    """Say what the comparison with the baseline found, where one was asked for."""
    if compared is None:
        return ExitStatus.FINE
    console.say()
    console.say(named("reports.exports.comparison:to_text")(compared.found).rstrip())
    for path in compared.paths:
        console.say(str(path))
    return compared.found.status(fail_on_unresolved=config.fail_on is FailOn.unresolved)


def _elsewhere(console: Console) -> Callable[[Sweep], None] | None:
    """Return what measures the points on other machines, when a launcher is asked for."""
    if not compose.launches:
        return None
    from harness.measuring import jobs  # noqa: PLC0415 - only for many machines

    return partial(jobs.measure, fleet=compose.launches[0], tell=console.notice)


@contextlib.contextmanager
def _held(
    session: Session, config: Config, console: Console
) -> Iterator[tuple[Path, sweep_folder.Lock]]:
    folder = session.place.folder
    if folder is not None:
        try:
            lock = sweep_folder.Lock(folder).__enter__()
        except UsageError as error:
            if config.resume != "auto":
                raise
            if isinstance(error, sweep_folder.LockFileError):
                console.notice(f"{error}; measured anew meanwhile")
            folder = None  # another process was faster: this one measures for itself
            session.place = resume.anew()
        else:
            files.drop_leavings(folder)
            how = "was killed" if lock.left_behind else "ended early"
            console.notice(f"continuing {folder}, which {how}; resume=never starts afresh")
    if folder is None:
        folder = sweep_folder.create(Path(config.outputs))
        lock = sweep_folder.Lock(folder).__enter__()
    try:
        yield folder, lock
    finally:
        lock.__exit__()

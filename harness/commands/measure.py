"""One command, start to end: plan -> measure -> show -> save -> report -> exit status."""

from __future__ import annotations

import shlex
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from harness.commands import places
from harness.commands.against_baseline import compared, judged
from harness.commands.console import Console
from harness.commands.interrupt import Interrupt
from harness.commands.live_report import LiveReport, Log, log_files, render
from harness.config.choices import Retry
from harness.errors import ExitStatus
from harness.machine import host
from harness.measuring import cooling, jobs
from harness.measuring.sweep import Session, Sweep, device_names
from harness.models import store
from harness.planning import baselines, compose, plugins, resume
from harness.planning.planner import Planner
from harness.units import parse_duration
from harness.workers import device_lock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.planning.compose import Composition
    from harness.planning.planner import PlannedPoint


def run(composition: Composition) -> ExitStatus:
    """Measure the points of one command and leave their results, log and report behind.

    Raises:
        UsageError: something cannot be measured as asked; nothing has been measured.
    """
    first, console, begun = composition.configs[0], Console(), time.monotonic()
    for line in (*plugins.broken(), *host.set_aside()):
        console.notice(line)
    store.mend_folders(console.notice)
    planner = Planner(console.notice, here=composition.fleet is None)
    candidates = planner.plan(composition.configs)
    logs, beside = log_files(candidates), baselines.beside(candidates, planner)
    points = [*candidates, *beside.points]
    asked = resume.asked(points, rounds=first.repeat, retry=first.retry is Retry.failed)
    session = Session(
        command=shlex.join(["python", "-m", "harness", *sys.argv[1:]]),
        arguments=compose.without_session(sys.argv[1:]),
        asked=asked,
        place=places.place(first, asked, console, launched=composition.fleet is not None),
        pairs=beside.pairs,
        budget=first.budget or "",
    )
    if first.plan:
        places.show_plan(points, session, first, console, session.place.folder)
        return ExitStatus.FINE
    for point in points if composition.fleet is None else ():
        cooling.check(point.config.measure)
        device_lock.check(device_names([point]))
    if first.budget:
        session.deadline = begun + (parse_duration(first.budget) or 0)
    statuses = set()
    with Interrupt(console) as interrupt:
        session.stopped = lambda: interrupt.asked
        while True:
            statuses.add(_round(points, session, logs, composition, console))
            place = session.place
            if place.number >= first.repeat or interrupt.asked:
                return ExitStatus.worst(statuses)
            session.place = resume.SweepPlace(None, place.number + 1, place.group)


def _round(
    points: Sequence[PlannedPoint],
    session: Session,
    logs: Mapping[str, Log],
    composition: Composition,
    console: Console,
) -> ExitStatus:
    """Measure the sweep once, into one folder."""
    config, fleet = composition.configs[0], composition.fleet
    with places.held(session, config, console) as (folder, lock):
        session.worker = lock.worker
        sweep = Sweep(points, folder, console, session)
        session.point = LiveReport(sweep, logs).point
        places.show_plan(points, session, config, console, folder)
        elsewhere = (
            None if fleet is None else partial(jobs.measure, fleet=fleet, tell=console.notice)
        )
        status = sweep.run(elsewhere)
        console.say()
        console.table(sweep.documents())
        found = compared(config, folder, console)  # before the report, which links it
        problem = render(folder)
        for path in (folder / "summary.csv", folder / "report.html"):
            if path.is_file():
                console.say(str(path))
        if problem:
            console.notice(f"{folder}: the report cannot be written ({problem})")
        return ExitStatus.worst({status, judged(config, found, console)})

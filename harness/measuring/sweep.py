"""Runs the points of one command: blocks of fresh processes, interleaved in random stored order."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from harness import naming
from harness.analysis import accuracy
from harness.errors import ExitStatus, UsageError, WorkerError, WorkerTimeoutError
from harness.judging import summary
from harness.machine import environment
from harness.measuring import cooling, restore, rounds, stopping
from harness.measuring.listener import Nobody, Progress
from harness.measuring.trial import Trial, now
from harness.models import store
from harness.planning import resume
from harness.planning.resume import LOST
from harness.records import result_file
from harness.records.identity import Side
from harness.records.ledger import Ledger
from harness.records.sweep_folder import SCHEMA
from harness.records.sweep_folder import facts as sweep_facts
from harness.units import duration
from harness.workers import device_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.measuring.listener import Listener
    from harness.measuring.outcome import Outcome
    from harness.planning.planner import PlannedPoint


@dataclass
class Session:
    """How this command measures: what it was, whom it tells, and when it has to end."""

    command: str
    arguments: Sequence[str]
    """The command line without what concerns one session only."""
    asked: resume.SweepRequest
    place: resume.SweepPlace
    pairs: Mapping[str, str] = field(default_factory=dict)
    """From the id of a candidate to that of the baseline measured beside it."""
    stopped: Callable[[], bool] = lambda: False
    worker: Callable[[int], None] = lambda _: None
    """Told the process id of each worker."""
    point: Callable[[Mapping[str, Any]], None] = lambda _: None
    """Told the document of each point that ends, when its file and the summary are written."""
    deadline: float | None = None
    """On the monotonic clock: when the budget is used up."""
    budget: str = ""
    """The budget as it was asked for."""
    noted: bool = True
    """The user's ledger is told of the files written."""
    alone: bool = False
    """This process measures one point of a sweep whose folder another one keeps."""


class Sweep:
    """The points of one command and the folder their results go to."""

    def __init__(
        self, points: Sequence[PlannedPoint], folder: Path, told: Listener, session: Session
    ) -> None:
        self.folder = folder
        self.listener = told
        self.session = session
        self.points = [
            Trial(planned, number, folder / planned.place, campaign=folder.name)
            for number, planned in enumerate(points, 1)
        ]
        self.names = naming.settings(
            [one.point.record for one in points], [one.side.value for one in points]
        )
        """What the terminal calls the points, in their order."""
        self._varies: dict[int, str] = {}
        """What varies of each point among those of its side, by number."""
        for side in self._sides():
            mine = [one for one in self.points if one.planned.side is side]
            texts = naming.varies_text([one.planned.point.record for one in mine])
            self._varies |= zip((one.number for one in mine), texts, strict=True)
        self.ledger = Ledger(folder, interpreters(points), told.notice)
        self._parts: dict[int, summary.SummaryPart] = {}
        self._inaccurate = False
        """Some point's outputs are too far from the reference's."""
        self._unchecked = False
        """Some point's outputs should have been held against the reference's and could not be."""

    def run(self, measure: Callable[[Sweep], None] | None = None) -> ExitStatus:
        """Measure every point; return the exit status. No point's failure ends the sweep.

        Args:
            measure: measures the points elsewhere; None: here.

        Raises:
            UsageError: the folder cannot be written to; nothing has been measured.
        """
        facts = {side: self._facts(side) for side in self._sides()}
        try:
            for side, one in facts.items():
                result_file.write_sweep(self._folder_of(side), one, self._note)
        except OSError as error:
            raise UsageError(f"{self.folder}: {_unwritable(error)}; name another folder") from error
        (measure or Sweep.measure)(self)
        self._guarded(self.write_summary)
        try:
            for side, one in facts.items():
                ended = {"at": now(), "states": self._states(side)}
                result_file.write_sweep(self._folder_of(side), {**one, "ended": ended}, self._note)
        except OSError as error:
            self.listener.notice(f"{self.folder}: {_unwritable(error)}")
        return self.status()

    def _note(self, content: bytes) -> None:
        if self.session.noted:
            self.ledger.note(content)

    def _sides(self) -> list[Side]:
        return list(dict.fromkeys(point.planned.side for point in self.points))

    def _folder_of(self, side: Side) -> Path:
        folder = self.folder if side is Side.CANDIDATE else self.folder / side.value
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _states(self, side: Side) -> dict[str, str]:
        """Return how each point ended; a sweep is unfinished as long as any side is."""
        return {
            one.planned.point.id
            if one.planned.side is side
            else f"{one.planned.side.value} {one.planned.point.id}": LOST
            if one.stop_reason == LOST
            else one.state
            for one in self.points
        }

    def measure(self) -> None:
        """Measure every point here, in blocks."""
        for point in self.points:
            store.use_compiled(point.planned.artefacts)
            self._open(point)
        while any(not point.finished for point in self.points) and not self._leaving():
            self._block()
        for point in self.points:
            if not point.finished:
                self.end(point, "interrupted", self._why_left(point))

    def adopt(self, point: Trial) -> None:
        """Take over the result of a point that was measured elsewhere, or by an earlier session."""
        document = restore.restore(point, retry=False)
        if document is not None:
            self._show(point, document)

    def _open(self, point: Trial) -> None:
        """Take up what earlier sessions left of a point, or end it at once where that is due."""
        try:
            point.folder.mkdir(parents=True, exist_ok=True)
            document = restore.restore(point, retry=self.session.asked.retry)
        except OSError as error:
            self.end(point, "failed", _unwritable(error))
            return
        if document is not None:
            # An earlier session may have been killed between this file and what follows from it.
            self._parts[point.number] = summary.summary_part(document, self._varies[point.number])
            self._judge(document)
            self._guarded(partial(self.session.point, document))
        elif point.planned.skip:
            self.end(point, "skipped", point.planned.skip)
        elif point.finished:  # killed after the process that failed, before its result
            self.end(point, point.state, point.reason)
        elif point.done:
            self._stop_if_due(point)

    def _facts(self, side: Side) -> dict[str, Any]:
        """Return what is going to be done on one side, for its `sweep.json`."""
        session, before = self.session, sweep_facts(self._folder_of(side))
        started = now()
        return {
            "schema": SCHEMA,
            "command": before.get("command", session.command),
            "arguments": list(session.arguments),
            "key": session.asked.key,
            "conditions": dict(session.asked.conditions),
            "repeat": {
                "number": session.place.number,
                "of": session.asked.rounds,
                "group": session.place.group,
            },
            "started": before.get("started", started),
            "sessions": [
                *before.get("sessions", ()),
                {"started": started, "command": session.command},
            ],
            "ended": None,
            "side": side.value,
            "pairs": dict(session.pairs) if side is Side.CANDIDATE else {},
            "provenance": environment.provenance(session.command),
            "points": [
                {
                    **trial.planned.point.record,
                    "folder": trial.planned.point.folder,
                    "skip": trial.planned.skip,
                    "weights": dict(trial.planned.weights),
                }
                for trial in self.points
                if trial.planned.side is side
            ],
        }

    def _block(self) -> None:
        """Measure one process of every point that lacks this block's."""
        block = 1 + min(point.done for point in self.points if not point.finished)
        # Whatever an earlier session measured of this block keeps its place in the order.
        order = [point for point in self.points if not point.finished or point.done >= block]
        seed = order[0].planned.config.measure.order_seed
        random.Random(f"{seed}:{block}").shuffle(order)  # noqa: S311 - an order, not a secret
        for place, point in enumerate(order, 1):
            if self._leaving():
                return
            if not point.finished and point.done < block:
                self._process(point, block, place)

    def _process(self, point: Trial, block: int, place: int) -> None:
        try:
            point.begin()
            rested = cooling.rest(
                point.planned.config.measure, self._leaving, partial(self._tell, point)
            )
            if self._leaving():
                return
            with device_lock.hold(
                device_lock.names(
                    point.planned.probe.get("device") or {}, point.planned.config.devices
                ),
                lambda name: self._tell(point, f"waiting for {name}"),
                self._leaving,
            ):
                if self._leaving():
                    return
                begun = time.monotonic()
                outcome = self._measured(point, block, place)
            outcome.record["rest"] = rested
            if outcome.state != "skipped":
                point.keep(outcome, time.monotonic() - begun)
        except OSError as error:
            self.end(point, "failed", _unwritable(error))
            return
        except UsageError as error:  # the lock of a device is no longer what it was
            self.end(point, "failed", str(error))
            return
        except WorkerTimeoutError as error:
            self.end(point, "timeout", str(error))
            return
        if outcome.state != "ok":
            self.end(point, outcome.state, outcome.reason)
        else:
            self._stop_if_due(point)

    def _measured(self, point: Trial, block: int, place: int) -> Outcome:
        settings = point.planned.config.measure
        seconds = stopping.seconds_for_next(settings, done=point.done, spent_s=point.spent_s)
        left_s = self._budget_left_s()
        if left_s is not None:
            seconds = left_s if seconds is None else min(seconds, left_s)
        return rounds.run(
            point.job(),
            point.planned.config.devices,
            index=point.done + 1,
            block=block,
            order=place,
            epoch_ns=point.started["monotonic_ns"],
            seconds=seconds,
            progress=Progress(
                partial(self._tell, point),
                self.session.stopped,
                self.session.worker,
                notice=self.listener.notice,
            ),
            deadline_s=None
            if settings.point_timeout_s is None
            else settings.point_timeout_s - point.spent_s,
        )

    def _tell(self, point: Trial, phase: str) -> None:
        self.listener.progress(
            point.number,
            len(self.points),
            f"{self.name_of(point)}  process {point.done + 1}",
            phase,
            self.seconds_left(),
        )

    def _stop_if_due(self, point: Trial) -> None:
        planned = point.plan
        point.decide()
        if point.plan is not None and planned is None:
            self.listener.notice(
                f"{self.name_of(point)}: after {point.done} processes: "
                f"{point.plan.iterations} iterations in each of about {point.plan.processes} "
                f"processes, about {duration(point.plan.seconds)} in all"
            )
        if point.stop_reason:
            self.end(point, "ok", None)

    def end(self, point: Trial, state: str, reason: str | None) -> None:
        """Write a point's result; show it, and put it into the summary."""
        point.state, point.reason = state, reason
        point.stop_reason = point.stop_reason or ("aborted" if state != "skipped" else None)
        if state == "ok":
            point.hold_against_reference(self.listener.notice)
            point.write_audio()
        document = point.document(self.session.command)
        try:
            point.folder.mkdir(parents=True, exist_ok=True)
            result_file.write_trial(point.folder, document, self._note)
        except OSError as error:
            # Shown, but not in a file; what the journal holds, a later session takes up.
            point.state, point.reason = "failed", _unwritable(error)
            document = point.document(self.session.command)
        self._show(point, document)

    def _show(self, point: Trial, document: Mapping[str, Any]) -> None:
        self.listener.point(point.number, len(self.points), self.name_of(point), document)
        point.settings = {}  # the document has them
        if self.session.alone:
            return
        self._parts[point.number] = summary.summary_part(document, self._varies[point.number])
        self._judge(document)
        self._guarded(self.write_summary)
        self._guarded(partial(self.session.point, document))

    def _judge(self, document: Mapping[str, Any]) -> None:
        self._inaccurate |= accuracy.failed(document)
        self._unchecked |= accuracy.at_fault(document)

    def _guarded(self, write: Callable[[], None]) -> None:
        """Write what follows from the result files; a disk that refuses it ends nothing."""
        try:
            write()
        except OSError as error:
            self.listener.notice(f"summary and report: {_unwritable(error)}")

    def name_of(self, point: Trial) -> str:
        """Return what the terminal calls a point; no other is called so."""
        return self.names[point.number - 1]

    def documents(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield name and result document of each point, in order, one at a time."""
        for point in self.points:
            for path in point.folder.glob(f"{point.trial_id}.json*"):
                yield self.name_of(point), result_file.load_trial(path)

    def write_summary(self) -> None:
        """Write the summary of the points that ended, in the order planned."""
        for side in self._sides():
            numbers = [one.number for one in self.points if one.planned.side is side]
            parts = [self._parts[number] for number in numbers if number in self._parts]
            summary.write_summary(self._folder_of(side), parts)

    # When to leave

    def _budget_left_s(self) -> float | None:
        deadline = self.session.deadline
        return None if deadline is None else deadline - time.monotonic()

    def _leaving(self) -> bool:
        left_s = self._budget_left_s()
        return self.session.stopped() or (left_s is not None and left_s <= 0)

    def _why_left(self, point: Trial) -> str:
        what = f"after {point.done} processes" if point.done else "before it was measured"
        if self.session.stopped():
            return f"interrupted {what}"
        return f"budget={self.session.budget} was used up {what}"

    def seconds_left(self) -> float | None:
        """Return the seconds this sweep still needs, judged by the processes already seen."""
        seen = [p.spent_s / p.done for p in self.points if p.done]
        limits = [
            p.planned.config.measure.time_limit_s / p.planned.config.measure.min_processes
            for p in self.points
            if p.planned.config.measure.time_limit_s is not None
        ]
        typical = sum(seen) / len(seen) if seen else (max(limits) if limits else None)
        if typical is None:
            return None
        left = 0.0
        for point in self.points:
            if point.finished:
                continue
            missing = max(1, point.planned.config.measure.min_processes - point.done)
            each = point.spent_s / point.done if point.done else typical
            left += missing * each
        budget_s = self._budget_left_s()
        return left if budget_s is None else min(left, max(0.0, budget_s))

    def status(self) -> ExitStatus:
        """Return the exit status of the sweep as design decides: the gravest that applies."""
        states = [point.state for point in self.points]
        statuses = set()
        if self.session.stopped():
            statuses.add(ExitStatus.INTERRUPTED)
        if {"failed", "timeout", "interrupted"} & set(states):  # interrupted: by the budget
            statuses.add(ExitStatus.POINTS_FAILED)
        if self._unchecked:
            statuses.add(ExitStatus.ERROR)
        if self._inaccurate:
            statuses.add(ExitStatus.ACCURACY_FAILED)
        if all(state == "skipped" for state in states):
            statuses.add(ExitStatus.NOTHING_MEASURED)
        return ExitStatus.worst(statuses)


def interpreters(points: Sequence[PlannedPoint]) -> list[str]:
    """Return the commands that start the workers of some points, where they were named."""
    named = (one.config.backend.get("python") for one in points)
    return list(dict.fromkeys(str(one) for one in named if one))


def device_names(points: Sequence[PlannedPoint]) -> list[str]:
    """Return what the machine calls the devices of some points, each once."""
    return sorted(
        {
            name
            for one in points
            for name in device_lock.names(one.probe.get("device") or {}, one.config.devices)
        }
    )


def _unwritable(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"results cannot be written: {error.strerror or error}{where}"


def quietly(points: Sequence[PlannedPoint], folder: Path, command: str) -> list[Mapping[str, Any]]:
    """Measure points as any sweep does, without a word, into a new folder.

    Args:
        points: what is measured.
        folder: is made.
        command: what the result files call the command.

    Returns:
        The result documents, in the order the points ended.

    Raises:
        WorkerError: a point could not be measured.
        UsageError: a device cannot be held.
    """
    device_lock.check(device_names(points))
    folder.mkdir(parents=True)
    documents: list[Mapping[str, Any]] = []
    session = Session(
        command=command,
        arguments=(),
        asked=resume.asked(points, rounds=1, retry=False),
        place=resume.anew(),
        point=documents.append,
        noted=bool(interpreters(points)),
    )
    Sweep(points, folder, Nobody(), session).run()
    for document in documents:
        if document["status"]["state"] != "ok":
            raise WorkerError(f"{command}: {document['status']['reason']}")
    return documents

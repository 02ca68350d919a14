"""Runs the points of one command: blocks of fresh processes, interleaved in random stored order."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from harness import accuracy, environment, measure, results, stopping
from harness.errors import ExitStatus
from harness.plan import Side
from harness.trial import Trial, now
from harness.units import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from harness.console import Console
    from harness.plan import PlannedPoint


class Sweep:
    """The points of one command and the folder their results go to."""

    def __init__(
        self,
        points: Sequence[PlannedPoint],
        folder: Path,
        console: Console,
        command: str,
        pairs: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.console = console
        self.command = command
        self.pairs = dict(pairs or {})
        """From the id of a candidate to that of the baseline measured beside it."""
        self.points = [
            Trial(planned, number, folder / planned.place, campaign=folder.name)
            for number, planned in enumerate(points, 1)
        ]
        self.stopped: Callable[[], bool] = lambda: False
        self.documents: list[dict[str, Any]] = []
        """Result documents of the points that ended, in the order they did."""

    def run(self) -> ExitStatus:
        """Measure every point; return the exit status. No point's failure ends the sweep."""
        for side in dict.fromkeys(point.planned.side for point in self.points):
            results.write_sweep(self._folder_of(side), self._facts(side))
        for point in self.points:
            point.folder.mkdir(parents=True, exist_ok=True)
            if point.planned.skip:
                self._end(point, "skipped", point.planned.skip)
        block = 0
        while any(not point.finished for point in self.points) and not self.stopped():
            block += 1
            self._block(block)
        for point in self.points:
            if not point.finished:
                self._end(point, "interrupted", "interrupted before it was measured")
        return self.status()

    def _folder_of(self, side: Side) -> Path:
        folder = self.folder if side is Side.CANDIDATE else self.folder / side.value
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _facts(self, side: Side) -> dict[str, Any]:
        """Return what is going to be done on one side, for its `sweep.json`."""
        return {
            "schema": {"name": "harness.sweep", "major": 1, "minor": 0},
            "command": self.command,
            "started": now(),
            "provenance": environment.provenance(self.command),
            "side": side.value,
            "pairs": self.pairs if side is Side.CANDIDATE else {},
            "points": [
                {
                    "id": trial.planned.point.id,
                    "name": trial.planned.point.name,
                    "folder": trial.planned.point.folder,
                    "config": dict(trial.planned.point.facts),
                    "skip": trial.planned.skip,
                    "weights": dict(trial.planned.weights),
                }
                for trial in self.points
                if trial.planned.side is side
            ],
        }

    def _block(self, block: int) -> None:
        order = [point for point in self.points if not point.finished]
        seed = order[0].planned.config.measure.order_seed
        random.Random(f"{seed}:{block}").shuffle(order)  # noqa: S311 - an order, not a secret
        for place, point in enumerate(order, 1):
            if self.stopped():
                return
            self._process(point, block, place)

    def _process(self, point: Trial, block: int, place: int) -> None:
        settings = point.planned.config.measure
        if not point.processes:
            point.started = now()
            point.before = environment.collect()
        begun = time.monotonic()
        outcome = measure.run_process(
            point.job(),
            index=len(point.processes) + 1,
            block=block,
            order=place,
            epoch_ns=point.started["monotonic_ns"],
            seconds=stopping.seconds_for_next(
                settings, done=len(point.processes), spent_s=point.spent_s
            ),
            progress=measure.Progress(
                lambda phase: self.console.progress(
                    point.number,
                    len(self.points),
                    f"{point.planned.point.name} process {len(point.processes) + 1}",
                    phase,
                    self.seconds_left(),
                ),
                self.stopped,
            ),
        )
        point.spent_s += time.monotonic() - begun
        point.settings = outcome.settings or point.settings
        point.cut_short |= outcome.cut_short
        if outcome.state != "skipped":
            point.processes.append(outcome.record)
            results.journal_process(point.folder, point.trial_id, outcome.record)
        if outcome.state != "ok":
            self._end(point, outcome.state, outcome.reason)
            return
        planned = point.plan
        point.decide()
        if point.plan is not planned and point.plan is not None:
            self.console.notice(
                f"{point.planned.point.name}: after {len(point.processes)} processes: "
                f"{point.plan.iterations} iterations in each of about {point.plan.processes} "
                f"processes, about {duration(point.plan.seconds)} in all"
            )
        if point.stop_reason:
            self._end(point, "ok", None)

    def _end(self, point: Trial, state: str, reason: str | None) -> None:
        point.state, point.reason = state, reason
        point.stop_reason = point.stop_reason or ("aborted" if state != "skipped" else None)
        if state == "ok":
            point.hold_against_reference()
            point.write_audio()
        document = point.document(self.command)
        results.write_trial(point.folder, document)
        self.console.point(point.number, len(self.points), document)
        self.documents.append(document)
        side = point.planned.side
        results.write_summary(
            self._folder_of(side),
            [one for one in self.documents if one["campaign"]["side"] == side.value],
        )

    def seconds_left(self) -> float | None:
        """Return the seconds this sweep still needs, judged by the processes already seen."""
        seen = [p.spent_s / len(p.processes) for p in self.points if p.processes]
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
            missing = max(1, point.planned.config.measure.min_processes - len(point.processes))
            each = point.spent_s / len(point.processes) if point.processes else typical
            left += missing * each

        return left

    def status(self) -> ExitStatus:
        """Return the exit status of the sweep as design decides: the gravest that applies."""
        states = [point.state for point in self.points]
        statuses = set()
        if self.stopped() or "interrupted" in states:
            statuses.add(ExitStatus.INTERRUPTED)
        if {"failed", "timeout"} & set(states):
            statuses.add(ExitStatus.POINTS_FAILED)
        if any(accuracy.failed(document) for document in self.documents):
            statuses.add(ExitStatus.ACCURACY_FAILED)
        if all(state == "skipped" for state in states):
            statuses.add(ExitStatus.NOTHING_MEASURED)
        return ExitStatus.worst(statuses)

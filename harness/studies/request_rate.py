"""The largest rate of requests at which a percentile of the response keeps a limit (method, 10)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.config.scenario import Kind, Scenario
from harness.measuring.sweep import quietly
from harness.units import seconds, spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from harness.config.schema import Config
    from harness.planning.planner import Planner


LEAST_LOAD, LARGEST_LOAD = 0.1, 0.95
"""Shares of capacity between which the limit is looked for."""


@dataclass(frozen=True)
class Goal:
    """What is asked for."""

    limit_s: float
    percent: int
    steps: int


@dataclass(frozen=True)
class Step:
    """One rate that was tried."""

    rate: float
    load: float
    estimate_s: float | None
    upper_s: float | None
    held: bool
    reason: str | None = None
    confirming: bool = False

    def line(self, goal: Goal) -> str:
        """Return what a reader wants of it."""
        what = "confirmed" if self.confirming else f"load {self.load:.2f}"
        shown, limit = self.reason or "no figure", seconds(goal.limit_s)
        if self.estimate_s is not None and self.upper_s is not None:
            upper, limit = spans(self.upper_s, goal.limit_s)
            shown = f"p{goal.percent} {seconds(self.estimate_s)}, at most {upper}"
        verdict = "within" if self.held else "beyond"
        return f"{what}: {self.rate:.4g} requests/s: {shown}: {verdict} {limit}"


class Search:
    """Looks for the rate of one point.

    Args:
        config: the point; its scenario is replaced.
        goal: what is asked for.
        planner: plans each rate as a point.
        folder: every rate tried leaves its results in a folder of its own here.
        progress: told what is tried.
    """

    def __init__(
        self,
        config: Config,
        goal: Goal,
        planner: Planner,
        folder: Path,
        progress: Callable[[str], None],
    ) -> None:
        self._config = config
        self._goal = goal
        self._planner = planner
        self._folder = folder
        self._progress = progress
        self._tried = 0

    def run(self) -> Iterator[Step]:
        """Yield each rate tried; the last confirms the best in an independent run, if there is one.

        Raises:
            WorkerError: a run failed.
        """
        capacity = self._capacity()
        low, high, best = LEAST_LOAD, LARGEST_LOAD, None
        for number in range(self._goal.steps):
            load = (LEAST_LOAD, LARGEST_LOAD)[number] if number < 2 else (low + high) / 2  # noqa: PLR2004
            step = self._try(load, capacity)
            yield step
            if step.held:
                low, best = load, step
            else:
                high = load
            if (number == 0 and not step.held) or (number == 1 and step.held):
                break
        if best is not None:
            yield replace(self._try(best.load, capacity, fresh=True), confirming=True)

    def _capacity(self) -> float:
        """Return the requests a second that can be served when all wait already."""
        self._progress("capacity")
        document = self._measure(Scenario(kind=Kind.offline))
        rate = document["summary"]["response.requests_per_s"]["estimate"]
        return float(rate)

    def _try(self, load: float, capacity: float, *, fresh: bool = False) -> Step:
        rate = load * capacity
        self._progress(f"{rate:.4g} requests/s")
        # Another seed makes another schedule of the same rate.
        document = self._measure(Scenario(kind=Kind.server, rate=rate), fresh=fresh)
        record = document["summary"][f"response.p{self._goal.percent}"]
        upper = record["ci95"][1] if record["ci95"] else None
        held = upper is not None and record["estimate"] is not None and upper <= self._goal.limit_s
        return Step(rate, load, record["estimate"], upper, held, record["reason"])

    def _measure(self, scenario: Scenario, *, fresh: bool = False) -> Mapping[str, Any]:
        self._tried += 1
        measure = replace(self._config.measure, percentiles=[float(self._goal.percent)])
        config = replace(self._config, scenario=scenario, measure=measure)
        if fresh:
            config = replace(config, seed=self._config.seed + 1)
        folder = self._folder / f"{self._tried:02d}-{scenario.name()}"
        (document,) = quietly(self._planner.plan([config]), folder, "python -m harness slo")
        return document

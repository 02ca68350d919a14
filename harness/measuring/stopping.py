"""When a point has been measured enough, and how many iterations a process is worth (method, 5).

The rule looks at the precision of the estimates, never at the spread of the samples, and only after
whole blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import units
from harness.analysis import estimates
from harness.analysis.series import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.analysis.estimates import Estimate
    from harness.analysis.series import Series
    from harness.config.measure import Measure


def seconds_for_next(measure: Measure, *, done: int, spent_s: float) -> float | None:
    """Return the seconds the next process may take, or None when there is no limit.

    The point's limit is shared out among the processes it needs at least.
    """
    if measure.time_limit_s is None:
        return None
    left = max(0.0, measure.time_limit_s - spent_s)
    return left / max(1, measure.min_processes - done)


def unmet(series: Series, measure: Measure, items: str) -> list[str]:
    """Return the targets of a profile that the samples do not meet yet, in words.

    Args:
        series: the steady samples so far.
        measure: the profile: `target_half_width` of mean and throughput, `percentile_width` of
            each of `percentiles`.
        items: the work count that throughput is counted in.
    """
    if len(series.processes) < 2:  # noqa: PLR2004 - one process says nothing of the next
        return ["more than one process"]
    return list(_unmet(series, measure, items))


def _unmet(series: Series, measure: Measure, items: str) -> Iterator[str]:
    times, work = series.seconds(WHOLE), series.work(items)
    found = {"mean": estimates.mean(times)}
    if work:
        found["throughput"] = estimates.ratio(work, times)
    for name, estimate in found.items():
        half = estimate.relative_half_width
        if half is None or half > measure.target_half_width:
            yield f"{name} to {units.percent(measure.target_half_width)}"
    for percent in measure.percentiles:
        estimate = estimates.percentile(times, percent / 100)
        half = estimate.relative_half_width
        if not estimate.displayable or half is None or 2 * half > measure.percentile_width:
            yield f"p{percent:g} to {units.percent(measure.percentile_width)}"


def should_stop(measure: Measure, *, done: int, spent_s: float, precise: bool) -> str | None:
    """Return why a point is finished after a whole block, or None to go on.

    Args:
        measure: the profile.
        done: processes finished.
        spent_s: seconds spent on this point.
        precise: every target of the profile is met.
    """
    if done >= measure.max_processes:
        return "count"
    limit = math.inf if measure.time_limit_s is None else measure.time_limit_s
    if done and spent_s + spent_s / done > limit and done >= measure.min_processes:
        return "time"
    if done and spent_s >= limit:
        return "time"
    if done >= measure.min_processes and precise:
        return "precision"
    return None


@dataclass(frozen=True)
class PilotPlan:
    """What follows from the pilot: the work each further process does, and what to expect."""

    iterations: int
    """Timed iterations of each further process."""
    processes: int
    """Processes expected until the mean meets its target."""
    seconds: float
    """Expected for the whole point, pilot included."""


def plan(measure: Measure, series: Series, spent_s: float) -> PilotPlan:
    """Plan the processes after the pilot.

    n = sqrt((c_p / c_i) (s_w^2 / s_b^2)), the size that buys most precision for the time
    (Kalibera & Jones 2013): c_p seconds a process costs before its first iteration, c_i seconds
    an iteration, s_w and s_b the standard deviations within and between processes. Where s_b is
    0 the time limit decides. n is raised until the fewest processes hold enough samples for each
    percentile wanted, and never exceeds what the time limit leaves.

    Args:
        measure: the profile; its `num_iters` is the least n.
        series: the steady samples of the pilot.
        spent_s: seconds the pilot took.
    """
    times, done = series.seconds(WHOLE), len(series.processes)
    mean = estimates.mean(times)
    each_s = mean.value
    start_s = max(0.0, (spent_s - sum(float(one.sum()) for one in times)) / done)
    room = _room(measure, done=done, spent_s=spent_s, start_s=start_s, each_s=each_s)
    between, within = mean.between_sd or 0.0, mean.within_sd or 0.0
    wanted = math.sqrt(start_s / each_s) * within / between if between > 0 else room
    for percent in measure.percentiles:
        effect = estimates.percentile(times, percent / 100).design_effect or 1.0
        minimum = estimates.needed(percent / 100, round(effect, 2))
        wanted = max(wanted, minimum / measure.min_processes)
    iterations = max(measure.num_iters, math.ceil(min(wanted, room)))
    processes = _processes(measure, mean, iterations)
    rest = max(0, processes - done) * (start_s + iterations * each_s)
    return PilotPlan(iterations, processes, spent_s + rest)


def _room(
    measure: Measure, *, done: int, spent_s: float, start_s: float, each_s: float
) -> float:  # fmt: skip
    """Return the iterations of a process that the time limit leaves room for."""
    seconds = seconds_for_next(measure, done=done, spent_s=spent_s)
    return math.inf if seconds is None else max(0.0, (seconds - start_s) / each_s)


def _processes(measure: Measure, mean: Estimate, iterations: int) -> int:
    """Return the fewest processes whose mean would meet its target, at most the profile's."""
    from scipy.stats import t  # noqa: PLC0415 - slow to import

    spread = math.hypot(mean.between_sd or 0.0, (mean.within_sd or 0.0) / math.sqrt(iterations))
    target = measure.target_half_width * mean.value
    for count in range(max(2, measure.min_processes), measure.max_processes):
        if t.ppf(0.975, count - 1) * spread / math.sqrt(count) <= target:
            return count
    return measure.max_processes

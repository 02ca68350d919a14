"""Two things timed in turn, and their ratio with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import estimates

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Ratio:
    """What was compared, and how much longer the first takes than the second."""

    name: str
    what: str
    value: float
    low: float
    high: float
    pairs: int
    first_s: float
    """Median seconds of the first."""
    second_s: float
    goal: str


def interval(ratios: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float, float]:
    """Return the median of sorted ratios and its distribution-free 95 % interval; nan: too few."""
    ranks = estimates.ranks(len(ratios), 0.5)
    low, high = (float(ratios[rank - 1]) if rank else math.nan for rank in ranks)
    return estimates.quantile(ratios, 0.5), low, high


def measure(
    name: str, what: str, goal: str, first: Callable[[], float], second: Callable[[], float], *,
    pairs: int,
) -> Ratio:  # fmt: skip
    """Return the ratio of two timed things, run in pairs whose order alternates.

    The estimate is the median ratio over pairs with its distribution-free interval (measurement
    method, section 3.2): a neighbour on the same host disturbs single pairs, not the median.

    Args:
        name: of the benchmark.
        what: the two things in words.
        goal: what the ratio should be.
        first: returns the seconds it took.
        second: the same, of what it is compared with.
        pairs: how many pairs.
    """
    first(), second()
    times = np.empty((pairs, 2))
    for pair in range(pairs):
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        for side in order:
            times[pair, side] = (first, second)[side]()
    ratios = np.sort(times[:, 0] / times[:, 1])
    value, low, high = interval(ratios)
    middle = np.median(times, axis=0)
    return Ratio(
        name, what, value, low, high, pairs,
        float(middle[0]), float(middle[1]), goal,
    )  # fmt: skip

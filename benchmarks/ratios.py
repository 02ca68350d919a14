"""Two things timed in turn, and their ratio with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness import statistics

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


def measure(
    name: str, what: str, goal: str, first: Callable[[], float], second: Callable[[], float], *,
    pairs: int,
) -> Ratio:  # fmt: skip
    """Return the ratio of two timed things, run in pairs whose order alternates.

    The interval is that of the mean log ratio over pairs (measurement method, section 8).

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
    logs = np.log(times[:, 0] / times[:, 1])
    found = statistics.mean([np.array([one]) for one in logs])
    low, high = found.ci or (found.value, found.value)
    middle = np.median(times, axis=0)
    return Ratio(
        name, what, math.exp(found.value), math.exp(low), math.exp(high), pairs,
        float(middle[0]), float(middle[1]), goal,
    )  # fmt: skip

"""Requests that arrive by a schedule: its making, and what a served schedule says (method, 10).

A request is one batch. Whole schedules are made beforehand from a stored seed, and latency counts
from when a request was due: a server that stalls is charged for everybody who waited meanwhile.
"""

from __future__ import annotations

from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from harness.units import apart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Seconds = NDArray[np.float64]


NS = 1e9
COMPLETED = 0.98
"""Share of the requests of the second half that must be done by its end."""
GENERATOR = 0.01
"""Share of the median service time that the p99 of the issue delay may be."""
GROWTH_LEVEL = 0.99
GROWTH = 1.0
"""Requests by which a queue may grow over the second half, whatever the significance."""
BATCHES = 10


def poisson(rate: float, count: int, seconds: float, seed: str) -> list[int]:
    """Return when requests are due, in ns from the start: exponential gaps of mean 1/rate.

    Args:
        rate: requests a second.
        count: fewest requests.
        seconds: least length; both are reached.
        seed: the same seed gives the same schedule on every machine.
    """
    random = Random(seed)  # noqa: S311 - arrivals, not secrets
    due: list[int] = []
    at = 0.0
    while len(due) < count or at < seconds:
        at += random.expovariate(rate)
        due.append(round(at * NS))
    return due


def completions(scheduled: Seconds, sent: Seconds, service: Seconds) -> Seconds:
    """Return the time between completions; the first counts from the first due time, seconds.

    They add up to the span from the first due time to the last completion.
    """
    done = sent + service
    return np.diff(done, prepend=scheduled[0])


def issue_delay(scheduled: Seconds, sent: Seconds, service: Seconds) -> Seconds:
    """Return how late each request was sent although nothing was in its way, seconds."""
    done = sent + service
    free = np.concatenate([[-np.inf], done[:-1]])
    late: Seconds = sent - np.maximum(scheduled, free)
    return late


def saturated(scheduled: Seconds, sent: Seconds, service: Seconds) -> str | None:
    """Return why a served schedule was more than the server can do, or None.

    In the second half less than 98 % of what was due got done, or the queue kept growing: the
    mean of batch after batch of it rises by more than one request, significantly at 99 %.
    """
    done = sent + service
    last = scheduled[-1]
    half = (scheduled[0] + last) / 2
    offered = int(((scheduled > half) & (scheduled <= last)).sum())
    completed = int(((done > half) & (done <= last)).sum())
    # The last few arrivals cannot be done by the end, whatever the server.
    tail = int((done > last).sum() - (scheduled + np.median(service) > last).sum())
    if offered and completed / offered < COMPLETED and tail > 1:
        return f"saturated: {completed} of {offered} requests done in the second half"
    growth = _growth(scheduled, done)
    if growth is None:
        return None
    return f"saturated: the queue grew by {apart(growth, GROWTH, 0)[0]} requests"


def _growth(scheduled: Seconds, done: Seconds) -> float | None:
    """Return by how many requests the queue grew, None when that may be chance."""
    from scipy.stats import linregress, t  # noqa: PLC0415 - slow to import

    if len(scheduled) < 2 * BATCHES:
        return None
    waiting = np.arange(1, len(scheduled) + 1) - np.searchsorted(np.sort(done), scheduled)
    means = [float(part.mean()) for part in np.array_split(waiting, BATCHES)]
    fit = linregress(np.arange(BATCHES), means)
    least = fit.slope - t.ppf(GROWTH_LEVEL, BATCHES - 2) * fit.stderr
    grown = float(fit.slope) * (BATCHES - 1)
    return grown if least > 0 and grown > GROWTH else None


def served_in_order(due: Sequence[float], service: Sequence[float]) -> list[float]:
    """Return the latencies, from when requests were due, of one server that works in order.

    The recursion of Lindley 1952: a request starts when it is due or when the one before is done.
    """
    done = accumulate(
        zip(due, service, strict=True),
        lambda free, one: max(free, one[0]) + one[1],
        initial=0.0,
    )
    ends = list(done)[1:]
    return [end - at for end, at in zip(ends, due, strict=True)]

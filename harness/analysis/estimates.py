"""The statistics of one trial: pure functions of the steady samples of each process.

Section numbers are those of the measurement method. The process is the unit of replication: no
function here treats the iterations of several processes as one independent sample. The original's
`cl` figures are in `harness/analysis/compat.py`; comparison of two trials is in
`harness/analysis/verdicts.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Samples = Sequence[NDArray[np.float64]]


CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
BATCHES = 10
"""Batch means used where the autocorrelation time cannot be trusted (3.5)."""
TRUSTED_TIMES = 50
"""A series must hold this many autocorrelation times for tau to be trusted (3.5)."""
LARGEST_N = 10_000_000
WITHIN = "within this process only"


@dataclass(frozen=True)
class Estimate:
    """A value that always carries its interval, its method and its n; or the reason why not.

    `value` is in the unit of the samples. `ci` is its 95 % interval, None when there is none.
    A value that is not `displayable` must not be shown as a figure; `reason` says why.
    """

    value: float
    ci: tuple[float, float] | None
    method: str
    n: int
    processes: int
    n_eff: float | None = None
    design_effect: float | None = None
    displayable: bool = True
    reason: str | None = None
    between_sd: float | None = None
    within_sd: float | None = None

    @property
    def relative_half_width(self) -> float | None:
        """Half of the interval over the value: the precision figure of 3.3."""
        if self.ci is None or self.value == 0:
            return None
        return (self.ci[1] - self.ci[0]) / 2 / abs(self.value)


def _t(degrees: int) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415 - slow to import, not needed for --help

    return float(stdtrit(degrees, 1 - ALPHA / 2))


# --- 3.2 percentiles -------------------------------------------------------------------------


def quantile(ordered: NDArray[np.float64], p: float) -> float:
    """Return the Hyndman-Fan type 8 quantile of sorted samples (3.2): rank h = (N + 1/3)p + 1/3."""
    n = len(ordered)
    rank = min(max((n + 1 / 3) * p + 1 / 3, 1.0), float(n))
    below = int(rank)
    low = float(ordered[below - 1])
    if below == n:
        return low
    return low + (rank - below) * (float(ordered[below]) - low)


def ranks(n: int, p: float, design_effect: float = 1.0) -> tuple[int | None, int | None]:
    """Return the ranks (from 1) of the distribution-free 95 % interval of a quantile (3.2).

    With a design effect of 1 this is the exact binomial interval. A rank the data cannot
    support is None: that end is unbounded.

    Args:
        n: samples in all.
        p: share below the quantile, 0 to 1.
        design_effect: D, how many times larger the variance is than that of independent samples.
    """
    from scipy.special import betainc  # noqa: PLC0415 - as above

    effective = n / design_effect

    def tail(k: int) -> float:
        """Return the chance that the k-th smallest is not above the quantile."""
        scaled = k * (effective + 1) / (n + 1)
        return float(betainc(scaled, effective + 1 - scaled, p))

    # `tail` falls with k, so both ranks are found by bisection.
    lower = _last(n, lambda k: tail(k) >= 1 - ALPHA / 2)
    upper = _last(n, lambda k: tail(k) > ALPHA / 2) + 1
    return (lower or None, upper if upper <= n else None)


def _last(n: int, holds: Callable[[int], bool]) -> int:
    """Return the largest k in 1..n for which a falling condition holds; 0 when for none."""
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


@lru_cache(maxsize=512)
def needed(p: float, design_effect: float = 1.0) -> int:
    """Return the smallest n whose interval for a quantile has two finite ends (3.2)."""
    low, high = 1, 8
    while None in ranks(high, p, design_effect):
        low, high = high, high * 2
        if high > LARGEST_N:
            return high
    while low < high:
        middle = (low + high) // 2
        if None in ranks(middle, p, design_effect):
            low = middle + 1
        else:
            high = middle
    return low


def quantile_design_effect(samples: Samples, estimate: float, p: float) -> float:
    """Return D of 3.2: from the spread between processes, or from the autocorrelation of one."""
    total = sum(len(one) for one in samples)
    below = [(one <= estimate).astype(float) for one in samples]
    if len(samples) == 1:
        found = autocorrelation_time(below[0])
    else:
        count = len(samples)
        pooled = sum(float(one.sum()) for one in below) / total
        variance = (
            count
            / (count - 1)
            * sum((len(one) / total) ** 2 * (float(one.mean()) - pooled) ** 2 for one in below)
        )
        found = max(1.0, variance / (p * (1 - p) / total))
        if found > 1:
            found *= (_t(count - 1) / _t(total - 1)) ** 2
    return min(max(found, 1.0), total / 2)


def percentile(samples: Samples, p: float) -> Estimate:
    """Return a percentile with its distribution-free interval (3.2).

    Args:
        samples: steady samples of each process, each a 1-D array.
        p: share below the percentile, 0 < p < 1.

    Returns:
        An estimate that is displayable only if both ends of its interval are finite; otherwise
        its reason is `n too small (have N, need M)`.
    """
    pooled = np.sort(np.concatenate(samples))
    n = len(pooled)
    value = quantile(pooled, p)
    effect = quantile_design_effect(samples, value, p) if n > 1 else 1.0
    low, high = ranks(n, p, effect)
    shown = low is not None and high is not None
    reason = None
    if not shown:
        reason = f"n too small (have {n}, need {needed(p, round(effect, 2))})"
    elif len(samples) == 1:
        reason = WITHIN
    return Estimate(
        value=value,
        ci=(float(pooled[low - 1]), float(pooled[high - 1])) if low and high else None,
        method="Hyndman-Fan type 8, distribution-free interval",
        n=n,
        processes=len(samples),
        n_eff=n / effect,
        design_effect=effect,
        displayable=shown,
        reason=reason,
    )


# --- 3.3 mean --------------------------------------------------------------------------------


def mean(samples: Samples) -> Estimate:
    """Return the mean with its interval (3.3): mean of process means, t with P - 1 degrees.

    One process gives an interval from its effective sample size, which holds within that process
    only.
    """
    n = sum(len(one) for one in samples)
    within = _within_sd(samples)
    if len(samples) == 1:
        return _mean_of_one(samples[0], within)
    means = np.array([one.mean() for one in samples])
    spread = float(means.var(ddof=1))
    half = _t(len(means) - 1) * math.sqrt(spread / len(means))
    value = float(means.mean())
    each = n / len(samples)
    return Estimate(
        value=value,
        ci=(value - half, value + half),
        method="mean of process means, t interval",
        n=n,
        processes=len(samples),
        between_sd=math.sqrt(max(0.0, spread - within**2 / each)),
        within_sd=within,
    )


def _within_sd(samples: Samples) -> float:
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in samples)
    freedom = sum(len(one) - 1 for one in samples)
    return math.sqrt(squares / freedom) if freedom else 0.0


def _mean_of_one(series: NDArray[np.float64], sd: float) -> Estimate:
    n, value = len(series), float(series.mean())
    method = "mean of one process, effective sample size"
    if n < 2:  # noqa: PLR2004 - one value has no spread
        return Estimate(value, None, method, n, 1, reason="one iteration has no interval")
    effective = effective_size(series)
    freedom = max(1, round(effective) - 1)
    half = _t(freedom) * sd / math.sqrt(effective)
    return Estimate(
        value=value,
        ci=(value - half, value + half),
        method=method,
        n=n,
        processes=1,
        n_eff=effective,
        reason=WITHIN,
        within_sd=sd,
    )


# --- 3.4 throughput --------------------------------------------------------------------------


def ratio(numerators: Samples, denominators: Samples) -> Estimate:
    """Return a rate as the ratio of sums with its interval on the log scale (3.4).

    Args:
        numerators: items of each iteration, by process.
        denominators: seconds of each iteration, by process; the same shapes.
    """
    items = np.array([one.sum() for one in numerators])
    times = np.array([one.sum() for one in denominators])
    n, count = sum(len(one) for one in denominators), len(denominators)
    value = float(items.sum() / times.sum())
    method = "ratio of sums, log-t interval over processes"
    if count == 1:
        return _ratio_of_one(numerators[0], denominators[0], value)
    if not (items > 0).all():
        return Estimate(value, None, method, n, count, reason="a process produced nothing")
    logs = np.log(items / times)
    half = _t(count - 1) * float(logs.std(ddof=1)) / math.sqrt(count)
    return Estimate(
        value=value,
        ci=(value * math.exp(-half), value * math.exp(half)),
        method=method,
        n=n,
        processes=count,
        between_sd=float(logs.std(ddof=1)) * value,
    )


def _ratio_of_one(items: NDArray[np.float64], times: NDArray[np.float64], value: float) -> Estimate:
    # Linearised ratio: the residuals items - value x seconds carry all of its variance.
    method = "ratio of sums of one process, linearised"
    n = len(times)
    if n < 2:  # noqa: PLR2004 - one value has no spread
        return Estimate(value, None, method, n, 1, reason="one iteration has no interval")
    residuals = items - value * times
    effective = effective_size(residuals)
    sd = float(residuals.std(ddof=1)) / float(times.mean())
    half = _t(max(1, round(effective) - 1)) * sd / math.sqrt(effective)
    return Estimate(
        value, (value - half, value + half), method, n, 1, n_eff=effective, reason=WITHIN
    )


# --- 3.5 dependence --------------------------------------------------------------------------


def autocorrelation_time(series: NDArray[np.float64]) -> float:
    """Return the integrated autocorrelation time, at least 1, in iterations (3.5).

    Geyer's initial monotone sequence (Geyer 1992): autocovariances by FFT, adjacent pairs summed
    while positive and never rising.
    """
    n = len(series)
    centred = series - series.mean()
    if n < 4 or not centred.any():  # noqa: PLR2004 - two pairs are the least
        return 1.0
    transform = np.fft.rfft(centred, 1 << (2 * n - 1).bit_length())
    covariance = np.fft.irfft(transform * np.conj(transform))[:n] / n
    pairs = covariance[: n - n % 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    kept = np.minimum.accumulate(pairs[: ends[0]] if len(ends) else pairs)
    return max(1.0, float(-1 + 2 * kept.sum() / covariance[0]))


def effective_size(series: NDArray[np.float64]) -> float:
    """Return how many independent samples a series is worth, 1 to n (3.5).

    Where the series is shorter than 50 autocorrelation times, ten batch means decide instead.
    """
    n = len(series)
    tau = autocorrelation_time(series)
    if n >= TRUSTED_TIMES * tau or n < 2 * BATCHES:
        return max(1.0, n / tau)
    usable = series[: n - n % BATCHES].reshape(BATCHES, -1)
    spread = float(usable.mean(axis=1).var(ddof=1))
    if spread == 0:
        return float(n)
    return min(float(n), max(1.0, float(series.var(ddof=1)) / spread * BATCHES))


# --- 3.1 the original's rule -----------------------------------------------------------------


def cl(ordered: NDArray[np.float64], percent: int) -> float | None:
    """Return the original's `cl` figure: the int(n x p)-th smallest of sorted samples (3.1).

    The product is a float and truncated, as the original does. None where the rank is 0: the
    original fails there.
    """
    rank = int(len(ordered) * (percent / 100))
    return float(ordered[rank - 1]) if rank else None

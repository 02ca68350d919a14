"""Verdicts on two results: slower, faster, no difference or unresolved (measurement method, 8).

Pure functions of per-process values: iterations are never pooled, and one process is never enough.
Which points belong together and may be compared at all is decided in
`harness/judging/comparison.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from harness.units import shares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


MINIMUM_EFFECT = 0.02
"""Relative difference that matters (delta)."""
FALSE_DISCOVERIES = 0.05
"""Level of the Benjamini-Hochberg procedure over all pairs compared (q)."""
OCCASION_SD = 0.01
"""Assumed SD of ln(level) between two occasions on one host, where none has been measured."""
ALPHA = 0.05
COMPAT_BAND = (0.95, 1.05)


class Verdict(StrEnum):
    """What may be said of a difference."""

    SLOWER = "slower"
    FASTER = "faster"
    NO_DIFFERENCE = "no difference"
    UNRESOLVED = "unresolved"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Difference:
    """The log ratio of candidate to baseline of a lower-is-better metric, and what follows."""

    log_ratio: float
    half_width: float
    """Half of the 95 % interval of the log ratio; infinite when there is none."""
    p_value: float
    blocks: int
    """Processes on the smaller side, or pairs."""
    occasion: float = 0.0
    """The part of the half-width that no further process removes."""
    verdict: Verdict = Verdict.UNRESOLVED
    reason: str | None = None
    further: int | None = None
    """Blocks to add before a difference of the minimum effect can be decided."""

    @property
    def ratio(self) -> float:
        """Candidate over baseline."""
        return math.exp(self.log_ratio)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the ratio."""
        if not math.isfinite(self.half_width):
            return 0.0, math.inf
        return math.exp(self.log_ratio - self.half_width), math.exp(
            self.log_ratio + self.half_width
        )


def _t(degrees: float) -> float:
    from scipy.stats import t  # noqa: PLC0415 - slow to import

    return float(t.ppf(1 - ALPHA / 2, degrees))


def _p(statistic: float, degrees: float) -> float:
    from scipy.stats import t  # noqa: PLC0415 - as above

    return float(2 * t.sf(abs(statistic), degrees))


def paired(baseline: Sequence[float], candidate: Sequence[float]) -> Difference:
    """Return the difference of two results measured in the same blocks.

    Args:
        baseline: process means in seconds, one per block.
        candidate: the same blocks of the other side.
    """
    z = np.log(np.asarray(candidate) / np.asarray(baseline))
    n = len(z)
    if n < 2:  # noqa: PLR2004 - one pair has no spread
        return _single(float(z.mean()), n)
    error = float(z.std(ddof=1)) / math.sqrt(n)
    return _difference(float(z.mean()), error, n - 1, 0.0, n)


def unpaired(
    baseline: Sequence[float], candidate: Sequence[float], occasion_sd: float = OCCASION_SD
) -> Difference:
    """Return the difference of two results measured on two occasions: Welch's t on logarithms.

    The interval is widened by what one host differs from itself between two occasions:
    half = sqrt(h^2 + (1.96 sqrt(2) s_occ)^2).

    Args:
        baseline: process means in seconds.
        candidate: the other side's.
        occasion_sd: SD of ln(level) between occasions; 0 for one and the same occasion.
    """
    a, b = np.log(np.asarray(baseline)), np.log(np.asarray(candidate))
    difference, n = float(b.mean() - a.mean()), min(len(a), len(b))
    if n < 2:  # noqa: PLR2004 - one process has no spread
        return _single(difference, n)
    parts = [float(one.var(ddof=1)) / len(one) for one in (a, b)]
    total = sum(parts)
    sizes = (len(a), len(b))
    squares = sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    degrees = total**2 / squares if squares else float(sum(sizes) - 2)
    return _difference(difference, math.sqrt(total), degrees, occasion_sd, n)


def _difference(
    log_ratio: float, error: float, degrees: float, occasion_sd: float, blocks: int
) -> Difference:
    occasion = 1.96 * math.sqrt(2) * occasion_sd
    half = math.hypot(_t(degrees) * error, occasion)
    if half == 0:
        return Difference(log_ratio, 0.0, 0.0 if log_ratio else 1.0, blocks)
    # The p value of the widened interval: 0.05 exactly where the interval touches 0.
    p_value = _p(log_ratio / half * _t(degrees), degrees)
    return Difference(log_ratio, half, p_value, blocks, occasion)


def _single(log_ratio: float, n: int) -> Difference:
    return Difference(log_ratio, math.inf, 1.0, n, reason=f"P = {n}: measure more processes")


def judge(differences: Sequence[Difference], delta: float = MINIMUM_EFFECT) -> list[Difference]:
    """Return the differences with their verdicts: one decision over all pairs compared.

    Args:
        differences: of every (point, metric) pair.
        delta: minimum relative effect.
    """
    if not differences:
        return []
    from scipy.stats import false_discovery_control  # noqa: PLC0415 - slow to import

    adjusted = false_discovery_control([one.p_value for one in differences], method="bh")
    return [
        _verdict(one, significant=float(q) <= FALSE_DISCOVERIES, delta=delta)
        for one, q in zip(differences, adjusted, strict=True)
    ]


def _verdict(one: Difference, *, significant: bool, delta: float) -> Difference:
    if not math.isfinite(one.half_width):
        return replace(one, verdict=Verdict.UNRESOLVED)
    low, high = one.log_ratio - one.half_width, one.log_ratio + one.half_width
    edge = math.log1p(delta)
    if low > 0 and one.log_ratio >= edge and significant:
        return replace(one, verdict=Verdict.SLOWER)
    if high < 0 and one.log_ratio <= -edge and significant:
        return replace(one, verdict=Verdict.FASTER)
    if -edge < low and high < edge:
        return replace(one, verdict=Verdict.NO_DIFFERENCE)
    if one.occasion >= edge:
        shown, _ = shares(math.expm1(one.occasion), delta)
        reason = f"two occasions may differ by {shown} by themselves: measure side by side"
        return replace(one, verdict=Verdict.UNRESOLVED, reason=reason)
    # B ((hi - lo) / (2 ln(1 + delta)))^2 - B, on the part of the width that processes decide.
    share = (one.half_width**2 - one.occasion**2) / (edge**2 - one.occasion**2)
    return replace(
        one,
        verdict=Verdict.UNRESOLVED,
        reason="the interval holds both a difference that matters and none",
        further=max(1, math.ceil(one.blocks * share - one.blocks)),
    )


def without_null_control(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with every slower and faster withdrawn: the null control failed."""
    decided = {Verdict.SLOWER, Verdict.FASTER}
    return [
        replace(one, verdict=Verdict.UNRESOLVED, reason="null control failed")
        if one.verdict in decided
        else one
        for one in differences
    ]


def percentile_ratio(
    baseline: tuple[float, float], candidate: tuple[float, float]
) -> tuple[float, float]:
    """Return the interval of the ratio of two percentiles from their intervals: advisory."""
    return candidate[0] / baseline[1], candidate[1] / baseline[0]


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean of ratios."""
    values: NDArray[np.float64] = np.log(np.asarray(ratios, dtype=float))
    return float(np.exp(values.mean()))


def compat_rule(baseline: float | None, candidate: float | None) -> tuple[str, float | None]:
    """Return the original's verdict on its items per second, and the ratio (label `compat`).

    0.95 <= r <= 1.05 is `pass`, r > 1.05 `option`, everything else and a missing figure `fail`.
    """
    if not baseline or candidate is None:
        return "fail", None
    ratio = candidate / baseline
    low, high = COMPAT_BAND
    if ratio < low:
        return "fail", ratio
    return ("pass" if ratio <= high else "option"), ratio

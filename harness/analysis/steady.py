"""Warm-up and steady state of one series of iterations (measurement method, section 4).

Every iteration stays in the file whatever is decided here; the cut only says where counting begins.
"""

from __future__ import annotations

import math
import statistics as stdlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.estimates import autocorrelation_time
from harness.method import Rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Series = NDArray[np.float64]


DEFAULT = Rules()
BLOCK = 5
"""Consecutive iterations whose median is one value of the transient search."""
WINDOW = 25
"""Iterations of the running median that gives the scale of residuals."""
CLIP = 4.0
LEAST_SEGMENT = 5
LARGEST_R = 0.9
LEAST_LEVEL, LEVEL_SHARE = 20, 0.3
DRIFT_LEVEL = 0.99
"""Of the slope's interval: at 0.95 dependent flat series would drift in one case of twenty."""
MAD = 1.4826
"""Median absolute deviation to standard deviation, for normal residuals."""


class Label(StrEnum):
    """What a series looks like after its warm-up."""

    FLAT = "flat"
    SLOWDOWN = "slowdown"
    STILL_WARMING = "still warming"
    NO_STEADY_STATE = "no steady state"
    DRIFT = "drift"
    TOO_SHORT = "too short to tell"


@dataclass(frozen=True)
class Transient:
    """Where the warm-up of one series ends."""

    cut: int
    finished: bool
    """False when the search ended at its limit: half of the series."""


def transient(series: Series, least: int, rules: Rules = DEFAULT) -> Transient:
    """Return the warm-up's length in iterations: at least `least`.

    Of the medians y of 5 consecutive iterations the first d are cut, where d in [0, m/2] minimises
    var(y[d:]) / (m - d); only if head and tail differ by more than `rules.transient`.
    """
    rest = series[least:]
    m = len(rest) // BLOCK
    if m < 2:  # noqa: PLR2004 - nothing to choose from
        return Transient(min(least, len(series)), finished=True)
    y = np.median(rest[: m * BLOCK].reshape(m, BLOCK), axis=1)
    limit = m // 2
    d = min(range(limit + 1), key=lambda at: float(y[at:].var()) / (m - at))
    if d == 0 or abs(float(np.median(y[:d]) / np.median(y[d:])) - 1) <= rules.transient:
        return Transient(least, finished=True)
    return Transient(least + d * BLOCK, finished=d < limit)


def _running_median(series: Series) -> Series:
    from scipy.ndimage import median_filter  # noqa: PLC0415 - slow to import

    found: Series = median_filter(series, size=min(WINDOW, len(series)), mode="nearest")
    return found


def _penalty(residuals: Series, factor: float) -> float:
    centred = residuals - residuals.mean()
    power = float((centred**2).sum())
    r = float((centred[1:] * centred[:-1]).sum()) / power if power else 0.0
    r = min(max(r, 0.0), LARGEST_R)
    return factor * math.log(len(residuals)) * (1 + r) / (1 - r)


def levels(series: Series, rules: Rules = DEFAULT) -> list[int]:
    """Return where the levels of a series end (the last is its length), by PELT.

    Squared error in units of the residual scale; outliers are clipped for detection only.
    """
    n = len(series)
    base = _running_median(series)
    residuals = series - base
    scale = MAD * float(np.median(np.abs(residuals - np.median(residuals))))
    if n < 2 * LEAST_SEGMENT or scale == 0:
        return [n]
    import ruptures  # noqa: PLC0415 - slow to import

    clipped = base + np.clip(residuals, -CLIP * scale, CLIP * scale)
    # The linear kernel is squared error; this search is PELT in C.
    search = ruptures.KernelCPD(kernel="linear", min_size=LEAST_SEGMENT).fit(clipped / scale)
    ends: list[int] = search.predict(pen=_penalty(residuals, rules.penalty))
    return ends


def last_level(series: Series, ends: Sequence[int], rules: Rules = DEFAULT) -> int:
    """Return where the last level begins, levels within `rules.same_level` merged backwards."""
    starts = [0, *ends[:-1]]
    target = float(series[starts[-1] :].mean())
    begin = starts[-1]
    for start, end in zip(reversed(starts[:-1]), reversed(ends[:-1]), strict=True):
        if abs(float(series[start:end].mean()) / target - 1) > rules.same_level:
            break
        begin = start
    return begin


def _drifts(series: Series, least: float) -> bool:
    from scipy.stats import theilslopes  # noqa: PLC0415 - slow to import

    place = np.arange(len(series))
    slope, level, low, high = (float(one) for one in theilslopes(series, place, DRIFT_LEVEL))
    growth = abs(slope) * (len(series) - 1) / float(np.median(series))
    # The interval assumes independent iterations: it is widened by what they depend (3.5).
    tau = autocorrelation_time(series - level - slope * place)
    reach = math.sqrt(tau) * (slope - low if slope > 0 else high - slope)
    return growth > least and abs(slope) > reach


def label(series: Series, rules: Rules = DEFAULT) -> Label:
    """Return what a series without its warm-up looks like."""
    n = len(series)
    if n < LEAST_LEVEL:
        return Label.TOO_SHORT
    begin = last_level(series, levels(series, rules), rules)
    if begin:
        if n - begin < max(LEAST_LEVEL, LEVEL_SHARE * n):
            return Label.NO_STEADY_STATE
        faster = float(series[:begin].mean()) < float(series[begin:].mean())
        return Label.SLOWDOWN if faster else Label.STILL_WARMING
    return Label.DRIFT if _drifts(series, rules.drift) else Label.FLAT


def _series(process: Mapping[str, Any]) -> Series:
    """Return the latency of every iteration: per mel frame where the number of frames varies."""
    latency = np.asarray(process["columns"].get("latency_ns", ()), dtype=float)
    frames = np.asarray(process["work"].get("mel_frames_padded", ()), dtype=float)
    varies = len(frames) == len(latency) > 0 and frames.min() != frames.max()
    return latency / frames if varies else latency


def assess(
    processes: Sequence[Mapping[str, Any]], least: int, rules: Rules = DEFAULT
) -> list[dict[str, Any]]:
    """Return the warm-up and the label of each process of a trial.

    The trial's cut is the median of its processes' cuts, applied to all of them.

    Args:
        processes: records of a result document.
        least: iterations always dropped (w_min).
        rules: where the rules draw their lines.

    Returns:
        For each process `warmup` in iterations and `steady`: its own cut, whether the search ended
        before its limit, and the label.
    """
    every = [_series(process) for process in processes]
    found = [transient(one, least, rules) for one in every]
    whole = [one.cut for one, series in zip(found, every, strict=True) if len(series) > least]
    cut = int(stdlib.median_low(whole)) if whole else least
    return [
        {
            "warmup": cut,
            "steady": {
                "own_cut": one.cut,
                "finished": one.finished,
                "label": str(label(series[cut:], rules)),
            },
        }
        for one, series in zip(found, every, strict=True)
    ]

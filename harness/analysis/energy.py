"""Energy per utterance from power samples (measurement method, section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import estimates
from harness.analysis.series import NS, WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from harness.analysis.series import Series


LEAST_WINDOW_S = 30.0
LEAST_PERIODS = 100
NOT_SAMPLED = "power was not sampled: set measure.telemetry_s, such as measure.telemetry_s=0.5"
NO_IDLE = "idle power was not measured"


def assess(series: Series) -> dict[str, Any]:
    """Return joules per utterance, gross, over whole iterations, or the reason there are none."""
    energies, powers = [], []
    reasons = []
    for place, process in enumerate(series.processes):
        found = _of_process(series, place, process)
        if isinstance(found, str):
            reasons.append(found)
            continue
        joules, window_s, utterances = found
        energies.append(np.array([joules / utterances]))
        powers.append(joules / window_s)
    if not energies or reasons:
        return {"value": None, "reason": reasons[0] if reasons else NOT_SAMPLED}
    estimate = estimates.mean(energies)
    return {
        "value": estimate.value,
        "ci95": None if estimate.ci is None else list(estimate.ci),
        "unit": "J per utterance",
        "method": f"trapezoid over power samples; {estimate.method}",
        "source": "board power, device-reported",
        "average_w": float(np.mean(powers)),
        "processes": len(energies),
        "net": {"value": None, "reason": NO_IDLE},
        "reason": None,
    }


def _of_process(
    series: Series, place: int, process: Mapping[str, Any]
) -> tuple[float, float, float] | str:
    """Return joules, seconds and utterances of a process's steady iterations, or why not."""
    samples = (process.get("telemetry") or {}).get("during")
    epoch = process.get("clock_epoch_ns")
    if not samples or epoch is None:
        return NOT_SAMPLED
    at, power = _known(samples["columns"])
    if not len(at):
        return samples["reason"] or "no sample holds a power"
    skipped = series.skipped(process)
    starts = series.nanoseconds(process, "start")[skipped:]
    latency = series.nanoseconds(process, WHOLE)[skipped:]
    first, last = (int(starts[0]) + epoch, int(starts[-1]) + int(latency[-1]) + epoch)
    window_s = (last - first) / NS
    needed = max(LEAST_WINDOW_S, LEAST_PERIODS * samples["period_s"])
    if window_s < needed:
        return (
            f"its iterations took {window_s:.1f} s where {needed:g} s are needed (method, "
            "section 11): raise num_iters"
        )
    utterances = float(series.work("utterances")[place].sum())
    return joules(at - first, power, window_s), window_s, utterances


def _known(columns: Mapping[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    pairs = [
        (at, power)
        for at, power in zip(columns["at_ns"], columns["power_w"], strict=True)
        if power is not None
    ]
    return (
        np.array([at for at, _ in pairs], dtype=np.int64),
        np.array([power for _, power in pairs], dtype=float),
    )


def joules(at_ns: NDArray[np.int64], power_w: NDArray[np.float64], window_s: float) -> float:
    """Return the integral of power over [0, window]; the first and last sample reach its edges.

    Args:
        at_ns: when each sample was taken, from the start of the window.
        power_w: the samples.
        window_s: length of the window.
    """
    times = at_ns / NS
    edges = np.interp([0.0, window_s], times, power_w)
    inside = (times > 0) & (times < window_s)
    x = np.concatenate(([0.0], times[inside], [window_s]))
    y = np.concatenate((edges[:1], power_w[inside], edges[1:]))
    return float(np.trapezoid(y, x))

"""The original's own figures, digit for digit, and its log file. Label `compat`: never a verdict.

Formulas and field names are those of the measurement method, section 3.1: means of per-iteration
ratios on padded counts, standard deviation with divisor n, cl figures by truncated rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import estimates
from harness.analysis.metrics import CL
from harness.analysis.series import WHOLE, Series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


MELS = "Number of mels per audio average"
THROUGHPUT = "Throughput average (samples/sec)"
PRE = "Preprocessing average (seconds)"
POST = "Postprocessing average (seconds)"
ITEMS_PER_SECOND = "tacotron2_items_per_sec average"
WORTH = "cl N is a rank, not a percentile with an interval: its mean coverage is k / (n + 1)"


def _stage(stage: str) -> str:
    return f"{stage.capitalize()} latency average (seconds)"


def _cl(percent: int) -> str:
    return f"Latency cl {percent} (seconds)"


def fields(series: Series) -> dict[str, float | None]:
    """Return the original's fields in its order; None where its rule has no value (n too small).

    `series` holds the steady iterations of one device. Fields that need the vocoder are there
    only when it ran, as in the original.
    """
    latency = np.concatenate(series.seconds(WHOLE))
    ordered = np.sort(latency)
    frames, utterances = _all(series.work("mel_frames_padded")), _all(series.work("utterances"))
    acoustic = np.concatenate(series.seconds(next(iter(series.parts), WHOLE)))
    samples = series.work("audio_samples_padded")
    found: dict[str, float | None] = {
        PRE: _mean(series, "pre"),
        MELS: float((frames / utterances).mean()),
        "Latency average (seconds)": float(latency.mean()),
        "Latency std (seconds)": float(latency.std()),
        ITEMS_PER_SECOND: float((frames / acoustic).mean()),
    }
    if samples:
        found[THROUGHPUT] = float((_all(samples) / latency).mean())
        found[POST] = _mean(series, "post")
    for stage in series.stages:
        found[_stage(stage)] = _mean(series, f"{stage}_execute")
    for percent in CL:
        found[_cl(percent)] = estimates.cl(ordered, percent)
    return {name: found[name] for name in column_names(series.stages) if name in found}


def column_names(stages: Sequence[str]) -> list[str]:
    """Return every field a log can have, in the original's order."""
    return [
        THROUGHPUT,
        PRE,
        POST,
        MELS,
        *(_stage(stage) for stage in stages),
        "Latency average (seconds)",
        "Latency std (seconds)",
        *(_cl(percent) for percent in CL),
        ITEMS_PER_SECOND,
    ]


def _all(samples: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(samples)


def _mean(series: Series, subject: str) -> float:
    return float(np.concatenate(series.seconds(subject)).mean())


def blocks(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `compat` part of a result document: one entry per device.

    Work that makes no mel frames is none the original ever measured: it has no entry.
    """
    devices = dict.fromkeys(process["device"] for process in document["processes"])
    found = {}
    for device in devices:
        series = Series(document, device, compat=True)
        if series.processes and series.work("mel_frames_padded"):
            n = sum(len(one) for one in series.seconds(WHOLE))
            found[device] = {"n": n, "fields": fields(series), "worth": WORTH}
    return found

"""Each stage's share of what the machine can do at most: least time by its limits / time taken.

The least time of an iteration is the longer of two (the roofline model, see `roofline.py`): reading
the stage's weights at the bandwidth measured for a working set of their size, and computing its
operations at the rate measured in its precision. What cannot be said is said with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness import statistics
from harness.models import sizes, work
from harness.precision import WIDTH_BYTES, family

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from harness.models.sizes import Sizes
    from harness.series import Series

NOT_MEASURED = "the limits of this host are not measured: python -m harness roofline"
OWN_MODELS = "the models are the user's own: the sizes of their layers are not known"
COUNTS = ("utterances", "characters_padded", "mel_frames_padded", "decoder_steps")


class _UnknownError(Exception):
    """A share cannot be said; the text is the reason."""


def assess(series: Series) -> dict[str, dict[str, Any]]:
    """Return the share of every stage of a document, or why there is none."""
    if not series.processes:
        return {}
    return {stage: _stage(series, stage) for stage in series.stages}


def _stage(series: Series, stage: str) -> dict[str, Any]:
    try:
        return _share(series, stage)
    except _UnknownError as reason:
        return {"share": None, "limit": None, "work": None, "reason": str(reason)}


def _share(series: Series, stage: str) -> dict[str, Any]:
    limits, layers = _limits(series.document), _sizes(series.document, stage)
    precision = _precision(series.document, stage)
    taken = series.seconds(f"{stage}_execute")
    parts = [_parts(series, place, layers, stage) for place in range(len(taken))]
    width = WIDTH_BYTES[precision]
    reading = [
        sum(
            (one.weights * width * one.reads / _bandwidth(limits, one.weights * width))
            for one in own
        )
        for own in parts
    ]
    rate = _rate(limits, precision)
    computing = [sum(one.operations for one in own) / rate for own in parts]
    least = [
        np.broadcast_to(np.maximum(read, compute), seconds.shape).astype(float)
        for read, compute, seconds in zip(reading, computing, taken, strict=True)
    ]
    found = statistics.ratio(least, taken)
    by_reading, by_computing = (_mean(one, taken) for one in (reading, computing))
    return {
        "share": found.value,
        "ci95": None if found.ci is None else list(found.ci),
        "limit": "bandwidth" if by_reading >= by_computing else "arithmetic",
        "work": {
            "precision": precision,
            "weights_bytes": sum(one.weights for one in parts[0]) * width,
            "read_bytes": _mean(
                [sum(one.weights * width * one.reads for one in own) for own in parts], taken
            ),
            "operations": _mean([sum(one.operations for one in own) for own in parts], taken),
            "reading_s": by_reading,
            "computing_s": by_computing,
        },
        "reason": None,
    }


def _mean(values: Sequence[Any], taken: Sequence[NDArray[np.float64]]) -> float:
    """Return the mean over all iterations of what is one number or one for each of them."""
    whole = [np.broadcast_to(one, like.shape) for one, like in zip(values, taken, strict=True)]
    return float(np.concatenate(whole).mean())


def _limits(document: Mapping[str, Any]) -> Mapping[str, Any]:
    limits: Mapping[str, Any] | None = document.get("limits")
    if not limits or "bandwidth" not in limits:
        raise _UnknownError(str((limits or {}).get("reason") or NOT_MEASURED))
    return limits


def _sizes(document: Mapping[str, Any], stage: str) -> Sizes:
    config = document["point"]["config"]
    if config["pipeline"] != "tacotron2" or stage not in work.STAGES:
        raise _UnknownError(f"the work of {stage} is not counted: no formula for this pipeline")
    if config.get("model") not in sizes.BY_NAME:
        raise _UnknownError(OWN_MODELS)
    if len(config["devices"]) > 1:
        raise _UnknownError("several devices share the machine whose limits were measured")
    return sizes.named(config["model"])


def _precision(document: Mapping[str, Any], stage: str) -> str:
    effective = document["settings"]["effective"].get(stage) or {}
    if effective.get("device") != "cpu":
        raise _UnknownError(
            f"it ran on {effective.get('device') or 'an unknown device'}: only the CPU's limits "
            "are measured"
        )
    if not effective.get("verified"):
        raise _UnknownError("what it computed in is not verified")
    compute = str(effective["compute"])
    found = family(compute)
    if found is None:
        raise _UnknownError(f"it computed in {compute}, which no single limit holds for")
    return found


def _parts(series: Series, place: int, layers: Sizes, stage: str) -> tuple[work.Part, ...]:
    """Return the work of every iteration of a process at once: each number is an array."""
    counts: dict[str, Any] = {}
    for name in COUNTS:
        found = series.work(name)
        if found:
            counts[name] = found[place]
    try:
        return work.stage(stage, layers, counts)
    except KeyError as error:
        raise _UnknownError(f"its iterations count no {error.args[0]}") from error


def _bandwidth(limits: Mapping[str, Any], size_bytes: int) -> float:
    """Return the bandwidth, in bytes/s, of the largest set measured that is no larger than this.

    A smaller set is read no slower, so the limit is not understated. Of the numbers of threads
    measured the faster counts.
    """
    fitting = [
        one["working_set_bytes"]
        for one in limits["bandwidth"]
        if one["working_set_bytes"] <= size_bytes
    ] or [min(one["working_set_bytes"] for one in limits["bandwidth"])]
    level = max(fitting)
    return float(
        max(one["value"] for one in limits["bandwidth"] if one["working_set_bytes"] == level)
    )


def _rate(limits: Mapping[str, Any], precision: str) -> float:
    """Return the operations/s of the fastest kernel measured in a precision."""
    rates = [one["value"] for one in limits["arithmetic"] if one["precision"] == precision]
    if not rates:
        raise _UnknownError(f"no kernel that computes in {precision} was measured on this host")
    return float(max(rates))

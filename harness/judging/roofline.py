"""How near a stage comes to what its device can do at most, and whether it claims more than that.

A stage takes at least as long as moving its bytes and as doing its arithmetic:

    bound = max(bytes / bandwidth, 2 * multiply-accumulates / operations per second)

(Williams, Waterman and Patterson, Roofline, CACM 52(4), 2009). Its share is bound / time: 1 means
nothing could be faster, and above 1 the work, the precision or the limit is not what was stated.
A measured limit has an interval; then so has the bound, and the share's interval holds both: from
the least bound over the longest time to the largest bound over the shortest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.series import Series
from harness.models.work import Counts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Document = Mapping[str, Any]


WIDTHS = {
    "float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int16": 2, "int8": 1,
}  # fmt: skip
"""Bytes of one number, by the names effective precision is told in."""
HELD_AS = {"float16-rounded": "float32"}
"""What values are kept in where they are rounded to less than their type."""
MEMORY, ARITHMETIC = "memory", "arithmetic"


@dataclass(frozen=True)
class Bound:
    """The least time of a stage."""

    seconds: float
    limit: str
    """`memory` or `arithmetic`: what takes that long."""


def _types(precision: Any) -> list[str]:
    return [HELD_AS.get(one, one) for one in str(precision or "").split("+")]


def width(precision: str) -> int | None:
    """Return the bytes of one number of a precision; None where it is no type of numbers.

    Of a mixture its narrowest counts, for a bound is what nothing can beat.
    """
    known = [WIDTHS[one] for one in _types(precision) if one in WIDTHS]
    return min(known) if known else None


def bandwidth(limits: Mapping[str, Any], size_bytes: float) -> float:
    """Return the bytes a second of the quickest level that holds so many bytes."""
    if "levels" not in limits:
        return float(limits["bandwidth_bytes_s"])
    able = [
        one["bytes_per_s"]
        for one in limits["levels"]
        if one["capacity_bytes"] is None or one["capacity_bytes"] >= size_bytes
    ]
    return float(max(able))


def bound(
    counts: Counts, steps: float, limits: Mapping[str, Any], effective: Mapping[str, Any]
) -> Bound | None:
    """Return the least time a device needs for some work; None where precision is not known.

    Args:
        counts: of one pass, and of one step of its loop.
        steps: of that loop.
        limits: of the device (`harness.machine.device_limits`).
        effective: the precision read back: compute, storage, activations.
    """
    work = counts.total(steps)
    compute = str(effective.get("compute"))
    widths = [width(str(effective.get(key) or compute)) for key in ("storage", "activations")]
    if widths[0] is None or widths[1] is None:
        return None
    again = (counts.step or counts.once).weights * widths[0]
    times = {MEMORY: work.bytes(widths[0], widths[1]) / bandwidth(limits, again)}
    rates = [limits["operations_s"].get(one) for one in _types(compute)]
    if operations := max((one for one in rates if one), default=None):
        times[ARITHMETIC] = 2 * work.macs / operations
    longest = max(times, key=lambda name: times[name])
    return Bound(times[longest], longest)


def _at(limits: Mapping[str, Any], end: int) -> dict[str, Any]:
    """Return limits with every rate at one end of its interval: 0 the slower, 1 the quicker."""
    intervals = limits.get("operations_ci95") or {}
    return {
        **limits,
        "levels": [
            {**one, "bytes_per_s": (one.get("ci95") or [one["bytes_per_s"]] * 2)[end]}
            for one in limits["levels"]
        ],
        "operations_s": {
            name: (intervals.get(name) or [rate] * 2)[end]
            for name, rate in limits["operations_s"].items()
        },
    }


def _ends(
    counts: Counts, steps: float, limits: Mapping[str, Any], effective: Mapping[str, Any]
) -> list[float] | None:
    """Return the bound's interval in seconds; None where limits are given without one."""
    found = (
        [bound(counts, steps, _at(limits, end), effective) for end in (1, 0)]
        if "levels" in limits
        else []
    )
    seconds = [one.seconds for one in found if one]
    return seconds if len(set(seconds)) > 1 else None


def assess(document: Document) -> dict[str, dict[str, Any]]:
    """Return each stage's share of the bound, or the reason there is none.

    The time is that of the model alone, `<stage>_execute`, its interval the one of its mean.
    `bound_ci95` is there only where the limit has an interval.
    """
    series = Series(document)
    counts = document.get("counts") or {}
    if not series.processes or not counts:
        return {}
    return {stage: _stage(document, series, stage) for stage in series.stages}


def _stage(document: Document, series: Series, stage: str) -> dict[str, Any]:
    record, limits = document["counts"].get(stage, {}), document.get("limits") or {}
    reason = record.get("reason") or limits.get("reason")
    if reason or not record or not limits:
        return {"share": None, "reason": reason or "nothing was counted"}
    effective = document["settings"]["effective"].get(stage, {})
    steps = _steps(series, stage)
    found = bound(Counts.of(record), steps, limits, effective)
    if found is None:
        return {"share": None, "reason": "the precision that ran is not known"}
    mean = document["summary"].get(f"{stage}_execute.mean") or {}
    if not mean.get("estimate"):
        return {"share": None, "reason": "its time is not known"}
    ends, limit_ends = mean["ci95"], _ends(Counts.of(record), steps, limits, effective)
    least, most = limit_ends or (found.seconds, found.seconds)
    return {
        "share": found.seconds / mean["estimate"],
        "share_ci95": [least / ends[1], most / ends[0]] if ends and ends[0] > 0 else None,
        "bound_s": found.seconds,
        **({"bound_ci95": limit_ends} if limit_ends else {}),
        "limit": found.limit,
        "steps": steps or None,
        "reason": None,
    }


def _steps(series: Series, stage: str) -> float:
    ran = series.work(f"{stage}_steps")
    return float(np.concatenate(ran).mean()) if ran else 0.0


def beyond(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the stages, with what is known of their bound, that claim more than is possible.

    With an interval, all of it must be.
    """
    for stage, one in (document.get("roofline") or {}).items():
        least = (one.get("share_ci95") or [one.get("share")])[0]
        if least is not None and least > 1:
            yield stage, one


def narrower(document: Document, stage: str) -> str | None:
    """Return the widest precision narrower than the one stated with which the time is possible."""
    record, limits = document["counts"][stage], document["limits"]
    effective = document["settings"]["effective"][stage]
    mean = document["summary"][f"{stage}_execute.mean"]["estimate"]
    steps = document["roofline"][stage]["steps"] or 0
    stated = width(str(effective.get("storage") or effective.get("compute"))) or 0
    for name, bytes_each in sorted(WIDTHS.items(), key=lambda one: -one[1]):
        found = bound(
            Counts.of(record),
            steps,
            limits,
            dict.fromkeys(("compute", "storage", "activations"), name),
        )
        known = bytes_each < stated and name in limits["operations_s"]
        if known and found is not None and found.seconds <= mean:
            return name
    return None

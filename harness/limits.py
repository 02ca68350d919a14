"""How near a stage comes to what its machine can do: the roofline, of a stored measurement.

A stage can be no quicker than its weights are read, once a turn of its loop, and no quicker than
its products are computed; the later of the two is its limit (Williams, Waterman, Patterson,
Roofline, CACM 52(4), 2009). Weights that fit a cache are taken to stay in it, and nothing but
weights and products is counted, so a limit is never too slow by what it leaves out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.series import Series
from harness.statistics import mean, percentile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BYTES = {
    "float64": 8, "int64": 8, "float32": 4, "float16-rounded": 4, "float16": 2, "bfloat16": 2,
    "int16": 2, "int8": 1, "uint8": 1,
}  # fmt: skip
"""Of an element as it is stored."""
QUICKEST = 0.10
"""Share of the passes a limit is taken from."""


def _parts(precision: Any) -> list[str]:
    return str(precision or "").split("+")


def element_bytes(storage: Any) -> int | None:
    """Return the bytes of a weight; of a mixture its least, so that a limit stays a limit."""
    found = [BYTES[part] for part in _parts(storage) if part in BYTES]
    return min(found) if found else None


def reading(facts: Mapping[str, Any], size_bytes: float) -> Mapping[str, Any] | None:
    """Return the quickest measured reading of a level that holds so many bytes."""
    able = [
        one
        for one in facts["reading"]
        if one["capacity_bytes"] is None or one["capacity_bytes"] >= size_bytes
    ]
    return max(able, key=lambda one: float(one["bytes_per_s"]), default=None)


def peak(facts: Mapping[str, Any], compute: Any) -> Mapping[str, Any] | None:
    """Return the quickest measured product in one of the precisions a stage computes in."""
    wanted = set(_parts(compute))
    able = [one for one in facts["products"] if wanted & set(_parts(one["compute"]))]
    return max(able, key=lambda one: float(one["macs_per_s"]), default=None)


def of_stage(
    facts: Mapping[str, Any], work: Mapping[str, Any], effective: Mapping[str, Any], steps: float
) -> dict[str, Any]:
    """Return the least seconds of a stage, what sets them, or the reason they are not known.

    Args:
        facts: of the machine, as `python -m harness roofline` measured it.
        work: macs, weights, step_macs and step_weights of the stage.
        effective: the precision it ran in.
        steps: turns of its loop; 0 without one.
    """
    size = element_bytes(effective.get("storage"))
    if size is None:
        return _unknown(f"its weights are stored as {effective.get('storage') or 'unknown'}")
    once, each = work["weights"] * size, work["step_weights"] * size
    level, fastest = reading(facts, each or once), peak(facts, effective.get("compute"))
    if level is None or fastest is None:
        return _unknown(
            f"no product in {effective.get('compute')} was measured here: "
            "python -m harness roofline"
        )
    memory_s = (once + each * steps) / level["bytes_per_s"]
    arithmetic_s = (work["macs"] + work["step_macs"] * steps) / fastest["macs_per_s"]
    return {
        "memory_s": memory_s,
        "arithmetic_s": arithmetic_s,
        "limit_s": max(memory_s, arithmetic_s),
        "bound": "memory" if memory_s >= arithmetic_s else "arithmetic",
        "level": level["level"],
        "peak": f"{fastest['backend']} {fastest['compute']}",
        "reason": None,
    }


def _unknown(reason: str) -> dict[str, Any]:
    return {"limit_s": None, "share": None, "reason": reason}


def assess(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return for each stage its limit and the share of it reached; empty without measurements."""
    facts, works = document.get("roofline") or {}, document.get("work") or {}
    series = Series(document)
    if not works or not series.processes or "reading" not in facts:
        return {}
    if len(series.devices) > 1:
        return {stage: _unknown("several devices share the machine") for stage in series.stages}
    effective = document["settings"].get("effective") or {}
    return {
        stage: _assessed(series, stage, facts, works[stage], effective.get(stage) or {})
        for stage in series.stages
        if stage in works
    }


def _assessed(
    series: Series,
    stage: str,
    facts: Mapping[str, Any],
    work: Mapping[str, Any],
    effective: Mapping[str, Any],
) -> dict[str, Any]:
    if work.get("reason"):
        return _unknown(str(work["reason"]))
    if effective.get("device") != "cpu":
        return _unknown("its device is not the processor that was measured")
    steps = _mean_of(series.work(f"{stage}_steps"))
    found = of_stage(facts, work, effective, steps)
    if found["limit_s"] is None:
        return found
    spent = mean(series.seconds(f"{stage}_execute"))
    limit_s = found["limit_s"]
    low, high = spent.ci or (None, None)
    interval = [limit_s / high, limit_s / low] if low and high and low > 0 else None
    return {**found, "share": limit_s / spent.value, "share_ci95": interval}


def _mean_of(columns: Sequence[Any]) -> float:
    return float(np.concatenate(columns).mean()) if columns else 0.0


def fastest(samples: Sequence[Any], amount: float) -> dict[str, Any]:
    """Return the rate of the quickest tenth of passes, with its interval.

    A limit is what a machine can do, so neighbours that slow the other passes do not enter.

    Args:
        samples: seconds of every steady pass, by process.
        amount: what each pass gets through.
    """
    found = percentile(samples, QUICKEST)
    low, high = found.ci or (None, None)
    return {
        "rate": amount / found.value,
        "ci95": [amount / high, amount / low] if low and high else None,
        "n": found.n,
        "processes": found.processes,
    }


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield each stage's share of its limit as a reader wants it, in the pipeline's order."""
    found = document.get("limits") or {}
    for stage in (one["name"] for one in document.get("stages", ()) if one["name"] in found):
        one = found[stage]
        if one["share"] is None:
            yield f"{stage} unknown ({one['reason']})"
        else:
            what = one["level"] if one["bound"] == "memory" else one["peak"]
            yield f"{stage} {one['share']:.0%} ({one['bound']}: {what})"

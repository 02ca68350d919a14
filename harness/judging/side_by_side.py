"""The verdicts of a sweep that was measured beside its baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.judging import comparison
from harness.judging.pairing import Pair
from harness.records import result_file
from harness.records.identity import Side

if TYPE_CHECKING:
    from pathlib import Path


def judge(folder: Path, *, delta: float, control: bool = True) -> comparison.Comparison:
    """Compare the sides that were measured side by side in one sweep.

    Raises:
        UsageError: the folder holds no baseline.
    """
    sweep = result_file.load_sweep(folder)
    pairs = sweep.facts.get("pairs") or {}
    if not pairs:
        raise UsageError(
            f"compare {folder}: no baseline was measured in it; name two sweeps, or measure with "
            "baseline=DIR"
        )
    sides = {
        side: {
            one["point"]["id"]: one for one in result_file.load_sweep(folder / side.value).trials
        }
        for side in (Side.BASELINE, Side.CONTROL)
    }  # fmt: skip
    found = {one["point"]["id"]: one for one in sweep.trials}
    base = sides[Side.BASELINE]
    return comparison.compare_pairs(
        [
            Pair(base[partner_id], found.get(point), chosen=True)
            for point, partner_id in pairs.items()
            if partner_id in base
        ],
        delta=delta,
        controls=[
            Pair(base[one], again, chosen=True)
            for one, again in sides[Side.CONTROL].items()
            if control and one in base
        ],
    )

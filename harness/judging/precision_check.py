"""Precisions of one point held against each other: do two modes differ where they should?

Two modes that take the same time are two names of one measurement, or show that what the mode
changes is not what takes the time. Either way a reader must know before quoting both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from harness.analysis.verdicts import MINIMUM_EFFECT
from harness.judging import roofline
from harness.judging.findings import Finding
from harness.records.precision import precision_text
from harness.units import quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


FIGURE = "latency.items_per_s"
"""Held against each other: items, because what is decoded may differ in length."""


@dataclass(frozen=True)
class Mode:
    """What one point says of its precision and of its speed, and nothing of its samples."""

    name: str
    point: str
    """Everything the point was asked for but the quant mode."""
    quant: str
    ran: str
    compute: frozenset[str]
    items: str
    rate: float
    ci95: tuple[float, float] | None
    beyond: str | None
    """A stage that claims more than its device can do."""


def mode(document: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> Mode | None:
    """Return what is held against other precisions; None where the point has no figures.

    Args:
        document: the point's.
        record: the statistic FIGURE, its estimate and ci95; None: the document has it.
    """
    if record is None:
        record = (document.get("summary") or {}).get(FIGURE) or {}
    if document["status"]["state"] != "ok" or not record.get("estimate"):
        return None
    config = document["point"]["config"]
    shared = {key: value for key, value in config.items() if key not in {"quant", "models"}}
    effective = document["settings"]["effective"]
    return Mode(
        document["point"]["name"],
        repr([(document.get("campaign") or {}).get("side"), sorted(shared.items())]),
        config["quant"],
        precision_text(document),
        frozenset(str(one.get("compute")) for one in effective.values()),
        document["items"][document["stages"][-1]["produces"]],
        record["estimate"],
        tuple(record["ci95"]) if record.get("ci95") else None,
        next((stage for stage, _ in roofline.beyond(document)), None),
    )


def warnings(modes: Iterable[Mode]) -> Iterator[tuple[Finding, Sequence[str]]]:
    """Yield what is wrong with two precisions of one point, and the names of the two."""
    points: dict[str, list[Mode]] = {}
    for one in modes:
        points.setdefault(one.point, []).append(one)
    for together in points.values():
        for pair in combinations(together, 2):
            if pair[0].quant != pair[1].quant and _coincide(*pair):
                yield _finding(*pair), [one.name for one in pair]


def _coincide(a: Mode, b: Mode) -> bool:
    """Tell whether two rates are one: no difference that matters, and inside each other's interval.

    One process alone has no interval; then the difference decides.
    """
    if abs(math.log(a.rate / b.rate)) >= math.log1p(MINIMUM_EFFECT):
        return False
    pairs = ((a, b), (b, a))
    return all(one.ci95 is None or one.ci95[0] <= other.rate <= one.ci95[1] for one, other in pairs)


def _finding(a: Mode, b: Mode) -> Finding:
    apart = abs(a.rate / b.rate - 1)
    seen = (
        f"{a.quant} and {b.quant} are {apart:.1%} apart: {quantity(a.rate)} and "
        f"{quantity(b.rate)} {a.items}/s"
    )
    if a.ran == b.ran:
        return Finding(
            "modes-coincide", "warning", seen, f"both ran as {a.ran}: one thing, measured twice",
            "quote one of them, as what ran",
        )  # fmt: skip
    odd = next((one for one in (a, b) if one.beyond), None)
    if odd is not None:
        return Finding(
            "modes-coincide", "warning", seen,
            f"the {odd.beyond} of {odd.quant} is beyond the bound of its device, so it hardly ran "
            f"as {odd.ran}: the build may have ignored the mode",
            "look at the precision in the built file; do not quote the two as two precisions",
        )  # fmt: skip
    if a.compute == b.compute:
        return Finding(
            "modes-coincide", "warning", seen,
            f"both compute in {', '.join(sorted(a.compute))}; they differ in how values are "
            "rounded, which costs and saves next to nothing here",
            "say nothing of the speed of the narrower mode's kernels",
        )  # fmt: skip
    return Finding(
        "modes-coincide", "warning", seen,
        f"one ran as {a.ran}, the other as {b.ran}: the build may have ignored a mode, or the "
        "time goes neither into arithmetic nor into reading weights",
        "look at each stage's share of its bound, and at the precision in the built files",
    )  # fmt: skip

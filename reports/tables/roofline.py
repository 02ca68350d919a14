"""How near each stage comes to what its device can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.tables.cells import MISSING, Cell, Column, Row, Table
from reports.text.plain import plain
from reports.text.scales import Scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.views.points import PointView


NOT_MEASURED = "not measured: python -m harness roofline"
SHOWN = Scale("%", 100.0)


def _stage(point: PointView, stage: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (point.document.get("roofline") or {}).get(stage) or {}
    return found


def roofline_table(points: Sequence[PointView]) -> Table:
    """Return the share of the roofline of every stage; no rows when no point has any."""
    stages = dict.fromkeys(stage for point in points for stage in point.stages)
    having = [point for point in points if any(_stage(point, stage) for stage in stages)]
    columns = tuple(Column(f"{s}_share", s, "%", "1", "Share of the roofline") for s in stages)
    rows = [
        Row(point, "latency", tuple(_cell(point, stage) for stage in stages)) for point in having
    ]
    return Table(columns, tuple(rows))


def _cell(point: PointView, stage: str) -> Cell:
    found = _stage(point, stage)
    if found.get("share") is None:
        ran = stage in point.stages
        return Cell(note=plain(found.get("reason") or NOT_MEASURED) if ran else "", style=MISSING)
    low, high = found.get("share_ci95") or (None, None)
    notes = [SHOWN.interval(low, high), _limit(point, found)]
    return Cell(
        SHOWN.text(found["share"]), found["share"], "; ".join(filter(None, notes)), low, high
    )


def _limit(point: PointView, found: Mapping[str, Any]) -> str:
    """Return what limits a stage, and whether that was measured without an interval."""
    if not found.get("limit"):
        return ""
    measured = (point.document.get("limits") or {}).get("kind") == "measured"
    unsure = ", measured without an interval" if measured and not found.get("bound_ci95") else ""
    return f"limit: {plain(found['limit'])}{unsure}"

"""The tables of the stages of each point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis.metrics import CL, RESPONSE
from reports.tables.cells import Column, Row, Table, number_cell, records, scaled
from reports.tables.points import CL_N, COMPAT, _count, _title, grade_cell, latency_scale
from reports.text.scales import Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.views.points import PointView, SweepView


_STAGE_STATISTICS = ("mean", "p50", "p90", "p95", "p99", "max")


def stage_columns(scale: Scale, times: str = "Latency") -> tuple[Column, ...]:
    """Return the columns of the stage tables; times share one unit and one heading."""
    return (
        Column("grade", "grade", number=False),
        *(Column(f"{key}_s", key, scale.unit, "s", times) for key in _STAGE_STATISTICS),
        CL_N,
        *(Column(f"cl{p}_s", f"cl{p}", scale.unit, "s", COMPAT) for p in CL),
        Column("items_per_s", "valid", "items/s", "items/s", "Throughput"),
        Column("items_padded_per_s", "padded", "items/s", "items/s", "Throughput"),
    )


def stage_row(point: PointView, subject: str, times: Scale, rates: Scale) -> Row:
    """Return the figures of one stage, or of the whole, of one point."""
    cells = [number_cell(point.record(subject, key), times) for key in _STAGE_STATISTICS]
    cells.append(_count(point.counted_as_original(subject), "n"))
    cells += [number_cell(point.record(subject, f"cl{p}"), times) for p in CL]
    cells += [
        number_cell(point.record(subject, key), rates)
        for key in ("items_per_s", "items_padded_per_s")
    ]
    mean = point.record(subject, "mean")
    return Row(point, subject, (grade_cell(mean.letter if mean else None), *cells))


@dataclass(frozen=True)
class StageGroup:
    """The rows of one stage over all points: figures that can be compared at a glance."""

    subject: str
    title: str
    items: str
    table: Table


def stage_tables(sweep: SweepView, points: Sequence[PointView]) -> list[StageGroup]:
    """Return one table per stage, the whole first, for the given points of a sweep."""
    groups = []
    heading = "Time" if any(point.scheduled for point in points) else "Latency"
    for subject in dict.fromkeys(name for point in points for name in point.subjects):
        having = [point for point in points if subject in point.subjects]
        times = latency_scale(sweep, subject)
        rates = scaled(Scale(""), records(having, subject, "items_per_s"))
        rows = tuple(stage_row(point, subject, times, rates) for point in having)
        items = " or ".join(dict.fromkeys(point.items_of(subject) for point in having))
        groups.append(
            StageGroup(
                subject, _title(subject, having), items, Table(stage_columns(times, heading), rows)
            )
        )
    order = {RESPONSE: 0, "latency": 1, "tacotron2": 2}
    return sorted(groups, key=lambda group: order.get(group.subject, 3))

"""The table of requests served on a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.tables.cells import Column, Row, Table, number_cell, records, scaled
from reports.text.scales import Scale, time_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.views.points import PointView


_REQUESTS = (
    ("response", "mean", "mean", "Response"),
    ("response", "p50", "p50", "Response"),
    ("response", "p90", "p90", "Response"),
    ("response", "p99", "p99", "Response"),
    ("queueing", "mean", "mean", "Waiting"),
    ("latency", "mean", "mean", "Service time"),
)


def request_table(points: Sequence[PointView]) -> Table:
    """Return what requests by a schedule waited for; empty when no point had one."""
    having = [point for point in points if point.scheduled]
    scale = time_scale(r.estimate for r in records(having, "latency", "mean"))
    scale = scaled(scale, records(having, "latency", "mean"))
    rates = scaled(Scale(""), records(having, "response", "requests_per_s"))
    columns = [
        Column(f"{subject}_{statistic}_s", label, scale.unit, "s", group)
        for subject, statistic, label, group in _REQUESTS
    ]
    completed = Column("requests_per_s", "completed", "requests/s", "1/s", "Rate")
    rows = tuple(
        Row(
            point,
            "response",
            (
                number_cell(point.record("response", "requests_per_s"), rates),
                *(
                    number_cell(point.record(subject, key), scale)
                    for subject, key, _, _ in _REQUESTS
                ),
            ),
        )
        for point in having
    )
    return Table((completed, *columns), rows)

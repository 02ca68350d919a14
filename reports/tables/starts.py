"""The table of compile, load and first-iteration times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.tables.cells import MISSING, Cell, Column, Row, Table, number_cell, records, scaled
from reports.text.scales import time_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.views.points import PointView


STARTS = {"compile": "compile", "load": "load", "first": "first pass"}
"""Subjects measured once in each process, before its steady state, and what they are called."""


def start_table(points: Sequence[PointView]) -> Table:
    """Return what each point took before its steady state: compiling, loading, the first pass."""
    having = [point for point in points if records([point], "load", "mean")]
    columns, scales = [], {}
    for subject, title in STARTS.items():
        found = records(having, subject, "mean")
        scales[subject] = scaled(time_scale(record.estimate for record in found), found)
        columns.append(Column(f"{subject}_s", title, scales[subject].unit, "s"))
    rows = [
        Row(
            point,
            "load",
            (
                *(
                    number_cell(point.record(subject, "mean"), scale)
                    for subject, scale in scales.items()
                ),
                _cached_cell(point),
            ),
        )
        for point in having
    ]
    cached = Column("cached", "from the cache", "of P processes", number=False)
    return Table((*columns, cached), tuple(rows))


def _cached_cell(point: PointView) -> Cell:
    known = [bool(one["compile_cached"]) for one in point.processes if "compile_cached" in one]
    return Cell(f"{sum(known)} of {len(known)}") if known else Cell(style=MISSING)

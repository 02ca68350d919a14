"""The table of points in other formats: the cells of the page, so that every surface agrees."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from harness.errors import UsageError
from reports.tables.findings import headline
from reports.tables.points import points_table
from reports.text.markup import ampersands, markdown, pipes, tex
from reports.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from reports.tables.cells import Cell, Column, Row, Table
    from reports.views.points import SweepView


_COMPAT_NOTE = (
    "cl columns follow the original's rule (compat); they have no interval, and an n of their own."
)


def export_text(sweep: SweepView, name: str) -> str:
    """Return the points of a sweep in a format of `FORMATS`.

    Raises:
        UsageError: there is no such format.
    """
    if name not in FORMATS:
        raise UsageError(f"format {name!r} is unknown; possible: {', '.join(sorted(FORMATS))}")
    return FORMATS[name](sweep)


def _weights(row: Row) -> str:
    weights = row.point.document.get("weights") or {}
    return plain(weights.get("label") or weights.get("kind") or "")


def _heading(column: Column) -> str:
    label = f"{column.group}: {column.label}" if column.group else column.label
    return f"{label}, {column.unit}" if column.unit else label


def _words(cell: Cell) -> str:
    """Return text and second line of a cell in one line."""
    return f"{cell.text} {cell.note}".strip()


def _lines_above(sweep: SweepView, table: Table) -> list[str]:
    """Return what must be known before the table is read."""
    lines = [headline(sweep)]
    labels = sorted({p.synthetic for p in sweep.points if p.synthetic})
    if labels:
        lines.append(f"Synthetic weights: {plain(', '.join(labels))}.")
    if sweep.beside.text:
        lines.append(sweep.beside.text)
    if table.common:
        lines.append(f"Every point: {', '.join(table.common)}.")
    lines.append(f"In brackets after each figure its 95 % interval. {_COMPAT_NOTE}")
    return lines


def to_markdown(sweep: SweepView) -> str:
    """Return a Markdown table under the lines a reader needs to judge it."""
    table = points_table(sweep)
    lines = [markdown(line) + "\n" for line in _lines_above(sweep, table)]
    heads = ["point", *(_heading(column) for column in table.columns)]
    rules = [":--", *("--:" if column.number else ":--" for column in table.columns)]
    rows = [
        [plain(sweep.names[row.point.id]), *(_words(cell) for cell in row.cells)]
        for row in table.rows
    ]
    lines.append(pipes(heads))
    lines.append(f"| {' | '.join(rules)} |")
    lines += [pipes(row) for row in rows]
    return "\n".join(lines) + "\n"


def _exact(value: float | str | None) -> str:
    return "" if value is None else str(value)


def to_csv(sweep: SweepView) -> str:
    """Return one line per point: exact values in SI units, each with the ends of its interval."""
    table = points_table(sweep)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    intervals = [_has_interval(table, place) for place in range(len(table.columns))]
    head = ["point_id", "point", "weights"]
    for column, interval in zip(table.columns, intervals, strict=True):
        head += [column.key, *((f"{column.key}_lo", f"{column.key}_hi") if interval else ())]
    writer.writerow(head)
    for row in table.rows:
        line = [row.point.id, plain(sweep.names[row.point.id]), _weights(row)]
        for cell, interval in zip(row.cells, intervals, strict=True):
            line += [
                _exact(cell.value),
                *((_exact(cell.low), _exact(cell.high)) if interval else ()),
            ]
        writer.writerow(line)
    return stream.getvalue()


def _has_interval(table: Table, place: int) -> bool:
    return any(row.cells[place].low is not None for row in table.rows)


def to_json(sweep: SweepView) -> str:
    """Return the rows with exact values, intervals, units and the text shown."""
    table = points_table(sweep)
    rows = [
        {
            "point_id": row.point.id,
            "point": plain(sweep.names[row.point.id]),
            "weights": _weights(row),
            "cells": {
                column.key: {
                    "value": cell.value,
                    "low": cell.low,
                    "high": cell.high,
                    "unit": column.si,
                    "text": cell.text,
                    "note": cell.note,
                }
                for column, cell in zip(table.columns, row.cells, strict=True)
            },
        }
        for row in table.rows
    ]
    document = {"headline": headline(sweep), "common": list(table.common), "rows": rows}
    return (
        json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n"
    )


def to_latex(sweep: SweepView) -> str:
    """Return a booktabs table; the document needs the booktabs package."""
    table = points_table(sweep)
    columns = "l" + "".join("r" if column.number else "l" for column in table.columns)
    heads = ["point", *(_heading(column) for column in table.columns)]
    lines = [
        "% needs \\usepackage{booktabs}",
        *(f"% {tex(line)}" for line in _lines_above(sweep, table)),
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        ampersands(heads),
        "\\midrule",
        *(
            ampersands([plain(sweep.names[row.point.id]), *(_words(cell) for cell in row.cells)])
            for row in table.rows
        ),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[SweepView], str]] = {
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
    "markdown": to_markdown,
}
"""The formats of `reports.export`."""

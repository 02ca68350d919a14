"""Cells, columns and rows that all tables are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reports.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reports.text.scales import Scale
    from reports.views.points import PointView, Record

MISSING = "missing"
NO_FIGURE = "—"


@dataclass(frozen=True)
class Cell:
    """One table cell: what is read, and the exact value behind it (SI units)."""

    text: str = NO_FIGURE
    value: float | str | None = None
    note: str = ""
    """Second line: the 95 % interval, or why there is no figure."""
    low: float | None = None
    high: float | None = None
    style: str = ""

    @property
    def sort(self) -> str:
        """The sort key as text; empty sorts last."""
        return "" if self.value is None else str(self.value)


@dataclass(frozen=True)
class Column:
    """One column: its heading, and what its values are in SI units."""

    key: str
    label: str
    unit: str = ""
    """Unit of the text, in the heading only."""
    si: str = ""
    """Unit of `Cell.value`."""
    group: str = ""
    number: bool = True
    help: str = ""


@dataclass(frozen=True)
class Row:
    """The cells of one point, or of one point and stage."""

    point: PointView
    subject: str
    cells: tuple[Cell, ...]

    @property
    def basis(self) -> str:
        """How many iterations and processes the figures stand on."""
        record = self.point.record(self.subject, "mean")
        return f"n = {record.n:,}, P = {record.processes}" if record else ""


@dataclass(frozen=True)
class Table:
    """Columns and rows; `common` is what all points share and no column repeats."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    common: tuple[str, ...] = ()
    groups: tuple[tuple[str, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        object.__setattr__(self, "groups", tuple(spans))


def number_cell(record: Record | None, scale: Scale) -> Cell:
    """Return a figure with both ends of its interval, or the reason why there is none."""
    if record is None:
        return Cell(style=MISSING)
    if record.estimate is None:
        words, _, detail = (record.reason or "not available").partition(" (")
        words, _, more = words.partition(": ")
        note = " ".join(part for part in (more, f"({detail}" if detail else "") if part)
        return Cell(text=words, note=note, style=MISSING)
    note = scale.bracketed(record.low, record.high)
    return Cell(scale.text(record.estimate), record.estimate, note, record.low, record.high)


def records(points: Iterable[PointView], subject: str, statistic: str) -> list[Record]:
    """Return the record of each point that has one."""
    found = (point.record(subject, statistic) for point in points)
    return [record for record in found if record is not None]


def exact_cell(value: float | None, decimals: int = 0, factor: float = 1.0) -> Cell:
    """Return a figure that has no interval, shown in units of 1 / factor."""
    if value is None:
        return Cell(style=MISSING)
    return Cell(f"{value * factor:,.{decimals}f}", value)


def text_cell(text: object) -> Cell:
    """Return words of a result file."""
    return Cell(plain(text), plain(text)) if text else Cell(style=MISSING)


def scaled(scale: Scale, records: Iterable[Record]) -> Scale:
    """Return the scale with the decimals that these records' intervals support."""
    known = list(records)
    return scale.with_decimals(
        (record.half_width for record in known),
        [record.estimate for record in known if record.estimate is not None],
    )

"""The rows every surface shows: the page, Markdown, CSV and LaTeX print the same cells.

A cell carries its text and the exact value behind it, so that a table can be sorted and a
machine-readable export needs no second derivation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from harness.analysis.metrics import RESPONSE
from harness.naming import text as text_of
from reports.tables.cells import MISSING, Cell, Column, Row, Table, number_cell, records, scaled
from reports.text.plain import plain
from reports.text.precision import precision_text
from reports.text.scales import Scale, time_scale
from reports.views.labels import describe, varying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reports.views.points import PointView, Record, SweepView


COMPAT = "compat"
STAGE_GROUP = "Throughput of each stage"


_Maker: TypeAlias = "Callable[[PointView], Cell]"


@dataclass(frozen=True)
class _Figure:
    """A column that shows one statistic of one subject."""

    column: Column
    subject: str
    statistic: str
    scale: Scale
    items: bool = False
    """Name the items in the cell: they are not the same for every point."""
    has: Callable[[PointView], bool] = lambda _: True
    """Tells the points of which the column speaks."""

    def cell(self, point: PointView) -> Cell:
        if point.summary and not self.has(point):
            return Cell(style=MISSING)
        record = point.record(self.subject, self.statistic)
        cell = number_cell(record, self.scale)
        if not self.items or cell.value is None:
            return cell
        return replace(cell, note=f"{cell.note} {point.items_of(self.subject)}".strip())


def latency_scale(sweep: SweepView, subject: str = "latency") -> Scale:
    """Return the one time unit of a sweep, with the decimals its mean latencies support."""
    means = records(sweep.measured, "latency", "mean")
    unit = time_scale(record.estimate for record in means)
    return scaled(unit, records(sweep.measured, subject, "mean"))


@dataclass(frozen=True)
class _Kind:
    """Points whose times mean the same, and what these times are called."""

    before: str
    """Of the keys of their columns."""
    group: str
    subject: str
    has: Callable[[PointView], bool]
    statistics: tuple[str, ...]
    help: str = ""


_CLOSED = _Kind(
    "", "Latency", "latency", lambda point: not point.scheduled, ("mean", "p50", "p90", "p99")
)
_RESPONSE = _Kind(
    "response_", "Response", RESPONSE, lambda point: point.serves, ("mean", "p50", "p90", "p99"),
    "from when a request was due to its last result: ",
)  # fmt: skip
_SERVICE = _Kind(
    "service_", "Service time", "latency", lambda point: point.scheduled, ("mean", "p50", "p99"),
    "from when a request was sent to its last result: ",
)  # fmt: skip


def _kinds(sweep: SweepView, *kinds: _Kind) -> list[_Kind]:
    """Return the kinds of which there are points; without any figures, what most sweeps have."""
    return [one for one in kinds if any(map(one.has, sweep.measured))] or [_CLOSED]


def _time_figures(sweep: SweepView) -> list[_Figure]:
    """Return the times a request took: each column says which time it is."""
    figures = []
    for kind in _kinds(sweep, _CLOSED, _RESPONSE, _SERVICE):
        scale = latency_scale(sweep)
        if kind is _RESPONSE:
            means = records(filter(kind.has, sweep.measured), RESPONSE, "mean")
            scale = scaled(time_scale(one.estimate for one in means), means)
        for name in kind.statistics:
            words = (
                "mean of process means with its 95 % interval"
                if name == "mean"
                else f"the {name[1:]} % quantile with its distribution-free 95 % interval"
            )
            column = Column(
                f"{kind.before}{name}_s", name, scale.unit, "s", kind.group, help=kind.help + words
            )
            figures.append(_Figure(column, kind.subject, name, scale, has=kind.has))
    return figures


CL_N = Column(
    "cl_n",
    "n",
    group=COMPAT,
    help="all iterations but the warm-up asked for, as the original counts",
)
"""Of the columns with `cl` figures, which count other iterations than those with an interval."""


def _compat_makers(sweep: SweepView) -> Iterator[tuple[Column, _Maker]]:
    """Yield the columns of the original's rule, of each kind of points, led by their n."""
    scale = latency_scale(sweep)
    for kind in _kinds(sweep, _CLOSED, _SERVICE):
        group = COMPAT if kind is _CLOSED else f"{COMPAT}, service time"
        yield (
            replace(CL_N, key=f"{kind.before}cl_n", group=group),
            partial(_count_as_original, has=kind.has),
        )
        for p in (50, 99):
            column = Column(
                f"{kind.before}cl{p}_s",
                f"cl{p}",
                scale.unit,
                "s",
                group,
                help="the original's rule over all steady iterations; it has no interval",
            )
            yield column, _Figure(column, "latency", f"cl{p}", scale, has=kind.has).cell


def _count_as_original(point: PointView, *, has: Callable[[PointView], bool]) -> Cell:
    return _count(point.counted_as_original(), "n") if has(point) else Cell(style=MISSING)


def _served_figures(sweep: SweepView) -> list[_Figure]:
    """Return how much a server completed, and how much it did while it was serving."""
    points = [point for point in sweep.measured if point.serves]
    figures = []
    for subject, statistic, label, unit, words in (
        (RESPONSE, "requests_per_s", "completed", "requests/s", "requests completed per second"),
        ("latency", "items_per_s", "while serving", "items/s", "valid items per service second"),
    ):
        if found := records(points, subject, statistic):
            before = "" if subject == RESPONSE else "service_"
            column = Column(f"{before}{statistic}", label, unit, unit, "Throughput", help=words)
            scale = scaled(Scale(unit), found)
            figures.append(
                _Figure(column, subject, statistic, scale, items=bool(before), has=_RESPONSE.has)
            )
    return figures


def _rate_figures(sweep: SweepView) -> list[_Figure]:
    figures = []
    names = dict.fromkeys(name for point in sweep.measured for name in ("latency", *point.stages))
    for subject in names:
        whole = subject == "latency"
        points = [point for point in sweep.measured if not (whole and point.serves)]
        found = records(points, subject, "items_per_s")
        if not found:
            continue
        items = dict.fromkeys(
            point.items_of(subject) for point in points if subject in point.subjects
        )
        mixed = len(items) > 1
        unit = "items/s" if mixed else f"{next(iter(items), 'items')}/s"
        figures.append(
            _Figure(
                Column(
                    f"{subject}_items_per_s",
                    "whole" if whole else subject,
                    unit,
                    unit,
                    "Throughput" if whole else STAGE_GROUP,
                    help="valid items per second, ratio of sums",
                ),
                subject,
                "items_per_s",
                scaled(Scale(unit), found),
                items=mixed,
                has=(lambda point: not point.serves) if whole else (lambda _: True),
            )
        )
    return figures


def _real_time_figures(sweep: SweepView) -> list[_Figure]:
    columns = {
        "x_realtime": Column(
            "x_realtime",
            "x real time",
            "",
            "1",
            "Real time",
            help="seconds of speech per second; higher is better",
        ),
        "rtf": Column(
            "rtf",
            "rtf",
            "",
            "1",
            "Real time",
            help="seconds of compute per second of speech; lower is better",
        ),
    }
    kinds = ((_CLOSED.has, "", ""), (_SERVICE.has, "service_", ", service time"))
    return [
        _Figure(
            replace(column, key=before + key, group=column.group + of),
            "latency", key, scaled(Scale(""), found), has=has,
        )
        for has, before, of in kinds
        for key, column in columns.items()
        if (found := records(filter(has, sweep.measured), "latency", key))
    ]  # fmt: skip


def state_cell(point: PointView) -> Cell:
    """Return a point's status with its reason."""
    if point.accuracy_failed:
        beside = "" if point.state == "ok" else plain(point.state)
        return Cell("accuracy failed", "accuracy failed", beside, style="state-failed")
    return Cell(point.state, point.state, plain(point.reason or ""), style=f"state-{point.state}")


def grade_cell(letter: str | None) -> Cell:
    """Return a grade."""
    return Cell(letter, letter, style=f"grade-{letter}") if letter else Cell(style=MISSING)


def _count(record: Record | None, attribute: str) -> Cell:
    value = getattr(record, attribute) if record is not None else None
    return Cell(f"{value:,}", value) if value else Cell(style=MISSING)


_CHOSEN = {
    "backend": Column("backend", "backend", number=False),
    "quant": Column("quant", "requested", group="Precision", number=False),
    "bs": Column("bs", "batch", group="Input"),
    "il": Column("il", "length", group="Input"),
    "waveglow": Column("waveglow", "vocoder", number=False),
    "devices": Column("devices", "device", number=False),
}
_ALWAYS = ("quant", "bs")


def _choice_cell(point: PointView, key: str) -> Cell:
    value = point.choices.get(key)
    if value is None:
        return Cell(style=MISSING)
    if isinstance(value, int) and not isinstance(value, bool):
        return Cell(f"{value:,}", value)
    if isinstance(value, float):
        return Cell(text_of(value), value)
    words = describe(key, value) if key in {"waveglow", "devices"} else text_of(value)
    return Cell(plain(words), plain(words))


def _choice_columns(sweep: SweepView) -> list[str]:
    differing = varying(sweep.points)
    keys = [key for key in _CHOSEN if key in differing or key in _ALWAYS]
    return keys + [key for key in differing if key not in _CHOSEN]


def common_choices(sweep: SweepView) -> tuple[str, ...]:
    """Return, in words, what was chosen alike for every point and is in no column."""
    if not sweep.points:
        return ()
    shown = set(_choice_columns(sweep))
    flat = sweep.points[0].choices
    keys = [key for key in ("backend", "devices", "il", "waveglow", "model") if key in flat]
    if flat.get("scenario", "single_stream") != "single_stream":
        keys += [key for key in flat if key.partition(".")[0] == "scenario"]
    return tuple(plain(describe(key, flat[key])) for key in keys if key not in shown)


def points_table(sweep: SweepView, *, compact: bool = False) -> Table:
    """Return one row per point, in the order of the plan.

    Args:
        sweep: the points.
        compact: leave out what a page of very many points cannot carry; the points' own tables
            and the exports have it.
    """
    rates = _rate_figures(sweep)
    by_stage = [one for one in rates if one.column.group == STAGE_GROUP]
    figures = [
        *_time_figures(sweep),
        *(one for one in rates if one not in by_stage),
        *_served_figures(sweep),
        *_real_time_figures(sweep),
    ]
    makers: list[tuple[Column, _Maker]] = [
        (Column("state", "status", number=False), state_cell),
        (Column("grade", "grade", number=False), lambda point: grade_cell(point.grade)),
        *_choice_makers(sweep),
        *_COUNTS,
        *((figure.column, figure.cell) for figure in figures),
        *_compat_makers(sweep),
        *((figure.column, figure.cell) for figure in by_stage),
    ]
    if compact:
        makers = [
            (column, make)
            for column, make in makers
            if column.key not in _LEFT_OUT and column.group != STAGE_GROUP
        ]
    table = Table(
        columns=tuple(column for column, _ in makers),
        rows=tuple(
            Row(point, "latency", tuple(make(point) for _, make in makers))
            for point in sweep.points
        ),
        common=common_choices(sweep),
    )
    return _lifted(table) if compact else table


def _lifted(table: Table) -> Table:
    """Return the table without the columns in which all rows are alike; they are said once."""
    alike = [
        len({(row.cells[place].text, row.cells[place].note) for row in table.rows}) == 1
        for place in range(len(table.columns))
    ]
    said = [
        f"{column.label} {table.rows[0].cells[place].text}"
        for place, column in enumerate(table.columns)
        if alike[place]
    ]
    keep = [place for place, one in enumerate(alike) if not one]
    return Table(
        columns=tuple(table.columns[place] for place in keep),
        rows=tuple(
            Row(row.point, row.subject, tuple(row.cells[place] for place in keep))
            for row in table.rows
        ),
        common=(*table.common, *said),
    )


_COUNTS: tuple[tuple[Column, _Maker], ...] = (
    (
        Column(
            "n",
            "n",
            group="Samples",
            help="steady iterations, behind means, percentiles and rates",
        ),
        lambda point: _count(point.record("latency", "mean"), "n"),
    ),
    (
        Column("processes", "P", group="Samples", help="fresh processes"),
        lambda point: _count(point.record("latency", "mean"), "processes"),
    ),
)
_LEFT_OUT = frozenset(
    {
        "effective", "processes", "p90_s", "cl_n", "cl50_s", "cl99_s", "rtf", "x_realtime",
        "response_p90_s", "service_p50_s", "service_cl_n", "service_cl50_s", "service_cl99_s",
        "service_rtf", "service_x_realtime", "service_items_per_s",
    }
)  # fmt: skip
"""Keys of columns that a page of very many points goes without."""


def _choice_makers(sweep: SweepView) -> list[tuple[Column, _Maker]]:
    makers: list[tuple[Column, _Maker]] = []
    for key in _choice_columns(sweep):
        column = _CHOSEN.get(key) or Column(key, key.rpartition(".")[2].replace("_", " "))
        makers.append((column, partial(_choice_cell, key=key)))
        if key == "quant":
            makers.append((_EFFECTIVE, _effective_cell))
    return makers


_EFFECTIVE = Column(
    "effective",
    "effective",
    group="Precision",
    number=False,
    help="read back from the runtime after loading",
)


def _effective_cell(point: PointView) -> Cell:
    text = precision_text(point.document)
    return Cell(text, text) if text else Cell(style=MISSING)


def _title(subject: str, points: Sequence[PointView]) -> str:
    """Return what a subject is called on the page."""
    if subject == "latency" and any(point.scheduled for point in points):
        every = all(point.scheduled for point in points)
        which = "service time" if every else "latency, or service time of scheduled requests"
        return f"Whole pipeline, {which}"
    known = {
        RESPONSE: "Response, from due to done",
        "latency": "Whole pipeline",
        "tacotron2": "Tacotron 2, without the vocoder",
    }
    return known.get(subject, subject.capitalize())

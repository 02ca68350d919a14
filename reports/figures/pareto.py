"""Latency against throughput: which points no other point beats in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.figures.canvas import INK, MUTED, PAPER, SERIES, Data, Drawing, figure, to_svg
from reports.figures.styles import Look, family_looks, spread
from reports.tables.points import latency_scale
from reports.text.plain import plain
from reports.text.scales import Scale
from reports.views.labels import family, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from reports.views.points import PointView, Record, SweepView


KEY = "fig-pareto"
TITLE = "What a shorter latency costs in throughput"
MOST_CROSSES = 60
"""Points up to which each shows its intervals; beyond, only those of the front do."""
MOST_FAMILIES = 10
MOST_NAMES = 12
MOST_ROWS = 60
FEW = "not shown: it needs at least two measured points"
UNSCHEDULED = " whose rate no schedule sets"


@dataclass(frozen=True)
class ParetoMark:
    """One point of the plane."""

    point: PointView
    label: str
    latency: Record
    rate: Record
    on_front: bool = False

    @property
    def place(self) -> tuple[float, float]:
        """Throughput and latency, in SI units."""
        return self.rate.estimate or 0.0, self.latency.estimate or 0.0


def statistic_of(points: Sequence[PointView]) -> str:
    """Return the slowest percentile that every point can show; the mean where there is none."""
    for name in ("p99", "p95", "p90", "p50"):
        records = [point.record("latency", name) for point in points]
        if points and all(one is not None and one.estimate is not None for one in records):
            return name
    return "mean"


def front(places: Sequence[tuple[float, float]]) -> set[int]:
    """Return the places (throughput, latency) that no other beats: more, and no slower.

    Of equal ones all are kept.
    """
    order = sorted(range(len(places)), key=lambda at: (-places[at][0], places[at][1]))
    kept: set[int] = set()
    least: float | None = None
    last: tuple[float, float] | None = None
    for at in order:
        if least is None or places[at][1] < least or places[at] == last:
            kept.add(at)
            least, last = places[at][1], places[at]
    return kept


def marks(sweep: SweepView, statistic: str) -> list[ParetoMark]:
    """Return every measured point that has both figures, those of the front marked.

    A point whose outputs are too far from the reference's did other work: it is never on the front.
    """
    found = []
    for point in choosable(sweep):
        latency = point.record("latency", statistic)
        rate = point.record("latency", "items_per_s")
        if latency and rate and latency.estimate is not None and rate.estimate is not None:
            found.append(ParetoMark(point, plain(sweep.labels[point.id]), latency, rate))
    sound = [at for at, one in enumerate(found) if not one.point.accuracy_failed]
    best = {sound[at] for at in front([found[at].place for at in sound])}
    return [
        ParetoMark(o.point, o.label, o.latency, o.rate, at in best) for at, o in enumerate(found)
    ]


def choosable(sweep: SweepView) -> list[PointView]:
    """Return the points between which one may choose: not those whose rate somebody else set."""
    return [point for point in sweep.measured if not point.scheduled]


def draw(sweep: SweepView) -> Drawing:
    """Return the plane with the front as a step line; dominated points are hollow."""
    points = choosable(sweep)
    items = dict.fromkeys(point.items_of("latency") for point in points)
    if len(items) > 1:
        return Drawing(KEY, TITLE, "", missing="not shown: the points produce different items")
    statistic = statistic_of(points)
    every = marks(sweep, statistic)
    if len(every) < 2:  # noqa: PLR2004 - one point is no trade
        only = UNSCHEDULED if len(points) < len(sweep.measured) else ""
        return Drawing(KEY, TITLE, "", missing=FEW + only)
    scale = latency_scale(sweep)
    unit = f"valid {next(iter(items))}/s"
    drawn = figure(3.8)
    axes = drawn.subplots()
    _points(axes, every, scale)
    _front(axes, every, scale)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_xlabel(f"{unit}; further right is more")
    axes.set_ylabel(f"{statistic} latency, {scale.unit}; lower is shorter")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    chosen = sorted((one for one in every if one.on_front), key=lambda one: one.place)
    svg = to_svg(drawn, key=KEY, title=TITLE, desc=_description(chosen, scale, unit, statistic))
    return Drawing(
        KEY, TITLE, _caption(every, statistic), svg=svg, data=_data(every, scale, unit, statistic)
    )


def _points(axes: Axes, every: Sequence[ParetoMark], scale: Scale) -> None:
    looks = family_looks([one.point for one in every])
    few = len(looks) <= MOST_FAMILIES
    groups: dict[tuple[Look, bool], list[ParetoMark]] = {}
    for one in every:
        look = looks[family(one.point, "bs")] if few else Look(SERIES[0], "-", "o")
        groups.setdefault((look, one.on_front), []).append(one)
    for (look, on_front), members in groups.items():
        axes.plot(
            [one.place[0] for one in members], [one.place[1] * scale.factor for one in members],
            ls="none", marker=look.marker, mec=look.colour, mew=1.1,
            mfc=look.colour if on_front else PAPER, ms=5.5 if on_front else 4.5, zorder=3,
        )  # fmt: skip
    _crosses(axes, every if len(every) <= MOST_CROSSES else [o for o in every if o.on_front], scale)


def _crosses(axes: Axes, shown: Sequence[ParetoMark], scale: Scale) -> None:
    factor = scale.factor
    tall = [one for one in shown if one.latency.low is not None and one.latency.high is not None]
    wide = [one for one in shown if one.rate.low is not None and one.rate.high is not None]
    axes.vlines(
        [one.place[0] for one in tall],
        [(one.latency.low or 0.0) * factor for one in tall],
        [(one.latency.high or 0.0) * factor for one in tall],
        colors=MUTED, lw=1,
    )  # fmt: skip
    axes.hlines(
        [one.place[1] * factor for one in wide],
        [one.rate.low or 0.0 for one in wide],
        [one.rate.high or 0.0 for one in wide],
        colors=MUTED, lw=1,
    )  # fmt: skip


def _front(axes: Axes, every: Sequence[ParetoMark], scale: Scale) -> None:
    chosen = sorted((one for one in every if one.on_front), key=lambda one: one.place)
    axes.plot(
        [one.place[0] for one in chosen], [one.place[1] * scale.factor for one in chosen],
        color=INK, lw=0.9, drawstyle="steps-pre", zorder=2,
    )  # fmt: skip
    named = chosen[:: -(-len(chosen) // MOST_NAMES)]
    heights = [one.place[1] * scale.factor for one in named]
    places = spread(heights, max(one.place[1] for one in every) * scale.factor * 0.05)
    for one, place in zip(named, places, strict=True):
        axes.annotate(
            shorten(one.label, 28), (one.place[0], place), xytext=(7, 0), va="center",
            textcoords="offset points", color=INK, fontsize=8, annotation_clip=False,
        )  # fmt: skip


def _caption(every: Sequence[ParetoMark], statistic: str) -> str:
    count = sum(one.on_front for one in every)
    what = "mean latency" if statistic == "mean" else f"{statistic}, which every point can show"
    crosses = "" if len(every) <= MOST_CROSSES else " of the points on the line"
    unsound = any(one.point.accuracy_failed for one in every)
    return (
        f"Filled marks on the line: the {count} of {len(every):,} points that no other point beats "
        f"in both; hollow: beaten. Latency is {what}. Crosses{crosses} are 95 % intervals; points "
        "whose crosses overlap are not told apart. Both axes start at zero."
        + (" A point whose accuracy failed is never on the line." if unsound else "")
    )


def _description(chosen: Sequence[ParetoMark], scale: Scale, unit: str, statistic: str) -> str:
    rates = Scale("")
    return "Not beaten by any other: " + "; ".join(
        f"{one.label}: {rates.text(one.rate.estimate)} {unit} at {statistic} "
        f"{scale.text(one.latency.estimate)} {scale.unit}"
        for one in chosen[:MOST_NAMES]
    )


def _data(every: Sequence[ParetoMark], scale: Scale, unit: str, statistic: str) -> Data:
    ordered = sorted(every, key=lambda one: (not one.on_front, one.place))
    rows = []
    for one in ordered[:MOST_ROWS]:
        rates = Scale("").with_decimals([one.rate.half_width], [one.rate.estimate or 0.0])
        rows.append(
            (
                one.label,
                "yes" if one.on_front else "no",
                rates.text(one.rate.estimate),
                rates.interval(one.rate.low, one.rate.high) or "no interval",
                scale.text(one.latency.estimate),
                scale.interval(one.latency.low, one.latency.high) or "no interval",
            )
        )
    header = (
        "point", "on the line", unit, "95 % interval", f"{statistic}, {scale.unit}",
        "95 % interval",
    )  # fmt: skip
    return Data(header, tuple(rows), omitted=max(0, len(ordered) - MOST_ROWS))

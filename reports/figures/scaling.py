"""Throughput against batch, input length or devices, beside the line it would follow ideally."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.figures.canvas import INK, MUTED, Data, Drawing, figure, to_svg
from reports.figures.styles import Look, family_looks, spread
from reports.text.plain import plain
from reports.text.scales import Scale
from reports.views.labels import family, shorten, without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from reports.views.points import PointView, Record, SweepView


MOST_CURVES = 10
LEAST_TICKS = 4
STEPS = (
    (1, 2, 5),
    (1, 2, 3, 5, 7),
    (1, 1.5, 2, 3, 4, 5, 6, 8),
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9),
)
"""Ticks of a logarithmic axis within a power of ten, coarse to fine."""


@dataclass(frozen=True)
class Axis:
    """What throughput is drawn against.

    Attributes:
        key: the choice in which the points of one curve differ.
        figure: the figure's id.
        noun: what one value is called.
        title: of the figure.
        label: of the axis.
        grows: True when the ideal is in proportion; otherwise it stays what it is at the least.
        ideal: that in words.
    """

    key: str
    figure: str
    noun: str
    title: str
    label: str
    grows: bool
    ideal: str

    def of(self, point: PointView) -> int:
        """Return where a point stands; 0 where it stands nowhere."""
        value = point.config.get(self.key)
        if isinstance(value, list | tuple):
            return len(value)
        return value if isinstance(value, int) else 0


BATCH = Axis(
    "bs", "fig-batch", "batch", "Throughput against batch size",
    "batch size, utterances", True, "in proportion to the batch from the smallest one measured",
)  # fmt: skip
LENGTH = Axis(
    "il", "fig-length", "length", "Throughput against input length",
    "input length, characters", False,
    "the rate of the shortest input kept, so that time is in proportion to length",
)  # fmt: skip
DEVICES = Axis(
    "devices", "fig-devices", "devices", "Throughput against devices",
    "devices at once", True, "in proportion to the devices from the fewest measured",
)  # fmt: skip


@dataclass(frozen=True)
class ScalingCurve:
    """Points that differ in one choice alone."""

    axis: Axis
    label: str
    items: str
    look: Look
    points: tuple[tuple[int, Record], ...]

    def ideal(self, at: int) -> float:
        """Return the rate of the ideal line through the first point."""
        first, record = self.points[0]
        return (record.estimate or 0.0) * (at / first if self.axis.grows else 1.0)

    def efficiency(self, at: int, rate: float) -> float:
        """Return the share of the ideal, in percent."""
        ideal = self.ideal(at)
        return 100 * rate / ideal if ideal else 0.0


def curves(sweep: SweepView, axis: Axis = BATCH) -> list[ScalingCurve]:
    """Return the curves with at least two points."""
    points = sweep.measured
    looks = family_looks(points, axis.key)
    grouped: dict[tuple[tuple[str, str], ...], list[PointView]] = {}
    for point in points:
        grouped.setdefault(family(point, axis.key), []).append(point)
    labels = without(points, [axis.key])
    found = []
    for key, members in grouped.items():
        rates = {}
        for point in members:
            record = point.record("latency", "items_per_s")
            if record is not None and record.estimate and axis.of(point):
                rates[axis.of(point)] = record
        if len(rates) > 1:
            label = labels[members[0].id]
            found.append(
                ScalingCurve(
                    axis,
                    shorten(plain(label or members[0].backend), 32),
                    members[0].items_of("latency"),
                    looks[key],
                    tuple(sorted(rates.items())),
                )
            )
    return found


def draw(sweep: SweepView, axis: Axis = BATCH) -> Drawing:
    """Return the throughput and the efficiency panel."""
    every = curves(sweep, axis)
    if not every:
        why = f"not shown: it needs points that differ in {axis.noun} alone"
        return Drawing(axis.figure, axis.title, "", missing=why)
    shown = every[:MOST_CURVES]
    items = " or ".join(dict.fromkeys(curve.items for curve in shown))
    drawn = figure(3.3)
    left, right = drawn.subplots(1, 2, width_ratios=(1.25, 1))
    _rates(left, shown)
    _efficiencies(right, shown)
    left.set_ylabel(f"valid {items}/s")
    right.set_ylabel("share of the ideal, %")
    measured = sorted({at for curve in shown for at, _ in curve.points})
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(measured, [f"{at:,}" for at in measured])
        axes.minorticks_off()
        axes.set_xlabel(f"{axis.label} (log scale)")
    drawn.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    svg = to_svg(drawn, key=axis.figure, title=axis.title, desc=_description(shown))
    left_out = len(every) - len(shown)
    return Drawing(
        axis.figure,
        axis.title,
        f"Valid items of the last stage per second of {_times(sweep)} with 95 % intervals, both "
        f"axes logarithmic. Dashed: the ideal, {axis.ideal}."
        + (f" {left_out} further curves are not drawn." if left_out else ""),
        svg=svg,
        data=_data(shown, items),
    )


def _times(sweep: SweepView) -> str:
    """Return what the seconds are of: a server's are those in which it was serving."""
    return (
        "latency, of a server of service time,"
        if any(p.serves for p in sweep.measured)
        else "latency"
    )


def _rates(axes: Axes, shown: Sequence[ScalingCurve]) -> None:
    for curve in shown:
        look = curve.look
        x = [at for at, _ in curve.points]
        y = [record.estimate or 0.0 for _, record in curve.points]
        axes.plot(x, [curve.ideal(at) for at in x], color=look.colour, lw=0.9, dashes=(4, 3))
        for at, record in curve.points:
            if record.low is not None and record.high is not None:
                axes.plot([at, at], [record.low, record.high], color=look.colour, lw=1.2)
        axes.plot(x, y, color=look.colour, ls=look.dash, marker=look.marker, label=curve.label)
    axes.set_yscale("log", base=2)
    low, high = axes.get_ylim()
    ticks = _nice_ticks(low, high)
    axes.set_yticks(ticks, [f"{tick:,.0f}" if tick >= 1 else f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _nice_ticks(low: float, high: float) -> list[float]:
    """Return the coarsest steps within powers of ten that give four ticks or more."""
    ticks = [low, high]
    for steps in STEPS:
        found = [step * 10.0**e for e in range(-9, 15) for step in steps]
        ticks = [tick for tick in found if low <= tick <= high]
        if len(ticks) >= LEAST_TICKS:
            break
    return ticks or [low, high]


def _efficiencies(axes: Axes, shown: Sequence[ScalingCurve]) -> None:
    measured = [at for curve in shown for at, _ in curve.points]
    axes.plot([min(measured), max(measured)], [100, 100], color=MUTED, lw=0.9, dashes=(4, 3))
    ends = []
    for curve in shown:
        look = curve.look
        x = [at for at, _ in curve.points]
        y = [curve.efficiency(at, record.estimate or 0.0) for at, record in curve.points]
        axes.plot(x, y, color=look.colour, ls=look.dash, marker=look.marker)
        ends.append((curve, x[-1], y[-1]))
    top = max(105.0, axes.get_ylim()[1])
    axes.set_ylim(0, top)
    places = spread([y for *_, y in ends], top * 0.06)
    for (curve, at, share), place in zip(ends, places, strict=True):
        axes.annotate(
            f"{shorten(curve.label, 20)} {share:.0f} %", (at, place), xytext=(7, 0),
            textcoords="offset points", va="center", color=INK, annotation_clip=False,
        )  # fmt: skip
    axes.margins(x=0.12)


def _description(shown: Sequence[ScalingCurve]) -> str:
    scale = Scale("")
    return " ".join(
        f"{curve.label}: "
        + ", ".join(
            f"{curve.axis.noun} {at} {scale.text(record.estimate)} {curve.items}/s "
            f"({curve.efficiency(at, record.estimate or 0.0):.0f} % of the ideal)"
            for at, record in curve.points
        )
        + "."
        for curve in shown
    )


def _data(shown: Sequence[ScalingCurve], items: str) -> Data:
    rows = []
    for curve in shown:
        for at, record in curve.points:
            scale = Scale("").with_decimals([record.half_width], [record.estimate or 0.0])
            rows.append(
                (
                    curve.label,
                    f"{at:,}",
                    scale.text(record.estimate),
                    scale.interval(record.low, record.high) or "no interval",
                    f"{curve.efficiency(at, record.estimate or 0.0):.1f}",
                    f"{record.n:,}",
                    f"{record.processes}",
                )
            )
    return Data(
        (
            "curve",
            shown[0].axis.noun,
            f"valid {items}/s",
            "95 % interval",
            "of the ideal, %",
            "n",
            "P",
        ),
        tuple(rows),
    )

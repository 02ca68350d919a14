"""Latency against the share of iterations that are no slower, with the interval of each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.analysis.metrics import CL, PERCENTILES, subject_words
from reports.figures.canvas import (
    GRID,
    INK,
    PAPER,
    Data,
    Drawing,
    figure,
    thousands,
    to_svg,
)
from reports.figures.styles import Look, point_looks, spread
from reports.tables.points import latency_scale
from reports.text.plain import plain
from reports.views.iterations import latencies, warm_up
from reports.views.labels import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from reports.text.scales import Scale
    from reports.views.points import PointView, SweepView


KEY = "fig-percentiles"
TITLE = "How slow the slow iterations are: {} by percentile"
TOO_SMALL = "n too small"
"""How the reason of a percentile begins that more samples would make displayable."""
PER_PANEL = 6
MOST_PANELS = 4
STEPS = 40
LARGEST_P = 0.9999
_TICKS = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999)
_START = 0.2
_MARKER_PT, _NAME_PT = 9, 17
"""How far right of a panel its curves' markers and names stand."""


@dataclass(frozen=True)
class PercentileCurve:
    """One point's displayable percentiles: (p, seconds, low, high), p rising."""

    point: PointView
    label: str
    look: Look
    values: tuple[tuple[float, float, float, float], ...]

    @property
    def marks(self) -> list[tuple[float, float]]:
        """The original's figures: share of the iterations below, p rising, and seconds."""
        first = self.point.headline
        records = [(p / 100, self.point.record(first, f"cl{p}")) for p in CL[:-1]]
        return [(p, r.estimate) for p, r in records if r is not None and r.estimate is not None]

    @property
    def last(self) -> tuple[float, float]:
        """What of it is drawn farthest right: share of the iterations below, and seconds."""
        p, value, *_ = self.values[-1]
        return max([(p, value), *self.marks])


def steady(point: PointView) -> list[NDArray[np.float64]]:
    """Return the steady times of each process, in seconds: of a server the response."""
    found = [latencies(process, point.headline)[warm_up(process) :] for process in point.processes]
    return [one for one in found if len(one)]


def withheld(point: PointView) -> str | None:
    """Return why a point's latencies have no percentiles at all; None where they have.

    Too few samples are no such reason: a lower percentile may be shown.
    """
    records = [point.record(point.headline, f"p{p}") for p in PERCENTILES]
    reasons = [one.reason or "" for one in records if one is not None and one.estimate is None]
    if not reasons or len(reasons) < len(records) or reasons[0].startswith(TOO_SMALL):
        return None
    return reasons[0]


def percentile_curve(
    samples: Sequence[NDArray[np.float64]],
) -> tuple[tuple[float, float, float, float], ...]:
    """Return (p, value, low, high) for rising p, as far as the data can support.

    Values and intervals are those of `harness.analysis.estimates` (measurement method,
    section 3.2).
    """
    from harness.analysis.estimates import percentile  # noqa: PLC0415 - heavy

    found = []
    for step in range(STEPS + 1):
        p = 1 - (1 - _START) ** (1 - step / STEPS) * (1 - LARGEST_P) ** (step / STEPS)
        estimate = percentile(samples, p)
        if not estimate.displayable:
            if p > 0.5:  # noqa: PLR2004 - the median; only upper percentiles end the curve
                break
            continue
        found.append((p, estimate.value, *(estimate.ci or (estimate.value, estimate.value))))
    return tuple(found)


def draw(sweep: SweepView, points: Sequence[PointView]) -> Drawing:
    """Return the percentile curves, at most `PER_PANEL` to a panel."""
    looks = point_looks(points)
    found = []
    for point in points:
        samples = [] if withheld(point) else steady(point)
        values = percentile_curve(samples) if samples else ()
        if values:
            label = shorten(plain(sweep.labels[point.id]), 30)
            found.append(PercentileCurve(point, label, looks[point.id], values))
    if not found:
        why = next(filter(None, map(withheld, points)), None)
        why = plain(why) if why else "n too small for any percentile with a 95 % interval"
        return Drawing(KEY, TITLE.format(_times(points)), "", missing=f"not shown: {why}")
    found.sort(key=lambda curve: curve.values[0][1])
    shown = found[: PER_PANEL * MOST_PANELS]
    panels = [shown[at : at + PER_PANEL] for at in range(0, len(shown), PER_PANEL)]
    scale = latency_scale(sweep)
    rows = (len(panels) + 1) // 2
    drawn = figure(3.4 if rows == 1 else 2.9 * rows)
    grid = drawn.subplots(rows, min(2, len(panels)), squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _panel(axes, panel, scale)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    title = TITLE.format(_times([curve.point for curve in shown]))
    svg = to_svg(drawn, key=KEY, title=title, desc=_description(shown, scale))
    left_out = len(found) - len(shown)
    return Drawing(
        KEY,
        title,
        "Lines: type 8 quantiles of all steady iterations; bands: their distribution-free 95 % "
        "intervals. A line ends where the data no longer support a percentile. Hollow markers: "
        "cl50 to cl99 of the original’s rule (compat), which has an n of its own. Each name "
        "stands at the height of its point’s last marker, behind a marker of that point. The "
        "vertical axis does not start at zero."
        + (f" {left_out} slower points are not drawn." if left_out else ""),
        svg=svg,
        data=_data(shown, scale),
    )


def _times(points: Sequence[PointView]) -> str:
    """Return which times are drawn: latency, the response of servers, service time of offline."""
    names = dict.fromkeys(subject_words(point.document, point.headline) for point in points)
    return " or ".join(sorted(names)) or "latency"


def _panel(axes: Axes, curves: Sequence[PercentileCurve], scale: Scale) -> None:
    last = max(curve.values[-1][0] for curve in curves)
    right = max(1 / (1 - last), 10.0)
    for curve in curves:
        x = [1 / (1 - p) for p, *_ in curve.values]
        y, low, high = ([v[i] * scale.factor for v in curve.values] for i in (1, 2, 3))
        look = curve.look
        axes.fill_between(x, low, high, color=look.colour, alpha=0.16, lw=0)
        axes.plot(x, y, color=look.colour, ls=look.dash)
        places = [1 / (1 - p) for p, _ in curve.marks]
        heights = [value * scale.factor for _, value in curve.marks]
        axes.plot(places, heights, ls="none", **_hollow(look))
        right = max([right, *places])
    axes.set_xscale("log")
    ticks = [p for p in _TICKS if 1 / (1 - p) <= right * 1.05]
    axes.set_xticks([1 / (1 - p) for p in ticks], [f"{100 * p:g}" for p in ticks])
    axes.minorticks_off()
    axes.set_xlim(1 / (1 - _START), right * 1.12)
    axes.set_xlabel("percentile (log scale of 1 / (1 − p))")
    axes.set_ylabel(f"{_times([curve.point for curve in curves])}, {scale.unit}")
    thousands(axes.yaxis)
    _name_ends(axes, curves, scale)


_LEADER = {
    "arrowstyle": "-",
    "color": GRID,
    "lw": 0.8,
    "ls": (0, (1, 2)),
    "shrinkA": 0,
    "shrinkB": 0,
}


def _hollow(look: Look) -> dict[str, Any]:
    """Return how a marker of the original's figures is drawn."""
    return {"marker": look.marker, "mfc": PAPER, "mec": look.colour, "mew": 1.1}


def _name_ends(axes: Axes, curves: Sequence[PercentileCurve], scale: Scale) -> None:
    """Write each curve's name at the right of the panel, at the height of its last marker.

    Names that would meet are moved apart. So that a name never reads as that of the curve it was
    moved beside, a marker of its own point stands before it, and a line leads to its last one.
    """
    from matplotlib.transforms import offset_copy  # noqa: PLC0415 - heavy

    bottom, top = axes.get_ylim()
    ends = [curve.last[1] * scale.factor for curve in curves]
    places = spread(ends, (top - bottom) * 0.075)
    edge = axes.get_xlim()[1]
    beside = offset_copy(axes.transData, axes.get_figure(root=True), _MARKER_PT, 0, "points")
    for curve, end, place in zip(curves, ends, places, strict=True):
        axes.annotate(
            "", (1 / (1 - curve.last[0]), end), xytext=(edge, place), annotation_clip=False,
            arrowprops=_LEADER,
        )  # fmt: skip
        axes.plot(
            [edge], [place], ls="none", clip_on=False, transform=beside, **_hollow(curve.look)
        )
        axes.annotate(
            curve.label, (edge, place), xytext=(_NAME_PT, 0), textcoords="offset points",
            va="center", color=INK, annotation_clip=False,
        )  # fmt: skip
    axes.set_xlim(right=edge)
    axes.set_ylim(bottom, top)


def _description(curves: Sequence[PercentileCurve], scale: Scale) -> str:
    sentences = []
    for curve in curves:
        parts = []
        for p in (50, 90, 99):
            record = curve.point.record(curve.point.headline, f"p{p}")
            if record is not None and record.estimate is not None:
                parts.append(f"p{p} {scale.text(record.estimate)} {scale.unit}")
        sentences.append(f"{curve.label}: {', '.join(parts) or 'no displayable percentile'}.")
    return " ".join(sentences)


def _data(curves: Sequence[PercentileCurve], scale: Scale) -> Data:
    rows = []
    for curve in curves:
        cells = [curve.label]
        for p in (50, 90, 95, 99):
            record = curve.point.record(curve.point.headline, f"p{p}")
            if record is None or record.estimate is None:
                cells.append((record.reason if record else None) or "—")
            else:
                span = scale.interval(record.low, record.high)
                cells.append(f"{scale.text(record.estimate)} ({span})")
        mean = curve.point.record(curve.point.headline, "mean")
        original = curve.point.counted_as_original(curve.point.headline)
        cells += [f"{mean.n:,}" if mean else "—", f"{original.n:,}" if original else "—"]
        cells.append(str(mean.processes) if mean else "—")
        rows.append(tuple(cells))
    header = (
        "point",
        *(f"p{p} (95 % interval), {scale.unit}" for p in (50, 90, 95, 99)),
        "n",
        "n of cl",
        "P",
    )
    return Data(header, tuple(rows))

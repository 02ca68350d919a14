"""Response against the rate of requests: where waiting begins, and where the queue never ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.figures.canvas import (
    DASHES,
    GRID,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    Data,
    Drawing,
    figure,
    to_svg,
)
from reports.text.plain import plain
from reports.text.scales import Scale, time_scale
from reports.views.labels import family, shorten, without

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from reports.views.points import PointView, Record, SweepView


KEY = "fig-load"
TITLE = "Response against the rate of requests"
SCENARIO = ("scenario", "scenario.rate", "scenario.load", "scenario.seconds")
"""Choices in which the points of one curve may differ."""
STATISTICS = ("p50", "p90", "p99")
MOST_PANELS = 4
SATURATED = "saturated"


@dataclass(frozen=True)
class Load:
    """One rate of requests and what it did."""

    rate: float
    """Requests a second that were due, mean over processes."""
    point: PointView
    saturated: bool

    def record(self, statistic: str) -> Record | None:
        """Return a statistic of the response that may be shown."""
        found = self.point.record("response", statistic)
        return found if found is not None and found.estimate is not None else None


@dataclass(frozen=True)
class Panel:
    """The rates of points that differ in nothing else."""

    label: str
    loads: tuple[Load, ...]
    capacity: Record | None
    """Requests a second of the same point with scenario=offline, where it was measured."""


def offered(point: PointView) -> float | None:
    """Return the requests a second that were due; None for a point without a schedule."""
    rates = [
        float(arrivals["rate_per_s"])
        for process in point.processes
        if (arrivals := process.get("arrivals") or {}).get("rate_per_s")
    ]
    return sum(rates) / len(rates) if rates else None


def panels(sweep: SweepView) -> list[Panel]:
    """Return what was measured at two rates or more, nothing else differing."""
    grouped: dict[tuple[tuple[str, str], ...], list[PointView]] = {}
    for point in sweep.measured:
        grouped.setdefault(family(point, *SCENARIO), []).append(point)
    labels = without(sweep.measured, SCENARIO)
    found = []
    for members in grouped.values():
        loads = [
            Load(rate, point, any(one.get("code") == SATURATED for one in _warnings(point)))
            for point in members
            if (rate := offered(point)) and point.record("response", "mean")
        ]
        if len({load.rate for load in loads}) > 1:
            label = labels[members[0].id]
            found.append(
                Panel(
                    shorten(plain(label or members[0].backend), 40),
                    tuple(sorted(loads, key=lambda load: load.rate)),
                    _capacity(members),
                )
            )
    return found


def _warnings(point: PointView) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = point.document.get("warnings") or ()
    return found


def _capacity(members: Sequence[PointView]) -> Record | None:
    offline = (point for point in members if point.config.get("scenario") == "offline")
    return next((point.record("response", "requests_per_s") for point in offline), None)


def draw(sweep: SweepView) -> Drawing:
    """Return one panel for each point that was measured at several rates."""
    every = panels(sweep)
    if not every:
        why = "not shown: it needs scenario=server at two rates or more"
        return Drawing(KEY, TITLE, "", missing=why)
    shown = every[:MOST_PANELS]
    known = [
        record.estimate
        for panel in shown
        for load in panel.loads
        for name in STATISTICS
        if (record := load.record(name))
    ]
    scale = time_scale(known)
    columns = min(2, len(shown))
    lines = -(-len(shown) // columns)
    drawn = figure(0.4 + 2.9 * lines)
    grid = drawn.subplots(lines, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, shown, strict=False):
        _panel(axes, panel, scale)
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    handles: dict[str, Any] = {}
    for axes in grid[: len(shown)]:
        found, labels = axes.get_legend_handles_labels()
        handles = {**dict(zip(labels, found, strict=True)), **handles}
    drawn.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=5)
    svg = to_svg(drawn, key=KEY, title=TITLE, desc=_description(shown, scale))
    return Drawing(KEY, TITLE, _caption(every, shown), svg=svg, data=_data(shown))


def _panel(axes: Axes, panel: Panel, scale: Scale) -> None:
    for place, name in enumerate(STATISTICS):
        having = [(load, record) for load in panel.loads if (record := load.record(name))]
        if not having:
            continue
        colour = SERIES[place]
        x = [load.rate for load, _ in having]
        y = [(record.estimate or 0.0) * scale.factor for _, record in having]
        axes.plot(x, y, color=colour, ls=DASHES[place], marker=MARKERS[place], label=name)
        for (_, record), at in zip(having, x, strict=True):
            if record.low is not None and record.high is not None:
                ends = [record.low * scale.factor, record.high * scale.factor]
                axes.plot([at, at], ends, color=colour, lw=1)
    right = max(load.rate for load in panel.loads) * 1.08
    for first, last in saturated_spans(panel, right):
        axes.axvspan(first, last, color=GRID, lw=0, zorder=0, label="saturated")
    if panel.capacity is not None and panel.capacity.estimate is not None:
        axes.axvline(panel.capacity.estimate, color=MUTED, lw=1, dashes=(4, 3), label="offline")
        right = max(right, panel.capacity.estimate * 1.04)
    axes.set_title(panel.label, color=INK)
    axes.set_xlim(0, right)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("requests due a second")
    axes.set_ylabel(f"response, {scale.unit}")


def saturated_spans(panel: Panel, right: float) -> list[tuple[float, float]]:
    """Return what is shaded: the surroundings of saturated rates, in requests a second.

    A span reaches halfway to the next rate that was not saturated, so that no such rate lies in
    one. A rate at which only some points were saturated is none: the table tells them apart.

    Args:
        panel: the rates measured.
        right: where the axis ends.
    """
    rates = sorted({load.rate for load in panel.loads})
    kept = {load.rate for load in panel.loads if not load.saturated}
    found: list[tuple[float, float]] = []
    for place, rate in enumerate(rates):
        if rate in kept:
            continue
        before = rates[place - 1] if place else 0.0
        after = rates[place + 1] if place + 1 < len(rates) else None
        first = found.pop()[0] if place and before not in kept else (before + rate) / 2
        found.append((first, right if after is None else (rate + after) / 2))
    return found


def _caption(every: Sequence[Panel], shown: Sequence[Panel]) -> str:
    text = (
        "Response counts from when a request was due, so a stall is charged to everybody who "
        "waited. Vertical lines are 95 % intervals; both axes start at zero. Percentiles that the "
        "requests are too few for are not drawn; the table of requests names them."
    )
    if any(load.saturated for panel in shown for load in panel.loads):
        text += (
            " Shaded: saturated, as far as halfway to the next rate that was not; a queue that "
            "never stops growing has no percentiles."
        )
    if any(panel.capacity for panel in shown):
        text += " Dashed vertical: what scenario=offline completes."
    left_out = len(every) - len(shown)
    return text + (f" {left_out} further points are not drawn." if left_out else "")


def _description(shown: Sequence[Panel], scale: Scale) -> str:
    rates = Scale("", decimals=2)
    return " ".join(
        f"{panel.label}: "
        + "; ".join(
            f"{rates.text(load.rate)} requests/s: "
            + ", ".join(
                f"{name} {scale.text(record.estimate)} {scale.unit}"
                for name in STATISTICS
                if (record := load.record(name))
            )
            + (" (saturated)" if load.saturated else "")
            for load in panel.loads
        )
        + "."
        for panel in shown
    )


def _data(shown: Sequence[Panel]) -> Data:
    rates = Scale("", decimals=3)
    rows = []
    for panel in shown:
        for load in panel.loads:
            for name in STATISTICS:
                record = load.point.record("response", name)
                if record is None:
                    continue
                scale = time_scale([record.estimate])
                known = record.estimate is not None
                rows.append(
                    (
                        panel.label,
                        rates.text(load.rate),
                        name,
                        f"{scale.text(record.estimate)} {scale.unit}"
                        if known
                        else record.reason or "",
                        scale.interval(record.low, record.high) or "no interval",
                        "yes" if load.saturated else "no",
                        f"{record.n:,}",
                        f"{record.processes}",
                    )
                )
    return Data(
        ("points", "requests due/s", "statistic", "response", "95 % interval", "saturated", "n",
         "P"),
        tuple(rows),
    )  # fmt: skip

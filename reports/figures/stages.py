"""Where the time goes: mean seconds of every stage, the glue between them, and the residual."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.metrics import subject_words
from reports.figures.canvas import (
    INK,
    MUTED,
    PAPER,
    Data,
    Drawing,
    figure,
    thousands,
    to_svg,
)
from reports.figures.styles import stage_colour
from reports.tables.points import latency_scale
from reports.text.plain import plain
from reports.views.labels import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from reports.views.points import PointView, SweepView


KEY = "fig-stages"
MOST_BARS = 24
SMALL = ("glue", "residual")
_LABEL_LEAST = 0.1
"""Share of the bar below which its number would not fit inside."""


def parts_of(point: PointView) -> list[tuple[str, float]]:
    """Return (name, mean seconds) of each part; together they are the mean latency."""
    named = [(stage, f"{stage}_execute") for stage in point.stages]
    named += [("glue", "glue"), ("residual", "residual")]
    records = ((name, point.record(subject, "mean")) for name, subject in named)
    return [(name, r.estimate) for name, r in records if r is not None and r.estimate is not None]


def draw(sweep: SweepView, points: Sequence[PointView]) -> Drawing:
    """Return the stacked bars of the given points, absolute and as shares of 100 %."""
    shown = [point for point in points if parts_of(point)][:MOST_BARS]
    whole = " or ".join(sorted({subject_words(point.document, "latency") for point in shown}))
    title = f"Where the time goes: mean {whole or 'latency'} by stage"
    if not shown:
        return Drawing(KEY, title, "", missing="not shown: no point has figures by stage")
    labels = [plain(sweep.labels[point.id]) for point in shown]
    scale = latency_scale(sweep)
    names = list(dict.fromkeys(name for point in shown for name, _ in parts_of(point)))
    drawn = figure(1.05 + 0.3 * len(shown))
    left, right = drawn.subplots(1, 2, sharey=True, width_ratios=(1.3, 1))
    _bars(left, shown, names, scale.factor, share=False)
    _bars(right, shown, names, 1.0, share=True)
    _whiskers(left, shown, scale.factor)
    left.set_xlabel(f"mean {whole}, {scale.unit}")
    right.set_xlabel(f"share of the mean {whole}, %")
    right.set_xlim(0, 100)
    thousands(left.xaxis)
    left.set_yticks(range(len(shown)), [shorten(label, 34) for label in labels])
    left.tick_params(axis="y", labelcolor=INK)
    left.set_ylim(len(shown) - 0.5, -0.5)
    drawn.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=len(names))
    svg = to_svg(drawn, key=KEY, title=title, desc=_description(shown, labels))
    return Drawing(
        KEY,
        title,
        "Bars are means of process means; whiskers are the 95 % interval of the whole. Stage bars "
        "hold the model’s execution alone; glue (host work between stages) and the residual (time "
        "that no span owns) stand apart, so that the parts add up to the whole.",
        svg=svg,
        data=_data(shown, labels, names, scale.unit, scale.factor),
    )


def _bars(
    axes: Axes, points: Sequence[PointView], names: Sequence[str], factor: float, *, share: bool
) -> None:
    starts = [0.0] * len(points)
    places = list(range(len(points)))
    for number, name in enumerate(names):
        widths = []
        for point in points:
            parts = dict(parts_of(point))
            whole = sum(parts.values())
            value = parts.get(name, 0.0)
            widths.append(100 * value / whole if share and whole else value * factor)
        hatch = {"glue": "////", "residual": "xxxx"}.get(name)
        axes.barh(
            places,
            widths,
            0.62,
            left=starts,
            label=name,
            color="none" if hatch else stage_colour(name, number),
            edgecolor=MUTED if hatch else PAPER,
            hatch=hatch,
            linewidth=0.5,
        )
        if share and not hatch:
            for place, start, width in zip(places, starts, widths, strict=True):
                if width >= 100 * _LABEL_LEAST:
                    text = f"{width:.0f} %"
                    axes.text(
                        start + width / 2, place, text, color=INK, ha="center", va="center",
                        bbox={"boxstyle": "round,pad=0.15", "fc": PAPER, "ec": "none"},
                    )  # fmt: skip
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    if share:
        _small_parts(axes, points)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _small_parts(axes: Axes, points: Sequence[PointView]) -> None:
    """Write out the shares of glue and residual: often too thin to see, never left unsaid."""
    for place, point in enumerate(points):
        parts = dict(parts_of(point))
        whole = sum(parts.values())
        small = [f"{name} {100 * parts[name] / whole:#.2g} %" for name in SMALL if name in parts]
        axes.annotate(
            ", ".join(small), (100, place), xytext=(6, 0), textcoords="offset points",
            va="center", color=MUTED, fontsize=8, annotation_clip=False,
        )  # fmt: skip


def _whiskers(axes: Axes, points: Sequence[PointView], factor: float) -> None:
    for place, point in enumerate(points):
        mean = point.record("latency", "mean")
        if mean is not None and mean.low is not None and mean.high is not None:
            axes.plot([mean.low * factor, mean.high * factor], [place, place], color=INK, lw=1.2)
            for end in (mean.low, mean.high):
                axes.plot([end * factor] * 2, [place - 0.14, place + 0.14], color=INK, lw=1.2)


def _description(points: Sequence[PointView], labels: Sequence[str]) -> str:
    sentences = []
    for point, label in zip(points, labels, strict=True):
        parts = parts_of(point)
        whole = sum(value for _, value in parts)
        if whole:
            shares = ", ".join(f"{name} {100 * value / whole:.1f} %" for name, value in parts)
            sentences.append(f"{label}: {shares}.")
    return " ".join(sentences)


def _data(
    points: Sequence[PointView],
    labels: Sequence[str],
    names: Sequence[str],
    unit: str,
    factor: float,
) -> Data:
    rows = []
    for point, label in zip(points, labels, strict=True):
        parts = dict(parts_of(point))
        whole = sum(parts.values())
        cells = [label, f"{whole * factor:,.3f}"]
        for name in names:
            value = parts.get(name)
            cells.append("—" if value is None else f"{value * factor:,.3f}")
            cells.append("—" if value is None or not whole else f"{100 * value / whole:.2f}")
        rows.append(tuple(cells))
    pairs = [heading for name in names for heading in (f"{name}, {unit}", f"{name}, %")]
    return Data(("point", f"whole, {unit}", *pairs), tuple(rows))

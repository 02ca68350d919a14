"""Ratios of candidate to baseline with their intervals, beside the band that does not matter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.units import apart, interval, percent
from reports.figures.canvas import INK, MUTED, PAPER, SERIES, Data, Drawing, figure, to_svg
from reports.text.plain import plain
from reports.views.labels import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from harness.analysis.verdicts import Difference
    from harness.judging.comparison import ComparisonRow


KEY = "fig-ratios"
TITLE = "How many times as long the candidate takes: ratios with 95 % intervals"
MOST_ROWS = 40
_MARKS = {
    "slower": ("^", SERIES[1], SERIES[1]),
    "faster": ("v", SERIES[2], SERIES[2]),
    "no difference": ("s", SERIES[0], SERIES[0]),
    "unresolved": ("o", PAPER, INK),
}
"""Marker, fill and edge by verdict: the shape alone tells them apart."""
_FARTHEST = 2.0
"""Ends of intervals beyond this ratio, or its inverse, are cut off; an arrow says so."""


def draw(rows: Sequence[ComparisonRow], delta: float) -> Drawing:
    """Return the forest plot of the given rows, in their order.

    Args:
        rows: of a comparison; those without a ratio are left out.
        delta: the relative difference from which one counts.
    """
    known = [(row, row.difference) for row in rows if row.difference is not None]
    if not known:
        return Drawing(KEY, TITLE, "", missing="not shown: no figure of both sides can be compared")
    shown = known[:MOST_ROWS]
    drawn = figure(0.8 + 0.24 * len(shown))
    axes = drawn.subplots()
    axes.axvspan(1 / (1 + delta), 1 + delta, color=MUTED, alpha=0.14, lw=0)
    axes.axvline(1, color=MUTED, lw=0.9)
    _limits(axes, [one for _, one in shown], delta)
    for place, (row, one) in enumerate(shown):
        _interval(axes, place, one)
        marker, fill, edge = _MARKS.get(str(row.verdict), _MARKS["unresolved"])
        axes.plot([one.ratio], [place], ls="none", marker=marker, mfc=fill, mec=edge, ms=5.5)
    names = [shorten(f"{plain(row.point)} {row.metric}", 52) for row, _ in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("candidate / baseline; right of 1 is slower")
    svg = to_svg(drawn, key=KEY, title=TITLE, desc=_description(shown))
    return Drawing(KEY, TITLE, _caption(len(known) - len(shown), delta), svg=svg, data=_data(shown))


def _limits(axes: Axes, differences: Sequence[Difference], delta: float) -> None:
    ends = [one.ratio for one in differences]
    ends += [end for one in differences for end in one.interval if math.isfinite(end)]
    ratios = [one.ratio for one in differences]
    low = max(min([*ends, 1 - delta]), min([1 / _FARTHEST, *ratios]))
    high = min(max([*ends, 1 + delta]), max([_FARTHEST, *ratios]))
    room = (high - low) * 0.06
    axes.set_xlim(low - room, high + room)


def _interval(axes: Axes, place: int, one: Difference) -> None:
    if not math.isfinite(one.half_width):
        return
    left, right = axes.get_xlim()
    low, high = one.interval
    axes.plot([max(low, left), min(high, right)], [place, place], color=INK, lw=1.2)
    for end, edge, marker in ((low, left, "<"), (high, right, ">")):
        if (end < left) if marker == "<" else (end > right):
            axes.plot([edge], [place], marker=marker, color=INK, ms=4, clip_on=False)


def _caption(left_out: int, delta: float) -> str:
    text = (
        f"Band: ratios of {interval(1 / (1 + delta), 1 + delta, _edge(delta))}, nearer to 1 than "
        f"the least difference that counts, {percent(delta)}. Triangle up: slower; "
        "triangle down: faster; square: no difference; hollow circle: unresolved. A mark without "
        "a line has no interval; an arrow is an interval that goes on."
    )
    return text + (f" {left_out} further rows are in the table." if left_out else "")


def _edge(delta: float) -> Callable[[float], str]:
    """Return what writes an end of the band, with the decimals that tell it from 1."""
    places = len(apart(1 + delta, 1.0, 3)[0].partition(".")[2])
    return f"{{:.{places}f}}".format


def _text(one: Difference) -> tuple[str, str]:
    if not math.isfinite(one.half_width):
        return f"{one.ratio:.4f}", "none"
    return f"{one.ratio:.4f}", interval(*one.interval, "{:.4f}".format)


def _description(shown: Sequence[tuple[ComparisonRow, Difference]]) -> str:
    return " ".join(
        f"{plain(row.point)} {row.metric}: {_text(one)[0]}, interval {_text(one)[1]}, "
        f"{row.verdict}."
        for row, one in shown
    )


def _data(shown: Sequence[tuple[ComparisonRow, Difference]]) -> Data:
    rows = tuple(
        (plain(row.point), row.metric, *_text(one), str(row.verdict)) for row, one in shown
    )
    return Data(("point", "metric", "ratio", "95 % interval", "verdict"), rows)

"""A metric over time as text, CSV, JSON or a figure."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.units import interval, quantity, seconds
from reports.figures.canvas import MARKERS, style

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.judging.history import Occasion, Trend


SHORT_COMMIT = 10
WIDTH_IN, HEIGHT_IN = 9.0, 3.2


def _shown(value: float, unit: str) -> str:
    return seconds(value) if unit == "s" else quantity(value)


def _interval(one: Occasion, unit: str) -> str:
    return interval(one.low, one.high, partial(_shown, unit=unit)) or "no interval"


def _verdict(one: Occasion, better: str) -> str:
    if one.change is None:
        return ""
    worse = (one.change > 0) == (better == "lower")
    return f"new level: {one.change:+.1%}, {'worse' if worse else 'better'}"


def text(trends: Sequence[Trend]) -> str:
    """Return a block of lines per point: when, value, interval, machine, commit, change points."""
    lines = []
    for trend in trends:
        lines.append(f"{trend.name}  {trend.point_id}  {trend.metric}, {trend.better} is better")
        lines += [_line(one, trend) for one in trend.occasions]
        labels = dict.fromkeys(one.weights for one in trend.occasions)
        if not all(one.signed for one in trend.occasions):
            lines.append("  machine unknown in older sweeps: those are told apart by host name")
        lines += [f"  models: {'; '.join(labels)}", ""]
    return "\n".join(lines)


def _line(one: Occasion, trend: Trend) -> str:
    cells = [
        one.at,
        f"{_shown(one.value, trend.unit):>12}",
        f"{_interval(one, trend.unit):<28}",
        one.host,
        (one.commit or "no commit")[:SHORT_COMMIT],
        one.sweep,
        _verdict(one, trend.better),
    ]
    return "  " + "  ".join(cells).rstrip()


def _rows(trends: Sequence[Trend]) -> list[dict[str, Any]]:
    return [
        {
            "point_id": trend.point_id,
            "point": trend.name,
            "metric": trend.metric,
            "unit": trend.unit,
            "better": trend.better,
            **asdict(one),
        }
        for trend in trends
        for one in trend.occasions
    ]


def as_csv(trends: Sequence[Trend]) -> str:
    """Return one row per occasion."""
    rows, out = _rows(trends), io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def as_json(trends: Sequence[Trend]) -> str:
    """Return the rows of the CSV as a JSON array."""
    return json.dumps(_rows(trends), indent=1) + "\n"


FORMATS: dict[str, Callable[[Sequence[Trend]], str]] = {
    "text": text,
    "csv": as_csv,
    "json": as_json,
}


def plot(trends: Sequence[Trend], target: Path) -> Path:
    """Draw one panel per point: a marker for each machine, a line where a level begins.

    Args:
        trends: what to draw.
        target: the file; its ending chooses SVG, PNG or PDF.

    Raises:
        UsageError: the file cannot be written, or its ending is unknown.
    """
    if target.suffix not in {".svg", ".png", ".pdf"}:
        raise UsageError(f"history: plot={target}: the file must end in .svg, .png or .pdf")
    with style():
        from matplotlib.figure import Figure  # noqa: PLC0415 - heavy

        drawn = Figure(figsize=(WIDTH_IN, HEIGHT_IN * len(trends)), layout="constrained")
        panels = drawn.subplots(len(trends), squeeze=False)[:, 0]
        for axes, trend in zip(panels, trends, strict=True):
            _panel(axes, trend)
        try:
            drawn.savefig(target)
        except OSError as error:
            raise UsageError(f"history: plot={target}: {error.strerror}") from error
    return target


def _panel(axes: Any, trend: Trend) -> None:
    hosts = list(dict.fromkeys(one.host for one in trend.occasions))
    for place, host in enumerate(hosts):
        mine = [one for one in trend.occasions if one.host == host]
        values = [one.value for one in mine]
        (line,) = axes.plot(
            [_when(one) for one in mine], values, label=host,
            marker=MARKERS[place % len(MARKERS)], markersize=4, linewidth=0.8,
        )  # fmt: skip
        for one in mine:
            if one.low is not None and one.high is not None:
                ends = [one.low, one.high]
                axes.plot([_when(one)] * 2, ends, color=line.get_color(), marker="_", linewidth=0.8)
    for one in trend.occasions:
        if one.change is None:
            continue
        axes.axvline(_when(one), linestyle="--", linewidth=0.8, color="0.4")
        axes.annotate(
            f"{one.change:+.1%} from {(one.commit or 'no commit')[:SHORT_COMMIT]}",
            (_when(one), 1.0), xycoords=("data", "axes fraction"), fontsize=7, va="top",
            xytext=(3, -2), textcoords="offset points",
        )  # fmt: skip
    labels = "; ".join(dict.fromkeys(one.weights for one in trend.occasions))
    axes.set_title(f"{trend.name}\n{trend.metric}, {trend.better} is better; {labels}", fontsize=8)
    axes.set_ylabel(trend.unit)
    axes.legend(fontsize=7, title="machine", title_fontsize=7)
    axes.tick_params(labelsize=7)


def _when(one: Occasion) -> datetime:
    return datetime.fromisoformat(one.at)

"""Latency of every iteration of one point in the order it was measured, warm-up included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.analysis.metrics import subject_words
from reports.figures.canvas import (
    INK,
    MUTED,
    SERIES,
    Data,
    Drawing,
    figure,
    thousands,
    to_svg,
)
from reports.text.plain import plain
from reports.text.scales import time_scale
from reports.views.iterations import latencies, warm_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from reports.text.scales import Scale
    from reports.views.points import PointView


MOST_DOTS = 300
"""Iterations up to which each is a dot; beyond, a line alone keeps the page small."""
MOST_MARKS = 2_000
MOST_BUCKETS = 200
MOST_ROWS = 40
MOST_TICKS = 15
MOST_HEADINGS = 5
"""Processes whose headings say what their series look like; more have no room for it."""
_HEADROOM = 0.3
FIRST = "first"
"""The label every process's first iteration has; the warm-up shows it already."""


@dataclass(frozen=True)
class Mark:
    """How a label is drawn, and what the caption calls it."""

    marker: str
    colour: str
    size: float
    words: str


MARKS = {
    "severe": Mark("o", SERIES[1], 9, "large rings"),
    "mild": Mark("o", MUTED, 6, "small rings"),
    "preempted": Mark("x", INK, 5, "crosses"),
    "steal": Mark("s", INK, 8, "squares"),
    "major-fault": Mark("D", INK, 7, "diamonds"),
    "gc": Mark("+", INK, 7, "plus signs"),
    "throttled": Mark("v", INK, 7, "triangles"),
}
"""Labels of iterations (measurement method, section 7)."""
_OTHER = Mark("h", INK, 8, "hexagons")


def buckets(
    values: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bucket centres and (minimum, mean, maximum) columns of at most `count` buckets."""
    import numpy as np  # noqa: PLC0415

    n = len(values)
    edges = np.linspace(0, n, max(1, min(count, n)) + 1).astype(np.int64)
    starts, sizes = edges[:-1], np.diff(edges)
    columns = (
        np.minimum.reduceat(values, starts),
        np.add.reduceat(values, starts) / sizes,
        np.maximum.reduceat(values, starts),
    )
    return starts + (sizes - 1) / 2, np.column_stack(columns)


def draw(point: PointView, label: str) -> Drawing:
    """Return one point's series: its processes side by side on a common axis."""
    key = f"fig-series-{point.id}"
    words = subject_words(point.document, "latency")
    said = f", {words}" if point.scheduled else ""
    title = f"Every iteration in order{said}: {plain(label)}"
    processes = point.processes
    if not processes:
        return Drawing(key, title, "", missing="not shown: no iteration was finished")
    scale = time_scale(record for process in processes for record in latencies(process)[:1])
    every = [latencies(process) * scale.factor for process in processes]
    cuts = [warm_up(process) for process in processes]
    bucketed = sum(map(len, every)) > MOST_MARKS
    drawn = figure(2.5, margins=(0.75, 0.5, 0.1, 0.3))
    axes = drawn.subplots()
    above = _limits(axes, every, cuts)
    starts = _processes(axes, processes, every, cuts, bucketed=bucketed)
    said = _labels(axes, processes, every, starts)
    axes.set_ylabel(f"{words}, {scale.unit}")
    axes.set_xlabel("iteration, the processes side by side")
    axes.grid(visible=False, axis="x")
    thousands(axes.yaxis)
    svg = to_svg(drawn, key=key, title=title, desc=_description(every, cuts, scale))
    steady = sum(len(one) - cut for one, cut in zip(every, cuts, strict=True))
    how = "Bands reach from the least to the largest of a bucket, the line is its mean"
    caption = (
        f"{how if bucketed else 'Each vertex is one iteration'}; n = {steady:,} steady iterations "
        f"in P = {len(processes)} processes. Shaded: warm-up, kept but not counted. The vertical "
        "axis does not start at zero." + above + said
    )
    return Drawing(key, title, caption, svg=svg, data=_data(processes, every, cuts, scale))


def _limits(axes: Axes, every: Sequence[NDArray[np.float64]], cuts: Sequence[int]) -> str:
    """Fit the axis to the steady iterations; mark and tell what warm-up lies above it."""
    import numpy as np  # noqa: PLC0415

    whole = np.concatenate(every)
    steady = np.concatenate([one[cut:] for one, cut in zip(every, cuts, strict=True)])
    base = steady if len(steady) else whole
    low, high = float(base.min()), float(base.max())
    room = (high - low) * _HEADROOM or high * 0.05
    top = high + room if whole.max() > high + 3 * room else float(whole.max()) + room / 3
    bottom = min(low, float(whole.min())) - room / 3
    axes.set_ylim(bottom, top)
    outside = whole[whole > top]
    if not len(outside):
        return ""
    return (
        f" {len(outside)} warm-up iteration{'s' if len(outside) > 1 else ''} lie above the axis "
        f"(arrows; the largest {outside.max():,.4g})."
    )


def _processes(
    axes: Axes,
    processes: Sequence[Mapping[str, Any]],
    every: Sequence[NDArray[np.float64]],
    cuts: Sequence[int],
    *,
    bucketed: bool,
) -> list[float]:
    import numpy as np  # noqa: PLC0415

    gap = max(1.0, 0.015 * sum(map(len, every)))
    bottom, top = axes.get_ylim()
    dot = "o" if sum(map(len, every)) <= MOST_DOTS else None
    starts, start = [], 0.0
    for process, values, cut in zip(processes, every, cuts, strict=True):
        starts.append(start)
        if cut:
            axes.axvspan(start - 0.5, start + cut - 0.5, color=MUTED, alpha=0.18, lw=0)
        if bucketed:
            x, rows = buckets(values, max(4, MOST_BUCKETS // len(processes)))
            axes.fill_between(start + x, rows[:, 0], rows[:, 2], color=SERIES[0], alpha=0.3, lw=0)
            axes.plot(start + x, rows[:, 1], color=SERIES[0], lw=1.2)
        else:
            x = start + np.arange(len(values), dtype=np.float64)
            inside = values <= top
            axes.plot(x[inside], values[inside], color=SERIES[0], lw=0.8, marker=dot, ms=2.4)
        high = np.flatnonzero(values > top)
        axes.plot(start + high, [top - (top - bottom) * 0.03] * len(high), "^", color=INK, ms=4)
        if len(values) > cut:
            steady = float(values[cut:].mean())
            axes.plot([start + cut, start + len(values) - 1], [steady] * 2, color=INK, lw=0.9)
        axes.annotate(
            _heading(process, len(processes)),
            (start, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", color=MUTED,
        )  # fmt: skip
        start += len(values) + gap
    _ticks(axes, starts, every)
    axes.set_xlim(-gap, start)
    return starts


def looks_like(process: Mapping[str, Any]) -> str:
    """Return what a process's series looks like after its warm-up; empty when nobody judged."""
    return plain((process.get("steady") or {}).get("label") or "")


def _heading(process: Mapping[str, Any], count: int) -> str:
    label = looks_like(process) if count <= MOST_HEADINGS else ""
    number = f"process {process.get('index', '')}" if count <= 2 * MOST_HEADINGS else ""
    return ": ".join(part for part in (number, label) if part)


def _ticks(axes: Axes, starts: Sequence[float], every: Sequence[NDArray[np.float64]]) -> None:
    """Number the iterations of each process at round steps, where there is room."""
    longest = max(map(len, every))
    steps = (m * 10**e for e in range(9) for m in (1, 2, 5))
    room = max(1, MOST_TICKS // len(every))
    step = next(step for step in steps if longest / step <= room)
    places = [
        (start + at, f"{at:,}")
        for start, one in zip(starts, every, strict=True)
        for at in range(0, len(one), step)
        if at <= len(one) - step / 4 or at == 0
    ]
    axes.set_xticks([x for x, _ in places], [text for _, text in places])


def labelled(process: Mapping[str, Any], label: str) -> list[int]:
    """Return the numbers of a process's iterations that have a label."""
    n = len(process["columns"]["latency_ns"])
    return [at for at in (process.get("labels") or {}).get(label, ()) if 0 <= at < n]


def label_counts(processes: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many iterations have each label, without those that no iteration has."""
    names = dict.fromkeys(
        name for process in processes for name in process.get("labels") or () if name != FIRST
    )
    known = [*(name for name in MARKS if name in names), *(n for n in names if n not in MARKS)]
    counts = {name: sum(len(labelled(one, name)) for one in processes) for name in known}
    return {name: count for name, count in counts.items() if count}


def _labels(
    axes: Axes,
    processes: Sequence[Mapping[str, Any]],
    every: Sequence[NDArray[np.float64]],
    starts: Sequence[float],
) -> str:
    """Mark the labelled iterations by shape; return what each shape means, in a sentence."""
    import numpy as np  # noqa: PLC0415

    _, top = axes.get_ylim()
    said = []
    for name, count in label_counts(processes).items():
        mark = MARKS.get(name, _OTHER)
        said.append(f"{mark.words} {count} {plain(name)}")
        for process, values, start in zip(processes, every, starts, strict=True):
            at = np.asarray(labelled(process, name), dtype=np.int64)
            at = at[values[at] <= top]  # an arrow stands for what lies above
            axes.plot(
                start + at, values[at], mark.marker, mfc="none", mec=mark.colour, ms=mark.size,
                mew=1.2,
            )  # fmt: skip
    return f" Labelled, never removed: {', '.join(said)}." if said else ""


def _description(every: Sequence[NDArray[np.float64]], cuts: Sequence[int], scale: Scale) -> str:
    import numpy as np  # noqa: PLC0415

    sentences = []
    for number, (values, cut) in enumerate(zip(every, cuts, strict=True), 1):
        steady = values[cut:] if len(values) > cut else values
        sentences.append(
            f"Process {number}: {len(values)} iterations, {cut} of them warm-up, median "
            f"{np.median(steady):,.4g} {scale.unit}, from {steady.min():,.4g} to "
            f"{steady.max():,.4g}."
        )
    return " ".join(sentences[:8])


def _data(
    processes: Sequence[Mapping[str, Any]],
    every: Sequence[NDArray[np.float64]],
    cuts: Sequence[int],
    scale: Scale,
) -> Data:
    import numpy as np  # noqa: PLC0415

    rows = []
    for process, values, cut in list(zip(processes, every, cuts, strict=True))[:MOST_ROWS]:
        steady = values[cut:]
        figures = (
            (steady.min(), np.median(steady), steady.mean(), steady.max()) if len(steady) else ()
        )
        rows.append(
            (
                str(process.get("index", "")),
                str(process.get("block", "")),
                str(cut),
                f"{len(steady):,}",
                *(f"{value:,.3f}" for value in figures),
                *("—" for _ in range(4 - len(figures))),
                str(len(labelled(process, "severe"))),
                looks_like(process) or "—",
            )
        )
    unit = scale.unit
    header = (
        "process", "block", "warm-up", "n",
        f"least, {unit}", f"median, {unit}", f"mean, {unit}", f"largest, {unit}", "severe",
        "looks like",
    )  # fmt: skip
    return Data(header, tuple(rows), omitted=max(0, len(processes) - MOST_ROWS))

"""What stands where in a figure: names at their own markers, shading at saturated rates alone."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.figures import loading, percentiles
from reports.figures.canvas import _VARIABLES, style
from reports.figures.styles import point_looks
from reports.views.points import PointView, SweepView
from reports.views.reader import read_sweep
from tests.make_trials import MS, make_process, make_trial
from tests.reports import sweeps

if TYPE_CHECKING:
    from reports.figures.canvas import Drawing
    from tests.reports.conftest import Once


LEGEND_Y = 20.0
"""Where the legend of a figure ends, from the top."""
SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Spot:
    """Something drawn: a marker with its look, or a text."""

    x: float
    y: float
    said: str


def parsed(drawing: Drawing) -> ET.Element:
    assert drawing.svg is not None
    text = drawing.svg.replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1)
    return ET.fromstring(text)  # noqa: S314 - our own drawing


def markers(root: ET.Element) -> list[Spot]:
    """Return every marker: its place, its shape's path and its colour."""
    shapes = {
        one.get("id"): one.get("d") for one in root.iter(f"{SVG}path") if one.get("id")
    }  # fmt: skip
    found = []
    for one in root.iter(f"{SVG}use"):
        shape, colour = shapes[str(one.get("href"))[1:]], re.search(r"--s\d", one.get("style", ""))
        if colour:
            at = (float(one.get("x", 0)), float(one.get("y", 0)))
            found.append(Spot(*at, f"{colour[0]} {shape}"))
    return found


def texts(root: ET.Element) -> dict[str, Spot]:
    found = {}
    for one in root.iter(f"{SVG}text"):
        at = re.search(r"translate\(([\d.]+) ([\d.]+)\)", one.get("transform", ""))
        x, y = at.groups() if at else (one.get("x", 0), one.get("y", 0))
        found["".join(one.itertext())] = Spot(float(x), float(y), "")
    return found


def sweep_of(*levels: tuple[str, int, float]) -> SweepView:
    """Return points of a precision, a batch and milliseconds, whose tails lie far apart."""
    trials = []
    for seed, (quant, bs, level) in enumerate(levels):
        rng = np.random.default_rng(seed)
        made = [
            make_process(
                [int(v * MS) for v in level * rng.lognormal(0, 0.02 * (1 + 3 * seed), 40)],
                index=index, bs=bs,
            )
            for index in (1, 2, 3)
        ]  # fmt: skip
        trials.append(make_trial(made, quant=quant, bs=bs))
    return SweepView("sweep", tuple(PointView(one) for one in trials))


CASES = {
    "apart": sweep_of(("force_float32", 1, 50), ("force_float32", 4, 90), ("force_float16", 1, 70)),
    "crossing": sweep_of(
        ("force_float16", 1, 80), ("force_float32", 1, 74), ("force_float16", 4, 76)
    ),
    "crowded": sweep_of(*[("force_float32", 2**n, 80 + 0.1 * n) for n in range(6)]),
}


@pytest.mark.parametrize("case", CASES)
def test_each_name_stands_at_a_marker_of_its_own_point(case: str) -> None:
    sweep = CASES[case]
    with style():
        drawing = percentiles.draw(sweep, sweep.points)
    root = parsed(drawing)
    looks, drawn, named = point_looks(sweep.points), markers(root), texts(root)
    shapes: dict[str, str] = {}
    for point in sweep.points:
        name = named[sweep.labels[point.id]]
        nearest = min(drawn, key=lambda one: abs(one.x - name.x) + abs(one.y - name.y))
        colour, shape = nearest.said.split(" ", 1)
        assert colour == _VARIABLES[looks[point.id].colour], sweep.labels[point.id]
        assert nearest.x < name.x
        # One shape of marker, one path; another shape, another path.
        assert shapes.setdefault(looks[point.id].marker, shape) == shape
    assert len(set(shapes.values())) == len(shapes)
    if case != "crowded":
        check_heights(sweep, root)


def check_heights(sweep: SweepView, root: ET.Element) -> None:
    """Names that do not crowd are at the height of their own point's rightmost marker."""
    looks, drawn, named = point_looks(sweep.points), markers(root), texts(root)
    edge = max(one.x for one in drawn)
    for point in sweep.points:
        colour = _VARIABLES[looks[point.id].colour]
        own = [one for one in drawn if one.said.startswith(colour) and one.x < edge - 1]
        last = [one for one in own if one.x == max(two.x for two in own)]
        name = named[sweep.labels[point.id]]
        assert min(abs(one.y - name.y) for one in last) < 15, sweep.labels[point.id]


def panel(rates: list[float], saturated: list[bool]) -> loading.Panel:
    point = CASES["apart"].points[0]
    loads = [loading.Load(*one) for one in zip(rates, itertools.repeat(point), saturated)]
    return loading.Panel("x", tuple(sorted(loads, key=lambda one: one.rate)), None)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 500).map(float), st.booleans()), min_size=1, max_size=8
    )
)  # fmt: skip
def test_shading_holds_every_saturated_rate_and_no_other(found: list[tuple[float, bool]]) -> None:
    rates, saturated = [rate for rate, _ in found], [one for _, one in found]
    spans = loading.saturated_spans(panel(rates, saturated), max(rates) * 1.08)
    calm = {rate for rate, one in found if not one}

    def shaded(rate: float) -> bool:
        return any(first <= rate <= last for first, last in spans)

    assert not any(shaded(rate) for rate in calm)
    assert all(shaded(rate) for rate in set(rates) - calm)
    assert all(first < last for first, last in spans)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(spans))


def test_the_drawing_shades_a_rate_between_two_that_were_served_alone(once: Once) -> None:
    sweep = read_sweep(once(sweeps.served))
    points = []
    for place, point in enumerate(sweep.points):
        warning = {"code": "saturated", "severity": "error", "seen": "saturated", "why": "",
                   "advice": ""}  # fmt: skip
        points.append(PointView({**point.document, "warnings": [warning] if place == 1 else []}))
    with style():
        drawing = loading.draw(SweepView("sweep", tuple(points)))
    assert drawing.data is not None
    assert [row[5] for row in drawing.data.rows[::3]] == ["no", "yes", "no", "no"]
    root = parsed(drawing)
    (shade,) = [
        [float(x) for x in re.findall(r"[ML] ([\d.]+) ", str(one.get("d")))]
        for one in root.iter(f"{SVG}path")
        if one.get("style", "").startswith("fill: var(--rule)") and "z" in str(one.get("d"))
        and one.get("clip-path")
    ]  # fmt: skip
    calm, alone, next_calm = sorted({spot.x for spot in markers(root) if spot.y > LEGEND_Y})
    assert calm < min(shade) < alone < max(shade) < next_calm

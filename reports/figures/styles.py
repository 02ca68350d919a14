"""Which colour, dash and marker a curve or a stage has: the same in every figure of a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.figures.canvas import DASHES, MARKERS, MUTED, SERIES
from reports.views.labels import family

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reports.views.points import PointView


_STAGE_COLOURS = {
    "encoder": SERIES[1],
    "decoder": SERIES[0],
    "postnet": SERIES[2],
    "waveglow": SERIES[3],
}


@dataclass(frozen=True)
class Look:
    """How one curve is drawn; colour is never the only difference."""

    colour: str
    dash: Any
    marker: str


def family_looks(
    points: Iterable[PointView], *without: str
) -> dict[tuple[tuple[str, str], ...], Look]:
    """Return a look for each family of points that differ in the named keys alone: batch size."""
    families = list(dict.fromkeys(family(point, *(without or ("bs",))) for point in points))
    return {
        one: Look(
            SERIES[number % len(SERIES)],
            DASHES[number // len(SERIES) % len(DASHES)],
            MARKERS[number % len(MARKERS)],
        )
        for number, one in enumerate(families)
    }


def point_looks(points: Iterable[PointView]) -> dict[str, Look]:
    """Return a look for each point: its family's colour, a dash and marker by batch size."""
    points = list(points)
    colours = family_looks(points)
    batches = sorted({point.batch for point in points})
    return {
        point.id: Look(
            colours[family(point, "bs")].colour,
            DASHES[batches.index(point.batch) % len(DASHES)],
            MARKERS[batches.index(point.batch) % len(MARKERS)],
        )
        for point in points
    }


def stage_colour(stage: str, place: int) -> str:
    """Return a stage's colour; stages of other pipelines take theirs by place."""
    return _STAGE_COLOURS.get(stage, (*SERIES, MUTED)[min(place, len(SERIES))])


def spread(positions: list[float], least: float) -> list[float]:
    """Return positions moved apart so that neighbours are at least `least` from each other.

    Keeps the order, and keeps each run of crowded labels centred on where it wants to be.
    """
    order = sorted(range(len(positions)), key=positions.__getitem__)
    groups: list[tuple[float, list[int]]] = []
    for index in order:
        groups.append((positions[index], [index]))
        while len(groups) > 1:
            (below, first), (above, second) = groups[-2:]
            if above - below >= least * (len(first) + len(second)) / 2:
                break
            members = first + second
            groups[-2:] = [(sum(positions[i] for i in members) / len(members), members)]
    placed = list(positions)
    for centre, members in groups:
        for place, index in enumerate(members):
            placed[index] = centre + (place - (len(members) - 1) / 2) * least
    return placed

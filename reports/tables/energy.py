"""Energy on the page, and what devices said of themselves while they were measured."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from harness.units import possible
from reports.tables.cells import (
    MISSING,
    Cell,
    Column,
    Row,
    Table,
    exact_cell,
    number_cell,
    scaled,
    text_cell,
)
from reports.text.plain import plain
from reports.text.scales import Scale
from reports.views.points import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reports.views.points import PointView


NS = 1e9
NO_RECORD = "the result file says nothing of it"
_READINGS = (
    ("power_w", "power", "W", 1),
    ("temperature_c", "temperature", "°C", 0),
    ("clock_mhz", "clock", "MHz", 0),
    ("utilisation_pct", "utilisation", "%", 0),
)
"""Key of a sample, what it is called, unit, decimals."""


def _energy(point: PointView) -> Mapping[str, Any]:
    found: Mapping[str, Any] = point.document.get("energy") or {}
    return found


def energy_record(point: PointView) -> Record | None:
    """Return joules per utterance; None where power was not measured."""
    found = _energy(point)
    if found.get("value") is None:
        return None
    low, high = possible(found["value"], *(found.get("ci95") or (None, None)))
    processes = int(found.get("processes") or 0)
    return Record(found["value"], low, high, 0, processes, "J", "lower", None, None)


def energy_table(points: Sequence[PointView]) -> Table:
    """Return joules per utterance and mean power of every point that has them."""
    having = [(point, one) for point in points if (one := energy_record(point))]
    gross = scaled(Scale("J"), [one for _, one in having])
    columns = (
        Column("energy_j", "gross", "J per utterance", "J", "Energy"),
        Column("energy_net_j", "net of idle", "J per utterance", "J", "Energy"),
        Column("power_w", "mean power", "W", "W", "Energy"),
        Column("processes", "P", "", "", "Samples"),
        Column("source", "source", "", "", "Samples", number=False),
    )
    rows = tuple(
        Row(
            point,
            "latency",
            (
                number_cell(record, gross),
                _net(_energy(point).get("net") or {}, gross),
                exact_cell(_energy(point).get("average_w"), 1),
                exact_cell(record.processes),
                text_cell(_energy(point).get("source")),
            ),
        )
        for point, record in having
    )
    return Table(columns, rows)


def _net(found: Mapping[str, Any], scale: Scale) -> Cell:
    if found.get("value") is None:
        return Cell("not known", note=plain(found.get("reason") or NO_RECORD), style=MISSING)
    return Cell(scale.text(found["value"]), found["value"])


def reasons(points: Iterable[PointView]) -> dict[str, list[PointView]]:
    """Return why energy was not measured, and of which points that is so."""
    found: dict[str, list[PointView]] = {}
    for point in points:
        if energy_record(point) is None:
            found.setdefault(plain(_energy(point).get("reason") or NO_RECORD), []).append(point)
    return found


def telemetry_table(points: Sequence[PointView]) -> Table:
    """Return what each device said of itself while its points were measured: one row for each."""
    found = [
        (point, device, samples, known)
        for point in points
        for device, samples in _sampled(point).items()
        if (known := {key: _known(samples, key) for key, *_ in _READINGS}) and any(known.values())
    ]
    shown = [one for one in _READINGS if any(known[one[0]] for *_, known in found)]
    columns = [
        Column("device", "device", number=False),
        *(Column(key, label, unit, unit, "Median, least – most") for key, label, unit, _ in shown),
        Column("samples", "samples", "", "", "Sampling"),
        Column("period_s", "every", "s", "s", "Sampling"),
        Column("cost_s", "each takes", "ms", "s", "Sampling"),
    ]
    rows = [
        Row(
            point,
            "latency",
            (
                Cell(plain(device), plain(device)),
                *(_span(known[key], decimals) for key, _, _, decimals in shown),
                exact_cell(len(_known(samples, "at_ns"))),
                exact_cell(samples[0].get("period_s"), 2),
                exact_cell(median(cost) / NS if cost else None, 1, 1e3),
            ),
        )
        for point, device, samples, known in found
        for cost in (_known(samples, "cost_ns"),)
    ]
    return Table(tuple(columns), tuple(rows))


def _sampled(point: PointView) -> dict[str, list[Mapping[str, Any]]]:
    """Return the samples taken during the processes of each device."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for process in point.processes:
        during = (process.get("telemetry") or {}).get("during")
        if during:
            found.setdefault(str(process.get("device", "")), []).append(during)
    return found


def _known(samples: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    columns = (one.get("columns") or {} for one in samples)
    return [value for one in columns for value in one.get(key) or () if value is not None]


def _span(values: Sequence[float], decimals: int) -> Cell:
    if not values:
        return Cell("not told", style=MISSING)
    middle, least, most = median(values), min(values), max(values)
    return Cell(f"{middle:,.{decimals}f}", middle, f"{least:,.{decimals}f} – {most:,.{decimals}f}")

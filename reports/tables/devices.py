"""Points that ran on several devices at once: their common windows, and each device's own rows."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from reports.tables.cells import Column, Row, Table, exact_cell, number_cell, scaled, text_cell
from reports.text.plain import plain
from reports.text.scales import Scale, time_scale
from reports.views.iterations import latencies, warm_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reports.views.points import PointView


def shared(point: PointView) -> Mapping[str, Any]:
    """Return the record of a point measured on several devices at once; empty with one."""
    found: Mapping[str, Any] = point.document.get("devices") or {}
    return found


def together_table(points: Sequence[PointView]) -> Table:
    """Return the common window of every point that ran on several devices at once."""
    having = [point for point in points if shared(point)]
    records = [point.record("latency", "items_per_s") for point in having]
    rates = scaled(Scale(""), [one for one in records if one is not None])
    items = " or ".join(dict.fromkeys(f"{point.items_of('latency')}/s" for point in having))
    columns = (
        Column("devices", "devices", "", "", "Together"),
        Column("items_per_s", "in the common windows", items, "items/s", "Together"),
        Column("rounds", "rounds", "", "", "Common window"),
        Column("window_s", "shortest", "s", "s", "Common window"),
        Column("overlap", "least share of a device’s run", "%", "1", "Common window"),
        Column("skew_s", "largest skew of the start", "ms", "s", "Common window"),
        Column("imbalance", "fastest / slowest device", "", "1", "Devices"),
    )
    return Table(columns, tuple(_together(point, rates) for point in having))


def _together(point: PointView, rates: Scale) -> Row:
    found = shared(point)
    rounds = found.get("rounds") or ()
    shares = [share for one in rounds for share in one["overlap"].values()]
    skews = [one["skew_s"] for one in rounds]
    count = len(found.get("items_per_s") or ())
    return Row(
        point,
        "latency",
        (
            exact_cell(count),
            number_cell(point.record("latency", "items_per_s"), rates),
            exact_cell(len(rounds)),
            exact_cell(min((one["window_s"] for one in rounds), default=None), 1),
            exact_cell(min(shares, default=None), 0, 100),
            exact_cell(max(skews, default=None), 1, 1e3),
            exact_cell(found.get("imbalance"), 3),
        ),
    )


def each_table(points: Sequence[PointView]) -> Table:
    """Return one row for each device of every point that ran on several at once."""
    having = [point for point in points if shared(point)]
    items = " or ".join(dict.fromkeys(f"{point.items_of('latency')}/s" for point in having))
    scale = time_scale(
        one["latency_s"] for point in having for one in _each(point) if one["latency_s"]
    )
    columns = (
        Column("device", "device", number=False),
        Column("name", "name", number=False),
        Column("items_per_s", "its own rate", items, "items/s"),
        Column("latency_s", "median latency", scale.unit, "s"),
        Column("n", "n"),
        Column("processes", "P"),
        Column("overlap", "least share in the common window", "%", "1"),
    )
    rows = tuple(
        Row(
            point,
            "latency",
            (
                text_cell(one["device"]),
                text_cell(one["name"]),
                exact_cell(one["rate"], 0),
                exact_cell(one["latency_s"], 2, scale.factor),
                exact_cell(one["n"]),
                exact_cell(one["processes"]),
                exact_cell(one["overlap"], 0, 100),
            ),
        )
        for point in having
        for one in _each(point)
    )
    return Table(columns, rows)


def _each(point: PointView) -> Iterator[dict[str, Any]]:
    found = shared(point)
    names = (point.document.get("settings") or {}).get("devices") or {}
    for device, rate in (found.get("items_per_s") or {}).items():
        mine = [one for one in point.processes if str(one.get("device")) == device]
        samples = [value for one in mine for value in latencies(one)[warm_up(one) :].tolist()]
        shares = [one["overlap"][device] for one in found["rounds"] if device in one["overlap"]]
        yield {
            "device": plain(device),
            "name": (names.get(device) or {}).get("name"),
            "rate": rate,
            "latency_s": median(samples) if samples else None,
            "n": len(samples),
            "processes": len(mine),
            "overlap": min(shares, default=None),
        }

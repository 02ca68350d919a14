"""Published figures of others beside ours: context with source and caveats, never a verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from reports.tables.cells import MISSING, Cell, number_cell
from reports.text.precision import precision_text
from reports.text.scales import Scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.views.points import PointView, SweepView


TABLES = ("mlu370_s4", "nvidia_pytorch", "nvidia_tensorrt", "mlu370_x4")
MOST_MATCHES = 3
FULL_SIZE = (None, "full")
"""Models that are the published ones: files of the user's own, or synthetic ones as large."""
_SAMPLES_PER_FRAME, _SAMPLES_PER_S = 256, 22_050
_FACTORS = {"ms": 1e3}
_COMPAT = "compat:"


@dataclass(frozen=True)
class PublishedLine:
    """One measurement in the comparison: the published one or one of ours."""

    who: str
    note: str
    anchor: str | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """One published setting and what this sweep measured for the same setting."""

    title: str
    lines: tuple[PublishedLine, ...]


@dataclass(frozen=True)
class Reference:
    """A published table with its source and its caveats."""

    key: str
    title: str
    source: str
    units: str
    """In which units it was published, and what was computed from it."""
    header: tuple[tuple[str, str], ...]
    """Heading and unit of each column."""
    groups: tuple[Group, ...]
    caveats: tuple[str, ...]
    matches: int
    """How many points of the sweep have a published counterpart."""

    @property
    def covered(self) -> str:
        """How much of the table has a counterpart here, in one sentence."""
        known = sum(1 for group in self.groups if any(line.anchor for line in group.lines))
        return f"{known} of the {len(self.groups)} published settings were measured here."


@cache
def load_table(name: str) -> Mapping[str, Any]:
    """Return one of the tables shipped in `reports/data`."""
    text = resources.files("reports").joinpath("data", f"{name}.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def references(sweep: SweepView) -> list[Reference]:
    """Return every published table, each with the points of the sweep of the same setting."""
    return [compare(sweep, name) for name in TABLES]


def compare(sweep: SweepView, name: str) -> Reference:
    """Return a published table with the points of the sweep that have the same setting."""
    table = load_table(name)
    settings: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in table["rows"]:
        settings.setdefault((row["quant"], row["bs"]), []).append(row)
    groups, matches = [], 0
    for (quant, bs), rows in settings.items():
        ours = [one for one in sweep.measured if _same_setting(one, quant, bs, table)]
        matches += len(ours)
        lines = [_published(row, table["columns"]) for row in rows]
        lines += [
            PublishedLine(sweep.labels[one.id], "", one.anchor, _ours(one, table["columns"]))
            for one in ours[:MOST_MATCHES]
        ]
        if len(ours) > MOST_MATCHES:
            more = f"{len(ours) - MOST_MATCHES} more points of this setting"
            lines.append(PublishedLine(more, "", None, ()))
        groups.append(Group(f"{quant}, batch {bs}", tuple(lines)))
    return Reference(
        key=name,
        title=table["title"],
        source=table["source"],
        units=table["units"],
        header=(
            ("ran in", ""),
            *((column["label"], column["unit"]) for column in table["columns"]),
            ("n", "mean and rates"),
            ("n", "cl, std, frames"),
            ("P", ""),
        ),
        groups=tuple(groups),
        caveats=tuple(caveat["text"] for caveat in table["caveats"]),
        matches=matches,
    )


def _same_setting(point: PointView, quant: str, bs: int, table: Mapping[str, Any]) -> bool:
    config = point.config
    return bool(
        (point.quant, point.batch) == (quant, bs)
        and not point.scheduled
        and config.get("il") == table["il"]
        and bool(config.get("waveglow")) == table["waveglow"]
        and config.get("pipeline") == table["pipeline"]
        and config.get("model") in FULL_SIZE
    )


def _published(row: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]) -> PublishedLine:
    cells = [Cell(row["precision"], row["precision"])]
    derived = {**_derived(row), **row}
    for column in columns:
        value = derived.get(column["key"])
        factor = _FACTORS.get(column["unit"], 1.0)
        decimals = column.get("decimals", 3 if column["unit"] == "ms" else 0)
        text = Scale("", factor, decimals).text(value)
        cells.append(Cell(text, value) if text else Cell("not published", style=MISSING))
    for key in ("iterations", "iterations", "processes"):
        known = row.get(key, 1 if key == "processes" else None)
        cells.append(Cell(f"{known:,}", known) if known else Cell("not stated", style=MISSING))
    return PublishedLine(f"{row['device']}, published", row.get("note", ""), None, tuple(cells))


def _derived(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what follows from a published row: rates of utterances and of speech."""
    if "latency_s" not in row:
        return {}
    utterances = row["bs"] / row["latency_s"]
    speech_s = row["mel_frames_mean"] * _SAMPLES_PER_FRAME / _SAMPLES_PER_S
    return {"utterances_per_s": utterances, "x_realtime": utterances * speech_s}


def _ours(point: PointView, columns: Sequence[Mapping[str, Any]]) -> tuple[Cell, ...]:
    cells = [Cell(precision_text(point.document) or "unknown")]
    cells += [_cell(point, column) for column in columns]
    mean, original = point.record("latency", "mean"), point.counted_as_original()
    counts = (
        mean.n if mean else None, original.n if original else None, mean.processes if mean else None
    )  # fmt: skip
    cells += [Cell(f"{n:,}", n) if n else Cell(style=MISSING) for n in counts]
    return tuple(cells)


def _cell(point: PointView, column: Mapping[str, Any]) -> Cell:
    ours, scale = column["ours"], Scale("", _FACTORS.get(column["unit"], 1.0))
    if ours.startswith(_COMPAT):
        value = point.compat.get(ours.removeprefix(_COMPAT))
        decimals = column.get("decimals", 3)
        text = Scale("", scale.factor, decimals).text(value)
        return Cell(text, value) if text else Cell(style=MISSING)
    subject, _, statistic = ours.partition(".")
    record = point.record(subject, statistic)
    if record is None or record.estimate is None:
        return number_cell(record, scale)
    widest = point.record(subject, "mean") if statistic.startswith("cl") else record
    scale = scale.with_decimals([widest.half_width if widest else None], [record.estimate])
    return number_cell(record, scale)

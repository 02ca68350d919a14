"""Published figures of the original beside ours: context with its caveats, never a verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from harness.metrics import CL
from reports.effective import precision_text
from reports.numbers import Scale
from reports.table import MISSING, Cell, number_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reports.trials import PointView, SweepView

MOST_MATCHES = 3
_STAGES = ("encoder", "decoder", "postnet")
_MS = 1e3


@dataclass(frozen=True)
class Line:
    """One measurement in the comparison: the published one or one of ours."""

    who: str
    anchor: str | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """One published setting and what this sweep measured for the same setting."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Comparison:
    """A published table with its source and its caveats."""

    title: str
    device: str
    source: str
    iterations: int
    header: tuple[tuple[str, str], ...]
    """Heading and unit of each column."""
    groups: tuple[Group, ...]
    caveats: tuple[str, ...]
    matches: int
    """How many points of the sweep have a published counterpart."""


def load_table(name: str) -> dict[str, Any]:
    """Return one of the tables shipped in `reports/data`."""
    text = resources.files("reports").joinpath("data", f"{name}.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def compare(sweep: SweepView, name: str = "mlu370_s4") -> Comparison:
    """Return a published table with the points of the sweep that have the same setting."""
    table = load_table(name)
    groups, matches = [], 0
    for row in table["rows"]:
        ours = [point for point in sweep.measured if _same_setting(point, row, table)]
        matches += len(ours)
        lines = [Line(f"{table['device']}, published", None, _published(row, table))]
        lines += [
            Line(sweep.labels[point.id], point.anchor, _ours(point))
            for point in ours[:MOST_MATCHES]
        ]
        if len(ours) > MOST_MATCHES:
            more = f"{len(ours) - MOST_MATCHES} more points of this setting"
            lines.append(Line(more, None, ()))
        groups.append(Group(f"{row['quant']}, batch {row['bs']}", tuple(lines)))
    return Comparison(
        title=table["title"],
        device=table["device"],
        source=table["source"],
        iterations=table["iterations"],
        header=_header(),
        groups=tuple(groups),
        caveats=tuple(caveat["text"] for caveat in table["caveats"]),
        matches=matches,
    )


def _header() -> tuple[tuple[str, str], ...]:
    return (
        ("ran in", ""),
        *((stage, "ms") for stage in _STAGES),
        ("latency", "ms"),
        *((f"cl{p}", "ms") for p in CL),
        ("padded", "mel frames/s"),
        ("utterances", "1/s"),
        ("n", ""),
        ("P", ""),
    )


def _same_setting(point: PointView, row: Mapping[str, Any], table: Mapping[str, Any]) -> bool:
    config = point.config
    return bool(
        point.quant == row["quant"]
        and point.batch == row["bs"]
        and config.get("il") == table["il"]
        and bool(config.get("waveglow")) == table["waveglow"]
        and config.get("pipeline") == table["pipeline"]
    )


def _published(row: Mapping[str, Any], table: Mapping[str, Any]) -> tuple[Cell, ...]:
    times = Scale("ms", _MS, 3)
    rate = row["mel_frames_per_s"]
    utterances = row["bs"] / row["latency_s"]
    keys = [f"{name}_s" for name in (*_STAGES, "latency", *(f"cl{p}" for p in CL))]
    return (
        Cell(table["precision"], table["precision"]),
        *(Cell(times.text(row[key]), row[key]) for key in keys),
        Cell(f"{rate:,.0f}", rate),
        Cell(f"{utterances:,.1f}", utterances),
        Cell(str(table["iterations"]), table["iterations"]),
        Cell("1", 1),
    )


def _ours(point: PointView) -> tuple[Cell, ...]:
    named = [(f"{stage}_execute", "mean") for stage in _STAGES]
    named += [("latency", "mean"), *(("latency", f"cl{p}") for p in CL)]
    cells = [Cell(precision_text(point.document) or "unknown")]
    cells += [_cell(point, subject, key, Scale("ms", _MS)) for subject, key in named]
    cells.append(_cell(point, "latency", "items_padded_per_s", Scale("")))
    cells.append(_cell(point, "latency", "utterances_per_s", Scale("")))
    mean = point.record("latency", "mean")
    counts = (mean.n, mean.processes) if mean else (None, None)
    cells += [Cell(f"{n:,}", n) if n else Cell(style=MISSING) for n in counts]
    return tuple(cells)


def _cell(point: PointView, subject: str, statistic: str, scale: Scale) -> Cell:
    record = point.record(subject, statistic)
    if record is None or record.estimate is None:
        return number_cell(record, scale, symmetric=True)
    widest = point.record(subject, "mean") if statistic.startswith("cl") else record
    scale = scale.with_decimals([widest.half_width if widest else None], [record.estimate])
    return number_cell(record, scale, symmetric=True)


def closest_sentence(comparison: Comparison) -> str:
    """Return one sentence that says how much of the table has a counterpart here."""
    settings = len(comparison.groups)
    covered = sum(1 for group in comparison.groups if len(group.lines) > 1)
    return f"{covered} of the {settings} published settings were measured in this sweep."

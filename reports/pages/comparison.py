"""The page of a comparison: verdicts first, then ratios, what differs, and how to repeat it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.figures import forest
from reports.figures.canvas import style
from reports.tables import facts, published
from reports.tables.cells import MISSING, Cell
from reports.text import copied
from reports.text.plain import plain
from reports.text.verdicts import edges, headline, interval_text, ratio_text, seconds_text, why
from reports.views.points import PointView, SweepView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.judging.comparison import Comparison, ComparisonRow
    from reports.figures.canvas import Drawing
    from reports.tables.published import Reference
    from reports.text.copied import CopiedCommand


ORDER = ("slower", "fail", "not comparable", "unresolved", "faster", "no difference")
MARKS = {"slower": "▲", "faster": "▼", "no difference": "=", "unresolved": "?"}
"""A shape beside each word, so that colour is never the only difference."""
COLUMNS = (
    ("verdict", "verdict", "", False),
    ("metric", "metric", "", False),
    ("baseline_s", "baseline", "", True),
    ("candidate_s", "candidate", "", True),
    ("ratio", "ratio", "candidate / baseline", True),
    ("n", "n", "of both sides", True),
    ("processes", "P", "of both sides", True),
    ("grade", "grade", "of both sides", False),
)
"""Key, heading, second line of the heading, whether a number."""
MOST_DIFFERENCES = 60
_VOLATILE = ("state.", "load", "uptime", "memory.available")
"""Beginnings of what differs between any two moments."""


@dataclass(frozen=True)
class ComparisonLine:
    """One row of the table of verdicts."""

    point: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class SideView:
    """Where one side's results came from."""

    name: str
    commands: tuple[CopiedCommand, ...]
    commits: tuple[str, ...]
    measured: str


@dataclass(frozen=True)
class ComparedPage:
    """What the page of one comparison says, in its order."""

    title: str
    eyebrow: str
    headline: str
    version: str
    synthetic: str
    synthetic_labels: str
    contents: Sequence[tuple[str, str]]
    notes: Sequence[str]
    columns: Sequence[tuple[str, str, str, bool]]
    lines: Sequence[ComparisonLine]
    forest: Drawing
    differing: Sequence[tuple[str, str, str]]
    """Key of the environment, the baseline's value, the candidate's."""
    equal: int
    more_differing: int
    published: Sequence[Reference]
    sides: Sequence[SideView]
    sweep: str | None
    """Address of the sweep's own page."""


def build(found: Comparison, sweep: str | None = None) -> ComparedPage:
    """Return the page of a comparison.

    Args:
        found: the comparison.
        sweep: address of the page of the sweep in which both sides were measured.
    """
    from harness import __version__ as version  # noqa: PLC0415 - read where it is shown

    rows = sorted(found.rows, key=_urgency)
    sides = [_views(found, "base"), _views(found, "new")]
    pairs = zip(found.names, *sides, strict=True)
    by_name = {plain(name): (base, new) for name, base, new in pairs if base and new}
    first, *notes = headline(found)
    differing, equal = _environments(sides)
    measured = SweepView("candidate", tuple(one for one in sides[1] if one))
    references = [one for one in published.references(measured) if one.matches]
    labels = sorted({one.synthetic for side in sides for one in side if one and one.synthetic})
    with style():
        drawing = forest.draw(_drawn(rows), found.delta)
    contents = [
        ("points", "Verdicts"),
        ("figures", "Ratios"),
        *([("published", "Published figures")] if references else []),
        ("environment", "Environment"),
        ("reproduce", "Reproduce"),
    ]
    return ComparedPage(
        title=_title(sides),
        eyebrow="Comparison of two results"
        + (", measured side by side" if found.interleaved else ", measured on two occasions"),
        headline=first,
        version=version,
        synthetic="Times are those of the real computation; what comes out is not speech."
        if labels
        else "",
        synthetic_labels=plain(", ".join(labels)),
        contents=contents,
        notes=notes,
        columns=COLUMNS,
        lines=[_line(row, by_name.get(plain(row.point)), edges(found)) for row in rows],
        forest=drawing,
        differing=differing[:MOST_DIFFERENCES],
        equal=equal,
        more_differing=max(0, len(differing) - MOST_DIFFERENCES),
        published=references,
        sides=[
            _side(name, one) for name, one in zip(("baseline", "candidate"), sides, strict=True)
        ],
        sweep=sweep,
    )


def _urgency(row: ComparisonRow) -> tuple[int, float]:
    rank = {word: place for place, word in enumerate(ORDER)}
    ratio = row.difference.ratio if row.difference else 1.0
    return rank.get(str(row.verdict), 0), -abs(math.log(ratio))


def _drawn(rows: Sequence[ComparisonRow]) -> Sequence[ComparisonRow]:
    """Return what the figure has room for: all rows, or those of the whole pipeline alone."""
    if len(rows) <= forest.MOST_ROWS:
        return rows
    return [row for row in rows if row.first]


def _views(found: Comparison, attribute: str) -> list[PointView | None]:
    documents = (getattr(pair, attribute) for pair in found.pairs)
    return [None if one is None else PointView(one) for one in documents]


def _line(
    row: ComparisonRow, pair: tuple[PointView, PointView] | None, limits: tuple[float, float]
) -> ComparisonLine:
    word = str(row.verdict)
    mark = MARKS.get(word, "×")
    one = row.difference
    ends = one.interval if one and math.isfinite(one.half_width) else (None, None)
    cells = [
        Cell(f"{mark} {word}", f"{ORDER.index(word) if word in ORDER else 0}", why(row),
             style=f"verdict-{word.replace(' ', '-')}"),
        Cell(row.metric, row.metric),
        *(
            Cell(seconds_text(value), value) if value is not None else Cell(style=MISSING)
            for value in (row.baseline_s, row.candidate_s)
        ),
        Cell(ratio_text(one.ratio, limits), one.ratio, interval_text(row), *ends)
        if one
        else Cell(style=MISSING),
    ]  # fmt: skip
    records = [side.record(row.subject, "mean") for side in pair] if pair else [None, None]
    for values in (
        [f"{r.n:,}" if r else "—" for r in records],
        [f"{r.processes}" if r else "—" for r in records],
        [(r.letter if r else None) or "—" for r in records],
    ):
        text = values[0] if values[0] == values[1] else " / ".join(values)
        cells.append(Cell(text, text.split(" ")[0].replace(",", "")))
    return ComparisonLine(plain(row.point), tuple(cells))


def _title(sides: Sequence[Sequence[PointView | None]]) -> str:
    backends = dict.fromkeys(plain(one.backend) for side in sides for one in side if one)
    return f"Comparison on {', '.join(backends)}" if backends else "Comparison"


def _environments(
    sides: Sequence[Sequence[PointView | None]],
) -> tuple[list[tuple[str, str, str]], int]:
    """Return what differs between the sides' environments, and how many keys are equal."""
    values = [_values(side) for side in sides]
    keys = sorted({key for side in values for key in side if not key.startswith(_VOLATILE)})
    texts = [(key, *(", ".join(side.get(key, ["unknown"])[:3]) for side in values)) for key in keys]
    differing = [(key, base, new) for key, base, new in texts if base != new]
    return differing, len(keys) - len(differing)


def _values(side: Iterable[PointView | None]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for one in side:
        record: Mapping[str, Any] = (one.document.get("environment") or {}) if one else {}
        for key, value in facts.flat_facts(record.get("before") or {}):
            found.setdefault(key, {})[value] = None
    return {key: sorted(values) for key, values in found.items()}


def _side(name: str, points: Iterable[PointView | None]) -> SideView:
    known = [one for one in points if one]
    provenances = [one.document.get("provenance") or {} for one in known]
    commits = (str((one.get("git") or {}).get("commit") or "") for one in provenances)
    times = sorted(str((one.document.get("started") or {}).get("utc") or "") for one in known)
    return SideView(
        name,
        tuple(
            copied.of_text(text)
            for text in dict.fromkeys(
                str(one["command"]) for one in provenances if one.get("command")
            )
        ),
        tuple(dict.fromkeys(plain(one) for one in commits if one)),
        plain(times[0][:16].replace("T", " ")) if times else "",
    )

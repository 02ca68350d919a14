"""What a reader should know first: the verdict in a sentence, the best points, the warnings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from harness.judging import precision_check
from reports.tables import accuracy, energy
from reports.text.plain import plain
from reports.text.scales import Scale, time_scale
from reports.views.points import STATES, UNPLANNED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reports.views.points import PointView, Record, SweepView


_SEVERITIES = ("error", "warning", "notice")
_ALIASES = {"fatal": "error", "critical": "error", "info": "notice", "note": "notice"}
MOST_NAMED = 8


@dataclass
class FindingRow:
    """One thing to know, with the points it concerns."""

    severity: str
    code: str
    seen: str
    why: str = ""
    advice: str = ""
    points: list[PointView] = field(default_factory=list)

    @property
    def named(self) -> Sequence[PointView]:
        """The points to name; the others are only counted."""
        return self.points[:MOST_NAMED]

    @property
    def unnamed(self) -> int:
        """How many points are not named."""
        return len(self.points) - len(self.named)


@dataclass(frozen=True)
class Best:
    """The best point by one figure, with everything the figure needs beside it."""

    what: str
    point: PointView
    figure: str
    unit: str
    basis: str


def counted(number: int, noun: str) -> str:
    """Return `1 point` or `2 points`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def headline(sweep: SweepView) -> str:
    """Return the state of the whole sweep in one sentence."""
    if not sweep.points:
        return "No point has been measured."
    states = Counter(point.state for point in sweep.points)
    order = (*STATES, UNPLANNED)
    parts = [f"{states[state]:,} {state}" for state in order if states[state]]
    parts += [f"{n:,} {plain(s)}" for s, n in sorted(states.items()) if s not in order]
    text = f"{counted(len(sweep.points), 'point')}: {', '.join(parts)}"
    if states["ok"] == len(sweep.points) > 1:
        wrong = any(point.accuracy_failed for point in sweep.points)
        text = f"{len(sweep.points):,} points, all {'measured' if wrong else 'ok'}"
    if said := accuracy.outcome(sweep):
        text += f"; {said}"
    grades = Counter(point.grade for point in sweep.measured if point.grade)
    if grades:
        shown = ", ".join(f"{grades[letter]:,} {letter}" for letter in sorted(grades))
        text += f"; grade {next(iter(grades))}" if len(grades) == 1 else f"; grades {shown}"
        text += " throughout" if len(grades) == 1 < grades.total() else ""
    return text + "."


def best_points(sweep: SweepView) -> list[Best]:
    """Return the points of least latency and of most throughput, as measured.

    Points whose outputs are too far from the reference's are not among them, nor those whose
    requests came by a schedule: their rate is what was sent.
    """
    found = []
    for what, statistic, sign in (
        ("Shortest mean latency", "mean", 1),
        ("Highest throughput", "items_per_s", -1),
    ):
        having = [
            (record.estimate, point, record)
            for point in sweep.measured
            if not point.accuracy_failed
            and not point.scheduled
            and (record := point.record("latency", statistic))
            and record.estimate is not None
        ]
        if len(having) > 1 and len({point.items_of("latency") for _, point, _ in having}) == 1:
            _, point, record = min(having, key=lambda one: (sign * one[0], one[1].name))
            figure, unit = _figure(point, record)
            found.append(Best(what, point, figure, unit, _basis(record)))
    return found


def _figure(point: PointView, record: Record) -> tuple[str, str]:
    scale = time_scale([record.estimate]) if record.unit == "s" else Scale("")
    unit = scale.unit or f"{point.items_of('latency')}/s"
    scale = scale.with_decimals([record.half_width], [record.estimate or 0.0])
    return f"{scale.text(record.estimate)} {scale.bracketed(record.low, record.high)}".strip(), unit


def _basis(record: Record) -> str:
    grade = f", grade {record.letter}" if record.letter else ""
    return f"95 % interval, n = {record.n:,}, P = {record.processes}{grade}"


def _severity(raw: object) -> str:
    word = str(raw).lower()
    word = _ALIASES.get(word, word)
    return word if word in _SEVERITIES else "warning"


def warnings(sweep: SweepView) -> list[FindingRow]:
    """Return what may make a figure untrue, most severe first, equal ones merged."""
    merged: dict[tuple[str, str, str], FindingRow] = {}
    recorded = [point for point in sweep.measured if accuracy.record_of(point)]
    for found in chain(
        _of_files(sweep),
        _of_states(sweep.points),
        unchecked(recorded),
        _stored(sweep.points),
        _between(sweep.measured),
    ):
        key = (found.severity, found.code, found.seen)
        if key in merged:
            merged[key].points += found.points
        else:
            merged[key] = found
    return sorted(
        merged.values(),
        key=lambda one: (_SEVERITIES.index(one.severity), -len(one.points), one.code, one.seen),
    )


def _of_files(sweep: SweepView) -> Iterable[FindingRow]:
    for problem in sweep.problems:
        yield FindingRow(
            "error", "unreadable", plain(problem), "the point it belongs to is missing here",
            "measure the point again; the file is kept as it is",
        )  # fmt: skip


def _of_states(points: Iterable[PointView]) -> Iterable[FindingRow]:
    for point in points:
        if point.state in {"failed", "timeout", "interrupted"}:
            yield FindingRow(
                "error", f"point-{point.state}",
                f"{point.state}: {plain(point.reason or 'no reason was recorded')}",
                "the point has no figures, or only those of the iterations it finished",
                "read the process logs beside the result file", [point],
            )  # fmt: skip
        elif point.state == UNPLANNED:
            yield FindingRow(
                "notice", "not-measured", "planned and not measured yet", "the sweep is partial",
                "the same command goes on after the last whole result", [point],
            )  # fmt: skip


def unchecked(points: Iterable[PointView]) -> list[FindingRow]:
    """Return why outputs were held against nothing, each reason with its points."""
    why = "whether the outputs are still the network's is not known"
    return [
        FindingRow(
            "notice", "accuracy-not-checked", f"accuracy not checked: {reason}", why, points=having
        )
        for reason, having in accuracy.reasons(points).items()
    ]


def without_energy(points: Iterable[PointView]) -> list[FindingRow]:
    """Return why energy was not measured, each reason with its points."""
    return [
        FindingRow("notice", "energy-not-measured", f"energy not measured: {reason}", points=having)
        for reason, having in energy.reasons(points).items()
    ]


def _stored(points: Iterable[PointView]) -> Iterable[FindingRow]:
    for point in points:
        for raw in point.document.get("warnings") or ():
            yield FindingRow(
                _severity(raw.get("severity")), plain(raw.get("code", "")),
                plain(raw.get("seen", "")), plain(raw.get("why", "")),
                plain(raw.get("advice", "")), [point],
            )  # fmt: skip


def _rate(point: PointView) -> dict[str, object]:
    """Return the figure that precisions are compared by, as a result file holds it."""
    subject, _, statistic = precision_check.FIGURE.partition(".")
    record = point.record(subject, statistic)
    if record is None:
        return {}
    both = record.low is not None and record.high is not None
    return {
        "estimate": record.estimate,
        "ci95": [record.low, record.high] if both else None,
    }


def _between(points: Iterable[PointView]) -> Iterable[FindingRow]:
    """Yield what several points together show."""
    by_id = {point.id: point for point in points}
    seen = [
        (key, precision_check.mode(point.document, _rate(point))) for key, point in by_id.items()
    ]
    known = [replace(one, name=key) for key, one in seen if one is not None]
    for found, names in precision_check.warnings(known):
        yield FindingRow(
            found.severity, found.code, found.seen, found.why, found.advice,
            [by_id[name] for name in names],
        )  # fmt: skip


def grade_limits(sweep: SweepView) -> list[FindingRow]:
    """Return what keeps grades from being better, the most frequent first."""
    merged: dict[str, FindingRow] = {}
    for point in sweep.measured:
        for reason in point.grade_reasons:
            code = plain(reason.get("code", ""))
            made = merged.setdefault(code, _limit(code, reason))
            made.points.append(point)
    return sorted(merged.values(), key=lambda one: (-len(one.points), one.code))


def _limit(code: str, reason: Mapping[str, object]) -> FindingRow:
    return FindingRow(
        "notice", code, plain(reason.get("text", "")), advice=plain(reason.get("advice", ""))
    )

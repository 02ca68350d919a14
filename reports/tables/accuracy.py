"""Accuracy on the page: what the gate said of each point, and each distance beside its limit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from harness.analysis.accuracy import FAILED, MEASURES
from harness.units import apart
from reports.tables.cells import MISSING, Cell, Column, Row, Table
from reports.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.analysis.accuracy import OutputDistance
    from reports.views.points import PointView, SweepView


PASSED = "passed"
NOT_RECORDED = "the result file says nothing of it"


def record_of(point: PointView) -> Mapping[str, Any]:
    """Return a point's accuracy record; empty in files from before there was one."""
    found: Mapping[str, Any] = point.document.get("accuracy") or {}
    return found


def outcome(sweep: SweepView) -> str:
    """Return the gate's outcome over all measured points in a few words; empty without records."""
    states = Counter(
        str(record["state"]) for point in sweep.measured if (record := record_of(point))
    )
    if not states:
        return ""
    if len(states) == 1 and states.total() == len(sweep.measured):
        state = next(iter(states))
        return f"accuracy {plain(state)}" + (" throughout" if states.total() > 1 else "")
    words = [f"{states[FAILED]:,} {FAILED}", f"{states[PASSED]:,} {PASSED}"]
    rest = len(sweep.measured) - states[FAILED] - states[PASSED]
    words.append(f"{rest:,} not checked")
    return "accuracy: " + ", ".join(one for one in words if not one.startswith("0 "))


def reasons(points: Iterable[PointView]) -> dict[str, list[PointView]]:
    """Return why outputs were held against nothing, and of which points that is so."""
    found: dict[str, list[PointView]] = {}
    for point in points:
        record = record_of(point)
        if record.get("state") not in {PASSED, FAILED}:
            found.setdefault(plain(record.get("reason") or NOT_RECORDED), []).append(point)
    return found


def accuracy_table(points: Sequence[PointView]) -> Table:
    """Return the distances of every point whose outputs were held against the reference's."""
    having = [point for point in points if record_of(point).get("figures")]
    shown = [one for one in MEASURES if any(_value(p, one) is not None for p in having)]
    columns = [
        Column(one.key, one.label, "" if one.unit == one.label else one.unit, one.unit)
        for one in shown
    ]
    rows = [
        Row(point, "latency", (_state(point), *(_distance(point, one) for one in shown)))
        for point in having
    ]
    return Table((Column("accuracy", "outcome", number=False), *columns), tuple(rows))


def _state(point: PointView) -> Cell:
    state = plain(record_of(point)["state"])
    style = "state-failed" if point.accuracy_failed else "state-ok"
    return Cell(state, state, style=style)


def _value(point: PointView, measure: OutputDistance) -> float | None:
    figure = record_of(point)["figures"].get(measure.key) or {}
    value: float | None = figure.get("value")
    return value


def _distance(point: PointView, measure: OutputDistance) -> Cell:
    figure, value = record_of(point)["figures"].get(measure.key) or {}, _value(point, measure)
    if value is None:
        return Cell(style=MISSING)
    limit = figure.get("limit")
    text, note = f"{value:.{measure.digits}f}", "no limit"
    if limit is not None:
        text, against = apart(value, limit, measure.digits)
        note = f"limit {against}"
    if figure.get("between_seeds") is not None:
        note += f", between two seeds {figure['between_seeds']:.{measure.digits}f}"
    passed = figure.get("passed", True)
    return Cell(text if passed else f"✗ {text}", value, note, style="" if passed else "beyond")

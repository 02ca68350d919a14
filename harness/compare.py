"""Two sweeps against each other: which points belong together, and how they differ.

The statistics are in `harness/comparison.py`. A point of the baseline that is missing, failed or
describes other work is never passed over in silence: it is `not comparable`, with what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness import comparison
from harness.comparison import Difference, Verdict
from harness.errors import ExitStatus
from harness.series import WHOLE, Series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Document = Mapping[str, Any]

IDENTITY = (
    "pipeline", "backend", "quant", "bs", "il", "waveglow", "devices", "model", "seed", "scenario",
    "sync",
)  # fmt: skip
"""What a point is matched by: its configuration, without the hashes of its models."""


@dataclass(frozen=True)
class Row:
    """One metric of one point on both sides."""

    point: str
    metric: str
    baseline_s: float | None
    candidate_s: float | None
    difference: Difference | None
    verdict: str
    reason: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Everything `compare` found."""

    rows: Sequence[Row]
    delta: float
    new_points: Sequence[str] = ()
    """Points only the candidate has."""
    failed: Sequence[str] = ()
    """Points whose candidate failed or timed out."""
    labels: Sequence[str] = field(default_factory=tuple)
    """What both sides say of their weights."""

    def of(self, *verdicts: str) -> list[Row]:
        """Return the rows with one of these verdicts."""
        return [row for row in self.rows if row.verdict in verdicts]

    @property
    def geometric_mean(self) -> float | None:
        """Geometric mean of the ratios of whole-pipeline latency; None when nothing compares."""
        ratios = [row.difference.ratio for row in self._whole() if row.difference]
        return comparison.geometric_mean(ratios) if ratios else None

    @property
    def worst(self) -> Row | None:
        """The point whose latency grew most."""
        rows = [row for row in self._whole() if row.difference]
        return max(
            rows, key=lambda row: row.difference.ratio if row.difference else 0, default=None
        )

    def _whole(self) -> list[Row]:
        return [row for row in self.rows if row.metric == WHOLE]

    def status(self, *, fail_on_unresolved: bool = False) -> ExitStatus:
        """Return the exit status: the gravest that applies."""
        found = set()
        if self.of(Verdict.NOT_COMPARABLE) or not self.rows:
            found.add(ExitStatus.NOTHING_MEASURED)
        if self.failed:
            found.add(ExitStatus.POINTS_FAILED)
        if self.of(Verdict.SLOWER, "fail"):
            found.add(ExitStatus.REGRESSION)
        if fail_on_unresolved and self.of(Verdict.UNRESOLVED):
            found.add(ExitStatus.UNRESOLVED)
        return ExitStatus.worst(found)


def _key(document: Document) -> str:
    config = document["point"]["config"]
    return repr([config.get(name) for name in IDENTITY])


def _differing(base: Document, new: Document, *, across_hardware: bool) -> list[str]:
    """Return what makes two results of one configuration measurements of different things."""
    found = []
    if base["point"]["config"]["models"] != new["point"]["config"]["models"]:
        found.append("models")
    found += [key for key in ("stages", "items", "parts") if base[key] != new[key]]
    if _frames(base) != _frames(new):
        found.append("work")
    if not across_hardware:
        sides = [_hardware(one) for one in (base, new)]
        found += [key for key in sides[0] if sides[0][key] != sides[1].get(key)]
    return found


def _frames(document: Document) -> list[float]:
    """Return the mel frames of the iterations, which vary only where the work is random."""
    series = Series(document)
    return sorted({float(one) for run in series.work("mel_frames_padded") for one in run})


def _hardware(document: Document) -> dict[str, Any]:
    before = document["environment"]["before"]
    return {
        "device": document["settings"]["device"].get("name"),
        "cpu.model": before.get("cpu", {}).get("model"),
        "cpu.logical": before.get("cpu", {}).get("logical"),
        "confinement.affinity": before.get("confinement", {}).get("affinity"),
    }


def _means(document: Document, subject: str) -> list[float]:
    return [float(one.mean()) for one in Series(document).seconds(subject)]


def _unusable(name: str, document: Document | None) -> str | None:
    if document is None:
        return f"missing in the {name}"
    if document["status"]["state"] != "ok":
        status = document["status"]
        return f"{status['state']} in the {name}: {status['reason']}"
    return None


def compare(
    baseline: Sequence[Document], candidate: Sequence[Document], *,
    delta: float = comparison.MINIMUM_EFFECT, across_hardware: bool = False,
) -> Comparison:  # fmt: skip
    """Compare two sweeps measured on two occasions, per point and stage.

    Args:
        baseline: result documents.
        candidate: the others.
        delta: minimum relative effect.
        across_hardware: compare results of different machines too.
    """
    others = {_key(one): one for one in candidate}
    rows: list[Row] = []
    for base in baseline:
        new = others.pop(_key(base), None)
        name = base["point"]["name"]
        reason = _unusable("baseline", base) or _unusable("candidate", new)
        if reason or new is None:
            rows.append(Row(name, WHOLE, None, None, None, Verdict.NOT_COMPARABLE, reason))
            continue
        differing = _differing(base, new, across_hardware=across_hardware)
        if differing:
            reason = f"differs in {', '.join(differing)}"
            rows.append(Row(name, WHOLE, None, None, None, Verdict.NOT_COMPARABLE, reason))
            continue
        rows += [_row(name, base, new, subject) for subject in (WHOLE, *Series(base).stages)]
    states = {one["point"]["name"]: one["status"]["state"] for one in candidate}
    return Comparison(
        _judged(rows, delta),
        delta,
        new_points=[one["point"]["name"] for one in others.values()],
        failed=[name for name, state in states.items() if state in {"failed", "timeout"}],
        labels=tuple(dict.fromkeys(one["weights"]["label"] for one in (*baseline, *candidate))),
    )


def _row(name: str, base: Document, new: Document, subject: str) -> Row:
    old, now = _means(base, subject), _means(new, subject)
    return Row(
        name,
        subject,
        sum(old) / len(old),
        sum(now) / len(now),
        comparison.unpaired(old, now),
        Verdict.UNRESOLVED,
    )


def _judged(rows: Sequence[Row], delta: float) -> list[Row]:
    judged = iter(comparison.judge([row.difference for row in rows if row.difference], delta))
    done = []
    for row in rows:
        found = next(judged) if row.difference else None
        if found is None:
            done.append(row)
            continue
        done.append(
            Row(
                row.point, row.metric, row.baseline_s, row.candidate_s, found, found.verdict,
                found.reason,
            )
        )  # fmt: skip
    return done


@dataclass(frozen=True)
class CompatRow:
    """The original's rule on one device of one log."""

    name: str
    device: str
    ratio: float | None
    verdict: str
    reason: str | None = None


def compat_rows(
    name: str, baseline: Mapping[str, float | None], candidate: Mapping[str, float | None]
) -> list[CompatRow]:
    """Apply the original's rule to every device of a log: not only to the last, as it does.

    Args:
        name: of the log or point.
        baseline: items per second by device; None where the field is missing.
        candidate: the other side's.
    """
    found = []
    for device in dict.fromkeys([*baseline, *candidate]):
        sides = {"baseline": baseline.get(device), "candidate": candidate.get(device)}
        verdict, ratio = comparison.compat_rule(sides["baseline"], sides["candidate"])
        missing = [side for side, value in sides.items() if not value]
        reason = f"no figure in the {' and '.join(missing)}" if missing else None
        found.append(CompatRow(name, device, ratio, verdict, reason))
    return found

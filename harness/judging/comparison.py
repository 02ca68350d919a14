"""Two sweeps against each other: which points belong together, and how they differ.

The statistics are in `harness/analysis/verdicts.py`. A point of the baseline that is missing,
failed or describes other work is never passed over in silence: it is `not comparable`, with what
differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness import naming
from harness.analysis import accuracy
from harness.analysis import verdicts as comparison
from harness.analysis.metrics import headline, is_scheduled
from harness.analysis.series import WHOLE, Series
from harness.analysis.verdicts import Difference, Verdict
from harness.errors import ExitStatus
from harness.judging.pairing import Pair, paired
from harness.machine import signature
from harness.records.identity import differing_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.machine.signature import Signature

    Document = Mapping[str, Any]


ALWAYS_KNOWN = ("cpu.model", "cpu.logical")
NO_GAIN = "less time for other outputs is no gain"
"""Why a candidate whose accuracy failed is never called faster."""


@dataclass(frozen=True)
class ComparisonRow:
    """One metric of one point on both sides."""

    point: str
    metric: str
    baseline_s: float | None
    candidate_s: float | None
    difference: Difference | None
    verdict: str
    reason: str | None = None
    inaccurate: str | None = None
    """The side or sides whose outputs are too far from the reference's."""
    subject: str = WHOLE
    """What the metric is a time of, in the words of result files."""
    first: bool = False
    """The metric that is looked at first: the response of a server, else the whole latency."""


@dataclass(frozen=True)
class NullControl:
    """The baseline against itself, measured in the same blocks: it must show nothing."""

    rows: Sequence[ComparisonRow]

    @property
    def passed(self) -> bool:
        """True when no point differs from itself."""
        return not any(row.verdict in {Verdict.SLOWER, Verdict.FASTER} for row in self.rows)


@dataclass(frozen=True)
class Comparison:
    """Everything `compare` found."""

    rows: Sequence[ComparisonRow]
    delta: float
    new_points: Sequence[str] = ()
    """Points only the candidate has."""
    failed: Sequence[str] = ()
    """Points whose candidate failed or timed out."""
    inaccurate: Sequence[str] = ()
    """Points whose candidate's outputs are too far from the reference's."""
    labels: Sequence[str] = field(default_factory=tuple)
    """What both sides say of their weights."""
    interleaved: bool = False
    """Both sides were measured in the same blocks of one sweep."""
    occasion_sd: float = comparison.OCCASION_SD
    """SD between occasions that widens intervals where the sides were not interleaved."""
    occasion_measured: bool = False
    under_test: Sequence[str] = ()
    """Keys in which the sides differ on purpose."""
    null_control: NullControl | None = None
    pairs: Sequence[Pair] = ()
    """What was held against what."""

    @property
    def machines(self) -> list[str]:
        """What is to be said of the machines of both sides."""
        return [] if self.interleaved else machine_lines(self.pairs)

    @property
    def names(self) -> list[str]:
        """What the point of each pair is called; no two alike."""
        return _names(self.pairs)

    def of(self, *verdicts: str) -> list[ComparisonRow]:
        """Return the rows with one of these verdicts."""
        return [row for row in self.rows if row.verdict in verdicts]

    @property
    def geometric_mean(self) -> float | None:
        """Geometric mean of the ratios of what is looked at first; None when nothing compares."""
        ratios = [row.difference.ratio for row in self._whole() if row.difference]
        return comparison.geometric_mean(ratios) if ratios else None

    @property
    def worst(self) -> ComparisonRow | None:
        """The point whose latency, or response, grew most."""
        rows = [row for row in self._whole() if row.difference]
        return max(
            rows, key=lambda row: row.difference.ratio if row.difference else 0, default=None
        )

    def _whole(self) -> list[ComparisonRow]:
        return [row for row in self.rows if row.first]

    @property
    def of_what(self) -> str:
        """What the geometric mean is of: `latency`, `response`, or both by name."""
        return " and ".join(sorted({row.metric for row in self._whole() if row.difference}))

    def status(self, *, fail_on_unresolved: bool = False) -> ExitStatus:
        """Return the exit status: the gravest that applies."""
        found = set()
        if self.of(Verdict.NOT_COMPARABLE) or not self.rows:
            found.add(ExitStatus.NOTHING_MEASURED)
        if self.failed:
            found.add(ExitStatus.POINTS_FAILED)
        if self.inaccurate:
            found.add(ExitStatus.ACCURACY_FAILED)
        if self.of(Verdict.SLOWER, "fail"):
            found.add(ExitStatus.REGRESSION)
        if fail_on_unresolved and self.of(Verdict.UNRESOLVED):
            found.add(ExitStatus.UNRESOLVED)
        return ExitStatus.worst(found)


def _differing(base: Document, new: Document, *, across_hardware: bool) -> list[str]:
    """Return what makes two results of one configuration measurements of different things."""
    found = []
    if base["point"]["config"]["models"] != new["point"]["config"]["models"]:
        found.append("models")
    found += _other_work(base, new)
    if not across_hardware:
        found += _other_hardware(base, new)
    return found


def _other_hardware(base: Document, new: Document) -> list[str]:
    """Return in what two results' hardware differs, with both values."""
    sides = [_hardware(one) for one in (base, new)]
    found = [
        signature.Part(key, *(None if one[key] is None else str(one[key]) for one in sides))
        for key in sides[0]
        if sides[0][key] != sides[1][key]
    ]
    differing = signature.compared(*(_machine(one) for one in (base, new)))
    known = [one for one in differing if None not in (one.before, one.after)]
    # Every file names its processor and how many there are: to lack them is to differ.
    found += [one for one in differing if one in known or one.name in ALWAYS_KNOWN]
    return [str(one) for one in found]


def _machine(document: Document) -> Signature:
    return signature.of(document["environment"].get("before") or {})


def machine_lines(pairs: Sequence[Pair]) -> list[str]:
    """Return what is to be said of the machines of both sides: how they differ, what is unknown."""
    lines: dict[str, None] = {}
    for pair in pairs:
        if pair.new is None:
            continue
        sides = [_machine(one) for one in (pair.base, pair.new)]
        if differing := signature.differences(*sides):
            lines[f"The machines differ: {'; '.join(map(str, differing))}."] = None
        if unknown := signature.unknown(*sides):
            lines[f"Not known of both machines, and not compared: {', '.join(unknown)}."] = None
    return list(lines)


def _other_work(base: Document, new: Document) -> list[str]:
    found = [key for key in ("stages", "items", "parts") if base[key] != new[key]]
    return found + (["work"] if _frames(base) != _frames(new) else [])


def under_test(base: Document, new: Document) -> list[str]:
    """Return the keys of the configuration in which two results differ, dotted."""
    return differing_keys("", base["point"]["config"], new["point"]["config"])


def _frames(document: Document) -> list[float]:
    """Return the mel frames of the iterations, which vary only where the work is random."""
    series = Series(document)
    return sorted({float(one) for run in series.work("mel_frames_padded") for one in run})


def _hardware(document: Document) -> dict[str, Any]:
    before = document["environment"]["before"]
    return {
        "device": document["settings"]["device"].get("name"),
        "confinement.affinity": before.get("confinement", {}).get("affinity"),
    }


def _by_block(document: Document, subject: str) -> dict[int, float]:
    """Return the mean of each block, in seconds."""
    series = Series(document)
    found: dict[int, list[float]] = {}
    for process, samples in zip(series.processes, series.seconds(subject), strict=True):
        found.setdefault(process["block"], []).append(float(samples.mean()))
    return {block: sum(means) / len(means) for block, means in found.items()}


def _same_campaign(base: Document, new: Document) -> bool:
    sides = [(one.get("campaign") or {}).get("id") for one in (base, new)]
    return sides[0] is not None and sides[0] == sides[1]


def _unusable(name: str, document: Document | None) -> str | None:
    if document is None:
        return f"missing in the {name}"
    if document["status"]["state"] != "ok":
        status = document["status"]
        return f"{status['state']} in the {name}: {status['reason']}"
    return None


@dataclass(frozen=True)
class Occasions:
    """How much one host differs from itself between two occasions."""

    sd: float = comparison.OCCASION_SD
    measured: bool = False


def compare(
    baseline: Sequence[Document], candidate: Sequence[Document], *,
    delta: float = comparison.MINIMUM_EFFECT, across_hardware: bool = False,
    occasions: Occasions = Occasions(),
) -> Comparison:  # fmt: skip
    """Compare two sweeps measured on two occasions, per point and stage.

    Args:
        baseline: result documents.
        candidate: the others.
        delta: minimum relative effect.
        across_hardware: compare results of different machines too.
        occasions: what two occasions differ by.
    """
    pairs = paired(baseline, candidate)
    found = compare_pairs(pairs, delta=delta, across_hardware=across_hardware, occasions=occasions)
    taken = {pair.new["point"]["id"] for pair in pairs if pair.new}
    names = naming.called([one["point"] for one in candidate])
    new = zip(names, candidate, strict=True)
    return replace(found, new_points=[name for name, one in new if one["point"]["id"] not in taken])


def compare_pairs(
    pairs: Sequence[Pair], *, delta: float = comparison.MINIMUM_EFFECT,
    across_hardware: bool = False, occasions: Occasions = Occasions(),
    controls: Sequence[Pair] = (),
) -> Comparison:  # fmt: skip
    """Compare points that have been paired.

    Args:
        pairs: the points.
        delta: minimum relative effect.
        across_hardware: compare results of different machines too.
        occasions: what two occasions differ by, for pairs that were not measured side by side.
        controls: the baseline against itself; where it differs, no verdict of the rest stands.
    """
    names = _names(pairs)
    rows = [
        row
        for pair, name in zip(pairs, names, strict=True)
        for row in _rows(pair, name, occasions, across=across_hardware)
    ]
    null = None
    if controls:
        checks = [
            row
            for pair, name in zip(controls, _names(controls), strict=True)
            for row in _rows(pair, name, occasions, across=True)
        ]
        null = NullControl(_judged([row for row in checks if row.first], delta))
    documents = [one for pair in pairs for one in (pair.base, pair.new) if one is not None]
    named = [(name, pair.new) for name, pair in zip(names, pairs, strict=True) if pair.new]
    chosen = [pair for pair in pairs if pair.chosen and pair.new]
    return Comparison(
        _judged(rows, delta, withdrawn=null is not None and not null.passed),
        delta,
        failed=[name for name, new in named if new["status"]["state"] in {"failed", "timeout"}],
        inaccurate=[name for name, new in named if accuracy.failed(new)],
        labels=tuple(dict.fromkeys(one["weights"]["label"] for one in documents)),
        interleaved=bool(pairs)
        and all(pair.new is not None and _same_campaign(pair.base, pair.new) for pair in pairs),
        occasion_sd=occasions.sd,
        occasion_measured=occasions.measured,
        under_test=tuple(
            dict.fromkeys(
                key for pair in chosen if pair.new for key in under_test(pair.base, pair.new)
            )
        ),
        null_control=null,
        pairs=pairs,
    )


def _names(pairs: Sequence[Pair]) -> list[str]:
    return naming.called([(pair.new or pair.base)["point"] for pair in pairs])


def _rows(pair: Pair, name: str, occasions: Occasions, *, across: bool) -> list[ComparisonRow]:
    base, new = pair.base, pair.new
    reason = _unusable("baseline", base) or _unusable("candidate", new)
    if pair.several:
        reason = f"{pair.several} of the candidate have its configuration, and none has its models"
    first = headline(base) if new is None or headline(new) == headline(base) else WHOLE
    if reason or new is None:
        return [_without_figures(name, first, Verdict.NOT_COMPARABLE, reason)]
    differing = (
        _other_work(base, new) if pair.chosen else _differing(base, new, across_hardware=across)
    )
    if differing:
        reason = f"differs in {', '.join(differing)}"
        return [_without_figures(name, first, Verdict.NOT_COMPARABLE, reason)]
    subjects = dict.fromkeys([first, WHOLE, *Series(base).stages])
    rows = [_row(name, pair, occasions, subject) for subject in subjects]
    return [replace(rows[0], first=True), *rows[1:]]


def _without_figures(name: str, subject: str, verdict: str, reason: str | None) -> ComparisonRow:
    return ComparisonRow(
        name, subject, None, None, None, verdict, reason, subject=subject, first=True
    )


def _metric(pair: Pair, subject: str) -> str:
    """Return what a subject is called: the latency of requests by a schedule is service time."""
    scheduled = any(one is not None and is_scheduled(one) for one in (pair.base, pair.new))
    return "service time" if subject == WHOLE and scheduled else subject


def _withheld(base: Document, new: Document, subject: str) -> str | None:
    """Return why a side shows no such time at all, as where a queue never stops growing."""
    for side, one in (("baseline", base), ("candidate", new)):
        record = one["summary"].get(f"{subject}.mean")
        if record is not None and not record["displayable"]:
            return f"{side}: {record['reason']}"
    return None


def _row(name: str, pair: Pair, occasions: Occasions, subject: str) -> ComparisonRow:
    base, new = pair.base, pair.new
    if new is None:
        raise ValueError("a pair without a candidate has no figures")
    metric = _metric(pair, subject)
    if reason := _withheld(base, new, subject):
        return replace(
            _without_figures(name, subject, Verdict.UNRESOLVED, reason), metric=metric, first=False
        )
    old, now = _by_block(base, subject), _by_block(new, subject)
    if _same_campaign(base, new):
        both = [block for block in old if block in now]
        found = comparison.paired([old[block] for block in both], [now[block] for block in both])
    else:
        found = comparison.unpaired(list(old.values()), list(now.values()), occasions.sd)
    means = [sum(one.values()) / len(one) for one in (old, now)]
    wrong = [side for side, one in (("baseline", base), ("candidate", new)) if accuracy.failed(one)]
    return ComparisonRow(
        name, metric, means[0], means[1], found, Verdict.UNRESOLVED,
        inaccurate=" and ".join(wrong) or None, subject=subject,
    )  # fmt: skip


def _judged(
    rows: Sequence[ComparisonRow], delta: float, *, withdrawn: bool = False
) -> list[ComparisonRow]:
    found = comparison.judge([row.difference for row in rows if row.difference], delta)
    if withdrawn:
        found = comparison.without_null_control(found)
    judged = iter(found)
    done = []
    for row in rows:
        if row.difference is None:
            done.append(row)
            continue
        one = next(judged)
        if one.verdict is Verdict.FASTER and "candidate" in (row.inaccurate or ""):
            one = replace(one, verdict=Verdict.UNRESOLVED, reason=NO_GAIN)
        done.append(replace(row, difference=one, verdict=one.verdict, reason=one.reason))
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

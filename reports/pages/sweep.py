"""Everything the template shows, gathered once: the template itself decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.figures import loading, pareto, percentiles, scaling, series, stages
from reports.figures.canvas import style
from reports.pages.recordings import Recorder
from reports.tables import accuracy as outcomes
from reports.tables import devices, energy, facts, findings, published, roofline
from reports.tables.points import points_table
from reports.tables.requests import request_table
from reports.tables.stages import stage_tables
from reports.tables.starts import start_table
from reports.text import copied
from reports.text.plain import plain
from reports.text.scales import seconds_text
from reports.views import beside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reports.figures.canvas import Drawing
    from reports.pages.recordings import Recording
    from reports.tables.cells import Table
    from reports.tables.facts import Change, Fact, FactGroup
    from reports.tables.findings import Best, FindingRow
    from reports.tables.published import Reference
    from reports.tables.stages import StageGroup
    from reports.text.copied import CopiedCommand
    from reports.views.points import PointView, SweepView


MOST_DETAILED = 24
"""Points that get figures and tables of their own without a script."""
DETAILED_IF_COMPACT = 6
"""The same on a page of very many points."""
OPEN_UP_TO = 6
"""Sweeps of at most this many points show every point opened."""
COMPACT_FROM = 100
"""Sweeps of more points leave columns out, so that a browser stays quick."""
MOST_COMMANDS = 20


@dataclass(frozen=True)
class Detail:
    """One point on its own."""

    point: PointView
    summary: str
    open: bool
    series: Drawing | None
    settings: tuple[tuple[str, ...], ...]
    start: tuple[Fact, ...]
    recordings: tuple[Recording, ...]
    command: CopiedCommand


@dataclass(frozen=True)
class Page:
    """What the page of one sweep says, in its order."""

    title: str
    eyebrow: str
    headline: str
    version: str
    synthetic: str
    synthetic_labels: str
    best: Sequence[Best]
    facts: Sequence[Fact]
    contents: Sequence[tuple[str, str]]
    labels: Mapping[str, str]
    names: Mapping[str, str]
    warnings: Sequence[FindingRow]
    baseline: str
    """What is said of the baseline: what the comparison found, or that none was given."""
    comparison: str | None
    """Address of the page of the comparison."""
    limits: Sequence[FindingRow]
    measured: int
    points: Table
    figures: Sequence[Drawing]
    figures_note: str
    stages: Sequence[StageGroup]
    stages_note: str
    requests: Table
    """What requests by a schedule waited for."""
    accuracy_outcome: str
    accuracy: Table
    """How far outputs are from the reference's."""
    unchecked: Sequence[FindingRow]
    """Why outputs were held against nothing, with the points."""
    roofline: Table
    """How near each stage comes to what its device can do."""
    roofline_missing: str
    """What is said where nothing is known of it."""
    energy: Table
    without_energy: Sequence[FindingRow]
    """Why there is no energy, with the points."""
    telemetry: Table
    """What devices said of themselves meanwhile."""
    together: Table
    """Points on several devices at once: the common windows."""
    each_device: Table
    start: Table
    """What the points took before their steady state."""
    published: Sequence[Reference]
    """Tables with rows of the same setting as some point here."""
    published_apart: Sequence[Reference]
    """The others, for whoever looks for them."""
    details: Sequence[Detail]
    details_note: str
    further: Sequence[PointView]
    """Points without a section of their own; the script draws them when asked."""
    environment: Sequence[FactGroup]
    changes: Sequence[Change]
    selfchecks: Sequence[str]
    scenarios: Sequence[Fact]
    method: Sequence[Fact]
    commands: Sequence[CopiedCommand]
    commit: str
    checksums: str
    """Lines as `sha256sum` prints and checks them."""
    files: int

    @property
    def compact(self) -> bool:
        """True when the points table is cut down to what a browser carries easily."""
        return len(self.points.rows) > COMPACT_FROM

    @property
    def has_stage_columns(self) -> bool:
        """True when the points table holds the throughput of each stage."""
        return any("stage" in column.group for column in self.points.columns)


def build(sweep: SweepView, *, comparison: str | None = None) -> Page:
    """Return the page of a sweep: any number of points, in any state.

    Args:
        sweep: the points.
        comparison: address of the page that compares them with their baseline.
    """
    with style():
        return _build(sweep, comparison)


def _build(sweep: SweepView, comparison: str | None) -> Page:
    from harness import __version__ as version  # noqa: PLC0415 - read where it is shown

    detailed = _detailed(sweep.points)
    drawn = [point for point in detailed if point.summary]
    references = published.references(sweep) if sweep.measured else []
    recorder = Recorder()
    made: dict[str, Any] = {
        "warnings": findings.warnings(sweep),
        "figures": _figures(sweep, drawn),
        "stages": stage_tables(sweep, drawn),
        "requests": request_table(sweep.measured),
        "accuracy": outcomes.accuracy_table(drawn),
        "roofline": roofline.roofline_table(drawn),
        "energy": energy.energy_table(drawn),
        "telemetry": energy.telemetry_table(drawn),
        "together": devices.together_table(drawn),
        "each_device": devices.each_table(drawn),
        "start": start_table(drawn),
        "published": [one for one in references if one.matches],
        "details": [_detail(sweep, point, recorder) for point in detailed],
    }
    labels = sorted({point.synthetic for point in sweep.points if point.synthetic})
    left_out = len(sweep.points) - len(detailed)
    return Page(
        title=_title(sweep),
        eyebrow=_eyebrow(sweep),
        headline=findings.headline(sweep),
        version=version,
        synthetic=_synthetic(sweep),
        synthetic_labels=plain(", ".join(labels)),
        best=findings.best_points(sweep),
        facts=_facts(sweep),
        contents=_contents(made, measured=bool(sweep.measured), published=bool(references)),
        labels=sweep.labels,
        baseline=sweep.beside.text or beside.NONE,
        comparison=comparison,
        names=sweep.names,
        limits=findings.grade_limits(sweep),
        roofline_missing=roofline.NOT_MEASURED,
        without_energy=findings.without_energy(sweep.measured),
        accuracy_outcome=outcomes.outcome(sweep),
        unchecked=findings.unchecked(sweep.measured),
        measured=len(sweep.measured),
        points=points_table(sweep, compact=len(sweep.points) > COMPACT_FROM),
        figures_note=_figures_note(len(detailed), left_out),
        stages_note=_stages_note(len(detailed), left_out),
        published_apart=[one for one in references if not one.matches],
        details_note=_details_note(len(detailed), left_out),
        further=_without(sweep.points, detailed),
        environment=facts.environment_groups(sweep),
        changes=facts.changes(sweep),
        selfchecks=facts.selfchecks(sweep),
        scenarios=facts.scenarios(sweep),
        method=facts.method_facts(sweep),
        commands=[copied.of_text(one) for one in sweep.commands[:MOST_COMMANDS]],
        commit=_commit(sweep),
        checksums="".join(f"{p.sha256}  {p.path}\n" for p in sweep.points if p.path),
        files=sum(1 for point in sweep.points if point.path),
        **made,
    )


def _detailed(points: Sequence[PointView]) -> list[PointView]:
    """Return the points that get a section: all, or those that most need a look."""
    if len(points) <= MOST_DETAILED:
        return list(points)
    most = DETAILED_IF_COMPACT if len(points) > COMPACT_FROM else MOST_DETAILED
    chosen = {p.id for p in sorted(points, key=lambda point: point.severity)[:most]}
    return [point for point in points if point.id in chosen]


def _without(points: Sequence[PointView], detailed: Sequence[PointView]) -> list[PointView]:
    known = {point.id for point in detailed}
    return [point for point in points if point.id not in known]


def _figures(sweep: SweepView, points: Sequence[PointView]) -> list[Drawing]:
    if not points:
        return []
    asked_for = [
        *([scaling.draw(sweep, scaling.DEVICES)] if scaling.curves(sweep, scaling.DEVICES) else []),
        *([loading.draw(sweep)] if any(map(loading.offered, sweep.measured)) else []),
    ]
    return [
        percentiles.draw(sweep, points),
        stages.draw(sweep, points),
        scaling.draw(sweep, scaling.BATCH),
        scaling.draw(sweep, scaling.LENGTH),
        *asked_for,
        pareto.draw(sweep),
    ]


def _detail(sweep: SweepView, point: PointView, recorder: Recorder) -> Detail:
    label = sweep.labels[point.id]
    mean = point.record(point.headline, "mean")
    known = mean is not None and mean.estimate is not None
    what = f"mean {point.headline}" if point.serves else "mean"
    text = f"{what} {seconds_text(mean.estimate)}, grade {point.grade}" if mean and known else ""
    return Detail(
        point=point,
        summary=text if point.state == "ok" and text else plain(point.state),
        open=len(sweep.points) <= OPEN_UP_TO or point.state in {"failed", "timeout"},
        series=series.draw(point, label) if point.processes else None,
        settings=facts.setting_rows(point),
        start=facts.start_facts(point),
        recordings=recorder.of(point),
        command=facts.command_of(point),
    )


def _title(sweep: SweepView) -> str:
    pipelines = dict.fromkeys(str(p.config.get("pipeline", "")) for p in sweep.points)
    vocoder = {bool(point.config.get("waveglow")) for point in sweep.points}
    known = {"tacotron2": "Tacotron 2"}
    names = [plain(known.get(name, name)) for name in pipelines if name]
    subject = ", ".join(names) or "Benchmark"
    if vocoder == {True}:
        subject += " + WaveGlow"
    backends = dict.fromkeys(plain(point.backend) for point in sweep.points)
    return f"{subject} on {', '.join(backends)}" if backends else f"{subject} report"


def _eyebrow(sweep: SweepView) -> str:
    times = sorted(
        utc
        for point in sweep.points
        for key in ("started", "ended")
        if (utc := str((point.document.get(key) or {}).get("utc") or ""))
    )
    parts = [f"Sweep {plain(sweep.name)}"]
    if times:
        first, last = (plain(f"{time[:10]} {time[11:16]}") for time in (times[0], times[-1]))
        span = (
            first
            if first == last
            else f"{first} to {last[11:] if first[:10] == last[:10] else last}"
        )
        parts.append(f"measured {span} UTC")
    return ", ".join(parts)


def _synthetic(sweep: SweepView) -> str:
    having = [point for point in sweep.points if point.synthetic]
    if not having:
        return ""
    labels = plain(", ".join(sorted({point.synthetic or "" for point in having})))
    who = (
        "Every point"
        if len(having) == len(sweep.points)
        else findings.counted(len(having), "point")
    )
    return (
        f"{who} ran with {labels}: times are those of the real computation, the decoder’s length "
        "is fixed, and what comes out is not speech."
    )


def _facts(sweep: SweepView) -> list[Fact]:
    found = []
    runtimes = list(dict.fromkeys(facts.runtime_text(point) for point in sweep.points))
    runtimes = [text for text in runtimes if text]
    if runtimes:
        more = f" and {len(runtimes) - 2} more" if len(runtimes) > 2 else ""  # noqa: PLR2004
        found.append(facts.Fact("Runtime and device", "; ".join(runtimes[:2]) + more))
    profiles = dict.fromkeys(
        plain((point.document.get("method") or {}).get("profile") or "") for point in sweep.measured
    )
    if any(profiles):
        counts = sorted({len(point.processes) for point in sweep.measured})
        span = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
        found.append(
            facts.Fact("Profile", f"{', '.join(profiles)}: {span} fresh processes per point")
        )
    labels = (str((point.document.get("weights") or {}).get("label")) for point in sweep.measured)
    trained = not any(point.synthetic for point in sweep.measured)
    if trained and (said := "; ".join(dict.fromkeys(labels))):
        found.append(facts.Fact("Weights", plain(said)))
    return found


def _contents(made: Mapping[str, Any], *, measured: bool, published: bool) -> list[tuple[str, str]]:
    entries = (
        ("warnings", "Warnings", True),
        ("points", "Points", True),
        ("figures", "Figures", made["figures"]),
        ("stages", "Stages", made["stages"]),
        ("requests", "Requests", made["requests"].rows),
        ("accuracy", "Accuracy", measured),
        ("energy", "Energy and devices", measured),
        ("start", "Start", made["start"].rows),
        ("published", "Published figures", published),
        ("details", "Point by point", made["details"]),
        ("environment", "Environment", True),
        ("method", "Method", True),
        ("reproduce", "Reproduce", True),
    )
    return [(key, text) for key, text, present in entries if present]


def _figures_note(shown: int, left_out: int) -> str:
    if not left_out:
        return ""
    return (
        f"Drawn for the {shown} points that most need a look: failed ones, then those of "
        f"the lowest grade. {left_out:,} further points open from the table above."
    )


def _stages_note(shown: int, left_out: int) -> str:
    if not left_out:
        return ""
    return f"Of {shown} points; summary.csv beside this page has those of all."


def _details_note(shown: int, left_out: int) -> str:
    if not left_out:
        return ""
    return (
        f"The {shown} points that most need a look stand here; each of the "
        f"{left_out:,} others opens from the table of points when scripts may run."
    )


def _commit(sweep: SweepView) -> str:
    found = []
    for point in sweep.points:
        provenance = point.document.get("provenance") or {}
        git = provenance.get("git") or {}
        if git.get("commit"):
            dirty = " with uncommitted changes" if git.get("dirty") else ""
            version = plain(provenance.get("harness_version") or "")
            found.append(f"tts-harness {version}, commit {plain(git['commit'])}{dirty}")
    unique = list(dict.fromkeys(found))
    return f"Measured by {'; '.join(unique[:3])}." if unique else "The commit was not recorded."

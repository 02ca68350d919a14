"""What looks wrong with a measurement, and what to try: warnings of a trial, grades of its metrics.

A rule is a small function that looks at a result document and yields what it found. Grades follow
the measurement method, section 13: the worst applicable letter wins and every reason is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import accuracy, outliers, requests
from harness.analysis.series import WHOLE, Series
from harness.judging import roofline
from harness.judging.findings import Finding
from harness.method import Rules
from harness.units import seconds, shares, spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Document = Mapping[str, Any]

OVERHEAD_NS, OVERHEAD_SHARE = 5_000, 0.001
FREQUENCY_CHANGE = 0.05
LEAST_PROCESSES, GOOD_PROCESSES = 5, 10
LEAST_EFFECTIVE_N = 30
CHECK = "run `python -m harness selfcheck`"


# --- warnings --------------------------------------------------------------------------------


def _cut_short(document: Document) -> Iterator[Finding]:
    method = document["method"]
    counts = [len(p["columns"].get("latency_ns", ())) - p["warmup"] for p in document["processes"]]
    asked = method["num_iters"]
    if method.get("cut_short") and counts:
        least, most = max(0, min(counts)), max(counts)
        ran = f"{least}" if least == most else f"{least} to {most}"
        yield Finding(
            "cut-short",
            "warning",
            f"{asked} iterations were asked for and {ran} ran in each process",
            f"the time limit of {method['time_limit_s']:g} s a point ended them; every n shown is "
            "the number that ran",
            "raise measure.time_limit_s, or ask for fewer with num_iters",
        )


def _unattributed(document: Document) -> Iterator[Finding]:
    series = Series(document)
    if not series.processes:
        return
    residual = np.concatenate(series.seconds("residual"))
    share = float(np.median(residual / np.concatenate(series.seconds(WHOLE))))
    if residual.min() < 0:
        yield Finding(
            "negative-residual", "error", "an iteration's stages add up to more than its latency",
            "the clock or the backend's spans are wrong", "do not use these figures; report it",
        )  # fmt: skip
    elif share > (most := Rules.of(document["method"]).unattributed):
        shown, limit = shares(share, most)
        yield Finding(
            "unattributed", "warning", f"{shown} of the median latency belongs to no stage",
            f"more than {limit}: the stage times do not explain the whole",
            "look for work of the backend between stages",
        )  # fmt: skip


def _overhead(document: Document) -> Iterator[Finding]:
    series = Series(document)
    medians = [p["overhead"]["median_ns"] for p in series.processes if p.get("overhead")]
    if not medians:
        return
    latency_ns = float(np.median(np.concatenate(series.seconds(WHOLE)))) * 1e9
    limit = max(OVERHEAD_NS, OVERHEAD_SHARE * latency_ns)
    if max(medians) >= limit:
        shown, against = spans(max(medians) / 1e9, limit / 1e9)
        yield Finding(
            "overhead", "warning",
            f"the timed loop itself costs {shown} an iteration",
            f"the limit is {against}; it is inside every latency",
            "measure on a quieter machine, or longer work",
        )  # fmt: skip


def _timer_limited(document: Document) -> Iterator[Finding]:
    series = Series(document)
    if not series.processes:
        return
    differences = [p.get("clock", {}).get("difference_ns", {}) for p in series.processes]
    step = max((one.get("median") or 0) for one in differences) / 1e9
    least = Rules.of(document["method"]).timer_limited
    short = [
        subject
        for subject in (WHOLE, *series.stages)
        if np.median(np.concatenate(series.seconds(subject))) < least * step
    ]
    if short:
        yield Finding(
            "timer-limited", "warning", f"{', '.join(short)}: shorter than {least:,.10g} steps "
            f"of the clock ({seconds(step)})", "reading the clock is part of the figure",
            "measure larger work, such as a larger batch",
        )  # fmt: skip


def _environment(document: Document) -> Iterator[Finding]:
    changed = document["environment"]["changed"]
    if changed:
        yield Finding(
            "environment-changed", "warning", f"changed while measuring: {', '.join(changed)}",
            "the iterations were not measured under one condition",
            "find out what changed it, and measure again",
        )  # fmt: skip


def _precision(document: Document) -> Iterator[Finding]:
    requested = document["settings"]["requested"]["quant"]
    effective = document["settings"]["effective"]
    wanted = requested.removeprefix("force_") if requested.startswith("force_") else None
    stages = [stage["name"] for stage in document["stages"] if stage["name"] in effective]
    unverified = [name for name in stages if not effective[name]["verified"]]
    other = [
        name
        for name in stages
        if effective[name]["verified"] and wanted and effective[name]["compute"] != wanted
    ]
    if unverified:
        yield Finding(
            "precision-unverified", "warning",
            f"{', '.join(unverified)}: the precision that ran could not be read back",
            "the requested mode may not be what was measured",
            "do not quote the figure as that of the requested mode",
        )  # fmt: skip
    if other:
        ran = effective[other[0]]["compute"]
        yield Finding(
            "precision-differs", "warning",
            f"{requested} was asked for; {', '.join(other)} computed in {ran}",
            "the mode rounds values but does not run on kernels of that type here, so its speed "
            "says nothing about such kernels", f"quote it as {ran} compute",
        )  # fmt: skip


def _fallback(document: Document) -> Iterator[Finding]:
    for stage in document["stages"]:
        facts = document["settings"]["effective"].get(stage["name"], {})
        if facts.get("fallback"):
            yield Finding(
                "form-refused", "warning",
                f"{stage['name']}: its compiled form is refused ({facts['fallback']})",
                f"its model file as it is ran instead, computed in {facts['compute']}: slower than "
                "the backend may be", "export the model in another opset, or try another version "
                "of the runtime; backend.graph=contract asks for what ran",
            )  # fmt: skip


def _dynamic_batch(document: Document) -> Iterator[Finding]:
    for model in document["models"].values():
        if model.get("loop_fixed"):
            yield Finding(
                "dynamic-batch", "notice",
                f"{model['file']}: the body of its Loop declares a fixed batch for "
                f"{', '.join(model['loop_fixed'])}",
                "a copy with a dynamic batch axis ran in its place, at every batch size; no "
                "operator and no weight differs",
                "nothing needs doing; python -m harness export writes it so",
            )  # fmt: skip


def _virtual_clock(document: Document) -> Iterator[Finding]:
    if document["settings"].get("virtual_clock"):
        yield Finding(
            "virtual-clock", "error", "the backend's clock is scripted",
            "these numbers measure nothing", "use them to test, never to report",
        )  # fmt: skip


def _outliers(document: Document) -> Iterator[Finding]:
    series = Series(document)
    if not series.processes:
        return
    found = outliers.sensitivity(series.seconds(WHOLE))
    most = Rules.of(document["method"]).severe
    if found.share > most:
        shown, limit = shares(found.share, most)
        yield Finding(
            "outliers", "warning",
            f"{shown} of the iterations are severe outliers{_explained(document)}",
            f"more than {limit}; without them the mean would be {found.shift:+.1%}; they are "
            "counted, because a user would meet them too",
            "look at the series for what they have in common; stop what else is running",
        )  # fmt: skip


def _explained(document: Document) -> str:
    """Return what the system counted around the severe ones, most frequent first."""
    together: dict[str, int] = {}
    severe = 0
    for process in document["processes"]:
        labels = process["labels"]
        ones = {index for index in labels["severe"] if index >= process["warmup"]}
        severe += len(ones)
        for cause in outliers.CAUSES:
            together[cause] = together.get(cause, 0) + len(ones & set(labels.get(cause, ())))
    found = sorted(((n, cause) for cause, n in together.items() if n), reverse=True)
    if not found:
        return ""
    return f"; of {severe}: " + ", ".join(f"{n} {cause}" for n, cause in found)


def _limit_hit(document: Document) -> Iterator[Finding]:
    for stage in document["stages"]:
        model = document["models"].get(stage["name"], {})
        key, limit = f"{stage['name']}_steps", model.get("step_limit", stage["step_limit"])
        steps = [one for p in document["processes"] for one in p["work"].get(key, ())]
        if limit is None or not steps or max(steps) < limit:
            continue
        advice = "check the weights' stop gate, or measure shorter texts"
        if model.get("unlimited"):
            yield Finding(
                "step-limit", "warning", f"{stage['name']} made {max(steps)} steps",
                f"its file has no limit; engines are built for {limit} frames at most", advice,
            )  # fmt: skip
        else:
            yield Finding(
                "step-limit", "warning", f"{stage['name']} ran into its limit of {limit} steps",
                "its output was cut there, so its length is not the text's", advice,
            )  # fmt: skip


def _unlimited(document: Document) -> Iterator[Finding]:
    for name, model in document["models"].items():
        if model.get("unlimited"):
            yield Finding(
                "no-trip-limit", "notice", f"the Loop of the {name} has no trip limit",
                f"only its gate ends it; a pass is given {document['method']['loop_limit_s']:g} s",
                "write the files with python -m harness export to have a limit in steps",
            )  # fmt: skip


def _accuracy(document: Document) -> Iterator[Finding]:
    record, quant = document.get("accuracy") or {}, document["point"]["config"]["quant"]
    if accuracy.failed(document):
        for line in accuracy.lines(record, quant):
            yield Finding(
                "accuracy-failed", "error", f"accuracy failed: {line}",
                "the times are true, but they are those of a network that computes something else",
                "look at the effective precision; raise the limit only for a reason",
            )  # fmt: skip


def _beyond(document: Document) -> Iterator[Finding]:
    device = (document["settings"].get("device") or {}).get("name") or "the device"
    for stage, one in roofline.beyond(document):
        least, mean_s = one["bound_s"], one["bound_s"] / one["share"]
        ran = document["settings"]["effective"][stage].get("compute")
        possible = roofline.narrower(document, stage)
        if possible:
            why = (
                f"in {possible} it would be possible: the build may have ignored the mode, so that "
                f"what is called {ran} is not"
            )
        elif document["limits"].get("kind") == "measured" and one["limit"] == roofline.MEMORY:
            why = "its weights may stay in a cache, or the limit was measured on a busy machine"
        else:
            why = "the work was not done, the device is another one, or its limit is wrong"
        share, _ = shares(one["share"], 1.0, 0)
        took, needed = spans(mean_s, least)
        yield Finding(
            "beyond-bound", "warning",
            f"{stage}: {share} of what {device} can do: {took}, and its {one['limit']} needs "
            f"{needed} for {ran}",
            why, "do not quote it before the precision in the built file has been looked at",
        )  # fmt: skip


def _outputs_differ(document: Document) -> Iterator[Finding]:
    hashes: dict[str, set[str]] = {}
    for process in document["processes"]:
        for name, facts in process.get("golden", {}).items():
            hashes.setdefault(name, set()).add(facts["sha256"])
    differing = sorted(name for name, found in hashes.items() if len(found) > 1)
    if differing:
        yield Finding(
            "outputs-differ", "notice",
            f"{', '.join(differing)}: not the same bits in every process",
            "the same seed gave different outputs, so the work may differ too",
            "compare work counts; check the backend's seeding and thread count",
        )  # fmt: skip


def _generator(document: Document) -> Iterator[Finding]:
    series = Series(document)
    if not series.scheduled or series.scenario != "server":
        return
    late = max(
        float(np.quantile(requests.issue_delay(*one), 0.99)) / float(np.median(one[2]))
        for one in series.requests()
    )
    if late > requests.GENERATOR:
        shown, limit = shares(late, requests.GENERATOR)
        yield Finding(
            "generator-limited", "warning",
            f"requests were sent late by {shown} of the median service time (p99)",
            f"the limit is {limit}; the generator is part of the figure",
            "measure on a quieter machine, or longer work",
        )  # fmt: skip


def _saturated(document: Document) -> Iterator[Finding]:
    series = Series(document)
    if not series.scheduled or series.scenario != "server":
        return
    reason = next((why for one in series.requests() if (why := requests.saturated(*one))), None)
    if reason:
        yield Finding(
            "saturated", "error", reason, "the queue never ends, so its length is that of the run",
            "lower scenario.rate or scenario.load",
        )  # fmt: skip


def _targets(document: Document) -> Iterator[Finding]:
    unmet, reason = document["method"].get("unmet"), document["method"].get("stop_reason")
    if unmet and reason in {"time", "count"}:
        ended = "the time limit" if reason == "time" else "the largest number of processes"
        yield Finding(
            "targets-not-met", "notice", f"not narrowed to its target: {', '.join(unmet)}",
            f"{ended} ended the point first; its intervals hold all the same",
            "raise measure.time_limit_s or measure.max_processes, or quieten the machine",
        )  # fmt: skip


WARNINGS: tuple[Callable[[Document], Iterator[Finding]], ...] = (
    _virtual_clock,
    _precision,
    _fallback,
    _dynamic_batch,
    _cut_short,
    _unattributed,
    _overhead,
    _timer_limited,
    _environment,
    _outliers,
    _limit_hit,
    _unlimited,
    _accuracy,
    _beyond,
    _outputs_differ,
    _targets,
    _generator,
    _saturated,
)


def warnings(document: Document) -> list[dict[str, str]]:
    """Return the warnings of a result document that has its raw samples."""
    return [dict(vars(found)) for rule in WARNINGS for found in rule(document)]

"""Grades A to F of each figure, and the reasons for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.analysis import outliers
from harness.analysis.windows import LEAST_OVERLAP, least_overlap
from harness.judging.warnings import (
    CHECK,
    FREQUENCY_CHANGE,
    GOOD_PROCESSES,
    LEAST_EFFECTIVE_N,
    LEAST_PROCESSES,
)
from harness.machine.host import OLD_DAYS, UNFIT
from harness.method import Rules
from harness.units import percent, quantity, shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Document = Mapping[str, Any]


LETTERS = "ABCDF"


@dataclass(frozen=True)
class Reason:
    """Why a grade is not better."""

    letter: str
    code: str
    text: str
    advice: str


SHAPES = {
    "no steady state": ("D", "the level changed near the end", "raise num_iters; find the cause"),
    "slowdown": ("C", "a later level is slower", "look for throttling, or memory that grows"),
    "still warming": ("C", "a later level is faster", "raise warmup_iters"),
    "drift": ("C", "latency drifts by more than {drift}", "wait until the machine is warm"),
}
"""Labels of `harness/analysis/steady.py` that limit a grade: letter, text, what to try."""

# --- grades ----------------------------------------------------------------------------------


def _of_trial(document: Document) -> Iterator[Reason]:
    """Yield what limits every metric of a trial."""
    method = document["method"]
    profile = method["profile"]
    if profile in {"compat", "quick"}:
        yield Reason(
            "C", f"profile-{profile}", f"measure={profile} is for a first look",
            "use measure=standard",
        )  # fmt: skip
    if document["devices"] and least_overlap(document["devices"]) < LEAST_OVERLAP:
        shown, least = shares(least_overlap(document["devices"]), LEAST_OVERLAP, 0)
        yield Reason(
            "F", "window-overlap",
            f"the devices worked together for {shown} of a run",
            f"measure longer: at least {least} is needed",
        )  # fmt: skip
    if any("error" in process for process in document["processes"]):
        yield Reason("F", "process-failed", "a process of this point failed", "read its log")
    if any(found["code"] == "negative-residual" for found in document["warnings"]):
        yield Reason("F", "negative-residual", "stages add up to more than the whole", "report it")
    if any(found["code"] == "saturated" for found in document["warnings"]):
        yield Reason("F", "saturated", "more requests than can be served", "lower the load")
    if any(found["code"] == "unattributed" for found in document["warnings"]):
        limit = percent(Rules.of(method).unattributed)
        yield Reason(
            "B", "unattributed", f"more than {limit} belongs to no stage", "see the warning"
        )
    git = document["provenance"]["git"]
    if git.get("dirty"):
        yield Reason("C", "dirty-tree", "the harness has uncommitted changes", "commit them")
    yield from _of_series(document)
    yield from _of_machine(document)
    yield from _of_selfcheck(document)


def _of_series(document: Document) -> Iterator[Reason]:
    """Yield what the series of the processes look like, the most frequent cause first."""
    for label, (letter, text, advice) in SHAPES.items():
        count = sum(one.get("steady", {}).get("label") == label for one in document["processes"])
        if count:
            said = text.format(drift=percent(Rules.of(document["method"]).drift))
            which = f"in {count} of {len(document['processes'])} processes"
            yield Reason(letter, label.replace(" ", "-"), f"{said} {which}", advice)
    preempted = outliers.share(document["processes"], "preempted")
    yield from _band(
        "preempted", "of the iterations waited for a CPU", preempted or 0.0,
        {"D": 0.05, "C": 0.01}, "stop what else is running, or use fewer threads than CPUs",
    )  # fmt: skip
    if any(not one.get("steady", {}).get("finished", True) for one in document["processes"]):
        yield Reason(
            "C", "warm-up-not-finished", "warm-up takes half of a process or more",
            "raise num_iters",
        )  # fmt: skip


def _of_machine(document: Document) -> Iterator[Reason]:
    before, after = (document["environment"][end].get("state", {}) for end in ("before", "after"))
    if not before or not after:
        return
    steal = _growth(before, after, "steal_seconds")
    spent = _growth(before, after, "cpu_seconds")
    yield from _band(
        "steal", "of the CPU time was taken by the host", steal / spent if spent else 0.0,
        {"D": 0.02, "C": 0.005}, "use a dedicated machine",
    )  # fmt: skip
    pressures = [_number(one["pressure"]["cpu"]) for one in (before, after)]
    # The harness itself waits for its worker, never for a CPU: pressure comes from others.
    yield from _band(
        "pressure", "of the last 10 s some task waited for a CPU", max(pressures) / 100,
        {"D": 0.10, "C": 0.02}, "stop what else is running",
    )  # fmt: skip
    if _growth(before, after, "throttled") > 0:
        yield Reason("D", "throttled", "the CPU limit of the container stopped it", "raise it")
    first, last = _number(before["frequency_mhz"]), _number(after["frequency_mhz"])
    change = last / first - 1 if first else 0.0
    if abs(change) > FREQUENCY_CHANGE:
        shown, limit = shares(abs(change), FREQUENCY_CHANGE, 0)
        sign = "+" if change > 0 else "-"
        yield Reason(
            "C", "frequency", f"CPU clock moved by {sign}{shown}, more than {limit}", "fix it"
        )
    cpu = document["environment"]["before"]["cpu"]
    if not isinstance(cpu["governor"], str):
        yield Reason(
            "B", "governor-unknown", "whether the CPU clock is fixed is unknown",
            "measure where /sys shows the governor",
        )  # fmt: skip
    elif cpu["governor"] != "performance":
        yield Reason(
            "B", "governor", f"the CPU governor is {cpu['governor']}",
            "cpupower frequency-set -g performance",
        )  # fmt: skip


def _of_selfcheck(document: Document) -> Iterator[Reason]:
    """Yield what the host's latest check limits; files from before checks say nothing."""
    found = document.get("selfcheck")
    if not found:
        return
    if "started" not in found:
        yield Reason("B", "selfcheck-missing", str(found["reason"]), CHECK)
        return
    if found["mde"] > UNFIT:
        least, _ = shares(found["mde"], UNFIT)
        yield Reason(
            "D", "unfit-host", f"differences below {least} cannot be found here",
            "use a quieter machine",
        )  # fmt: skip
    if not found["passed"]:
        text = f"{found['different']} of {found['comparisons']} comparisons of equals differed"
        yield Reason("C", "selfcheck-failed", text, "use a quieter machine, then " + CHECK)
    if found["age_days"] > OLD_DAYS or not found["same_kernel"]:
        since = (
            "of another kernel" if not found["same_kernel"] else f"more than {OLD_DAYS:g} days old"
        )
        yield Reason("B", "selfcheck-old", f"the check of this host is {since}", CHECK)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _growth(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> float:
    return _number(after[key]) - _number(before[key])


def _band(
    code: str, what: str, share: float, limits: Mapping[str, float], advice: str
) -> Iterator[Reason]:
    for letter, limit in limits.items():
        if share > limit:
            yield Reason(letter, code, f"{shares(share, limit)[0]} {what}", advice)
            return


def _more(method: Mapping[str, Any]) -> str:
    """Return how to get more processes, by the profile already in use."""
    larger = {"standard": "rigorous", "rigorous": None}.get(method["profile"], "standard")
    if larger:
        return f"use measure={larger}"
    return "raise measure.min_processes, and measure.max_processes with it"


def _of_metric(record: Mapping[str, Any], more: str) -> Iterator[Reason]:
    """Yield what limits one metric: how wide its interval is, on how many processes it rests."""
    count, ends = record["p_processes"], record["ci95"]
    if not ends or not record["estimate"]:
        yield Reason("D", "no-interval", record["reason"] or "no interval can be computed", more)
    else:
        half = (ends[1] - ends[0]) / 2 / abs(record["estimate"])
        yield from _band(
            "wide-interval", "is half of the 95 % interval", half,
            {"D": 0.05, "C": 0.02, "B": 0.01}, more,
        )  # fmt: skip
    if count == 1 and (record["n_eff"] or 0) < LEAST_EFFECTIVE_N:
        n = quantity(record["n_eff"] or 0)
        yield Reason("D", "few-samples", f"one process, worth {n} independent samples", more)
    if count < GOOD_PROCESSES:
        letter = "C" if count < LEAST_PROCESSES else "B"
        yield Reason(letter, "few-processes", f"{count} processes", more)


def grades(document: Document) -> dict[str, dict[str, Any]]:
    """Return the grade of every metric that has an interval by its nature.

    The original's cl figures and the largest value carry none; they are never graded.
    """
    if not document["summary"]:
        return {}
    shared, more = list(_of_trial(document)), _more(document["method"])
    return {
        key: _grade([*shared, *_of_metric(record, more)])
        for key, record in document["summary"].items()
        if not record["statistic"].startswith("cl") and record["statistic"] != "max"
    }


def _grade(reasons: list[Reason]) -> dict[str, Any]:
    worst = max((reason.letter for reason in reasons), key=LETTERS.index, default="A")
    ordered = sorted(reasons, key=lambda reason: -LETTERS.index(reason.letter))
    return {"letter": worst, "reasons": [dict(vars(reason)) for reason in ordered]}

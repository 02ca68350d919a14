"""The METRICS table: every statistic a result holds, with its unit, direction and formula.

Keys of a summary are `<subject>.<statistic>` (docs/result-file.md). Nothing here is the truth: all
of it can be computed again from the raw samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import estimates, requests, windows
from harness.analysis.estimates import Estimate
from harness.analysis.series import NS, WHOLE, Series
from harness.units import possible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.analysis.windows import Arrays


CL = (50, 90, 95, 99, 100)
"""The shares of the original's cl figures, in percent."""
PERCENTILES = (50, 90, 95, 99)
SHARES = tuple(f"p{percent}" for percent in PERCENTILES)
RESPONSE = "response"
"""From when a request was due to its last result."""
COMPAT = "compat: the int(n p)-th smallest steady sample, no interval"


@dataclass(frozen=True)
class Metric:
    """One statistic of a subject: how it is called, what it is counted in, how it is computed."""

    id: str
    label: str
    unit: str
    better: str
    """`lower` or `higher`."""
    formula: Callable[[Series, str], Estimate | None]
    """From the samples and a subject; None where the subject has no such figure."""


def is_scheduled(document: Mapping[str, Any]) -> bool:
    """Tell whether a result's requests were due at times of their own."""
    return f"{RESPONSE}.mean" in (document.get("summary") or {})


def headline(document: Mapping[str, Any]) -> str:
    """Return the subject that tells first how long a result's requests took.

    Where they came by a schedule of a server, that is the response: latency alone is then service
    time, and blind to waiting (measurement method, 10).
    """
    kind = ((document.get("method") or {}).get("scenario") or {}).get("kind")
    return RESPONSE if kind == "server" and is_scheduled(document) else WHOLE


def subject_words(document: Mapping[str, Any], subject: str) -> str:
    """Return what a subject's time is called: the latency of scheduled requests is service time."""
    return "service time" if subject == WHOLE and is_scheduled(document) else subject


def withheld(record: Mapping[str, Any] | None) -> str:
    """Return in a few words why a summary's record has no figure."""
    reason = str((record or {}).get("reason") or "no figure")
    return reason.partition(" (")[0].partition(":")[0]


def _mean(series: Series, subject: str) -> Estimate | None:
    return estimates.mean(series.seconds(subject))


def _percentile(percent: int) -> Callable[[Series, str], Estimate | None]:
    return lambda series, subject: estimates.percentile(series.seconds(subject), percent / 100)


def _largest(series: Series, subject: str) -> Estimate | None:
    samples = series.seconds(subject)
    value = max(float(one.max()) for one in samples)
    n = sum(len(one) for one in samples)
    return Estimate(value, None, f"largest of {n}", n, len(samples))


def _cl(percent: int) -> Callable[[Series, str], Estimate | None]:
    def formula(series: Series, subject: str) -> Estimate | None:
        samples = series.as_the_original.seconds(subject)
        ordered = np.sort(np.concatenate(samples))
        value, n = estimates.cl(ordered, percent), len(ordered)
        if value is not None:
            return Estimate(value, None, COMPAT, n, len(samples))
        reason = f"n too small: int({n} x {percent / 100}) is 0"
        return Estimate(0.0, None, COMPAT, n, len(samples), displayable=False, reason=reason)

    return formula


def _flow(series: Series, subject: str, amounts: Arrays) -> tuple[Arrays, Arrays]:
    """Return amounts and the seconds they took: of several devices, those of the common window."""
    if subject == WHOLE and len(series.devices) > 1:
        return windows.windowed(series, amounts)
    return amounts, series.seconds(subject)


def _per_second(series: Series, subject: str, amounts: Arrays) -> Estimate | None:
    done, seconds = _flow(series, subject, amounts)
    if not done:
        return None
    found = estimates.ratio(done, seconds)
    if len(series.devices) > 1 and subject == WHOLE:
        return replace(found, method=f"{found.method}; of the devices' common window")
    return found


def _rate(kind: str) -> Callable[[Series, str], Estimate | None]:
    def formula(series: Series, subject: str) -> Estimate | None:
        items = series.work(f"{series.items_of(subject)}_{kind}")
        if not items:
            return None
        if series.scenario == "offline" and subject == WHOLE:
            spans = [requests.completions(*one) for one in series.requests()]
            return estimates.ratio(items, spans)
        return _per_second(series, subject, items)

    return formula


def _utterances(series: Series, subject: str) -> Estimate | None:
    if subject != WHOLE:
        return None
    return _per_second(series, subject, series.work("utterances"))


def _requests(series: Series, subject: str) -> Estimate | None:
    if subject != RESPONSE:
        return None
    spans = [requests.completions(*one) for one in series.requests()]
    return estimates.ratio([np.ones(len(one)) for one in spans], spans)


def _real_time(series: Series, subject: str) -> Estimate | None:
    speech = series.speech_seconds()
    if subject != WHOLE or not speech or not all(one.sum() for one in speech):
        return None
    spoken, spent = _flow(series, subject, speech)
    return estimates.ratio(spent, spoken) if spoken else None


def _times_real_time(series: Series, subject: str) -> Estimate | None:
    speech = series.speech_seconds()
    if subject != WHOLE or not speech or not all(one.sum() for one in speech):
        return None
    return _per_second(series, subject, speech)


METRICS: tuple[Metric, ...] = (
    Metric("mean", "mean", "s", "lower", _mean),
    *(Metric(f"p{p}", f"p{p}", "s", "lower", _percentile(p)) for p in PERCENTILES),
    Metric("max", "largest", "s", "lower", _largest),
    *(Metric(f"cl{p}", f"cl {p}", "s", "lower", _cl(p)) for p in CL),
    Metric("items_per_s", "valid items per second", "1/s", "higher", _rate("valid")),
    Metric("items_padded_per_s", "padded items per second", "1/s", "higher", _rate("padded")),
    Metric("requests_per_s", "requests completed per second", "1/s", "higher", _requests),
    Metric("utterances_per_s", "utterances per second", "1/s", "higher", _utterances),
    Metric("rtf", "real-time factor", "1", "lower", _real_time),
    Metric("x_realtime", "times real time", "1", "higher", _times_real_time),
)
ONCE = {"load": "load_ns", "compile": "compile_ns", "first": "first_ns"}
"""Subjects with one value per process: subject and the process's key."""


def summarise(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the summary of a result document; empty when nothing steady was measured."""
    series = Series(document)
    if not series.processes:
        return {}
    return {
        f"{subject}.{metric.id}": _record(subject, metric, estimate)
        for subject, metric, estimate in _estimates(series)
    }


def _estimates(series: Series) -> Iterator[tuple[str, Metric, Estimate]]:
    for subject in series.subjects:
        for metric in METRICS:
            found = metric.formula(series, subject)
            if found is not None:
                yield subject, metric, _of_schedule(series, subject, metric, found)
    for subject, key in ONCE.items():
        values = [np.array([process[key] / NS]) for process in series.processes]
        yield subject, METRICS[0], estimates.mean(values)


def _of_schedule(series: Series, subject: str, metric: Metric, found: Estimate) -> Estimate:
    """Return an estimate, or why a queue that never stops growing has no such figure."""
    if metric.better == "higher":
        return found
    waiting = subject in {RESPONSE, "queueing"}
    if series.scenario == "offline" and (waiting or metric.id in SHARES):
        # Everybody waits for everybody.
        return replace(found, displayable=False, ci=None, reason="offline: no latency of a request")
    if not waiting:
        return found
    reason = next((why for one in series.requests() if (why := requests.saturated(*one))), None)
    return found if reason is None else replace(found, displayable=False, ci=None, reason=reason)


def ends(record: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the ends of a summary's record as they may be shown: never below zero."""
    return possible(record.get("estimate"), *(record.get("ci95") or (None, None)))


def _record(subject: str, metric: Metric, estimate: Estimate) -> dict[str, Any]:
    return {
        "subject": subject,
        "statistic": metric.id,
        "unit": metric.unit,
        "better": metric.better,
        "estimate": estimate.value if estimate.displayable else None,
        "ci95": None if estimate.ci is None else list(estimate.ci),
        "method": estimate.method,
        "n": estimate.n,
        "n_eff": estimate.n_eff,
        "p_processes": estimate.processes,
        "design_effect": estimate.design_effect,
        "displayable": estimate.displayable,
        "reason": estimate.reason,
        "between_sd": estimate.between_sd,
        "within_sd": estimate.within_sd,
    }

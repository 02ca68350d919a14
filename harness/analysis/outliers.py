"""Labels of unusual iterations: named, counted, never removed (measurement method, section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import estimates
from harness.method import Rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


MILD, SEVERE = 1.5, 3.0
"""Tukey's fences, in interquartile ranges beyond the quartiles."""
DEFAULT = Rules()
COUNTED = {"steal_ticks": "steal", "major_faults": "major-fault", "after_collection": "gc"}
"""Causes that are there as soon as they are counted at all: column and label."""
CAUSES = ("preempted", *COUNTED.values(), "throttled")
LEAST_N = 5
"""Fewer values have no quartiles worth a fence."""


def labels(process: Mapping[str, Any], rules: Rules = DEFAULT) -> dict[str, list[int]]:
    """Return label -> numbers of the iterations that have it, warm-up counted in the numbering.

    `first` is iteration 0. `mild` and `severe` lie beyond the fences of the process's own steady
    iterations, on either side; what is severe is not mild. The other labels are causes: what
    the system counted around the iteration; a cause the system does not count has no label.
    """
    every = np.asarray(process["columns"].get("latency_ns", ()), dtype=float)
    found: dict[str, list[int]] = {"first": [0] if len(every) else []}
    warmup = process["warmup"]
    steady = every[warmup:]
    severe, mild = beyond(steady)
    found["mild"] = (np.flatnonzero(mild) + warmup).tolist()
    found["severe"] = (np.flatnonzero(severe) + warmup).tolist()
    return found | _causes(process, every, rules)


def _causes(
    process: Mapping[str, Any], latency_ns: NDArray[np.float64], rules: Rules
) -> dict[str, list[int]]:
    columns = {
        name: np.asarray(values, dtype=float)
        for name, values in process.get("causes", {}).items()
        if len(values) == len(latency_ns)
    }
    found = {}
    if "runqueue_ns" in columns:
        found["preempted"] = columns["runqueue_ns"] > rules.preempted * latency_ns
    for name, label in COUNTED.items():
        if name in columns:
            found[label] = columns[name] > 0
    if "frequency_khz" in columns:
        clocks = columns["frequency_khz"]
        steady = clocks[process["warmup"] :]
        usual = np.median(steady) if len(steady) else 0.0
        found["throttled"] = clocks < rules.throttled * usual
    return {label: np.flatnonzero(mask).tolist() for label, mask in found.items()}


def share(processes: Sequence[Mapping[str, Any]], label: str) -> float | None:
    """Return the share of steady iterations that have a label; None where nobody looked."""
    looked = [one for one in processes if label in one.get("labels", {})]
    total = sum(_steady_count(one) for one in looked)
    if not total:
        return None
    having = sum(sum(index >= one["warmup"] for index in one["labels"][label]) for one in looked)
    return having / total


def _steady_count(process: Mapping[str, Any]) -> int:
    count, warmup = len(process["columns"].get("latency_ns", ())), int(process["warmup"])
    return max(0, count - warmup)


def beyond(values: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which values are severe and which only mild outliers."""
    if len(values) < LEAST_N:
        none = np.zeros(len(values), dtype=bool)
        return none, none
    ordered = np.sort(values)
    low, high = (estimates.quantile(ordered, p) for p in (0.25, 0.75))
    distance = np.maximum(low - values, values - high)
    severe = distance > SEVERE * (high - low)
    return severe, (distance > MILD * (high - low)) & ~severe


@dataclass(frozen=True)
class Sensitivity:
    """What the severe outliers of a trial are worth."""

    share: float
    """Of the steady iterations."""
    shift: float
    """Relative change of the mean if they were left out. They are not."""


def sensitivity(samples: Sequence[NDArray[np.float64]]) -> Sensitivity:
    """Return share and weight of the severe outliers of all processes."""
    masks = [beyond(one)[0] for one in samples]
    values, severe = np.concatenate(samples), np.concatenate(masks)
    if severe.all():
        return Sensitivity(1.0, 0.0)
    return Sensitivity(float(severe.mean()), float(values[~severe].mean() / values.mean() - 1))

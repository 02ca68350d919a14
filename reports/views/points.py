"""What a page reads: the trials of a sweep, as views over their result documents.

A view adds names and the tolerance for what an unfinished trial lacks; it never computes a
figure. Every number comes from `summary`, or is drawn from the raw columns.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from harness import naming
from harness.analysis import accuracy, metrics
from harness.analysis.metrics import CL
from harness.units import possible
from reports.views.beside import NO_BASELINE, Beside
from reports.views.labels import full_names, short_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


STATES = ("ok", "skipped", "failed", "timeout", "interrupted")
UNPLANNED = "not measured"
_GRADES = "ABCDF"
_GRADE_OF = {letter: letter for letter in _GRADES}


class Record(NamedTuple):
    """One statistic of one subject, as the result file holds it."""

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    processes: int
    unit: str
    better: str
    reason: str | None
    letter: str | None

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval, which says how many digits are worth showing.

        Never to be shown itself: few intervals lie evenly about their estimate. None when it has
        no two ends.
        """
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2


def _finite(value: float | None) -> float | None:
    """Return the value unless it is no finite number, which a result file may not hold."""
    return value if value is not None and math.isfinite(value) else None


def _record(raw: Mapping[str, Any], grade: Mapping[str, Any] | None) -> Record:
    shown = raw.get("displayable", True)
    estimate = _finite(raw.get("estimate")) if shown else None
    low, high = (raw.get("ci95") if shown else None) or (None, None)
    low, high = possible(estimate, _finite(low), _finite(high))
    return Record(
        estimate=estimate,
        low=low,
        high=high,
        n=raw.get("n") or 0,
        processes=raw.get("p_processes") or 0,
        unit=sys.intern(raw.get("unit", "")),
        better=sys.intern(raw.get("better", "")),
        reason=raw.get("reason"),
        letter=_GRADE_OF.get(str((grade or {}).get("letter"))),
    )


def lean(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with what pages show alone.

    Of the columns latency, and response where there is one, as arrays; of the summary its records;
    of the grades that of what is told first.
    """
    import numpy as np  # noqa: PLC0415 - `import reports` stays cheap

    def reduced(process: Mapping[str, Any]) -> dict[str, Any]:
        rest = {key: one for key, one in process.items() if key not in {"glue", "work"}}
        columns = process.get("columns") or {}
        kept = {"latency_ns": np.asarray(columns.get("latency_ns", ()), dtype=np.int64)}
        if "scheduled_ns" in columns:
            waited = (np.asarray(columns[key], np.int64) for key in ("start_ns", "scheduled_ns"))
            kept["response_ns"] = np.subtract(*waited) + kept["latency_ns"]
        return {**rest, "columns": kept}

    grades, first = document.get("grade") or {}, f"{metrics.headline(document)}.mean"
    summary = document.get("summary") or {}
    return {
        **document,
        "processes": [reduced(one) for one in document.get("processes") or ()],
        "summary": {key: _record(raw, grades.get(key)) for key, raw in summary.items()},
        "grade": {first: grades[first]} if first in grades else {},
    }


@dataclass(frozen=True)
class PointView:
    """One point and its latest trial; `path` is None for a point that was only planned."""

    document: Mapping[str, Any] = field(repr=False)
    path: str | None = None
    """The result file, relative to the sweep's folder."""
    sha256: str | None = None
    recordings: tuple[tuple[str, Path], ...] = ()
    """WAV files beside the result file: path from the sweep's folder, and path."""

    @cached_property
    def id(self) -> str:
        """The point's id, reduced to what may stand in an HTML id."""
        return re.sub(r"[^0-9A-Za-z_-]", "_", str(self.document["point"]["id"]))

    @property
    def name(self) -> str:
        """The name for people; any text at all."""
        return str(self.document["point"].get("name") or self.id)

    @property
    def anchor(self) -> str:
        """The id of the point's section on the page."""
        return f"point-{self.id}"

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """What was chosen for this point."""
        found: Mapping[str, Any] = self.document["point"].get("config") or {}
        return found

    @cached_property
    def choices(self) -> Mapping[str, Any]:
        """The same by the keys as they are typed, and what the command said besides."""
        return naming.choices(self.document["point"])

    @property
    def state(self) -> str:
        """One of `STATES`, or `UNPLANNED`."""
        return str((self.document.get("status") or {}).get("state") or UNPLANNED)

    @property
    def reason(self) -> str | None:
        """Why the state is not ok."""
        reason = (self.document.get("status") or {}).get("reason")
        return None if reason is None else str(reason)

    @property
    def accuracy_failed(self) -> bool:
        """Whether the outputs were too far from the float32 reference's."""
        return accuracy.failed(self.document)

    @property
    def scheduled(self) -> bool:
        """Whether requests came by a schedule, so that they may have waited."""
        return metrics.is_scheduled(self.document)

    @property
    def headline(self) -> str:
        """The subject that tells first how long a request took: the response of a server."""
        return metrics.headline(self.document)

    @property
    def serves(self) -> bool:
        """Whether a server's requests came by a schedule, so that its response is told first."""
        return self.headline == metrics.RESPONSE

    @property
    def backend(self) -> str:
        """The backend's name."""
        return str((self.config.get("backend") or {}).get("name", "unknown"))

    @property
    def quant(self) -> str:
        """The requested precision mode."""
        return str(self.config.get("quant", "unknown"))

    @property
    def batch(self) -> int:
        """Utterances per iteration."""
        return int(self.config.get("bs") or 0)

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """The stored statistics by key."""
        found: Mapping[str, Any] = self.document.get("summary") or {}
        return found

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """The stages that ran, in pipeline order."""
        named = (str(stage["name"]) for stage in self.document.get("stages") or ())
        return tuple(name for name in named if f"{name}.mean" in self.summary)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The response of a server, the whole, Tacotron 2 where a vocoder follows, the stages."""
        first = (metrics.RESPONSE,) if self.serves else ()
        part = ("tacotron2",) if "waveglow" in self.stages else ()
        return (*first, "latency", *part, *self.stages) if self.summary else ()

    def counted_as_original(self, subject: str = "latency") -> Record | None:
        """Return a record of the original's rule: its n is that of all `cl` figures.

        The original drops the warm-up it was asked for and nothing else, so its n is another than
        that of the figures with intervals.
        """
        return self.record(subject, f"cl{CL[-1]}")

    def record(self, subject: str, statistic: str) -> Record | None:
        """Return one statistic; None when the file has no such record."""
        key = f"{subject}.{statistic}"
        if key not in self._records:
            raw, grades = self.summary.get(key), self.document.get("grade") or {}
            if raw is not None and not isinstance(raw, Record):
                raw = _record(raw, grades.get(key))
            self._records[key] = raw
        return self._records[key]

    @cached_property
    def _records(self) -> dict[str, Record | None]:
        """What was asked for so far."""
        return {}

    @property
    def compat(self) -> Mapping[str, Any]:
        """The original's fields of the first device, by their names in its log."""
        blocks: Mapping[str, Any] = self.document.get("compat") or {}
        first: Mapping[str, Any] = next(iter(blocks.values()), {})
        return first.get("fields") or {}

    @property
    def grade(self) -> str | None:
        """The grade of the mean of what is told first: latency, or the response of a server."""
        found = (self.document.get("grade") or {}).get(f"{self.headline}.mean") or {}
        letter = found.get("letter")
        return letter if letter in tuple(_GRADES) else None

    @property
    def grade_reasons(self) -> Sequence[Mapping[str, Any]]:
        """Why the grade is not better, each with a code and advice."""
        found = (self.document.get("grade") or {}).get(f"{self.headline}.mean") or {}
        reasons: Sequence[Mapping[str, Any]] = found.get("reasons") or ()
        return reasons

    @cached_property
    def processes(self) -> Sequence[Mapping[str, Any]]:
        """The processes with at least one stored iteration."""
        return [p for p in self.document.get("processes") or () if self._length(p)]

    @staticmethod
    def _length(process: Mapping[str, Any]) -> int:
        return len((process.get("columns") or {}).get("latency_ns", ()))

    def items_of(self, subject: str) -> str:
        """Return the name of what a subject produces, such as `mel frames`."""
        if subject == metrics.RESPONSE:
            return "requests"
        produced = {s["name"]: s.get("produces") for s in self.document.get("stages") or ()}
        stage = subject
        if subject == "tacotron2":
            stage = "postnet"
        elif subject == "latency":
            stage = self.stages[-1] if self.stages else ""
        key = produced.get(stage) or ""
        return str((self.document.get("items") or {}).get(key, key.replace("_", " ")))

    @property
    def synthetic(self) -> str | None:
        """The label of synthetic weights; None when they were trained ones."""
        weights = self.document.get("weights") or {}
        if weights.get("kind") != "synthetic":
            return None
        return str(weights.get("label") or "synthetic weights")

    @property
    def severity(self) -> tuple[int, int, str]:
        """Sort key: what most needs a look comes first."""
        states = {"failed": 0, "timeout": 0, "interrupted": 1}
        grades = {"F": 0, "D": 1, None: 2, "C": 3, "B": 4, "A": 5}
        return (states.get(self.state, 2), grades.get(self.grade, 2), self.name)


@dataclass(frozen=True)
class SweepView:
    """The points of one command, in the order they were planned."""

    name: str
    points: tuple[PointView, ...]
    sweep: Mapping[str, Any] = field(default_factory=dict, repr=False)
    problems: tuple[str, ...] = ()
    """Result files that could not be read, one line each."""
    beside: Beside = NO_BASELINE
    """What is said of the baseline."""

    @property
    def measured(self) -> tuple[PointView, ...]:
        """The points that have figures."""
        return tuple(point for point in self.points if point.summary)

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that made the results, each once."""
        found = [str(self.sweep.get("command") or "")]
        found += [
            str((point.document.get("provenance") or {}).get("command") or "")
            for point in self.points
        ]
        return tuple(dict.fromkeys(command for command in found if command))

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Short names of the points by id: only what tells them apart."""
        return short_labels(self.points)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Full names of the points by id: what the files call them, told apart where alike."""
        return full_names(self.points)

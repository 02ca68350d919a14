"""The samples of a result document as arrays: what every statistic is computed from."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


NS = 1e9
WHOLE = "latency"


class Series:
    """The steady iterations of a document, by process: times in seconds, work in items.

    A process counts when it has steady iterations and did not end in an error.

    Args:
        document: a result document.
        device: only its processes; None: those of every device.
        compat: drop the warm-up that was asked for and nothing else, as the original does.
    """

    def __init__(
        self, document: Mapping[str, Any], device: str | None = None, *, compat: bool = False
    ) -> None:
        self.document = document
        self._compat = compat
        self.processes: Sequence[Mapping[str, Any]] = [
            process
            for process in document["processes"]
            if "error" not in process
            and len(process["columns"].get("latency_ns", ())) > self.skipped(process)
            and device in {None, process["device"]}
        ]

    def skipped(self, process: Mapping[str, Any]) -> int:
        """Return how many leading iterations of a process do not count."""
        source = self.document["method"]["warmup_iters"] if self._compat else process["warmup"]
        return int(source)

    @cached_property
    def as_the_original(self) -> Series:
        """The same samples, less only the warm-up that was asked for."""
        return Series(self.document, compat=True)

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The devices its processes ran on."""
        return tuple(dict.fromkeys(str(process["device"]) for process in self.processes))

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """The stages in pipeline order."""
        return tuple(stage["name"] for stage in self.document["stages"])

    @cached_property
    def parts(self) -> Mapping[str, Sequence[str]]:
        """Named parts of the whole, such as the acoustic model: the stages each consists of."""
        found: Mapping[str, Sequence[str]] = self.document.get("parts", {})
        return found

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """Everything a time is kept of, per iteration."""
        execute = (f"{stage}_execute" for stage in self.stages)
        return (
            WHOLE,
            *(("response", "queueing") if self.scheduled else ()),
            "latency_full",
            *self.parts,
            *self.stages,
            *execute,
            "glue",
            "residual",
        )

    @cached_property
    def scheduled(self) -> bool:
        """True when requests were due at times of their own."""
        return bool(self.processes) and all(
            "scheduled_ns" in process["columns"] for process in self.processes
        )

    @cached_property
    def scenario(self) -> str:
        """How requests arrived; files from before scenarios hold a single stream."""
        kind: str = self.document["method"].get("scenario", {}).get("kind", "single_stream")
        return kind

    def requests(self) -> list[tuple[NDArray[np.float64], ...]]:
        """Return when the steady requests were due, sent, and how long they took, in seconds."""
        names = ("scheduled_ns", "start_ns", "latency_ns")
        return [
            tuple(
                np.asarray(process["columns"][name][self.skipped(process) :], dtype=float) / NS
                for name in names
            )
            for process in self.processes
        ]

    def nanoseconds(self, process: Mapping[str, Any], subject: str) -> NDArray[np.int64]:
        """Return the times of one subject, warm-up included, as integers.

        A stage's time is its model's execution and the glue it owns; `<stage>_execute` is the
        model alone. A part is the whole less every stage that is not of it.
        """
        columns, glue = process["columns"], process["glue"]

        def column(name: str) -> NDArray[np.int64]:
            return np.asarray(columns[name], dtype=np.int64)

        if subject in self.stages:
            return column(f"{subject}_ns") + np.asarray(glue[subject], dtype=np.int64)
        if subject in self.parts:
            others = [stage for stage in self.stages if stage not in self.parts[subject]]
            whole = column("latency_ns")
            return whole - sum(self.nanoseconds(process, stage) for stage in others)
        if subject in {"response", "queueing"}:
            waited = column("start_ns") - column("scheduled_ns")
            return waited + column("latency_ns") if subject == "response" else waited
        if subject == "latency_full":
            return column("pre_ns") + column("latency_ns") + column("post_ns")
        return column(f"{subject.removesuffix('_execute')}_ns")

    def seconds(self, subject: str) -> list[NDArray[np.float64]]:
        """Return the steady times of a subject, one array per process."""
        return [
            self.nanoseconds(process, subject)[self.skipped(process) :] / NS
            for process in self.processes
        ]

    def work(self, name: str) -> list[NDArray[np.float64]]:
        """Return a work count of the steady iterations, one array per process; empty if absent."""
        if any(name not in process["work"] for process in self.processes):
            return []
        return [
            np.asarray(process["work"][name][self.skipped(process) :], dtype=float)
            for process in self.processes
        ]

    def items_of(self, subject: str) -> str | None:
        """Return the name of what a subject is credited with; None for glue and the like."""
        produced: dict[str, str] = {
            stage["name"]: stage["produces"] for stage in self.document["stages"]
        }
        if subject == WHOLE:
            return produced[self.stages[-1]]
        if subject in self.parts:
            return produced[[stage for stage in self.stages if stage in self.parts[subject]][-1]]
        return produced.get(subject)

    def speech_seconds(self) -> list[NDArray[np.float64]]:
        """Return the seconds of speech of each iteration, the whole batch together."""
        audio = self.document["audio"]
        per_frame = audio["hop_samples"] / audio["sampling_rate_hz"]
        return [frames * per_frame for frames in self.work("mel_frames_valid")]

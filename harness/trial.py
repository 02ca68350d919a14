"""One trial in the making: a point, the processes measured so far, and the document they become."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness import accuracy, environment, fitness, reference, results, stopping, wav
from harness.series import Series

if TYPE_CHECKING:
    from pathlib import Path

    from harness.measure import Job
    from harness.plan import PlannedPoint

ENDED = ("skipped", "failed", "timeout", "interrupted")


def now() -> dict[str, Any]:
    """Return this moment on both clocks: UTC for people, monotonic for differences."""
    utc = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"utc": utc, "monotonic_ns": time.monotonic_ns()}


@dataclass
class Trial:
    """One point while its sweep runs."""

    planned: PlannedPoint
    number: int
    """Its place in the plan, from 1."""
    folder: Path
    trial_id: str = field(default_factory=results.new_trial_id)
    processes: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    """What the last worker said of itself: effective precision, runtime, device, options."""
    campaign: str | None = None
    """Name of the sweep: what is measured in one campaign shares its blocks."""
    state: str = "ok"
    reason: str | None = None
    stop_reason: str | None = None
    cut_short: bool = False
    """A process ended by the time limit before it had all its iterations."""
    spent_s: float = 0.0
    plan: stopping.Plan | None = None
    """What the pilot said of the processes after it."""
    unmet: list[str] | None = None
    """Targets of the profile not met when last looked; None: nobody looked."""
    started: dict[str, Any] = field(default_factory=now)
    before: dict[str, Any] = field(default_factory=dict)
    wav: dict[str, Any] | None = None
    """The audio files written, and what writing took; None: not asked for."""
    accuracy: dict[str, Any] | None = None
    """How far the outputs are from the reference's; None: nobody looked."""

    @property
    def finished(self) -> bool:
        """True when no further process will be started."""
        return self.stop_reason is not None or self.state in ENDED

    def job(self) -> Job:
        """Return what the next process is told."""
        job = self.planned.job(self.folder)
        if self.plan:
            job.measure = replace(job.measure, num_iters=self.plan.iterations)
        return job

    def write_audio(self) -> None:
        """Write one WAV per utterance where that was asked for; never inside a timed span."""
        planned, job = self.planned, self.job()
        if planned.config.wav and not self.settings.get("virtual_clock"):
            self.wav = wav.write(job.golden_file, planned.order(), planned.pipeline.audio, job.slug)

    def hold_against_reference(self) -> None:
        """Compare the outputs of the first process with the float32 reference's."""
        planned, job = self.planned, self.job()
        settings = planned.config.accuracy
        if not settings.check:
            self.accuracy = accuracy.not_checked("accuracy.check=false")
        elif planned.exact_plan is None:
            self.accuracy = accuracy.not_checked("this workload has no reference")
        elif self.settings.get("virtual_clock"):
            self.accuracy = accuracy.not_checked("a scripted backend computes no outputs")
        else:
            self.accuracy = reference.check(
                job,
                planned.exact_plan,
                settings.limits(planned.config.quant),
                self.processes[0],
                same_draws=planned.same_draws,
            )

    def series(self) -> Series:
        """Return the steady samples so far."""
        processes = results.assessed(self._method(), self.processes)
        return Series({"processes": processes, "stages": [], "method": self._method()})

    def decide(self) -> None:
        """Say after a process whether the point is finished; plan the rest after the pilot."""
        settings, done = self.planned.config.measure, len(self.processes)
        if settings.plan_iters and done == settings.pilot_processes:
            self.plan = stopping.plan(settings, self.series(), self.spent_s)
        # Looking is not free, and before the fewest processes it could change nothing.
        looking = done >= settings.min_processes < settings.max_processes
        self.unmet = stopping.unmet(self.series(), settings, self._items()) if looking else None
        self.stop_reason = stopping.should_stop(
            settings, done=done, spent_s=self.spent_s, precise=self.unmet == []
        )

    def _items(self) -> str:
        return f"{self.planned.pipeline.stages[-1].produces}_valid"

    def _method(self) -> dict[str, Any]:
        settings = self.planned.config.measure
        return {**asdict(settings), "profile": settings.profile.value}

    def document(self, command: str) -> dict[str, Any]:
        """Return the result document (docs/result-file.md) of what has been measured."""
        planned, config = self.planned, self.planned.config
        pipeline = planned.pipeline
        after = environment.collect() if self.processes else {}
        return results.complete(
            {
                "trial_id": self.trial_id,
                "supersedes": None,
                "campaign": {"id": self.campaign, "side": planned.side.value},
                "point": {
                    "id": planned.point.id,
                    "name": planned.point.name,
                    "config": dict(planned.point.facts),
                },
                "status": {"state": self.state, "reason": self.reason},
                "accuracy": self.accuracy or accuracy.not_checked("the point did not end well"),
                "wav": self.wav,
                "weights": dict(planned.weights),
                "started": self.started,
                "ended": now(),
                "settings": {
                    "requested": {
                        "quant": config.quant.value,
                        "options": {k: v for k, v in config.backend.items() if v is not None},
                    },
                    "effective": {},
                    "runtime": planned.probe.get("runtime"),
                    "device": planned.probe.get("device"),
                    **self.settings,
                },
                "models": {name: dict(model) for name, model in planned.models.items()},
                "environment": {
                    "before": self.before,
                    "after": after,
                    "changed": environment.differences(self.before, after) if after else [],
                },
                "method": {
                    **self._method(),
                    "plan": asdict(self.plan) if self.plan else None,
                    "unmet": self.unmet,
                    "processes": len(self.processes),
                    "confidence": 0.95,
                    "cut_short": self.cut_short,
                    "spent_s": self.spent_s,
                    "stop_reason": self.stop_reason,
                },
                "items": {items.name: items.label for items in pipeline.items},
                "stages": [
                    {
                        "name": stage.name,
                        "produces": stage.produces,
                        "step_limit": stage.loop.limit if stage.loop else None,
                    }
                    for stage in pipeline.stages
                ],
                "audio": asdict(pipeline.audio),
                "parts": planned.parts,
                "processes": self.processes,
                "selfcheck": fitness.quoted(),
                "provenance": environment.provenance(command),
            }
        )

"""One trial in the making: a point, the processes measured so far, and the document they become."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness import environment, results

if TYPE_CHECKING:
    from pathlib import Path

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
    started: dict[str, Any] = field(default_factory=now)
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """True when no further process will be started."""
        return self.stop_reason is not None or self.state in ENDED

    def relative_half_width(self) -> float | None:
        """Return the relative half-width of mean latency's interval; None when there is none."""
        return results.relative_half_width(self.processes)

    def document(self, command: str) -> dict[str, Any]:
        """Return the result document (docs/result-file.md) of what has been measured."""
        planned, config = self.planned, self.planned.config
        pipeline = planned.pipeline
        after = environment.collect() if self.processes else {}
        method = {**asdict(config.measure), "profile": config.measure.profile.value}
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
                    **method,
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
                "provenance": environment.provenance(command),
            }
        )

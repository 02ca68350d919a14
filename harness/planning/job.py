"""What one process is told to measure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.config.measure import Measure
    from harness.config.scenario import Scenario


@dataclass
class Job:
    """Everything a worker needs to be told about one point."""

    backend: str
    options: Mapping[str, Any]
    interpreter: str | None
    device: str
    quant: str
    seed: int
    plan: Mapping[str, Any]
    prepare: Callable[[], tuple[Mapping[str, Any], int]]
    """Text to padded inputs, and the nanoseconds it took."""
    outputs: tuple[str, ...]
    cache: Path
    folder: Path
    label: str
    """What every file made from these weights says."""
    measure: Measure
    scenario: Scenario
    artefacts: str
    """What the plan calls the compiled form of the models."""
    hop_samples: int = 0
    """Audio samples of one mel frame."""

    calibration: tuple[Mapping[str, Any], ...] = ()
    """Inputs a build of integer precision may calibrate on, the same for every point."""
    devices: tuple[str, ...] = ()
    """All devices measured at the same time, this one among them; empty: this one alone."""
    first: bool = True
    """Whether this is the device whose outputs are kept in a file."""

    @property
    def golden_file(self) -> Path:
        """Where the first process leaves the outputs of its seeded first pass."""
        return self.folder / f"golden-{self.slug}.npz"

    @property
    def unlimited(self) -> list[str]:
        """Stages whose Loop has no trip limit: nothing but their gate ends them."""
        return [one["name"] for one in self.plan["stages"] if one["model"].get("unlimited")]

    def patience_s(self, passes: int = 1) -> float:
        """Return the most seconds for an answer that takes some passes through the pipeline."""
        if not self.unlimited:
            return self.measure.call_timeout_s
        return min(self.measure.call_timeout_s, passes * self.measure.loop_limit_s)

    @property
    def slug(self) -> str:
        """The label as part of a file's name, for a file that cannot hold it."""
        return "-".join(re.findall(r"[a-z0-9]+", self.label.lower()))

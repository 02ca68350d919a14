"""Which share of a sweep's wall time lies inside measured iterations."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from harness.records import result_file

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Share:
    """Wall seconds of a sweep and what they went to."""

    wall_s: float
    steady_s: float
    warmup_s: float
    """Warm-up, whose first is the verification pass."""
    starting_s: float
    """Starting workers, compiling, loading."""
    points: int

    @property
    def steady(self) -> float:
        """Share inside iterations that count."""
        return self.steady_s / self.wall_s

    @property
    def iterating(self) -> float:
        """Share inside iterations of any kind."""
        return (self.steady_s + self.warmup_s) / self.wall_s


def run_seed_table(folder: Path) -> Path:
    """Measure the original's six points at measure=quick; return the sweep's folder."""
    subprocess.run(
        [sys.executable, "-m", "harness", "-m", "experiment=seed_table", f"outputs={folder}"],
        check=True,
    )
    return max(folder.iterdir())


def share(sweep: Path) -> Share:
    """Return the share of a finished sweep."""
    trials = result_file.load_sweep(sweep).trials
    moments = [
        datetime.fromisoformat(trial[end]["utc"])
        for trial in trials
        for end in ("started", "ended")
    ]
    steady = warm = starting = 0.0
    for trial in trials:
        for process in trial["processes"]:
            times, cut = process["columns"]["latency_ns"], process["warmup"]
            steady += sum(times[cut:]) / 1e9
            warm += sum(times[:cut]) / 1e9
            keys = ("start_ns", "compile_ns", "load_ns")
            starting += sum(process[key] for key in keys) / 1e9
    wall = (max(moments) - min(moments)).total_seconds()
    return Share(wall, steady, warm, starting, len(trials))

"""The schema of conf/measure: how long and how often a point is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from harness.config.choices import refuse
from harness.method import Rules

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_STRICT_PROCESSES = 5
"""Below it, sequential intervals miss too often (measurement method, section 5)."""


class Profile(StrEnum):
    """How much is measured (measurement method, section 5)."""

    compat = "compat"
    quick = "quick"
    standard = "standard"
    rigorous = "rigorous"


@dataclass
class Measure:
    """How a point is measured; every value used is stored with the result."""

    profile: Profile = Profile.quick
    min_processes: int = 3
    max_processes: int = 3
    warmup_iters: int = 3
    num_iters: int = 30
    """Timed iterations of each process, warm-up not counted."""
    time_limit_s: float | None = 60.0
    """Most seconds for one point, all its processes together; null: no limit."""
    call_timeout_s: float = 900.0
    """Most seconds for one answer of a worker; after that it is killed."""
    point_timeout_s: float | None = None
    """Most seconds of one point, whatever it is doing: then its worker is killed; null: none."""
    cool_down_s: float = 0.0
    """Seconds of rest before each process."""
    max_temperature_c: float | None = None
    """No process starts while the hottest sensor shows more; null: no such gate."""
    temperature_wait_s: float = 300.0
    """Most seconds to wait at that gate; then the point is timed out."""
    loop_limit_s: float = 120.0
    """Most seconds for one pass when the decoder's Loop has no trip limit of its own."""
    target_half_width: float = 0.01
    """Relative half-width of mean and throughput at which a point may stop early."""
    percentile_width: float = 0.05
    """Relative full width of a percentile's interval at which a point may stop early."""
    percentiles: list[float] = field(default_factory=lambda: [50.0])
    """Percentiles that must be that narrow, in percent."""
    plan_iters: bool = False
    """Plan the iterations of further processes after the pilot; num_iters is then the least."""
    pilot_processes: int = 3
    """Processes of the pilot."""
    telemetry_s: float | None = None
    """Seconds between two looks at the working device, from a process beside it; null: none."""
    rules: Rules = field(default_factory=Rules)
    """Where the method's rules draw their lines."""
    order_seed: int = 0
    """Seed of the random order of points within each block."""

    def __post_init__(self) -> None:
        """Check ranges; types are checked at composition."""
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        least, most = self.min_processes, self.max_processes
        if not 1 <= least <= most:
            yield (
                f"measure.min_processes={least} and measure.max_processes={most}: "
                "need 1 <= min <= max"
            )
        strict = self.profile in {Profile.standard, Profile.rigorous}
        if strict and least < LEAST_STRICT_PROCESSES:
            yield (
                f"measure.min_processes={least}: {self.profile.value} needs at least "
                f"{LEAST_STRICT_PROCESSES}, or its intervals miss too often; use measure=quick"
            )
        if self.warmup_iters < 0:
            yield f"warmup_iters={self.warmup_iters}: must be 0 or more"
        if self.num_iters < 1:
            yield f"num_iters={self.num_iters}: must be at least 1"
        yield from self.rules.problems()
        yield from self._precision_problems()
        yield from self._time_problems()

    def _time_problems(self) -> Iterator[str]:
        for name in ("call_timeout_s", "loop_limit_s"):
            if getattr(self, name) <= 0:
                yield f"measure.{name}={getattr(self, name)}: must be above 0"
        for name in ("time_limit_s", "point_timeout_s", "telemetry_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                yield f"measure.{name}={value}: must be above 0, or null for none"
        for name in ("cool_down_s", "temperature_wait_s"):
            if getattr(self, name) < 0:
                yield f"measure.{name}={getattr(self, name)}: must be 0 or more"

    def _precision_problems(self) -> Iterator[str]:
        if wrong := [one for one in self.percentiles if not 0 < one < 100]:  # noqa: PLR2004
            yield f"measure.percentiles={wrong[0]:g}: in percent, above 0 and below 100"
        if self.pilot_processes < 2:  # noqa: PLR2004 - one process has no spread
            yield f"measure.pilot_processes={self.pilot_processes}: must be at least 2"

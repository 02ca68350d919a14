"""The numbers the method turns on: each a key `measure.rules.<name>`, stored with every result."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Rules:
    """Defaults of the measurement method; its section in parentheses."""

    collect_every: int = 100
    """Iterations between two garbage collections, which run outside every span (2.2)."""
    timer_limited: float = 1000.0
    """A span shorter than so many steps of the clock is marked (2.1)."""
    unattributed: float = 0.02
    """Share of the latency that may belong to no stage before it is a warning (2.5)."""
    transient: float = 0.005
    """A head that differs less from the tail is no warm-up (4)."""
    penalty: float = 10.0
    """Factor of the penalty against a change of level (4)."""
    same_level: float = 0.01
    """Levels that differ less from the last are one with it (4)."""
    drift: float = 0.01
    """Growth over the series from which a slope is a drift (4)."""
    preempted: float = 0.01
    """Share of an iteration spent waiting for a CPU from which it is labelled (7)."""
    throttled: float = 0.95
    """Share of the usual clock below which an iteration is labelled (7)."""
    severe: float = 0.05
    """Share of severe outliers from which there is a warning (7)."""

    @classmethod
    def of(cls, method: Mapping[str, Any]) -> Rules:
        """Return the rules a result was made by; files from before them used the defaults."""
        known = {one.name for one in fields(cls)}
        stored = method.get("rules") or {}
        return cls(**{name: value for name, value in stored.items() if name in known})

    def problems(self) -> list[str]:
        """Return what is out of range."""
        return [
            f"measure.rules.{one.name}={getattr(self, one.name)}: must be above 0"
            for one in fields(self)
            if getattr(self, one.name) <= 0
        ]

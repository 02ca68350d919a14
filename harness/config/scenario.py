"""The schema of conf/scenario: how requests arrive."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from harness.config.choices import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_SERVED_S = 60.0
"""A schedule of requests is at least so long (measurement method, section 10)."""


class Kind(StrEnum):
    """How requests arrive (measurement method, section 10)."""

    single_stream = "single_stream"
    offline = "offline"
    server = "server"


@dataclass
class Scenario:
    """How requests arrive; a request is one batch."""

    kind: Kind = Kind.single_stream
    rate: float | None = None
    """server: requests a second."""
    load: float | None = None
    """server: the same as a share of what each process is found to be able to do."""
    seconds: float = LEAST_SERVED_S
    """server: least length of the schedule; it is longer where a percentile needs it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        chosen = [one for one in (self.rate, self.load) if one is not None]
        if self.kind is not Kind.server and chosen:
            yield "scenario.rate and scenario.load are for scenario=server"
        if self.kind is Kind.server and len(chosen) != 1:
            yield (
                "scenario=server: give scenario.rate (requests a second) or scenario.load "
                "(share of capacity), one of them"
            )
        if any(one <= 0 for one in chosen):
            yield f"scenario.rate={self.rate} scenario.load={self.load}: must be above 0"
        if self.seconds < LEAST_SERVED_S:
            yield f"scenario.seconds={self.seconds:g}: must be at least {LEAST_SERVED_S:g}"

    def fact(self) -> Any:
        """Return what the point's id holds of it."""
        if self.kind is not Kind.server:
            return self.kind.value
        return {"kind": self.kind.value, "rate": self.rate, "load": self.load}

    def name(self) -> str:
        """Return what the point's name says of it: nothing of the usual one."""
        if self.kind is not Kind.server:
            return "" if self.kind is Kind.single_stream else self.kind.value
        return f"server-load{self.load:g}" if self.load else f"server-rate{self.rate:g}"

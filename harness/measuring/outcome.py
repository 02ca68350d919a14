"""How one process ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

State = str


@dataclass
class Outcome:
    """How one process ended: its record, and a state with a reason when it is not ok."""

    record: dict[str, Any]
    state: State = "ok"
    reason: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    cut_short: bool = False
    """The time limit ended the process before it had all its iterations."""
    beside: list[dict[str, Any]] = field(default_factory=list)
    """The records of the processes that ran at the same time on other devices."""

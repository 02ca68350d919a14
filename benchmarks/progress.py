"""What a long benchmark says of itself on standard error while it runs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from harness.units import duration

if TYPE_CHECKING:
    from collections.abc import Sequence


EVERY_S = 10.0
"""At most this often, a line for a turn."""


class Progress:
    """Counts pieces of work and their turns, and estimates the time left from those that ran.

    Args:
        pieces: kind of each piece of work; pieces of one kind take about as long as each other.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = pieces
        self._at = -1
        self._label, self._turns = "", 0
        self._begun = self._turning = self._told = 0.0
        self._took: dict[str, list[float]] = {}

    def notify(self, message: str) -> None:
        """Say something once."""
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()

    def begin(self, label: str, turns: int) -> None:
        """Go to the next piece of work, of so many turns."""
        self._at, self._label, self._turns = self._at + 1, label, turns
        self._begun, self._turning, self._told = time.monotonic(), 0.0, 0.0

    def say(self, phase: str, turn: int = 0) -> None:
        """Show what is done, and in which turn (from 0); not more often than anybody can read."""
        now = time.monotonic()
        if turn and not self._turning:
            self._turning = now
        if now - self._told < EVERY_S:
            return
        self._told = now
        where = f"{self._at + 1} of {len(self._pieces)}: {self._label}"
        self.notify(f"{where}, turn {turn + 1} of {self._turns}, {phase}{self._left(now, turn)}")

    def end(self) -> None:
        """Note how long the piece of work took."""
        took = time.monotonic() - self._begun
        self._took.setdefault(self._pieces[self._at], []).append(took)

    def _left(self, now: float, turn: int) -> str:
        """Return the time left in words; after the first turn, which starts everybody."""
        if turn < 2:  # noqa: PLR2004 - one whole turn after the first
            return ""
        here = (now - self._turning) / (turn - 1) * (self._turns - turn)
        whole = now - self._begun + here
        known, unknown = here, 0
        for kind in self._pieces[self._at + 1 :]:
            took = [*self._took.get(kind, []), *([whole] if kind == self._pieces[self._at] else [])]
            known += max(took, default=0.0)
            unknown += not took
        more = f" and {unknown} pieces of work of another kind" if unknown else ""
        return f", about {duration(known)}{more} left"

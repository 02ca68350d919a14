"""Who is told how a measurement goes: whatever shows it, or nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Listener(Protocol):
    """Is told what happens while points are measured; the terminal is one."""

    def notice(self, message: str) -> None:
        """Hear of something that people should know."""

    def progress(
        self, number: int, total: int, name: str, phase: str, left_s: float | None
    ) -> None:
        """Hear what is going on, and how many seconds are left if that is known."""

    def point(self, number: int, total: int, name: str, document: Mapping[str, Any]) -> None:
        """Hear of a point that has ended."""


class Nobody:
    """A listener that shows nothing."""

    def notice(self, message: str) -> None:
        """Say nothing."""

    def progress(
        self, number: int, total: int, name: str, phase: str, left_s: float | None
    ) -> None:
        """Say nothing."""

    def point(self, number: int, total: int, name: str, document: Mapping[str, Any]) -> None:
        """Say nothing."""


@dataclass
class Progress:
    """What a listener is told while a process runs, and how it ends the process early."""

    tell: Callable[[str], None]
    stopped: Callable[[], bool]
    started: Callable[[int], None] = lambda _: None
    """Told the process id of a worker as soon as it runs."""
    notice: Callable[[str], None] = lambda _: None
    """Told what a reader should know: what of the cache was damaged and is made again."""

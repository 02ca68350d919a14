"""What Ctrl-C and SIGTERM mean: once to end in good order, twice to stop now."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType

    from harness.commands.console import Console


class Interrupt:
    """Ctrl-C, SIGTERM or SIGHUP once: finish what runs, save, report. Twice: stop now."""

    def __init__(self, console: Console) -> None:
        self.asked = False
        self._console = console
        self._before: dict[int, object] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.asked:
            for one in self._before:
                signal.signal(one, signal.SIG_IGN)  # nothing may interrupt the way out
            raise KeyboardInterrupt
        self.asked = True
        name = signal.Signals(number).name
        self._console.urgent(f"{name}: finishing this block, then saving; again to stop now")

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and shells' & set it
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

"""The common start of the workers of one round."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from harness.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence


WAITED = "another device failed before the common start"


class Gate:
    """Where the workers of one round wait for each other.

    Set-up takes turns, so that one worker builds and the others find what it built. The timed
    iterations start together, and nobody ends while another still has iterations to do.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self.turn = threading.Lock()
        self._barrier = threading.Barrier(len(devices))
        self._busy = set(devices)
        self._lock = threading.Lock()

    def start(self) -> None:
        """Wait until every device is warm.

        Raises:
            WorkerError: one of them never will be.
        """
        try:
            self._barrier.wait()
        except threading.BrokenBarrierError as error:
            raise WorkerError(WAITED) from error

    def others_run(self, device: str) -> bool:
        """Say that a device has what it needs; return whether another one has not."""
        with self._lock:
            self._busy.discard(device)
            return bool(self._busy)

    def leave(self, device: str) -> None:
        """Say that a device takes no further part; who waits for it must not wait for ever."""
        self.others_run(device)
        self._barrier.abort()

"""When each request of a schedule is due."""

from __future__ import annotations

from array import array
from typing import (
    TYPE_CHECKING,
    Sequence,
)

from backends.timing.disturbances import NoCauses

if TYPE_CHECKING:
    from backends.base import Backend


class Due(NoCauses):
    """Holds each iteration back until it is due; whoever is late is not held."""

    def __init__(self, origin_ns: int, schedule: Sequence[int], backend: Backend) -> None:
        self.times = array("q", [origin_ns + offset for offset in schedule])
        self._wait = backend.wait_until

    def before(self, index: int) -> None:
        """Wait."""
        self._wait(self.times[index])

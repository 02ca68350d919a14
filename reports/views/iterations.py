"""The latencies of a point, iteration by iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


NS = 1e-9


def latencies(process: Mapping[str, Any], subject: str = "latency") -> NDArray[np.float64]:
    """Return the time of each iteration of a process, warm-up included, in seconds.

    Args:
        process: of a view that was read lean.
        subject: latency, or response where requests came by a schedule.
    """
    import numpy as np  # noqa: PLC0415 - `import reports` stays cheap

    return np.asarray(process["columns"][f"{subject}_ns"], dtype=np.float64) * NS


def warm_up(process: Mapping[str, Any]) -> int:
    """Return how many leading iterations of a process are kept but not counted."""
    return min(int(process.get("warmup") or 0), len(process["columns"]["latency_ns"]))

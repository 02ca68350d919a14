"""Rest between processes: a fixed pause, and a gate that opens below a temperature."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError, WorkerTimeoutError
from harness.machine import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.config.measure import Measure


SLICE_S = 0.2
"""How often a rest looks whether the user wants to leave."""


def check(measure: Measure, temperature: Callable[[], Any] = environment.temperature) -> None:
    """Refuse a gate that nothing here can open.

    Raises:
        UsageError: a temperature is asked for and no sensor is visible.
    """
    seen = temperature()
    if measure.max_temperature_c is not None and isinstance(seen, dict):
        raise UsageError(
            f"measure.max_temperature_c={measure.max_temperature_c:g}: {seen['reason']}; "
            "use measure.cool_down_s for a fixed rest"
        )


def rest(
    measure: Measure,
    stopped: Callable[[], bool],
    tell: Callable[[str], None],
    *,
    temperature: Callable[[], Any] = environment.temperature,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Rest before a process; return what was done: seconds at rest and at the gate, and degrees.

    Raises:
        WorkerTimeoutError: the gate did not open in time.
    """
    paused_s = _pause(measure.cool_down_s, stopped, tell, sleep)
    waited_s, seen = 0.0, temperature()
    limit = measure.max_temperature_c
    while limit is not None and not isinstance(seen, dict) and seen > limit and not stopped():
        if waited_s >= measure.temperature_wait_s:
            raise WorkerTimeoutError(
                f"still {seen:g} °C after {waited_s:g} s of waiting for "
                f"measure.max_temperature_c={limit:g}"
            )
        tell(f"cooling {seen:g} °C")
        sleep(SLICE_S)
        waited_s += SLICE_S
        seen = temperature()
    return {"cool_down_s": paused_s, "waited_s": round(waited_s, 3), "temperature_c": seen}


def _pause(
    seconds: float,
    stopped: Callable[[], bool],
    tell: Callable[[str], None],
    sleep: Callable[[float], None],
) -> float:
    left = seconds
    while left > 0 and not stopped():
        tell("resting")
        sleep(min(SLICE_S, left))
        left -= SLICE_S
    return seconds - max(0.0, left)

"""Rest between processes, with a thermometer and a clock made of numbers."""

from __future__ import annotations

import pytest

from harness.config.measure import Measure
from harness.errors import UsageError, WorkerTimeoutError
from harness.measuring import cooling


def never() -> bool:
    return False


def test_the_gate_opens_when_the_hottest_sensor_is_below_the_limit() -> None:
    readings = iter([80.0, 72.0, 69.5])
    slept: list[float] = []
    told: list[str] = []
    rested = cooling.rest(
        Measure(max_temperature_c=70, cool_down_s=1.0), never, told.append,
        temperature=lambda: next(readings), sleep=slept.append,
    )  # fmt: skip
    assert rested == {"cool_down_s": 1.0, "waited_s": 0.4, "temperature_c": 69.5}
    assert sum(slept) == pytest.approx(1.4)
    assert told[-2:] == ["cooling 80 °C", "cooling 72 °C"]


def test_a_gate_that_does_not_open_times_the_point_out() -> None:
    with pytest.raises(WorkerTimeoutError, match="still 90 °C after 1 s"):
        cooling.rest(
            Measure(max_temperature_c=70, temperature_wait_s=1.0), never, lambda _: None,
            temperature=lambda: 90.0, sleep=lambda _: None,
        )  # fmt: skip


def test_a_rest_ends_when_the_user_wants_to_leave() -> None:
    slept: list[float] = []
    rested = cooling.rest(
        Measure(cool_down_s=3600.0), lambda: len(slept) >= 2, lambda _: None,
        temperature=lambda: 20.0, sleep=slept.append,
    )  # fmt: skip
    assert rested["cool_down_s"] == pytest.approx(0.4)


def test_without_a_sensor_a_gate_is_refused_and_no_gate_is_fine() -> None:
    absent = {"value": None, "reason": "no sensor is visible"}
    cooling.check(Measure(), lambda: absent)
    with pytest.raises(UsageError, match="no sensor is visible"):
        cooling.check(Measure(max_temperature_c=70), lambda: absent)

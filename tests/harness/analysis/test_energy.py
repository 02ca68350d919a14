"""Joules per utterance: the integral, the window it needs, and the reasons for none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.analysis import energy
from harness.analysis.series import Series

S = 1_000_000_000


def document(
    power: list[float | None], *, iterations: int = 40, period_s: float = 0.25
) -> dict[str, Any]:
    """Iterations of one second, one utterance each; a sample every quarter second from -1 s on."""
    at = [int(-S + place * period_s * S) + 5 * S for place in range(len(power))]
    process = {
        "index": 1,
        "device": "0",
        "warmup": 0,
        "clock_epoch_ns": 5 * S,
        "columns": {
            "start_ns": [place * S for place in range(iterations)],
            "latency_ns": [S] * iterations,
        },
        "glue": {},
        "work": {"utterances": [1] * iterations},
        "telemetry": {
            "during": {
                "period_s": period_s,
                "reason": "cnmon is not on PATH" if not any(power) else None,
                "columns": {"at_ns": at, "power_w": power},
            }
        },
    }
    return {"processes": [process], "stages": [], "method": {"warmup_iters": 0}}


def test_constant_power_is_power_times_seconds_per_utterance() -> None:
    found = energy.assess(Series(document([50.0] * 200)))
    assert found["value"] == pytest.approx(50.0)
    assert found["average_w"] == pytest.approx(50.0)
    assert found["net"]["reason"]


def test_samples_are_held_to_the_edges_of_the_window() -> None:
    at = np.array([2, 6], dtype=np.int64) * S
    # 20 W until 2 s, a ramp to 40 W at 6 s, 40 W until 10 s.
    assert energy.joules(at, np.array([20.0, 40.0]), 10.0) == pytest.approx(40 + 120 + 160)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (document([50.0] * 80, iterations=10), "10.0 s where 30 s are needed"),
        (document([50.0] * 80, period_s=0.5), "40.0 s where 50 s are needed"),
        (document([None] * 200), "cnmon is not on PATH"),
    ],
)
def test_what_cannot_be_said_is_a_reason(made: dict[str, Any], reason: str) -> None:
    found = energy.assess(Series(made))
    assert found["value"] is None
    assert reason in found["reason"]


def test_without_samples_the_reason_names_the_key() -> None:
    made = document([50.0])
    del made["processes"][0]["telemetry"]
    assert "measure.telemetry_s" in energy.assess(Series(made))["reason"]

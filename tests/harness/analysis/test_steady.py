"""Warm-up and steady state on the cases the method simulates (section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.analysis import steady
from harness.analysis.steady import Label
from tests.make_trials import MS, make_process, make_trial

if TYPE_CHECKING:
    from numpy.typing import NDArray


N, RUNS = 200, 100
RNG = np.random.default_rng(20)


@pytest.fixture(autouse=True)
def _the_same_draws_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(20))


def noise(n: int = N, sd: float = 0.01, rho: float = 0.0) -> NDArray[np.float64]:
    drawn = RNG.normal(0, sd, n)
    for i in range(1, n):
        drawn[i] = rho * drawn[i - 1] + np.sqrt(1 - rho**2) * drawn[i]
    return 1 + drawn


def decay(share: float, height: float = 0.3) -> NDArray[np.float64]:
    return height * np.exp(-np.arange(N) / (share * N / 5))


def bias(share: float) -> float:
    means = []
    for _ in range(RUNS):
        series = noise() + decay(share)
        means.append(series[steady.transient(series, 3).cut :].mean())
    return float(np.mean(means)) - 1


def test_after_the_cut_little_of_a_warm_up_is_left() -> None:
    assert abs(bias(0.2)) <= 0.001
    assert abs(bias(0.5)) <= 0.006


def test_three_iterations_are_always_dropped_and_a_quiet_series_loses_no_more() -> None:
    assert {steady.transient(noise(sd=0.002), 3).cut for _ in range(RUNS)} == {3}


def test_a_warm_up_longer_than_half_the_series_is_not_finished() -> None:
    series = np.linspace(2, 1, N) * noise(sd=0.001)
    assert not steady.transient(series, 3).finished


def share_of(label: Label, make: object) -> float:
    assert callable(make)
    return sum(steady.label(make()) is label for _ in range(RUNS)) / RUNS


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_a_flat_series_is_called_flat(rho: float) -> None:
    assert share_of(Label.FLAT, lambda: noise(rho=rho)) >= 0.97


def test_a_slowdown_of_a_tenth_is_found() -> None:
    def slow() -> NDArray[np.float64]:
        series = noise()
        series[N // 2 :] *= 1.1
        return series

    assert share_of(Label.SLOWDOWN, slow) >= 0.98


def test_a_level_that_falls_late_is_still_warming() -> None:
    def warming() -> NDArray[np.float64]:
        series = noise()
        series[: N // 3] *= 1.1
        return series

    assert share_of(Label.STILL_WARMING, warming) >= 0.98


def test_a_change_near_the_end_is_no_steady_state() -> None:
    def late() -> NDArray[np.float64]:
        series = noise()
        series[-30:] *= 1.1
        return series

    assert share_of(Label.NO_STEADY_STATE, late) >= 0.98


def test_a_slow_slope_is_a_drift() -> None:
    series = noise(sd=0.002) * np.linspace(1, 1.012, N)
    assert steady.label(series) in {Label.DRIFT, Label.SLOWDOWN}
    assert steady.label(series) is not Label.FLAT


def test_a_lone_outlier_is_no_level() -> None:
    series = noise()
    series[100] = 5.0
    assert steady.label(series) is Label.FLAT


@pytest.mark.parametrize("n", [0, 1, 4, 19])
def test_few_iterations_say_nothing(n: int) -> None:
    assert steady.label(np.ones(n)) is Label.TOO_SHORT
    assert steady.transient(np.ones(n), 3).cut == min(n, 3)


def test_a_constant_series_is_flat() -> None:
    assert steady.label(np.ones(50)) is Label.FLAT


def slow_start(length: int) -> list[int]:
    return [int((75 + (20 if i < length else 0)) * MS + i % 7 * 1000) for i in range(60)]


def test_a_trials_cut_is_the_median_of_its_processes() -> None:
    processes = [make_process(slow_start(n), index=i) for i, n in enumerate((3, 18, 18), 1)]
    document = make_trial(processes, warmup_iters=3)
    assert [one["warmup"] for one in document["processes"]] == [18, 18, 18]
    assert [one["steady"]["own_cut"] for one in document["processes"]] == [3, 18, 18]
    assert document["summary"]["latency.mean"]["n"] == 3 * 42


def test_the_compat_profile_drops_what_was_asked_and_nothing_else() -> None:
    method = {**make_trial([])["method"], "profile": "compat"}
    document = make_trial([make_process(slow_start(18), warmup=3)], method=method)
    assert document["processes"][0]["warmup"] == 3


def test_a_slowdown_limits_the_grade() -> None:
    series = [75 * MS + i % 7 * 1000 if i < 48 else 85 * MS + i % 7 * 1000 for i in range(80)]
    document = make_trial([make_process(series, index=i) for i in range(1, 11)])
    found = document["grade"]["latency.mean"]
    assert found["letter"] in {"C", "D"}
    assert "slowdown" in {reason["code"] for reason in found["reasons"]}

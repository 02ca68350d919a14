"""The measurement method's own claims, simulated with fixed seeds (measurement method, section 16).

Each test states the figure the method requires. The other required tests stand beside what they
test: ranks and least n (test_statistics), warm-up (test_steady), verdict probabilities
(test_comparison), schedules (test_load), crashes and rival writers (test_results).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import signal, stats

from harness.analysis import estimates, verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


RUNS = 600
BURN_IN = 50


def normal(rng: np.random.Generator, processes: int, each: int, correlation: float) -> Array:
    """Return standard normal series, one row a process, with a lag-1 correlation."""
    noise = rng.normal(size=(processes, each + BURN_IN))
    scale = np.sqrt(1 - correlation**2)
    series = signal.lfilter([scale], [1, -correlation], noise, axis=1)
    return np.asarray(series[:, BURN_IN:], dtype=float)


def shaped(z: Array, shape: str) -> Array:
    """Return normal values as latencies: log-normal of 5 %, or with an exponential tail of 5 %."""
    if shape == "log-normal":
        return np.asarray(np.exp(0.05 * z), dtype=float)
    return np.asarray(1 - 0.05 * np.log(stats.norm.sf(z)), dtype=float)


def true_quantile(shape: str, shift: float, p: float) -> float:
    """Return the quantile over all processes there could be."""
    rng = np.random.default_rng(0)
    levels = np.exp(rng.normal(0, shift, 1_000_000))
    return float(np.quantile(shaped(rng.normal(size=1_000_000), shape) * levels, p))


def percentile_coverage(shape: str, processes: int, shift: float, correlation: float) -> float:
    """Return how often the interval of p90 holds the true value."""
    rng = np.random.default_rng(processes + int(1000 * shift))
    truth, hits, shown = true_quantile(shape, shift, 0.9), 0, 0
    for _ in range(RUNS):
        levels = np.exp(rng.normal(0, shift, (processes, 1)))
        samples = shaped(normal(rng, processes, 100, correlation), shape) * levels
        found = estimates.percentile(list(samples), 0.9)
        if found.displayable and found.ci:
            shown += 1
            hits += found.ci[0] <= truth <= found.ci[1]
    assert shown > 0.99 * RUNS
    return hits / shown


@pytest.mark.parametrize("shape", ["log-normal", "exponential"])
@pytest.mark.parametrize("processes", [5, 20])
def test_percentile_intervals_hold_for_independent_samples(shape: str, processes: int) -> None:
    least = 0.95 - 3 * np.sqrt(0.95 * 0.05 / RUNS)
    assert percentile_coverage(shape, processes, 0.0, 0.0) >= least


@pytest.mark.parametrize("shape", ["log-normal", "exponential"])
@pytest.mark.parametrize(("processes", "shift"), [(5, 0.01), (10, 0.02), (20, 0.01)])
def test_percentile_intervals_hold_for_dependent_samples(
    shape: str, processes: int, shift: float
) -> None:
    assert percentile_coverage(shape, processes, shift, 0.6) >= 0.92


@pytest.mark.parametrize("processes", [3, 5, 10, 30])
def test_mean_intervals_hold_whatever_the_processes_do(processes: int) -> None:
    rng, hits, runs = np.random.default_rng(processes), 0, 1500
    for _ in range(runs):
        levels = 1 + rng.normal(0, 0.01, (processes, 1))
        found = estimates.mean(list(levels + rng.normal(0, 0.03, (processes, 60))))
        assert found.ci
        hits += found.ci[0] <= 1.0 <= found.ci[1]
    assert hits / runs == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / runs))


def pooled_coverage(processes: int) -> float:
    """Return how often an interval from pooled iterations would hold: what is not done here."""
    rng, hits, runs = np.random.default_rng(1), 0, 400
    for _ in range(runs):
        levels = 1 + rng.normal(0, 0.01, (processes, 1))
        pooled = (levels + rng.normal(0, 0.03, (processes, 300))).ravel()
        half = 1.96 * pooled.std(ddof=1) / np.sqrt(len(pooled))
        hits += abs(pooled.mean() - 1.0) <= half
    return hits / runs


def test_pooling_would_be_wrong_as_often_as_the_method_says() -> None:
    assert pooled_coverage(5) == pytest.approx(0.31, abs=0.08)  # 3 % within, 1 % between


def differences(effect: float, *, blocks: int, runs: int, seed: int) -> list[verdicts.Difference]:
    rng = np.random.default_rng(seed)
    sides = rng.normal(0, 0.01 / np.sqrt(2), (runs, 2, blocks))  # SD of a pair's ratio: 1 %
    return [verdicts.paired(np.exp(base), (1 + effect) * np.exp(new)) for base, new in sides]


def detected(found: list[verdicts.Difference]) -> float:
    return sum(abs(one.log_ratio) > one.half_width for one in found) / len(found)


def test_equal_sides_differ_in_one_case_of_twenty() -> None:
    runs = 2000
    rate = detected(differences(0.0, blocks=10, runs=runs, seed=3))
    assert rate <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(("effect", "least"), [(0.02, 0.90), (0.05, 0.99)])
def test_a_real_difference_is_found(effect: float, least: float) -> None:
    assert detected(differences(effect, blocks=10, runs=1000, seed=4)) >= least


def test_a_drift_over_the_sweep_convicts_nobody_who_is_measured_side_by_side() -> None:
    rng, wrong, runs = np.random.default_rng(5), 0, 1000
    for _ in range(runs):
        drift = np.linspace(0, 0.02, 20)
        noise = rng.normal(0, 0.01, 20)
        order = np.array([rng.permutation(2) for _ in range(10)])
        values = np.exp(drift + noise).reshape(10, 2)
        sides = np.take_along_axis(values, order, axis=1)
        found = verdicts.paired(list(sides[:, 0]), list(sides[:, 1]))
        wrong += abs(found.log_ratio) > found.half_width
    assert wrong / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)

"""Means, percentiles and rates against values computed another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.analysis import estimates


def processes(count: int, each: int, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.lognormal(0, 0.05, each) for _ in range(count)]


@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_quantiles_are_type_8(n: int, p: float) -> None:
    values = np.sort(processes(1, n)[0])
    expected = np.quantile(values, p, method="median_unbiased")
    assert estimates.quantile(values, p) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("p", "n"), [(0.5, 6), (0.75, 13), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)]
)
def test_the_least_n_is_that_of_the_method(p: float, n: int) -> None:
    assert estimates.needed(p) == n


@pytest.mark.parametrize(("p", "n"), [(0.5, 10), (0.9, 66), (0.95, 135), (0.99, 684)])
def test_a_design_effect_of_four_needs_more(p: float, n: int) -> None:
    assert estimates.needed(p, 4.0) == n


def test_p99_is_not_shown_at_367_and_shown_at_368() -> None:
    values = np.random.default_rng(3).permutation(np.arange(368.0))
    small = estimates.percentile([values[:367]], 0.99)
    assert (small.displayable, small.reason) == (False, "n too small (have 367, need 368)")
    assert estimates.percentile([values], 0.99).displayable


@pytest.mark.parametrize("n", [10, 100, 777])
@pytest.mark.parametrize("p", [0.5, 0.9])
def test_ranks_are_the_exact_binomial_ones(n: int, p: float) -> None:
    low, high = estimates.ranks(n, p)
    below = [k for k in range(1, n + 1) if stats.binom.cdf(k - 1, n, p) <= 0.025]
    above = [k for k in range(1, n + 1) if stats.binom.sf(k - 1, n, p) <= 0.025]
    assert low == (max(below) if below else None)
    assert high == (min(above) if above else None)


def test_the_mean_rests_on_process_means() -> None:
    samples = processes(5, 40)
    means = [float(one.mean()) for one in samples]
    found = estimates.mean(samples)
    expected = stats.t.interval(0.95, 4, np.mean(means), stats.sem(means))
    assert found.value == pytest.approx(np.mean(means))
    assert found.ci == pytest.approx(expected)


def test_one_process_is_said_to_be_one() -> None:
    assert estimates.mean(processes(1, 50)).reason == "within this process only"
    assert estimates.mean([np.array([1.0])]).ci is None


def test_a_rate_is_a_ratio_of_sums() -> None:
    items = [np.array([10.0, 30.0]), np.array([20.0, 20.0])]
    times = [np.array([1.0, 2.0]), np.array([1.0, 1.0])]
    found = estimates.ratio(items, times)
    assert found.value == pytest.approx(80 / 5)
    assert found.ci is not None
    low, high = found.ci
    assert math.sqrt(low * high) == pytest.approx(found.value)


def test_independent_samples_have_an_autocorrelation_time_of_about_one() -> None:
    rng = np.random.default_rng(5)
    times = [estimates.autocorrelation_time(rng.normal(size=1000)) for _ in range(20)]
    assert 1 <= float(np.mean(times)) < 1.3


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_the_time_of_a_first_order_process_is_found(rho: float) -> None:
    rng, found = np.random.default_rng(7), []
    for _ in range(10):
        noise, series = rng.normal(size=20_000), np.empty(20_000)
        series[0] = noise[0]
        for i in range(1, len(series)):
            series[i] = rho * series[i - 1] + noise[i]
        found.append(estimates.autocorrelation_time(series))
    assert float(np.mean(found)) == pytest.approx((1 + rho) / (1 - rho), rel=0.15)


def test_a_constant_series_needs_no_special_case() -> None:
    same = [np.full(10, 3.0), np.full(10, 3.0)]
    assert estimates.mean(same).ci == (3.0, 3.0)
    assert estimates.percentile(same, 0.5).value == 3.0
    assert estimates.ratio(same, same).value == 1.0

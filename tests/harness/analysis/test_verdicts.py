"""Verdicts: each provoked, and the probabilities the method states for them (section 8)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.analysis import verdicts as comparison
from harness.analysis.verdicts import Difference, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray


RUNS = 4000


def one(base: list[float], new: list[float], occasion_sd: float = 0.0) -> Difference:
    (found,) = comparison.judge([comparison.unpaired(base, new, occasion_sd)])
    return found


def spread(level: float, count: int = 10, sd: float = 0.002) -> list[float]:
    return list(level * np.exp(np.linspace(-1, 1, count) * sd))


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.05, "slower"), (0.95, "faster"), (1.0, "no difference"), (1.01, "no difference")],
)
def test_a_clear_case_gets_its_verdict(factor: float, verdict: str) -> None:
    found = one(spread(1.0), spread(factor))
    assert found.verdict == verdict
    assert found.ratio == pytest.approx(factor)
    assert found.interval[0] < factor < found.interval[1]


def test_noise_is_unresolved_and_says_how_much_more_is_needed() -> None:
    found = one(spread(1.0, sd=0.1), spread(1.03, sd=0.1))
    assert found.verdict is Verdict.UNRESOLVED
    low, high = (math.log(end) for end in found.interval)
    expected = 10 * ((high - low) / (2 * math.log(1.02))) ** 2 - 10
    assert found.further == math.ceil(expected)


@pytest.mark.parametrize("count", [1, 0])
def test_one_process_is_never_enough(count: int) -> None:
    found = one([1.0], [2.0] * max(1, count))
    assert (found.verdict, found.reason) == ("unresolved", "P = 1: measure more processes")


def test_two_occasions_widen_the_interval() -> None:
    near, far = one(spread(1.0), spread(1.0)), one(spread(1.0), spread(1.0), 0.01)
    assert far.half_width > 0.0277 > near.half_width
    assert far.verdict is Verdict.UNRESOLVED
    assert far.further is None
    assert "side by side" in str(far.reason)


def test_many_identical_pairs_rarely_give_a_difference() -> None:
    rng, runs = np.random.default_rng(11), 200
    false = 0
    for _ in range(runs):
        means = np.exp(rng.normal(0, 0.01, (50, 2, 10))).tolist()
        pairs = [comparison.paired(*one) for one in means]
        verdicts = {found.verdict for found in comparison.judge(pairs, delta=1e-9)}
        false += bool(verdicts & {Verdict.SLOWER, Verdict.FASTER})
    assert false / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def probabilities(effect: float, sd: float) -> dict[str, float]:
    rng = np.random.default_rng(17)
    z: NDArray[np.float64] = rng.normal(math.log1p(effect), sd, (RUNS, 10))
    found = [
        comparison.judge([comparison.paired([1.0] * 10, np.exp(row).tolist())])[0].verdict
        for row in z
    ]
    return {verdict: found.count(verdict) / RUNS for verdict in Verdict}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("effect", "sd", "expected"),
    [
        (0.00, 0.01, {"no difference": 1.00}),
        (0.01, 0.01, {"no difference": 0.79, "unresolved": 0.21}),
        (0.02, 0.01, {"slower": 0.50}),
        (0.03, 0.01, {"slower": 0.999}),
        (0.05, 0.01, {"slower": 1.00}),
        (0.00, 0.02, {"no difference": 0.60, "unresolved": 0.40}),
        (0.03, 0.02, {"slower": 0.94}),
        (0.05, 0.02, {"slower": 1.00}),
    ],
)
def test_outcomes_are_as_likely_as_the_method_says(
    effect: float, sd: float, expected: dict[str, float]
) -> None:
    found = probabilities(effect, sd)
    for verdict, share in expected.items():
        assert found[Verdict(verdict)] == pytest.approx(share, abs=0.02), verdict


def test_a_failed_null_control_withdraws_every_difference() -> None:
    found = [one(spread(1.0), spread(factor)) for factor in (1.0, 1.1)]
    assert [d.verdict for d in comparison.without_null_control(found)] == [
        "no difference", "unresolved",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("new", "verdict"),
    [(94.9, "fail"), (95.0, "pass"), (105.0, "pass"), (105.1, "option"), (None, "fail")],
)
def test_the_originals_rule(new: float | None, verdict: str) -> None:
    assert comparison.compat_rule(100.0, new)[0] == verdict


def test_a_missing_baseline_fails_the_originals_rule() -> None:
    assert comparison.compat_rule(None, 100.0) == ("fail", None)


def test_identical_values_are_no_difference() -> None:
    assert one([1.0, 1.0], [1.0, 1.0]).verdict is Verdict.NO_DIFFERENCE


def test_the_ratio_of_percentiles_takes_the_widest_ends() -> None:
    assert comparison.percentile_ratio((1.0, 2.0), (2.0, 4.0)) == (1.0, 4.0)


def test_the_geometric_mean() -> None:
    assert comparison.geometric_mean([0.5, 2.0]) == pytest.approx(1.0)

"""Unusual iterations: labelled on both sides, never left out."""

from __future__ import annotations

import numpy as np
import pytest

from harness import outliers
from tests.make_trials import MS, make_process, make_trial


def latencies(*odd: int) -> list[int]:
    return [75 * MS + step * 10_000 for step in range(30)] + list(odd)


def test_fences_are_those_of_tukey_on_both_sides() -> None:
    values = np.array([*range(100, 121), 145.0, 160.0, 60.0], dtype=float)
    severe, mild = outliers.beyond(values)
    assert values[severe].tolist() == [160.0, 60.0]
    assert values[mild].tolist() == [145.0]


@pytest.mark.parametrize("odd", [200 * MS, 10 * MS])
def test_a_severe_iteration_is_labelled_and_still_counted(odd: int) -> None:
    document = make_trial([make_process([90 * MS, *latencies(odd)], warmup=1)])
    (process,) = document["processes"]
    assert process["labels"] == {"first": [0], "mild": [], "severe": [31]}
    assert document["summary"]["latency.mean"]["n"] == 31


def test_warm_up_is_no_outlier() -> None:
    document = make_trial([make_process([900 * MS, *latencies()], warmup=1)])
    assert document["processes"][0]["labels"]["severe"] == []


def test_many_severe_iterations_are_a_warning_with_their_weight() -> None:
    document = make_trial([make_process(latencies(*[150 * MS] * 3))])
    (found,) = [one for one in document["warnings"] if one["code"] == "outliers"]
    assert "9.1% of the iterations" in found["seen"]
    assert "-8.3%" in found["why"]


def test_too_few_values_have_no_outlier() -> None:
    severe, mild = outliers.beyond(np.array([1.0, 1.0, 1.0, 9.0]))
    assert not severe.any()
    assert not mild.any()

"""Unusual iterations: labelled on both sides, never left out."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis import outliers
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


def test_causes_are_labels_where_the_system_counts_them() -> None:
    series = [75 * MS] * 10
    counted = {
        "runqueue_ns": [0, 0, 740_000, 760_000, *[0] * 6],  # 1 % of 75 ms is 750,000 ns
        "steal_ticks": [0] * 9 + [2],
        "major_faults": [1] + [0] * 9,
        "after_collection": [0, 1] + [0] * 8,
        "frequency_khz": [3_000_000] * 5 + [2_800_000, *[3_000_000] * 4],
    }
    labels = outliers.labels(make_process(series, causes=counted))
    assert labels["preempted"] == [3]
    assert labels["steal"] == [9]
    assert labels["major-fault"] == [0]
    assert labels["gc"] == [1]
    assert labels["throttled"] == [5]


def test_what_is_not_counted_has_no_label() -> None:
    assert set(outliers.labels(make_process([75 * MS] * 10))) == {"first", "mild", "severe"}


@pytest.mark.parametrize(("waiting", "letter"), [(0, None), (2, "C"), (8, "D")])
def test_waiting_for_a_cpu_limits_the_grade(waiting: int, letter: str | None) -> None:
    causes = {"runqueue_ns": [5 * MS] * waiting + [0] * (100 - waiting)}
    document = make_trial([make_process([75 * MS] * 100, causes=causes)])
    reasons = document["grade"]["latency.mean"]["reasons"]
    assert [one["letter"] for one in reasons if one["code"] == "preempted"] == (
        [letter] if letter else []
    )


def test_the_warning_names_what_was_counted_around_severe_iterations() -> None:
    series = latencies(200 * MS, 210 * MS, 220 * MS)
    causes = {"steal_ticks": [0] * 30 + [1, 1, 0], "after_collection": [0] * 32 + [1]}
    document = make_trial([make_process(series, causes=causes)])
    (found,) = [one for one in document["warnings"] if one["code"] == "outliers"]
    assert found["seen"].endswith("; of 3: 2 steal, 1 gc")

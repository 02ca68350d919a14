"""Warnings and grades: each provoked, and silent when there is no cause."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from tests.make_trials import MS, STATE, make_process, make_trial


def good_processes(count: int = 10) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [
        make_process([int(value) for value in rng.normal(75, 0.2, 50) * MS], index=i + 1)
        for i in range(count)
    ]


def codes(document: dict[str, Any]) -> set[str]:
    return {one["code"] for one in document["warnings"]}


def grade(document: dict[str, Any], metric: str = "latency.mean") -> tuple[str, set[str]]:
    found = document["grade"][metric]
    return found["letter"], {one["code"] for one in found["reasons"]}


def with_state(**after: Any) -> dict[str, Any]:
    first: dict[str, Any] = {"cpu": {"governor": "performance"}, "state": dict(STATE)}
    last = copy.deepcopy(first)
    last["state"].update(after)
    return {"before": first, "after": last, "changed": []}


def test_a_quiet_trial_has_no_warning_and_grade_a() -> None:
    document = make_trial(good_processes())
    assert codes(document) == set()
    assert grade(document) == ("A", set())


def test_cl_figures_and_the_largest_are_never_graded() -> None:
    document = make_trial(good_processes())
    assert not [key for key in document["grade"] if ".cl" in key or key.endswith(".max")]


@pytest.mark.parametrize(("count", "letter"), [(1, "C"), (3, "C"), (5, "B"), (9, "B"), (10, "A")])
def test_few_processes_limit_the_grade(count: int, letter: str) -> None:
    assert grade(make_trial(good_processes(count)))[0] == letter


@pytest.mark.parametrize("profile", ["compat", "quick"])
def test_profiles_for_a_first_look_end_at_c(profile: str) -> None:
    method = {**make_trial([])["method"], "profile": profile}
    assert grade(make_trial(good_processes(), method=method)) == ("C", {f"profile-{profile}"})


@pytest.mark.parametrize(("spread", "letter"), [(0.2, "A"), (1.6, "B"), (3.2, "C"), (9.0, "D")])
def test_a_wide_interval_limits_the_grade(spread: float, letter: str) -> None:
    means = np.linspace(-1, 1, 10) * spread
    processes = [make_process([int((75 + m) * MS)] * 50, index=i) for i, m in enumerate(means, 1)]
    assert grade(make_trial(processes))[0] == letter


@pytest.mark.parametrize(
    ("state", "letter", "code"),
    [
        ({"steal_seconds": 1.0, "cpu_seconds": 110.0}, "D", "steal"),
        ({"steal_seconds": 0.1, "cpu_seconds": 110.0}, "C", "steal"),
        ({"pressure": {"cpu": 12.0}}, "D", "pressure"),
        ({"pressure": {"cpu": 3.0}}, "C", "pressure"),
        ({"frequency_mhz": 2000.0}, "C", "frequency"),
        ({"throttled": 4}, "D", "throttled"),
    ],
)
def test_a_disturbed_machine_limits_the_grade(
    state: dict[str, Any], letter: str, code: str
) -> None:
    assert grade(make_trial(good_processes(), environment=with_state(**state))) == (letter, {code})


def test_uncommitted_changes_limit_the_grade() -> None:
    git = {"commit": "0", "dirty": True, "diff_sha256": "1"}
    provenance = {"command": "", "harness_version": "0", "git": git}
    assert grade(make_trial(good_processes(), provenance=provenance)) == ("C", {"dirty-tree"})


def test_iterations_cut_short_are_named_with_both_numbers() -> None:
    method = {**make_trial([])["method"], "num_iters": 100, "cut_short": True}
    document = make_trial([make_process([75 * MS] * 10)], method=method)
    (found,) = [one for one in document["warnings"] if one["code"] == "cut-short"]
    assert "100 iterations were asked for and 10 ran" in found["seen"]


def test_a_form_the_runtime_refuses_is_said_with_what_ran() -> None:
    settings = make_trial(good_processes(3))["settings"]
    assert "form-refused" not in codes(make_trial(good_processes(3), settings=settings))
    name = next(iter(settings["effective"]))
    settings["effective"][name]["fallback"] = "no kernel for Split(2)"
    document = make_trial(good_processes(3), settings=settings)
    (found,) = [one for one in document["warnings"] if one["code"] == "form-refused"]
    assert f"{name}: its compiled form is refused (no kernel for Split(2))" in found["seen"]
    assert "computed in float32" in found["why"]


def test_a_mode_that_did_not_compute_in_its_type_is_said() -> None:
    assert "precision-differs" in codes(make_trial(good_processes(3), quant="force_float16"))
    assert "precision-differs" not in codes(make_trial(good_processes(3)))


def test_a_precision_nobody_could_read_back_is_said() -> None:
    settings = copy.deepcopy(make_trial(good_processes(1))["settings"])
    settings["effective"]["decoder"]["verified"] = False
    assert "precision-unverified" in codes(make_trial(good_processes(1), settings=settings))


def test_a_scripted_clock_is_an_error() -> None:
    settings = {**make_trial(good_processes(1))["settings"], "virtual_clock": True}
    document = make_trial(good_processes(1), settings=settings)
    (found,) = [one for one in document["warnings"] if one["code"] == "virtual-clock"]
    assert found["severity"] == "error"


def change(process: dict[str, Any], column: str, value: int) -> dict[str, Any]:
    n = len(process["columns"][column])
    process["columns"][column] = [value] * n
    return process


@pytest.mark.parametrize(
    ("residual", "code"), [(3 * MS, "unattributed"), (-5, "negative-residual")]
)
def test_time_that_no_stage_owns_is_said(residual: int, code: str) -> None:
    processes = [change(one, "residual_ns", residual) for one in good_processes()]
    document = make_trial(processes)
    assert code in codes(document)
    assert grade(document)[0] == ("B" if residual > 0 else "F")


def test_a_loop_that_ran_into_its_limit_is_said() -> None:
    assert "step-limit" in codes(make_trial([make_process([75 * MS] * 4, frames=1664)]))


def test_overhead_above_its_limit_is_said() -> None:
    slow = make_process([75 * MS] * 4, overhead={"median_ns": 80_000, "p99_ns": 90_000})
    assert "overhead" in codes(make_trial([slow]))


def test_spans_near_the_clock_step_are_said() -> None:
    coarse = {"name": "c", "difference_ns": {"min": 2000, "median": 2000, "p999": 3000}}
    document = make_trial([make_process([75 * MS] * 4, clock=coarse)])
    (found,) = [one for one in document["warnings"] if one["code"] == "timer-limited"]
    assert found["seen"].startswith("encoder:")


def test_outputs_that_differ_between_processes_are_said() -> None:
    processes = [
        make_process([75 * MS] * 4, index=i, golden={"mel": {"sha256": str(i), "finite": True}})
        for i in (1, 2)
    ]
    assert "outputs-differ" in codes(make_trial(processes))


def test_a_changed_machine_is_said() -> None:
    environment = {**with_state(), "changed": ["cpu.governor"]}
    assert "environment-changed" in codes(make_trial(good_processes(1), environment=environment))

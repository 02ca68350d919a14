"""The stop rule and the plan after the pilot, as functions and from the command line."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.analysis import estimates
from harness.analysis.series import Series
from harness.config.measure import Measure, Profile
from harness.measuring import stopping
from tests.harness.commands.test_measure import harness
from tests.make_trials import MS, make_process

if TYPE_CHECKING:
    from pathlib import Path


STANDARD = {
    "profile": Profile.standard,
    "min_processes": 5,
    "max_processes": 20,
    "num_iters": 50,
    "time_limit_s": 600.0,
    "percentiles": [50.0],
}


def measure(**changes: Any) -> Measure:
    return Measure(**{**STANDARD, **changes})


def series(levels: list[float], within: float = 0.0, each: int = 50) -> Series:
    """Return processes at the given levels of 100 ms, with the given SD inside each."""
    rng = np.random.default_rng(7)
    processes = [
        make_process(
            [int(100 * MS * level * (1 + x)) for x in rng.normal(0, within, each)], index=i
        )
        for i, level in enumerate(levels, 1)
    ]
    return Series({"processes": processes, "stages": [], "method": {"warmup_iters": 0}})


@pytest.mark.parametrize(
    ("more", "done", "spent_s", "precise", "why"),
    [
        ({}, 4, 10.0, True, None),
        ({}, 5, 10.0, False, None),
        ({}, 5, 10.0, True, "precision"),
        ({}, 20, 10.0, False, "count"),
        ({}, 5, 560.0, False, "time"),
        ({}, 2, 600.0, False, "time"),
        ({"time_limit_s": None}, 5, 1e6, False, None),
    ],
)
def test_when_a_point_is_finished(
    more: dict[str, Any], done: int, spent_s: float, precise: bool, why: str | None
) -> None:
    assert stopping.should_stop(measure(**more), done=done, spent_s=spent_s, precise=precise) == why


def test_targets_are_of_the_estimates_not_of_the_samples() -> None:
    # 5 % spread inside each process, none between: the mean is known to a fraction of a percent.
    quiet = series([1.0] * 5, within=0.05, each=200)
    assert stopping.unmet(quiet, measure(), "mel_frames_valid") == []
    # The same samples at levels that differ by 3 %: five processes do not know their mean.
    loud = series([0.97, 0.98, 1.0, 1.02, 1.03], within=0.001)
    found = stopping.unmet(loud, measure(), "mel_frames_valid")
    assert found == ["mean to 1.0%", "throughput to 1.0%", "p50 to 5.0%"]


def test_a_percentile_the_samples_cannot_show_is_not_met() -> None:
    few = series([1.0] * 5, each=50)
    found = stopping.unmet(few, measure(percentiles=[99.0]), "mel_frames_valid")
    assert found == ["p99 to 5.0%"]  # 250 samples, 368 needed


def test_one_process_meets_no_target() -> None:
    assert stopping.unmet(series([1.0]), measure(), "mel_frames_valid")


def test_the_plan_balances_processes_against_iterations() -> None:
    pilot = series([0.99, 1.0, 1.01], within=0.05, each=50)
    spent_s = 3 * (9.0 + 50 * 0.1)  # nine seconds before the first iteration
    found = stopping.plan(measure(num_iters=1), pilot, spent_s)
    mean = estimates.mean(pilot.seconds("latency"))
    assert mean.within_sd
    assert mean.between_sd
    start_s = 9.0 + 50 * 0.1 - 50 * mean.value
    expected = math.sqrt(start_s / mean.value) * mean.within_sd / mean.between_sd
    assert found.iterations == math.ceil(expected)
    assert found.processes >= 5
    assert found.seconds > spent_s


def test_the_plan_never_asks_for_fewer_than_num_iters() -> None:
    pilot = series([0.8, 1.0, 1.2], within=0.001)
    assert stopping.plan(measure(), pilot, 60.0).iterations == 50


def test_the_plan_holds_enough_samples_for_the_percentile() -> None:
    pilot = series([0.8, 1.0, 1.2], within=0.5)
    found = stopping.plan(measure(percentiles=[99.0]), pilot, 30.0)
    assert found.iterations * 5 >= 368


def test_the_plan_stays_inside_the_time_limit() -> None:
    pilot = series([1.0, 1.0, 1.0], within=0.05)
    found = stopping.plan(measure(time_limit_s=60.0), pilot, 30.0)
    # Thirty seconds are left for two processes of five seconds' start each.
    assert found.iterations <= math.ceil((15.0 - 5.0) / 0.1) + 1


def test_a_standard_sweep_is_planned_and_stored(tmp_path: Path) -> None:
    done = harness(
        "backend=fake", "model=tiny", "il=16", "measure=standard", "backend.noise=0.02",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "after 3 processes:" in done.stderr
    (path,) = tmp_path.glob("outputs/*/points/*/*.json*")
    import gzip  # noqa: PLC0415

    raw = path.read_bytes()
    document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    plan = document["method"]["plan"]
    counts = [len(p["columns"]["latency_ns"]) - 3 for p in document["processes"]]
    assert counts[:3] == [50, 50, 50]
    assert set(counts[3:]) == {plan["iterations"]}
    assert document["method"]["stop_reason"] in {"precision", "count", "time"}


def test_a_named_number_is_never_replaced_by_a_plan(tmp_path: Path) -> None:
    done = harness(
        "backend=fake", "model=tiny", "il=16", "measure=standard", "num_iters=20", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("outputs/*/points/*/*.json*")
    document = json.loads(path.read_bytes())
    assert document["method"]["plan"] is None
    assert {len(p["columns"]["latency_ns"]) for p in document["processes"]} == {23}

"""Shares of a limit, from round numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness import limits, results
from tests.make_trials import MS, make_process, make_trial

GB = 1e9
FACTS: dict[str, Any] = {
    "reading": [
        {"level": "L3, 2 threads", "capacity_bytes": 1000, "bytes_per_s": 100 * GB},
        {"level": "memory, 2 threads", "capacity_bytes": None, "bytes_per_s": 20 * GB},
    ],
    "products": [
        {"backend": "onnxruntime", "compute": "float32", "macs_per_s": 50 * GB},
        {"backend": "other", "compute": "float32", "macs_per_s": 40 * GB},
        {"backend": "other", "compute": "bfloat16", "macs_per_s": 200 * GB},
    ],
}
FLOAT = {"compute": "float32", "storage": "float32", "device": "cpu"}


def work(macs: int = 0, weights: int = 0, step_macs: int = 0, step_weights: int = 0) -> Any:
    return {
        "macs": macs, "weights": weights, "step_macs": step_macs, "step_weights": step_weights
    }  # fmt: skip


def test_weights_that_fit_a_cache_are_read_from_it() -> None:
    small = limits.of_stage(FACTS, work(weights=250), FLOAT, 0)
    large = limits.of_stage(FACTS, work(weights=251), FLOAT, 0)
    assert (small["level"], large["level"]) == ("L3, 2 threads", "memory, 2 threads")
    assert small["memory_s"] == pytest.approx(1000 / (100 * GB))
    assert large["memory_s"] == pytest.approx(1004 / (20 * GB))


def test_a_loop_reads_its_weights_every_turn() -> None:
    found = limits.of_stage(FACTS, work(step_weights=1000, step_macs=2000), FLOAT, 300)
    assert found["limit_s"] == pytest.approx(300 * 4000 / (20 * GB))
    assert found["bound"] == "memory"
    assert found["arithmetic_s"] == pytest.approx(300 * 2000 / (50 * GB))


def test_the_peak_is_that_of_the_precision_that_ran() -> None:
    rounded = {**FLOAT, "storage": "float16-rounded"}
    assert limits.of_stage(FACTS, work(10**9), rounded, 0)["peak"] == "onnxruntime float32"
    half = {"compute": "bfloat16", "storage": "bfloat16"}
    found = limits.of_stage(FACTS, work(10**9, weights=500), half, 0)
    assert found["limit_s"] == pytest.approx(10**9 / (200 * GB))
    assert found["level"] == "L3, 2 threads"


@pytest.mark.parametrize(
    ("effective", "words"),
    [
        ({"compute": "float32", "storage": "unknown"}, "stored as unknown"),
        ({"compute": "int8", "storage": "int8"}, "no product in int8 was measured"),
    ],
)
def test_what_is_not_known_has_a_reason(effective: dict[str, str], words: str) -> None:
    found = limits.of_stage(FACTS, work(1), effective, 0)
    assert (found["limit_s"], found["share"]) == (None, None)
    assert words in found["reason"]


def trial(**changes: Any) -> dict[str, Any]:
    processes = [make_process([100 * MS] * 20, index=i, frames=100) for i in range(1, 4)]
    works = {
        "encoder": work(weights=1),
        "decoder": work(step_weights=25_000),
        "postnet": {"reason": "no"},
    }
    return make_trial(processes, **{"work": works, "roofline": FACTS, **changes})


def test_a_result_holds_the_share_of_each_stage_and_can_be_computed_again() -> None:
    document = trial()
    decoder = document["limits"]["decoder"]
    # 100 turns of 100 kB at 20 GB/s: 0.5 ms, of the 96.9965 ms the model took
    assert decoder["share"] == pytest.approx(0.5 / 96.9965)
    assert decoder["share_ci95"] == pytest.approx([decoder["share"]] * 2)
    assert document["limits"]["postnet"]["reason"] == "no"
    assert results.complete(document)["limits"] == document["limits"]
    assert list(limits.lines(document)) == [
        "encoder 0% (memory: L3, 2 threads)",
        "decoder 1% (memory: memory, 2 threads)",
        "postnet unknown (no)",
    ]


def test_a_host_that_was_not_measured_gives_no_shares() -> None:
    assert trial(roofline={"value": None, "reason": "not measured"})["limits"] == {}


def test_another_device_than_the_processor_has_no_limit_here() -> None:
    document = trial()
    effective = {key: {**FLOAT, "device": "mlu", "verified": True} for key in document["limits"]}
    settings = {**document["settings"], "effective": effective}
    found = trial(settings=settings)["limits"]["decoder"]
    assert "not the processor" in found["reason"]


def test_the_rate_is_that_of_the_quickest_tenth_with_an_interval() -> None:
    samples = [np.linspace(1.0, 2.0, 200), np.linspace(1.0, 2.0, 200)]
    found = limits.fastest(samples, 10.0)
    assert found["rate"] == pytest.approx(10 / 1.1, rel=0.01)
    low, high = found["ci95"]
    assert low < found["rate"] < high

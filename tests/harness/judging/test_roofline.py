"""Figures held against what a device can do at most; the original's published ones among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports
from harness.judging import precision_check
from harness.judging import roofline as bounds
from harness.machine import device_limits
from tests.full_size import counted
from tests.make_trials import make_process, make_trial

ROWS = json.loads((Path(reports.__file__).parent / "data/mlu370_s4.json").read_text())["rows"]
S4 = {"id": "0", "name": "MLU370-S4"}
STAGES = ("encoder", "decoder", "postnet")


def as_effective(quant: str, **stages: str) -> dict[str, Any]:
    """Return that every stage ran as `quant` says, or as named."""
    plain = quant.removeprefix("force_")
    return {
        name: {
            **dict.fromkeys(("compute", "storage", "activations"), stages.get(name, plain)),
            "requested": quant, "device": "mlu", "provider": "magicmind", "source": "build",
            "operators": {}, "verified": True, "reason": None,
        }
        for name in STAGES
    }  # fmt: skip


def document(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a published row as a result: ten iterations of its mean and its spread."""
    bs, frames = row["bs"], row["mel_frames_mean"]
    spread = np.array([-1.0, 1.0] * 5)  # ten values of mean 0 and standard deviation 1

    def series(mean_s: float, std_s: float = 0.0) -> list[int]:
        return [round(1e9 * (mean_s + std_s * one)) for one in spread]

    process = make_process(series(row["latency_s"], row["latency_std_s"]), bs=bs)
    others = row["encoder_s"] + row["postnet_s"]
    rest = row["latency_s"] - row["decoder_s"] - others
    columns = process["columns"]
    for name in ("encoder", "postnet"):
        columns[f"{name}_ns"] = series(row[f"{name}_s"])
    columns["decoder_ns"] = series(row["decoder_s"], row["latency_std_s"])
    process["glue"] = {name: [0] * 10 for name in STAGES}
    columns["glue_ns"] = [0] * 10
    columns["residual_ns"] = [round(1e9 * rest)] * 10
    process["work"]["decoder_steps"] = [frames + 1] * 10
    process["work"]["mel_frames_padded"] = process["work"]["mel_frames_valid"] = [frames * bs] * 10
    sizes = {"batch": bs, "text": 128, "frames": round(frames)}
    settings = {
        "requested": {"quant": row["quant"], "options": {}},
        "effective": as_effective(row["quant"]),
        "runtime": {"name": "magicmind", "version": "0.14"}, "device": S4, "options": {},
    }  # fmt: skip
    return make_trial(
        [process], quant=row["quant"], bs=bs,
        **{
            "settings": settings, "limits": device_limits.quoted(S4),
            "counts": {name: counted(name, **sizes).as_dict() for name in STAGES}, **changes,
        },
    )  # fmt: skip


def codes(found: dict[str, Any]) -> list[str]:
    return [one["code"] for one in found["warnings"]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['quant']}-{row['bs']}")
def test_the_published_float32_is_beyond_its_bound_and_float16_is_not(row: dict[str, Any]) -> None:
    found = document(row)
    decoder = found["roofline"]["decoder"]
    assert decoder["limit"] == bounds.MEMORY
    if row["quant"] == "force_float16":
        assert 0.9 < decoder["share"] < 1
        assert "beyond-bound" not in codes(found)
        return
    assert decoder["share"] > 1.8
    said, *others = (one for one in found["warnings"] if one["code"] == "beyond-bound")
    # At batch 8 the postnet too: 42 billion operations in 1.6 ms.
    assert [one["seen"].split(":")[0] for one in others] == ["postnet"] * (row["bs"] == 8)
    assert said["seen"].startswith(f"decoder: {decoder['share']:.0%} of what MLU370-S4 can do")
    assert "in float16 it would be possible: the build may have ignored the mode" in said["why"]


@pytest.mark.parametrize("bs", [1, 4, 8])
def test_the_published_precisions_coincide_and_the_odd_one_is_named(bs: int) -> None:
    pair = [document(row) for row in ROWS if row["bs"] == bs]
    (found,) = precision_check.warnings(one for one in map(precision_check.mode, pair) if one)
    said, names = found
    assert said.code == "modes-coincide"
    assert set(names) == {one["point"]["name"] for one in pair}
    assert "the decoder of force_float32 is beyond the bound of its device" in said.why


def test_other_batches_are_not_held_against_each_other() -> None:
    documents = [document(row) for row in ROWS if row["quant"] == "force_float32"]
    assert not list(
        precision_check.warnings(one for one in map(precision_check.mode, documents) if one)
    )


def pair(first_ms: float, second_ms: float, second: str) -> list[precision_check.Mode]:
    """Return two modes of one point; the second ran as named."""
    made = []
    for quant, mean, ran in (
        ("force_float32", first_ms, "float32"),
        ("force_float16", second_ms, second),
    ):
        spread = [-0.3, 0.1, 0.2, -0.1, 0.1]
        processes = [
            make_process([round(1e6 * (mean + one))] * 40, index=n) for n, one in enumerate(spread)
        ]
        effective = as_effective(quant)
        for one in effective.values():
            one.update(compute=ran.split()[0], storage=ran.split()[-1], activations=ran.split()[-1])
        settings = {**make_trial([])["settings"], "effective": effective}
        made.append(precision_check.mode(make_trial(processes, quant=quant, settings=settings)))
    return [one for one in made if one]


def test_two_modes_that_ran_alike_are_one_measurement() -> None:
    ((said, _),) = precision_check.warnings(pair(900, 900.05, "float32"))
    assert said.why == "both ran as float32: one thing, measured twice"


def test_rounded_values_on_the_same_kernels_are_named() -> None:
    ((said, _),) = precision_check.warnings(pair(900, 900.05, "float32 float16-rounded"))
    assert said.why.startswith("both compute in float32; they differ in how values are rounded")


def test_other_kernels_in_the_same_time_are_named() -> None:
    ((said, _),) = precision_check.warnings(pair(900, 900.05, "float16"))
    assert "the build may have ignored a mode" in said.why


@pytest.mark.parametrize("second_ms", [880, 901])
def test_modes_that_differ_say_nothing(second_ms: float) -> None:
    """The second is outside of the first one's interval, if by less than matters."""
    assert not list(precision_check.warnings(pair(900, second_ms, "float16")))


@pytest.mark.parametrize(
    ("name", "bandwidth"),
    [("MLU370-S4", 307.2e9), ("Cambricon MLU370 X8", 307.2e9), ("MLU290-M5", 1228e9)],
)
def test_devices_are_known_by_their_products_name(name: str, bandwidth: float) -> None:
    known = device_limits.published(name)
    assert known is not None
    assert known.bandwidth_bytes_s == bandwidth
    assert known.sources["bandwidth"]


def test_an_unknown_device_has_no_share_and_says_so() -> None:
    found = document(ROWS[0], limits=device_limits.quoted({"name": "a processor"}))
    assert found["roofline"]["decoder"] == {
        "share": None, "reason": "no limits are published or measured here for a processor",
    }  # fmt: skip
    assert "beyond-bound" not in codes(found)


def test_what_could_not_be_counted_has_no_share() -> None:
    found = document(ROWS[0], counts={"encoder": {"reason": "no shape"}})
    assert found["roofline"]["encoder"] == {"share": None, "reason": "no shape"}
    assert found["roofline"]["postnet"] == {"share": None, "reason": "nothing was counted"}


def test_a_precision_of_several_types_has_no_bound() -> None:
    row = ROWS[0]
    settings = document(row)["settings"]
    settings["effective"] = as_effective(row["quant"], decoder="unknown")
    found = document(row, settings=settings)
    assert found["roofline"]["decoder"]["reason"] == "the precision that ran is not known"
    assert found["roofline"]["encoder"]["share"] > 0


def test_arithmetic_may_be_the_limit() -> None:
    counts = counted("waveglow", batch=1, frames=600)
    effective = dict.fromkeys(("compute", "storage", "activations"), "float16")
    found = bounds.bound(counts, 0, device_limits.PUBLISHED["MLU370-S4"].as_dict(), effective)
    assert found is not None
    assert found.limit == bounds.ARITHMETIC
    assert found.seconds == pytest.approx(2 * 600 * 256 * 10_154_426 / 73.7e12)


HOST = {
    "started": "2026-11-25T03:00:00+00:00",
    "reading": [
        {"level": "L3, 2 threads", "capacity_bytes": 32 << 20, "bytes_per_s": 100e9},
        {"level": "memory, 2 threads", "capacity_bytes": None, "bytes_per_s": 40e9},
    ],
    "products": [
        {"backend": "onnxruntime", "quant": "force_float32", "compute": "float32",
         "macs_per_s": 50e9},
        {"backend": "onnxruntime", "quant": "qint8_mixed_float32", "compute": "float32+int8",
         "macs_per_s": 200e9},
    ],
}  # fmt: skip


def test_a_host_s_own_limits_know_where_the_weights_lie() -> None:
    limits = device_limits.quoted({"name": "a processor", "kind": "cpu"}, HOST)
    assert limits["operations_s"]["int8"] == 400e9
    assert bounds.bandwidth(limits, 18e6) == 100e9
    assert bounds.bandwidth(limits, 72e6) == 40e9
    counts = counted("decoder", batch=1, text=128, frames=608)
    assert counts.step
    floats = dict.fromkeys(("compute", "storage", "activations"), "float32")
    found = bounds.bound(counts, 608, limits, floats)
    assert found
    assert found.limit == bounds.MEMORY
    # Every step reads the weights again, and they are too many for the cache.
    assert found.seconds >= 608 * counts.step.weights * 4 / 40e9
    mixed = {"compute": "float32+int8", "storage": "int8", "activations": "float32"}
    lighter = bounds.bound(counts, 608, limits, mixed)
    assert lighter
    assert lighter.seconds < found.seconds / 4


SURE: dict[str, Any] = {
    "started": HOST["started"],
    "reading": [
        {"level": "memory, 2 threads", "capacity_bytes": None, "bytes_per_s": 4e9,
         "ci95": [2e9, 5e9]},
    ],
    "products": [
        {"backend": "openvino", "quant": "force_float32", "compute": "float32",
         "macs_per_s": 50e12, "ci95": [40e12, 60e12]},
        {"backend": "onnxruntime", "quant": "force_float32", "compute": "float32",
         "macs_per_s": 45e12, "ci95": [1e12, 90e12]},
    ],
}  # fmt: skip


def test_a_measured_limit_is_quoted_with_its_interval() -> None:
    limits = device_limits.quoted({"kind": "cpu"}, SURE)
    assert limits["levels"][0]["ci95"] == [2e9, 5e9]
    assert limits["operations_s"] == {"float32": 100e12}
    assert limits["operations_ci95"] == {"float32": [80e12, 120e12]}
    assert device_limits.quoted({"kind": "cpu"}, HOST)["operations_ci95"] == {
        "float32": None,
        "int8": None,
    }


def test_the_share_s_interval_holds_the_limit_s() -> None:
    row = ROWS[0]
    limits = device_limits.quoted({"kind": "cpu"}, SURE)
    exact = document(row, limits=device_limits.quoted({"kind": "cpu"}, without_intervals(SURE)))
    found = document(row, limits=limits)["roofline"]["decoder"]
    alone = exact["roofline"]["decoder"]
    assert "bound_ci95" not in alone
    assert found["limit"] == bounds.MEMORY
    assert found["share"] == alone["share"]
    assert found["bound_ci95"] == pytest.approx([found["bound_s"] * 4 / 5, found["bound_s"] * 2])
    low, high = alone["share_ci95"]
    assert found["share_ci95"] == pytest.approx([low * 4 / 5, high * 2])


def test_limits_written_before_they_had_intervals_give_the_same_shares() -> None:
    row = ROWS[0]
    limits = device_limits.quoted({"kind": "cpu"}, without_intervals(SURE))
    old = {**limits, "levels": [{k: v for k, v in one.items() if k != "ci95"}
                                for one in limits["levels"]]}  # fmt: skip
    del old["operations_ci95"]
    assert document(row, limits=old)["roofline"] == document(row, limits=limits)["roofline"]


def test_a_share_is_beyond_its_bound_only_where_the_quickest_limit_would_be_too() -> None:
    """The decoder would need 1.5 times the limit: the interval decides what that means."""
    row = ROWS[0]
    counts = counted("decoder", batch=row["bs"], text=128, frames=round(row["mel_frames_mean"]))
    slow = bounds.bound(
        counts,
        row["mel_frames_mean"] + 1,
        device_limits.quoted({"kind": "cpu"}, SURE),
        as_effective(row["quant"])["decoder"],
    )
    assert slow
    rate = 4e9 * slow.seconds / row["decoder_s"] / 1.5
    for quickest, warned in ((1.2 * rate, True), (4 * rate, False)):
        one = {**SURE["reading"][0], "bytes_per_s": rate, "ci95": [rate / 2, quickest]}
        found = document(
            row, limits=device_limits.quoted({"kind": "cpu"}, {**SURE, "reading": [one]})
        )
        assert found["roofline"]["decoder"]["share"] > 1
        seen = [one["seen"] for one in found["warnings"] if one["code"] == "beyond-bound"]
        assert any(line.startswith("decoder") for line in seen) is warned


def without_intervals(roofline: dict[str, Any]) -> dict[str, Any]:
    """Return measured limits of one process."""
    bare = {
        key: [{**one, "ci95": None} for one in roofline[key]] for key in ("reading", "products")
    }
    return {**roofline, **bare}


def test_a_host_that_was_not_measured_says_how() -> None:
    limits = device_limits.quoted(
        {"name": "a processor", "kind": "cpu"}, {"value": None, "reason": "no"}
    )
    assert limits == {"reason": "no"}

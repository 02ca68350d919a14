"""How much a stage has to do, and its share of what the machine can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from harness import results, verify
from harness.models import work
from harness.models.graphs import tacotron2, waveglow
from harness.models.sizes import FULL, TINY
from harness.models.weights import SyntheticWeights
from tests.make_trials import MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from pathlib import Path

ONE = {
    "utterances": 1.0, "characters_padded": 1.0, "mel_frames_padded": 1.0, "decoder_steps": 1.0,
}  # fmt: skip
LIMITS: dict[str, Any] = {
    "started": "2026-11-24T08:00:00+00:00", "age_days": 1.0, "same_kernel": True,
    "bandwidth": [
        {"working_set_bytes": 1 << 20, "threads": 1, "value": 100e9},
        {"working_set_bytes": 1 << 26, "threads": 1, "value": 15e9},
        {"working_set_bytes": 1 << 26, "threads": 2, "value": 25e9},
    ],
    "arithmetic": [
        {"precision": "float32", "backend": "one", "threads": 2, "value": 100e9},
        {"precision": "float32", "backend": "other", "threads": 2, "value": 200e9},
    ],
}  # fmt: skip


def matrices(graph: onnx.GraphProto) -> int:
    """Count the elements of every weight of two axes or more, those of Loop bodies included."""
    total = 0
    for tensor in graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        bias = tensor.name.endswith((".B", ".bias"))
        if array.dtype == np.float32 and array.ndim > 1 and not bias and array.size > 1:
            total += array.size
    return total


@pytest.mark.parametrize("name", ["encoder", "decoder_iter", "postnet", "waveglow"])
def test_the_weights_counted_are_those_of_the_graph(name: str) -> None:
    graphs: dict[str, Any] = {
        "encoder": tacotron2.encoder, "decoder_iter": tacotron2.decoder_iter,
        "postnet": tacotron2.postnet, "waveglow": waveglow.waveglow,
    }  # fmt: skip
    found = matrices(graphs[name](SyntheticWeights(TINY, 1), TINY).graph())
    if name == "encoder":
        found -= TINY.symbols * TINY.encoder  # the embedding is looked up, not multiplied
    parts = work.stage(name.removesuffix("_iter"), TINY, ONE)
    assert sum(one.weights for one in parts) == found


def test_a_full_decoder_step_reads_seventy_megabytes() -> None:
    (step,) = work.stage("decoder", FULL, ONE)
    # 4096 (256 + 512 + 1024) + 4096 (1024 + 512 + 1024) and the small layers
    assert step.weights * 4 == pytest.approx(72e6, rel=0.02)
    assert step.operations == 2 * (step.weights + FULL.encoder)


def test_weights_are_read_once_a_step_and_rows_share_them() -> None:
    (one,) = work.stage("decoder", FULL, {**ONE, "decoder_steps": 608})
    (eight,) = work.stage(
        "decoder", FULL, {**ONE, "decoder_steps": 608, "utterances": 8, "characters_padded": 8}
    )
    assert one.reads == eight.reads == 608
    assert eight.operations == 8 * one.operations


def test_the_recurrent_weights_of_the_encoder_are_read_for_every_symbol() -> None:
    once, recurrent = work.stage("encoder", FULL, {**ONE, "utterances": 4, "characters_padded": 40})
    assert (once.reads, recurrent.reads) == (1, 10)


def trial(**changes: Any) -> dict[str, Any]:
    return make_trial([make_process([1000 * MS] * 8, index=i) for i in (1, 2, 3)], **changes)


def test_a_share_is_the_least_time_over_the_time_taken() -> None:
    found = trial(limits=LIMITS)["roofline"]
    assert set(found) == {"encoder", "decoder", "postnet"}
    (step,) = work.stage("decoder", FULL, {**ONE, "characters_padded": 128, "decoder_steps": 608})
    reading_s = 608 * step.weights * 4 / 25e9  # 72 MB: the set of 64 MiB, the faster of two
    computing_s = step.operations / 200e9  # the faster kernel
    assert reading_s > computing_s
    decoder = found["decoder"]
    assert decoder["limit"] == "bandwidth"
    assert decoder["work"]["reading_s"] == pytest.approx(reading_s)
    assert decoder["work"]["computing_s"] == pytest.approx(computing_s)
    taken_s = 1.0 - 3e-3 - 3e-6 - 500e-9
    assert decoder["share"] == pytest.approx(reading_s / taken_s)
    assert decoder["reason"] is None
    # 608 frames through 4.3 M weights in 2 ms: arithmetic, and here impossible.
    assert found["postnet"]["limit"] == "arithmetic"
    assert found["postnet"]["share"] > 1


def test_half_the_width_is_half_the_reading() -> None:
    whole = trial(limits=LIMITS)
    effective = {
        name: {**one, "compute": "bfloat16"} for name, one in whole["settings"]["effective"].items()
    }
    half = trial(
        limits={**LIMITS, "arithmetic": [{**LIMITS["arithmetic"][0], "precision": "bfloat16"}]},
        settings={**whole["settings"], "effective": effective},
    )
    both = [one["roofline"]["decoder"]["work"]["read_bytes"] for one in (whole, half)]
    assert both[0] == 2 * both[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "python -m harness roofline"),
        ({"limits": {"value": None, "reason": "because"}}, "because"),
        ({"limits": {**LIMITS, "arithmetic": []}}, "no kernel that computes in float32"),
    ],
)
def test_what_cannot_be_said_has_its_reason(changes: dict[str, Any], reason: str) -> None:
    for one in trial(**changes)["roofline"].values():
        assert (one["share"], one["limit"], one["work"]) == (None, None, None)
        assert reason in one["reason"]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("compute", "float32+int8", "float32+int8, which no single limit holds for"),
        ("verified", False, "not verified"),
        ("device", "mlu", "ran on mlu"),
    ],
)
def test_a_stage_of_which_too_little_is_known_has_no_share(
    field: str, value: Any, reason: str
) -> None:
    settings = trial()["settings"]
    decoder = {**settings["effective"]["decoder"], field: value}
    effective = {**settings["effective"], "decoder": decoder}
    found = trial(limits=LIMITS, settings={**settings, "effective": effective})["roofline"]
    assert reason in found["decoder"]["reason"]
    assert found["encoder"]["share"] is not None


def test_models_of_unknown_sizes_have_no_share() -> None:
    point = trial()["point"]
    point = {**point, "config": {**point["config"], "model": None}}
    assert "user's own" in trial(limits=LIMITS, point=point)["roofline"]["encoder"]["reason"]


def test_a_trial_without_iterations_has_none() -> None:
    assert make_trial([], state="failed", reason="it broke", limits=LIMITS)["roofline"] == {}


def test_verify_computes_every_share_again(tmp_path: Path) -> None:
    sound = trial(limits=LIMITS)
    write_sweep(tmp_path / "sound", [sound])
    (path,) = verify.files(tmp_path / "sound")
    assert verify.problems(path) == []
    bent = {key: value for key, value in sound.items() if key != "content_sha256"}
    decoder = {**sound["roofline"]["decoder"], "share": 0.99}
    bent["roofline"] = {**sound["roofline"], "decoder": decoder}
    bent["content_sha256"] = results.content_hash(bent)
    write_sweep(tmp_path / "bent", [bent])
    (path,) = verify.files(tmp_path / "bent")
    (line,) = verify.problems(path)
    assert "roofline.decoder.share: stored 0.99, computed again" in line

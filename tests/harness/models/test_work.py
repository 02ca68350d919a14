"""Counts of work read from graphs, against the published formulas and against other writers' files.

The figures of the full-size network are those of its layers' formulas: multiply-accumulates per
symbol, step, frame and audio sample, and the elements of the weights each touches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest

from harness.models import tacotron2, work
from harness.models.work import CountError, Counts, Work
from tests.full_size import counted

if TYPE_CHECKING:
    from pathlib import Path


STEP_WEIGHTS = 18_189_969
"""Elements a decoder step touches: prenet, two LSTM cells with both biases, attention, gate."""


@pytest.mark.parametrize(("text", "macs"), [(64, 18_597_376), (128, 19_027_456), (256, 19_887_616)])
@pytest.mark.parametrize("batch", [1, 4, 8])
def test_a_decoder_step_counts_as_its_formula_says(text: int, macs: int, batch: int) -> None:
    step = counted("decoder", batch=batch, text=text).step
    assert step is not None
    assert step.macs == batch * macs
    assert step.weights == STEP_WEIGHTS


@pytest.mark.parametrize(("batch", "megabytes"), [(1, 73.13), (4, 74.24), (8, 75.71)])
def test_a_step_moves_its_weights_the_memory_and_the_states(batch: int, megabytes: float) -> None:
    step = counted("decoder", batch=batch, text=128).step
    assert step is not None
    assert step.bytes() / 1e6 == pytest.approx(megabytes, rel=3e-4)
    assert step.bytes(weight=2, activation=2) == pytest.approx(step.bytes() / 2, rel=1e-4)


def test_the_other_stages_count_as_their_formulas_say() -> None:
    encoder = counted("encoder", batch=2, text=128)
    assert encoder.step is None
    assert encoder.once.macs == 2 * 128 * 5_570_560
    # Encoder and memory layer, table of symbols; the batch norms are folded into what they norm.
    assert encoder.once.weights == 5_513_728 + 65_536 + 148 * 512 - 3 * 2 * 512
    few = counted("encoder", batch=1, text=16)
    assert encoder.once.weights - few.once.weights == (148 - 16) * 512  # only rows looked up
    postnet = counted("postnet", batch=3, frames=600)
    assert postnet.once.macs == 3 * 600 * 4_341_760
    assert postnet.once.activations == 2 * 3 * 600 * 80
    waveglow = counted("waveglow", batch=1, frames=600)
    assert waveglow.once.macs == 600 * 256 * 10_154_426
    assert waveglow.once.weights == 87_731_816
    assert waveglow.once.activations == 600 * (80 + 256 + 256)


def test_steps_are_added_up() -> None:
    found = Counts(Work(macs=5, weights=1), Work(macs=10, activations=2, other_bytes=1))
    assert found.total(3) == Work(35, 1, 6, 3)
    assert found.total(2.5) == Work(30, 1, 5, 2)
    assert Counts.of(found.as_dict()) == found


def test_the_tiny_files_count_by_path(tiny: Path) -> None:
    stages = {stage.name: stage for stage in tacotron2.build("tiny").stages}
    sizes = {"batch": 2, "text": 16, "frames": 40}
    found = {
        name: work.count(tiny / stage.model, stage, sizes, "x") for name, stage in stages.items()
    }
    assert found["decoder"].step is not None
    assert found["waveglow"].once.macs > found["postnet"].once.macs > 0
    single = work.count(tiny / "decoder.onnx", stages["decoder"], {**sizes, "batch": 1}, "x")
    assert single.step is not None
    assert found["decoder"].step.macs == 2 * single.step.macs


def test_a_file_that_cannot_be_counted_says_why(tiny: Path, tmp_path: Path) -> None:
    stage = {stage.name: stage for stage in tacotron2.build("tiny").stages}["postnet"]
    broken = tmp_path / "postnet.onnx"
    broken.write_bytes((tiny / "postnet.onnx").read_bytes()[:500])
    with pytest.raises(CountError, match="cannot be read as an ONNX model"):
        work.count(broken, stage, {"batch": 1, "frames": 32})
    model = onnx.load(tiny / "postnet.onnx")
    model.graph.node[0].input[0] = "elsewhere"
    onnx.save(model, broken)
    with pytest.raises(CountError, match="the shape of 'elsewhere' is not known"):
        work.count(broken, stage, {"batch": 1, "frames": 32}, "changed")

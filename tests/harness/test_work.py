"""Arithmetic counted in a graph, against the definitions of its operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from harness.models import tacotron2, work
from harness.models.graphs.builder import GraphBuilder
from harness.models.pipeline import TensorSpec
from harness.models.sizes import TINY
from harness.models.synthetic import write

if TYPE_CHECKING:
    from pathlib import Path

X = TensorSpec("x", ("batch", "width"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write(folder, "tiny", 1, lambda _: None)
    return folder


def saved(folder: Path, b: GraphBuilder) -> Path:
    path = folder / "model.onnx"
    onnx.save(b.model({}), path)
    return path


def of_stage(folder: Path, name: str, **sizes: int) -> work.Work:
    stage = next(one for one in tacotron2.build("tiny").stages if one.name == name)
    return work.count(folder / stage.model, stage.inputs, sizes)


def test_a_product_counts_rows_times_weights_and_a_shared_weight_once(tmp_path: Path) -> None:
    b = GraphBuilder("two")
    b.input("x", "float32", ("n", 7))
    weight = b.weight("w", np.zeros((7, 7), np.float32))
    b.op("MatMul", b.op("MatMul", "x", weight), weight, out="y")
    b.output("y", "float32", ("n", 7))
    sizes = {"batch": 3, "width": 7}
    assert work.count(saved(tmp_path, b), [X], sizes) == work.Work(2 * 3 * 49, 49)


def test_a_gather_is_no_arithmetic(tmp_path: Path) -> None:
    b = GraphBuilder("lookup")
    b.input("x", "int64", ("n", "m"))
    b.op("Gather", b.weight("w", np.zeros((9, 4), np.float32)), "x", out="y")
    b.output("y", "float32", ("n", "m", 4))
    assert work.count(saved(tmp_path, b), [X], {"batch": 2, "width": 2}) == work.Work(0, 0)


def test_a_loop_is_counted_for_one_turn(tiny: Path) -> None:
    s, text = TINY, 10
    found = of_stage(tiny, "decoder", batch=2, text=text)
    cells = 4 * s.rnn * (s.prenet + s.encoder + s.rnn) + 4 * s.rnn * (s.rnn + s.encoder + s.rnn)
    dense = s.mel * s.prenet + s.prenet**2 + s.rnn * s.attention + (s.rnn + s.encoder) * (s.mel + 1)
    location = 2 * s.location_filters * s.location_kernel + s.location_filters * s.attention
    per_symbol = location + s.attention + s.encoder  # the last is the sum of the memory
    assert (found.macs, found.weights) == (0, 0)
    assert found.step_macs == 2 * (cells + dense + text * per_symbol)
    assert found.step_weights == cells + dense + location + s.attention + 2 * 8 * s.rnn


def test_convolutions_count_every_position(tiny: Path) -> None:
    s = TINY
    found = of_stage(tiny, "postnet", batch=3, frames=11)
    inner = (s.postnet_convs - 2) * s.postnet**2
    weights = s.postnet_kernel * (2 * s.mel * s.postnet + inner)
    assert found == work.Work(3 * 11 * weights, weights)


def test_work_grows_with_the_batch_and_weights_do_not(tiny: Path) -> None:
    one, four = (of_stage(tiny, "waveglow", batch=n, frames=5) for n in (1, 4))
    assert (four.macs, four.weights) == (4 * one.macs, one.weights)


def test_what_cannot_be_counted_says_why(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(work.UncountableError, match="size of frames"):
        of_stage(tiny, "postnet", batch=1)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(work.UncountableError, match=r"^broken\.onnx: "):
        work.count(broken, [X], {"batch": 1, "width": 1})
    with pytest.raises(work.UncountableError, match="no input x"):
        work.count(tiny / "postnet.onnx", [X], {"batch": 1, "width": 1})

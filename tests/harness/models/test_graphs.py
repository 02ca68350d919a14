"""The ONNX files: valid, in the exporter's contract, dynamic everywhere, and the same twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest

from harness.models import synthetic, tacotron2
from harness.models.graphs import tacotron2 as graphs
from harness.models.graphs.tacotron2 import DecodeLength, DropoutMask
from harness.models.sizes import TINY
from harness.models.weights import SyntheticWeights

if TYPE_CHECKING:
    from pathlib import Path


FILES = ("encoder", "decoder", "decoder_iter", "postnet", "waveglow")
STAGES = {stage.name: stage for stage in tacotron2.build("tiny").stages}
STEP_INPUTS = (
    "decoder_input", "attention_hidden", "attention_cell", "decoder_hidden", "decoder_cell",
    "attention_weights", "attention_weights_cum", "attention_context", "memory",
    "processed_memory", "mask",
)  # fmt: skip
STEP_OUTPUTS = (
    "decoder_output", "gate_prediction", "out_attention_hidden", "out_attention_cell",
    "out_decoder_hidden", "out_decoder_cell", "out_attention_weights",
    "out_attention_weights_cum", "out_attention_context",
)  # fmt: skip


def run(path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def encoded(folder: Path, lengths: list[int]) -> tuple[dict[str, Any], Any]:
    longest, rng = max(lengths), np.random.default_rng(3)
    ids = np.zeros((len(lengths), longest), np.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = rng.integers(1, 148, length)
    feeds = {"sequences": ids, "sequence_lengths": np.array(lengths, np.int32)}
    mask = np.arange(longest)[None, :] >= np.array(lengths)[:, None]
    return run(folder / "encoder.onnx", feeds), mask


def zero_states(memory: Any, suffix: str) -> dict[str, Any]:
    rows, text, width = memory.shape
    sizes = {
        "decoder_input": TINY.mel, "attention_hidden": TINY.rnn, "attention_cell": TINY.rnn,
        "decoder_hidden": TINY.rnn, "decoder_cell": TINY.rnn, "attention_weights": text,
        "attention_weights_cum": text, "attention_context": width,
    }  # fmt: skip
    return {name + suffix: np.zeros((rows, size), np.float32) for name, size in sizes.items()}


def decoded(folder: Path, lengths: list[int]) -> dict[str, Any]:
    found, mask = encoded(folder, lengths)
    memory = {key: found[key] for key in ("memory", "processed_memory")}
    feeds = {**zero_states(found["memory"], "_0"), **memory, "mask": mask}
    return run(folder / "decoder.onnx", feeds)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_valid_and_its_shapes_can_be_inferred(name: str, tiny: Path) -> None:
    path = tiny / f"{name}.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert 11 <= model.opset_import[0].version <= 13


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_that_its_weights_are_synthetic(name: str, tiny: Path) -> None:
    about = {one.key: one.value for one in onnx.load(tiny / f"{name}.onnx").metadata_props}
    assert about["harness.weights"] == "synthetic"
    assert about["harness.label"] == "synthetic weights (seed 1234)"


def described(values: Any) -> list[tuple[str, str, int]]:
    return [
        (
            value.name,
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            len(value.type.tensor_type.shape.dim),
        )
        for value in values
    ]


@pytest.mark.parametrize("name", STAGES)
def test_names_types_ranks_and_order_are_the_contract(name: str, tiny: Path) -> None:
    graph, stage = onnx.load(tiny / f"{name}.onnx").graph, STAGES[name]
    expected = [(spec.name, spec.dtype, len(spec.dims)) for spec in stage.inputs]
    assert described(graph.input) == expected
    outputs = {spec.name: (spec.name, spec.dtype, len(spec.dims)) for spec in stage.outputs}
    assert [one for one in described(graph.output) if one[0] in outputs] == list(outputs.values())


def test_the_single_step_has_the_names_without_suffix(tiny: Path) -> None:
    graph = onnx.load(tiny / "decoder_iter.onnx").graph
    assert tuple(value.name for value in graph.input) == STEP_INPUTS
    assert tuple(value.name for value in graph.output) == STEP_OUTPUTS


@pytest.mark.parametrize("name", FILES)
def test_the_batch_is_dynamic_everywhere(name: str, tiny: Path) -> None:
    graph = onnx.load(tiny / f"{name}.onnx").graph
    for value in [*graph.input, *graph.output]:
        first = value.type.tensor_type.shape.dim[0]
        assert first.dim_param, value.name


def test_the_loops_weights_stand_inside_its_body(tiny: Path) -> None:
    graph = onnx.load(tiny / "decoder.onnx").graph
    (loop,) = [node for node in graph.node if node.op_type == "Loop"]
    (body,) = [one.g for one in loop.attribute if one.name == "body"]
    inside = sum(int(np.prod(one.dims)) for one in body.initializer)
    outside = sum(int(np.prod(one.dims)) for one in graph.initializer)
    assert outside < 100
    assert inside > 10_000
    assert loop.input[0], "the Loop has a trip limit"


@pytest.mark.parametrize("lengths", [[4], [64], [4, 64, 17]])
def test_the_whole_chain_runs_at_any_batch_and_length(lengths: list[int], tiny: Path) -> None:
    found = decoded(tiny, lengths)
    frames = found["mel_outputs"].shape[2]
    mel = run(tiny / "postnet.onnx", {"mel_outputs": found["mel_outputs"]})["mel_outputs_postnet"]
    noise = np.random.default_rng(1).standard_normal((len(lengths), 8, 32 * frames, 1))
    feeds = {"mel": mel[..., None], "z": noise.astype(np.float32)}
    audio = run(tiny / "waveglow.onnx", feeds)["audio"]
    assert audio.shape == (len(lengths), 256 * frames)
    assert np.isfinite(audio).all()


@pytest.mark.parametrize(("length", "frames"), [(4, 32), (6, 32), (7, 33), (64, 304), (128, 608)])
def test_the_text_sets_the_number_of_frames(length: int, frames: int, tiny: Path) -> None:
    found = decoded(tiny, [length])
    assert found["mel_outputs"].shape[2] == frames
    assert found["mel_lengths_t"].ravel().tolist() == [frames]


def test_the_trip_limit_ends_a_loop_whose_gate_never_fires(tmp_path: Path, tiny: Path) -> None:
    weights = SyntheticWeights(TINY, 1234)
    graph = graphs.decoder(weights, TINY, DecodeLength(limit=40, from_text=False))
    onnx.save(graph.model({}), tmp_path / "decoder.onnx")
    (tmp_path / "encoder.onnx").write_bytes((tiny / "encoder.onnx").read_bytes())
    assert decoded(tmp_path, [64])["mel_outputs"].shape[2] == 40


def test_the_loop_is_the_single_step_repeated(tmp_path: Path, tiny: Path) -> None:
    weights, steps, rows = SyntheticWeights(TINY, 1234), 32, 2
    length = DecodeLength(limit=steps, from_text=False)
    onnx.save(graphs.decoder(weights, TINY, length, DropoutMask.INPUT).model({}), tmp_path / "loop")
    onnx.save(graphs.decoder_iter(weights, TINY, DropoutMask.INPUT).model({}), tmp_path / "step")
    found, mask = encoded(tiny, [16, 9])
    shared = {key: found[key] for key in ("memory", "processed_memory")} | {"mask": mask}
    keep = np.random.default_rng(5).integers(0, 2, (steps, 2, rows, TINY.prenet))
    keep = keep.astype(np.float32)
    looped = run(
        tmp_path / "loop", {**zero_states(found["memory"], "_0"), **shared, "prenet_keep": keep}
    )
    state, frames = zero_states(found["memory"], ""), []
    for step in range(steps):
        made = run(tmp_path / "step", {**state, **shared, "prenet_keep": keep[step]})
        frames.append(made["decoder_output"])
        state = {
            name: made["decoder_output" if name == "decoder_input" else f"out_{name}"]
            for name in state
        }
    stepped = np.stack(frames, axis=2)
    np.testing.assert_allclose(looped["mel_outputs"], stepped, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_others(tmp_path: Path, tiny: Path) -> None:
    for seed in (1234, 7):
        folder = tmp_path / str(seed)
        folder.mkdir()
        synthetic.write(folder, "tiny", seed, lambda _: None)
    for name in FILES:
        first = (tiny / f"{name}.onnx").read_bytes()
        assert (tmp_path / "1234" / f"{name}.onnx").read_bytes() == first
        assert (tmp_path / "7" / f"{name}.onnx").read_bytes() != first

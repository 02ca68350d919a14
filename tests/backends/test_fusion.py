"""The forms the onnxruntime backend makes of a model: equal to it, or near it in int8."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter

from backends.graphs import fusion
from backends.graphs import graph as graphs
from backends.onnxruntime import convolutions, int8, stored_weights
from backends.openvino import int8 as openvino_int8
from harness.models.graphs import tacotron2, waveglow
from harness.models.graphs.tacotron2 import STATES, DecodeLength, DropoutMask
from harness.models.half import half_rounded
from harness.models.sizes import TINY
from harness.models.weights import SyntheticWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


LIMIT = 1e-4
"""Largest difference over the largest value, of a float32 form."""
NEAR = 0.05
"""Root of the mean square of the difference over that of the value, of an int8 form."""
SMALL = replace(TINY, encoder=32, rnn=32, prenet=32, wn_layers=3, wn_channels=16, upsample_groups=1)
"""The tiny sizes, with channels enough for int8."""
WEIGHTS = SyntheticWeights(SMALL, 5)
TEXT, FRAMES = 24, 40


def decoder(dropout: DropoutMask = DropoutMask.SHARED) -> onnx.ModelProto:
    length = DecodeLength(limit=1000, from_text=True)
    return tacotron2.decoder(WEIGHTS, SMALL, length, dropout).model({})


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "encoder": lambda: tacotron2.encoder(WEIGHTS, SMALL).model({}),
    "decoder": decoder,
    "decoder per row": lambda: decoder(DropoutMask.PER_ROW),
    "decoder given masks": lambda: decoder(DropoutMask.INPUT),
    "decoder_iter": lambda: tacotron2.decoder_iter(WEIGHTS, SMALL).model({}),
    "postnet": lambda: tacotron2.postnet(WEIGHTS, SMALL).model({}),
    "waveglow": lambda: waveglow.waveglow(WEIGHTS, SMALL).model({}),
}


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    onnxruntime.set_seed(11)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def feeds(model: onnx.ModelProto, rows: int) -> dict[str, Any]:
    """Random inputs; the last row of several is shorter than the others."""
    random = np.random.default_rng(2)
    sizes = {"mel_seq": FRAMES, "z_seq": 32 * FRAMES, "steps": 200, "rows": 1}
    made: dict[str, Any] = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        dims = [
            one.dim_value
            or (rows if one.dim_param == "batch_size" else sizes.get(one.dim_param, TEXT))
            for one in kind.shape.dim
        ]
        lengths = [TEXT] * (rows - 1) + [TEXT - 5 * (rows > 1)]
        if kind.elem_type == TensorProto.BOOL:
            made[value.name] = np.arange(TEXT)[None] >= np.array(lengths)[:, None]
        elif kind.elem_type == TensorProto.INT64:
            made[value.name] = random.integers(1, 148, dims)
        elif kind.elem_type == TensorProto.INT32:
            made[value.name] = np.array(lengths, np.int32)
        elif value.name == tacotron2.KEEP:
            made[value.name] = random.integers(0, 2, dims).astype(np.float32)
        elif value.name.removesuffix("_0") in STATES and value.name.endswith("_0"):
            made[value.name] = np.zeros(dims, np.float32)
        else:
            # An encoder's memory is small; a larger one lets rounding grow from step to step.
            scale = 0.2 if "memory" in value.name else 1.0
            made[value.name] = (scale * random.standard_normal(dims)).astype(np.float32)
    return made


def at_opset(name: str, opset: int) -> onnx.ModelProto:
    """Return a model in the operators of a later opset, those of a Loop body too."""
    model = MODELS[name]()
    if opset > graphs.opset_of(model):
        model = version_converter.convert_version(model, opset)
    assert graphs.opset_of(model) == opset
    onnx.checker.check_model(model, full_check=True)
    return model


def outputs(model: onnx.ModelProto, given: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = session(model).run(None, dict(given))
    return found


def fused(name: str) -> tuple[onnx.ModelProto, onnx.ModelProto, dict[str, int]]:
    original, model = MODELS[name](), MODELS[name]()
    counts = fusion.fused(model)
    onnx.checker.check_model(model)
    return original, model, counts


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_the_fused_form_is_equal(name: str, rows: int) -> None:
    original, model, _ = fused(name)
    given = feeds(original, rows)
    for theirs, ours in zip(outputs(original, given), outputs(model, given), strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        assert np.abs(ours - theirs).max() <= LIMIT * max(1e-6, np.abs(theirs).max())


def blocked(model: onnx.ModelProto) -> None:
    fusion.fused(model)
    convolutions.joined_convolutions(model)
    convolutions.large_products(model)


def few(model: onnx.ModelProto) -> None:
    fusion.fused(model)
    int8.quantised(model, few=True)


def many(model: onnx.ModelProto) -> None:
    fusion.fused(model)
    int8.quantised(model)


def between_ranges(model: onnx.ModelProto) -> None:
    """Quantise as for OpenVINO, by the ranges that the watching form shows."""
    fusion.fused(model)
    watching = onnx.ModelProto()
    watching.CopyFrom(model)
    names = len(model.graph.output)
    openvino_int8.watched(watching)
    check_own(watching)
    found = outputs(watching, feeds(model, 2))[names:]
    watched = [one.name for one in watching.graph.output][names::2]
    ranges = {
        name.removesuffix(openvino_int8.LEAST): [float(least), float(largest)]
        for name, least, largest in zip(watched, found[::2], found[1::2], strict=True)
    }
    openvino_int8.quantised(model, ranges)


def check_own(model: onnx.ModelProto) -> None:
    """Check a model whose operators are all of ONNX's own, those of Loop bodies too."""
    onnx.checker.check_model(model, full_check=True)
    nodes = list(model.graph.node)
    nodes += [node for one in nodes for part in one.attribute for node in part.g.node]
    for node in nodes:
        schema = onnx.defs.get_schema(node.op_type, graphs.opset_of(model), "")
        assert {one.name for one in node.attribute} <= set(schema.attributes), node.op_type
        assert schema.min_input <= len(node.input) <= schema.max_input, node.op_type


FORMS: dict[str, tuple[Callable[[onnx.ModelProto], None], float]] = {
    "blocked": (blocked, LIMIT), "many": (many, NEAR), "few": (few, NEAR),
    "between ranges": (between_ranges, 2 * NEAR),
}  # fmt: skip
OPSETS = (11, 13, 17, 18, 21)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["encoder", "decoder per row", "postnet", "waveglow"])
def test_every_form_is_written_in_the_operators_of_the_files_opset(
    name: str, form: str, opset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutions, "LARGE", 8 * SMALL.rnn * SMALL.rnn)
    original, model = at_opset(name, opset), at_opset(name, opset)
    make, limit = FORMS[form]
    make(model)
    assert graphs.opset_of(model) == opset
    if form in ("blocked", "between ranges"):
        check_own(model)
    given = feeds(original, 2)
    for theirs, ours in zip(outputs(original, given), outputs(model, given), strict=True):
        assert ours.shape == theirs.shape
        away = np.sqrt(np.mean((ours.astype(np.float64) - theirs) ** 2))
        assert away <= limit * np.sqrt(np.mean(theirs.astype(np.float64) ** 2)) + 1e-6


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_as_much_is_rewritten_in_every_opset(opset: int) -> None:
    assert fusion.fused(at_opset("decoder", opset)) == fused("decoder")[2]


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", ["decoder", "decoder_iter"])
def test_large_products_are_equal_as_convolutions(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutions, "LARGE", 8 * SMALL.rnn * SMALL.rnn)  # the LSTM steps only
    original, model, _ = fused(name)
    assert convolutions.large_products(model) == {"large products as convolutions": 2}
    onnx.checker.check_model(model)
    given = feeds(original, rows)
    for theirs, ours in zip(outputs(original, given), outputs(model, given), strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= LIMIT * max(1e-6, np.abs(theirs).max())


def test_joined_convolutions_are_equal_and_come_with_their_flow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = SMALL.wn_layers
    monkeypatch.setattr(convolutions, "JOINED", layers * 2 * SMALL.wn_channels)
    original, model, _ = fused("waveglow")
    found = convolutions.joined_convolutions(model)
    assert found == {"convolutions of one input joined": SMALL.flows * layers}
    onnx.checker.check_model(model)
    given = feeds(original, 2)
    (theirs,), (ours,) = outputs(original, given), outputs(model, given)
    assert np.abs(ours - theirs).max() <= LIMIT * np.abs(theirs).max()
    nodes = list(model.graph.node)
    joined = [at for at, node in enumerate(nodes) if "joined" in node.output[0]]
    assert len(joined) == SMALL.flows
    assert max(b - a for a, b in itertools.pairwise(joined)) < len(nodes) / 2


def test_one_convolution_too_many_begins_another_portion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "JOINED", 2 * SMALL.wn_channels)
    original, model, _ = fused("waveglow")
    assert convolutions.joined_convolutions(model) == {}
    assert len(model.graph.node) == len(original.graph.node)


def test_small_products_stay_products() -> None:
    _, model, _ = fused("decoder")
    assert convolutions.large_products(model) == {}


def test_every_shape_of_the_decoder_is_found() -> None:
    _, model, counts = fused("decoder")
    assert counts == {
        "collections nothing reads": 2,
        "LSTM step in one product": 2,
        "location convolution folded": 1,
        "dropout by choice": 2,
        "dense layers of one input joined": 1,
        "concatenations joined": 2,
    }
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    kinds = [node.op_type for node in graphs.attribute(loop, "body").node]
    assert kinds[:2] == ["RandomUniform"] * 2  # seeded by their place
    assert not {"LSTM", "Transpose"} & set(kinds)
    assert kinds.count("Cast") == 1  # who still speaks, counted


@pytest.mark.parametrize("name", MODELS)
def test_the_rounded_form_can_be_fused_too(name: str) -> None:
    rounded, model = (half_rounded(MODELS[name]()) for _ in range(2))
    fusion.fused(model)
    onnx.checker.check_model(model)
    given = feeds(rounded, 2)
    for theirs, ours in zip(outputs(rounded, given), outputs(model, given), strict=True):
        assert np.abs(ours - theirs).max() <= LIMIT * max(1e-6, np.abs(theirs).max())


def test_interfaces_stay_as_they_are() -> None:
    for name in MODELS:
        original, model, _ = fused(name)
        assert model.graph.input == original.graph.input
        assert model.graph.output == original.graph.output


def test_a_graph_without_known_shapes_is_left_alone() -> None:
    original, model, counts = fused("postnet")
    assert counts == {}
    assert model.graph.node == original.graph.node


def test_a_tensor_somebody_else_reads_is_not_taken_away() -> None:
    """A second reader of the LSTM's hidden state keeps the LSTM."""
    model = MODELS["decoder_iter"]()
    hidden = next(node for node in model.graph.node if node.op_type == "LSTM").output[1]
    model.graph.node.append(helper.make_node("Identity", [hidden], ["seen"], name="seen"))
    model.graph.output.append(helper.make_tensor_value_info("seen", TensorProto.FLOAT, None))
    assert fusion.fused(model)["LSTM step in one product"] == 1
    outputs(model, feeds(model, 2))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_the_int8_form_is_near(name: str, rows: int) -> None:
    original, model, _ = fused(name)
    int8.quantised(model)
    given = feeds(original, rows)
    for theirs, ours in zip(outputs(original, given), outputs(model, given), strict=True):
        assert ours.shape == theirs.shape
        away = np.sqrt(np.mean((ours.astype(np.float64) - theirs) ** 2))
        assert away <= NEAR * np.sqrt(np.mean(theirs.astype(np.float64) ** 2)) + 1e-6


@pytest.mark.parametrize("rows", [1, 3, 6])
def test_the_form_for_few_rows_is_near_and_runs_many(rows: int) -> None:
    original, model, _ = fused("decoder")
    assert int8.quantised(model, few=True) == {"int8 dense": 5}
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    kinds = [node.op_type for node in graphs.attribute(loop, "body").node]
    assert kinds.count("MatMulNBits") == 5
    given = feeds(original, rows)
    for theirs, ours in zip(outputs(original, given), outputs(model, given), strict=True):
        away = np.sqrt(np.mean((ours.astype(np.float64) - theirs) ** 2))
        assert away <= NEAR * np.sqrt(np.mean(theirs.astype(np.float64) ** 2)) + 1e-6


def test_inputs_that_no_block_divides_get_one_scale() -> None:
    narrow = replace(SMALL, prenet=24)
    length = DecodeLength(limit=1000, from_text=True)
    model = tacotron2.decoder(SyntheticWeights(narrow, 5), narrow, length).model({})
    fusion.fused(model)
    assert int8.quantised(model, few=True) == {"int8 dense": 5}
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    kinds = [node.op_type for node in graphs.attribute(loop, "body").node]
    # 24 inputs of the second prenet layer; 24 + 32 + 32 of the first LSTM.
    assert (kinds.count("MatMulNBits"), kinds.count("DynamicQuantizeMatMul")) == (3, 2)


def test_names_given_by_an_earlier_rewriting_are_not_given_again() -> None:
    _, model, _ = fused("decoder")
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    body = graphs.Graph(graphs.attribute(loop, "body"), graphs.Graph(model.graph), loop)
    taken = {name for node in body.nodes for name in node.output}
    taken |= {one.name for one in body.proto.initializer}
    assert taken.isdisjoint({body.name(stem) for stem in ("zero", "gates", "z") for _ in range(9)})


def test_what_is_quantised_and_what_is_not(tmp_path: Path) -> None:
    counts = {}
    for name in ("encoder", "decoder", "postnet", "waveglow"):
        _, model, _ = fused(name)
        counts[name] = int8.quantised(model)
        onnx.save(model, tmp_path / "model.onnx")
        assert "int8" in stored_weights.storage(str(tmp_path / "model.onnx"))
    flows, layers = SMALL.flows, SMALL.wn_layers
    assert counts == {
        "encoder": {"int8 LSTM": 1, "int8 convolution": 3},
        "decoder": {"int8 dense": 5},  # two LSTMs, two prenet layers, the query
        "postnet": {"int8 convolution": 5},
        "waveglow": {"int8 convolution": 3 * flows * layers},
    }


def test_weights_beside_the_model_are_read_back(tmp_path: Path) -> None:
    for half in (False, True):
        model = MODELS["decoder"]()
        onnx.save(half_rounded(model) if half else model, tmp_path / "source.onnx")
        target = tmp_path / "target.onnx"
        graphs.rewrite(str(tmp_path / "source.onnx"), str(target), [fusion.fused])
        weights = target.with_suffix(graphs.WEIGHTS)
        assert weights.stat().st_size > target.stat().st_size
        assert stored_weights.storage(str(target)) == ("float16-rounded" if half else "float32")
    weights.unlink()
    assert "unknown" in stored_weights.storage(str(target))


def convolution(width: int, dilation: int, **changed: Any) -> onnx.ModelProto:
    random = np.random.default_rng(4)
    weight = random.standard_normal((20, 16, width)).astype(np.float32)
    bias = random.standard_normal(20).astype(np.float32)
    reach = dilation * (width // 2)
    attributes = {"dilations": [dilation], "pads": [reach, reach], **changed}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)
    last = helper.make_node("Abs", ["y"], ["z"])
    graph = helper.make_graph(
        [node, last],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16, "n"])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 20, "m"])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


@pytest.mark.parametrize(("width", "dilation"), [(1, 1), (3, 1), (3, 4), (5, 2)])
def test_a_convolution_of_any_width_becomes_a_product(width: int, dilation: int) -> None:
    model = convolution(width, dilation)
    x = np.random.default_rng(1).standard_normal((2, 16, 30)).astype(np.float32)
    (theirs,) = session(model).run(None, {"x": x})
    assert int8.quantised(model) == {"int8 convolution": 1}
    (ours,) = session(model).run(None, {"x": x})
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < NEAR * np.sqrt(np.mean(theirs**2))


@pytest.mark.parametrize("changed", [{"strides": [2]}, {"pads": [2, 0]}])
def test_a_convolution_of_another_kind_stays(changed: dict[str, Any]) -> None:
    model = convolution(3, 1, **changed)
    assert int8.quantised(model) == {}
    assert [node.op_type for node in model.graph.node] == ["Conv", "Abs"]


def test_int8_of_an_older_file_is_written_in_the_operators_it_needs() -> None:
    """NVIDIA's postnet is of opset 10, which has no operator that quantises as it goes."""
    model = convolution(3, 1)
    model.opset_import[0].version = 10
    x = np.random.default_rng(1).standard_normal((2, 16, 30)).astype(np.float32)
    (theirs,) = session(model).run(None, {"x": x})
    assert int8.quantised(model) == {"int8 convolution": 1}
    assert graphs.opset_of(model) == int8.CONVOLUTIONS_SINCE
    (ours,) = session(model).run(None, {"x": x})
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < NEAR * np.sqrt(np.mean(theirs**2))


def test_an_older_file_whose_operators_changed_keeps_its_opset_and_loads() -> None:
    model = convolution(3, 1)
    model.opset_import[0].version = 10
    model.graph.node.append(helper.make_node("Clip", ["z"], ["c"], min=0.0, max=0.5))
    model.graph.output[0].name = "c"
    assert int8.quantised(model) == {}
    assert graphs.opset_of(model) == 10
    (made,) = session(model).run(None, {"x": np.ones((1, 16, 30), np.float32)})
    assert made.max() == 0.5


def test_a_domain_that_is_imported_already_is_not_imported_twice() -> None:
    model = convolution(3, 1)
    model.opset_import.add(domain=int8.VENDOR, version=1)
    int8.quantised(model)
    assert [one.domain for one in model.opset_import] == ["", int8.VENDOR]
    session(model)


@pytest.mark.parametrize("written", ["value", "value_ints"])
def test_axes_are_read_however_a_constant_holds_them(written: str) -> None:
    values = {"value": numpy_helper.from_array(np.array([0, 2])), "value_ints": [0, 2]}
    node = helper.make_node("Constant", [], ["axes"])
    node.attribute.append(helper.make_attribute(written, values[written]))
    squeeze = helper.make_node("Squeeze", ["x", "axes"], ["y"])
    graph = graphs.Graph(helper.make_graph([node, squeeze], "g", [], []), opset=13)
    assert fusion._axes(graph, squeeze) == [0, 2]


@pytest.mark.parametrize("layout", [0, 1])
def test_an_lstm_with_its_rows_first_stays_as_it_is(layout: int) -> None:
    def turned(name: str) -> onnx.ModelProto:
        model = at_opset(name, 14)
        for node in model.graph.node:
            if node.op_type == "LSTM":
                kept = [one for one in node.attribute if one.name != "layout"]
                del node.attribute[:]
                node.attribute.extend([*kept, helper.make_attribute("layout", layout)])
        return model

    made = fusion.fused(turned("decoder_iter"))
    assert made.get("LSTM step in one product", 0) == (0 if layout else 2)
    encoder = turned("encoder")
    assert int8.quantised(encoder).get("int8 LSTM", 0) == 1 - layout
    if not layout:
        session(encoder)

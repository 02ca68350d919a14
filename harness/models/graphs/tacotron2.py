"""Tacotron 2 as ONNX: encoder, decoder with its loop inside, one decoder step, postnet.

Operator mapping, names, dtypes and order follow the files of NVIDIA's exporter
(NVIDIA/TensorRT 22.03, demo/Tacotron2/tensorrt: convert_tacotron22onnx.py, generate_decoder.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from onnx import numpy_helper

from harness.models.graphs.builder import Graph, value

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from harness.models.sizes import Sizes
    from harness.models.weights import Array, Weights

Dropout = Literal["shared", "per_row", "input"]
"""The prenet's masks: one for the whole batch (as the exporter writes), one per row, or given."""

GATE_THRESHOLD = 0.5
BN_EPSILON = 1e-5
DROPOUT = 0.5
STATES = (
    "decoder_input",
    "attention_hidden",
    "attention_cell",
    "decoder_hidden",
    "decoder_cell",
    "attention_weights",
    "attention_weights_cum",
    "attention_context",
)


@dataclass(frozen=True)
class DecodeLength:
    """When the decoder's loop ends beside its stop gate.

    `frames_per_symbol` None: never more than `limit` steps. Otherwise exactly
    max(least, round(frames_per_symbol x text length)) steps, at most `limit`; meant for synthetic
    weights, whose gate stays shut.
    """

    limit: int
    frames_per_symbol: float | None = None
    least: int = 32

    def rule(self) -> str:
        """Return the rule in words."""
        if self.frames_per_symbol is None:
            return f"stop gate, at most {self.limit} steps"
        return f"max({self.least}, round({self.frames_per_symbol} x text)), at most {self.limit}"


def lstm_rows(matrix: Array) -> Array:
    """Reorder row blocks from PyTorch's i,f,g,o to ONNX's i,o,f,c."""
    i, f, g, o = np.split(matrix, 4)
    return np.concatenate([i, o, f, g])


def _lstm_weights(g: Graph, state: Weights, key: str, suffixes: tuple[str, ...]) -> list[str]:
    def stacked(name: str) -> Array:
        return np.stack([lstm_rows(state[f"{key}.{name}{suffix}"]) for suffix in suffixes])

    bias = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=1)
    return [
        g.constant(f"{key}.W", stacked("weight_ih")),
        g.constant(f"{key}.R", stacked("weight_hh")),
        g.constant(f"{key}.B", bias),
    ]


def folded(state: Weights, conv: str, norm: str) -> tuple[Array, Array]:
    """Return a convolution's weight and bias with the batch norm after it folded in."""
    scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + BN_EPSILON)
    weight = state[f"{conv}.weight"] * scale[:, None, None]
    bias = (state[f"{conv}.bias"] - state[f"{norm}.running_mean"]) * scale
    return weight.astype(np.float32), (bias + state[f"{norm}.bias"]).astype(np.float32)


def _conv_norm(g: Graph, state: Weights, source: str, key: str, kernel: int) -> str:
    weight, bias = folded(state, f"{key}.0.conv", f"{key}.1")
    pad = (kernel - 1) // 2
    return g.add(
        "Conv",
        source,
        g.constant(f"{key}.weight", weight),
        g.constant(f"{key}.bias", bias),
        kernel_shape=[kernel],
        pads=[pad, pad],
    )


def _matmul(g: Graph, state: Weights, source: str, key: str, name: str | None = None) -> str:
    weight = state[f"{key}.linear_layer.weight"]
    return g.add("MatMul", source, g.constant(f"{key}.weight", weight.T), name=name)


def encoder(state: Weights, sizes: Sizes, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Write the encoder: (batch, text) ids -> memory (batch, text, encoder) and its projection."""
    g = Graph("encoder")
    x = g.add("Gather", g.constant("embedding", state["embedding.weight"]), "sequences", axis=0)
    x = g.add("Transpose", x, perm=[0, 2, 1])
    for i in range(sizes.encoder_convs):
        x = _conv_norm(g, state, x, f"encoder.convolutions.{i}", sizes.encoder_kernel)
        x = g.add("Relu", x)
    x = g.add("Transpose", x, perm=[2, 0, 1])
    weights = _lstm_weights(g, state, "encoder.lstm", ("_l0", "_l0_reverse"))
    (y,) = g.many(
        "LSTM",
        [x, *weights, "sequence_lengths"],
        ["lstm_out"],
        direction="bidirectional",
        hidden_size=sizes.encoder // 2,
    )
    y = g.add("Transpose", y, perm=[2, 0, 1, 3])
    shape = g.constant("memory_shape", [0, 0, sizes.encoder], np.int64)
    memory = g.add("Reshape", y, shape, name="memory")
    _matmul(g, state, memory, "decoder.attention_layer.memory_layer", "processed_memory")
    g.add("Mul", "sequence_lengths", g.constant("two", 2, np.int32), name="lens")
    return g.model(
        [
            value("sequences", ["batch_size", "text_seq"], "int64"),
            value("sequence_lengths", ["batch_size"], "int32"),
        ],
        [
            value("memory", ["batch_size", "mem_seq", sizes.encoder]),
            value("processed_memory", ["batch_size", "mem_seq", sizes.attention]),
            value("lens", ["batch_size"], "int32"),
        ],
        metadata,
    )


def _dropped(g: Graph, x: str, width: int, dropout: Dropout, mask: str | None) -> str:
    if dropout == "input":
        if mask is None:
            raise ValueError('dropout="input" needs the name of a mask')
        kept = mask
    else:
        if dropout == "shared":
            drawn = g.add("RandomUniform", shape=[width], low=0.0, high=1.0, dtype=1)
        else:
            drawn = g.add("RandomUniformLike", x, low=0.0, high=1.0, dtype=1)
        above = g.add("Greater", drawn, g.constant("dropout", DROPOUT))
        kept = g.add("Cast", g.add("Not", above), to=1)
    return g.add("Mul", g.add("Mul", x, kept), g.constant("dropout_scale", 1 / (1 - DROPOUT)))


def _cell(g: Graph, state: Weights, sizes: Sizes, kind: str, x: str) -> str:
    """Add the LSTM cell of `kind` to x (batch, inputs) and return its new hidden state."""
    names = (f"{kind}_hidden", f"{kind}_cell")
    steps = [g.add("Unsqueeze", name, axes=[0]) for name in (x, *names)]
    weights = _lstm_weights(g, state, f"decoder.{kind}_rnn", ("",))
    made = [f"{name}_seq" for name in names]
    g.many("LSTM", [steps[0], *weights, "", *steps[1:]], ["", *made], hidden_size=sizes.rnn)
    for name, seq in zip(names, made, strict=True):
        g.add("Squeeze", seq, axes=[0], name=f"out_{name}")
    return f"out_{names[0]}"


def _attend(g: Graph, state: Weights, sizes: Sizes) -> None:
    """Add location-sensitive attention: new weights, their sum so far, and the context."""
    key = "decoder.attention_layer"
    query = _matmul(g, state, "out_attention_hidden", f"{key}.query_layer")
    query = g.add("Unsqueeze", query, axes=[1])
    rows = [
        g.add("Unsqueeze", name, axes=[1])
        for name in ("attention_weights", "attention_weights_cum")
    ]
    pad = (sizes.location_kernel - 1) // 2
    conv = f"{key}.location_layer.location_conv.conv.weight"
    location = g.add(
        "Conv",
        g.add("Concat", *rows, axis=1),
        g.constant(conv, state[conv]),
        kernel_shape=[sizes.location_kernel],
        pads=[pad, pad],
    )
    location = g.add("Transpose", location, perm=[0, 2, 1])
    location = _matmul(g, state, location, f"{key}.location_layer.location_dense")
    summed = g.add("Add", g.add("Add", query, location), "processed_memory")
    energies = _matmul(g, state, g.add("Tanh", summed), f"{key}.v")
    energies = g.add("Squeeze", energies, axes=[2])
    masked = g.add("Where", "mask", g.constant("minus_infinity", -np.inf), energies)
    weights = g.add("Softmax", masked, axis=1, name="out_attention_weights")
    context = g.add("MatMul", g.add("Unsqueeze", weights, axes=[1]), "memory")
    g.add("Squeeze", context, axes=[1], name="out_attention_context")
    g.add("Add", "attention_weights_cum", weights, name="out_attention_weights_cum")


def _step(
    g: Graph, state: Weights, sizes: Sizes, dropout: Dropout, masks: tuple[str, str] | None
) -> None:
    """Add one decoder step, from the tensors of `STATES` to `out_...` and the two predictions."""
    x = "decoder_input"
    for layer in range(2):
        x = g.add("Relu", _matmul(g, state, x, f"decoder.prenet.layers.{layer}"))
        x = _dropped(g, x, sizes.prenet, dropout, masks[layer] if masks else None)
    rnn_input = g.add("Concat", x, "attention_context", axis=1)
    _cell(g, state, sizes, "attention", rnn_input)
    _attend(g, state, sizes)
    rnn_input = g.add("Concat", "out_attention_hidden", "out_attention_context", axis=1)
    hidden = _cell(g, state, sizes, "decoder", rnn_input)
    both = g.add("Concat", hidden, "out_attention_context", axis=1)
    for key, name in (("linear_projection", "decoder_output"), ("gate_layer", "gate_prediction")):
        weights = [
            g.constant(f"decoder.{key}.{part}", state[f"decoder.{key}.linear_layer.{part}"])
            for part in ("weight", "bias")
        ]
        g.add("Gemm", both, *weights, transB=1, name=name)


def _state_dims(sizes: Sizes) -> dict[str, int | str]:
    return {
        "decoder_input": sizes.mel,
        "attention_hidden": sizes.rnn,
        "attention_cell": sizes.rnn,
        "decoder_hidden": sizes.rnn,
        "decoder_cell": sizes.rnn,
        "attention_weights": "seq_len",
        "attention_weights_cum": "seq_len",
        "attention_context": sizes.encoder,
    }


def _memory_values(sizes: Sizes) -> list[Any]:
    return [
        value("memory", ["batch_size", "seq_len", sizes.encoder]),
        value("processed_memory", ["batch_size", "seq_len", sizes.attention]),
        value("mask", ["batch_size", "seq_len"], "bool"),
    ]


def decoder_iter(
    state: Weights, sizes: Sizes, metadata: Mapping[str, str], *, dropout: Dropout = "shared"
) -> onnx.ModelProto:
    """Write one decoder step; with dropout="input" two masks (rows, prenet) follow."""
    g = Graph("decoder_iter")
    masks = ("dropout_mask_0", "dropout_mask_1") if dropout == "input" else None
    _step(g, state, sizes, dropout, masks)
    dims = _state_dims(sizes)
    outputs = ["decoder_output", "gate_prediction", *(f"out_{name}" for name in STATES[1:])]
    widths = {"decoder_output": sizes.mel, "gate_prediction": 1}
    return g.model(
        [
            *(value(name, ["batch_size", dims[name]]) for name in STATES),
            *_memory_values(sizes),
            *(value(name, ["mask_rows", sizes.prenet]) for name in masks or ()),
        ],
        [
            value(
                name,
                ["batch_size", widths[name] if name in widths else dims[name.removeprefix("out_")]],
            )
            for name in outputs
        ],
        metadata,
    )


def _body(state: Weights, sizes: Sizes, dropout: Dropout) -> onnx.GraphProto:
    """Write the loop's body; its weights stand inside it, as in the exporter's file."""
    g = Graph("decoder_body")
    masks = None
    if dropout == "input":
        both = g.add("Gather", "dropout_masks", "iteration_num", axis=0)
        first, second = g.split(both, [1, 1], 0)
        masks = (first, second)
    _step(g, state, sizes, dropout, masks)
    open_gate = g.add(
        "Less", g.add("Sigmoid", "gate_prediction"), g.constant("threshold", GATE_THRESHOLD)
    )
    alive = g.add("And", open_gate, "not_finished_in", name="not_finished_out")
    counted = g.add("Cast", alive, to=6)
    g.add("Add", "mel_lengths_in", counted, name="mel_lengths_out")
    total = g.add("ReduceSum", counted, axes=[0, 1], keepdims=0)
    none_left = g.add("Equal", total, g.constant("zero", 0, np.int32))
    g.add("Not", none_left, name="cond_out")
    g.add("Identity", "decoder_output", name="next_decoder_input")
    g.add("Identity", "out_attention_weights", name="alignment")
    dims = _state_dims(sizes)
    states = [value(name, ["batch_size", dims[name]]) for name in STATES]
    carried = ["next_decoder_input", *(f"out_{name}" for name in STATES[1:])]
    return g.graph(
        [
            value("iteration_num", [], "int64"),
            value("cond_in", [], "bool"),
            *states,
            value("not_finished_in", ["batch_size", 1], "bool"),
            value("mel_lengths_in", ["batch_size", 1], "int32"),
        ],
        [
            value("cond_out", [], "bool"),
            *(
                value(out, ["batch_size", dims[name]])
                for out, name in zip(carried, STATES, strict=True)
            ),
            value("not_finished_out", ["batch_size", 1], "bool"),
            value("mel_lengths_out", ["batch_size", 1], "int32"),
            value("decoder_output", ["batch_size", sizes.mel]),
            value("gate_prediction", ["batch_size", 1]),
            value("alignment", ["batch_size", "seq_len"]),
        ],
    )


def _trip_count(g: Graph, length: DecodeLength) -> str:
    if length.frames_per_symbol is None:
        return g.constant("max_decoder_steps", length.limit, np.int64)
    text = g.add("Gather", g.add("Shape", "memory"), g.constant("one", 1, np.int64), axis=0)
    frames = g.add(
        "Mul", g.add("Cast", text, to=1), g.constant("frames_per_symbol", length.frames_per_symbol)
    )
    frames = g.add("Max", g.add("Round", frames), g.constant("least_steps", length.least))
    frames = g.add("Min", frames, g.constant("most_steps", length.limit))
    return g.add("Cast", frames, to=7)


def decoder(
    state: Weights,
    sizes: Sizes,
    metadata: Mapping[str, str],
    *,
    length: DecodeLength,
    dropout: Dropout = "shared",
) -> onnx.ModelProto:
    """Write the decoder with its loop inside.

    With dropout="input" a further graph input `dropout_masks` (steps, 2, prenet) holds the masks.
    """
    g = Graph("decoder")
    batch = g.add("Gather", g.add("Shape", "memory"), g.constant("first", [0], np.int64), axis=0)
    column = g.add("Concat", batch, g.constant("single", [1], np.int64), axis=0)
    alive = g.add(
        "ConstantOfShape", column, value=numpy_helper.from_array(np.ones(1, np.bool_), "true")
    )
    lengths = g.add(
        "ConstantOfShape", column, value=numpy_helper.from_array(np.zeros(1, np.int32), "none")
    )
    trips = _trip_count(g, length)
    start = g.constant("start", True, np.bool_)
    carried = [f"{name}_t" for name in (*STATES, "not_finished")]
    g.many(
        "Loop",
        [trips, start, *(f"{name}_0" for name in STATES), alive, lengths],
        [*carried, "mel_lengths_t", "mel_outputs_raw", "gate_outputs", "alignments"],
        body=_body(state, sizes, dropout),
    )
    g.add("Transpose", "mel_outputs_raw", perm=[1, 2, 0], name="mel_outputs")
    dims = _state_dims(sizes)
    masks = [value("dropout_masks", ["mask_steps", 2, sizes.prenet])]
    return g.model(
        [
            *(value(f"{name}_0", ["batch_size", dims[name]]) for name in STATES),
            *_memory_values(sizes),
            *(masks if dropout == "input" else ()),
        ],
        [
            value("mel_outputs", ["batch_size", sizes.mel, "mel_seq"]),
            value("mel_lengths_t", ["batch_size", 1], "int32"),
        ],
        metadata,
    )


def postnet(state: Weights, sizes: Sizes, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Write the postnet: mel (batch, mel, frames) plus its five-convolution correction."""
    g = Graph("postnet")
    x = "mel_outputs"
    for i in range(sizes.postnet_convs):
        x = _conv_norm(g, state, x, f"postnet.convolutions.{i}", sizes.postnet_kernel)
        if i < sizes.postnet_convs - 1:
            x = g.add("Tanh", x)
    g.add("Add", "mel_outputs", x, name="mel_outputs_postnet")
    dims: list[int | str | None] = ["batch_size", sizes.mel, "mel_seq"]
    return g.model([value("mel_outputs", dims)], [value("mel_outputs_postnet", dims)], metadata)

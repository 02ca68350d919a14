"""Tacotron 2 as ONNX graphs: encoder, decoder (with its Loop), one decoder step, postnet.

Names, types and order of inputs and outputs are those of the files NVIDIA's TensorRT 22.03
exporter writes (NVIDIA/TensorRT, demo/Tacotron2/tensorrt), with the batch dynamic everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from harness.models.graphs.builder import GraphBuilder
from harness.models.graphs.layers import affine, conv_norm_1d, linear, lstm

if TYPE_CHECKING:
    from harness.models.sizes import Sizes
    from harness.models.weights import Weights


BATCH = "batch_size"
TEXT = "seq_len"
GATE_THRESHOLD = 0.5
DROPOUT = 0.5

FRAMES_PER_SYMBOL = 4.75
"""608 frames for 128 symbols, as in the original's log."""
LEAST_FRAMES = 32
"""Smallest mel length the original builds its engines for."""

STEP = "decoder."
ATTENTION = "decoder.attention_layer."
KEEP = "prenet_keep"


class DropoutMask(StrEnum):
    """Where the two dropout masks of the prenet come from; dropout is on at inference."""

    SHARED = "shared"
    """Drawn in the graph, one mask for all rows of the batch, as the exporter does."""
    PER_ROW = "per_row"
    """Drawn in the graph for every row, as the PyTorch module does."""
    INPUT = "input"
    """A further graph input of zeros and ones, for exact comparisons: `prenet_keep`
    (2, rows, prenet), and (steps, 2, rows, prenet) for the Loop; rows is 1 or the batch."""


@dataclass(frozen=True)
class DecodeLength:
    """When the Loop ends: at the gate, and after `limit` steps at the latest."""

    limit: int
    from_text: bool
    """Let the text length set the limit: for weights whose gate never fires."""

    def describe(self) -> str:
        """Return the rule in words, for the metadata of the file."""
        if not self.from_text:
            return f"gate, at most {self.limit}"
        return f"max({LEAST_FRAMES}, round({FRAMES_PER_SYMBOL} * text)), at most {self.limit}"


@dataclass(frozen=True)
class _Step:
    """The tensors a decoder step reads."""

    decoder_input: str
    attention_hidden: str
    attention_cell: str
    decoder_hidden: str
    decoder_cell: str
    attention_weights: str
    attention_weights_cum: str
    attention_context: str


STATES = tuple(_Step.__dataclass_fields__)
"""Names of what a step carries to the next, in the order of the contract."""


def encoder(weights: Weights, sizes: Sizes) -> GraphBuilder:
    """Return the graph from symbol ids (batch, text) to the encoder's memory."""
    b = GraphBuilder("encoder")
    ids = b.input("sequences", "int64", (BATCH, "text_seq"))
    lengths = b.input("sequence_lengths", "int32", (BATCH,))
    x = b.op("Gather", b.weight("embedding.weight", weights["embedding.weight"]), ids, axis=0)
    x = b.op("Transpose", x, perm=[0, 2, 1])
    for i in range(sizes.encoder_convs):
        x = b.op("Relu", conv_norm_1d(b, weights, f"encoder.convolutions.{i}", x))
    x = b.op("Transpose", x, perm=[2, 0, 1])  # (text, batch, encoder)
    w, r, bias = lstm(b, weights, "encoder.lstm.", ("_l0", "_l0_reverse"))
    hidden = sizes.encoder // 2
    y = b.op("LSTM", x, w, r, bias, lengths, hidden_size=hidden, direction="bidirectional")
    y = b.op("Transpose", y, perm=[2, 0, 1, 3])  # (batch, text, direction, hidden)
    memory = b.op("Reshape", y, b.ints(0, 0, sizes.encoder), out="memory")
    linear(b, weights, f"{ATTENTION}memory_layer", memory, out="processed_memory")
    b.op("Add", lengths, lengths, out="lens")  # a leftover of the exporter; nothing reads it
    b.output("memory", "float32", (BATCH, "mem_seq", sizes.encoder))
    b.output("processed_memory", "float32", (BATCH, "mem_seq", sizes.attention))
    b.output("lens", "int32", (BATCH,))
    return b


def decoder_iter(
    weights: Weights, sizes: Sizes, dropout: DropoutMask = DropoutMask.SHARED
) -> GraphBuilder:
    """Return the graph of one decoder step."""
    b = GraphBuilder("decoder_iter")
    keep = _masks(b, sizes, dropout)
    _inputs(b, sizes, suffix="")
    if dropout is DropoutMask.INPUT:
        given = b.input(KEEP, "float32", (2, "rows", sizes.prenet))
        keep = [b.op("Gather", given, b.scalar(i, np.int64), axis=0) for i in range(2)]
    _step(b, weights, sizes, keep)
    _step_outputs(b, sizes)
    return b


def decoder(
    weights: Weights, sizes: Sizes, length: DecodeLength, dropout: DropoutMask = DropoutMask.SHARED
) -> GraphBuilder:
    """Return the graph of the whole decoding loop."""
    b = GraphBuilder("decoder")
    _inputs(b, sizes, suffix="_0")
    if dropout is DropoutMask.INPUT:
        b.input(KEEP, "float32", ("steps", 2, "rows", sizes.prenet))
    body = _body(weights, sizes, dropout)
    column = b.op("Concat", _size_of(b, "memory", 0), b.ints(1), axis=0)
    alive = _filled(b, column, np.array([True]), "not_finished_init")
    counted = _filled(b, column, np.array([0], np.int32), "mel_lengths_init")
    b.ops(
        "Loop",
        [
            _trip_count(b, length),
            b.weight("condition", np.array(True)),
            *(f"{state}_0" for state in STATES),
            alive,
            counted,
        ],
        [
            *(f"{state}_t" for state in STATES),
            "not_finished_t",
            "mel_lengths_t",
            "mel_outputs_raw",
            "gate_outputs",
            "alignments",
        ],
        body=body.graph(),
    )
    b.op("Transpose", "mel_outputs_raw", out="mel_outputs", perm=[1, 2, 0])
    b.output("mel_outputs", "float32", (BATCH, sizes.mel, "mel_seq"))
    b.output("mel_lengths_t", "int32", (BATCH, 1))
    return b


def postnet(weights: Weights, sizes: Sizes) -> GraphBuilder:
    """Return the graph that refines mel frames (batch, mel, frames) by five convolutions."""
    b = GraphBuilder("postnet")
    dims = (BATCH, sizes.mel, "mel_seq")
    mel = b.input("mel_outputs", "float32", dims)
    x = mel
    for i in range(sizes.postnet_convs):
        x = conv_norm_1d(b, weights, f"postnet.convolutions.{i}", x)
        if i < sizes.postnet_convs - 1:
            x = b.op("Tanh", x)
    b.op("Add", mel, x, out="mel_outputs_postnet")
    b.output("mel_outputs_postnet", "float32", dims)
    return b


def _inputs(b: GraphBuilder, sizes: Sizes, suffix: str) -> None:
    for state, width in _state_widths(sizes).items():
        b.input(f"{state}{suffix}", "float32", (BATCH, width))
    b.input("memory", "float32", (BATCH, TEXT, sizes.encoder))
    b.input("processed_memory", "float32", (BATCH, TEXT, sizes.attention))
    b.input("mask", "bool", (BATCH, TEXT))


def _state_widths(sizes: Sizes) -> dict[str, int | str]:
    rnn = sizes.rnn
    widths = (sizes.mel, rnn, rnn, rnn, rnn, TEXT, TEXT, sizes.encoder)
    return dict(zip(STATES, widths, strict=True))


def _step_outputs(b: GraphBuilder, sizes: Sizes) -> None:
    widths = _state_widths(sizes)
    b.output("decoder_output", "float32", (BATCH, sizes.mel))
    b.output("gate_prediction", "float32", (BATCH, 1))
    for state in STATES[1:]:
        b.output(f"out_{state}", "float32", (BATCH, widths[state]))


def _size_of(b: GraphBuilder, tensor: str, axis: int) -> str:
    """Return the length of one axis as an int64 vector of one element."""
    return b.op("Gather", b.op("Shape", tensor), b.ints(axis), axis=0)


def _filled(b: GraphBuilder, shape: str, value: np.ndarray[tuple[int], np.dtype], out: str) -> str:
    from onnx import numpy_helper  # noqa: PLC0415 - slow to import, and only needed to write

    return b.op("ConstantOfShape", shape, out=out, value=numpy_helper.from_array(value))


def _trip_count(b: GraphBuilder, length: DecodeLength) -> str:
    """Return the name of the Loop's trip limit, an int64 scalar."""
    if not length.from_text:
        return b.weight("trip_limit", np.array(length.limit, np.int64))
    text = b.op("Squeeze", _size_of(b, "memory", 1), axes=[0])
    frames = b.op("Mul", b.op("Cast", text, to=1), b.scalar(FRAMES_PER_SYMBOL))
    frames = b.op("Max", b.op("Round", frames), b.scalar(float(LEAST_FRAMES)))
    frames = b.op("Min", frames, b.scalar(float(length.limit)))
    return b.op("Cast", frames, out="trip_limit", to=7)


def _draw(b: GraphBuilder, sizes: Sizes) -> list[str]:
    """Draw the two masks for the whole batch.

    Called before any other node is added: ONNX Runtime seeds a random node by its place in the
    graph, so first place means the same draws in every form of the graph.
    """
    draws = [b.op("RandomUniform", shape=[sizes.prenet], low=0.0, high=1.0) for _ in range(2)]
    return [_kept(b, draw) for draw in draws]


def _draw_rows(b: GraphBuilder, sizes: Sizes) -> list[str]:
    """Draw the two masks for every row; first in the graph, for the reason of `_draw`."""
    rows = _size_of(b, STATES[0], 0)
    like = b.op("ConstantOfShape", b.op("Concat", rows, b.ints(sizes.prenet), axis=0))
    draws = [b.op("RandomUniformLike", like, low=0.0, high=1.0) for _ in range(2)]
    return [_kept(b, draw) for draw in draws]


def _masks(b: GraphBuilder, sizes: Sizes, dropout: DropoutMask) -> list[str]:
    """Return the masks a graph draws by itself; none where they are an input."""
    if dropout is DropoutMask.INPUT:
        return []
    return _draw(b, sizes) if dropout is DropoutMask.SHARED else _draw_rows(b, sizes)


def _kept(b: GraphBuilder, draw: str) -> str:
    """Return 1 where a layer's value is kept, 0 where it is dropped."""
    dropped = b.op("Greater", draw, b.scalar(DROPOUT))
    return b.op("Cast", b.op("Not", dropped), to=1)


def _prenet(b: GraphBuilder, weights: Weights, x: str, keep: list[str]) -> str:
    """Two layers with dropout: a value stays where its layer's mask is 1, doubled."""
    for i in range(2):
        key = f"{STEP}prenet.layers.{i}"
        x = b.op("Relu", linear(b, weights, key, x))
        x = b.op("Mul", b.op("Mul", x, keep[i]), b.scalar(1.0 / DROPOUT))
    return x


def _cell(
    b: GraphBuilder,
    weights: Weights,
    x: str,
    *,
    key: str,
    state: tuple[str, str],
    out: str,
    size: int,
) -> str:
    """One step of an LSTM: writes out_<out>_hidden and out_<out>_cell, returns the former."""
    w, r, bias = lstm(b, weights, key, ("",))
    ins = [b.op("Unsqueeze", tensor, axes=[0]) for tensor in (x, *state)]
    names = [f"{b.scope}{out}_hidden_1", f"{b.scope}{out}_cell_1"]
    b.ops("LSTM", [ins[0], w, r, bias, "", *ins[1:]], ["", *names], hidden_size=size)
    b.op("Squeeze", names[1], out=f"out_{out}_cell", axes=[0])
    return b.op("Squeeze", names[0], out=f"out_{out}_hidden", axes=[0])


def _attention(b: GraphBuilder, weights: Weights, query: str, step: _Step, sizes: Sizes) -> str:
    """Location-sensitive attention; returns the context (batch, encoder)."""
    query = b.op("Unsqueeze", linear(b, weights, f"{ATTENTION}query_layer", query), axes=[1])
    history = b.op(
        "Concat",
        b.op("Unsqueeze", step.attention_weights, axes=[1]),
        b.op("Unsqueeze", step.attention_weights_cum, axes=[1]),
        axis=1,
    )
    key = f"{ATTENTION}location_layer.location_conv.conv.weight"
    kernel = sizes.location_kernel
    location = b.op(
        "Conv",
        history,
        b.weight(key, weights[key]),
        kernel_shape=[kernel],
        pads=[kernel // 2, kernel // 2],
    )
    location = b.op("Transpose", location, perm=[0, 2, 1])
    location = linear(b, weights, f"{ATTENTION}location_layer.location_dense", location)
    total = b.op("Add", b.op("Add", query, location), "processed_memory")
    energies = linear(b, weights, f"{ATTENTION}v", b.op("Tanh", total))
    energies = b.op("Squeeze", energies, axes=[2])
    energies = b.op("Where", "mask", b.scalar(-np.inf), energies)
    attended = b.op("Softmax", energies, out="out_attention_weights", axis=1)
    b.op("Add", step.attention_weights_cum, attended, out="out_attention_weights_cum")
    context = b.op("MatMul", b.op("Unsqueeze", attended, axes=[1]), "memory")
    return b.op("Squeeze", context, out="out_attention_context", axes=[1])


def _step(b: GraphBuilder, weights: Weights, sizes: Sizes, keep: list[str]) -> None:
    step = _Step(*STATES)
    x = _prenet(b, weights, step.decoder_input, keep)
    x = b.op("Concat", x, step.attention_context, axis=1)
    state = (step.attention_hidden, step.attention_cell)
    h_a = _cell(
        b, weights, x, key=f"{STEP}attention_rnn.", state=state, out="attention", size=sizes.rnn
    )
    context = _attention(b, weights, h_a, step, sizes)
    x = b.op("Concat", h_a, context, axis=1)
    state = (step.decoder_hidden, step.decoder_cell)
    h_d = _cell(
        b, weights, x, key=f"{STEP}decoder_rnn.", state=state, out="decoder", size=sizes.rnn
    )
    x = b.op("Concat", h_d, context, axis=1)
    affine(b, weights, f"{STEP}linear_projection", x, out="decoder_output")
    affine(b, weights, f"{STEP}gate_layer", x, out="gate_prediction")


def _body(weights: Weights, sizes: Sizes, dropout: DropoutMask) -> GraphBuilder:
    """Return the Loop body: one step, and who is still speaking.

    Weights stand inside the body; memory, processed_memory and mask are read from outside.
    """
    b = GraphBuilder("loop_body", scope="body/")
    keep = _masks(b, sizes, dropout)
    b.input("iteration_num", "int64", ())
    b.input("cond_in", "bool", ())
    for state, width in _state_widths(sizes).items():
        b.input(state, "float32", (BATCH, width))
    b.input("not_finished_in", "bool", (BATCH, 1))
    b.input("mel_lengths_in", "int32", (BATCH, 1))
    if dropout is DropoutMask.INPUT:
        now = b.op("Gather", KEEP, "iteration_num", axis=0)
        keep = [b.op("Gather", now, b.scalar(i, np.int64), axis=0) for i in range(2)]
    _step(b, weights, sizes, keep)
    speaking = b.op("Less", b.op("Sigmoid", "gate_prediction"), b.scalar(GATE_THRESHOLD))
    alive = b.op("And", "not_finished_in", speaking, out="not_finished_out")
    alive = b.op("Cast", alive, to=6)
    b.op("Add", "mel_lengths_in", alive, out="mel_lengths_out")
    rows = b.op("ReduceSum", alive, keepdims=0)
    b.op("Not", b.op("Equal", rows, b.scalar(0, np.int32)), out="cond_out")
    # A body output may not be listed twice: what is carried and collected gets a second name.
    b.op("Identity", "decoder_output", out="decoder_output_scan")
    b.op("Identity", "out_attention_weights", out="out_attention_weights_scan")
    b.output("cond_out", "bool", ())
    widths = _state_widths(sizes)
    b.output("decoder_output", "float32", (BATCH, sizes.mel))
    for state in STATES[1:]:
        b.output(f"out_{state}", "float32", (BATCH, widths[state]))
    b.output("not_finished_out", "bool", (BATCH, 1))
    b.output("mel_lengths_out", "int32", (BATCH, 1))
    b.output("decoder_output_scan", "float32", (BATCH, sizes.mel))
    b.output("gate_prediction", "float32", (BATCH, 1))
    b.output("out_attention_weights_scan", "float32", (BATCH, TEXT))
    return b

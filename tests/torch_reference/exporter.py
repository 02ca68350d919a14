"""ONNX files of the torch networks in the form NVIDIA's exporter leaves behind.

Traced with a batch of 1; the single step marks its batch dynamic on some inputs only; the decoder
wraps that step, declared as it is, in a Loop without a trip limit; WaveGlow scales four of the
eight noise channels.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.torch_reference.tacotron2 import State

if TYPE_CHECKING:
    from pathlib import Path

    from tests.torch_reference.tacotron2 import Tacotron2
    from tests.torch_reference.waveglow import WaveGlow


STEP_INPUTS = (*State._fields, "memory", "processed_memory", "mask")
CARRIED = tuple(f"out_{name}" for name in State._fields[1:])
STEP_OUTPUTS = ("decoder_output", "gate_prediction", *CARRIED)
TEXT_SYMBOLS, MEL_FRAMES = 50, 62


class _Encoder(nn.Module):
    def __init__(self, network: Tacotron2) -> None:
        super().__init__()
        self.network = network

    def forward(self, sequences: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return *self.network.encode(sequences, lengths), lengths * 2


class _Step(nn.Module):
    def __init__(self, network: Tacotron2) -> None:
        super().__init__()
        self.decoder = network.decoder

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        state, rest = State(*tensors[:8]), tensors[8:]
        frame, gate, after = self.decoder(state, rest[0], rest[1], rest[2], None)
        return frame, gate, *after[1:]


class _WaveGlow(nn.Module):
    def __init__(self, network: WaveGlow) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor, z: Tensor) -> Tensor:
        return self.network(mel.squeeze(3), z.squeeze(3), (0.9, 1.0))


class _Inverse(nn.Module):
    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.inv(matrix[:, :, 0])[:, :, None])

    def forward(self, state: Tensor) -> Tensor:
        return nn.functional.conv1d(state, self.weight)


def _export(
    module: nn.Module, path: Path, arguments: tuple[Tensor, ...], opset: int, **names: Any
) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing, and of the exporter's age
        torch.onnx.export(
            module.eval(), arguments, str(path), opset_version=opset, dynamo=False, **names
        )


def export(
    folder: Path,
    tacotron2: Tacotron2,
    waveglow: WaveGlow | None = None,
    *,
    opset: int | None = None,
) -> None:
    """Write encoder, decoder, decoder_iter, postnet and, given one, WaveGlow.

    Args:
        folder: where to.
        tacotron2: the network.
        waveglow: the vocoder.
        opset: of every file; None: 10, and 11 for the decoder and WaveGlow, as the exporter's are.
    """
    sizes = tacotron2.sizes
    _export(
        _Encoder(tacotron2),
        folder / "encoder.onnx",
        (torch.randint(1, 148, (1, TEXT_SYMBOLS)), torch.tensor([TEXT_SYMBOLS], dtype=torch.int32)),
        opset or 10,
        input_names=["sequences", "sequence_lengths"],
        output_names=["memory", "processed_memory", "lens"],
        dynamic_axes={
            "sequences": {0: "batch_size", 1: "text_seq"},
            "sequence_lengths": {0: "batch_size"},
            "memory": {0: "batch_size", 1: "mem_seq"},
            "processed_memory": {0: "batch_size", 1: "mem_seq"},
            "lens": {0: "batch_size"},
        },
    )
    memory = torch.randn(1, TEXT_SYMBOLS, sizes.encoder)
    processed = torch.randn(1, TEXT_SYMBOLS, sizes.attention)
    mask = torch.zeros(1, TEXT_SYMBOLS, dtype=torch.bool)
    along_text = ["attention_weights", "attention_weights_cum"]
    wide = [*along_text, "memory", "processed_memory", "mask", *(f"out_{n}" for n in along_text)]
    _export(
        _Step(tacotron2),
        folder / "decoder_iter.onnx",
        (*tacotron2.decoder.start(memory), memory, processed, mask),
        opset or 10,
        input_names=list(STEP_INPUTS),
        output_names=list(STEP_OUTPUTS),
        dynamic_axes={name: {0: "batch_size", 1: "seq_len"} for name in wide},
    )
    step = onnx.load(folder / "decoder_iter.onnx")
    onnx.save(looped(step, sizes, opset or 11), folder / "decoder.onnx")
    _export(
        tacotron2.postnet,
        folder / "postnet.onnx",
        (torch.randn(1, sizes.mel, MEL_FRAMES),),
        opset or 10,
        input_names=["mel_outputs"],
        output_names=["mel_outputs_postnet"],
        dynamic_axes={
            name: {0: "batch_size", 2: "mel_seq"} for name in ("mel_outputs", "mel_outputs_postnet")
        },
    )
    if waveglow is not None:
        _waveglow(folder, waveglow, opset or 11)


def _waveglow(folder: Path, network: WaveGlow, opset: int) -> None:
    mixing = network.convinv
    network.convinv = nn.ModuleList(_Inverse(one.conv.weight.detach()) for one in mixing)
    mel = torch.randn(1, network.sizes.mel, MEL_FRAMES, 1)
    z = torch.randn(1, network.sizes.groups, 32 * MEL_FRAMES, 1)
    _export(
        _WaveGlow(network),
        folder / "waveglow.onnx",
        (mel, z),
        opset,
        input_names=["mel", "z"],
        output_names=["audio"],
        dynamic_axes={
            "mel": {0: "batch_size", 2: "mel_seq"},
            "z": {0: "batch_size", 2: "z_seq"},
            "audio": {0: "batch_size", 1: "audio_seq"},
        },
    )
    network.convinv = mixing


def looped(step: onnx.ModelProto, sizes: Any, opset: int) -> onnx.ModelProto:
    """Return the decoder: the single step as the body of a Loop whose trip limit is left out."""
    kinds = {**dict.fromkeys(STEP_INPUTS, TensorProto.FLOAT), "mask": TensorProto.BOOL}

    def value(name: str, kind: int, dims: Any = None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, dims)

    def constant(name: str, array: Any) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))

    # As the single step declares them, traced with a batch of 1; only the mask and what lies along
    # the text keep their axes open. The rest of the body is given as its author wrote it.
    traced = {one.name: one for one in (*step.graph.input, *step.graph.output)}

    def inside(name: str) -> onnx.ValueInfoProto:
        made = onnx.ValueInfoProto()
        made.CopyFrom(traced[name])
        return made

    def collected(name: str, of: str) -> onnx.ValueInfoProto:
        made = inside(of)
        made.name = name
        return made

    column = ["batch_size", 1]
    body_nodes = [
        *step.graph.node,
        constant("gate_threshold", np.array(0.5, np.float32)),
        constant("nobody", np.array(0, np.int32)),
        helper.make_node("Sigmoid", ["gate_prediction"], ["gate"]),
        helper.make_node("Less", ["gate", "gate_threshold"], ["going_on"]),
        helper.make_node("And", ["not_finished_in", "going_on"], ["not_finished_out"]),
        helper.make_node("Cast", ["not_finished_out"], ["counted"], to=TensorProto.INT32),
        helper.make_node("Add", ["mel_lengths_in", "counted"], ["mel_lengths_out"]),
        helper.make_node("ReduceSum", ["counted"], ["left"], keepdims=0),
        helper.make_node("Equal", ["left", "nobody"], ["all_done"]),
        helper.make_node("Not", ["all_done"], ["cond_out"]),
        helper.make_node("Identity", ["decoder_output"], ["frame_scan"]),
        helper.make_node("Identity", ["gate_prediction"], ["gate_scan"]),
        helper.make_node("Identity", ["out_attention_weights"], ["alignment_scan"]),
    ]
    body = helper.make_graph(
        body_nodes,
        "loop_body",
        [
            value("iteration_num", TensorProto.INT64, ()),
            value("cond_in", TensorProto.BOOL, ()),
            *(inside(name) for name in State._fields),
            value("not_finished_in", TensorProto.BOOL, column),
            value("mel_lengths_in", TensorProto.INT32, column),
        ],
        [
            value("cond_out", TensorProto.BOOL, ()),
            inside("decoder_output"),
            *(inside(name) for name in CARRIED),
            value("not_finished_out", TensorProto.BOOL, column),
            value("mel_lengths_out", TensorProto.INT32, column),
            collected("frame_scan", "decoder_output"),
            collected("gate_scan", "gate_prediction"),
            collected("alignment_scan", "out_attention_weights"),
        ],
        list(step.graph.initializer),
    )
    start = [f"{name}_0" for name in State._fields]
    nodes = [
        constant("zero", np.array([0], np.int64)),
        constant("one", np.array([1], np.int64)),
        constant("running", np.array(True)),
        helper.make_node("Shape", ["memory"], ["memory_shape"]),
        helper.make_node("Gather", ["memory_shape", "zero"], ["rows"]),
        helper.make_node("Concat", ["rows", "one"], ["column"], axis=0),
        helper.make_node(
            "ConstantOfShape",
            ["column"],
            ["alive_0"],
            value=numpy_helper.from_array(np.array([True])),
        ),
        helper.make_node(
            "ConstantOfShape",
            ["column"],
            ["mel_lengths_0"],
            value=numpy_helper.from_array(np.array([0], np.int32)),
        ),
        helper.make_node(
            "Loop",
            ["", "running", *start, "alive_0", "mel_lengths_0"],
            [
                *(f"{name}_t" for name in State._fields),
                "not_finished_t",
                "mel_lengths_t",
                "mel_outputs_raw",
                "gate_outputs",
                "alignments",
            ],
            name="decoder_loop",
            body=body,
        ),
        helper.make_node("Transpose", ["mel_outputs_raw"], ["mel_outputs"], perm=[1, 2, 0]),
    ]
    rnn = sizes.rnn
    widths = (sizes.mel, rnn, rnn, rnn, rnn, "seq_len", "seq_len", sizes.encoder)
    inputs = [
        *(
            value(name, TensorProto.FLOAT, ["batch_size", width])
            for name, width in zip(start, widths, strict=True)
        ),
        value("memory", kinds["memory"], ["batch_size", "seq_len", sizes.encoder]),
        value("processed_memory", TensorProto.FLOAT, ["batch_size", "seq_len", sizes.attention]),
        value("mask", kinds["mask"], ["batch_size", "seq_len"]),
    ]
    outputs = [
        value("mel_outputs", TensorProto.FLOAT, ["batch_size", sizes.mel, -1]),
        value("mel_lengths_t", TensorProto.INT32, ["batch_size", 1]),
    ]
    graph = helper.make_graph(nodes, "decoder", inputs, outputs)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=max(6, step.ir_version))

"""The real pipeline's contract on graphs of a few hundred weights, and the worker to run them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.models import tacotron2

if TYPE_CHECKING:
    from harness.models.pipeline import Pipeline, TensorSpec


ROOT = Path(__file__).resolve().parents[2]

WIDTHS = tacotron2.Widths(encoder=8, attention=4, rnn=6, mel=5)

DTYPES = {
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}

INPUTS = {"sequences": [[5, 6, 7, 8, 9]], "sequence_lengths": [5]}
OUTPUTS = ["mel_outputs_postnet", "mel_lengths_t"]


def pipeline() -> Pipeline:
    """encoder -> decoder -> postnet -> waveglow with tiny widths."""
    return tacotron2.pipeline(WIDTHS, max_steps=64)


class Writer:
    """Collects nodes; rounds what they make when the half form is written."""

    def __init__(self, *, half: bool) -> None:
        self.half = half
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(7)

    def weight(self, name: str, *shape: int) -> str:
        values = (0.3 * self._random.standard_normal(shape)).astype(np.float32)
        if self.half:
            values = values.astype(np.float16).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def heavy(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        if not self.half:
            return self.node(op, inputs, output, **attributes)
        wide = self.node(op, inputs, output + "_wide", **attributes)
        narrow = self.node("Cast", [wide], output + "_half", to=TensorProto.FLOAT16)
        return self.node("Cast", [narrow], output, to=TensorProto.FLOAT)

    def const(self, name: str, values: Any, dtype: Any = np.int64) -> str:
        self.weights.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name


def _value(spec: TensorSpec) -> Any:
    dims = [
        size if isinstance(size, (int, str)) else "_".join(map(str, size)) for size in spec.dims
    ]
    return helper.make_tensor_value_info(spec.name, DTYPES[spec.dtype], dims)


def _encoder(w: Writer) -> None:
    w.node("Gather", [w.weight("embedding", 148, 8), "sequences"], "embedded", axis=0)
    w.heavy("MatMul", ["embedded", w.weight("w_memory", 8, 8)], "memory")
    w.heavy("MatMul", ["memory", w.weight("w_processed", 8, 4)], "processed_memory")
    w.node("Identity", ["sequence_lengths"], "lens")


def _decoder(w: Writer) -> None:
    """Decode 2 x text steps, say that the last two are padding, draw noise at every step."""
    body = Writer(half=w.half)
    body.node("RandomUniform", [], "noise", shape=[1, 6])
    body.heavy("MatMul", ["state", body.weight("w_state", 6, 6)], "moved")
    body.node("Add", ["moved", "noise"], "noisy")
    body.node("Tanh", ["noisy"], "state_out")
    body.heavy("MatMul", ["state_out", body.weight("w_mel", 6, 5)], "frame")
    body.node("Identity", ["go"], "go_out")
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        body.nodes,
        "step",
        [
            info("index", TensorProto.INT64, []),
            info("go", TensorProto.BOOL, []),
            info("state", TensorProto.FLOAT, ["batch", 6]),
        ],
        [
            info("go_out", TensorProto.BOOL, []),
            info("state_out", TensorProto.FLOAT, ["batch", 6]),
            info("frame", TensorProto.FLOAT, ["batch", 5]),
        ],
        body.weights,
    )
    w.node("Shape", ["memory"], "memory_shape")
    w.node("Gather", ["memory_shape", w.const("one", 1)], "text")
    w.node("Gather", ["memory_shape", w.const("zero", 0)], "batch")
    w.node("Add", ["text", "text"], "steps")
    w.nodes.append(
        helper.make_node("Loop", ["steps", "", "decoder_hidden_0"], ["last", "frames"], body=graph)
    )
    w.node("Transpose", ["frames"], "mel_outputs", perm=[1, 2, 0])
    w.node("Sub", ["steps", w.const("two", 2)], "length")
    w.node("Unsqueeze", ["batch", w.const("axis", [0])], "batch_1")
    w.node("Concat", ["batch_1", w.const("ones", [1])], "lengths_shape", axis=0)
    w.node("Expand", ["length", "lengths_shape"], "lengths")
    w.node("Cast", ["lengths"], "mel_lengths_t", to=TensorProto.INT32)


def _postnet(w: Writer) -> None:
    kernel = w.weight("w_conv", 5, 5, 3)
    w.heavy("Conv", ["mel_outputs", kernel], "mel_outputs_postnet", pads=[1, 1])


def _waveglow(w: Writer) -> None:
    w.heavy("Conv", ["z", w.weight("w_z", 8, 8, 1, 1)], "mixed")
    w.node("ReduceMean", ["mel"], "level", axes=[1, 2, 3], keepdims=1)
    w.node("Add", ["mixed", "level"], "moved")
    w.node("Reshape", ["moved", w.const("flat", [0, -1])], "audio")


GRAPHS = {"encoder": _encoder, "decoder": _decoder, "postnet": _postnet, "waveglow": _waveglow}


def write_models(folder: Path, *, half: bool = False) -> dict[str, dict[str, Any]]:
    """Write the four models; return the `model` entry of each stage."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for stage in pipeline().stages:
        writer = Writer(half=half)
        GRAPHS[stage.name](writer)
        graph = helper.make_graph(
            writer.nodes,
            stage.name,
            [_value(spec) for spec in stage.inputs],
            [_value(spec) for spec in stage.outputs],
            writer.weights,
        )
        opset = [helper.make_opsetid("", 13)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=7)
        onnx.checker.check_model(model, full_check=True)
        content = model.SerializeToString()
        path = folder / stage.model
        path.write_bytes(content)
        entries[stage.name] = {
            "path": str(path),
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "form": "half_rounded" if half else "float32",
        }
    return entries


def plan(entries: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """The plan as JSON; without entries for a backend that reads no file."""
    described = pipeline()
    models = entries or {stage.name: {"path": "", "sha256": ""} for stage in described.stages}
    plan: dict[str, Any] = json.loads(json.dumps(described.plan(models)))
    return plan


@dataclass(frozen=True)
class Session:
    """What a worker answered."""

    greeting: dict[str, Any]
    answers: list[dict[str, Any]]
    status: int
    log: str


def talk(*lines: str | bytes | dict[str, Any], python: str = sys.executable) -> Session:
    """Send lines to a fresh worker, then the end of input; return all it answered."""
    sent = b"".join(_line(line) + b"\n" for line in lines)
    ended = subprocess.run(
        [python, "-m", "backends.worker"],
        input=sent,
        capture_output=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    return Session(answers[0], answers[1:], ended.returncode, ended.stderr.decode())


def _line(line: str | bytes | dict[str, Any]) -> bytes:
    if isinstance(line, dict):
        line = json.dumps(line)
    return line.encode() if isinstance(line, str) else line


def request(verb: str, number: int = 1, **args: Any) -> dict[str, Any]:
    """One request."""
    return {"id": number, "verb": verb, "args": args}

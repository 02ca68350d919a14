"""Model files in the form a backend asks for: as they are, or rounded to half precision.

Before that, a file that a runtime could not run as it is gets a copy that it can: with a dynamic
batch axis in Loop bodies, with small constants inside the file.

`half_rounded` is what float16 means on a processor without half kernels: every weight and every
activation between nodes holds a float16 value, kept in a float32 tensor, and the arithmetic is
float32. The interface of the graph stays float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from harness.errors import UsageError
from harness.models import batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


HALF_ROUNDED = "half_rounded"
DYNAMIC_BATCH, WEIGHTS_INSIDE = "dynamic_batch", "weights_inside"
FORMS = ("float32", HALF_ROUNDED)

ROUNDED = frozenset(
    {
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "Div",
        "Exp",
        "GRU",
        "Gemm",
        "LSTM",
        "MatMul",
        "Mul",
        "ReduceMean",
        "Relu",
        "Sigmoid",
        "Softmax",
        "Sub",
        "Tanh",
        "Where",
    }
)
"""Operators that compute new floats; the others only move values that are rounded already."""


def half_rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with weights and activations rounded through float16.

    The model given is changed in place. Tensors computed from shapes alone (such as a trip count)
    are left exact.

    Raises:
        onnx.shape_inference.InferenceError: the types of its tensors cannot be inferred.
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    for graph, typed in zip(_graphs(model.graph), _graphs(inferred.graph), strict=True):
        _round_weights(graph)
        _round_activations(graph, _not_float(typed))
    return model


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for inner in _subgraphs(node):
            yield from _graphs(inner)


def _round_weights(graph: onnx.GraphProto) -> None:
    for initializer in graph.initializer:
        if initializer.data_type == TensorProto.FLOAT:
            exact = numpy_helper.to_array(initializer)
            with np.errstate(over="ignore"):
                rounded = exact.astype(np.float16).astype(np.float32)
            initializer.CopyFrom(numpy_helper.from_array(rounded, initializer.name))


def _not_float(graph: onnx.GraphProto) -> set[str]:
    values = [*graph.input, *graph.output, *graph.value_info]
    return {
        value.name
        for value in values
        if value.type.HasField("tensor_type")
        and value.type.tensor_type.elem_type not in {TensorProto.FLOAT, TensorProto.UNDEFINED}
    }


def _from_shapes(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors that depend on shapes and constants only."""
    known = {initializer.name for initializer in graph.initializer} | {""}
    for node in graph.node:
        sizes = node.op_type in {"Shape", "Constant"}
        if sizes or (all(name in known for name in node.input) and not list(_subgraphs(node))):
            known.update(node.output)
    return known


def _round_activations(graph: onnx.GraphProto, exact: set[str]) -> None:
    exact = exact | _from_shapes(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type not in ROUNDED:
            continue
        for place, name in enumerate(node.output):
            if not name or name in exact:
                continue
            node.output[place] = f"{name}_exact"
            nodes += _rounding(f"{name}_exact", name)
    del graph.node[:]
    graph.node.extend(nodes)


def _rounding(source: str, target: str) -> Iterable[onnx.NodeProto]:
    half = f"{target}_half"
    return (
        helper.make_node("Cast", [source], [half], name=f"round_{target}", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [target], name=f"widen_{target}", to=TensorProto.FLOAT),
    )


def _as_it_is(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


WRITERS = {
    HALF_ROUNDED: half_rounded,
    DYNAMIC_BATCH: batch.free,
    WEIGHTS_INSIDE: _as_it_is,
}


def write(source: Path, form: str, target: Path) -> None:
    """Write the model file `source` in a form, its weights in the one file.

    Raises:
        UsageError: the model cannot be had in that form.
    """
    try:
        onnx.save(WRITERS[form](onnx.load(source)), target)
    except OSError:
        raise
    except Exception as error:  # ONNX and protobuf raise theirs, and those of larger files
        line = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{source}: cannot be prepared in form {form}: {line}") from error

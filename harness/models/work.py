"""How much arithmetic a model file asks for, and how many weights it reads: counted in its graph.

One multiplication with the addition behind it is one MAC. Counted are the operators that carry
the arithmetic (products, convolutions, recurrent layers), with the shapes ONNX infers from the
sizes of the inputs; a Loop's body is counted once, for one turn. Formulas are those of the
operators' definitions (onnx/docs/Operators.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.models.pipeline import product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from harness.models.pipeline import TensorSpec

SMALL = 1024
"""Elements up to which a constant may say something about shapes; larger ones are weights."""


@dataclass(frozen=True)
class Work:
    """What one pass of a graph asks for; of a graph with a Loop: before it, and one turn."""

    macs: int
    weights: int
    """Distinct weight elements those operators read."""
    step_macs: int = 0
    step_weights: int = 0


class UncountableError(ValueError):
    """A graph says too little of itself; the text says what is missing."""


def count(path: Path, inputs: Iterable[TensorSpec], sizes: Mapping[str, int]) -> Work:
    """Return the work of a model file for inputs of given sizes.

    Args:
        path: the ONNX file.
        inputs: what the pipeline feeds it.
        sizes: the value of every symbol in their shapes.

    Raises:
        UncountableError: the file or its shapes cannot be read.
    """
    import onnx  # noqa: PLC0415 - heavy
    from onnx import shape_inference  # noqa: PLC0415

    try:
        model = onnx.load(path, load_external_data=False)
        _bind(model.graph, inputs, sizes)
        for graph in _graphs(model.graph):
            for constant in graph.initializer:
                _lighten(constant)
            del graph.value_info[:]
        model = shape_inference.infer_shapes(model, data_prop=True)
    except UncountableError:
        raise
    except Exception as error:  # protobuf and onnx raise many kinds
        raise UncountableError(
            f"{path.name}: {type(error).__name__}: {error}".split("\n")[0]
        ) from error
    outer, inner = _Counted(), _Counted()
    _walk(model.graph, ({}, {}), outer, inner)
    return Work(outer.macs, outer.elements(), inner.macs, inner.elements())


def _bind(graph: Any, inputs: Iterable[TensorSpec], sizes: Mapping[str, int]) -> None:
    """Write sizes into the shapes of the inputs, those of Loop bodies too."""
    declared = {value.name: value for value in graph.input}
    symbols: dict[str, int] = {}
    for spec in inputs:
        if spec.name not in declared:
            raise UncountableError(f"the model has no input {spec.name}")
        shape = declared[spec.name].type.tensor_type.shape
        for place, value in enumerate(_values(spec, sizes)):
            dim = shape.dim[place] if place < len(shape.dim) else shape.dim.add()
            if dim.dim_param:
                symbols[dim.dim_param] = value
            dim.dim_value = value
    for inner in _graphs(graph):
        for one in [*inner.input, *inner.output]:
            for dim in one.type.tensor_type.shape.dim:
                if dim.dim_param in symbols:
                    dim.dim_value = symbols[dim.dim_param]


def _values(spec: TensorSpec, sizes: Mapping[str, int]) -> list[int]:
    try:
        return [product(size, sizes) for size in spec.dims]
    except KeyError as error:
        raise UncountableError(f"the size of {error.args[0]} is not known") from error


def _lighten(constant: Any) -> None:
    """Drop the values of a large constant: its shape is enough, and copying is slow."""
    if math.prod(constant.dims) > SMALL:
        for field in ("raw_data", "float_data", "int64_data", "int32_data", "double_data"):
            constant.ClearField(field)


def _bodies(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for inner in _bodies(node):
            yield from _graphs(inner)


class _Counted:
    """MACs so far, and the weights seen by name."""

    def __init__(self) -> None:
        self.macs = 0
        self._weights: dict[str, int] = {}

    def see(self, name: str, shape: tuple[int, ...]) -> None:
        """Count a weight once, however often it is read."""
        self._weights[name] = math.prod(shape)

    def elements(self) -> int:
        """Return the number of weight elements seen."""
        return sum(self._weights.values())


Shapes = dict[str, tuple[int, ...]]


def _constants(graph: Any) -> Shapes:
    found = {one.name: tuple(one.dims) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found |= {
                name: tuple(one.t.dims)
                for one in node.attribute
                if one.HasField("t")
                for name in node.output
            }
    return found


def _shapes(graph: Any) -> Shapes:
    """Return the shapes that are known to the last number."""
    found = {}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found


def _walk(graph: Any, around: tuple[Shapes, Shapes], now: _Counted, body: _Counted) -> None:
    """Count a graph into `now`, and its bodies into `body`.

    Args:
        graph: the onnx.GraphProto, shapes inferred.
        around: shapes and constants of the graph around it.
        now: of this graph.
        body: of what it repeats.
    """
    constants = around[1] | _constants(graph)
    shapes = around[0] | _shapes(graph) | constants
    for node in graph.node:
        for inner in _bodies(node):
            _walk(inner, (shapes, constants), body, body)
        if node.op_type in MACS:
            now.macs += _macs(node, shapes)
            for name in node.input:
                if len(constants.get(name, ())) > 1:
                    now.see(name, constants[name])


def _macs(node: Any, shapes: Shapes) -> int:
    try:
        return MACS[node.op_type](node, shapes)
    except KeyError as error:
        raise UncountableError(
            f"{node.op_type} {node.name}: no shape of {error.args[0]}"
        ) from error


def _matmul(node: Any, shapes: Shapes) -> int:
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _gemm(node: Any, shapes: Shapes) -> int:
    turned = any(one.name == "transA" and one.i for one in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if turned else 1]


def _conv(node: Any, shapes: Shapes) -> int:
    weight = shapes[node.input[1]]
    return math.prod(shapes[node.output[0]]) * math.prod(weight[1:])


def _conv_transpose(node: Any, shapes: Shapes) -> int:
    weight = shapes[node.input[1]]
    return math.prod(shapes[node.input[0]]) * math.prod(weight[1:])


def _recurrent(node: Any, shapes: Shapes) -> int:
    steps, batch = shapes[node.input[0]][:2]
    return steps * batch * sum(math.prod(shapes[name]) for name in node.input[1:3])


MACS: Mapping[str, Callable[[Any, Shapes], int]] = {
    "MatMul": _matmul, "Gemm": _gemm, "Conv": _conv, "ConvTranspose": _conv_transpose,
    "LSTM": _recurrent, "GRU": _recurrent, "RNN": _recurrent,
}  # fmt: skip

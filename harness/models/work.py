"""What a model file's graph makes a device do: multiply-accumulates, and the bytes it must move.

Everything is read from the graph: its weights' shapes, and the shapes that follow from those of its
inputs. Counted is the least any runtime can do, so that a time below what a device needs for it is
impossible: every weight is read once in a pass (or once in a step of a Loop), inputs are read,
outputs are written, and nothing between them leaves the chip. A multiplication with padding counts,
as in the usual formulas; operators that only add, compare or move values count nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.models import external
from harness.models.pipeline import product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from onnx import GraphProto, ModelProto, NodeProto

    from harness.models.pipeline import Stage

    Shape = tuple[int, ...]


KEPT_VALUES = external.SMALL
"""Constants of at most so many elements keep their values: shapes are computed from those."""
DRAWS = frozenset({"RandomUniform", "RandomNormal", "RandomUniformLike", "RandomNormalLike"})


class CountError(UsageError):
    """A graph whose work cannot be told from the graph alone."""


@dataclass(frozen=True)
class Work:
    """What one pass through a graph cannot do without.

    Weights and activations are counted in elements: how many bytes one has is up to the precision
    a backend runs in.
    """

    macs: int = 0
    """Multiply-accumulates; two operations each."""
    weights: int = 0
    """Floating-point elements of constants that are read."""
    activations: int = 0
    """Floating-point elements read from inputs and written to outputs."""
    other_bytes: int = 0
    """Bytes of inputs and outputs that are no floating-point numbers."""

    def __add__(self, other: Work) -> Work:
        """Return the work of both."""
        return Work(*(a + b for a, b in zip(self._parts(), other._parts(), strict=True)))

    def __mul__(self, times: float) -> Work:
        """Return the work of so many passes, rounded to whole ones of each kind."""
        return Work(*(round(part * times) for part in self._parts()))

    def _parts(self) -> tuple[int, int, int, int]:
        return self.macs, self.weights, self.activations, self.other_bytes

    def bytes(self, weight: int = 4, activation: int = 4) -> int:
        """Return the bytes moved, where a weight and an activation have so many."""
        return self.weights * weight + self.activations * activation + self.other_bytes


@dataclass(frozen=True)
class Counts:
    """The work of a stage: of each pass, and of each step of the Loop in it."""

    once: Work
    step: Work | None = None

    def total(self, steps: float = 0) -> Work:
        """Return the work of a pass whose Loop makes so many steps (a mean need not be whole)."""
        return self.once + (self.step * steps if self.step else Work())

    def as_dict(self) -> dict[str, Any]:
        """Return the form that stands in a result file."""
        return {"once": asdict(self.once), "step": asdict(self.step) if self.step else None}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Counts:
        """Return the counts a result file holds."""
        step = record["step"]
        return cls(Work(**record["once"]), Work(**step) if step else None)


def count(path: Path, stage: Stage, sizes: Mapping[str, int], content: str = "") -> Counts:
    """Return the work of a stage's model file at some sizes.

    Args:
        path: the file.
        stage: whose inputs it takes.
        sizes: of the symbols in them, such as batch, text and frames.
        content: hash of the file: what was read from it is kept under this and the path.

    Raises:
        CountError: the file cannot be read, or a shape does not follow from those of the inputs.
    """
    shapes = {spec.name: tuple(product(size, sizes) for size in spec.dims) for spec in stage.inputs}
    return of_model(_skeleton(path, content), shapes)


def of_model(model: ModelProto, shapes: Mapping[str, Shape]) -> Counts:
    """Return the work of a model whose inputs have these shapes.

    Raises:
        CountError: a shape that is needed does not follow from these.
    """
    skeleton = strip(model)
    graph = skeleton.graph
    scope = _Scope({}, {}, frozenset())
    return _Graph(skeleton, graph, scope, shapes).counts()


@lru_cache(maxsize=32)
def _skeleton(path: Path, content: str) -> ModelProto:  # noqa: ARG001 - part of the key
    """Return the file's model without the values of its weights: small, and quick to infer."""
    import onnx  # noqa: PLC0415 - heavy
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415
    from onnx.checker import ValidationError  # noqa: PLC0415 - as above

    try:
        model = onnx.load(path, load_external_data=False)
        external.read_small(path, model)
        return strip(model)
    except (OSError, DecodeError, ValueError, UsageError, ValidationError) as error:
        raise CountError(f"{path}: cannot be read as an ONNX model") from error


def strip(model: ModelProto) -> ModelProto:
    """Return a copy of a model whose large constants are inputs: shapes and types, no values."""
    import onnx  # noqa: PLC0415 - heavy

    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.CopyFrom(_strip(model.graph))
    return bare


def _strip(graph: GraphProto) -> GraphProto:
    import onnx  # noqa: PLC0415 - heavy

    bare = onnx.GraphProto(name=graph.name, input=graph.input, output=graph.output)
    for tensor in graph.initializer:
        _keep(bare, tensor.name, tensor)
    for node in graph.node:
        value = _constant(node)
        if value is not None and math.prod(value.dims) > KEPT_VALUES:
            _keep(bare, node.output[0], value)
            continue
        copy = bare.node.add(
            name=node.name, op_type=node.op_type, domain=node.domain,
            input=node.input, output=node.output,
        )  # fmt: skip
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                copy.attribute.add(name=attribute.name, type=attribute.type, g=_strip(attribute.g))
            else:
                copy.attribute.append(attribute)
    return bare


def _constant(node: NodeProto) -> Any:
    if node.op_type != "Constant":
        return None
    return next((one.t for one in node.attribute if one.name == "value"), None)


def _keep(graph: GraphProto, name: str, tensor: Any) -> None:
    """Put a constant into a graph: with its values when it is small, else its shape alone."""
    import onnx  # noqa: PLC0415 - heavy

    kept = graph.initializer.add()
    if math.prod(tensor.dims) <= KEPT_VALUES and not tensor.external_data:
        kept.CopyFrom(tensor)
    else:
        kept.CopyFrom(onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type))
    kept.name = name


@dataclass(frozen=True)
class _Scope:
    """What a graph inside another one may read of it."""

    shapes: Mapping[str, Shape]
    types: Mapping[str, int]
    constants: frozenset[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    """Small constants with their values, by name."""


class _Graph:
    """One graph with the shape of everything in it."""

    def __init__(
        self, model: ModelProto, graph: GraphProto, outer: _Scope, inputs: Mapping[str, Shape]
    ) -> None:
        self._model, self._graph, self._outer = model, graph, outer
        own = {tensor.name for tensor in graph.initializer}
        self._inputs = [value for value in graph.input if value.name not in own]
        self._shapes: dict[str, Shape] = dict(outer.shapes)
        self._types: dict[str, int] = dict(outer.types)
        self._values: dict[str, Any] = dict(outer.values)
        self._constants = self._follow(outer.constants | own)
        self._infer(inputs)

    def _infer(self, inputs: Mapping[str, Shape]) -> None:
        """Infer every shape, node by node, from those of inputs, weights and what lies outside.

        Node by node because shapes are computed too: what small vectors of sizes hold is followed.
        """
        from onnx import defs  # noqa: PLC0415 - heavy

        for value in self._inputs:
            self._types[value.name] = value.type.tensor_type.elem_type
            self._shapes.pop(value.name, None)
            if value.name in inputs:
                self._shapes[value.name] = inputs[value.name]
        for tensor in self._graph.initializer:
            self._shapes[tensor.name] = tuple(tensor.dims)
            self._types[tensor.name] = tensor.data_type
            if _has_values(tensor):
                self._values[tensor.name] = tensor
        for node in self._graph.node:
            if node.op_type == "Loop":  # a state keeps its shape from step to step
                for name, made in zip(node.input[2:], node.output, strict=False):
                    self._learn(made, self._types.get(name, 0), self._shapes.get(name))
            elif node.op_type == "If":
                self._either(node)
            elif not self._evaluated(node) and defs.has(node.op_type, node.domain):
                self._typed(node)

    def _learn(self, name: str, kind: int, shape: Shape | None) -> None:
        if not name:  # an output left out
            return
        self._types[name] = kind
        if shape is not None:
            self._shapes[name] = shape

    def _either(self, node: NodeProto) -> None:
        """Learn the outputs' shapes where both branches agree on them."""
        branches = [self._inner(graph, {}) for _, graph in _subgraphs(node)]
        for place, made in enumerate(node.output):
            kinds, shapes = zip(*(one.output(place) for one in branches), strict=True)
            same = shapes[0] if all(one == shapes[0] for one in shapes) else None
            self._learn(made, kinds[0], same)

    def output(self, place: int) -> tuple[int, Shape | None]:
        """Return the type of the graph's output at a place, and its shape where it is known."""
        name = self._graph.output[place].name
        return self._types.get(name, 0), self._shapes.get(name)

    def _evaluated(self, node: NodeProto) -> bool:
        """Follow a small constant or vector of sizes through a node; tell whether it could be."""
        from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - heavy

        if node.op_type == "Shape" and not node.attribute and node.input[0] in self._shapes:
            sizes = self._shapes[node.input[0]]
            made = [helper.make_tensor(node.output[0], TensorProto.INT64, [len(sizes)], sizes)]
        elif node.op_type in DRAWS or any(one and one not in self._values for one in node.input):
            return False
        else:
            made = [numpy_helper.from_array(one) for one in self._run(node)]
        for name, tensor in zip(node.output, made, strict=False):
            self._learn(name, tensor.data_type, tuple(tensor.dims))
            if _has_values(tensor):
                self._values[name] = tensor
        return bool(made)

    def _run(self, node: NodeProto) -> list[Any]:
        """Return what a node makes of known values; nothing where it cannot be computed here."""
        import numpy as np  # noqa: PLC0415 - with onnx
        from onnx import helper, numpy_helper  # noqa: PLC0415 - heavy
        from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - heavy

        feed = {one: numpy_helper.to_array(self._values[one]) for one in set(node.input) - {""}}
        taken = [helper.make_tensor_value_info(one, self._types[one], None) for one in feed]
        made = [helper.make_tensor_value_info(one, 0, None) for one in node.output if one]
        graph = helper.make_graph([node], "node", taken, made)
        model = helper.make_model(graph, opset_imports=self._model.opset_import)
        try:
            found = ReferenceEvaluator(model).run(None, feed)
        except Exception:  # noqa: BLE001 - of any kind, by operator: its shape is inferred instead
            return []
        return [np.asarray(one) for one in found]

    def _typed(self, node: NodeProto) -> None:
        """Learn the shapes and types of a node's outputs from those of its inputs."""
        from onnx import defs, helper, shape_inference  # noqa: PLC0415 - heavy

        version = next(
            (one.version for one in self._model.opset_import if one.domain == node.domain), 1
        )
        types = {
            name: helper.make_tensor_type_proto(self._types[name], self._shapes.get(name))
            for name in node.input
            if self._types.get(name)
        }
        values = {name: self._values[name] for name in node.input if name in self._values}
        try:
            found = shape_inference.infer_node_outputs(
                defs.get_schema(node.op_type, version, node.domain), node, types, values,
                opset_imports=list(self._model.opset_import), ir_version=self._model.ir_version,
            )  # fmt: skip
        except Exception:  # noqa: BLE001 - unrelated types, by version: the shape stays unknown
            return
        for name, type_proto in found.items():
            kind = type_proto.tensor_type
            sizes = [one.dim_value for one in kind.shape.dim if one.HasField("dim_value")]
            whole = kind.HasField("shape") and len(sizes) == len(kind.shape.dim)
            self._learn(name, kind.elem_type, tuple(sizes) if whole else None)

    def _follow(self, known: frozenset[str]) -> frozenset[str]:
        """Return the tensors that depend on constants alone: a runtime computes those once."""
        found = {*known, ""}
        for node in self._graph.node:
            fixed = node.op_type not in DRAWS and not list(_subgraphs(node))
            if fixed and all(name in found for name in node.input):
                found.update(node.output)
        return frozenset(found)

    def counts(self) -> Counts:
        """Return the work of this graph, and that of a step of the Loop in it."""
        once, step = Work(), None
        read: dict[str, int] = {}
        for node in self._graph.node:
            if all(name in self._constants for name in node.output):
                continue
            if node.op_type == "Loop":
                if step is not None:
                    raise CountError(f"{self._graph.name}: more than one Loop")
                step = self._body(node)
            elif node.op_type == "If":
                branches = [self._inner(one, {}).counts().once for _, one in _subgraphs(node)]
                once += min(branches, key=lambda one: one.macs)
            elif list(_subgraphs(node)):
                raise CountError(f"{node.name or node.op_type}: what is inside cannot be counted")
            else:
                once += Work(macs=self._macs(node))
                for name, elements in self._weights(node):
                    read[name] = min(self._size(name), read.get(name, 0) + elements)
        return Counts(once + Work(weights=sum(read.values())) + self._border(), step)

    def _body(self, loop: NodeProto) -> Work:
        """Return the work of one step: what it carries is read and written, what it collects too.

        What the step collects counts only where somebody reads it.
        """
        ((_, body),) = _subgraphs(loop)
        carried = len(body.input) - 2
        initial = [(), (), *(self._shape(name) for name in loop.input[2:])]
        shapes = {value.name: shape for value, shape in zip(body.input, initial, strict=True)}
        used = {name for node in self._graph.node for name in node.input}
        used |= {value.name for value in self._graph.output}
        unread = {
            value.name
            for value, name in zip(body.output[1 + carried :], loop.output[carried:], strict=False)
            if name not in used
        }
        inner = self._inner(body, shapes)
        found = inner.counts()
        if found.step is not None:
            raise CountError(f"{body.name}: a Loop inside of a Loop")
        return (
            found.once
            + inner.moved(set(_outside(body)) - self._constants)
            + _less(inner.moved(unread))
        )

    def _border(self) -> Work:
        """Return the work of reading the inputs and writing the outputs.

        What a Loop collects has as many rows as it made steps: its writing is part of each step.
        """
        outputs = {value.name for value in self._graph.output}
        if any(node.op_type == "Loop" for node in self._graph.node):
            outputs &= set(self._shapes)
        return self.moved({*(value.name for value in self._inputs), *outputs} - self._constants)

    def moved(self, names: Iterable[str]) -> Work:
        """Return the work of reading or writing tensors, each once."""
        from onnx import helper  # noqa: PLC0415 - heavy

        floats = other = 0
        for name in names:
            if _is_float(kind := self._types.get(name, 0)):
                floats += self._size(name)
            else:
                other += self._size(name) * helper.tensor_dtype_to_np_dtype(kind).itemsize
        return Work(activations=floats, other_bytes=other)

    def _scope(self) -> _Scope:
        return _Scope(self._shapes, self._types, self._constants, self._values)

    def _inner(self, graph: GraphProto, shapes: Mapping[str, Shape]) -> _Graph:
        return _Graph(self._model, graph, self._scope(), shapes)

    def _weights(self, node: NodeProto) -> Iterator[tuple[str, int]]:
        """Yield the weights a node reads and how many of their elements; no single numbers."""
        for place, name in enumerate(node.input):
            fixed = name and name in self._constants and _is_float(self._types.get(name, 0))
            if fixed and self._shape(name):
                rows = node.op_type == "Gather" and place == 0
                yield name, self._size(node.output[0] if rows else name)

    def _macs(self, node: NodeProto) -> int:
        rule = MACS.get(node.op_type)
        if rule is None:
            return 0
        shapes = [self._shape(name) if name else () for name in node.input]
        return rule(node, shapes, self._shape(next(filter(None, node.output))))

    def _shape(self, name: str) -> Shape:
        shape = self._shapes.get(name)
        if shape is None:
            raise CountError(f"{self._graph.name}: the shape of '{name}' is not known")
        return shape

    def _size(self, name: str) -> int:
        return math.prod(self._shape(name))


def _less(work: Work) -> Work:
    return work * -1


def _has_values(tensor: Any) -> bool:
    return bool(math.prod(tensor.dims) <= KEPT_VALUES) and not tensor.external_data


def _is_float(kind: int) -> bool:
    from onnx import TensorProto  # noqa: PLC0415 - heavy

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    return kind in floats


def _subgraphs(node: NodeProto) -> Iterator[tuple[str, GraphProto]]:
    from onnx import AttributeProto  # noqa: PLC0415 - heavy

    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.name, attribute.g


def _outside(graph: GraphProto) -> Iterator[str]:
    """Yield what a graph reads and does not make itself, graphs inside of it included."""
    made = {value.name for value in graph.input} | {one.name for one in graph.initializer}
    made |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        names = [*node.input, *(name for _, inner in _subgraphs(node) for name in _outside(inner))]
        yield from (name for name in names if name and name not in made)


# --- multiply-accumulates of an operator, from the shapes of its inputs and its first output ------


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    from onnx import helper  # noqa: PLC0415 - heavy

    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _conv(weight: int) -> Callable[[NodeProto, Sequence[Shape], Shape], int]:
    """Each output value is a sum over a kernel and its share of the input's channels."""
    return lambda _, ins, out: math.prod(out) * math.prod(ins[weight][1:])


def _conv_transpose(_: NodeProto, ins: Sequence[Shape], __: Shape) -> int:
    """Each input value is spread over a kernel and its share of the output's channels."""
    return math.prod(ins[0]) * math.prod(ins[1][1:])


def _matmul(_: NodeProto, ins: Sequence[Shape], out: Shape) -> int:
    return math.prod(out) * ins[0][-1]


def _gemm(node: NodeProto, ins: Sequence[Shape], out: Shape) -> int:
    return math.prod(out) * ins[0][0 if _attribute(node, "transA", 0) else 1]


def _recurrent(_: NodeProto, ins: Sequence[Shape], __: Shape) -> int:
    """W (directions, gates * hidden, inputs) and R (..., hidden), for every row and position."""
    positions, batch, _inputs = ins[0]
    return positions * batch * (math.prod(ins[1]) + math.prod(ins[2]))


MACS: Mapping[str, Callable[[NodeProto, Sequence[Shape], Shape], int]] = {
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
"""Every other operator of these networks moves values or works on each once."""

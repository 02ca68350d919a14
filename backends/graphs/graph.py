"""A graph being rewritten: who makes a tensor, who reads it, which are constants.

The onnx package is part of the runtime's own tools; it is imported on first use. Node order is
kept, so that nodes that draw random numbers, seeded by their place, stay where they were.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

WEIGHTS = ".weights"
"""Suffix of the file a rewritten model keeps its weights in."""
OPSET, IR_VERSION = 11, 6
"""Of models made here: what any runtime reads."""
SIZES_AS_INPUT = 13
"""From this opset, axes and sizes of a cut are inputs where they were attributes before."""
CONSTANTS = {
    "value_float": "float32", "value_floats": "float32", "value_int": "int64",
    "value_ints": "int64",
}  # fmt: skip
"""Attributes of a Constant that hold plain numbers, and of which type they are."""
OWN = ("", "ai.onnx")
"""The domain of ONNX's own operators, by both of its names."""
LEAST_BYTES = 1024
"""Smaller constants stay in the model, where the runtime can fold them."""


class Graph:
    """One graph or Loop body under rewriting.

    Args:
        proto: the onnx.GraphProto, changed in place by `finish`.
        outer: the graph around a body.
        host: the node of `outer` whose body this is.
        opset: of the model, which decides how operators are written; that of `outer` in a body.
    """

    def __init__(
        self, proto: Any, outer: Optional[Graph] = None, host: Any = None, opset: int = OPSET
    ) -> None:
        self.proto = proto
        self.opset: int = opset if outer is None else outer.opset
        self.outer = outer
        self.host = host
        self.nodes: List[Any] = list(proto.node)
        self._arrays: Dict[str, Any] = {}
        self._weights = {one.name: one for one in proto.initializer}
        self._new = 0
        self._index()

    def _index(self) -> None:
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.readers: Dict[str, List[Any]] = {}
        for node in self.nodes:
            for name in _reads(node):
                self.readers.setdefault(name, []).append(node)
        self.outputs = {one.name for one in self.proto.output}

    # Looking

    def array(self, name: str, rank: Optional[int] = None) -> Any:
        """Return a constant of so many axes as a numpy array, or None: it is not one."""
        found = self._array(name)
        return None if found is None or rank not in (None, found.ndim) else found

    def _array(self, name: str) -> Any:
        from onnx import numpy_helper

        if name in self._arrays:
            return self._arrays[name]
        found = self._weights.get(name)
        maker = self.makers.get(name)
        if maker is not None and maker.op_type == "Constant":
            found = _constant(maker)
        if found is None:
            made_here = maker is not None or any(one.name == name for one in self.proto.input)
            return None if made_here or self.outer is None else self.outer._array(name)  # noqa: SLF001
        self._arrays[name] = numpy_helper.to_array(found)
        return self._arrays[name]

    def maker(self, name: str, *kinds: str) -> Any:
        """Return the node that makes a tensor, if it is of one of these kinds; else None."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type in kinds else None

    def reader(self, name: str, *kinds: str) -> Any:
        """Return the only reader of a tensor that is no output, if of one of these kinds."""
        found = self.readers.get(name, [])
        if len(found) != 1 or name in self.outputs or found[0].op_type not in kinds:
            return None
        return found[0]

    def of(self, *kinds: str) -> List[Any]:
        """Return the nodes of these kinds, in order."""
        return [node for node in self.nodes if node.op_type in kinds]

    def is_invariant(self, name: str) -> bool:
        """Return whether a tensor comes from outside of this body."""
        here = name in self.makers or name in self._weights
        return self.outer is not None and not (
            here or any(one.name == name for one in self.proto.input)
        )

    # Operators that are written one way before `SIZES_AS_INPUT` and another from then on

    def split(self, name: str, pieces: Sequence[str], sizes: Sequence[int], axis: int) -> Any:
        """Return a node that cuts a tensor into pieces of these sizes."""
        if self.opset < SIZES_AS_INPUT:
            return make("Split", [name], pieces, axis=axis, split=list(sizes))
        return make("Split", [name, self._integers("sizes", sizes)], pieces, axis=axis)

    def squeeze(self, name: str, out: str, axes: Sequence[int]) -> Any:
        """Return a node that drops axes of length 1."""
        return self._with_axes("Squeeze", name, out, axes)

    def unsqueeze(self, name: str, out: str, axes: Sequence[int]) -> Any:
        """Return a node that puts in axes of length 1."""
        return self._with_axes("Unsqueeze", name, out, axes)

    def _with_axes(self, kind: str, name: str, out: str, axes: Sequence[int]) -> Any:
        if self.opset < SIZES_AS_INPUT:
            return make(kind, [name], out, axes=list(axes))
        return make(kind, [name, self._integers("axes", axes)], out)

    def _integers(self, stem: str, values: Sequence[int]) -> str:
        import numpy as np

        return self.weight(stem, np.array(values, np.int64))

    # Changing

    def name(self, stem: str) -> str:
        """Return a name not used in this graph, by earlier rewritings neither."""
        while True:
            self._new += 1
            name = f"{self.proto.name}/{stem}_{self._new}"
            if name not in self.makers and name not in self._weights:
                return name

    def weight(self, stem: str, array: Any) -> str:
        """Add a constant; return its name."""
        import numpy as np
        from onnx import numpy_helper

        name = self.name(stem)
        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def replace(self, old: Sequence[Any], new: Sequence[Any]) -> None:
        """Put nodes where the last of the old ones stood, and drop those."""
        gone = {id(node) for node in old}
        last = max(index for index, node in enumerate(self.nodes) if id(node) in gone)
        before = [node for node in self.nodes[:last] if id(node) not in gone]
        after = [node for node in self.nodes[last:] if id(node) not in gone]
        self.nodes = [*before, *new, *after]
        self._index()

    def returns(self, node: Any) -> None:
        """Add a node whose one output, a float32 number, is a further result of the graph."""
        from onnx import TensorProto, helper

        (name,) = node.output
        self.nodes.append(node)
        self.proto.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
        self._index()

    def before_host(self, nodes: Sequence[Any]) -> None:
        """Put nodes into the graph around this body, before the node that holds it."""
        outer = self.outer
        if outer is None:
            raise ValueError(f"{self.proto.name} is no body")
        index = next(i for i, node in enumerate(outer.nodes) if node is self.host)
        outer.nodes[index:index] = nodes
        outer._index()  # noqa: SLF001 - of this class

    def finish(self) -> None:
        """Write the graph back without what nothing reads any more."""
        self._drop_unread()
        self._sort()
        del self.proto.node[:]
        self.proto.node.extend(self.nodes)
        read = set(self.readers) | self.outputs
        kept = [one for name, one in self._weights.items() if name in read]
        del self.proto.initializer[:]
        self.proto.initializer.extend(kept)
        del self.proto.value_info[:]

    def _sort(self) -> None:
        """Put makers before readers, and leave the order as it is otherwise."""
        ordered: List[Any] = []
        seen = set()

        def place(node: Any) -> None:
            if id(node) not in seen:
                seen.add(id(node))
                for name in _reads(node):
                    if name in self.makers:
                        place(self.makers[name])
                ordered.append(node)

        for node in self.nodes:
            place(node)
        self.nodes = ordered

    def _drop_unread(self) -> None:
        self._index()  # bodies may read other things by now
        while True:
            wanted = set(self.readers) | self.outputs
            kept = [node for node in self.nodes if any(name in wanted for name in node.output)]
            if len(kept) == len(self.nodes):
                return
            self.nodes = kept
            self._index()


def of_model(model: Any) -> Graph:
    """Return a model's graph, to be rewritten in the operators of the model's own opset."""
    return Graph(model.graph, opset=opset_of(model))


def opset_of(model: Any) -> int:
    """Return the version of ONNX's own operators a model asks for; 1 where it asks for none."""
    return max((one.version for one in model.opset_import if one.domain in OWN), default=1)


def raise_opset(model: Any, opset: int) -> bool:
    """Let a model ask for a later version of the operators, where its nodes mean the same there.

    Args:
        model: an onnx.ModelProto, changed in place.
        opset: at least this it shall be.

    Returns:
        Whether it is now: not where the version between them changed what a node is given.
    """
    before = opset_of(model)
    if before >= opset:
        return True
    if not all(_same(node, before, opset) for node in _every(model.graph)):
        return False
    for one in model.opset_import:
        if one.domain in OWN:
            one.version = opset
    return True


def _every(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of those inside them."""
    for node in graph.node:
        yield node
        for one in node.attribute:
            for inner in [one.g, *one.graphs]:
                for deep in _every(inner):
                    yield deep


def _same(node: Any, before: int, after: int) -> bool:
    """Return whether a node takes the same inputs and attributes in both versions."""
    from onnx import defs

    if node.domain not in OWN:
        return True
    if not defs.has(node.op_type, max_inclusive_version=before):
        return False
    old, new = (defs.get_schema(node.op_type, version, "") for version in (before, after))
    names = [[one.name for one in schema.inputs[: len(node.input)]] for schema in (old, new)]
    return names[0] == names[1] and {one.name for one in node.attribute} <= set(new.attributes)


def _constant(node: Any) -> Any:
    """Return the tensor of a Constant node, None for what is no tensor of numbers."""
    import numpy as np
    from onnx import numpy_helper

    for one in node.attribute:
        if one.name in CONSTANTS:
            value = np.array(attribute(node, one.name), CONSTANTS[one.name])
            return numpy_helper.from_array(value, node.output[0])
    return attribute(node, "value")


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Return the value of a node's attribute."""
    from onnx import helper

    for one in node.attribute:
        if one.name == name:
            return helper.get_attribute_value(one)
    return default


def given(node: Any, place: int) -> str:
    """Return the name of a node's input, "" when it is left out."""
    name: str = node.input[place] if place < len(node.input) else ""
    return name


def make(kind: str, inputs: Sequence[str], outputs: Any, **attributes: Any) -> Any:
    """Return a new node, named after its first output."""
    from onnx import helper

    outputs = [outputs] if isinstance(outputs, str) else list(outputs)
    name = next(filter(None, outputs)) + "/node"
    return helper.make_node(kind, list(inputs), outputs, name=name, **attributes)


def bodies(graph: Graph) -> Iterator[Tuple[Any, Any]]:
    """Yield (node, body) of every Loop of a graph."""
    for node in graph.of("Loop"):
        yield node, attribute(node, "body")


def _reads(node: Any) -> Iterator[str]:
    """Yield the tensors a node reads, those its bodies take from outside included."""
    for name in node.input:
        if name:
            yield name
    for one in node.attribute:
        for inner in [one.g, *one.graphs]:
            made = {value.name for value in inner.input}
            made |= {value.name for value in inner.initializer}
            made |= {name for part in inner.node for name in part.output}
            for name in sorted({name for part in inner.node for name in _reads(part)} - made):
                yield name
            for value in inner.output:
                if value.name not in made:
                    yield value.name


def small_model(
    nodes: Sequence[Any],
    takes: Dict[str, List[Any]],
    gives: Dict[str, List[Any]],
    rewriting: Callable[[Graph], None],
    domain: str,
    *,
    weights: Optional[Dict[str, Any]] = None,
) -> bytes:
    """Return a model of some nodes, rewritten, as the bytes of a file.

    Args:
        nodes: in order.
        takes: its inputs, of float32: name and sizes, a name for an open one.
        gives: its outputs, the same.
        rewriting: applied to the graph.
        domain: of the operators beside ONNX's own.
        weights: its constants, numpy arrays by name.
    """
    from onnx import TensorProto, helper, numpy_helper

    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in one.items()]
        for one in (takes, gives)
    )
    constants = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = Graph(helper.make_graph(list(nodes), "small", inputs, outputs, constants))
    graph.nodes = list(nodes)
    rewriting(graph)
    graph.finish()
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(domain, 1)]
    made = helper.make_model(graph.proto, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(made.SerializeToString())


def rewrite(
    source: str, target: str, rewritings: Sequence[Callable[[Any], Dict[str, int]]]
) -> Dict[str, int]:
    """Write a model file rewritten; return what was rewritten, and how often.

    Its weights go into a file of their own beside it, ending in `WEIGHTS`: the runtime maps that
    into memory, where weights inside the model are parsed and copied (1.2 s against 0.35 s for the
    full-size decoder).

    Raises:
        ImportError: the onnx package is not installed.
    """
    import onnx

    model = onnx.load(source)
    counts: Dict[str, int] = {}
    for one in rewritings:
        counts.update(one(model))
    beside = Path(target).with_suffix(WEIGHTS)
    if beside.exists():  # it would be added to
        beside.unlink()
    onnx.save(
        model,
        target,
        save_as_external_data=True,
        location=beside.name,
        size_threshold=LEAST_BYTES,
    )
    return counts

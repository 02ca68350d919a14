"""The batch axis of Loop bodies, which NVIDIA's exporter leaves at the batch it traced with.

Its decoder takes any batch and hands it to a body whose inputs are declared `[1, ...]`. Runtimes
that plan memory by declared shapes then fail, or compute wrongly, from the second row on. Only
declarations are changed here, no operator and no weight.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


FIXED = "loop_fixed"
"""Of a model's record: the names that `fixed` returned for its file."""


def fixed(model: Any) -> tuple[str, ...]:
    """Return what Loop bodies are handed in another size than they declare: a number for any.

    Args:
        model: an onnx.ModelProto; its weights do not matter.
    """
    return tuple(
        inner.name
        for graph in _graphs(model.graph)
        for loop, body in _loops(graph)
        for inner, outer in _carried(graph, loop, body)
        if any(_differs(inner, outer))
    )


def free(model: Any) -> Any:
    """Return a model, changed in place, whose Loop bodies declare the sizes they are handed.

    What follows from those sizes inside and after the Loop is left for the runtime to infer.
    """
    for graph in _graphs(model.graph):
        for loop, body in _loops(graph):
            _free(graph, loop, body)
        del graph.value_info[:]
    return model


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _loops(graph: Any) -> Iterator[tuple[Any, Any]]:
    for node in graph.node:
        if node.op_type == "Loop":
            yield node, next(one.g for one in node.attribute if one.name == "body")


def _carried(graph: Any, loop: Any, body: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (what the body declares, what is declared around it or None) of what is carried."""
    around = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    for name, inner in zip(loop.input[2:], body.input[2:], strict=False):
        yield inner, around.get(name)


def _dims(value: Any) -> Any:
    return value.type.tensor_type.shape.dim


def _differs(inner: Any, outer: Any) -> list[bool]:
    """Return, axis by axis, whether a number stands inside where any size may come from outside."""
    if outer is None or len(_dims(outer)) != len(_dims(inner)):
        return [False] * len(_dims(inner))
    pairs = zip(_dims(inner), _dims(outer), strict=True)
    return [one.HasField("dim_value") and not other.HasField("dim_value") for one, other in pairs]


def _free(graph: Any, loop: Any, body: Any) -> None:
    carried = list(_carried(graph, loop, body))
    if not any(any(_differs(inner, outer)) for inner, outer in carried):
        return
    given = {value.name for value in graph.input}
    for place, (inner, outer) in enumerate(carried):
        differs = _differs(inner, outer)
        if loop.input[2 + place] not in given and differs:
            differs[0] = True  # computed: its rows may be those of the batch
        for declared in (inner, body.output[1 + place]):
            for dim, other, change in zip(_dims(declared), _symbols(outer), differs, strict=False):
                if change:
                    dim.Clear()
                    dim.dim_param = other
    for collected in body.output[1 + len(carried) :]:
        if _dims(collected):
            _dims(collected)[0].Clear()


def _symbols(outer: Any) -> Iterator[str]:
    """Yield the symbol of each axis, empty where there is none, and for ever after the last."""
    for dim in _dims(outer) if outer is not None else ():
        yield dim.dim_param
    yield from repeat("")

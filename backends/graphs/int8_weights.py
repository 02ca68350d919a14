"""int8_weights."""

from __future__ import annotations

from typing import Any, Iterator, Tuple

from backends.graphs.graph import (
    Graph,
    attribute,
    given,
)

FEW = 16
"""Convolutions with fewer channels in or out than this stay float32."""
LARGEST = 127


def symmetric(weight: Any, axis: int, largest: int = LARGEST) -> Tuple[Any, Any]:
    """Return int8 weights and the scale of each output; `axis` is the one summed over."""
    import numpy as np

    reach = np.abs(weight).max(axis=axis, keepdims=True)
    scale = np.where(reach == 0.0, 1.0, reach / largest).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale.squeeze(axis)


def leaves(graph: Graph, name: str) -> bool:
    """Return whether a tensor, or a piece it is cut into, is a result of the graph."""
    cut = graph.reader(name, "Split")
    return name in graph.outputs or (
        cut is not None and any(piece in graph.outputs for piece in cut.output)
    )


def products(graph: Graph) -> Iterator[Tuple[Any, Any, Any]]:
    """Yield (node, weight (in, out), bias (out,) or None) of every product to be quantised."""
    for one in graph.of("Gemm", "MatMul"):
        weight, bias = graph.array(one.input[1], rank=2), graph.array(given(one, 2), rank=1)
        plain = not attribute(one, "transA", 0) and attribute(one, "alpha", 1.0) == 1.0
        known = weight is not None and (bias is not None or not given(one, 2))
        if plain and known and not leaves(graph, one.output[0]):
            yield one, weight.T if attribute(one, "transB", 0) else weight, bias

"""Lets onnxruntime's blocked convolutions of width 1 do what they do best, in a fused model.

Large dense layers become such convolutions, and those that WaveGlow applies to one tensor are
joined. Both are for the form that this runtime runs alone: others multiply quicker.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

from backends.graphs.fusion import Counts, dense_layer
from backends.graphs.graph import Graph, attribute, bodies, given, make, of_model

LARGE = 1 << 20
"""Weights of a dense layer that does not stay in a second-level cache."""
JOINED = 4096
"""Channels that joined convolutions make at most."""


def large_products(model: Any) -> Counts:
    """Compute large dense layers of a fused model as convolutions, in place; return how many.

    For some rows the runtime's blocked convolutions get through a matrix quicker than its products
    do (decision 60): x W + b is a convolution of width 1 over rows that lie side by side.
    """
    graph = of_model(model)
    done = 0
    for one in [*(Graph(body, graph, host) for host, body in bodies(graph)), graph]:
        for node in one.of("Gemm"):
            layer = dense_layer(one, node)
            if layer is not None and layer[0].size >= LARGE:
                _side_by_side(one, node, *layer)
                done += 1
        one.finish()
    return {"large products as convolutions": done} if done else {}


def _side_by_side(graph: Graph, node: Any, weight: Any, bias: Any) -> None:
    inputs, outputs = weight.shape
    kernel = graph.weight("kernel", weight.T.reshape(outputs, inputs, 1, 1))
    n = {key: graph.name(key) for key in ("turned", "rows", "made", "flat")}
    graph.replace(
        [node],
        [
            make("Transpose", [node.input[0]], n["turned"], perm=[1, 0]),
            graph.unsqueeze(n["turned"], n["rows"], [0, 2]),
            make(
                "Conv", [n["rows"], kernel, graph.weight("bias", bias)], n["made"],
                kernel_shape=[1, 1],
            ),
            graph.squeeze(n["made"], n["flat"], [0, 2]),
            make("Transpose", [n["flat"]], node.output[0], perm=[1, 0]),
        ],
    )  # fmt: skip


def joined_convolutions(model: Any) -> Counts:
    """Compute convolutions of width 1 over the same tensor together, in place; return how many.

    WaveGlow conditions every layer on one tensor. Its convolutions depend on nothing else, so that
    the runtime computes all of them first and keeps their results, gigabytes that no cache holds;
    joined by `JOINED` channels they are a flow's, computed when the flow comes (decision 60).
    """
    graph = of_model(model)
    by_source: Dict[str, List[Any]] = {}
    for one in graph.of("Conv"):
        if _is_pointwise(graph, one):
            by_source.setdefault(one.input[0], []).append(one)
    done = sum(
        _join(graph, part)
        for alike in by_source.values()
        for part in _portions(graph, alike)
        if len(part) > 1
    )
    graph.finish()
    return {"convolutions of one input joined": done} if done else {}


def _is_pointwise(graph: Graph, conv: Any) -> bool:
    weight, bias = graph.array(conv.input[1]), graph.array(given(conv, 2), rank=1)
    return (
        weight is not None
        and bias is not None
        and set(weight.shape[2:]) == {1}
        and {one.name for one in conv.attribute} <= {"kernel_shape", "dilations", "pads"}
        and not any(attribute(conv, "pads", ()))
    )


def _portions(graph: Graph, alike: List[Any]) -> Iterator[List[Any]]:
    """Yield convolutions in turn, so many at once that they make `JOINED` channels at most."""
    portion: List[Any] = []
    channels = 0
    for one in alike:
        made = len(graph.array(one.input[1]))
        if portion and channels + made > JOINED:
            yield portion
            portion, channels = [], 0
        portion.append(one)
        channels += made
    yield portion


def _join(graph: Graph, alike: List[Any]) -> int:
    import numpy as np

    weights = [graph.array(one.input[1]) for one in alike]
    biases = [graph.array(one.input[2]) for one in alike]
    both = graph.name("joined")
    facts = [graph.weight("kernels", np.concatenate(weights)),
             graph.weight("biases", np.concatenate(biases))]  # fmt: skip
    conv = make("Conv", [alike[0].input[0], *facts], both)
    conv.attribute.extend(alike[0].attribute)
    made = [one.output[0] for one in alike]
    cut = graph.split(both, made, [len(one) for one in weights], axis=1)
    graph.replace(alike, [conv, cut])
    return len(alike)

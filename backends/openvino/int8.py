"""Gives a fused model int8 weights in ONNX's own operators, from which OpenVINO makes int8 kernels.

A dense layer's weights become Cast, Mul: the CPU plugin keeps them int8 and quantises activations
while the model runs, by groups of each row; a layer narrower than a group it would compute in
float32, from weights widened each time. Its convolutions run in int8 only between ranges known
beforehand: QuantizeLinear, DequantizeLinear before them. Those ranges are what the float32 model
showed (`watched`). What stays float32 is what `int8` leaves so, and whole LSTMs: the plugin has no
int8 kernel for them.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from backends.graphs import int8_weights
from backends.graphs.graph import Graph, attribute, bodies, make, of_model

FLOAT = 1
"""ONNX's number of float32."""
GROUP = 256
"""So many values of a row share a scale: of 32 to 1024 none is quicker, all are about as exact."""
LEAST, LARGEST = "/least", "/largest"
"""Added to a tensor's name: the results that hold its range."""
STEPS = 255
"""Between the least and the largest of uint8."""

Ranges = Dict[str, List[float]]
"""Least and largest value of each tensor a convolution reads."""


def _kernels(graph: Graph) -> Iterator[Tuple[Any, Any]]:
    """Yield (node, weight (out, in, ...)) of every convolution to be quantised."""
    for one in graph.of("Conv"):
        weight = graph.array(one.input[1])
        plain = weight is not None and attribute(one, "group", 1) == 1
        if (
            plain
            and min(weight.shape[:2]) >= int8_weights.FEW
            and not int8_weights.leaves(graph, one.output[0])
        ):
            yield one, weight


def watched(model: Any) -> Dict[str, int]:
    """Let a fused model also return the range of what each convolution reads."""
    graph = of_model(model)
    names = list(dict.fromkeys(one.input[0] for one, _ in _kernels(graph)))
    for name in names:
        for kind, suffix in (("ReduceMin", LEAST), ("ReduceMax", LARGEST)):
            graph.returns(make(kind, [name], name + suffix, keepdims=0))
    graph.finish()
    return {"watched": len(names)}


def _widened(graph: Graph, values: Any, scale: Any) -> Tuple[str, List[Any]]:
    """Return the name of weights kept in int8, and the nodes that make float32 of them."""
    wide, weights = graph.name("wide"), graph.name("weights")
    return weights, [
        make("Cast", [graph.weight("int8", values)], wide, to=FLOAT),
        make("Mul", [wide, graph.weight("scale", scale)], weights),
    ]


def _dense(graph: Graph) -> int:
    """Keep the weights of products over a group or more in int8."""
    done = 0
    wide = (one for one in int8_weights.products(graph) if len(one[1]) >= GROUP)
    for one, weight, bias in wide:
        name, nodes = _widened(graph, *int8_weights.symmetric(weight, 0))
        product = one.output[0] if bias is None else graph.name("product")
        nodes.append(make("MatMul", [one.input[0], name], product))
        if bias is not None:
            nodes.append(make("Add", [product, graph.weight("bias", bias)], one.output[0]))
        graph.replace([one], nodes)
        done += 1
    return done


def _rounded(graph: Graph, name: str, least: float, largest: float) -> Tuple[str, List[Any]]:
    """Return the name of a tensor rounded to 256 values, zero among them, and what rounds it."""
    import numpy as np

    least, largest = min(least, 0.0), max(largest, 0.0)
    scale = np.float32((largest - least) / STEPS or 1.0)
    zero = np.rint(-least / scale).astype(np.uint8)
    facts = [graph.weight("step", scale), graph.weight("zero", zero)]
    values, rounded = graph.name("u8"), graph.name("rounded")
    return rounded, [
        make("QuantizeLinear", [name, *facts], values),
        make("DequantizeLinear", [values, *facts], rounded),
    ]


def _convolutions(graph: Graph, ranges: Ranges) -> int:
    """Round what convolutions read, and keep their weights in int8."""
    done = 0
    rounded: Dict[str, str] = {}
    for one, weight in _kernels(graph):
        source = one.input[0]
        nodes: List[Any] = []
        if source not in rounded:
            rounded[source], nodes = _rounded(graph, source, *ranges[source])
        values, scale = int8_weights.symmetric(weight.reshape(len(weight), -1), 1)
        scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
        kernel, more = _widened(graph, values.reshape(weight.shape), scale)
        made = make("Conv", [rounded[source], kernel, *one.input[2:]], one.output[0])
        made.attribute.extend(one.attribute)
        graph.replace([one], [*nodes, *more, made])
        done += 1
    return done


def quantised(model: Any, ranges: Ranges) -> Dict[str, int]:
    """Quantise a fused model in place; return how many of each kind were.

    Args:
        model: an onnx.ModelProto of opset 10 or later, after `fusion.fused`.
        ranges: of every tensor that `watched` watches in this model.
    """
    graph = of_model(model)
    counts = {"int8 dense": 0, "int8 convolution": _convolutions(graph, ranges)}
    for one in [*(Graph(body, graph, host) for host, body in bodies(graph)), graph]:
        counts["int8 dense"] += _dense(one)
        one.finish()
    return {name: count for name, count in counts.items() if count}

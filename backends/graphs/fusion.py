"""Rewrites a model into the form CPU kernels execute best, equal in its results.

Every rewriting looks for a shape of graph rather than for names, so that files of others profit
too; where it does not find the shape, the graph stays as it is. What was found is counted.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

from backends.graphs.graph import Graph, attribute, bodies, given, make, of_model

Counts = Dict[str, int]

CHAIN = ("Relu", "Mul")
"""What stands between a layer of the prenet and its dropout."""
HALF = 0.5
"""The mantissa of a positive power of two."""


def _axes(graph: Graph, node: Any) -> List[int]:
    """Return the axes of a Squeeze or Unsqueeze, an attribute before opset 13."""
    given = attribute(node, "axes")
    if given is None and len(node.input) > 1:
        given = graph.array(node.input[1])
    return [] if given is None else [int(axis) for axis in given]


def lstm_steps(graph: Graph) -> int:
    """Turn an LSTM over one position into one product of all gates and the cell's arithmetic.

    ONNX's LSTM, gates in the order i, o, f, c: with z = [x, h] [W, R]^T + Wb + Rb,
    c' = sigmoid(f) c + sigmoid(i) tanh(c), h' = sigmoid(o) tanh(c').
    """
    done = 0
    for node in graph.of("LSTM"):
        plain = [graph.maker(given(node, place), "Unsqueeze") for place in (0, 5, 6)]
        if not all(one and _axes(graph, one) == [0] for one in plain):
            continue
        done += _lstm_step(graph, node, plain)
    return done


def _lstm_step(graph: Graph, node: Any, plain: List[Any]) -> int:
    import numpy as np

    extras = given(node, 4) or given(node, 7)  # lengths, peepholes
    special = {one.name for one in node.attribute} - {"hidden_size", "direction", "layout"}
    turned = attribute(node, "layout", 0)  # rows before positions
    w, r, b = (graph.array(given(node, place)) for place in (1, 2, 3))
    every, *last = [*node.output, "", "", ""][:3]
    if extras or special or turned or every or b is None or w is None or r is None or len(w) != 1:
        return 0
    squeezes = [one for one in (graph.reader(name, "Squeeze") for name in last) if one]
    if [_axes(graph, one) for one in squeezes] != [[0], [0]]:
        return 0
    hidden, cell = (one.output[0] for one in squeezes)
    x, h, c = (one.input[0] for one in plain)
    size = r.shape[2]
    weights = np.concatenate([w[0], r[0]], axis=1).T
    bias = b[0][: 4 * size] + b[0][4 * size :]
    n = {key: graph.name(key) for key in ("xh", "z", "iof", "g", "s", "t", "i", "o", "f",
                                          "fc", "ig", "tc")}  # fmt: skip
    graph.replace(
        [node, *squeezes],
        [
            make("Concat", [x, h], n["xh"], axis=1),
            make(
                "Gemm",
                [n["xh"], graph.weight("gates", weights), graph.weight("gates_bias", bias)],
                n["z"],
            ),
            graph.split(n["z"], [n["iof"], n["g"]], [3 * size, size], axis=1),
            make("Sigmoid", [n["iof"]], n["s"]),
            make("Tanh", [n["g"]], n["t"]),
            graph.split(n["s"], [n["i"], n["o"], n["f"]], [size] * 3, axis=1),
            make("Mul", [n["f"], c], n["fc"]),
            make("Mul", [n["i"], n["t"]], n["ig"]),
            make("Add", [n["fc"], n["ig"]], cell),
            make("Tanh", [cell], n["tc"]),
            make("Mul", [n["o"], n["tc"]], hidden),
        ],
    )
    return 1


def joined_concats(graph: Graph) -> int:
    """Let a concatenation take the parts of another one on the same axis."""
    done = 0
    for node in graph.of("Concat"):
        parts: List[str] = []
        for name in node.input:
            inner = graph.maker(name, "Concat")
            same = inner is not None and attribute(inner, "axis") == attribute(node, "axis")
            parts += list(inner.input) if same else [name]
        if len(parts) > len(node.input):
            joined = make("Concat", parts, node.output[0], axis=attribute(node, "axis"))
            graph.replace([node], [joined])
            done += 1
    return done


def shared_dense(graph: Graph) -> int:
    """Make two dense layers of the same input one, whose result is cut."""
    import numpy as np

    done = 0
    for first in graph.of("Gemm"):
        if first not in graph.nodes:
            continue
        for second in graph.of("Gemm"):
            layers = [dense_layer(graph, one) for one in (first, second)]
            if second is first or second.input[0] != first.input[0] or None in layers:
                continue
            weight = np.concatenate([layer[0] for layer in layers], axis=1)
            bias = np.concatenate([layer[1] for layer in layers])
            both = graph.name("dense")
            widths = [layer[0].shape[1] for layer in layers]
            graph.replace(
                [first, second],
                [
                    make(
                        "Gemm",
                        [first.input[0], graph.weight("dense", weight), graph.weight("bias", bias)],
                        both,
                    ),
                    graph.split(both, [first.output[0], second.output[0]], widths, axis=1),
                ],
            )
            done += 1
            break
    return done


def dense_layer(graph: Graph, node: Any) -> Any:
    """Return (weight (in, out), bias (out,)) of a plain dense layer, else None."""
    if attribute(node, "transA", 0):
        return None
    if attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0:
        return None
    weight, bias = (graph.array(given(node, place)) for place in (1, 2))
    if weight is None or bias is None:
        return None
    weight = weight.T if attribute(node, "transB", 0) else weight
    return (weight, bias) if bias.shape == weight.shape[1:] else None


def location(graph: Graph) -> int:
    """Fold the attention's location convolution and dense layer into one convolution.

    energies = v tanh(conv(history) + query + memory), positions last all through, so that nothing
    of it is transposed in a step; the memory's part is transposed once, outside of a loop.
    """
    return sum(_location(graph, node) for node in graph.of("Tanh"))


def _addends(graph: Graph, name: str, nodes: List[Any]) -> List[str]:
    node = graph.maker(name, "Add")
    if node is None or len(graph.readers[name]) != 1:
        return [name]
    nodes.append(node)
    return [leaf for one in node.input for leaf in _addends(graph, one, nodes)]


def _located(graph: Graph, name: str) -> Any:
    """Return (conv, dense weight, nodes) when a tensor is dense(transpose(conv(...)))."""
    dense = graph.maker(name, "MatMul")
    weight = None if dense is None else graph.array(dense.input[1])
    if weight is None:
        return None
    turned = graph.maker(dense.input[0], "Transpose")
    if turned is None or list(attribute(turned, "perm", [])) != [0, 2, 1]:
        return None
    conv = graph.maker(turned.input[0], "Conv")
    kernel = None if conv is None else graph.array(conv.input[1], rank=3)
    if kernel is None or given(conv, 2):
        return None
    return conv, weight, kernel, [dense, turned, conv]


def _location(graph: Graph, tanh: Any) -> int:
    import numpy as np

    nodes: List[Any] = []
    leaves = _addends(graph, tanh.input[0], nodes)
    found = [(leaf, _located(graph, leaf)) for leaf in leaves]
    hits = [(leaf, hit) for leaf, hit in found if hit is not None]
    queries = [
        leaf
        for leaf in leaves
        if graph.maker(leaf, "Unsqueeze") is not None and _axes(graph, graph.makers[leaf]) == [1]
    ]
    rest = [leaf for leaf in leaves if leaf not in queries and leaf not in [h[0] for h in hits]]
    dense = graph.reader(tanh.output[0], "MatMul")
    v = None if dense is None else graph.array(dense.input[1], rank=2)
    squeeze = None if dense is None else graph.reader(dense.output[0], "Squeeze")
    if not (len(hits) == len(queries) == len(rest) == 1) or v is None or squeeze is None:
        return 0
    if v.shape[1] != 1 or _axes(graph, squeeze) not in ([2], [-1]):
        return 0
    conv, weight, kernel, chain = hits[0][1]
    query = graph.makers[queries[0]]
    folded = np.einsum("fck,fa->ack", kernel.astype(np.float64), weight).astype(np.float32)
    n = {key: graph.name(key) for key in ("loc", "q", "qm", "all", "tanh", "e", "memory")}
    turn = make("Transpose", rest, n["memory"], perm=[0, 2, 1])
    invariant = graph.is_invariant(rest[0])
    folded_conv = make("Conv", [conv.input[0], graph.weight("location", folded)], n["loc"])
    folded_conv.attribute.extend(conv.attribute)
    new = [
        *([] if invariant else [turn]),
        folded_conv,
        graph.unsqueeze(query.input[0], n["q"], [2]),
        make("Add", [n["memory"], n["q"]], n["qm"]),
        make("Add", [n["loc"], n["qm"]], n["all"]),
        make("Tanh", [n["all"]], n["tanh"]),
        make("MatMul", [graph.weight("v", v.T), n["tanh"]], n["e"]),
        graph.squeeze(n["e"], squeeze.output[0], [1]),
    ]
    graph.replace([*chain, *nodes, tanh, dense, squeeze], new)
    if invariant:
        graph.before_host([turn])
    return 1


def dropout(graph: Graph) -> int:
    """Let a dropout that multiplies by a mask and a power of two choose instead.

    relu(x W) keep s = where(drop, 0, relu(x (s W))), exactly, s being a power of two.
    """
    import numpy as np

    done = 0
    for scaled in graph.of("Mul"):
        scale = graph.array(scaled.input[1])
        masked = graph.maker(scaled.input[0], "Mul")
        if masked is None or not _is_power_of_two(scale):
            continue
        cast = graph.maker(masked.input[1], "Cast")
        negated = None if cast is None else graph.maker(cast.input[0], "Not")
        relu = graph.maker(masked.input[0], "Relu")
        dense = None if relu is None else graph.maker(relu.input[0], "MatMul")
        weight = None if dense is None else graph.array(dense.input[1])
        alone = all(one and graph.reader(one.output[0], *CHAIN) for one in (relu, dense, masked))
        if dense is None or weight is None or negated is None or not alone:
            continue
        x, kept = graph.name("x"), graph.name("kept")
        zero = graph.weight("zero", np.zeros((), np.float32))
        graph.replace(
            [dense, relu, masked, scaled],
            [
                make("MatMul", [dense.input[0], graph.weight("scaled", weight * scale)], x),
                make("Relu", [x], kept),
                make("Where", [negated.input[0], zero, kept], scaled.output[0]),
            ],
        )
        done += 1
    return done


def _is_power_of_two(scale: Any) -> bool:
    import numpy as np

    return scale is not None and scale.size == 1 and float(np.frexp(scale)[0].item()) == HALF


def unread_scans(graph: Graph) -> int:
    """Stop a Loop from collecting what nothing reads."""
    done = 0
    for node, body in list(bodies(graph)):
        carried = len(node.input) - 2
        unread = [
            place
            for place in range(carried, len(node.output))
            if node.output[place] not in graph.readers and node.output[place] not in graph.outputs
        ]
        for place in reversed(unread):
            del node.output[place]
            del body.output[place + 1]
        done += len(unread)
    return done


Pass = Callable[[Graph], int]

BODY: Tuple[Tuple[str, Pass], ...] = (
    ("LSTM step in one product", lstm_steps),
    ("location convolution folded", location),
    ("dropout by choice", dropout),
    ("dense layers of one input joined", shared_dense),
    ("concatenations joined", joined_concats),
)


def fused(model: Any) -> Counts:
    """Rewrite a model in place; return how often each rewriting was done.

    Args:
        model: an onnx.ModelProto of opset 10 or later; what is new is written in its operators.
    """
    graph = of_model(model)
    counts = {"collections nothing reads": unread_scans(graph)}
    inner = [Graph(body, graph, node) for node, body in bodies(graph)]
    for one in [*inner, graph]:
        for name, rewrite in BODY:
            counts[name] = counts.get(name, 0) + rewrite(one)
        one.finish()
    return {name: count for name, count in counts.items() if count}

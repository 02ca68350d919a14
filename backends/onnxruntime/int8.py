"""Gives a fused model int8 weights and lets onnxruntime's int8 kernels multiply them.

Activations are quantised while the model runs: to uint8 over the whole tensor, from its least and
largest value; weights to int8 beforehand, symmetric, with a scale for each output. A decoding loop
over few rows takes kernels that quantise both by blocks of inputs. Between operators everything is
float32. Left in float32: what computes the stage's results (the projection that is fed back, the
last layers) and convolutions with few channels, whose share of the work is small and whose rounding
is not.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from backends.graphs.graph import (
    Graph,
    attribute,
    bodies,
    given,
    make,
    of_model,
    raise_opset,
    small_model,
)
from backends.graphs.int8_weights import FEW, LARGEST, leaves, products, symmetric

VENDOR = "com.microsoft"
CONVOLUTIONS_SINCE = 11
"""The first opset with the operators that convolutions become."""
LAST = 2**31 - 1
MIDDLE = 128
"""What stands for zero in unsigned weights."""


class Weights(NamedTuple):
    """How weights of eight bits are kept for the kernels that multiply them."""

    zero: int
    """What stands for zero."""
    largest: int
    """How far from it they reach."""

    def kept(self, values: Any) -> Any:
        """Return int8 values as they are kept."""
        import numpy as np

        moved = values.astype(np.int16) + self.zero
        return moved.astype(np.uint8 if self.zero else np.int8)


SIGNED = Weights(0, LARGEST)
UNSIGNED = Weights(MIDDLE, LARGEST)
"""onnxruntime widens both sides to 16 bits before it multiplies: exact everywhere, and slower."""
REDUCED = Weights(0, 64)
"""Two products with the largest of uint8 fit into 16 bits; half the steps."""


class Stored(NamedTuple):
    """How a model's weights are kept."""

    name: str
    dense: Weights
    """Of products and LSTMs, whose errors a decoding loop feeds back."""
    convolutions: Weights
    says: str
    """For the reader of a result."""


DIRECT = Stored(
    "signed",
    SIGNED,
    SIGNED,
    "signed, 8 bits: probed, this CPU's kernels add such products exactly",
)
SAFE = Stored(
    "unsigned",
    UNSIGNED,
    REDUCED,
    "unsigned in products and LSTMs, signed of 7 bits in convolutions: probed, this CPU's kernels "
    "saturate in 16 bits with signed weights of 8",
)
FEW_ROWS = 4
"""Up to so many rows a product is bound by reading its weights, and `_blocked` reads quickest."""
BLOCK, LEAST_BLOCK = 256, 16
"""Weights of one input that share a scale in `_blocked`: a power of two."""
IN_INT8 = 4
"""The accuracy level at which `MatMulNBits` quantises activations too."""


def dense(graph: Graph, weights: Weights, *, few: bool = False) -> int:
    """Quantise products with constant matrices; `few`: for `FEW_ROWS` rows at most."""
    done = 0
    for one, weight, bias in products(graph):
        if few and _block(weight) >= LEAST_BLOCK:
            made = _blocked(graph, one, weight, bias)
        else:
            made = _dynamic(graph, one, weight, bias, weights)
        graph.replace([one], [made])
        done += 1
    return done


def _zero(graph: Graph, weights: Weights, like: Any = 0) -> str:
    """Return the name of what stands for zero, in the shape of `like`; "" is nought itself."""
    import numpy as np

    return graph.weight("zero", np.full_like(like, weights.zero, np.uint8)) if weights.zero else ""


def _dynamic(graph: Graph, one: Any, weight: Any, bias: Any, weights: Weights) -> Any:
    """Return a product whose activations get one scale for the whole tensor."""
    values, scale = symmetric(weight, 0, weights.largest)
    kept = graph.weight("int8", weights.kept(values))
    inputs = [one.input[0], kept, graph.weight("scale", scale), _zero(graph, weights)]
    if bias is not None:
        inputs.append(graph.weight("bias", bias))
    return make("DynamicQuantizeMatMul", inputs, one.output[0], domain=VENDOR)


def _block(weight: Any) -> int:
    """Return the largest block that divides the inputs of a weight (in, out)."""
    inputs: int = weight.shape[0]
    return min(BLOCK, inputs & -inputs)


def _blocked(graph: Graph, one: Any, weight: Any, bias: Any) -> Any:
    """Return a product whose activations and weights get a scale for each block of inputs."""
    inputs, outputs = weight.shape
    size = _block(weight)
    values, scale = symmetric(weight.T.reshape(outputs, inputs // size, size), 2)
    kept = graph.weight("uint8", UNSIGNED.kept(values))
    given_ = [one.input[0], kept, graph.weight("scale", scale)]
    if bias is not None:
        given_ += ["", "", graph.weight("bias", bias)]
    return make(
        "MatMulNBits", given_, one.output[0], domain=VENDOR,
        K=inputs, N=outputs, bits=8, block_size=size, accuracy_level=IN_INT8,
    )  # fmt: skip


def asks_how_blocks_multiply() -> bytes:
    """Return a model file that tells whether `MatMulNBits` quantises activations here.

    It sums 255 ones beside an input of 1,000 that counts for nothing: 255 in float32, and 0 where
    all of them share a scale, of which a one is an eighth.
    """
    import numpy as np

    weight = np.ones((BLOCK, 1), np.float32)
    weight[0] = 0.0
    product = make("MatMul", ["x", "w"], ["y"])

    def blocked(graph: Graph) -> None:
        graph.replace([product], [_blocked(graph, product, weight, None)])

    return small_model([product], {"x": [1, BLOCK]}, {"y": [1, 1]}, blocked, VENDOR)


def lstms(graph: Graph, weights: Weights) -> int:
    """Quantise whole LSTMs."""
    import numpy as np

    done = 0
    for one in graph.of("LSTM"):
        w, r = (graph.array(one.input[i]) for i in (1, 2))
        if w is None or r is None or attribute(one, "layout", 0):
            continue
        parts = [symmetric(array.transpose(0, 2, 1), 1, weights.largest) for array in (w, r)]
        names = [graph.weight("int8", weights.kept(values)) for values, _ in parts]
        facts = [
            graph.weight(stem, array)
            for _, scale in parts
            for stem, array in (
                ("scale", scale),
                ("zero", weights.kept(np.zeros(scale.shape, np.int8))),
            )
        ]
        rest = [given(one, place) for place in range(3, 8)]
        made = make(
            "DynamicQuantizeLSTM",
            [one.input[0], *names, *rest, *facts],
            one.output,
            domain=VENDOR,
        )
        made.attribute.extend(kept for kept in one.attribute if kept.name != "layout")
        graph.replace([one], [made])
        done += 1
    return done


class _Convolution:
    """A convolution along the last axis that keeps its length, as a product."""

    def __init__(self, graph: Graph, one: Any) -> None:
        self.weight = weight = graph.array(one.input[1])
        self.bias = graph.array(given(one, 2), rank=1)
        self.ok = weight is not None and weight.ndim in (3, 4) and weight.shape[2:-1] in ((), (1,))
        if not self.ok:
            return
        axes = weight.ndim - 2
        self.width = weight.shape[-1]
        self.dilation = list(attribute(one, "dilations", [1] * axes))[-1]
        reach = self.dilation * (self.width // 2)
        flat = [0] * (axes - 1)
        self.reach = reach
        self.ok = (
            attribute(one, "group", 1) == 1
            and list(attribute(one, "strides", [1] * axes)) == [1] * axes
            and list(attribute(one, "pads", [0] * 2 * axes)) == [*flat, reach, *flat, reach]
            and min(weight.shape[:2]) >= FEW
            and (self.bias is not None or not given(one, 2))
        )
        self.last_first = [0, *range(2, axes + 2), 1]
        self.back = [0, axes + 1, *range(1, axes + 1)]


def convolutions(graph: Graph, weights: Weights) -> int:
    """Turn convolutions into products of int8 matrices, positions before channels."""
    done = 0
    quantised: Dict[str, List[str]] = {}
    for one in graph.of("Conv"):
        shape = _Convolution(graph, one)
        if shape.ok and not leaves(graph, one.output[0]):
            graph.replace([one], _product(graph, one, shape, quantised, weights))
            done += 1
    return done


def _product(
    graph: Graph,
    one: Any,
    conv: _Convolution,
    quantised: Dict[str, List[str]],
    weights: Weights,
) -> List[Any]:
    import numpy as np

    x, nodes = one.input[0], []
    if x not in quantised:
        turned = graph.name("turned")
        quantised[x] = [graph.name(stem) for stem in ("u8", "scale", "zero")]
        nodes += [
            make("Transpose", [x], turned, perm=conv.last_first),
            make("DynamicQuantizeLinear", [turned], quantised[x]),
        ]
    values, scale, zero = quantised[x]
    if conv.width > 1:
        values, more = _windows(graph, conv, values, zero)
        nodes += more
    matrix = np.moveaxis(conv.weight.reshape(*conv.weight.shape[:2], conv.width), 0, -1)
    matrix = matrix.transpose(1, 0, 2).reshape(-1, conv.weight.shape[0])  # (width * in, out)
    columns, scales = symmetric(matrix, 0, weights.largest)
    kept = graph.weight("int8", weights.kept(columns))
    product = graph.name("product")
    inputs = [
        *(values, kept, scale, graph.weight("scale", scales)),
        *(zero, _zero(graph, weights)),
    ]
    if conv.bias is not None:
        inputs.append(graph.weight("bias", conv.bias))
    return [
        *nodes,
        make("MatMulIntegerToFloat", inputs, product, domain=VENDOR),
        make("Transpose", [product], one.output[0], perm=conv.back),
    ]


def _windows(graph: Graph, conv: _Convolution, values: str, zero: str) -> Tuple[str, List[Any]]:
    """Lay the inputs of every position side by side: (..., positions, width * channels)."""
    import numpy as np

    axis = len(conv.back) - 2
    pads = np.zeros((2, len(conv.back)), np.int64)
    pads[:, axis] = conv.reach
    padded = graph.name("padded")
    nodes = [make("Pad", [values, graph.weight("pads", pads.ravel()), zero], padded)]
    axes, pieces = graph.weight("axis", np.array([axis])), []
    for tap in range(conv.width):
        begin = tap * conv.dilation
        end = begin - 2 * conv.reach or LAST
        pieces.append(graph.name("tap"))
        limits = [graph.weight("limit", np.array([place])) for place in (begin, end)]
        nodes.append(make("Slice", [padded, *limits, axes], pieces[-1]))
    windows = graph.name("windows")
    return windows, [*nodes, make("Concat", pieces, windows, axis=-1)]


def quantised(model: Any, stored: Stored = SAFE, *, few: bool = False) -> Dict[str, int]:
    """Quantise a fused model in place; return how many of each kind were.

    Args:
        model: an onnx.ModelProto.
        stored: how weights are kept; by default so that no processor's sums saturate.
        few: take what is quickest for products of few rows; any number runs.
    """
    changes: Tuple[Tuple[str, Callable[[Graph], int]], ...] = (
        ("dense", partial(dense, weights=stored.dense, few=few)),
        ("LSTM", partial(lstms, weights=stored.dense)),
        ("convolution", partial(convolutions, weights=stored.convolutions)),
    )
    if not raise_opset(model, CONVOLUTIONS_SINCE):
        changes = changes[:-1]
    counts: Dict[str, int] = {}
    graph = of_model(model)
    for one in [*(Graph(body, graph, host) for host, body in bodies(graph)), graph]:
        for name, change in changes:
            counts[f"int8 {name}"] = counts.get(f"int8 {name}", 0) + change(one)
        one.finish()
    if VENDOR not in {one.domain for one in model.opset_import}:
        model.opset_import.add(domain=VENDOR, version=1)
    return {name: count for name, count in counts.items() if count}

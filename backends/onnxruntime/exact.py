"""Asks onnxruntime whether its int8 kernels add up what the processor multiplies exactly.

A processor without VNNI adds pairs of products of unsigned and signed bytes in 16 bits, where they
saturate. The question is a small model in the very operators of a form. Its activations all become
255. Its weights add up to nothing: a few of the largest, against many too small to saturate; where
the few do, what is left is half their sum.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Sequence

from backends.graphs.graph import Graph, make, small_model
from backends.onnxruntime import int8

INPUTS, OUTPUTS = int8.BLOCK, 32
SMALL = 63
"""Two products of it with 255 fit into 16 bits."""
ROWS = (1, 4, 33)
"""Kernels differ for one row, few and many."""
LIMIT = 0.01
"""The largest weights add up to 1; where they saturate, a sum is off by half, an LSTM by 0.17."""

Run = Callable[[Dict[str, Any]], Sequence[Any]]
"""Runs a loaded model on named inputs and returns its outputs."""
Load = Callable[[bytes], Run]
"""Loads the bytes of a model file."""


def _weight(weights: int8.Weights) -> Any:
    """Return a matrix (in, out) whose columns add up to nothing, every other with turned signs."""
    import numpy as np

    column = np.zeros(INPUTS, np.float32)
    column[:SMALL] = weights.largest
    column[SMALL : SMALL + weights.largest] = -SMALL
    signs = np.resize(np.array([1.0, -1.0], np.float32), OUTPUTS)
    matrix: Any = np.outer(column, signs) / np.float32(SMALL * weights.largest)
    return matrix


def _everything(stored: int8.Stored) -> bytes:
    """Return a model of a product, an LSTM and a convolution."""
    import numpy as np

    product, kernel = _weight(stored.dense), _weight(stored.convolutions)
    hidden = OUTPUTS // 4  # an LSTM has four gates
    weights = {
        "product": product,
        "kernel": kernel.T[:, :, None],
        "gates": product.T[None],
        "recurrent": np.zeros((1, OUTPUTS, hidden), np.float32),
    }
    nodes = [
        make("MatMul", ["x", "product"], "multiplied"),
        make("Conv", ["channels", "kernel"], "convolved"),
        make("LSTM", ["sequence", "gates", "recurrent"], "remembered", hidden_size=hidden),
        # What makes a model's results is left in float32: so none of them does.
        *(make("Abs", [name], f"{name}/off") for name in ("multiplied", "convolved", "remembered")),
    ]
    takes = {
        "x": ["rows", INPUTS],
        "channels": [1, INPUTS, "rows"],
        "sequence": [1, "rows", INPUTS],
    }
    gives = {
        "multiplied/off": ["rows", OUTPUTS],
        "convolved/off": [1, OUTPUTS, "rows"],
        "remembered/off": [1, 1, "rows", hidden],
    }

    def rewriting(graph: Graph) -> None:
        int8.dense(graph, stored.dense)
        int8.lstms(graph, stored.dense)
        int8.convolutions(graph, stored.convolutions)

    return small_model(nodes, takes, gives, rewriting, int8.VENDOR, weights=weights)


def _blocks() -> bytes:
    """Return a model of a product for few rows."""
    nodes = [make("MatMul", ["x", "product"], "y"), make("Abs", ["y"], "y/off")]

    def rewriting(graph: Graph) -> None:
        int8.dense(graph, int8.UNSIGNED, few=True)

    gives = {"y/off": ["rows", OUTPUTS]}
    weights = {"product": _weight(int8.UNSIGNED)}
    takes = {"x": ["rows", INPUTS]}
    return small_model(nodes, takes, gives, rewriting, int8.VENDOR, weights=weights)


def _adds_up(run: Run, shapes: Callable[[int], Dict[str, Any]]) -> bool:
    import numpy as np

    for rows in ROWS:
        feed = {name: np.ones(shape, np.float32) for name, shape in shapes(rows).items()}
        if any(float(np.max(off)) > LIMIT for off in run(feed)):
            return False
    return True


def adds_up(load: Load, stored: int8.Stored) -> bool:
    """Return whether the form with weights kept so computes exact sums.

    Raises:
        ImportError: the onnx package is not installed.
    """
    return _adds_up(
        load(_everything(stored)),
        lambda rows: {
            "x": (rows, INPUTS),
            "channels": (1, INPUTS, rows),
            "sequence": (1, rows, INPUTS),
        },
    )


def blocks_add_up(load: Load) -> bool:
    """Return whether products for few rows do; raises what `adds_up` does."""
    return _adds_up(load(_blocks()), lambda rows: {"x": (rows, INPUTS)})

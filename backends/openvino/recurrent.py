"""Recurrent layers over rows of different lengths, for a runtime that takes every row as full.

OpenVINO's CPU plugin does so as soon as a shape is dynamic, without a word: the backward direction
then starts in the padding. Here such a layer is written anew from layers over full rows. The
backward one reads its row turned around within its true length, and what lies beyond the length is
zero, as ONNX has it.
"""

from __future__ import annotations

from typing import Any, List, Set

from backends.errors import UnsupportedError

LAYER = "LSTMSequence"
X, HIDDEN, CELL, LENGTHS, WEIGHTS, RECURRENT, BIAS = range(7)
"""Inputs of the layer: x (batch, steps, width), states (batch, directions, hidden), lengths
(batch,), and weights by direction. Its first output is (batch, directions, steps, hidden)."""


def respect(model: Any, ops: Any, stage: str) -> None:
    """Rewrite every layer whose lengths come from the model's inputs.

    Args:
        model: changed in place.
        ops: OpenVINO's operators.
        stage: for the error's text.

    Raises:
        UnsupportedError: a layer's last states are used, which the rewritten one does not give.
    """
    for node in model.get_ops():
        if node.get_type_name() == LAYER and _given(node.input_value(LENGTHS).get_node()):
            if any(node.output(place).get_target_inputs() for place in (1, 2)):
                raise UnsupportedError(
                    f"{stage}: the last states of {node.get_friendly_name()} over rows of "
                    f"different lengths are used; OpenVINO would take every row as full"
                )
            node.output(0).replace(_rewritten(node, ops).output(0))
    model.validate_nodes_and_infer_types()


def _given(node: Any) -> bool:
    """Return whether values, not only shapes, of the model's inputs reach a node."""
    seen: Set[str] = set()
    waiting: List[Any] = [node]
    while waiting:
        one = waiting.pop()
        if one.get_type_name() == "Parameter":
            return True
        if one.get_name() not in seen and one.get_type_name() != "ShapeOf":
            seen.add(one.get_name())
            waiting += [value.get_node() for value in one.input_values()]
    return False


def _rewritten(node: Any, ops: Any) -> Any:
    """Return the layer's first output, made of one layer for each direction."""
    import numpy as np

    x, lengths = node.input_value(X), node.input_value(LENGTHS)
    attributes = node.get_attributes()
    direction, hidden = attributes["direction"], attributes["hidden_size"]
    backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    zero = np.int64(0)
    shape = ops.shape_of(x)
    steps = ops.gather(shape, np.int64(1), zero)
    full = ops.broadcast(steps, ops.gather(shape, np.array([0]), zero))
    made = []
    for place, turned in enumerate(backward):
        rows = ops.reverse_sequence(x, lengths, 0, 1) if turned else x
        states = [ops.gather(node.input_value(one), np.array([place]), np.int64(1))
                  for one in (HIDDEN, CELL)]  # fmt: skip
        weights = [ops.gather(node.input_value(one), np.array([place]), zero)
                   for one in (WEIGHTS, RECURRENT, BIAS)]  # fmt: skip
        layer = ops.lstm_sequence(rows, *states, full, *weights, hidden, "forward")
        y = layer.output(0)
        made.append(ops.reverse_sequence(y, lengths, 0, 2) if turned else y)
    y = ops.concat(made, 1) if len(made) > 1 else made[0]
    places = ops.range(zero, steps, np.int64(1), "i64")
    inside = ops.less(
        ops.unsqueeze(places, zero),
        ops.unsqueeze(ops.convert(lengths, "i64"), np.int64(1)),
    )
    inside = ops.unsqueeze(inside, np.array([1, 3]))
    return ops.select(inside, y, np.float32(0))

"""A small writer for ONNX graphs: nodes are added in order, constants become initializers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

OPSET = 11
"""What NVIDIA's decoder and vocoder files declare; MagicMind's parser is known to take it."""
IR_VERSION = 6
"""The intermediate representation of opset 11's time, so that old runtimes read the files."""

DTYPES = {
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}


def value(name: str, dims: Sequence[int | str | None], dtype: str = "float32") -> Any:
    """Return the declaration of a graph input or output."""
    return helper.make_tensor_value_info(name, DTYPES[dtype], list(dims))


def tensor(name: str, array: NDArray[np.generic]) -> onnx.TensorProto:
    """Return an array as an initializer, its bytes stored raw."""
    proto = TensorProto()
    proto.name = name
    proto.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    proto.dims.extend(array.shape)
    proto.raw_data = np.ascontiguousarray(array).tobytes()
    return proto


class Graph:
    """Collects nodes and initializers; every method returns the names it made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._count = 0

    def constant(self, name: str, array: Any, dtype: Any = np.float32) -> str:
        """Store an array under a name, once, and return the name."""
        if name not in self._initializers:
            self._initializers[name] = tensor(name, np.asarray(array, dtype))
        return name

    def add(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return its name."""
        return self.many(op, inputs, [name or self._fresh(op)], **attributes)[0]

    def many(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> list[str]:
        """Add a node with the outputs named; an empty name leaves an output out."""
        self._count += 1
        node = helper.make_node(
            op, list(inputs), list(outputs), name=f"{op}_{self._count}", **attributes
        )
        self._nodes.append(node)
        return list(outputs)

    def split(self, source: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Cut a tensor along an axis into parts of the sizes given."""
        outputs = [self._fresh("Split") for _ in sizes]
        return self.many("Split", [source], outputs, axis=axis, split=list(sizes))

    def _fresh(self, op: str) -> str:
        self._count += 1
        return f"{op.lower()}_{self._count}_out"

    def graph(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> onnx.GraphProto:
        """Return the finished graph."""
        return helper.make_graph(
            self._nodes, self.name, list(inputs), list(outputs), list(self._initializers.values())
        )

    def model(
        self, inputs: Sequence[Any], outputs: Sequence[Any], metadata: Mapping[str, str]
    ) -> onnx.ModelProto:
        """Return the finished graph as a model that says where its weights come from."""
        made = helper.make_model(
            self.graph(inputs, outputs),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="harness",
        )
        helper.set_model_props(made, dict(metadata))
        return made

"""A small writer of ONNX graphs: nodes, weights, inputs and outputs under readable names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import GraphProto, ModelProto


OPSET = 11
"""What the exporter's decoder and WaveGlow use, and the least that has the Loop we need."""
IR_VERSION = 6
"""The ONNX file version of the same age (ONNX 1.6), which old runtimes read."""
PRODUCER = "tts-harness"

Dims = tuple[int | str, ...]


class GraphBuilder:
    """Collects one graph; `scope` keeps the names of a Loop body apart from those around it."""

    def __init__(self, name: str, scope: str = "") -> None:
        self.name = name
        self.scope = scope
        self._nodes: list[Any] = []
        self._weights: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        return self.ops(kind, inputs, [out or self._fresh(kind)], **attributes)[0]

    def ops(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> Sequence[str]:
        """Add a node with the named outputs ("" leaves one out) and return their names."""
        from onnx import helper  # noqa: PLC0415 - slow to import, and only needed to write

        name = f"{self.scope}{next(filter(None, outputs))}"
        self._nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))
        return outputs

    def weight(self, name: str, array: np.ndarray[Any, Any]) -> str:
        """Add an array as an initializer and return its name."""
        from onnx import TensorProto, helper  # noqa: PLC0415 - as above

        full = f"{self.scope}{name}"
        self._weights[full] = TensorProto(
            name=full,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            raw_data=np.ascontiguousarray(array).tobytes(),
        )
        return full

    def ints(self, *values: int) -> str:
        """Return the name of a constant int64 vector."""
        name = "ints_" + "_".join(str(value).replace("-", "minus") for value in values)
        return self.weight(name, np.array(values, np.int64))

    def scalar(self, value: float, dtype: type[np.generic] = np.float32) -> str:
        """Return the name of a constant scalar."""
        array = np.array(value, dtype)
        text = str(value).replace("-", "minus").replace(".", "_")
        return self.weight(f"{array.dtype}_{text}", array)

    def input(self, name: str, dtype: str, dims: Dims) -> str:
        """Declare an input, in order, and return its name."""
        self._inputs.append(_value(name, dtype, dims))
        return name

    def output(self, name: str, dtype: str, dims: Dims) -> None:
        """Declare a tensor to be an output, in order."""
        self._outputs.append(_value(name, dtype, dims))

    def graph(self) -> GraphProto:
        """Return the finished graph."""
        from onnx import helper  # noqa: PLC0415 - as above

        return helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._weights.values())
        )

    def model(self, metadata: Mapping[str, str]) -> ModelProto:
        """Return the graph as a model that carries `metadata` in its metadata_props."""
        from onnx import helper  # noqa: PLC0415 - as above

        model = helper.make_model(
            self.graph(),
            producer_name=PRODUCER,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, dict(metadata))
        return model

    def _fresh(self, kind: str) -> str:
        return f"{self.scope}{kind.lower()}_{len(self._nodes)}"


def _value(name: str, dtype: str, dims: Dims) -> Any:
    from onnx import helper  # noqa: PLC0415 - as above

    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, element, list(dims))

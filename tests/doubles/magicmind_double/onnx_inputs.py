"""onnxruntime behind the double: what a model file takes and makes, and its execution."""

from __future__ import annotations

from typing import Any

from magicmind_double.basics import DataType
from magicmind_double.state import state

TYPES = {
    "tensor(float)": DataType.FLOAT32,
    "tensor(float16)": DataType.FLOAT16,
    "tensor(double)": DataType.FLOAT64,
    "tensor(bool)": DataType.BOOL,
    "tensor(int32)": DataType.INT32,
    "tensor(int64)": DataType.INT64,
}


def session(model: Any) -> Any:
    """Return a session of a file or of its bytes, seeded, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    onnxruntime.set_seed(state.options.seed)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def describe(path: str) -> tuple[list[Any], list[Any]]:
    """Return (name, element type, dims) of every input and of every output; -1: not fixed."""
    made = session(str(path))
    return [_described(one) for one in made.get_inputs()], [
        _described(one) for one in made.get_outputs()
    ]


def _described(value: Any) -> tuple[str, DataType, list[int]]:
    dims = [size if isinstance(size, int) else -1 for size in value.shape]
    return value.name, TYPES[value.type], dims

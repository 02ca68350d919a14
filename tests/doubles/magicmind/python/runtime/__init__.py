"""The names of the SDK's runtime; what they do stands in `magicmind_double`."""

from magicmind_double.basics import (
    Code,
    DataType,
    Dims,
    IReduce,
    ModelKind,
    QuantizationAlgorithm,
    Status,
    TensorLocation,
)
from magicmind_double.building import (
    Builder,
    BuilderConfig,
    CalibDataInterface,
    Calibrator,
    Network,
)
from magicmind_double.running import Device, Model, System
from magicmind_double.state import state as _state
from magicmind_double.tensors import Tensor

from . import enums

if _state.options.wrong_python:
    raise ImportError("_pywrap_runtime.so: undefined symbol: _PyUnicode_Ready3.7")

__all__ = [
    "Builder",
    "BuilderConfig",
    "CalibDataInterface",
    "Calibrator",
    "Code",
    "DataType",
    "Device",
    "Dims",
    "IReduce",
    "Model",
    "ModelKind",
    "Network",
    "QuantizationAlgorithm",
    "Status",
    "System",
    "Tensor",
    "TensorLocation",
    "enums",
]

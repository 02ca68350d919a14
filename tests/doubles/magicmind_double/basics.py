"""Status, dimensions and the enumerations."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np


class Code(enum.Enum):
    """What a Status says."""

    OK = 0
    OUT_OF_RANGE = 11
    INTERNAL = 13


class Status:
    """Success or failure; without `__bool__`, so every one of them is true."""

    def __init__(self, code: Code = Code.OK, message: str = "") -> None:
        self._code, self._message = code, message

    @staticmethod
    def OK() -> Status:  # noqa: N802 - the SDK's name
        """Return success."""
        return Status()

    def ok(self) -> bool:
        """Return whether it is a success."""
        return self._code is Code.OK

    def __str__(self) -> str:
        return self._message or self._code.name


def failure(message: str) -> Status:
    """Return a Status that is not ok."""
    return Status(Code.INTERNAL, message)


def outcome(failed: bool, call: str) -> Status:
    """Return the Status of a call that fails only when told to."""
    return failure("injected failure of " + call) if failed else Status()


class Dims:
    """Sizes of axes; -1: unknown."""

    def __init__(self, sizes: Any) -> None:
        self._sizes = [int(size) for size in sizes]

    def GetDims(self) -> list[int]:  # noqa: N802 - the SDK's name
        """Return the sizes."""
        return list(self._sizes)

    def GetDimValue(self, axis: int) -> int:  # noqa: N802 - the SDK's name
        """Return one size."""
        return self._sizes[axis]

    def GetElementCount(self) -> int:  # noqa: N802 - the SDK's name
        """Return the product of the sizes."""
        return int(np.prod(self._sizes, dtype=np.int64))


class DataType(enum.Enum):
    """Element types; the value is numpy's name."""

    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BOOL = "bool"
    QINT8 = "qint8"
    QINT16 = "qint16"


class TensorLocation(enum.Enum):
    """Where a tensor lies."""

    kMLU = 1  # noqa: N815 - the SDK's name


class ModelKind(enum.Enum):
    """What a parser reads."""

    kOnnx = 0  # noqa: N815 - the SDK's name
    kPytorch = 1  # noqa: N815 - the SDK's name
    kCaffe = 2  # noqa: N815 - the SDK's name


class QuantizationAlgorithm(enum.Enum):
    """How a calibrator finds ranges."""

    LINEAR_ALGORITHM = 0
    EQNM_ALGORITHM = 1


class IReduce(enum.Enum):
    """Reductions, at the top level of the runtime."""

    MAX = 0


class ILogic(enum.Enum):
    """Comparisons, under `enums` only."""

    LT = 0
    LE = 1


def get_datatype_by_numpy(dtype: Any) -> DataType:
    """Return the element type of a numpy dtype."""
    return DataType(np.dtype(dtype).name)


def get_numpy_dtype_by_datatype(datatype: DataType) -> Any:
    """Return the numpy dtype of an element type."""
    return np.dtype(datatype.value)

"""Reads from an ONNX file in which precision its weights are stored, with numpy alone.

The measured side has no onnx package. The file is protobuf: this walks the wire format (varint
keys, field number and wire type) down to every tensor, those of Loop and If bodies included.
Field numbers are those of onnx/onnx.proto.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_ATTRIBUTE = 5
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = 5, 6, 10, 11
TENSOR_DIMS, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_RAW, TENSOR_EXTERNAL = 1, 2, 4, 9, 13
FLOAT, UINT8, INT8, FLOAT16 = 1, 2, 3, 10
EIGHT_BITS = (UINT8, INT8)  # unsigned ones are int8 with 128 added

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MORE = 0x80  # set in every byte of a varint but its last
MATRIX = 2

CHUNK = 1 << 20


def _varint(data: Any, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & ~MORE) << shift
        if byte < MORE:
            return value, at
        shift += 7


def _fields(data: Any) -> Iterator[Tuple[int, Any]]:
    """Yield (field number, integer or bytes) of one message.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == VARINT:
            value, at = _varint(data, at)
        elif wire == BYTES:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {wire}")
        yield key >> 3, value


def _graph_tensors(graph: Any) -> Iterator[Any]:
    for field, value in _fields(graph):
        if field == GRAPH_INITIALIZER:
            yield value
        elif field == GRAPH_NODE:
            for node_field, attribute in _fields(value):
                if node_field == NODE_ATTRIBUTE:
                    for tensor in _attribute_tensors(attribute):
                        yield tensor


def _attribute_tensors(attribute: Any) -> Iterator[Any]:
    for field, value in _fields(attribute):
        if field in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
            yield value
        elif field in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
            for tensor in _graph_tensors(value):
                yield tensor


def _is_half(data: Any) -> bool:
    """Return whether every float32 of the bytes is exactly a float16."""
    values = np.frombuffer(data, np.float32)
    with np.errstate(over="ignore"):
        return all(
            np.array_equal(part, part.astype(np.float16).astype(np.float32))
            for part in (values[at : at + CHUNK] for at in range(0, len(values), CHUNK))
        )


def _tensor(message: Any, beside: _Beside) -> str:
    """Return how one tensor is stored; empty: no weight (a vector, or integers that count)."""
    rank, kind, data, external = 0, 0, None, {}
    for field, value in _fields(message):
        if field == TENSOR_DIMS:
            rank += len(_packed(value)) if not isinstance(value, int) else 1
        elif field == TENSOR_TYPE:
            kind = value
        elif field in (TENSOR_FLOATS, TENSOR_RAW):
            data = value
        elif field == TENSOR_EXTERNAL:
            key, text = (bytes(part).decode() for _, part in sorted(_fields(value)))
            external[key] = text
    # Vectors are left out: constants such as an epsilon stay what they are in every form.
    if rank < MATRIX or kind not in (FLOAT, *EIGHT_BITS, FLOAT16):
        return ""
    if kind != FLOAT:
        return "float16" if kind == FLOAT16 else "int8"
    if external:
        data = beside.read(external)
    if data is None:
        return "unknown"
    return "float16-rounded" if _is_half(data) else "float32"


class _Beside:
    """Files beside a model that hold weights of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: Dict[str, Any] = {}

    def read(self, external: Dict[str, str]) -> Any:
        """Return a tensor's bytes, None when they are not there."""
        name = external.get("location", "")
        try:
            if name not in self._files:
                self._files[name] = np.memmap(str(self._folder / name), np.uint8, "r")
            offset = int(external.get("offset", 0))
            # Without a length the tensor is the rest of the file.
            length = int(external.get("length", len(self._files[name]) - offset))
        except (OSError, ValueError):
            return None
        found = self._files[name][offset : offset + length]
        return found if len(found) == length else None


def _packed(data: Any) -> List[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def storage(path: str) -> str:
    """Return how the weights (float and int8 tensors of two or more axes) are stored.

    Returns:
        "float32", "float16", "int8", "float16-rounded" (every value is exactly a float16, kept in
        float32), several joined by "+", "none" without weights, or "unknown" (kept in a
        file that is not there, or this is not readable as ONNX).
    """
    found: Dict[str, int] = {}
    beside = _Beside(Path(path).parent)
    with Path(path).open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        view = memoryview(mapped)
        try:
            for field, graph in _fields(view):
                if field == MODEL_GRAPH:
                    for message in _graph_tensors(graph):
                        kind = _tensor(message, beside)
                        found[kind] = found.get(kind, 0) + 1
        except (IndexError, ValueError):
            found = {"unknown": 1}
    found.pop("", None)
    return "+".join(sorted(found)) or "none"

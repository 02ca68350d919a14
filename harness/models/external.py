"""Weights in files beside a model: whether those files may be read, and are whole.

ONNX lets a tensor name a file, relative to the model's own folder, and the bytes in it. The names
come from whoever wrote the model, so each is checked before anything opens it.
"""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


AGAIN = "copy it again with the model, or export both again"
BYTE_BITS = 8
SMALL = 64
"""Tensors of at most so many values may hold sizes, from which shapes are computed."""
APART = "small_apart"
"""Of a model's record: it has small tensors in files beside it."""
SUB_BYTE = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}
"""Bits of the ONNX types that share a byte."""


@dataclass(frozen=True)
class DataFile:
    """A file that holds weights of a model."""

    name: str
    """As the model names it: relative to the model's folder."""
    path: Path
    size: int
    """In bytes."""


def printable(text: str) -> str:
    """Return text from a file with whatever does not belong in a line of text escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor of a model: of its graph, of graphs inside nodes, of its functions."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _of_graph(graph)


def is_external(tensor: Any) -> bool:
    """Return whether a tensor's values lie in another file."""
    return bool(tensor.data_location == tensor.EXTERNAL)


def files(path: Path, model: Any) -> tuple[DataFile, ...]:
    """Return the files that hold a model's weights, each once, by name.

    Args:
        path: the model's file.
        model: what is in it, read without those files.

    Raises:
        UsageError: a file lies elsewhere, is missing, no regular file, or too short.
    """
    folder = path.resolve().parent
    known: dict[str, DataFile] = {}
    for tensor in tensors(model):
        if is_external(tensor):
            where = {entry.key: entry.value for entry in tensor.external_data}
            name = where.get("location", "")
            if name not in known:
                known[name] = _file(path, folder, tensor, name)
            _check_bytes(path, tensor, where, known[name])
    return tuple(known[name] for name in sorted(known))


def _file(path: Path, folder: Path, tensor: Any, name: str) -> DataFile:
    """Return the file of that name.

    Raises:
        UsageError: it lies elsewhere, is missing, or no regular file.
    """
    said = f"{path}: the weights '{printable(tensor.name)}' lie in '{printable(name)}'"
    parts = PurePosixPath(name).parts
    outside = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or ".." in parts
    if not parts or outside or "\0" in name or "\\" in name:
        raise UsageError(
            f"{said}, which is no path inside the model's folder; export the model again with its "
            "weights in a file beside it"
        )
    reached = folder
    for part in parts:
        reached /= part
        try:
            facts = os.lstat(reached)
        except OSError as error:
            raise UsageError(
                f"{said}, and {reached} cannot be read ({error.strerror}); {AGAIN}"
            ) from error
        kind = _unusable(facts, last=part is parts[-1])
        if kind:
            raise UsageError(f"{said}, and {reached} is {kind}, not a file of its own; {AGAIN}")
    if not os.access(reached, os.R_OK):
        raise UsageError(f"{said}, and {reached} cannot be read (Permission denied); {AGAIN}")
    return DataFile(name, reached, facts.st_size)


def _unusable(facts: os.stat_result, *, last: bool) -> str:
    """Return what a thing in the file system is; empty: what it should be."""
    if stat.S_ISLNK(facts.st_mode):
        return "a link"
    if not last:
        return "" if stat.S_ISDIR(facts.st_mode) else "no folder"
    if not stat.S_ISREG(facts.st_mode):
        return "no regular file"
    # The onnx package refuses these: another name may be written to by somebody else.
    return "a file with further names (hard links)" if facts.st_nlink > 1 else ""


def _check_bytes(path: Path, tensor: Any, where: dict[str, str], file: DataFile) -> None:
    """Check that a file holds a tensor's bytes.

    Raises:
        UsageError: it does not, or which bytes are meant cannot be told.
    """
    said = f"{path}: the weights '{printable(tensor.name)}'"
    needed = _size(tensor)
    offset, length = (where.get(key, "") for key in ("offset", "length"))
    if needed is None or not all(text == "" or text.isdecimal() for text in (offset, length)):
        raise UsageError(
            f"{said} have no type, size or place in '{printable(file.name)}' that can be read; "
            "export the model again"
        )
    begin = int(offset or 0)
    if length and int(length) != needed:
        raise UsageError(
            f"{said} are {needed:,} bytes by their shape and {int(length):,} in "
            f"'{printable(file.name)}'; export the model again"
        )
    if begin + needed > file.size:
        raise UsageError(
            f"{said} are bytes {begin:,} to {begin + needed:,} of {file.path}, which has "
            f"{file.size:,}: it is cut short, or of another export; {AGAIN}"
        )
    if not length and begin + needed != file.size:
        raise UsageError(
            f"{said} have no length in '{printable(file.name)}' and are not the end of it; export "
            "the model again"
        )


def _size(tensor: Any) -> int | None:
    """Return the bytes of a tensor by its shape, None where they cannot be told."""
    from onnx import TensorProto, helper  # noqa: PLC0415 - heavy

    kind = tensor.data_type
    fixed = kind in helper.get_all_tensor_dtypes() and kind not in (0, TensorProto.STRING)
    if not fixed or min(tensor.dims, default=0) < 0:
        return None
    whole: int = BYTE_BITS * helper.tensor_dtype_to_np_dtype(kind).itemsize
    bits: int = SUB_BYTE.get(str(TensorProto.DataType.Name(kind)), whole)
    values: int = math.prod(tensor.dims)
    return -(-values * bits // BYTE_BITS)


def small(model: Any) -> Iterator[Any]:
    """Yield the tensors of few values that lie in files: sizes may follow from those."""
    for tensor in tensors(model):
        if is_external(tensor) and math.prod(tensor.dims) <= SMALL:
            yield tensor


def read_small(path: Path, model: Any) -> None:
    """Put the values of small tensors into a model that was read without its data files.

    Args:
        path: the model's file.
        model: changed in place.

    Raises:
        UsageError: a file lies elsewhere, is missing, no regular file, or too short.
    """
    from onnx import external_data_helper  # noqa: PLC0415 - heavy

    files(path, model)
    folder = str(path.resolve().parent)
    for tensor in list(small(model)):
        external_data_helper.load_external_data_for_tensor(tensor, folder)

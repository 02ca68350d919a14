"""What is done with numpy outside every span: inputs made, outputs summed up and written.

Imported on first use, so that a backend with handles of its own runs without numpy.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict

import numpy as np

from backends.errors import BackendError, OptionError

if TYPE_CHECKING:
    from backends.pipeline import Tensor


def make(values: Any, tensor: Tensor, dtype: str) -> Any:
    """Return nested lists as an array of `dtype`.

    Raises:
        UsageError: the lists are ragged, of the wrong rank, or a value does not fit the dtype.
    """
    try:
        wide = np.array(values)
    except ValueError as error:
        raise OptionError(f"input {tensor.name}: {error}") from error
    if wide.ndim != len(tensor.dims) or wide.dtype == object:
        raise OptionError(
            f"input {tensor.name}: nested lists of rank {len(tensor.dims)} with rows of one "
            f"length are needed, found shape {list(wide.shape)} of {wide.dtype}"
        )
    narrow = np.ascontiguousarray(wide.astype(dtype))
    if not np.array_equal(narrow, wide):
        raise OptionError(f"input {tensor.name}: a value does not fit {dtype}")
    return narrow


def summary(array: Any) -> Dict[str, Any]:
    """Return shape, dtype, finite, min, max and sha256 of the bytes, row by row."""
    array = np.ascontiguousarray(array)
    finite = bool(np.all(np.isfinite(array)))
    known = finite and array.size > 0
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "finite": finite,
        "min": float(array.min()) if known else None,
        "max": float(array.max()) if known else None,
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
    }


def save(path: str, arrays: Dict[str, Any]) -> None:
    """Write arrays to an .npz file of exactly that name; it appears whole or not at all.

    Raises:
        BackendError: the file cannot be written.
    """
    part = path + ".tmp"
    try:
        with Path(part).open("wb") as stream:
            np.savez(stream, **arrays)
        os.replace(part, path)  # noqa: PTH105 - the atomic replacement, by its name
    except OSError as error:
        raise BackendError(f"outputs cannot be written to {path}: {error.strerror}") from error

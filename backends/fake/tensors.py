"""Tensors of the fake backend: a shape and nothing in it."""

from __future__ import annotations

import hashlib
from typing import Any, List, Optional, Sequence


class FakeTensor:
    """A shape, a dtype, and content that is either known integers or only named by a hash."""

    def __init__(
        self,
        shape: Sequence[int],
        dtype: str,
        content: str,
        values: Optional[List[int]] = None,
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self.content = content
        self.values = values

    def tolist(self) -> List[int]:
        """Return known integers as one flat list."""
        return list(self.values or [])

    def digest(self) -> str:
        """Return a hash of everything this tensor is."""
        text = repr((self.shape, self.dtype, self.content, self.values))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def __getitem__(self, key: Any) -> FakeTensor:
        """Return the same content: a cut of something that holds no numbers."""
        return self

    def __iter__(self) -> Any:
        """Yield one tensor per row."""
        return (self for _ in range(self.shape[0]))


def flatten(values: Any) -> List[int]:
    """Return the numbers of nested lists in one list."""
    if isinstance(values, list):
        return [number for value in values for number in flatten(value)]
    return [values]


def nested_shape(values: Any) -> List[int]:
    """Return the shape of nested lists."""
    shape = []
    while isinstance(values, list):
        shape.append(len(values))
        values = values[0] if values else 0
    return shape

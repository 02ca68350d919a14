"""Device memory: tensors, what they hold before and after a sync, and who owns it."""

from __future__ import annotations

import weakref
from typing import Any, Sequence

import numpy as np

from magicmind_double.basics import DataType, Status, TensorLocation, failure
from magicmind_double.state import Tracked, state

POISON = {"f": np.nan, "i": -1, "u": 0, "b": True}
"""What an array holds that must not be read, by numpy's kind of dtype."""


def poison(shape: Sequence[int], dtype: Any) -> Any:
    """Return an array that gives away whoever reads it."""
    return np.full(shape, POISON[np.dtype(dtype).kind], dtype)


def spoil_views() -> None:
    """Overwrite every array that `asnumpy` handed out."""
    views, state.views = state.views, []
    for reference in views:
        view = reference()
        if view is not None:
            view[...] = POISON[view.dtype.kind]


class Storage:
    """Memory on a device."""

    def __init__(self, array: Any, device: int) -> None:
        self.bytes = np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy()
        self.device = device
        self.pending = False
        """Whether what fills it is enqueued and not yet synchronised."""
        self.address = state.allocate(self.bytes.size)
        state.memory[self.address] = self


class Spec:
    """What a model says of one of its inputs."""

    def __init__(self, name: str, dtype: DataType, dims: Sequence[int], mutable: bool) -> None:
        self.name, self.dtype, self.dims, self.mutable = name, dtype, list(dims), mutable

    def refusal(self, shape: Sequence[int]) -> str | None:
        """Return why a shape is not one of this input, None when it is."""
        if len(shape) != len(self.dims):
            return f"input {self.name}: rank {len(shape)} where the model has {len(self.dims)}"
        for found, wanted in zip(shape, self.dims):
            if wanted not in (-1, found):
                return f"input {self.name}: shape {list(shape)} where the model has {self.dims}"
        return None


class Tensor(Tracked):
    """A tensor; one made by a context carries its name and what the model says of it."""

    def __init__(
        self,
        shape: Sequence[int] = (),
        dtype: DataType = DataType.FLOAT32,
        location: TensorLocation = TensorLocation.kMLU,
    ) -> None:
        super().__init__()
        if not isinstance(dtype, DataType) or not isinstance(location, TensorLocation):
            raise TypeError("Tensor(): incompatible constructor arguments")
        self._dtype = dtype
        self._shape = tuple(int(size) for size in shape)
        self._storage: Storage | None = None
        self._alias: Any = None
        self._offset = 0
        self._spec: Spec | None = None
        self._maker: Any = None
        """Weak reference to the context that made it."""
        failed = state.enter(
            "Tensor", shape=list(self._shape), device=state.device, active=state.has_device
        )
        if failed:
            raise RuntimeError("injected failure of Tensor")
        if min(self._shape, default=0) >= 0:
            self._storage = Storage(poison(self._shape, dtype.value), state.device)

    # What the double itself uses

    @classmethod
    def _of(cls, array: Any, dtype: DataType, device: int) -> Tensor:
        """Return a tensor that a device wrote and nobody may read before a sync."""
        made = cls.__new__(cls)
        Tracked.__init__(made)
        made._dtype, made._shape = dtype, tuple(array.shape)
        made._storage = Storage(array.astype(dtype.value), device)
        made._storage.pending = True
        made._alias, made._offset, made._spec, made._maker = None, 0, None, None
        return made

    @classmethod
    def _input(cls, spec: Spec, maker: Any, device: int) -> Tensor:
        made = cls.__new__(cls)
        Tracked.__init__(made)
        made._dtype, made._shape = spec.dtype, tuple(spec.dims)
        made._storage = None
        if min(spec.dims, default=0) >= 0:
            made._storage = Storage(poison(spec.dims, spec.dtype.value), device)
        made._alias, made._offset = None, 0
        made._spec, made._maker = spec, weakref.ref(maker)
        return made

    def _memory(self) -> Storage:
        if self._alias is not None:
            found: Storage | None = self._alias()
            if found is None:
                raise RuntimeError("the owner of this tensor's memory was dropped")
            return found
        if self._storage is None:
            raise RuntimeError("the tensor has no memory yet: its shape is not known")
        return self._storage

    def _content(self) -> Any:
        """Return what is or will be in memory, as a device sees it."""
        dtype = np.dtype(self._dtype.value)
        size = int(np.prod(self._shape, dtype=np.int64)) * dtype.itemsize
        data = self._memory().bytes[self._offset : self._offset + size]
        return data.view(dtype).reshape(self._shape)

    # The SDK's names

    def from_numpy(self, array: Any) -> Status:
        """Copy an array to the device."""
        return self._upload("from_numpy", array)

    def memcpy_from_host(self, array: Any) -> Status:
        """Copy an array to the device."""
        return self._upload("memcpy_from_host", array)

    def _upload(self, call: str, array: Any) -> Status:
        if not isinstance(array, np.ndarray):
            raise TypeError(call + "(): incompatible function arguments")
        if state.enter(call, h2d=int(array.nbytes), shape=list(array.shape)):
            return failure("injected failure of " + call)
        if array.dtype != np.dtype(self._dtype.value):
            return failure(f"{call}: dtype {array.dtype} where the tensor has {self._dtype.name}")
        if self._spec is not None:
            refusal = self._spec.refusal(array.shape)
            if refusal is not None:
                return failure(f"{call}: {refusal}")
            self._shape = tuple(array.shape)
        elif tuple(array.shape) != self._shape:
            return failure(f"{call}: shape {list(array.shape)} where it has {list(self._shape)}")
        if self._alias is not None:
            self._content()[...] = array
            return Status()
        self._storage = Storage(array, state.device)
        return Status()

    def asnumpy(self) -> Any:
        """Return the content as an array that the next enqueue overwrites."""
        if state.enter("asnumpy", d2h=int(self._content().nbytes), shape=list(self._shape)):
            raise RuntimeError("injected failure of asnumpy")
        if self._memory().pending:
            return poison(self._shape, self._dtype.value)
        view = self._content().copy()
        state.views.append(weakref.ref(view))
        return view

    def to(self, target: Any) -> Tensor | None:
        """Move in place to a device, or return a tensor of another element type."""
        state.enter("to")
        if not isinstance(target, DataType):
            return None
        made = Tensor._of(self._content(), target, self._memory().device)
        made._memory().pending = self._memory().pending
        return made

    def data_address(self) -> int:
        """Return where the content lies."""
        return self._memory().address + self._offset

    def set_data_address(self, address: int, dims: Sequence[int]) -> None:
        """Take the memory at an address for this tensor's, without owning it."""
        state.enter("set_data_address", shape=list(dims))
        size = int(np.prod(dims, dtype=np.int64)) * np.dtype(self._dtype.value).itemsize
        for start, storage in state.memory.items():
            if start <= address and address + size <= start + storage.bytes.size:
                self._alias, self._offset = weakref.ref(storage), address - start
                self._storage, self._shape = None, tuple(int(size) for size in dims)
                return
        raise RuntimeError("set_data_address: no memory at this address")

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self._shape

    def reshape(self, shape: Sequence[int]) -> Tensor | None:
        """Change the shape in place, or return a tensor of the new shape (an option)."""
        state.enter("reshape", shape=list(shape))
        if np.prod(shape, dtype=np.int64) != np.prod(self._shape, dtype=np.int64):
            raise RuntimeError(f"reshape of {list(self._shape)} to {list(shape)}")
        if state.options.reshape_in_place:
            self._shape = tuple(shape)
            return None
        made = Tensor.__new__(Tensor)
        Tracked.__init__(made)
        made.__dict__.update(self.__dict__)
        made._shape = tuple(shape)
        return made

    def resize(self, shape: Sequence[int]) -> None:
        """Set the shape of an input of a mutable model."""
        state.enter("resize", shape=list(shape))
        self._shape = tuple(shape)
        self._storage = Storage(poison(self._shape, self._dtype.value), state.device)

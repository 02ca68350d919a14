"""The host work between stages, in numpy, built once into closures that run inside the glue span.

A closure takes the tensor slots and the iteration number and returns the handle it made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Tuple

import numpy as np

from backends.base import UsageError

if TYPE_CHECKING:
    from backends.base import Backend, Work
    from backends.plan import Dim, GlueStep

Size = Callable[[List[Any]], int]
Read = Callable[[List[Any]], Any]


def build(step: GlueStep, backend: Backend, seed: int) -> Work:
    """Return the closure of one glue step.

    Raises:
        UsageError: the operation is unknown, an argument is missing, or a size is not bound yet.
    """
    if step.op not in OPERATIONS:
        listed = ", ".join(sorted(OPERATIONS))
        raise UsageError(f"glue before {step.stage}: no operation {step.op!r}; there are: {listed}")
    try:
        return OPERATIONS[step.op](step, backend, seed)
    except KeyError as error:
        raise UsageError(f"glue {step.op} before {step.stage} lacks {error}") from error


def _read(step: GlueStep, backend: Backend, argument: str) -> Read:
    """Return how to get an argument's tensor as a host array."""
    slot, on_host = step.reads[argument]
    if on_host:
        return lambda values: values[slot]
    to_host = backend.to_host
    return lambda values: to_host(values[slot])


def _size(step: GlueStep, backend: Backend, dim: Dim) -> Size:
    """Return how to compute one size: number and input symbols, times those bound on the way."""
    sizes, shape = step.sizes, backend.shape
    factor = 1
    static: List[str] = []
    dynamic: List[Tuple[int, int]] = []
    for part in dim:
        if isinstance(part, int):
            factor *= part
        elif part in step.sources:
            dynamic.append(step.sources[part])
        else:
            static.append(part)

    def size(values: List[Any]) -> int:
        total = factor
        for symbol in static:
            total *= sizes[symbol]
        for slot, axis in dynamic:
            total *= shape(values[slot])[axis]
        return total

    return size


def _shape(step: GlueStep, backend: Backend) -> Callable[[List[Any]], Tuple[int, ...]]:
    sizes = tuple(_size(step, backend, dim) for dim in step.out.dims)
    return lambda values: tuple([size(values) for size in sizes])


def _zeros(step: GlueStep, backend: Backend, seed: int) -> Work:
    shape, dtype, place = _shape(step, backend), np.dtype(step.out.dtype), backend.from_host
    return lambda values, iteration: place(np.zeros(shape(values), dtype))


def _padding_mask(step: GlueStep, backend: Backend, seed: int) -> Work:
    lengths, place = _read(step, backend, "lengths"), backend.from_host
    width = _size(step, backend, step.out.dims[1])

    def padding_mask(values: List[Any], iteration: int) -> Any:
        return place(np.arange(width(values)) >= lengths(values).reshape(-1, 1))

    return padding_mask


def _crop(step: GlueStep, backend: Backend, seed: int) -> Work:
    lengths, place = _read(step, backend, "lengths"), backend.from_host
    tensor, axis = _read(step, backend, "tensor"), step.args["axis"]
    slot, on_host = step.reads["tensor"]
    before = (slice(None),) * axis
    shape = backend.shape

    def crop(values: List[Any], iteration: int) -> Any:
        longest = int(lengths(values).max())
        # Nothing to cut off, the usual case: the handle goes on as it is, without a copy.
        if not on_host and shape(values[slot])[axis] == longest:
            return values[slot]
        return place(tensor(values)[(*before, slice(0, longest))])

    return crop


def _unsqueeze(step: GlueStep, backend: Backend, seed: int) -> Work:
    tensor, axis, place = _read(step, backend, "tensor"), step.args["axis"], backend.from_host
    return lambda values, iteration: place(np.expand_dims(tensor(values), axis))


def _normal(step: GlueStep, backend: Backend, seed: int) -> Work:
    shape, place, dtype = _shape(step, backend), backend.from_host, np.dtype(step.out.dtype)
    if dtype != np.float32:
        raise UsageError(f"glue normal before {step.stage}: float32 noise only, asked for {dtype}")

    def normal(values: List[Any], iteration: int) -> Any:
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, iteration])))
        return place(generator.standard_normal(shape(values), np.float32))

    return normal


OPERATIONS: Dict[str, Callable[[GlueStep, Backend, int], Work]] = {
    "crop": _crop,
    "normal": _normal,
    "padding_mask": _padding_mask,
    "unsqueeze": _unsqueeze,
    "zeros": _zeros,
}

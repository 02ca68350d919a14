"""The host work between stages, in numpy, built into closures that run inside the glue span.

A closure takes the tensor slots and the iteration number and returns the handle it made. What the
pipeline's inputs decide is computed when the closure is built, outside the spans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from backends.errors import BackendError, OptionError

if TYPE_CHECKING:
    from backends.base import Backend, Work
    from backends.pipeline import Dim, GlueStep


Shape = Tuple[int, ...]
Read = Callable[[List[Any]], Any]


def build(step: GlueStep, backend: Backend, seed: int) -> Work:
    """Return the closure of one glue step.

    Raises:
        UsageError: the operation is unknown, an argument is missing, or a size is not bound yet.
    """
    if step.op not in OPERATIONS:
        listed = ", ".join(sorted(OPERATIONS))
        raise OptionError(
            f"glue before {step.stage}: no operation {step.op!r}; there are: {listed}"
        )
    try:
        return OPERATIONS[step.op](step, backend, seed)
    except KeyError as error:
        raise OptionError(
            f"glue {step.op} before {step.stage}: no argument or size {error} is known there"
        ) from error


def _read(step: GlueStep, backend: Backend, argument: str) -> Read:
    """Return how to get an argument's tensor as a host array."""
    slot, on_host = step.reads[argument]
    if on_host:
        return lambda values: values[slot]
    to_host = backend.to_host
    return lambda values: to_host(values[slot])


def _fixed(step: GlueStep, dim: Dim) -> Optional[int]:
    """Return a size that the inputs decide, None for one bound inside the iteration."""
    total = 1
    for part in dim:
        if isinstance(part, str) and part in step.sources:
            return None
        total *= step.sizes[part] if isinstance(part, str) else part
    return total


def _shape(step: GlueStep, backend: Backend) -> Callable[[List[Any]], Shape]:
    """Return how to get the shape of what the step makes."""
    known = [_fixed(step, dim) for dim in step.out.dims]
    shape = backend.shape
    if None not in known:
        fixed = tuple(size for size in known if size is not None)
        return lambda values: fixed

    def measure(values: List[Any]) -> Shape:
        sizes = dict(step.sizes)
        for symbol, (slot, axis) in step.sources.items():
            sizes[symbol] = shape(values[slot])[axis]
        whole = []
        for dim in step.out.dims:
            total = 1
            for part in dim:
                total *= sizes[part] if isinstance(part, str) else part
            whole.append(total)
        return tuple(whole)

    return measure


def _zeros(step: GlueStep, backend: Backend, seed: int) -> Work:
    shape, dtype, place = _shape(step, backend), np.dtype(step.out.dtype), backend.from_host
    return lambda values, iteration: place(np.zeros(shape(values), dtype))


def _padding_mask(step: GlueStep, backend: Backend, seed: int) -> Work:
    lengths, place = _read(step, backend, "lengths"), backend.from_host
    shape = _shape(step, backend)

    def padding_mask(values: List[Any], iteration: int) -> Any:
        return place(np.arange(shape(values)[1]) >= lengths(values).reshape(-1, 1))

    return padding_mask


def _crop(step: GlueStep, backend: Backend, seed: int) -> Work:
    lengths, place = _read(step, backend, "lengths"), backend.from_host
    tensor, axis = _read(step, backend, "tensor"), step.args["axis"]
    slot, on_host = step.reads["tensor"]
    before = (slice(None),) * axis
    shape = backend.shape

    def crop(values: List[Any], iteration: int) -> Any:
        longest = int(lengths(values).max())
        if longest < 1:
            raise BackendError(
                step.stage
                + ": nothing to work on: every row of "
                + step.args["tensor"]
                + " ended at its first step"
            )
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
        raise OptionError(f"glue normal before {step.stage}: float32 noise only, asked for {dtype}")

    def draw(values: List[Any], iteration: int) -> Any:
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, iteration])))
        return generator.standard_normal(shape(values), np.float32)

    if "scales" not in step.args:
        return lambda values, iteration: place(draw(values, iteration))
    trailing = (1,) * (len(step.out.dims) - 2)
    scales = np.array(step.args["scales"], np.float32).reshape((-1, *trailing))

    def scaled(values: List[Any], iteration: int) -> Any:
        noise = draw(values, iteration)
        noise *= scales
        return place(noise)

    return scaled


OPERATIONS: Dict[str, Callable[[GlueStep, Backend, int], Work]] = {
    "crop": _crop,
    "normal": _normal,
    "padding_mask": _padding_mask,
    "unsqueeze": _unsqueeze,
    "zeros": _zeros,
}

"""What is looked at after an iteration, outside latency: shapes, sizes, work counts, delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

from backends.errors import BackendError

if TYPE_CHECKING:
    from backends.base import Backend
    from backends.pipeline import Dim, ItemsPlan, PipelinePlan, Tensor
    from backends.timing.layout import Layout


def product(dim: Dim, sizes: Dict[str, int]) -> int:
    """Return the number a dim stands for."""
    total = 1
    for factor in dim:
        total *= sizes[factor] if isinstance(factor, str) else factor
    return total


def flat(values: Any) -> List[int]:
    """Return nested lists of integers as one list."""
    if not isinstance(values, list):
        return [values]
    return [number for value in values for number in flat(value)]


class Outputs:
    """Reads the tensors of a finished iteration."""

    def __init__(self, plan: PipelinePlan, layout: Layout, backend: Backend) -> None:
        self._layout = layout
        self._backend = backend
        self._items = plan.items
        self._lengths = [layout.slot(items.lengths, items.name) for items in plan.items]
        self._loops = [(f"{stage.name}_steps", stage.loop) for stage in plan.stages if stage.loop]
        self._batch = plan.inputs[0].dims[0] if plan.inputs else (1,)
        host = frozenset(layout.host.values())
        self._made = [
            (slot, tensor) for slot, tensor in enumerate(layout.tensors) if slot not in host
        ]
        self.deliver = self._delivery(plan)

    def sizes(self, values: List[Any]) -> Dict[str, int]:
        """Return every symbol, after holding every tensor against its spec.

        Raises:
            BackendError: a tensor has another rank or size than the plan says.
        """
        shape = self._backend.shape
        sizes = {
            symbol: shape(values[slot])[axis]
            for symbol, (slot, axis) in self._layout.sources.items()
        }
        for slot, tensor in self._made:
            found = list(shape(values[slot]))
            wanted = [product(dim, sizes) for dim in tensor.dims]
            if found != wanted:
                raise BackendError(
                    f"tensor {tensor.name} has shape {found} where the plan says {wanted}"
                )
        return sizes

    def work(self, values: List[Any], sizes: Dict[str, int]) -> Dict[str, int]:
        """Return the work counts of an iteration: items padded and valid, steps of loops.

        Raises:
            BackendError: the true lengths say more items than the padded tensor holds.
        """
        counts = {"utterances": product(self._batch, sizes)}
        for items, slot in zip(self._items, self._lengths):
            padded = product(items.padded, sizes)
            valid = sum(self._ints(values[slot])) * items.per_length
            if valid > padded:
                raise BackendError(
                    f"{items.lengths} counts {valid} {items.name} where {padded} were made"
                )
            counts[items.name + "_padded"] = padded
            counts[items.name + "_valid"] = valid
        for name, loop in self._loops:
            counts[name] = sizes[loop.steps]
        return counts

    def _ints(self, handle: Any) -> List[int]:
        return flat(self._backend.to_host(handle).tolist())

    def _delivery(self, plan: PipelinePlan) -> Callable[[List[Any]], Any]:
        """Return what brings the last stage's outputs to the host, cut to true length."""
        if not plan.stages:
            return lambda values: None
        stage, slots = plan.stages[-1], self._layout.stages[-1]
        items, lengths = self._produced(stage.produces)
        to_host = self._backend.to_host
        cuts = [
            (slot, _cut(tensor, items))
            for slot, tensor in zip(range(slots.first, slots.last), stage.outputs)
        ]

        def deliver(values: List[Any]) -> Any:
            ends = self._ints(values[lengths]) if items else []
            delivered = []
            for slot, cut in cuts:
                rows = to_host(values[slot])
                if cut is not None:
                    before, per_length = cut
                    rows = [
                        row[(*before, slice(0, end * per_length))] for row, end in zip(rows, ends)
                    ]
                delivered.append(rows)
            return delivered

        return deliver

    def _produced(self, name: str) -> Tuple[Optional[ItemsPlan], int]:
        for items, slot in zip(self._items, self._lengths):
            if items.name == name:
                return items, slot
        return None, -1


def _cut(tensor: Tensor, items: Optional[ItemsPlan]) -> Optional[Tuple[Tuple[slice, ...], int]]:
    """Return (slices before the cut axis of one row, items per length), or None: not cut."""
    if items is None or not tensor.dims or tensor.dims[0] != items.padded[:1]:
        return None
    for axis, dim in enumerate(tensor.dims[1:]):
        if dim == items.padded[1:]:
            return (slice(None),) * axis, items.per_length
    return None

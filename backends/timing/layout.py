"""Where each tensor of a pipeline comes from and goes to."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Tuple

from backends.errors import OptionError
from backends.pipeline import GluePlan, GlueStep, PipelinePlan, StagePlan, Tensor


class StageSlots(NamedTuple):
    """Where a stage's glue and model read and write."""

    glue: Tuple[Tuple[int, GlueStep], ...]
    needs: Tuple[int, ...]
    first: int
    last: int


TENSOR_ARGUMENTS = ("tensor", "lengths")
"""The glue arguments that name a tensor."""


class Layout:
    """Slots of all tensors of a plan, and which slot and axis binds each symbol.

    Pipeline inputs have two slots: the host array, which stays between iterations, and the
    handle made of it anew in each iteration.
    """

    def __init__(self, plan: PipelinePlan) -> None:
        self.tensors: List[Tensor] = []
        self.sources: Dict[str, Tuple[int, int]] = {}
        self._latest: Dict[str, int] = {}
        self.inputs = tuple(self._add(tensor) for tensor in plan.inputs)
        self.static = frozenset(self.sources)
        self.sizes = {
            symbol: plan.sizes[symbol][0] for symbol in self.static if symbol in plan.sizes
        }
        self.host: Dict[int, int] = {}
        """From the slot of an input's handle to the slot of its host array."""
        for slot in self.inputs:
            self.host[slot] = len(self.tensors)
            self.tensors.append(self.tensors[slot])
        self.stages = tuple(self._stage(stage) for stage in plan.stages)

    def slot(self, name: str, why: str) -> int:
        """Return the slot of the latest tensor of that name.

        Raises:
            UsageError: no tensor of that name is made before.
        """
        if name not in self._latest:
            raise OptionError(f"{why} needs the tensor {name!r}, which nothing before it makes")
        return self._latest[name]

    def _add(self, tensor: Tensor) -> int:
        slot = len(self.tensors)
        self.tensors.append(tensor)
        self._latest[tensor.name] = slot
        for axis, dim in enumerate(tensor.dims):
            if len(dim) == 1 and isinstance(dim[0], str):
                self.sources.setdefault(dim[0], (slot, axis))
        return slot

    def _glue(self, stage: StagePlan, step: GluePlan) -> Tuple[int, GlueStep]:
        reads = {}
        for argument in TENSOR_ARGUMENTS:
            if argument in step.args:
                slot = self.slot(step.args[argument], f"{step.op} before {stage.name}")
                reads[argument] = (self.host.get(slot, slot), slot in self.host)
        dynamic = {
            symbol: source for symbol, source in self.sources.items() if symbol not in self.static
        }
        ready = GlueStep(stage.name, step.op, step.out, step.args, reads, self.sizes, dynamic)
        return self._add(step.out), ready

    def _stage(self, stage: StagePlan) -> StageSlots:
        glue = tuple(self._glue(stage, step) for step in stage.glue)
        needs = tuple(self.slot(tensor.name, stage.name) for tensor in stage.inputs)
        first = len(self.tensors)
        for tensor in stage.outputs:
            self._add(tensor)
        return StageSlots(glue, needs, first, len(self.tensors))

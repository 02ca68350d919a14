"""The smallest backend another distribution can add: it answers zeros, and takes its time."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Dict, Sequence

import numpy as np

from backends.base import QUANTS, Artefact, Backend, CompiledStage, Option

if TYPE_CHECKING:
    from backends.pipeline import PipelinePlan, StagePlan

FRAMES = 40


class ToyStage(CompiledStage):
    """Returns tensors of zeros in the shapes the plan promises."""

    def __init__(self, stage: StagePlan, pause_s: float) -> None:
        self._stage, self._pause_s = stage, pause_s

    def run(self, tensors: Sequence[Any]) -> Sequence[Any]:
        time.sleep(self._pause_s)
        sizes: Dict[Any, int] = {"frames": FRAMES, "steps": FRAMES}
        for spec, tensor in zip(self._stage.inputs, tensors):
            sizes.update((dim[0], size) for dim, size in zip(spec.dims, tensor.shape))
        return [self._zeros(spec, sizes) for spec in self._stage.outputs]

    @staticmethod
    def _zeros(spec: Any, sizes: Dict[Any, int]) -> Any:
        shape = [int(np.prod([sizes.get(factor, factor) for factor in dim])) for dim in spec.dims]
        fill = FRAMES if "lengths" in spec.name else 0
        return np.full(shape, fill, dtype=spec.dtype)

    def effective(self) -> Dict[str, Any]:
        return {
            "compute": "none",
            "storage": "none",
            "activations": "none",
            "device": "cpu",
            "provider": "toy",
            "source": "the plug-in computes nothing",
            "operators": {},
            "verified": False,
            "reason": "the plug-in computes nothing",
        }


class ToyBackend(Backend):
    """A backend of another distribution, with one option."""

    name = "toy"
    options = (Option("pause_ms", 0.1, "Time each stage takes.", least=0.0),)

    def probe(self) -> Dict[str, Any]:
        return {
            "available": True,
            "reason": None,
            "runtime": {"name": "toy", "version": "1.0"},
            "device": {"id": self.device, "kind": "cpu", "name": "nothing", "facts": {}},
            "devices": [self.device],
        }

    def precisions(self) -> Dict[str, Dict[str, Any]]:
        return {quant: {"form": "float32", "note": None} for quant in QUANTS}

    def compile(self, plan: PipelinePlan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
        return {
            stage.name: Artefact(stage.name, hashlib.sha256(quant.encode()).hexdigest(), True, 0)
            for stage in plan.stages
        }

    def load(self, stage: StagePlan, quant: str, artefact: str, seed: int) -> CompiledStage:
        return ToyStage(stage, self.settings["pause_ms"] / 1e3)

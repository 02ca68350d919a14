"""The ranges a float32 pipeline shows on calibration inputs, for a form that rounds between them.

A model that watches returns, after its own results, the least and the largest value of tensors
inside it (`qdq.watched`). Whatever lies outside of them later is cut off, and the accuracy gate
sees what that costs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Sequence

from backends import cache
from backends.base import Backend, CompiledStage
from backends.errors import UnsupportedError
from backends.graphs import compiled_files
from backends.openvino import int8
from backends.timing.executor import Executor

if TYPE_CHECKING:
    from backends.openvino.int8 import Ranges
    from backends.pipeline import PipelinePlan, StagePlan


class Watching(CompiledStage):
    """A stage that keeps the ranges it sees, and hands on its results alone.

    Args:
        stage: its outputs are those of the plan, then least and largest of each watched tensor.
        outputs: how many outputs the plan has.
        tensors: the watched tensors.
    """

    def __init__(self, stage: CompiledStage, outputs: int, tensors: Sequence[str]) -> None:
        self._stage = stage
        self._outputs = outputs
        self._tensors = tensors
        self.seen: Ranges = {}

    def run(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Run the stage; keep the ranges of this pass."""
        made = self._stage.run(tensors)
        ends = [float(one) for one in made[self._outputs :]]
        self.seen = {
            name: [least, largest]
            for name, least, largest in zip(self._tensors, ends[::2], ends[1::2])
        }
        return made[: self._outputs]

    def input_dtype(self, name: str) -> Optional[str]:
        """Return the dtype the stage takes for an input."""
        return self._stage.input_dtype(name)

    def effective(self) -> Dict[str, Any]:
        """Return what the stage says of itself."""
        return self._stage.effective()

    def close(self) -> None:
        """Release the stage."""
        self._stage.close()


class Calibration:
    """The ranges of a pipeline on the backend's calibration inputs, measured once for the cache.

    The first inputs alone, of the typical length: the vocoder has seen tens of thousands of places
    by then, and the largest length would take it minutes on a CPU.

    Args:
        backend: runs it.
        plan: the pipeline; what reaches a stage depends on those before it.
        cache_dir: where the ranges are kept.
        load: loads the watching form of a stage, in float32, from a path.
    """

    def __init__(
        self,
        backend: Backend,
        plan: PipelinePlan,
        cache_dir: str,
        load: Callable[[StagePlan, str], Watching],
    ) -> None:
        self._backend = backend
        self._plan = plan
        self._cache_dir = cache_dir
        self._load = load
        self._inputs = next(iter(backend.calibration or []), None)
        stages = [compiled_files.identity(stage) for stage in plan.stages]
        self.key = cache.key_of([backend.name, compiled_files.written_by(), stages, self._inputs])
        """Tells these ranges from others; no option of the runtime changes them."""
        self._found: Optional[Dict[str, Ranges]] = None

    def ranges(self, stage: StagePlan) -> Ranges:
        """Return the ranges of what a stage's convolutions read.

        Raises:
            UnsupportedError: there are convolutions, and no inputs to calibrate on.
        """
        if self._found is None:
            path = str(Path(self._cache_dir) / f"ranges-{self.key[:16]}.json")
            self._found = cache.read(path)
            if self._found is None:
                self._found = self._measured()
                cache.write(path, self._found)
        return self._found[stage.name]

    def _measured(self) -> Dict[str, Ranges]:
        """Run the pipeline from watching forms, files that are gone afterwards."""
        stages: Dict[str, Watching] = {}
        try:
            with tempfile.TemporaryDirectory(dir=self._cache_dir) as folder:
                if not self._write(folder):
                    return {stage.name: {} for stage in self._plan.stages}
                for stage in self._plan.stages:
                    stages[stage.name] = self._load(stage, f"{folder}/{stage.name}.onnx")
                self._run(stages)
        finally:
            for one in stages.values():
                one.close()
        return {name: stage.seen for name, stage in stages.items()}

    def _write(self, folder: str) -> int:
        """Write the watching form of each stage; return how many tensors are watched."""
        rewritings = (*compiled_files.FUSED.rewritings, int8.watched)
        runtime = self._backend.name
        return sum(
            compiled_files.rewrite(stage, f"{folder}/{stage.name}.onnx", rewritings, runtime)[
                "watched"
            ]
            for stage in self._plan.stages
        )

    def _run(self, stages: Dict[str, Watching]) -> None:
        if self._inputs is None:
            raise UnsupportedError(
                "int8 convolutions need inputs of the pipeline to calibrate on; none were given"
            )
        runner = Executor(self._plan, dict(stages), self._backend, 0, 0)
        try:
            runner.set_inputs(self._inputs)
            runner.once()
        finally:
            runner.close()

"""What runs a contestant inside its own process, and how it is timed there."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from backends import pipeline, registry
from backends.errors import UnsupportedError
from backends.timing.executor import Executor
from benchmarks import works

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from benchmarks.contestants import Contestant
    from benchmarks.works import Setup


@dataclass(frozen=True)
class Task:
    """What a process is started for."""

    contestant: Contestant
    work: str
    setup: Setup
    rows: int
    given: bool
    """The dropout masks are an input."""
    plan: Mapping[str, Any] | None
    """Of a backend: the pipeline with its model files."""
    cache: str
    """Folder of compiled models."""


class Engine(Protocol):
    """A contestant, loaded for one piece of work; made from a `Task`."""

    runtime: str
    """Name and version of what runs it."""
    effective: Mapping[str, Mapping[str, Any]]
    """Precision of every stage as read back, in the words of docs/protocol.md."""

    def run(self, count: int) -> tuple[float, float]:
        """Run so many times; return wall seconds, and processor seconds of all threads."""
        ...

    def results(self) -> Mapping[str, NDArray[Any]]:
        """Run once; return the outputs that are compared."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


def timed(do: Callable[[], object], count: int) -> tuple[float, float]:
    """Return the wall and processor seconds of so many calls, without garbage collection."""
    gc.disable()
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            do()
        return time.perf_counter() - wall, time.process_time() - cpu
    finally:
        gc.enable()


class BackendEngine:
    """A backend as a user gets it: compiled, loaded and run by its own methods.

    Raises:
        UnsupportedError: the runtime is not here, or has no such mode.
        BackendError: it cannot be compiled or loaded.
    """

    def __init__(self, task: Task) -> None:
        contestant, self._task = task.contestant, task
        described = pipeline.parse(task.plan)
        self._backend = registry.find(str(contestant.backend))(dict(contestant.options), "0")
        probe = self._backend.probe()
        skipped = self._backend.precisions()[contestant.quant].get("skipped")
        if not probe["available"] or skipped:
            raise UnsupportedError(str(skipped or probe["reason"]))
        self.runtime = f"{probe['runtime']['name']} {probe['runtime']['version']}"
        if "qint" in contestant.quant:
            self._backend.calibration = [_listed(self._inputs(1))]
        self._backend.expected = {"batch": task.rows, "text": task.setup.text}
        artefacts = self._backend.compile(described, contestant.quant, task.cache)
        self._stages = {
            stage.name: self._backend.load(
                stage, contestant.quant, artefacts[stage.name].path, works.SEED
            )
            for stage in described.stages
        }
        self.effective = {name: stage.effective() for name, stage in self._stages.items()}
        self._executor = Executor(described, self._stages, self._backend, works.SEED, 0)
        self._executor.set_inputs(dict(self._inputs(task.rows)))
        self._taken = [tensor.name for tensor in described.stages[0].inputs]
        self._handles: list[Any] | None = None

    def _inputs(self, rows: int) -> Mapping[str, NDArray[Any]]:
        return works.inputs(self._task.work, self._task.setup, rows, given=self._task.given)

    def run(self, count: int) -> tuple[float, float]:
        """Run the pipeline; of a decoder step the model alone, as a decoder calls it."""
        if self._task.work == works.STEP:
            handles, run = self._fed(), self._stages[works.STEP_STAGE].run
            return timed(lambda: run(handles), count)
        ran = self._executor.run(count, 0, watch=False)
        return sum(ran["columns"]["latency_ns"]) / 1e9, ran["counters"]["cpu_ns"] / 1e9

    def _fed(self) -> list[Any]:
        """Return the handles a single stage takes."""
        if self._handles is None:
            self._executor.once()
            self._handles = [self._executor.handle(name) for name in self._taken]
            self._executor.release()
        return self._handles

    def results(self) -> dict[str, NDArray[Any]]:
        """Run one pass; return copies of its outputs."""
        self._executor.once()
        found = {
            name: np.array(self._backend.to_host(self._executor.handle(name)))
            for name in works.outputs(self._task.work, self._task.setup)
        }
        self._executor.release()
        return found

    def close(self) -> None:
        """Release stages and backend."""
        self._executor.close()
        for stage in self._stages.values():
            stage.close()
        self._backend.close()


def _listed(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in arrays.items()}

"""How fast this machine reads: every thread goes through its own part of an array, again and again.

The rate of reading bounds whatever must go through its weights once for every step. The parts are
reduced by `or`, which numpy does in vectors, quicker than memory delivers, while other threads run.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from backends import counters
from backends.base import (
    QUANTS,
    Artefact,
    Backend,
    CompiledStage,
    Option,
    UnsupportedError,
    UsageError,
)

if TYPE_CHECKING:
    from backends.plan import Plan, StagePlan

STAGE = "reading"
LEAST_BYTES = 4096


class ReadingBackend(Backend):
    """Reads memory with numpy, whatever the plan's model."""

    name = "reading"
    options = (
        Option("bytes", 1 << 28, "bytes all threads together go through", least=LEAST_BYTES),
        Option("threads", 1, "threads, each with its own part", least=1),
        Option("passes", 1, "how often each thread goes through its part", least=1),
    )

    def probe(self) -> Dict[str, Any]:
        """Return the processor; there is one device."""
        if self.device != "0":
            raise UsageError(f"no device {self.device!r}; there is: 0")
        import numpy as np

        return {
            "available": True,
            "reason": None,
            "runtime": {"name": "numpy", "version": np.__version__, "providers": [], "build": ""},
            "device": {
                "id": "0",
                "kind": "cpu",
                "name": counters.cpu_name(),
                "facts": {"cpus": counters.cpus()},
            },
            "devices": ["0"],
        }

    def precisions(self) -> Dict[str, Dict[str, Any]]:
        """Return float32 as the one mode there is a name for; nothing is computed in it."""
        skipped = {"skipped": "reading has one form only"}
        found = {quant: skipped for quant in QUANTS}  # noqa: C420 - the seam wants a plain dict
        found["force_float32"] = {"form": "float32", "note": "reads 64-bit integers"}
        return found

    def compile(self, plan: Plan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
        """Return nothing to load: the kernel is part of this module."""
        return {
            stage.name: Artefact("", STAGE, cached=False, compile_ns=0) for stage in plan.stages
        }

    def load(self, stage: StagePlan, quant: str, artefact: str, seed: int) -> CompiledStage:
        """Return the kernel.

        Raises:
            UnsupportedError: the stage is another.
        """
        if stage.name != STAGE:
            raise UnsupportedError(
                f"the reading backend runs {STAGE!r} only, not {stage.name!r}; "
                "`python -m harness roofline` uses it"
            )
        settings = self.settings
        return Reader(settings["bytes"], settings["threads"], settings["passes"])


class Reader(CompiledStage):
    """So many threads, each with an array of its own."""

    def __init__(self, size_bytes: int, threads: int, passes: int) -> None:
        import numpy as np

        count = max(1, size_bytes // threads // 8)
        # Written here, not zeros: pages never written to are all the same page.
        self._parts = [np.full(count, index + 1, np.int64) for index in range(threads)]
        self._passes = passes
        self._reduce = np.bitwise_or.reduce
        self._answer = np.ones(1, np.float32)
        self._pool: Optional[ThreadPoolExecutor] = None
        if threads > 1:
            self._pool = ThreadPoolExecutor(threads)

    def _read(self, part: Any) -> int:
        found = 0
        for _ in range(self._passes):
            found |= int(self._reduce(part))
        return found

    def run(self, tensors: Sequence[Any]) -> List[Any]:
        """Read everything; return when the last thread has."""
        if self._pool is None:
            self._read(self._parts[0])
        else:
            list(self._pool.map(self._read, self._parts))
        return [self._answer]

    def effective(self) -> Dict[str, Any]:
        """Return what is read, which is no mode of a model."""
        return {
            "requested": "force_float32",
            "compute": "int64",
            "storage": "int64",
            "activations": "int64",
            "device": "cpu",
            "provider": "numpy",
            "source": "the kernel's own arrays",
            "operators": {},
            "verified": True,
            "reason": None,
        }

    def close(self) -> None:
        """End the threads; may be called again."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

"""Reads memory as fast as numpy can: one stage for each working set, by one thread or by all.

What a layer costs at batch 1 is reading its weights, so the machine's limit is how fast bytes come
from wherever a working set of that size lies. A stage's model says how large its set is, how often
one call reads it, and by how many threads; each thread reads a part of its own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from backends import counters
from backends.base import QUANTS, Artefact, Backend, BackendError, CompiledStage, UsageError

if TYPE_CHECKING:
    from backends.plan import Plan, StagePlan

ITEM_BYTES = 4
"""The arrays are float32: numpy's largest-of reduction over them is as wide as the registers."""


class ReadingBackend(Backend):
    """Runs numpy reductions, whatever else a plan's models say."""

    name = "reading"

    def __init__(self, options: Dict[str, Any], device: str) -> None:
        super().__init__(options, device)
        self._values: Any = None
        self._pool: Optional[ThreadPoolExecutor] = None

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
        """Return float32 as the one mode: what the arrays hold."""
        skipped: Dict[str, Any] = {"skipped": "reading memory has one form only"}
        found = {quant: skipped for quant in QUANTS}  # noqa: C420 - the seam wants a plain dict
        found["force_float32"] = {"form": "float32", "note": None}
        return found

    def compile(self, plan: Plan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
        """Return nothing to load: the kernel is part of this module."""
        return {
            stage.name: Artefact("", stage.name, cached=False, compile_ns=0)
            for stage in plan.stages
        }

    def load(self, stage: StagePlan, quant: str, artefact: str, seed: int) -> CompiledStage:
        """Return the kernel of one working set; all share one array, grown as needed.

        Raises:
            UsageError: the model says no working set, or one that its threads cannot share.
        """
        asked = [stage.model.get(name, 0) for name in ("working_set_bytes", "passes", "threads")]
        if not all(isinstance(one, int) and one > 0 for one in asked):
            raise UsageError(
                f"reading runs stages that say working_set_bytes, passes and threads, not "
                f"{stage.name!r}; `python -m harness roofline` uses it"
            )
        size, passes, threads = asked
        if size % (threads * ITEM_BYTES):
            raise UsageError(f"{stage.name}: {threads} threads cannot share {size} bytes evenly")
        import numpy as np

        if self._values is None or self._values.nbytes < size:
            # Ones, not zeros: untouched pages of zeros are all one page of memory.
            self._values = np.ones(size // ITEM_BYTES, np.float32)
        if threads > 1 and self._pool is None:
            self._pool = ThreadPoolExecutor(counters.cpus())
        parts = np.split(self._values[: size // ITEM_BYTES], threads)
        return Reader(parts, passes, self._pool)

    def close(self) -> None:
        """Let go of the array and the threads."""
        pool, self._pool, self._values = self._pool, None, None
        if pool is not None:
            pool.shutdown()


class Reader(CompiledStage):
    """So many passes over one working set."""

    def __init__(
        self, parts: Sequence[Any], passes: int, pool: Optional[ThreadPoolExecutor]
    ) -> None:
        from numpy.lib.stride_tricks import as_strided

        # Rows that lie on top of each other: all passes are one call, without the interpreter.
        self._rows = [
            as_strided(part, (passes, part.size), (0, ITEM_BYTES), writeable=False)
            for part in parts
        ]
        self._map: Any = pool.map if pool is not None and len(parts) > 1 else map

    def run(self, tensors: Sequence[Any]) -> List[Any]:
        """Read; every thread has ended its part on return."""
        found = list(self._map(_largest, self._rows))
        if not all(one.size for one in found):
            raise BackendError("a part of the working set was not read")
        return [found[0][:1]]

    def effective(self) -> Dict[str, Any]:
        """Return what is read."""
        return {
            "requested": "force_float32",
            "compute": "float32",
            "storage": "float32",
            "activations": "float32",
            "device": "cpu",
            "provider": "numpy",
            "source": "the kernel's own arrays",
            "operators": {},
            "verified": True,
            "reason": None,
        }


def _largest(rows: Any) -> Any:
    return rows.max(axis=1)

"""How fast this machine reads: every thread goes through its own part of an array, again and again.

The rate of reading bounds whatever must go through its weights once for every step. numpy reduces
the parts in vectors, quicker than any cache but the first delivers. All passes of a thread are one
call: it holds no lock of the interpreter, so threads do not wait for each other between passes.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from backends import processor
from backends.base import QUANTS, Artefact, Backend, CompiledStage
from backends.errors import OptionError, UnsupportedError

if TYPE_CHECKING:
    from backends.pipeline import PipelinePlan, StagePlan


READS = "reads"
"""What the plan's models name their place by."""
WORD_BYTES = 8
REDUCTIONS = ("bitwise_or", "maximum")
"""numpy's quickest readers of 64-bit integers; which of them is, depends on numpy and processor."""
TRIALS = 3


class Region(NamedTuple):
    """Somewhere to read from."""

    bytes: int
    """What all threads together go through."""
    threads: int
    passes: int
    """How often each thread goes through its part."""


def _place(stage: StagePlan) -> Region:
    """Return the place a stage reads.

    Raises:
        UnsupportedError: it is a stage of some model.
        UsageError: there is nothing to read.
    """
    given = stage.model.get(READS)
    if given is None:
        raise UnsupportedError(
            f"the reading backend runs no model, so no {stage.name!r}; "
            "`python -m harness roofline` uses it"
        )
    try:
        place = Region(**given)
        if min(place) >= 1 and place.bytes // place.threads >= WORD_BYTES:
            return place
    except TypeError:
        pass
    raise OptionError(
        f"{stage.name} reads {given}: bytes, threads and passes are whole numbers from 1 on, with "
        f"{WORD_BYTES} bytes for each thread at least"
    )


class ReadingBackend(Backend):
    """Reads memory with numpy: each stage the place its model names."""

    name = "reading"

    def __init__(self, options: Dict[str, Any], device: str) -> None:
        super().__init__(options, device)
        self._words: Any = None

    def probe(self) -> Dict[str, Any]:
        """Return the processor; there is one device."""
        if self.device != "0":
            raise OptionError(f"no device {self.device!r}; there is: 0")
        import numpy as np

        return {
            "available": True,
            "reason": None,
            "runtime": {"name": "numpy", "version": np.__version__, "providers": [], "build": ""},
            "device": {
                "id": "0",
                "kind": "cpu",
                "name": processor.cpu_name(),
                "facts": {"cpus": processor.cpus()},
            },
            "devices": ["0"],
        }

    def precisions(self) -> Dict[str, Dict[str, Any]]:
        """Return float32 as the one mode there is a name for; nothing is computed in it."""
        skipped = {"skipped": "reading has one form only"}
        found = {quant: skipped for quant in QUANTS}  # noqa: C420 - the seam wants a plain dict
        found["force_float32"] = {"form": "float32", "note": "reads 64-bit integers"}
        return found

    def compile(self, plan: PipelinePlan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
        """Return nothing to load: the kernel is part of this module."""
        return {
            stage.name: Artefact("", self.name, cached=False, compile_ns=0) for stage in plan.stages
        }

    def load(self, stage: StagePlan, quant: str, artefact: str, seed: int) -> CompiledStage:
        """Return the kernel.

        Raises:
            UnsupportedError: the stage is one of a model.
            UsageError: its place is none.
        """
        place = _place(stage)
        return Reader(self._parts(place), place.passes)

    def _parts(self, place: Region) -> List[Any]:
        """Return what each thread reads: the end of its part of one array.

        That is what the stage before, of as many threads and more bytes, has read last: it lies
        in the caches already, and no pass is the first one.
        """
        import numpy as np

        count = place.bytes // place.threads // WORD_BYTES
        if self._words is None or len(self._words) < count * place.threads:
            # Written to, not zeros: pages never written to are all the same page.
            self._words = np.full(count * place.threads, 1, np.int64)
        return [part[-count:] for part in np.array_split(self._words, place.threads)]

    def close(self) -> None:
        """Let go of the array."""
        self._words = None


class Reader(CompiledStage):
    """So many threads, each with a part of its own; the calling thread is the first of them."""

    def __init__(self, parts: Sequence[Any], passes: int) -> None:
        import numpy as np

        # Every pass is a row, and all rows are the same memory.
        self._rows = [np.broadcast_to(part, (passes, len(part))) for part in parts]
        self._found = [np.empty(passes, np.int64) for _ in parts]
        self._answer = np.ones(1, np.float32)
        self._pool: Optional[ThreadPoolExecutor] = None
        if len(parts) > 1:
            self._pool = ThreadPoolExecutor(len(parts) - 1)
        self._name = ""
        self._reduce: Callable[..., Any] = np.bitwise_or.reduce
        self._choose()

    def _choose(self) -> None:
        """Take the reduction that goes through this place quickest: none reads too fast."""
        import numpy as np

        spent = {}
        for name in REDUCTIONS:
            self._reduce = getattr(np, name).reduce
            spent[name] = min(self._seconds() for _ in range(TRIALS))
        self._name = min(spent, key=lambda name: spent[name])
        self._reduce = getattr(np, self._name).reduce

    def _seconds(self) -> float:
        begin = time.perf_counter()
        self.run(())
        return time.perf_counter() - begin

    def _read(self, index: int) -> None:
        self._reduce(self._rows[index], axis=1, out=self._found[index])

    def run(self, tensors: Sequence[Any]) -> List[Any]:
        """Read everything; return when the last thread has."""
        others = []
        if self._pool is not None:
            others = [self._pool.submit(self._read, one) for one in range(1, len(self._rows))]
        self._read(0)
        for other in others:
            other.result()
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
            "source": f"the kernel's own array, by numpy.{self._name}",
            "operators": {},
            "verified": True,
            "reason": None,
        }

    def close(self) -> None:
        """End the threads; may be called again."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._rows, self._found = [], []

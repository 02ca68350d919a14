"""The calibration workload: a fixed kernel that shows what the machine itself adds to a figure.

The same arithmetic every time, on one core, in the second-level cache: whatever varies is not the
work. `extra` adds a known share of it, so that a comparison can be tested on a difference that is
really there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Sequence

from backends import processor
from backends.base import QUANTS, Artefact, Backend, CompiledStage, Option
from backends.errors import OptionError, UnsupportedError

if TYPE_CHECKING:
    from backends.pipeline import PipelinePlan, StagePlan


STAGE = "kernel"
SIZE = 16_384
"""Doubles: 128 KiB."""


class CalibrationBackend(Backend):
    """Runs one numpy kernel, whatever the plan's model."""

    name = "calibration"
    options = (
        Option("rounds", 2400, "passes over the array: about 4 us each", least=1),
        Option("extra", 0.0, "share of rounds added to that", least=0),
    )

    def probe(self) -> Dict[str, Any]:
        """Return the processor; there is one device."""
        if self.device != "0":
            raise OptionError(f"no device {self.device!r}; there is: 0")
        import numpy as np

        return {
            "available": True,
            "reason": None,
            "runtime": {"name": "numpy", "version": np.__version__, "providers": [], "build": ""},
            "device": {"id": "0", "kind": "cpu", "name": processor.cpu_name(), "facts": {}},
            "devices": ["0"],
        }

    def precisions(self) -> Dict[str, Dict[str, Any]]:
        """Return float32 as the one mode there is a name for; the kernel computes in doubles."""
        skipped = {"skipped": "the calibration kernel has one form only"}
        found = {quant: skipped for quant in QUANTS}  # noqa: C420 - the seam wants a plain dict
        found["force_float32"] = {"form": "float32", "note": "computes in float64"}
        return found

    def compile(self, plan: PipelinePlan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
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
                f"the calibration backend runs {STAGE!r} only, not {stage.name!r}; "
                "`python -m harness selfcheck` uses it"
            )
        rounds = self.settings["rounds"]
        return Kernel(rounds + round(rounds * self.settings["extra"]))


class Kernel(CompiledStage):
    """So many passes over one array."""

    def __init__(self, rounds: int) -> None:
        import numpy as np

        self._rounds = rounds
        self._values = np.linspace(0.0, 1.0, SIZE)
        self._multiply: Callable[..., Any] = np.multiply
        self._add: Callable[..., Any] = np.add

    def run(self, tensors: Sequence[Any]) -> List[Any]:
        """Do the passes; the values converge to 0.5 and never become denormal."""
        values, multiply, add = self._values, self._multiply, self._add
        for _ in range(self._rounds):
            multiply(values, 0.5, out=values)
            add(values, 0.25, out=values)
        return [values[:1].astype("float32")]

    def effective(self) -> Dict[str, Any]:
        """Return what the kernel computes in, which is no mode of a model."""
        return {
            "requested": "force_float32",
            "compute": "float64",
            "storage": "float64",
            "activations": "float64",
            "device": "cpu",
            "provider": "numpy",
            "source": "the kernel's own arrays",
            "operators": {},
            "verified": True,
            "reason": None,
        }

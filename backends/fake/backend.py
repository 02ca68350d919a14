"""A backend without hardware: scripted durations, sizes and failures, standard library only.

By default time is virtual: a stage moves the clock by exactly what is scripted, so tests of
everything above need no waiting. `clock=real` spins for as long instead. The probe answer says
which, so that nobody takes a virtual number for a measured one.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence

from backends import channel
from backends.base import QUANTS, Artefact, Backend, CompiledStage, Option
from backends.errors import BackendError, OptionError
from backends.fake.failures import ANSWERS, ENDINGS, FAILURES, FLOOD_BYTES, use_up_memory
from backends.fake.tensors import FakeTensor, flatten, nested_shape

if TYPE_CHECKING:
    from backends.base import Work
    from backends.pipeline import Dim, GlueStep, PipelinePlan, StagePlan, Tensor


DURATIONS = "encoder:2000000,decoder:1000000,postnet:3000000,waveglow:40000000"


class FakeBackend(Backend):
    """Scripted stages."""

    name = "fake"
    options = (
        Option("clock", "virtual", "virtual: durations are exact; real: spin", ("virtual", "real")),
        Option("durations", DURATIONS, "ns per stage, per step where it loops: name:ns,..."),
        Option("default_ns", 1_000_000, "ns of a stage that durations does not name", least=0),
        Option("glue_ns", 1_000, "ns of one glue step", least=0),
        Option("bookkeeping_ns", 0, "virtual ns each reading of the clock takes", least=0),
        Option("batch_cost", 0.25, "share of the duration each further utterance adds", least=0),
        Option("noise", 0.0, "relative standard deviation of a duration, log-normal", least=0),
        Option("process_noise", 0.0, "the same, drawn once for the whole process", least=0),
        Option("warmup", 0.0, "how much slower the first iteration is: 1.0 is twice", least=0),
        Option("warmup_iterations", 5, "iterations in which that decays to a third", least=1),
        Option("stall_every", 0, "iterations from one stall to the next; 0: none", least=0),
        Option("stall_ns", 0, "ns of a stall, in the first stage", least=0),
        Option("slowdown", 1.0, "factor on every duration", least=0),
        Option("steps", 0, "steps of a loop; 0: max(32, round(4.75 x text))", least=0),
        Option("vary_steps", 0, "steps differ by up to this many between iterations", least=0),
        Option("devices", 1, "number of devices", least=1),
        Option("unsupported", "", "quant modes to skip, separated by commas"),
        Option("fail", "", "what goes wrong", FAILURES),
        Option("fail_at", 1, "the iteration in which it goes wrong; 0: verification", least=0),
        Option("fail_stage", "", "the stage in which it goes wrong; empty: the first"),
    )

    def __init__(self, options: Dict[str, Any], device: str) -> None:
        super().__init__(options, device)
        self.now_ns = 0
        self.iteration = 0
        self.seed = 0
        self.quant = QUANTS[0]
        self.random = random.Random(0)  # noqa: S311 - durations, not secrets
        self.durations = _durations(self.settings["durations"])
        self.level = random.Random().lognormvariate(0.0, self.settings["process_noise"])  # noqa: S311
        if self.settings["clock"] == "virtual":
            self.clock: Optional[Callable[[], int]] = self._virtual

    def _virtual(self) -> int:
        self.now_ns += self.settings["bookkeeping_ns"]
        return self.now_ns

    def spend(self, ns: float) -> None:
        """Let that much time pass."""
        if self.settings["clock"] == "virtual":
            self.now_ns += int(ns)
            return
        end = time.perf_counter_ns() + int(ns)
        while time.perf_counter_ns() < end:
            pass

    def wait_until(self, ns: int) -> None:
        """Let virtual time pass until then; wait for real time."""
        if self.settings["clock"] == "virtual":
            self.now_ns = max(self.now_ns, ns)
        else:
            super().wait_until(ns)

    def probe(self) -> Dict[str, Any]:
        """Return what is here: as many devices as asked for."""
        devices = [str(index) for index in range(self.settings["devices"])]
        if self.device not in devices:
            raise OptionError(f"no device {self.device!r}; there are: {', '.join(devices)}")
        failed = self.settings["fail"] == "probe"
        virtual = self.settings["clock"] == "virtual"
        return {
            "available": not failed,
            "reason": "scripted: no device answers" if failed else None,
            "virtual_clock": virtual,
            "runtime": {"name": "fake", "version": "1", "providers": [], "build": ""},
            "device": {
                "id": self.device,
                "kind": "fake",
                "name": "scripted durations, no hardware",
                "facts": {"virtual_clock": virtual},
            },
            "devices": devices,
        }

    def precisions(self) -> Dict[str, Dict[str, Any]]:
        """Return float32 for every mode that is not scripted away."""
        skipped = self.settings["unsupported"].split(",")
        return {
            quant: {"skipped": f"scripted: {quant} is not supported"}
            if quant in skipped
            else {"form": "float32", "note": "scripted"}
            for quant in QUANTS
        }

    def compile(self, plan: PipelinePlan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
        """Return the model files themselves."""
        if self.settings["fail"] == "compile":
            raise BackendError("scripted: the compiler failed")
        return {
            stage.name: Artefact(
                str(stage.model.get("path", "")),
                hashlib.sha256(f"{stage.model.get('sha256')} {quant}".encode()).hexdigest(),
                cached=False,
                compile_ns=0,
            )
            for stage in plan.stages
        }

    def load(self, stage: StagePlan, quant: str, artefact: str, seed: int) -> FakeStage:
        """Return a scripted stage."""
        if self.settings["fail"] == "load":
            raise BackendError(f"scripted: {stage.name} cannot be loaded")
        self.noise("load")
        self.seed, self.quant = seed, quant
        return FakeStage(self, stage)

    def noise(self, where: str) -> None:
        """Print to file descriptor 1 as a vendor's C++ would, when scripted."""
        if self.settings["fail"] == "noise":
            os.write(1, f"vendor says: {where}\n".encode())
            sys.stdout.write(f"and again: {where}\n")

    def begin(self, iteration: int) -> None:
        """Draw the durations of iteration i from (seed, i), in every process alike."""
        self.iteration = iteration
        self.random.seed(f"{self.seed} {iteration}")

    def factor(self) -> float:
        """Return what this iteration's noise, warm-up and slowdown make of a duration."""
        settings = self.settings
        factor: float = settings["slowdown"] * self.level
        if settings["noise"]:
            factor *= self.random.lognormvariate(0.0, settings["noise"])
        if settings["warmup"]:
            factor *= 1 + settings["warmup"] * 3 ** (
                -self.iteration / settings["warmup_iterations"]
            )
        return factor

    def stall(self, stage: str) -> int:
        """Return the ns by which this iteration stalls in a stage."""
        every, first = self.settings["stall_every"], next(iter(self.durations), stage)
        if not every or self.iteration == 0 or self.iteration % every or stage != first:
            return 0
        stalled: int = self.settings["stall_ns"]
        return stalled

    # What travels between stages is a FakeTensor

    def make_input(self, values: Any, tensor: Tensor, dtype: str) -> FakeTensor:
        """Return a tensor that knows its integers."""
        shape, flat = nested_shape(values), flatten(values)
        total = 1
        for size in shape:
            total *= size
        if len(shape) != len(tensor.dims) or total != len(flat):
            raise OptionError(f"input {tensor.name}: rows of one length are needed, found {shape}")
        return FakeTensor(shape, dtype, "input", flat)

    def glue(self, step: GlueStep) -> Work:
        """Return a closure that makes the right shape and takes `glue_ns`."""

        def work(values: List[Any], iteration: int) -> FakeTensor:
            self.spend(self.settings["glue_ns"])
            sizes = dict(step.sizes)
            for symbol, (slot, axis) in step.sources.items():
                sizes[symbol] = values[slot].shape[axis]
            if step.op == "crop":
                slot, _ = step.reads["lengths"]
                cropped = step.out.dims[step.args["axis"]][0]
                sizes[str(cropped)] = max(values[slot].tolist())
            return self.tensor(step.out, sizes, step.op)

        return work

    def tensor(
        self,
        spec: Tensor,
        sizes: Dict[str, int],
        origin: str,
        values: Optional[List[int]] = None,
    ) -> FakeTensor:
        """Return a tensor of a spec; its content follows from seed, iteration and origin."""
        content = f"{spec.name} {origin} {self.seed} {self.iteration} {self.quant}"
        return FakeTensor([_size(dim, sizes) for dim in spec.dims], spec.dtype, content, values)

    def summary(self, handle: Any) -> Dict[str, Any]:
        """Return a summary; contents that hold no numbers count as -1..1."""
        low, high = (
            (-1.0, 1.0) if handle.values is None else (min(handle.values), max(handle.values))
        )
        return {
            "shape": list(handle.shape),
            "dtype": handle.dtype,
            "finite": True,
            "min": float(low),
            "max": float(high),
            "sha256": handle.digest(),
        }

    def save(self, path: str, handles: Dict[str, Any]) -> None:
        """Write arrays drawn from the contents, where numpy is installed."""
        try:
            import numpy as np

            from backends import host_arrays
        except ImportError as error:
            raise BackendError(f"{path} cannot be written without numpy") from error
        filled = {}
        for name, handle in handles.items():
            if handle.values is not None:
                filled[name] = np.array(handle.values, handle.dtype).reshape(handle.shape)
                continue
            state = np.random.RandomState(int(handle.digest()[:8], 16))
            filled[name] = state.uniform(-1.0, 1.0, handle.shape).astype(handle.dtype)
        host_arrays.save(path, filled)


def _size(dim: Dim, sizes: Dict[str, int]) -> int:
    total = 1
    for factor in dim:
        total *= sizes[factor] if isinstance(factor, str) else factor
    return total


def _durations(text: str) -> Dict[str, int]:
    """Return {stage: ns} of "name:ns,name:ns".

    Raises:
        UsageError: the text is written otherwise.
    """
    found = {}
    for part in filter(None, text.split(",")):
        name, _, ns = part.partition(":")
        if not ns.isdigit():
            raise OptionError(f"fake.durations={text!r}: write name:ns,name:ns; found {part!r}")
        found[name.strip()] = int(ns)
    return found


class FakeStage(CompiledStage):
    """Takes its scripted time and returns tensors of plausible shapes."""

    def __init__(self, backend: FakeBackend, stage: StagePlan) -> None:
        self._backend = backend
        self._stage = stage
        settings = backend.settings
        self._ns = backend.durations.get(stage.name, settings["default_ns"])
        self._fails = settings["fail"] if settings["fail_stage"] in ("", stage.name) else ""
        self._fail_at = settings["fail_at"]

    def run(self, tensors: Sequence[Any]) -> List[FakeTensor]:
        """Let the time pass; fail where scripted."""
        backend = self._backend
        if self._fails and backend.iteration == self._fail_at:
            self._fail()
        sizes: Dict[str, int] = {}
        for spec, tensor in zip(self._stage.inputs, tensors):
            for dim, size in zip(spec.dims, tensor.shape):
                if len(dim) == 1 and isinstance(dim[0], str):
                    sizes[dim[0]] = size
        ns = self._ns * backend.factor()
        ns *= 1 + backend.settings["batch_cost"] * (sizes.get("batch", 1) - 1)
        steps = None
        if self._stage.loop:
            steps = self._steps(sizes)
            sizes[self._stage.loop.steps] = steps
            ns *= steps
        backend.spend(ns + backend.stall(self._stage.name))
        return [self._output(spec, sizes, steps) for spec in self._stage.outputs]

    def _steps(self, sizes: Dict[str, int]) -> int:
        settings = self._backend.settings
        steps = settings["steps"] or max(32, round(4.75 * sizes.get("text", 0)))
        if settings["vary_steps"]:
            steps += self._backend.random.randint(-settings["vary_steps"], settings["vary_steps"])
        limit = self._stage.loop.limit if self._stage.loop else steps
        return max(1, min(steps, limit))

    def _output(self, spec: Tensor, sizes: Dict[str, int], steps: Optional[int]) -> FakeTensor:
        values = None
        if spec.dtype.startswith("int") and steps is not None:
            total = 1
            for dim in spec.dims:
                total *= _size(dim, sizes)
            values = [steps] * total
        return self._backend.tensor(spec, sizes, self._stage.name, values)

    def _fail(self) -> None:
        failure, backend = self._fails, self._backend
        where = f"{self._stage.name}, iteration {backend.iteration}"
        if failure == "run":
            raise BackendError(f"scripted: {where}")
        if failure == "noise":
            backend.noise(where)
        elif failure == "flood":
            sys.stderr.write("vendor log line\n" * (FLOOD_BYTES // 16))
        elif failure == "memory":
            use_up_memory()
        elif failure == "clock":
            backend.now_ns -= 3600 * 10**9
        elif failure in ("garbage", "half") and channel.answers_fd is not None:
            os.write(channel.answers_fd, ANSWERS[failure])
        if failure in ENDINGS:
            ENDINGS[failure]()

    def effective(self) -> Dict[str, Any]:
        """Return that nothing was computed."""
        return {
            "requested": self._backend.quant,
            "compute": "none",
            "storage": "none",
            "activations": "none",
            "device": "fake",
            "provider": "fake",
            "source": "scripted",
            "operators": {},
            "verified": False,
            "reason": "the fake backend computes nothing",
        }

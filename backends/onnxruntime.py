"""onnxruntime on the CPU: the reference every other backend is held against.

Tensors stay onnxruntime's own from stage to stage (`Handle`), on memory shared with numpy, so no
copy hides in a span. Outputs are allocated anew by each call: an IOBinding would hand the last
call's outputs back as preallocated ones, and that fails as soon as the frame count changes.

The module bears the vendor's name; imports are absolute, so `import onnxruntime` below is the
vendor's package, made on first use and in this file alone.
"""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from backends import cache, counters, exact, forms, int8, onnxfile, pointwise, readback
from backends.base import (
    Artefact,
    Backend,
    BackendError,
    CompiledStage,
    Option,
    UnsupportedError,
    UsageError,
)
from backends.forms import FUSED, GRAPH, Form, Recipe, identity, written_by

if TYPE_CHECKING:
    from backends.plan import Plan, StagePlan

PROVIDER = "CPUExecutionProvider"

PROFILE_LIMIT_S = 1.0
"""After so long a Loop without a trip limit has shown every operator of its body; every further
second adds some hundred thousand events that must be read."""

ARTEFACT_FORMAT = 5

INT8 = "qint8_mixed_float32"

SPIN_US = 50
"""By measurement (decision 62): most of what spinning gains alone, little lost beside others."""
SPIN_SINCE = (1, 26)
"""The first version whose threads spin for a set time; before, they spin for ever or not at all."""

JOINED = (*FUSED.rewritings, pointwise.joined_convolutions)
FLOAT32 = Recipe("blocked", (*JOINED, pointwise.large_products))
CONTRACT, WHOLE, FEW = "contract", "int8", "int8-few"
"""Kinds of forms: the model file as it is, int8, and int8 for a decoding loop of few rows."""
STORED = {one.name: one for one in (int8.DIRECT, int8.SAFE)}
"""Ways of keeping int8 weights, the quickest first."""
NO_FORM = (
    "no int8 form of this model is exact here: products of bytes saturate on this CPU with every "
    "way of keeping weights that was probed ({})"
)

LEVELS = ("disabled", "basic", "extended", "all")

NUMPY_DTYPES = {"bool": "bool", "float": "float32", "double": "float64"}
"""onnxruntime's element types that numpy names otherwise."""


def _line(error: BaseException) -> str:
    """Return an error of onnxruntime as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _release(version: str) -> Tuple[int, ...]:
    """Return the numbers a version starts with, major and minor."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


Handle = Tuple[Any, Any]
"""A tensor of onnxruntime, and the numpy array whose memory it shares (None: its own).

A plain tuple: a dozen are made in every iteration, inside the spans.
"""


class Shape(NamedTuple):
    """Which form a stage runs as."""

    kind: str
    stored: Optional[str]
    """How int8 weights are kept, a name of `STORED`; None: there are none."""

    def recipe(self) -> Recipe:
        """Return what makes the form."""
        if self.stored is None:
            return FLOAT32
        quantised = partial(int8.quantised, stored=STORED[self.stored], few=self.kind == FEW)
        return Recipe(self.kind, (*JOINED, quantised), self.stored)

    def says(self) -> Optional[str]:
        """Return how int8 weights are kept, for the reader of a result."""
        if self.stored is None:
            return None
        blocks = "in blocks of inputs where few rows are multiplied; else "
        return (blocks if self.kind == FEW else "") + STORED[self.stored].says


class Profiled(NamedTuple):
    """A stage loaded with profiling, and what loading cost."""

    stage: OnnxRuntimeStage
    load_ns: int


class OnnxRuntimeBackend(Backend):
    """onnxruntime's CPUExecutionProvider."""

    name = "onnxruntime"
    options = (
        Option(
            "intra_threads",
            0,
            "threads inside an operator; 0: the CPUs this process may use",
            least=0,
        ),
        Option("inter_threads", 1, "threads across operators; 1: one after the other", least=1),
        Option(
            "spin_us",
            SPIN_US,
            "microseconds an idle thread spins before it sleeps; 0: it sleeps at once. Longer is "
            "quicker alone, and far slower on shared CPUs",
            least=0,
        ),
        GRAPH,
        Option(
            "dynamic_blocks",
            0,
            "cut an operator's work finer, so that a late thread gets less; "
            "0: one piece per thread",
            least=0,
        ),
        Option("optimisation", "all", "graph optimisation", LEVELS),
        Option("arena", True, "keep freed memory for the next call"),
        Option("memory_pattern", True, "plan memory of known shapes ahead"),
        Option("denormals_as_zero", False, "flush denormal numbers to zero"),
        Option("prepacking", True, "rearrange weights once while loading"),
    )

    def __init__(self, options: Dict[str, Any], device: str) -> None:
        super().__init__(options, device)
        self._spins_on_request = bool(options.get("spin_us"))
        self._vendor: Any = None
        self._share: Any = None
        self._cpu: Any = None

    # What is here

    def _pinned(self) -> Optional[List[int]]:
        """Keep to this device's share of the CPUs; return it, None where the device is the CPU."""
        several = self.beside
        if len(several) < 2:  # noqa: PLR2004 - one device is the whole CPU
            if self.device != "0":
                raise UsageError(
                    f"no device {self.device!r}; the CPU is device '0', and devices=0,1 share it"
                )
            return None
        cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        count, place = len(several), several.index(self.device)
        if count > len(cpus):
            raise UsageError(
                f"devices={','.join(several)}: {len(cpus)} CPUs cannot be shared by {count} devices"
            )
        share = cpus[place * len(cpus) // count : (place + 1) * len(cpus) // count]
        os.sched_setaffinity(0, share)
        return share

    def _import(self) -> Any:
        """Return the vendor's package.

        Raises:
            UnsupportedError: it is not installed or cannot be imported.
        """
        if self._vendor is None:
            try:
                import onnxruntime
                from onnxruntime.capi import onnxruntime_pybind11_state as state
            except ImportError as error:
                raise UnsupportedError(f"onnxruntime cannot be imported: {error}") from error
            self._vendor = onnxruntime
            device = state.OrtDevice
            self._cpu = device(device.cpu(), device.default_memory(), 0)
            self._share = state.OrtValue.ortvalue_from_numpy
            self._settle_spinning(onnxruntime.__version__)
        return self._vendor

    def _settle_spinning(self, version: str) -> None:
        """Let threads sleep at once where the runtime cannot limit how long they spin.

        Raises:
            UsageError: spinning was asked for.
        """
        if _release(version) >= SPIN_SINCE:
            return
        if self._spins_on_request:
            raise UsageError(
                f"onnxruntime {version} cannot limit how long a thread spins "
                f"({'.'.join(map(str, SPIN_SINCE))} can): set backend.spin_us=0"
            )
        self.settings["spin_us"] = 0

    def probe(self) -> Dict[str, Any]:
        """Return the runtime and the device: the CPU, or with several at once a share of it.

        Device k of D gets the k-th of D equal shares of the CPUs this process may use, and keeps
        to them. That happens before the runtime starts a thread.
        """
        share = self._pinned()
        self.settings["intra_threads"] = self.settings["intra_threads"] or counters.cpus()
        answer: Dict[str, Any] = {
            "available": True,
            "reason": None,
            "runtime": {"name": "onnxruntime", "version": None, "providers": [], "build": None},
            "device": {
                "id": self.device,
                "kind": "cpu",
                "name": counters.cpu_name(),
                "facts": {"cpus": counters.cpus(), "pinned": share},
            },
            "devices": self.beside or ["0"],
        }
        try:
            vendor = self._import()
        except UnsupportedError as error:
            answer.update(available=False, reason=str(error))
            return answer
        describe = getattr(vendor, "get_build_info", lambda: None)
        answer["runtime"] = {
            "name": "onnxruntime",
            "version": vendor.__version__,
            "providers": vendor.get_available_providers(),
            "build": describe(),
            "host_views": self._views(),
        }
        return answer

    def _views(self) -> bool:
        """Return whether a tensor can be read on the host without a copy."""
        import numpy as np

        value = self.from_host(np.zeros(16, np.float32))[0]
        seen: int = value.numpy().__array_interface__["data"][0]
        return bool(seen == value.data_ptr())

    def precisions(self) -> Dict[str, Dict[str, Any]]:
        """Return what a CPU without half or integer forms of these models can do."""
        skipped = "onnxruntime's CPU kernels have no {}"
        half = skipped.format("half precision to mix integers with")
        int8 = {
            "form": "float32",
            "note": "int8 weights, activations quantised as they come; results stay float32",
        }
        if self.settings["graph"] == "contract":
            int8 = {"skipped": "int8 is a form of the fused graph: leave backend.graph=fused"}
        return {
            "force_float32": {"form": "float32", "note": None},
            "force_float16": {
                "form": "half_rounded",
                "note": "weights and activations rounded to float16, computed in float32",
            },
            INT8: int8,
            "qint8_mixed_float16": {"skipped": half},
            "qint16_mixed_float32": {"skipped": skipped.format("products of int16 matrices")},
            "qint16_mixed_float16": {"skipped": half},
        }

    # From model file to session

    def _options(self, profile: Optional[str]) -> Any:
        vendor, settings = self._import(), self.settings
        options = vendor.SessionOptions()
        options.intra_op_num_threads = settings["intra_threads"]
        options.inter_op_num_threads = settings["inter_threads"]
        parallel = settings["inter_threads"] > 1
        modes = vendor.ExecutionMode
        options.execution_mode = modes.ORT_PARALLEL if parallel else modes.ORT_SEQUENTIAL
        levels = vendor.GraphOptimizationLevel
        options.graph_optimization_level = {
            "disabled": levels.ORT_DISABLE_ALL,
            "basic": levels.ORT_ENABLE_BASIC,
            "extended": levels.ORT_ENABLE_EXTENDED,
            "all": levels.ORT_ENABLE_ALL,
        }[settings["optimisation"]]
        options.enable_cpu_mem_arena = settings["arena"]
        options.enable_mem_pattern = settings["memory_pattern"]
        for key, value in (
            ("session.intra_op.allow_spinning", settings["spin_us"]),
            ("session.inter_op.allow_spinning", settings["spin_us"]),
            ("session.set_denormal_as_zero", settings["denormals_as_zero"]),
            ("session.disable_prepacking", not settings["prepacking"]),
        ):
            options.add_session_config_entry(key, "1" if value else "0")
        for key, amount in (
            ("session.intra_op.spin_duration_us", settings["spin_us"]),
            ("session.inter_op.spin_duration_us", settings["spin_us"]),
            ("session.dynamic_block_base", settings["dynamic_blocks"]),
        ):
            if amount:
                options.add_session_config_entry(key, str(amount))
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile
        return options

    def _session(
        self, stage: str, path: Union[str, bytes], seed: int, profile: Optional[str] = None
    ) -> Any:
        """Return a session of a file, or of a file's bytes, on the CPU and nothing else.

        Raises:
            BackendError: the file is no model, or another provider took it.
        """
        vendor = self._import()
        # Random operators draw from a generator seeded when their session is made.
        vendor.set_seed(seed)
        try:
            session = vendor.InferenceSession(path, self._options(profile), providers=[PROVIDER])
        except Exception as error:
            shown = path if isinstance(path, str) else "a model in memory"
            raise BackendError(f"{stage}: {shown} cannot be loaded: {_line(error)}") from error
        if session.get_providers() != [PROVIDER]:
            raise BackendError(
                f"{stage}: asked for {PROVIDER}, got {', '.join(session.get_providers())}"
            )
        return session

    def compile(self, plan: Plan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
        """Write the form that runs and read its precision back from one profiled pass.

        The artefact names the model that is loaded, the fused one beside it or the plan's own
        file, and holds what the pass at the least sizes showed. Or all is found in the cache.
        """
        shapes = self._shapes(plan, quant)
        keys = {stage.name: self._key(stage, quant, shapes[stage.name]) for stage in plan.stages}
        paths = {
            name: str(Path(cache_dir) / f"{name}-{key[:16]}.json") for name, key in keys.items()
        }
        begin = time.perf_counter_ns()
        kept = {name: cache.read(path) or {} for name, path in paths.items()}
        if all(
            kept[stage.name].get("key") == keys[stage.name]
            and forms.is_whole(stage, kept[stage.name]["model"])
            for stage in plan.stages
        ):
            spent = (time.perf_counter_ns() - begin) // max(1, len(keys))
            return {
                name: Artefact(paths[name], key, cached=True, compile_ns=spent)
                for name, key in keys.items()
            }
        compiled = {}
        with tempfile.TemporaryDirectory(dir=cache_dir) as folder:
            making: Dict[str, Callable[[], Form]] = {
                stage.name: partial(self._form, stage, shapes[stage.name], Path(cache_dir))
                for stage in plan.stages
            }
            found = self._profiled_pass(plan, quant, making, folder)
            for stage in plan.stages:
                form, effective, spent_ns = found[stage.name]
                shape = shapes[stage.name]
                if shape.says() and form.refused is None:
                    effective["weights"] = shape.says()
                artefact = {
                    "key": keys[stage.name],
                    **shape._asdict(),
                    "model": form.path,
                    "rewritten": form.rewritten,
                    "effective": effective,
                }
                cache.write(paths[stage.name], artefact)
                compiled[stage.name] = Artefact(
                    paths[stage.name],
                    keys[stage.name],
                    cached=False,
                    compile_ns=form.spent_ns + spent_ns,
                )
        return compiled

    def _shapes(self, plan: Plan, quant: str) -> Dict[str, Shape]:
        """Return which form each stage runs as.

        Raises:
            UnsupportedError: int8 is asked for, and no way of keeping weights is exact here.
        """
        if self.settings["graph"] == CONTRACT:
            return {stage.name: Shape(CONTRACT, None) for stage in plan.stages}
        if quant != INT8:
            return {stage.name: Shape(FLOAT32.kind, None) for stage in plan.stages}
        stored = self._stored()
        return {stage.name: Shape(self._kind(stage), stored) for stage in plan.stages}

    def _kind(self, stage: StagePlan) -> str:
        """Return the kind of int8 form that suits the rows expected."""
        rows = self.expected.get(str(stage.inputs[0].dims[0][0]), 0)
        # Elsewhere every position of the text is a row.
        step = stage.loop is not None or stage.model.get("step")
        few = step and 1 <= rows <= int8.FEW_ROWS
        return FEW if few and self._blocks_in_int8() else WHOLE

    def _stored(self) -> str:
        """Return the first way of keeping int8 weights that this CPU's kernels add exactly.

        Raises:
            UnsupportedError: none is.
        """
        for name, stored in STORED.items():
            try:
                if exact.adds_up(self._small, stored):
                    return name
            except ImportError:
                return int8.SAFE.name  # whoever needs the onnx package says so
        raise UnsupportedError(NO_FORM.format(", ".join(STORED)))

    def _small(self, model: bytes) -> exact.Run:
        """Load a small model that asks something of the runtime."""
        return partial(self._session("a question", model, 0).run, None)

    def _blocks_in_int8(self) -> bool:
        """Return whether the kernels for few rows compute in int8, and exactly.

        Some versions have none, or others.
        """
        import numpy as np

        try:
            model = int8.asks_how_blocks_multiply()
        except ImportError:
            return False  # whoever needs the onnx package says so
        x = np.ones((1, int8.BLOCK), np.float32)
        x[0, 0] = 1000.0
        try:
            (sums,) = self._small(model)({"x": x})
            return bool(sums < int8.BLOCK / 2) and exact.blocks_add_up(self._small)
        except Exception:  # noqa: BLE001 - a version without the kernel
            return False

    def _form(self, stage: StagePlan, shape: Shape, cache_dir: Path) -> Form:
        """Write the model file a stage runs from, or find it."""
        if shape.kind == CONTRACT:
            return forms.contract(stage)
        return forms.kept(stage, shape.recipe(), cache_dir, self.name)

    def _key(self, stage: StagePlan, quant: str, shape: Shape) -> str:
        """Return the hash of everything that decides what a stage runs as."""
        facts = [
            ARTEFACT_FORMAT,
            *identity(stage),
            quant,
            shape,
            self.settings,
            self._import().__version__,
            platform.machine(),
            counters.cpu_name(),
            counters.vector_extensions(),
            written_by(),
        ]
        return cache.key_of(facts)

    def _profiled_pass(
        self, plan: Plan, quant: str, making: Dict[str, Callable[[], Form]], folder: str
    ) -> Dict[str, Any]:
        """Run the pipeline once at its least sizes; return (form, effective, ns) of each stage."""
        from backends.executor import Executor

        profiled, written = {}, {}
        for stage in plan.stages:
            begin = time.perf_counter_ns()
            prefix = str(Path(folder) / stage.name)
            load = partial(self._session, stage.name, seed=0, profile=prefix)
            form, session = forms.opened(stage, making[stage.name], load)
            written[stage.name] = form
            begin += form.spent_ns  # counted by itself
            loaded = OnnxRuntimeStage(stage, session, {})
            if stage.model.get("unlimited"):
                loaded = EndedStage(stage, session, self, readback.least_outputs(plan, stage))
            profiled[stage.name] = Profiled(loaded, time.perf_counter_ns() - begin)
        runner = Executor(plan, {name: one.stage for name, one in profiled.items()}, self, 0, 0)
        try:
            runner.set_inputs(readback.least_inputs(plan))
            spans = runner.once()["stage_ns"]
        finally:
            runner.close()
        answer = {}
        for stage in plan.stages:
            one, form = profiled[stage.name], written[stage.name]
            begin = time.perf_counter_ns()
            storage = onnxfile.storage(form.path)
            effective = readback.effective(quant, storage, one.stage.end_profiling())
            effective["fallback"] = form.refused
            one.stage.close()
            reading = time.perf_counter_ns() - begin
            answer[stage.name] = (form, effective, one.load_ns + spans[stage.name] + reading)
        return answer

    def load(self, stage: StagePlan, quant: str, artefact: str, seed: int) -> OnnxRuntimeStage:
        """Load the model an artefact names; the artefact must be of this very configuration."""
        built = cache.read(artefact)
        shape = Shape(str(built.get("kind")), built.get("stored")) if built else None
        if built is None or shape is None or built.get("key") != self._key(stage, quant, shape):
            raise BackendError(
                f"{stage.name}: {artefact} was not built for this model, quant, runtime and these "
                f"options; compile again"
            )
        session = self._session(stage.name, built["model"], seed)
        return OnnxRuntimeStage(stage, session, built["effective"])

    def run_options(self) -> Any:
        """Return new options of one run, by which it can be ended from another thread."""
        return self._import().RunOptions()

    # Handles

    def shape(self, handle: Any) -> Sequence[int]:
        """Return the sizes of a handle's axes."""
        shape: Sequence[int] = handle[0].shape()
        return shape

    def to_host(self, handle: Any) -> Any:
        """Return a numpy view of the tensor's memory, which the view keeps alive."""
        return handle[0].numpy()

    def from_host(self, array: Any) -> Handle:
        """Return a tensor on the array's memory; a cut array is made contiguous first."""
        if not array.flags.c_contiguous:
            array = array.copy()
        return self._share(array, self._cpu), array


class OnnxRuntimeStage(CompiledStage):
    """One session."""

    def __init__(self, stage: StagePlan, session: Any, effective: Dict[str, Any]) -> None:
        self._stage = stage.name
        self._session = session
        self._effective = effective
        self._inputs = [tensor.name for tensor in stage.inputs]
        self._outputs = [tensor.name for tensor in stage.outputs]
        self._indices = tuple(range(len(self._outputs)))
        declared = {one.name: one.type for one in session.get_inputs()}
        made = {one.name for one in session.get_outputs()}
        missing = set(self._outputs) - made
        if set(declared) != set(self._inputs) or missing:
            raise BackendError(
                f"{stage.name}: the plan gives it {', '.join(self._inputs)} and takes "
                f"{', '.join(self._outputs)}; the model has {', '.join(declared)} and "
                f"{', '.join(sorted(made))}"
            )
        self._declared = declared
        # The public wrapper turns every tensor into a Python object twice per call; the call
        # below it takes and returns the tensors as they are.
        self._call = session._sess.run_with_ort_values  # noqa: SLF001 - see above

    def run(self, tensors: Sequence[Any], options: Any = None) -> List[Handle]:
        """Run the session; it returns when all outputs are written."""
        feed = {name: handle[0] for name, handle in zip(self._inputs, tensors)}
        try:
            made = self._call(feed, self._outputs, options)
        except Exception as error:
            raise BackendError(f"{self._stage}: {_line(error)}") from error
        return [(made[index], None) for index in self._indices]

    def effective(self) -> Dict[str, Any]:
        """Return what the profiled pass showed."""
        return self._effective

    def input_dtype(self, name: str) -> Optional[str]:
        """Return numpy's name of the dtype the session takes for an input."""
        element = self._declared[name]
        inner: str = element[len("tensor(") : -1]
        return NUMPY_DTYPES.get(inner, inner)

    def end_profiling(self) -> List[Dict[str, Any]]:
        """Return the events of the pass that was profiled."""
        profile = Path(self._session.end_profiling())
        events: List[Dict[str, Any]] = json.loads(profile.read_text(encoding="utf-8"))
        profile.unlink()
        return events

    def close(self) -> None:
        """Release the session."""
        self._session = self._call = None


class EndedStage(OnnxRuntimeStage):
    """A Loop that only its gate ends, ended after a while: on text this short it may never fire.

    Args:
        stage: whose model it is.
        session: with profiling.
        backend: what made it.
        instead: what the stages after it get to run on; what it ran itself is in the profile.
    """

    def __init__(
        self, stage: StagePlan, session: Any, backend: OnnxRuntimeBackend, instead: Sequence[Any]
    ) -> None:
        super().__init__(stage, session, {})
        self._backend = backend
        self._instead = instead

    def run(self, tensors: Sequence[Any], options: Any = None) -> List[Handle]:
        """Run the session until it ends or its time is over."""
        options = self._backend.run_options()
        limit_s = min(PROFILE_LIMIT_S, self._backend.patience_s / 4)
        ended = threading.Timer(limit_s, setattr, (options, "terminate", True))
        ended.start()
        try:
            return super().run(tensors, options)
        except BackendError:
            if not options.terminate:
                raise
            return [self._backend.from_host(array) for array in self._instead]
        finally:
            ended.cancel()

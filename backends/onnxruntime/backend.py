"""onnxruntime on the CPU: the reference every other backend is held against.

Tensors stay onnxruntime's own from stage to stage (`Handle`), on memory shared with numpy, so no
copy hides in a span. Outputs are allocated anew by each call: an IOBinding would hand the last
call's outputs back as preallocated ones, and that fails as soon as the frame count changes.

The module bears the vendor's name; imports are absolute, so `import onnxruntime` below is the
vendor's package, made on first use and in this file alone.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
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

from backends import cache, processor
from backends.base import Artefact, Backend, Option
from backends.errors import BackendError, OptionError, UnsupportedError
from backends.graphs import compiled_files
from backends.graphs.compiled_files import (
    FUSED,
    GRAPH,
    CompiledFile,
    CompileRecipe,
    identity,
    written_by,
)
from backends.onnxruntime import convolutions, exact, int8, precision, stored_weights
from backends.onnxruntime.stage import (
    PROFILE_LIMIT_S,
    EndedStage,
    Handle,
    OnnxRuntimeStage,
    one_line,
)

if TYPE_CHECKING:
    from backends.pipeline import PipelinePlan, StagePlan


PROVIDER = "CPUExecutionProvider"

ARTEFACT_FORMAT = 5

INT8 = "qint8_mixed_float32"

SPIN_US = 50
"""By measurement (decision 62): most of what spinning gains alone, little lost beside others."""
SPIN_SINCE = (1, 26)
"""The first version whose threads spin for a set time; before, they spin for ever or not at all."""

JOINED = (*FUSED.rewritings, convolutions.joined_convolutions)
FLOAT32 = CompileRecipe("blocked", (*JOINED, convolutions.large_products))
CONTRACT, WHOLE, FEW = "contract", "int8", "int8-few"
"""Kinds of forms: the model file as it is, int8, and int8 for a decoding loop of few rows."""
STORED = {one.name: one for one in (int8.DIRECT, int8.SAFE)}
"""Ways of keeping int8 weights, the quickest first."""
NO_FORM = (
    "no int8 form of this model is exact here: products of bytes saturate on this CPU with every "
    "way of keeping weights that was probed ({})"
)

LEVELS = ("disabled", "basic", "extended", "all")


def _release(version: str) -> Tuple[int, ...]:
    """Return the numbers a version starts with, major and minor."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


class Shape(NamedTuple):
    """Which form a stage runs as."""

    kind: str
    stored: Optional[str]
    """How int8 weights are kept, a name of `STORED`; None: there are none."""

    def recipe(self) -> CompileRecipe:
        """Return what makes the form."""
        if self.stored is None:
            return FLOAT32
        quantised = partial(int8.quantised, stored=STORED[self.stored], few=self.kind == FEW)
        return CompileRecipe(self.kind, (*JOINED, quantised), self.stored)

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
                raise OptionError(
                    f"no device {self.device!r}; the CPU is device '0', and devices=0,1 share it"
                )
            return None
        cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        count, place = len(several), several.index(self.device)
        if count > len(cpus):
            raise OptionError(
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
            raise OptionError(
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
        self.settings["intra_threads"] = self.settings["intra_threads"] or processor.cpus()
        answer: Dict[str, Any] = {
            "available": True,
            "reason": None,
            "runtime": {"name": "onnxruntime", "version": None, "providers": [], "build": None},
            "device": {
                "id": self.device,
                "kind": "cpu",
                "name": processor.cpu_name(),
                "facts": {"cpus": processor.cpus(), "pinned": share},
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
            raise BackendError(f"{stage}: {shown} cannot be loaded: {one_line(error)}") from error
        if session.get_providers() != [PROVIDER]:
            raise BackendError(
                f"{stage}: asked for {PROVIDER}, got {', '.join(session.get_providers())}"
            )
        return session

    def compile(self, plan: PipelinePlan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
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
            and compiled_files.is_whole(stage, kept[stage.name]["model"])
            for stage in plan.stages
        ):
            spent = (time.perf_counter_ns() - begin) // max(1, len(keys))
            return {
                name: Artefact(paths[name], key, cached=True, compile_ns=spent)
                for name, key in keys.items()
            }
        compiled = {}
        with tempfile.TemporaryDirectory(dir=cache_dir) as folder:
            making: Dict[str, Callable[[], CompiledFile]] = {
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

    def _shapes(self, plan: PipelinePlan, quant: str) -> Dict[str, Shape]:
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

    def _form(self, stage: StagePlan, shape: Shape, cache_dir: Path) -> CompiledFile:
        """Write the model file a stage runs from, or find it."""
        if shape.kind == CONTRACT:
            return compiled_files.contract(stage)
        return compiled_files.kept(stage, shape.recipe(), cache_dir, self.name)

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
            processor.cpu_name(),
            processor.vector_extensions(),
            written_by(),
        ]
        return cache.key_of(facts)

    def _profiled_pass(
        self,
        plan: PipelinePlan,
        quant: str,
        making: Dict[str, Callable[[], CompiledFile]],
        folder: str,
    ) -> Dict[str, Any]:
        """Run the pipeline once at its least sizes; return (form, effective, ns) of each stage."""
        from backends.timing.executor import Executor

        profiled, written = {}, {}
        for stage in plan.stages:
            begin = time.perf_counter_ns()
            prefix = str(Path(folder) / stage.name)
            load = partial(self._session, stage.name, seed=0, profile=prefix)
            form, session = compiled_files.opened(stage, making[stage.name], load)
            written[stage.name] = form
            begin += form.spent_ns  # counted by itself
            loaded = OnnxRuntimeStage(stage, session, {})
            if stage.model.get("unlimited"):
                arrays = precision.least_outputs(plan, stage)
                limit_s = min(PROFILE_LIMIT_S, self.patience_s / 4)
                instead = partial(self._shared, arrays)
                loaded = EndedStage(stage, session, limit_s, self.run_options, instead)
            profiled[stage.name] = Profiled(loaded, time.perf_counter_ns() - begin)
        runner = Executor(plan, {name: one.stage for name, one in profiled.items()}, self, 0, 0)
        try:
            runner.set_inputs(precision.least_inputs(plan))
            spans = runner.once()["stage_ns"]
        finally:
            runner.close()
        answer = {}
        for stage in plan.stages:
            one, form = profiled[stage.name], written[stage.name]
            begin = time.perf_counter_ns()
            storage = stored_weights.storage(form.path)
            effective = precision.effective(quant, storage, one.stage.end_profiling())
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

    def _shared(self, arrays: Sequence[Any]) -> List[Handle]:
        return [self.from_host(array) for array in arrays]

    def to_host(self, handle: Any) -> Any:
        """Return a numpy view of the tensor's memory, which the view keeps alive."""
        return handle[0].numpy()

    def from_host(self, array: Any) -> Handle:
        """Return a tensor on the array's memory; a cut array is made contiguous first."""
        if not array.flags.c_contiguous:
            array = array.copy()
        return self._share(array, self._cpu), array

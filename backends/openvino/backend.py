"""OpenVINO on the CPU: the same models in float32, in the half the CPU computes in, or in int8.

Which half that is, bfloat16 or float16, the plugin says of itself; what each stage really computes
in is read from the runtime model of the very stage that runs. In int8 dense layers quantise what
they read as it comes, convolutions between ranges that the float32 pipeline showed beforehand.
Handles are numpy arrays on the memory of a stage's own request: they hold until it runs again.

The module bears the vendor's name; imports are absolute, so `import openvino` below is the
vendor's package, made on first use and in this file alone.
"""

from __future__ import annotations

import functools
import platform
import time
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
)

from backends import cache, processor
from backends.base import Artefact, Backend, Option
from backends.errors import BackendError, OptionError, UnsupportedError
from backends.graphs import compiled_files, int8_weights
from backends.graphs.compiled_files import GRAPH, CompiledFile, CompileRecipe
from backends.openvino import int8 as openvino_int8
from backends.openvino import recurrent
from backends.openvino.precision import DEVICE, Precision, effective_settings
from backends.openvino.ranges import Calibration, Watching
from backends.openvino.stage import DTYPES, OpenVinoStage, one_line
from backends.pipeline import Tensor

if TYPE_CHECKING:
    from backends.pipeline import PipelinePlan, StagePlan


ARTEFACT_FORMAT = 3
EXACT, HALF, INT8 = "force_float32", "force_float16", "qint8_mixed_float32"
GROUPS = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
EXTRA = {INT8: {GROUPS: openvino_int8.GROUP}}
"""Properties that make a mode: they are read back from what was compiled."""
ROWS = 64
"""Outputs of the dense layer that is asked."""
CHANNELS = 64
"""Inputs and outputs of the convolution that is asked whether it saturates."""
TOP = 255.0
"""What it reads everywhere, the most that uint8 holds, against the largest int8 weights."""
SHARE = 0.01
"""A sum further off than this share of it has saturated: it would be half."""
NOT_EXACT = (
    "probed on this CPU, OpenVINO's {}; it needs VNNI, and no ONEDNN_MAX_CPU_ISA that hides it "
    "(backend=onnxruntime has an exact int8 form for any CPU)"
)
BESIDE = (1.0, 1e-3)
"""What that layer reads; it returns the second, which int8, in steps of 1/127, rounds to zero."""
LOOPS = frozenset(("Loop", "TensorIterator"))
HALVES = (("BF16", "bf16"), ("FP16", "f16"))
"""What the plugin says it can do, and the hint that asks for it; the first wins."""


def _sentence(error: BaseException) -> str:
    """Return the first sentence of an error's line."""
    return one_line(error).split(". ")[0]


def _loops(model: Any) -> Iterator[Any]:
    """Yield the body of every loop, those inside other bodies included."""
    for node in model.get_ops():
        if node.get_type_name() in LOOPS:
            body = node.get_function()
            yield body
            yield from _loops(body)


class OpenVinoBackend(Backend):
    """OpenVINO's CPU plugin."""

    name = "openvino"
    options = (
        Option("threads", 0, "threads of an inference; 0: the CPUs this process may use", least=0),
        Option("pinning", False, "bind each thread to a CPU: quicker alone, slower on shared CPUs"),
        GRAPH,
    )

    def __init__(self, options: Dict[str, Any], device: str) -> None:
        super().__init__(options, device)
        self.settings["threads"] = self.settings["threads"] or processor.cpus()
        self._vendor: Any = None
        self._core: Any = None
        self._flaw: Optional[str] = None
        self._flaw_known = False

    # What is here

    def _import(self) -> Any:
        """Return the vendor's package.

        Raises:
            UnsupportedError: it is not installed or cannot be imported.
        """
        if self._vendor is None:
            try:
                import openvino
                import openvino.opset13
            except ImportError as error:
                raise UnsupportedError(
                    f"openvino cannot be imported: {error}; pip install openvino"
                ) from error
            self._vendor = openvino
            self._core = openvino.Core()
        return self._vendor

    def probe(self) -> Dict[str, Any]:
        """Return the runtime, the processor, and what the plugin says it can compute in."""
        if self.device != "0" or len(self.beside) > 1:
            asked = ",".join(self.beside) or self.device
            raise OptionError(f"devices={asked}: openvino measures the whole CPU, device '0'")
        answer: Dict[str, Any] = {
            "available": True,
            "reason": None,
            "runtime": {"name": "openvino", "version": None, "providers": [], "build": None},
            "device": {
                "id": "0",
                "kind": "cpu",
                "name": processor.cpu_name(),
                "facts": {"cpus": processor.cpus()},
            },
            "devices": ["0"],
        }
        try:
            vendor = self._import()
        except UnsupportedError as error:
            answer.update(available=False, reason=str(error))
            return answer
        answer["runtime"].update(
            version=vendor.__version__, providers=list(self._core.available_devices)
        )
        answer["device"]["facts"]["capabilities"] = self._capabilities()
        return answer

    def _capabilities(self) -> List[str]:
        self._import()
        return sorted(self._core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))

    def _half(self) -> Optional[str]:
        """Return the hint for the half precision the CPU has kernels for, None without one."""
        able = self._capabilities()
        return next((hint for word, hint in HALVES if word in able), None)

    def precisions(self) -> Dict[str, Dict[str, Any]]:
        """Return what this CPU has kernels for; the models are float32 files in every mode."""
        try:
            able = self._capabilities()
        except UnsupportedError as error:
            return self._modes({"skipped": str(error)}, {"skipped": str(error)})
        half = self._half()
        halves = {"skipped": "the CPU has no half-precision kernels in OpenVINO"}
        if half is not None:
            halves = {"form": "float32", "note": f"computed in {DTYPES[half]} by the CPU"}
        return self._modes(halves, self._int8(able))

    def _int8(self, able: Sequence[str]) -> Dict[str, Any]:
        if "INT8" not in able:
            return {"skipped": "the CPU has no int8 kernels in OpenVINO"}
        if self.settings["graph"] == "contract":
            return {"skipped": "int8 is a form of the fused graph: leave backend.graph=fused"}
        flaw = self._int8_flaw()
        if flaw is not None:
            return {"skipped": flaw}
        note = "int8 weights; dense layers quantise as they run, convolutions between known ranges"
        return {"form": "float32", "note": note}

    def _int8_flaw(self) -> Optional[str]:
        """Return why int8 kernels of this CPU are not to be used, None: they are sound.

        That OpenVINO calls itself able is not enough: it takes int8 models on every CPU. So a
        convolution and a dense layer are run.
        """
        if not self._flaw_known:
            flaws = [flaw for flaw in (self._convolution_flaw(), self._dense_flaw()) if flaw]
            self._flaw = NOT_EXACT.format("; its ".join(flaws)) if flaws else None
            self._flaw_known = True
        return self._flaw

    def _convolution_flaw(self) -> Optional[str]:
        try:
            kind, share = self._convolved()
        except (BackendError, RuntimeError) as error:
            return f"int8 convolutions do not run ({_sentence(error)})"
        if kind != "int8":
            return f"convolutions compute in {kind} where int8 is asked"
        if abs(share - 1.0) > SHARE:
            return f"int8 convolutions saturate (a sum comes out as {share:.2f} of itself)"
        return None

    def _dense_flaw(self) -> Optional[str]:
        try:
            rounds = self._asking(INT8)(openvino_int8.GROUP)
        except (BackendError, RuntimeError) as error:
            return f"int8 dense layers do not run ({_sentence(error)})"
        return None if rounds else "dense layers compute in float32 where int8 is asked"

    def _convolved(self) -> Tuple[str, float]:
        """Return what an int8 convolution computes in, and its largest sum over the true one."""
        import numpy as np

        self._import()
        ops = self._vendor.opset13
        x = ops.parameter([-1, CHANNELS, -1], np.float32)
        ends = [np.array(end, np.float32) for end in (0.0, TOP)]
        rounded = ops.fake_quantize(x, *ends, *ends, openvino_int8.STEPS + 1)
        values = np.full((CHANNELS, CHANNELS, 1), int8_weights.LARGEST, np.int8)
        scale = np.ones((CHANNELS, 1, 1), np.float32)
        weights = ops.multiply(ops.convert(ops.constant(values), np.float32), scale)
        made = ops.convolution(rounded, weights, [1], [0], [0], [1])
        compiled = self._built("asked", self._vendor.Model([made], [x], "asked"), INT8)
        seen = Precision(lambda _: False)
        seen.see(compiled.get_runtime_model())
        given = np.full((1, CHANNELS, CHANNELS), TOP, np.float32)
        found = next(iter(compiled.create_infer_request().infer([given]).values()))
        true = CHANNELS * TOP * int8_weights.LARGEST
        return "+".join(sorted(seen.compute)) or "unknown", float(found.min()) / true

    @staticmethod
    def _modes(half: Dict[str, Any], int8: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
        integers = "no int{} form of this model is prepared for OpenVINO"
        return {
            EXACT: {"form": "float32", "note": None},
            HALF: half,
            INT8: int8,
            "qint8_mixed_float16": {"skipped": integers.format("8 and half")},
            "qint16_mixed_float32": {"skipped": integers.format(16)},
            "qint16_mixed_float16": {"skipped": integers.format(16)},
        }

    # From model file to request

    def _config(self, quant: str) -> Dict[str, Any]:
        hint = self._half() if quant == HALF else "f32"
        return {
            **EXTRA.get(quant, {}),
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": self.settings["threads"],
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": self.settings["pinning"],
        }

    def _read(self, stage: str, path: str, seed: int) -> Any:
        """Return the model with its random operators seeded: (seed, place in the model)."""
        self._import()
        try:
            model = self._core.read_model(path)
        except Exception as error:
            raise BackendError(f"{stage}: {path} cannot be loaded: {one_line(error)}") from error
        place = 0
        for part in [model, *_loops(model)]:
            recurrent.respect(part, self._vendor.opset13, stage)
            for node in part.get_ops():
                if node.get_type_name() == "RandomUniform":
                    place += 1
                    node.set_attribute("global_seed", seed)
                    node.set_attribute("op_seed", place)
        return model

    def _built(self, stage: str, model: Any, quant: str) -> Any:
        try:
            compiled = self._core.compile_model(model, DEVICE, self._config(quant))
        except Exception as error:
            raise BackendError(f"{stage}: cannot be compiled: {one_line(error)}") from error
        for name, value in EXTRA.get(quant, {}).items():
            if compiled.get_property(name) != value:
                raise BackendError(f"{stage}: OpenVINO does not take {name}={value}")
        return compiled

    def _tried(self, stage: StagePlan, quant: str, path: str) -> Any:
        """Return the model of a file that the plugin has compiled."""
        model = self._read(stage.name, path, 0)
        self._built(stage.name, model, quant)
        return model

    def _asking(self, quant: str) -> Callable[[int], bool]:
        """Return what tells whether dense layers of a width quantise what they read."""
        import numpy as np

        def rounds(width: int) -> bool:
            if width < len(BESIDE):
                return False
            ops = self._vendor.opset13
            x = ops.parameter([-1, width], np.float32)
            picked = ops.constant(np.eye(ROWS, width, 1, np.int8))
            weights = ops.multiply(ops.convert(picked, np.float32), np.ones((ROWS, 1), np.float32))
            model = self._vendor.Model([ops.matmul(x, weights, False, True)], [x], "asked")
            values = np.zeros((1, width), np.float32)
            values[0, : len(BESIDE)] = BESIDE
            found = self._built("asked", model, quant).create_infer_request().infer([values])
            return float(next(iter(found.values()))[0, 0]) == 0.0

        return functools.lru_cache(None)(rounds)

    def compile(self, plan: PipelinePlan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
        """Compile each stage, or find in the cache that it was done.

        OpenVINO compiles while it loads, so the artefact is no model: it names the model file and
        holds what the bodies of its loops compute in.
        """
        known = Calibration(self, plan, cache_dir, self._watching) if quant == INT8 else None
        return {stage.name: self._artefact(stage, quant, cache_dir, known) for stage in plan.stages}

    def _artefact(
        self, stage: StagePlan, quant: str, cache_dir: str, known: Optional[Calibration]
    ) -> Artefact:
        begin = time.perf_counter_ns()
        samples = known.key if known else None
        key = self._key(stage, quant, samples)
        path = str(Path(cache_dir) / f"{stage.name}-{key[:16]}.json")
        found = cache.read(path) or {}
        cached = found.get("key") == key and compiled_files.is_whole(stage, found["model"])
        if not cached:
            making = functools.partial(self._form, stage, cache_dir, known)
            form, model = compiled_files.opened(
                stage, making, functools.partial(self._tried, stage, quant)
            )
            inside = Precision(self._asking(quant))
            bodies = list(_loops(model))
            for body in bodies:
                inside.see(self._built(stage.name, body, quant).get_runtime_model())
            facts = {
                "key": key,
                "samples": samples,
                "model": form.path,
                "rewritten": form.rewritten,
                "refused": form.refused,
                "inside": inside.keep() if bodies else None,
            }
            cache.write(path, facts)
        return Artefact(path, key, cached, time.perf_counter_ns() - begin)

    def _form(self, stage: StagePlan, cache_dir: str, known: Optional[Calibration]) -> CompiledFile:
        """Write the model file a stage runs from, or find it."""
        if self.settings["graph"] == "contract":
            return compiled_files.contract(stage)
        recipe = compiled_files.FUSED
        if known is not None:
            found = known.ranges(stage)
            quantised = functools.partial(openvino_int8.quantised, ranges=found)
            recipe = CompileRecipe("qdq", (*recipe.rewritings, quantised), found)
        return compiled_files.kept(stage, recipe, Path(cache_dir), self.name)

    def _key(self, stage: StagePlan, quant: str, samples: Optional[str]) -> str:
        """Return the hash of everything that decides what a stage runs as."""
        return cache.key_of(
            [
                ARTEFACT_FORMAT,
                self.name,
                *compiled_files.identity(stage),
                quant,
                samples,
                self.settings,
                self._config(quant),
                self._import().__version__,
                platform.machine(),
                processor.cpu_name(),
                processor.vector_extensions(),
                compiled_files.written_by(),
            ]
        )

    def _watching(self, stage: StagePlan, path: str) -> Watching:
        """Load a float32 model that also returns ranges."""
        compiled = self._built(stage.name, self._read(stage.name, path, 0), EXACT)
        ends = [name for port in compiled.outputs for name in sorted(port.get_names())]
        tensors = [
            one[: -len(openvino_int8.LEAST)] for one in ends if one.endswith(openvino_int8.LEAST)
        ]
        more = tuple(
            Tensor(one + end, (), "float32")
            for one in tensors
            for end in (openvino_int8.LEAST, openvino_int8.LARGEST)
        )
        wider = stage._replace(outputs=stage.outputs + more)
        return Watching(OpenVinoStage(wider, compiled, {}), len(stage.outputs), tensors)

    def load(self, stage: StagePlan, quant: str, artefact: str, seed: int) -> OpenVinoStage:
        """Load the model an artefact names; the artefact must be of this very configuration."""
        found = cache.read(artefact)
        if found is None or found.get("key") != self._key(stage, quant, found.get("samples")):
            raise BackendError(
                f"{stage.name}: {artefact} was not built for this model, quant, runtime and these "
                f"options; compile again"
            )
        model = self._read(stage.name, found["model"], seed)
        compiled = self._built(stage.name, model, quant)
        effective = effective_settings(quant, found, compiled, self._asking(quant))
        return OpenVinoStage(stage, compiled, effective)

    def from_host(self, array: Any) -> Any:
        """Return the array itself; a cut array is made contiguous first."""
        return array if array.flags.c_contiguous else array.copy()

    def close(self) -> None:
        """Let go of the plugin."""
        self._core = self._vendor = None

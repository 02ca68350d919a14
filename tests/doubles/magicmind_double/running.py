"""From a model file to outputs: model, engine, context, queue, device, system."""

from __future__ import annotations

import json
import os
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from magicmind_double import onnx_inputs
from magicmind_double.basics import DataType, Dims, Status, failure, outcome
from magicmind_double.state import Tracked, state
from magicmind_double.tensors import Spec, Tensor, spoil_views

MAGIC = b"MAGICMIND-DOUBLE-1\n"
FRAMES, LENGTHS = "mel_outputs", "mel_lengths_t"
"""The outputs whose frame count Options.frames decides, on a model that makes both."""


class Model(Tracked):
    """A built model; its file is a line of JSON and the ONNX it was built from."""

    class EngineConfig:
        """How an engine is made."""

        device_type = ""

    def __init__(self) -> None:
        super().__init__()
        state.enter("Model")
        self._about: dict[str, Any] | None = None
        self._onnx = b""

    def _fill(self, about: dict[str, Any], onnx: bytes) -> None:
        self._about, self._onnx = json.loads(json.dumps(about)), onnx

    def _described(self, kind: str) -> list[dict[str, Any]]:
        if self._about is None:
            raise RuntimeError("the model is empty")
        found: list[dict[str, Any]] = self._about[kind]
        return found

    def serialize_to_file(self, path: str) -> Status:
        """Write the model."""
        if state.enter("serialize_to_file", path=str(path)):
            return failure("injected failure of serialize_to_file")
        about = json.dumps(self._about).encode()
        try:
            Path(path).write_bytes(MAGIC + about + b"\n" + self._onnx)
        except OSError as error:
            return failure(f"serialize_to_file: {error}")
        return Status()

    def deserialize_from_file(self, path: str) -> Status:
        """Read a model."""
        if state.enter("deserialize_from_file", path=str(path)):
            return failure("injected failure of deserialize_from_file")
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            return failure(f"deserialize_from_file: {error}")
        if not content.startswith(MAGIC):
            return failure(f"deserialize_from_file: {path} is no model of this runtime")
        about, _, onnx = content[len(MAGIC) :].partition(b"\n")
        try:
            self._fill(json.loads(about.decode()), onnx)
        except ValueError as error:
            return failure(f"deserialize_from_file: damaged: {error}")
        return Status()

    def create_i_engine(self, config: Any = None) -> Engine | None:
        """Return an engine on the active device."""
        failed = state.enter(
            "create_i_engine", device=state.device, active=state.has_device,
            device_type=getattr(config, "device_type", None),
        )  # fmt: skip
        if failed or self._about is None or not self._fits():
            return None
        return Engine(self)

    def _fits(self) -> bool:
        """Return whether the card is one the model was built for."""
        archs = self._about["config"].get("archs") if self._about else None
        if archs is None:
            return True
        for one in archs:
            if one == state.options.arch:
                return True
            if isinstance(one, dict) and state.options.arch in one:
                return any(count <= state.options.clusters for count in one[state.options.arch])
        return False

    def get_input_num(self) -> int:
        """Return the number of inputs."""
        return len(self._described("inputs"))

    def get_output_num(self) -> int:
        """Return the number of outputs."""
        return len(self._described("outputs"))

    def get_input_names(self) -> list[str]:
        """Return the inputs' names, in order."""
        return [one["name"] for one in self._described("inputs")]

    def get_output_names(self) -> list[str]:
        """Return the outputs' names, in order."""
        return [one["name"] for one in self._described("outputs")]

    def get_input_dimensions(self) -> list[Dims]:
        """Return the inputs' sizes, in order."""
        return [Dims(one["dims"]) for one in self._described("inputs")]

    def get_output_dimensions(self) -> list[Dims]:
        """Return the outputs' sizes, in order."""
        return [Dims(one["dims"]) for one in self._described("outputs")]

    def get_input_data_types(self) -> list[DataType]:
        """Return the inputs' element types, in order."""
        return [DataType[one["dtype"]] for one in self._described("inputs")]

    def get_output_data_types(self) -> list[DataType]:
        """Return the outputs' element types, in order."""
        return [DataType[one["dtype"]] for one in self._described("outputs")]


class Engine(Tracked):
    """A model on a device."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model, self._device = model, state.device

    def create_i_context(self) -> Context | None:
        """Return a context."""
        failed = state.enter("create_i_context", device=self._device)
        return None if failed else Context(self._model, self._device)


class Context(Tracked):
    """What runs a model."""

    def __init__(self, model: Model, device: int) -> None:
        super().__init__()
        self._model, self._device = model, device
        about = model._about or {}
        config = about["config"]
        mutable = bool(config.get("graph_shape_mutable"))
        self._specs = [
            Spec(one["name"], DataType[one["dtype"]], one["dims"], mutable)
            for one in about["inputs"]
        ]
        self._ranges = config.get("dim_range", {}) if mutable else {}
        self._outputs = [(one["name"], DataType[one["dtype"]]) for one in about["outputs"]]
        self._session = onnx_inputs.session(model._onnx)
        self._wanted = {one.name: onnx_inputs.TYPES[one.type] for one in self._session.get_inputs()}

    def create_inputs(self) -> Any:
        """Return the inputs in network order; a Status on failure."""
        if state.enter("create_inputs"):
            return failure("injected failure of create_inputs")
        return [Tensor._input(spec, self, self._device) for spec in self._specs]

    def create_outputs(self, inputs: list[Any]) -> Any:
        """Return a Status: the shapes of these models' outputs cannot be inferred."""
        state.enter("create_outputs", inputs=len(inputs))
        return failure("create_outputs: output shapes cannot be inferred")

    def enqueue(self, inputs: Any, outputs: Any, queue: Queue, **keywords: Any) -> Status:
        """Start the model; the outputs may be read after a sync of the queue."""
        known = {"input_by_tensor_order"} if state.options.keyword else set()
        if set(keywords) - known or not isinstance(inputs, list) or not isinstance(outputs, list):
            raise TypeError("enqueue(): incompatible function arguments")
        if state.options.enqueue_ns:
            time.sleep(state.options.enqueue_ns / 1e9)
        name = (self._model._about or {}).get("name")
        by_order = bool(keywords.get("input_by_tensor_order"))
        if state.enter("enqueue", model=name, device=self._device, by_order=by_order):
            return failure("injected failure of enqueue")
        spoil_views()
        refusal = self._refusal(inputs, queue, by_order=by_order)
        if refusal is None:
            refusal = self._fill(outputs, self._execute(inputs))
        if refusal is not None:
            return failure("enqueue: " + refusal)
        queue._started(inputs, outputs)
        return Status()

    def _refusal(  # noqa: PLR0911 - one return a reason
        self, inputs: list[Any], queue: Queue, *, by_order: bool
    ) -> str | None:
        if queue._device != self._device:
            return f"queue of device {queue._device}, context of device {self._device}"
        if len(inputs) != len(self._specs):
            return f"{len(inputs)} inputs where the model has {len(self._specs)}"
        for index, (tensor, spec) in enumerate(zip(inputs, self._specs)):
            mine = tensor._maker is not None and tensor._maker() is self
            if not by_order and not (mine and tensor._spec.name == spec.name):
                return f"input {index} is not this context's {spec.name}"
            if tensor._memory().device != self._device:
                return f"input {spec.name} lies on device {tensor._memory().device}"
            if tensor._dtype is not spec.dtype:
                return f"input {spec.name} is {tensor._dtype.name}, not {spec.dtype.name}"
            refusal = spec.refusal(tensor.shape) or self._out_of_range(index, tensor.shape)
            if refusal is not None:
                return refusal
        return None

    def _out_of_range(self, index: int, shape: Any) -> str | None:
        sizes = self._ranges.get(str(index))
        if sizes is None:
            return None
        for least, found, most in zip(sizes["min"], shape, sizes["max"]):
            if not least <= found <= most:
                return f"input {index}: {list(shape)} is outside of its dim_range"
        return None

    def _execute(self, inputs: list[Any]) -> list[Any]:
        feed = {
            spec.name: tensor._content().astype(self._wanted[spec.name].value)
            for spec, tensor in zip(self._specs, inputs)
        }
        made = dict(
            zip(
                [name for name, _ in self._outputs],
                self._session.run([name for name, _ in self._outputs], feed),
            )
        )
        frames = state.options.frames
        if frames and {FRAMES, LENGTHS} <= set(made):
            count = frames[state.next_frames % len(frames)]
            state.next_frames += 1
            old = made[FRAMES]
            repeats = -(-count // old.shape[2])
            made[FRAMES] = np.ascontiguousarray(np.tile(old, (1, 1, repeats))[:, :, :count])
            made[LENGTHS] = np.full_like(made[LENGTHS], count)
        return [made[name] for name, _ in self._outputs]

    def _fill(self, outputs: list[Any], arrays: list[Any]) -> str | None:
        types = [dtype for _, dtype in self._outputs]
        if not outputs:
            made: list[Any] = [
                Tensor._of(array, dtype, self._device) for array, dtype in zip(arrays, types)
            ]
            if state.options.tensor_list:
                made[0] = [made[0]]
            outputs.extend(made)
            return None
        if len(outputs) != len(arrays):
            return f"{len(outputs)} outputs where the model has {len(arrays)}"
        for tensor, array in zip(outputs, arrays):
            if tensor.shape != array.shape:
                return f"a reused output of {list(tensor.shape)} would become {list(array.shape)}"
        for tensor, array, dtype in zip(outputs, arrays, types):
            tensor._content()[...] = array.astype(dtype.value)
            tensor._memory().pending = True
        return None


class Queue(Tracked):
    """Work of one device, in order."""

    def __init__(self, device: int) -> None:
        super().__init__()
        self._device = device
        self._reads: list[Any] = []
        self._writes: list[Any] = []

    def _started(self, inputs: list[Any], outputs: list[Any]) -> None:
        self._reads += [weakref.ref(tensor._memory()) for tensor in inputs]
        for one in outputs:
            for tensor in one if isinstance(one, list) else [one]:
                self._writes.append(tensor._memory())

    def sync(self) -> Status:
        """Wait until everything enqueued is done."""
        if state.options.sync_ns:
            time.sleep(state.options.sync_ns / 1e9)
        failed = state.enter("sync", device=self._device, jobs=len(self._writes))
        reads, self._reads = self._reads, []
        writes, self._writes = self._writes, []
        if any(reference() is None for reference in reads):
            return failure("sync: an input was freed before the work on it was done")
        for storage in writes:
            storage.pending = False
        return outcome(failed, "sync")


class Device(Tracked):
    """A card; any attribute may be set, `id` is the one that counts."""

    def __init__(self) -> None:
        super().__init__()
        state.enter("Device")
        self.id = 0

    def active(self) -> Status:
        """Make it the device of this thread."""
        if state.enter("active", device=self.id):
            return failure("injected failure of active")
        if not 0 <= self.id < state.options.devices:
            return failure(f"active: no device {self.id}")
        state.thread.device = self.id
        return Status()

    def create_queue(self) -> Queue | None:
        """Return a queue of the active device."""
        failed = state.enter("create_queue", device=state.device, active=state.has_device)
        return None if failed else Queue(state.device)


class System(Tracked):
    """The runtime of this process."""

    def __init__(self) -> None:
        super().__init__()
        # A test runs the lives of several workers in one process.
        state.destroyed = False

    def __enter__(self) -> System:  # noqa: PYI034 - Python 3.7 has no Self
        self.initialize()
        return self

    def __exit__(self, *error: object) -> None:
        self.destory()

    def initialize(self) -> Status:
        """Start the runtime."""
        failed = state.enter("initialize")
        state.initialised_in = os.getpid()
        return outcome(failed, "initialize")

    def device_count(self) -> int:
        """Return the number of cards this process may use."""
        state.enter("device_count")
        return state.options.devices

    def destory(self) -> None:
        """End the runtime."""
        state.enter("destory")
        alive = state.alive()
        state.note("destroyed", alive={kind: n for kind, n in alive.items() if kind != "System"})
        state.destroyed = True
        if hasattr(state.thread, "device"):
            del state.thread.device

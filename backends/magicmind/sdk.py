"""MagicMind's Python package: imported here alone, on first use, and guarded call by call.

The SDK reports failure in three ways: a Status whose `.ok()` must be asked (its truth value says
nothing), None instead of an object, an exception. Here all three become a `BackendError` with
the SDK's own text. Only names are used that public code is known to use with this package.
"""

from __future__ import annotations

import gc
import importlib
import json
import platform
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from backends.errors import BackendError, UnsupportedError
from backends.magicmind.calls import Handle, checked, guarded, line, raised, refuse, there

RUNTIME = "magicmind.python.runtime"
TYPES = "magicmind.python.common.types"


def version() -> Optional[str]:
    """Return the version of the installed distribution, None where nothing says it."""
    for module in ("importlib.metadata", "importlib_metadata"):
        try:
            metadata = importlib.import_module(module)
        except ImportError:
            continue
        try:
            found: str = metadata.version("magicmind")
        except metadata.PackageNotFoundError:
            return None
        return found
    try:
        resources = importlib.import_module("pkg_resources")
        return str(resources.get_distribution("magicmind").version)
    except Exception:  # noqa: BLE001 - a version is a fact to note, never a reason to fail
        return None


class Sdk:
    """The imported package."""

    def __init__(self) -> None:
        here = f"Python {platform.python_version()} at this worker"
        try:
            import magicmind.python.runtime as runtime  # noqa: PLR0402 - the form callers use
            from magicmind.python.common.types import (
                get_datatype_by_numpy,
                get_numpy_dtype_by_datatype,
            )
            from magicmind.python.runtime.parser import Parser
        except ModuleNotFoundError as error:
            raise UnsupportedError(
                f"MagicMind is not installed for {here} ({line(error)}); its wheels are for Python "
                f"3.7: name that interpreter with backend.python="
            ) from error
        except Exception as error:
            raise UnsupportedError(
                f"MagicMind cannot be imported by {here} ({line(error)}); its wheels are for "
                f"Python 3.7 and need the libraries under NEUWARE_HOME"
            ) from error
        self.version = version()
        self.mm: Any = runtime
        self._parser = Parser
        self._datatype, self._numpy = get_datatype_by_numpy, get_numpy_dtype_by_datatype
        self._location = runtime.TensorLocation.kMLU
        self._types: Dict[Any, Any] = {}

    # Types

    def datatype(self, dtype: Any) -> Any:
        """Return the SDK's element type for a numpy dtype."""
        if dtype not in self._types:
            self._types[dtype] = guarded("get_datatype_by_numpy", self._datatype, dtype)
        return self._types[dtype]

    def dtype(self, datatype: Any) -> str:
        """Return numpy's name of an element type."""
        found = guarded("get_numpy_dtype_by_datatype", self._numpy, datatype)
        return str(np.dtype(found).name)

    # Tensors

    def upload(self, array: Any) -> Handle:
        """Return a tensor of its own on the card with an array's content."""
        if not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        shape = array.shape
        try:
            tensor = self.mm.Tensor(
                shape=shape, dtype=self.datatype(array.dtype), location=self._location
            )
            status = tensor.from_numpy(array)
        except BackendError:
            raise
        except Exception as error:
            raise raised("from_numpy", error) from error
        checked("from_numpy", status)
        return tensor, shape

    def download(self, handle: Handle) -> Any:
        """Return a tensor's content as an array of its own; the work that makes it is done."""
        tensor, shape = handle
        # Whether asnumpy copies is not known: the copy outlives the next enqueue for certain.
        return np.array(guarded("asnumpy", tensor.asnumpy), copy=True).reshape(shape)

    def reshaped(self, handle: Handle, shape: Tuple[int, ...]) -> Handle:
        """Return the same content in another shape, without a copy."""
        tensor = handle[0]
        # Some releases may reshape in place, others return a tensor: both are taken.
        made = guarded("reshape", tensor.reshape, shape)
        tensor = tensor if made is None else made
        if tuple(tensor.shape) != shape:
            raise BackendError(
                f"MagicMind: reshape to {list(shape)} left a tensor of {list(tensor.shape)}"
            )
        return tensor, shape

    # The card

    def open(self) -> Card:
        """Start the runtime.

        Raises:
            BackendError: it does not start.
        """
        return Card(self, guarded("System", self.mm.System))

    # Building

    def network(self, path: str) -> Network:
        """Return the network of an ONNX file."""
        network = guarded("Network", self.mm.Network)
        parser = guarded("Parser", self._parser, self.mm.ModelKind.kOnnx)
        checked(f"parse of {path}", guarded("parse", parser.parse, network, path))
        return Network(self, network)

    def config(self) -> BuildSettings:
        """Return an empty build configuration."""
        return BuildSettings(guarded("BuilderConfig", self.mm.BuilderConfig))

    def model(self, path: str) -> BuiltModel:
        """Return the model of a file."""
        model = guarded("Model", self.mm.Model)
        loaded = guarded("deserialize_from_file", model.deserialize_from_file, path)
        checked(f"deserialize_from_file of {path}", loaded)
        return BuiltModel(self, model)

    def calibrator(self, inputs: Sequence[Sequence[Any]], algorithm: str) -> Any:
        """Return a calibrator over samples.

        Args:
            inputs: for every network input, in order, its arrays, one per sample.
            algorithm: linear or eqnm.
        """
        mm = self.mm
        kind = type("CalibrationData", (_Samples, mm.CalibDataInterface), {})
        data = [guarded("CalibDataInterface", kind, self, samples) for samples in inputs]
        calibrator = there("Calibrator", guarded("Calibrator", mm.Calibrator, data))
        rules = mm.QuantizationAlgorithm
        rule = rules.EQNM_ALGORITHM if algorithm == "eqnm" else rules.LINEAR_ALGORITHM
        chosen = guarded("set_quantization_algorithm", calibrator.set_quantization_algorithm, rule)
        checked("set_quantization_algorithm", chosen)
        return calibrator

    def calibrate(self, calibrator: Any, network: Network, config: BuildSettings) -> None:
        """Find the ranges of a network's tensors; they stay in the network."""
        found = guarded("calibrate", calibrator.calibrate, network.raw, config.raw)
        checked("calibrate", found)

    def build(self, name: str, network: Network, config: BuildSettings) -> Optional[BuiltModel]:
        """Return the built model, None where the SDK refuses."""
        builder = guarded("Builder", self.mm.Builder)
        built = guarded("build_model", builder.build_model, name, network.raw, config.raw)
        return None if built is None else BuiltModel(self, built)


class _Samples:
    """The calibration data of one input: the SDK calls these five methods."""

    def __init__(self, sdk: Sdk, samples: Sequence[Any]) -> None:
        super().__init__()
        self._sdk = sdk
        self._samples = [np.ascontiguousarray(one) for one in samples]
        self._next = 0
        self._sample: Any = None
        """The one last handed out: it must live as long as the SDK reads it."""

    def next(self) -> Any:
        """Go to the next sample; out of range says the end."""
        mm = self._sdk.mm
        if self._next >= len(self._samples):
            return mm.Status(mm.Code.OUT_OF_RANGE, "no more samples")
        self._sample = self._samples[self._next]
        self._next += 1
        return mm.Status()

    def get_sample(self) -> Any:
        """Return the sample."""
        return self._sample

    def get_shape(self) -> Any:
        """Return its sizes."""
        return self._sdk.mm.Dims(list(self._sample.shape))

    def get_data_type(self) -> Any:
        """Return its element type."""
        return self._sdk.datatype(self._sample.dtype)

    def reset(self) -> Any:
        """Go back to the start."""
        self._next = 0
        return self._sdk.mm.Status()


class Card:
    """The runtime of this process and, once one is chosen, its one card and queue."""

    def __init__(self, sdk: Sdk, system: Any) -> None:
        self._sdk = sdk
        self._system = system
        self._device: Any = None
        self._queue: Any = None
        try:
            checked("initialize", guarded("initialize", system.initialize))
            self.count = int(guarded("device_count", system.device_count))
        except BackendError:
            self.close()
            raise

    def choose(self, number: int) -> None:
        """Make a card the one of this thread."""
        device = guarded("Device", self._sdk.mm.Device)
        device.id = number
        checked(f"active of device {number}", guarded("active", device.active))
        self._device = device

    @property
    def queue(self) -> Any:
        """The queue everything is enqueued on."""
        if self._queue is None:
            made = guarded("create_queue", self._device.create_queue)
            self._queue = there("create_queue", made)
        return self._queue

    def sync(self) -> None:
        """Wait until everything enqueued is done."""
        try:
            status = self.queue.sync()
        except Exception as error:
            raise raised("sync", error) from error
        checked("sync", status)

    def close(self) -> None:
        """Let go of queue and card, then end the runtime, last and once."""
        system, self._system = self._system, None
        self._queue = self._device = None
        if system is None:
            return
        gc.collect()
        # The SDK spells it so; should a release ever mend it, the mended name is used.
        end = getattr(system, "destory", None) or getattr(system, "destroy", None)
        if end is not None:
            guarded("destory", end)


class Network:
    """A parsed network."""

    def __init__(self, sdk: Sdk, network: Any) -> None:
        self._sdk = sdk
        self.raw = network

    def inputs(self) -> List[Tuple[str, Tuple[int, ...]]]:
        """Return name and sizes of every input, in order; -1: not fixed."""
        raw = self.raw
        found = []
        for index in range(guarded("get_input_count", raw.get_input_count)):
            tensor = guarded("get_input", raw.get_input, index)
            dims = guarded("get_dimension", tensor.get_dimension)
            name = guarded("get_tensor_name", tensor.get_tensor_name)
            found.append((name, tuple(guarded("GetDims", dims.GetDims))))
        return found

    def set_dimension(self, index: int, sizes: Sequence[int]) -> None:
        """Set the sizes that one input is tuned for."""
        dims = guarded("Dims", self._sdk.mm.Dims, list(sizes))
        tensor = guarded("get_input", self.raw.get_input, index)
        status = guarded("set_dimension", tensor.set_dimension, dims)
        checked(f"set_dimension of input {index} to {list(sizes)}", status)


class BuildSettings:
    """A build configuration."""

    def __init__(self, config: Any) -> None:
        self.raw = config

    def refusal(self, values: Dict[str, Any]) -> Optional[str]:
        """Merge values into the configuration; return why the SDK does not take them, or None."""
        text = json.dumps(values)
        status = guarded("parse_from_string", self.raw.parse_from_string, text)
        return None if status.ok() else line(status)


class BuiltModel:
    """A built model: what it says of itself, and what runs it."""

    def __init__(self, sdk: Sdk, model: Any) -> None:
        self._sdk = sdk
        self._model = model
        self._engine: Any = None
        self._context: Any = None
        self._own: Any = None
        """Inputs the context made, for a runtime that takes no others."""
        self.by_order = True
        """Whether inputs are matched by their place in the list."""

    def save(self, path: str) -> None:
        """Write the model's file."""
        status = guarded("serialize_to_file", self._model.serialize_to_file, path)
        checked(f"serialize_to_file to {path}", status)

    def inputs(self) -> List[Tuple[str, str]]:
        """Return name and numpy's dtype of every input, in order."""
        model = self._model
        return self._pairs(
            guarded("get_input_names", model.get_input_names),
            guarded("get_input_data_types", model.get_input_data_types),
        )

    def outputs(self) -> List[Tuple[str, str]]:
        """Return name and numpy's dtype of every output, in order."""
        model = self._model
        return self._pairs(
            guarded("get_output_names", model.get_output_names),
            guarded("get_output_data_types", model.get_output_data_types),
        )

    def _pairs(self, names: Sequence[str], types: Sequence[Any]) -> List[Tuple[str, str]]:
        return [(str(name), self._sdk.dtype(one)) for name, one in zip(names, types)]

    def start(self) -> None:
        """Make engine and context on the card of this thread."""
        config = guarded("EngineConfig", self._sdk.mm.Model.EngineConfig)
        config.device_type = "MLU"
        engine = guarded("create_i_engine", self._model.create_i_engine, config)
        self._engine = there("create_i_engine", engine)
        context = guarded("create_i_context", self._engine.create_i_context)
        self._context = there("create_i_context", context)
        own = guarded("create_inputs", self._context.create_inputs)
        if not isinstance(own, list):
            refuse("create_inputs", own)
        self._own = own

    def enqueue(self, inputs: List[Handle], queue: Any) -> List[Any]:
        """Start the model on tensors of the card; return its output tensors, not yet written.

        Shapes of outputs may differ from call to call, so the list handed over is a fresh one.
        """
        outputs: List[Any] = []
        try:
            status = self._enqueued(inputs, outputs, queue)
        except Exception as error:
            raise raised("enqueue", error) from error
        checked("enqueue", status)
        if any(isinstance(one, list) for one in outputs):
            outputs = [
                tensor for one in outputs for tensor in (one if isinstance(one, list) else [one])
            ]
        return outputs

    def _enqueued(self, inputs: List[Handle], outputs: List[Any], queue: Any) -> Any:
        context = self._context
        if self.by_order:
            tensors = [tensor for tensor, _ in inputs]
            try:
                return context.enqueue(tensors, outputs, queue, input_by_tensor_order=True)
            except TypeError:
                self.by_order = False
        # Without the keyword inputs are matched by name: the context's own take the memory.
        for own, (tensor, shape) in zip(self._own, inputs):
            own.set_data_address(tensor.data_address(), list(shape))
        return context.enqueue(self._own, outputs, queue)

    def close(self) -> None:
        """Let go of inputs, context, engine and model, in this order."""
        self._own = None
        self._context = None
        self._engine = None
        self._model = None

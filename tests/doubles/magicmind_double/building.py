"""From an ONNX file to a model file: network, configuration, calibration, build."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from magicmind_double import onnx_inputs
from magicmind_double.basics import (
    DataType,
    Dims,
    QuantizationAlgorithm,
    Status,
    failure,
    outcome,
)
from magicmind_double.running import Model
from magicmind_double.state import Tracked, state

MODES = (
    "force_float32",
    "force_float16",
    "qint8_mixed_float16",
    "qint8_mixed_float32",
    "qint16_mixed_float16",
    "qint16_mixed_float32",
)

KEYS: dict[str, Any] = {
    "archs": None,
    "graph_shape_mutable": bool,
    "dim_range": None,
    "precision_config": {
        "precision_mode": MODES,
        "weight_quant_granularity": ("per_tensor", "per_axis"),
        "activation_quant_algo": ("symmetric", "asymmetric"),
    },
    "opt_config": {
        "type64to32_conversion": bool,
        "conv_scale_fold": bool,
        "clustering_launch_enable": bool,
        "tfu_enable": bool,
    },
    "debug_config": {"fusion_enable": bool, "print_ir": None},
    "file_path": str,
    "computation_preference": ("auto", "fast", "high_precision"),
    "compute_determinism": bool,
    "insert_bn_before_firstnode": None,
    "convert_input_layout": None,
    "convert_output_layout": None,
    "cross_compile_toolchain_path": str,
    "custom_ranges": None,
}
"""Every key of a build configuration: nested keys, a type, the values allowed, or None: any."""

PASSES = 2
"""How often a calibrator goes through its data."""


class ITensor(Tracked):
    """A tensor of a network."""

    def __init__(self, name: str, dtype: DataType, dims: Sequence[int]) -> None:
        super().__init__()
        self._name, self._dtype, self._file_dims = name, dtype, list(dims)
        self._dims = list(dims)

    def set_dimension(self, dims: Dims) -> Status:
        """Set the sizes the network is tuned for."""
        failed = state.enter("set_dimension", tensor=self._name, dims=dims.GetDims())
        if failed:
            return failure("injected failure of set_dimension")
        wanted = dims.GetDims()
        fixed = zip(self._file_dims, wanted)
        if len(wanted) != len(self._file_dims) or any(old not in (-1, new) for old, new in fixed):
            return failure(f"set_dimension: {wanted} for {self._name} of {self._file_dims}")
        self._dims = wanted
        return Status()

    def get_dimension(self) -> Dims:
        """Return the sizes."""
        return Dims(self._dims)

    def set_data_type(self, dtype: DataType) -> Status:
        """Set the element type."""
        failed = state.enter("set_data_type", tensor=self._name)
        self._dtype = dtype
        return outcome(failed, "set_data_type")

    def get_data_type(self) -> DataType:
        """Return the element type."""
        return self._dtype

    def get_tensor_name(self) -> str:
        """Return the name."""
        return self._name


class Network(Tracked):
    """An empty network, until a parser fills it."""

    def __init__(self) -> None:
        super().__init__()
        state.enter("Network")
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []
        self._onnx = b""
        self._calibrated = False

    def get_input_count(self) -> int:
        """Return the number of inputs."""
        return len(self._inputs)

    def get_output_count(self) -> int:
        """Return the number of outputs."""
        return len(self._outputs)

    def get_input(self, index: int) -> ITensor:
        """Return one input."""
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        """Return one output."""
        return self._outputs[index]

    def mark_output(self, tensor: ITensor) -> Status:
        """Make a tensor an output."""
        failed = state.enter("mark_output")
        self._outputs.append(tensor)
        return outcome(failed, "mark_output")


class Parser(Tracked):
    """Reads ONNX."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        state.enter("Parser", kind=kind.name)

    def parse(self, network: Network, path: str) -> Status:
        """Fill a network from a file."""
        if state.enter("parse", path=str(path)):
            return failure("injected failure of parse")
        try:
            inputs, outputs = onnx_inputs.describe(path)
            network._onnx = Path(path).read_bytes()
        except Exception as error:  # noqa: BLE001 - a C++ layer turns anything into a Status
            return failure("parse: " + " ".join(str(error).split())[:200])
        network._inputs = [ITensor(*one) for one in inputs]
        network._outputs = [ITensor(*one) for one in outputs]
        return Status()


def _unknown(given: dict[str, Any], known: dict[str, Any], prefix: str = "") -> str | None:
    """Return what is wrong with a configuration, None when nothing is."""
    for key, value in given.items():
        name = prefix + key
        if key not in known or name in state.options.reject_keys:
            return "unknown key " + name
        rule = known[key]
        if isinstance(rule, dict):
            if not isinstance(value, dict):
                return f"{name}: an object is needed"
            found = _unknown(value, rule, name + ".")
            if found:
                return found
        elif isinstance(rule, tuple) and value not in rule:
            return f"{name}: unknown value {value}"
        elif isinstance(rule, type) and not isinstance(value, rule):
            return f"{name}: a value of type {rule.__name__} is needed"
    return None


def _merge(into: dict[str, Any], given: dict[str, Any]) -> None:
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


class BuilderConfig(Tracked):
    """How a network is built."""

    def __init__(self) -> None:
        super().__init__()
        state.enter("BuilderConfig")
        self._values: dict[str, Any] = {}

    def parse_from_string(self, text: str) -> Status:
        """Merge a JSON object into what is set; later values win."""
        if state.enter("parse_from_string", text=text):
            return failure("injected failure of parse_from_string")
        try:
            given = json.loads(text)
        except ValueError as error:
            return failure(f"parse_from_string: invalid JSON: {error}")
        if not isinstance(given, dict):
            return failure("parse_from_string: not an object")
        wrong = _unknown(given, KEYS)
        if wrong:
            return failure("parse_from_string: " + wrong)
        _merge(self._values, given)
        return Status()


class CalibDataInterface(Tracked):
    """What a user's calibration data derives from."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = True


class Calibrator(Tracked):
    """Finds the ranges of a network's tensors."""

    def __init__(self, data: list[Any]) -> None:
        super().__init__()
        if not isinstance(data, list) or not all(getattr(one, "_ready", False) for one in data):
            raise TypeError("Calibrator(): a list of CalibDataInterface is needed")
        state.enter("Calibrator", inputs=len(data))
        self._data = data
        self._algorithm = QuantizationAlgorithm.LINEAR_ALGORITHM

    def set_quantization_algorithm(self, algorithm: QuantizationAlgorithm) -> Status:
        """Choose how ranges are found."""
        failed = state.enter("set_quantization_algorithm", algorithm=algorithm.name)
        self._algorithm = algorithm
        return outcome(failed, "set_quantization_algorithm")

    def calibrate(  # noqa: PLR0911 - one return a reason
        self, network: Network, config: BuilderConfig
    ) -> Status:
        """Go through the data and keep the ranges in the network."""
        if state.enter("calibrate"):
            return failure("injected failure of calibrate")
        if not state.has_device:
            return failure("calibrate: no device is active in this thread")
        mode = config._values.get("precision_config", {}).get("precision_mode", "")
        if "qint" not in mode:
            return failure(f"calibrate: precision_mode is {mode or 'not set'}")
        if len(self._data) != network.get_input_count():
            return failure(f"calibrate: {network.get_input_count()} inputs need as many data")
        for _ in range(PASSES):
            samples = set()
            for index, data in enumerate(self._data):
                count, wrong = self._pass(data, network.get_input(index), config)
                if wrong:
                    return failure(f"calibrate: input {index}: {wrong}")
                samples.add(count)
            if len(samples) != 1 or 0 in samples:
                return failure(f"calibrate: numbers of samples differ: {sorted(samples)}")
        state.note("calibrated", samples=samples.pop())
        network._calibrated = True
        return Status()

    def _pass(self, data: Any, tensor: ITensor, config: BuilderConfig) -> tuple[int, str | None]:
        if not data.reset().ok():
            return 0, "reset failed"
        count = 0
        while data.next().ok():
            dims, dtype, sample = data.get_shape(), data.get_data_type(), data.get_sample()
            narrow = _narrowed(tensor.get_data_type(), config._values)
            if dtype not in (tensor.get_data_type(), narrow):
                return 0, f"data type {dtype.name} where the network has {tensor.get_data_type()}"
            if not sample.flags.c_contiguous or sample.dtype != np.dtype(dtype.value):
                return 0, "a sample is not contiguous, or of another dtype"
            if list(sample.shape) != dims.GetDims():
                return 0, f"a sample of {list(sample.shape)} says {dims.GetDims()}"
            known = tensor._file_dims
            if len(known) != sample.ndim:
                return 0, f"rank {sample.ndim} where the network has {len(known)}"
            count += 1
        return count, None


def _narrowed(dtype: DataType, values: dict[str, Any]) -> DataType:
    if dtype is DataType.INT64 and values.get("opt_config", {}).get("type64to32_conversion"):
        return DataType.INT32
    return dtype


class Builder(Tracked):
    """Builds models."""

    def __init__(self) -> None:
        super().__init__()
        state.enter("Builder")

    def build_model(
        self, name: str, network: Network, config: BuilderConfig | None = None
    ) -> Model | None:
        """Return a model, None when it cannot be built."""
        values = {} if config is None else config._values
        refusal = self._refusal(network, values)
        mutable, ranged = bool(values.get("graph_shape_mutable")), "dim_range" in values
        failed = state.enter(
            "build_model", name=name, config=json.loads(json.dumps(values)), refusal=refusal,
            mutable_without_range=mutable and not ranged, range_without_mutable=ranged > mutable,
            dims=[one.get_dimension().GetDims() for one in network._inputs],
        )  # fmt: skip
        if failed or refusal:
            os.write(2, f"E magicmind build_model: {refusal or 'injected failure'}\n".encode())
            return None
        described = {
            "name": name,
            "config": values,
            "inputs": [
                {
                    "name": one._name,
                    "dtype": _narrowed(one._dtype, values).name,
                    "dims": one._file_dims if mutable else one._dims,
                }
                for one in network._inputs
            ],
            "outputs": [
                {
                    "name": one._name,
                    "dtype": _narrowed(one._dtype, values).name,
                    "dims": one._file_dims,
                }
                for one in network._outputs
            ],
        }
        model = Model()
        model._fill(described, network._onnx)
        return model

    def _refusal(self, network: Network, values: dict[str, Any]) -> str | None:
        if not network._inputs:
            return "the network is empty"
        mode = str(values.get("precision_config", {}).get("precision_mode", "force_float32"))
        if "qint" in mode and not network._calibrated and "custom_ranges" not in values:
            return mode + " without calibration and without custom_ranges"
        for key, refused in state.options.refuse.items():
            value: Any = values
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if value == refused:
                return f"{key}={refused} is refused"
        for index, sizes in values.get("dim_range", {}).items():
            if not index.isdigit() or int(index) >= len(network._inputs):
                return f"dim_range: no input {index}"
            rank = len(network._inputs[int(index)]._file_dims)
            if len(sizes.get("min", ())) != rank or len(sizes.get("max", ())) != rank:
                return f"dim_range: input {index} has rank {rank}"
        return None

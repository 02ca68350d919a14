"""Every name of the MagicMind SDK that public code is known to use or public text to state.

By where it belongs; the source is the project's own survey of public code. A backend that uses
another name uses something nobody has been seen to use.
"""

from __future__ import annotations

NAMES: dict[str, tuple[str, ...]] = {
    "modules": ("magicmind.python.runtime", "magicmind.python.runtime.parser",
                "magicmind.python.runtime.model", "magicmind.python.common.types"),
    "runtime": ("System", "Device", "Model", "Network", "Builder", "BuilderConfig", "Dims",
                "DataType", "ModelKind", "Status", "Code", "Tensor", "TensorLocation",
                "Calibrator", "CalibDataInterface", "QuantizationAlgorithm", "RemoteConfig",
                "Layout", "IReduce", "IActivation", "IPaddingMode", "IDetectionOutputAlgo",
                "INmsType", "enums", "Context", "DumpMode", "FileFormat", "Profiler",
                "ProfilerOptions", "HostTracerLevel", "DeviceTracerLevel", "resources", "remote",
                "parser"),
    "parser": ("Parser", "parse", "set_model_param"),
    "types": ("get_datatype_by_numpy", "get_numpy_dtype_by_datatype"),
    "status": ("ok", "OK", "OUT_OF_RANGE"),
    "system": ("initialize", "destory", "device_count"),
    "device": ("id", "active", "create_queue", "sync"),
    "model": ("EngineConfig", "device_type", "deserialize_from_file", "serialize_to_file",
              "create_i_engine", "create_i_context", "get_input_num", "get_output_num",
              "get_input_names", "get_output_names", "get_input_dimensions",
              "get_output_dimensions", "get_input_data_types", "get_output_data_types",
              "get_input_dimension", "get_input_data_type"),
    "context": ("create_inputs", "create_outputs", "enqueue", "set_context_dump_info"),
    "tensor": ("from_numpy", "memcpy_from_host", "asnumpy", "to", "data_address",
               "set_data_address", "shape", "reshape", "resize"),
    "dims": ("GetDims", "GetDimValue", "GetElementCount"),
    "enumerations": ("kMLU", "kOnnx", "kPytorch", "kCaffe", "kTensorflow", "INT8", "INT16",
                     "INT32", "INT64", "UINT8", "UINT16", "UINT32", "FLOAT16", "FLOAT32",
                     "FLOAT64", "BOOL", "QINT8", "QINT16", "LINEAR_ALGORITHM", "EQNM_ALGORITHM",
                     "NONE", "NCHW", "NHWC", "MAX", "SIGMOID", "ILogic", "LT", "LE"),
    "network": ("get_input_count", "get_output_count", "get_input", "get_output",
                "set_dimension", "get_dimension", "set_data_type", "get_data_type",
                "get_tensor_name", "get_producer", "get_consumers", "find_tensor_by_name",
                "find_node_by_name", "get_all_nodes_in_network", "add_input", "mark_output",
                "unmark_output", "add_i_const_node"),
    "builder": ("build_model", "parse_from_string", "parse_from_file", "mlu_archs"),
    "calibrator": ("set_quantization_algorithm", "set_remote", "calibrate", "next", "get_sample",
                   "get_shape", "get_data_type", "reset"),
}  # fmt: skip

KEYWORDS: dict[str, tuple[str, ...]] = {
    "Tensor": ("shape", "dtype", "location"),
    "enqueue": ("input_by_tensor_order",),
}
"""Keyword arguments of calls."""

LISTED = frozenset(name for names in NAMES.values() for name in names)

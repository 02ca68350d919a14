"""Which precision really ran, from the events of onnxruntime's profiler.

The profile names, for every operator that ran, its types of input and output and its provider,
those inside Loop bodies included. What was asked for does not enter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Set, Tuple

if TYPE_CHECKING:
    from backends.pipeline import PipelinePlan, StagePlan, Tensor


SOURCE = "profile of one pass"

HEAVY = ("MatMul", "Gemm", "Conv", "LSTM", "GRU", "RNN", "Attention")
"""Operators that carry the arithmetic; fused forms (FusedConv, QLinearMatMul) contain the name."""

INTEGER = ("DynamicQuantize", "Integer", "QLinear", "NBits")
"""Parts of the names of operators that multiply int8 weights with int8 activations. The profiler's
types do not tell: weights rearranged at load are left out, scales and biases are floats. (NBits may
compute in float32; where it does, the onnxruntime backend leaves it out of its models.)"""

DTYPES = {"float": "float32", "double": "float64"}
"""The profiler's element types that numpy names otherwise."""


def least_inputs(plan: PipelinePlan) -> Dict[str, Any]:
    """Return inputs of the pipeline at its least sizes: lengths are full, all else is 1."""
    sizes = {symbol: values[0] for symbol, values in plan.sizes.items()}
    full = _full_lengths(plan, sizes)
    return {tensor.name: _filled(tensor, sizes, full.get(tensor.name, 1)) for tensor in plan.inputs}


def least_outputs(plan: PipelinePlan, stage: StagePlan) -> List[Any]:
    """Return arrays as a stage might make them at the least sizes: lengths are full, all else 0."""
    import numpy as np

    sizes = {symbol: values[0] for symbol, values in plan.sizes.items()}
    full = _full_lengths(plan, sizes)
    if stage.loop is not None:
        sizes[stage.loop.steps] = max(full.values())
    return [
        np.array(_filled(tensor, sizes, full.get(tensor.name, 0)), tensor.dtype)
        for tensor in stage.outputs
    ]


def _full_lengths(plan: PipelinePlan, sizes: Dict[str, int]) -> Dict[str, int]:
    """Return the value that says "the whole row" for every tensor of true lengths."""
    full = {}
    for stage in plan.stages:
        for step in stage.glue:
            if step.op == "padding_mask":
                symbol = step.out.dims[1][0]
                full[step.args["lengths"]] = sizes.get(str(symbol), 1)
    for items in plan.items:
        value = 1
        for part in items.padded[1:]:
            value *= sizes.get(part, 1) if isinstance(part, str) else part
        full.setdefault(items.lengths, value // items.per_length)
    return full


def _filled(tensor: Tensor, sizes: Dict[str, int], value: int) -> Any:
    filled: Any = value
    for dim in reversed(tensor.dims):
        count = 1
        for factor in dim:
            count *= sizes[factor] if isinstance(factor, str) else factor
        filled = [filled] * count
    return filled


def _dtypes(described: Any) -> Set[str]:
    """Return the dtypes in an event's list such as [{"float": [1, 80]}]."""
    names = {name for one in described or [] for name in one}
    return {DTYPES.get(name, name) for name in names}


def _is_heavy(operator: str) -> bool:
    return any(name in operator for name in HEAVY)


def _joined(names: Set[str]) -> str:
    return "+".join(sorted(names))


class Seen:
    """What the events of one stage show."""

    def __init__(self, events: List[Dict[str, Any]]) -> None:
        self.providers: Set[str] = set()
        self.compute: Set[str] = set()
        self.made: Set[str] = set()
        self.heavy: Dict[str, Dict[str, int]] = {}
        self.to_half = self.from_half = 0
        nodes: Dict[Tuple[Any, Any], Dict[str, Any]] = {}
        for event in events:
            name = str(event.get("name", ""))
            if event.get("cat") == "Node" and name.endswith("_kernel_time"):
                arguments = event["args"]
                nodes[(name, arguments.get("node_index"))] = arguments
        for arguments in nodes.values():
            self._see(arguments)
        self.nodes = len(nodes)

    def _see(self, arguments: Dict[str, Any]) -> None:
        operator = arguments.get("op_name", "")
        self.providers.add(arguments.get("provider", "unknown"))
        taken = _dtypes(arguments.get("input_type_shape"))
        made = _dtypes(arguments.get("output_type_shape"))
        if operator == "Cast":
            self.to_half += taken == {"float32"} and made == {"float16"}
            self.from_half += taken == {"float16"} and made == {"float32"}
        if _is_heavy(operator):
            numeric = {name for name in taken if name != "int32"} or {"unknown"}
            if any(part in operator for part in INTEGER):
                numeric = {"int8"}
            self.compute |= numeric
            self.made |= made - {"int32"}
            counts = self.heavy.setdefault(operator, {})
            dtype = _joined(numeric)
            counts[dtype] = counts.get(dtype, 0) + 1

    def activations(self) -> str:
        """Return the precision of what operators hand to each other."""
        if not self.compute:
            return "unknown"
        if self.compute == {"float32"} and self.to_half and self.from_half:
            return "float16-rounded"
        return _joined(self.made if "int8" in self.compute else self.compute)


def effective(requested: str, storage: str, events: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Return the EFFECTIVE of docs/protocol.md for one stage.

    Args:
        requested: the quant mode, kept beside what was found.
        storage: how the weights are stored, as `onnxfile.storage` read it from the file.
        events: the profile.
    """
    seen = Seen(events)
    operators = dict(seen.heavy)
    if seen.to_half:
        operators["Cast"] = {"float16": seen.to_half}
    reason: Optional[str] = None
    if not seen.nodes:
        reason = "the profile shows no operator"
    elif not seen.compute:
        reason = "none of the operators that carry the arithmetic ran"
    elif storage == "unknown":
        reason = "the weights could not be read from the model file"
    return {
        "requested": requested,
        "compute": _joined(seen.compute) or "unknown",
        "storage": storage,
        "activations": seen.activations(),
        "device": "cpu",
        "provider": _joined(seen.providers) or "unknown",
        "source": SOURCE,
        "operators": operators,
        "verified": reason is None,
        "reason": reason,
    }

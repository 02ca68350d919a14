"""Which precision OpenVINO computes in, as its runtime model tells."""

from __future__ import annotations

from typing import (
    Any,
    Callable,
    Dict,
    Set,
)

from backends.openvino.stage import numpy_name

DEVICE = "CPU"
SOURCE = "runtime model"
ASKED = "runtime model; dense layers by whether one as wide rounds what it reads"
HEAVY = frozenset(
    ("Convolution", "Deconvolution", "FullyConnected", "GroupConvolution", "MatMul", "RNNCell",
     "RNNSeq")
)  # fmt: skip
"""Layer types of the CPU plugin that carry the arithmetic."""
DENSE = "FullyConnected"
PRODUCTS = {"uint8": "int8"}
"""What a layer computes in, by what it reads where that is not the same: weights are signed."""
HIDDEN = (
    "the runtime model does not show the inside of a Loop; what is stated was read from its body, "
    "compiled alone with the same settings"
)


class Precision:
    """What the layers that carry the arithmetic compute in, by the runtime models of a stage.

    Args:
        rounds: whether a dense layer with int8 weights quantises so many values that it reads.
            The runtime model names what weights are kept in, and looks the same where not.
    """

    def __init__(self, rounds: Callable[[int], bool]) -> None:
        self._rounds = rounds
        self.compute: Set[str] = set()
        self.storage: Set[str] = set()
        self.made: Set[str] = set()
        self.operators: Dict[str, Dict[str, int]] = {}

    def see(self, runtime: Any) -> None:
        """Add the layers of one runtime model."""
        for node in runtime.get_ops():
            facts = node.get_rt_info()
            kind = facts["layerType"].astype(str)
            if kind not in HEAVY:
                continue
            kept = dtype = numpy_name(facts["runtimePrecision"].astype(str))
            if kind == DENSE and dtype == "int8" and not self._rounds(_width(node)):
                dtype = numpy_name(node.input(0).get_element_type().get_type_name())
            dtype = PRODUCTS.get(dtype, dtype)
            self.compute.add(dtype)
            self.storage.add(PRODUCTS.get(kept, kept))
            self.made.update(
                numpy_name(one) for one in facts["outputPrecisions"].astype(str).split(",")
            )
            counts = self.operators.setdefault(kind, {})
            counts[dtype] = counts.get(dtype, 0) + 1

    def add(self, kept: Dict[str, Any]) -> None:
        """Add what another one kept."""
        self.compute.update(kept["compute"])
        self.storage.update(kept["storage"])
        self.made.update(kept["made"])
        for kind, counts in kept["operators"].items():
            own = self.operators.setdefault(kind, {})
            for dtype, count in counts.items():
                own[dtype] = own.get(dtype, 0) + count

    def keep(self) -> Dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "compute": sorted(self.compute),
            "storage": sorted(self.storage),
            "made": sorted(self.made),
            "operators": self.operators,
        }


def _width(node: Any) -> int:
    """Return how many values a dense layer of a runtime model sums over."""
    width: int = node.input(1).get_partial_shape()[-1].get_length()
    return width


def effective_settings(
    quant: str, artefact: Dict[str, Any], compiled: Any, rounds: Callable[[int], bool]
) -> Dict[str, Any]:
    """Return what a stage runs as: its own runtime model, and its loops' bodies."""
    seen = Precision(rounds)
    seen.see(compiled.get_runtime_model())
    inside = artefact["inside"]
    if inside is not None:
        seen.add(inside)
    compute = "+".join(sorted(seen.compute)) or "unknown"
    reason = None
    if not seen.compute:
        reason = "none of the layers that carry the arithmetic is in the runtime model"
    elif inside is not None:
        reason = HIDDEN
    return {
        "requested": quant,
        "compute": compute,
        # Kernels read weights packed for them while compiling, not those of the file.
        "storage": "+".join(sorted(seen.storage)) or "unknown",
        "activations": "+".join(sorted(seen.made)) or "unknown",
        "device": "cpu",
        "provider": DEVICE,
        "source": ASKED if "int8" in seen.operators.get(DENSE, {}) else SOURCE,
        "operators": seen.operators,
        "verified": reason is None,
        "reason": reason,
        "fallback": artefact["refused"],
    }

"""A stage loaded into OpenVINO: its tensors, its run, its end."""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    List,
    Optional,
    Sequence,
)

from backends.base import CompiledStage
from backends.errors import BackendError

if TYPE_CHECKING:
    from backends.pipeline import StagePlan

DTYPES = {
    "f32": "float32", "f16": "float16", "bf16": "bfloat16", "f64": "float64", "i8": "int8",
    "u8": "uint8",
}  # fmt: skip
"""OpenVINO's element types that numpy names otherwise."""


def one_line(error: BaseException) -> str:
    """Return an error of OpenVINO as one line: its last, which says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def numpy_name(element: str) -> str:
    """Return numpy's name of an element type as OpenVINO writes it."""
    return DTYPES.get(element.lower(), element.lower())


class OpenVinoStage(CompiledStage):
    """One compiled model and its one request."""

    def __init__(self, stage: StagePlan, compiled: Any, effective: Dict[str, Any]) -> None:
        self._stage = stage.name
        self._effective = effective
        takes = _places(compiled.inputs, [tensor.name for tensor in stage.inputs])
        gives = _places(compiled.outputs, [tensor.name for tensor in stage.outputs])
        if takes is None or gives is None or len(takes) != len(compiled.inputs):
            raise BackendError(
                f"{stage.name}: the plan gives it "
                f"{', '.join(tensor.name for tensor in stage.inputs)} and takes "
                f"{', '.join(tensor.name for tensor in stage.outputs)}; the model has "
                f"{_listed(compiled.inputs)} and {_listed(compiled.outputs)}"
            )
        self._takes, self._gives = takes, gives
        self._dtypes = {
            tensor.name: numpy_name(compiled.inputs[place].get_element_type().get_type_name())
            for tensor, place in zip(stage.inputs, takes)
        }
        self._request = compiled.create_infer_request()

    def run(self, tensors: Sequence[Any]) -> List[Any]:
        """Run the request; it returns when all outputs are written."""
        request = self._request
        feed = dict(zip(self._takes, tensors))
        try:
            request.infer(feed, share_inputs=True, share_outputs=True)
        except Exception as error:
            raise BackendError(f"{self._stage}: {one_line(error)}") from error
        return [request.get_output_tensor(place).data for place in self._gives]

    def effective(self) -> Dict[str, Any]:
        """Return what the runtime model showed."""
        return self._effective

    def input_dtype(self, name: str) -> Optional[str]:
        """Return numpy's name of the dtype the model takes for an input."""
        found = self._dtypes[name]
        return {"boolean": "bool", "i32": "int32", "i64": "int64"}.get(found, found)

    def close(self) -> None:
        """Release the request and with it the model."""
        self._request = None


def _places(ports: Sequence[Any], names: Sequence[str]) -> Optional[List[int]]:
    """Return the index of the port of each name, None when one is missing."""
    by_name = {name: place for place, port in enumerate(ports) for name in port.get_names()}
    if not all(name in by_name for name in names):
        return None
    return [by_name[name] for name in names]


def _listed(ports: Sequence[Any]) -> str:
    return ", ".join("/".join(sorted(port.get_names())) for port in ports)

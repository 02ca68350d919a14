"""One model on the card: its inputs checked by shape, enqueued, synchronised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from backends.base import CompiledStage
from backends.errors import BackendError

if TYPE_CHECKING:
    from backends.magicmind.calls import Handle
    from backends.magicmind.sdk import BuiltModel
    from backends.pipeline import StagePlan


NOT_VERIFIED = "MagicMind names no precision of a built model: this is the mode its build accepted"

COMPUTE = {
    "force_float32": "float32",
    "force_float16": "float16",
    "qint8_mixed_float32": "qint8+float32",
    "qint8_mixed_float16": "qint8+float16",
    "qint16_mixed_float32": "qint16+float32",
    "qint16_mixed_float16": "qint16+float16",
}


def permutation(what: str, planned: Sequence[str], found: Sequence[str]) -> Tuple[int, ...]:
    """Return for each tensor found its place in the plan: by name, or by order where none fits.

    Raises:
        BackendError: the numbers differ, or some names fit and others do not.
    """
    if sorted(planned) == sorted(found):
        return tuple(planned.index(name) for name in found)
    if len(planned) == len(found) and not set(planned) & set(found):
        return tuple(range(len(found)))
    raise BackendError(
        f"{what}: the plan has {', '.join(planned)}; the model has {', '.join(found)}"
    )


class MagicMindStage(CompiledStage):
    """One model.

    Args:
        stage: the plan's.
        model: loaded and started.
        queue: where it is enqueued.
        sync: what waits for the queue; None: the backend does, once per iteration.
        built: the record beside the model file.
        facts: provider and the like, for `effective`.
    """

    def __init__(
        self,
        stage: StagePlan,
        model: BuiltModel,
        queue: Any,
        *,
        sync: Optional[Callable[[], None]],
        built: Dict[str, Any],
        facts: Dict[str, Any],
    ) -> None:
        self._name = stage.name
        self._model: Optional[BuiltModel] = model
        self._queue = queue
        self._sync = sync
        self._built = built
        self._facts = facts
        self._inputs, self._outputs = model.inputs(), model.outputs()
        planned = [tensor.name for tensor in stage.inputs]
        names = [name for name, _ in self._inputs]
        self._order = permutation(f"{stage.name} takes", planned, names)
        made = [tensor.name for tensor in stage.outputs]
        places = permutation(f"{stage.name} makes", made, [name for name, _ in self._outputs])
        self._places = tuple(places.index(index) for index in range(len(made)))
        self._ranges = [built["ranges"][index] for index in range(len(self._order))]
        self._seen: Set[Tuple[Tuple[int, ...], ...]] = set()
        self._dtypes = {planned[place]: self._inputs[i][1] for i, place in enumerate(self._order)}
        for tensor in stage.inputs:
            found = self._dtypes[tensor.name]
            if found != tensor.dtype and (tensor.dtype, found) != ("int64", "int32"):
                raise BackendError(
                    f"{stage.name}: input {tensor.name} is {found} in the model file, "
                    f"{tensor.dtype} in the plan"
                )

    def run(self, tensors: Sequence[Handle]) -> List[Handle]:
        """Enqueue the model; with sync=stage, return when the card has finished."""
        inputs = [tensors[place] for place in self._order]
        shapes = tuple([handle[1] for handle in inputs])
        if shapes not in self._seen:
            self._check(shapes)
        model = self._model
        if model is None:
            raise BackendError(f"{self._name}: used after it was closed")
        outputs = model.enqueue(inputs, self._queue)
        if self._sync is not None:
            self._sync()
        if len(outputs) != len(self._places):
            raise BackendError(
                f"{self._name}: {len(outputs)} outputs where the model has {len(self._places)}"
            )
        return [(outputs[place], tuple(outputs[place].shape)) for place in self._places]

    def _check(self, shapes: Tuple[Tuple[int, ...], ...]) -> None:
        """Hold shapes against what the model was built for; what the SDK would do is not known."""
        for (name, _), shape, sizes in zip(self._inputs, shapes, self._ranges):
            inside = len(shape) == len(sizes) and all(
                least <= size <= most for size, (least, most) in zip(shape, sizes)
            )
            if not inside:
                built = ", ".join(
                    str(least) if least == most else f"{least}..{most}" for least, most in sizes
                )
                raise BackendError(
                    f"{self._name}: input {name} has shape {list(shape)}, the model was built for "
                    f"[{built}]; build it for larger sizes"
                )
        self._seen.add(shapes)

    def effective(self) -> Dict[str, Any]:
        """Return what the model file says of itself and how it was built."""
        compute = COMPUTE[self._built["quant"]]
        described: Dict[str, Any] = {
            "requested": self._built["quant"],
            "compute": compute,
            "storage": compute,
            "activations": compute,
            "device": "mlu",
            "source": "the model file and the record of its build",
            "inputs": dict(self._inputs),
            "outputs": dict(self._outputs),
            "build": {key: self._built[key] for key in BUILD_FACTS},
            "verified": False,
            "reason": NOT_VERIFIED,
        }
        described.update(self._facts)
        return described

    def input_dtype(self, name: str) -> Optional[str]:
        """Return numpy's name of what the model file takes for an input."""
        return self._dtypes.get(name)

    def close(self) -> None:
        """Release the model."""
        self._queue = self._sync = None
        if self._model is not None:
            self._model.close()
            self._model = None


BUILD_FACTS = (
    "config", "typical", "rejected", "user", "fusion", "calibration", "mm_run", "sdk", "note",
)  # fmt: skip
"""What of a build's record stands in every result."""

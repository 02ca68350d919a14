"""A stage loaded into onnxruntime: its tensors, its run, its end."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    List,
    Optional,
    Sequence,
    Tuple,
)

from backends.base import CompiledStage
from backends.errors import BackendError

if TYPE_CHECKING:
    from backends.pipeline import StagePlan


PROFILE_LIMIT_S = 1.0
"""After so long a Loop without a trip limit has shown every operator of its body; every further
second adds some hundred thousand events that must be read."""

NUMPY_DTYPES = {"bool": "bool", "float": "float32", "double": "float64"}
"""onnxruntime's element types that numpy names otherwise."""


def one_line(error: BaseException) -> str:
    """Return an error of onnxruntime as one line."""
    return " ".join(str(error).split()) or type(error).__name__


Handle = Tuple[Any, Any]
"""A tensor of onnxruntime, and the numpy array whose memory it shares (None: its own).

A plain tuple: a dozen are made in every iteration, inside the spans.
"""


class OnnxRuntimeStage(CompiledStage):
    """One session."""

    def __init__(self, stage: StagePlan, session: Any, effective: Dict[str, Any]) -> None:
        self._stage = stage.name
        self._session = session
        self._effective = effective
        self._inputs = [tensor.name for tensor in stage.inputs]
        self._outputs = [tensor.name for tensor in stage.outputs]
        self._indices = tuple(range(len(self._outputs)))
        declared = {one.name: one.type for one in session.get_inputs()}
        made = {one.name for one in session.get_outputs()}
        missing = set(self._outputs) - made
        if set(declared) != set(self._inputs) or missing:
            raise BackendError(
                f"{stage.name}: the plan gives it {', '.join(self._inputs)} and takes "
                f"{', '.join(self._outputs)}; the model has {', '.join(declared)} and "
                f"{', '.join(sorted(made))}"
            )
        self._declared = declared
        # The public wrapper turns every tensor into a Python object twice per call; the call
        # below it takes and returns the tensors as they are.
        self._call = session._sess.run_with_ort_values  # noqa: SLF001 - see above

    def run(self, tensors: Sequence[Any], options: Any = None) -> List[Handle]:
        """Run the session; it returns when all outputs are written."""
        feed = {name: handle[0] for name, handle in zip(self._inputs, tensors)}
        try:
            made = self._call(feed, self._outputs, options)
        except Exception as error:
            raise BackendError(f"{self._stage}: {one_line(error)}") from error
        return [(made[index], None) for index in self._indices]

    def effective(self) -> Dict[str, Any]:
        """Return what the profiled pass showed."""
        return self._effective

    def input_dtype(self, name: str) -> Optional[str]:
        """Return numpy's name of the dtype the session takes for an input."""
        element = self._declared[name]
        inner: str = element[len("tensor(") : -1]
        return NUMPY_DTYPES.get(inner, inner)

    def end_profiling(self) -> List[Dict[str, Any]]:
        """Return the events of the pass that was profiled."""
        profile = Path(self._session.end_profiling())
        events: List[Dict[str, Any]] = json.loads(profile.read_text(encoding="utf-8"))
        profile.unlink()
        return events

    def close(self) -> None:
        """Release the session."""
        self._session = self._call = None


class EndedStage(OnnxRuntimeStage):
    """A Loop that only its gate ends, ended after a while: on text this short it may never fire.

    Args:
        stage: whose model it is.
        session: with profiling.
        limit_s: seconds it may run.
        options: returns new options of one run, by which it can be ended from another thread.
        instead: returns what the stages after it get to run on; what it ran itself is in the
            profile.
    """

    def __init__(
        self,
        stage: StagePlan,
        session: Any,
        limit_s: float,
        options: Callable[[], Any],
        instead: Callable[[], List[Handle]],
    ) -> None:
        super().__init__(stage, session, {})
        self._limit_s = limit_s
        self._options = options
        self._instead = instead

    def run(self, tensors: Sequence[Any], options: Any = None) -> List[Handle]:
        """Run the session until it ends or its time is over."""
        options = self._options()
        ended = threading.Timer(self._limit_s, setattr, (options, "terminate", True))
        ended.start()
        try:
            return super().run(tensors, options)
        except BackendError:
            if not options.terminate:
                raise
            return self._instead()
        finally:
            ended.cancel()

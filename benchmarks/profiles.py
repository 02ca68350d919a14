"""Where the time of a decoder step goes, by operator, in the forms onnxruntime runs.

The profiler slows small operators by microseconds each, so shares are of what the profile holds and
the step's own time is that of an unprofiled run.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from backends import cache, pipeline
from backends.onnxruntime.backend import OnnxRuntimeBackend
from backends.onnxruntime.stage import OnnxRuntimeStage
from benchmarks import works
from benchmarks.contestants import AS_IT_IS, BACKEND_ENGINE, BASE, FLOAT32, REFERENCE, Contestant
from benchmarks.files import Files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.works import Setup


STAGE = works.STEP_STAGE
FORMS = (
    Contestant(BASE, BACKEND_ENGINE, REFERENCE, options=AS_IT_IS),
    Contestant(FLOAT32, BACKEND_ENGINE, REFERENCE),
    Contestant("qint8_mixed_float32", BACKEND_ENGINE, REFERENCE, "qint8_mixed_float32"),
)
STEPS = 300
SHOWN = 8
HEADER = "| form | batch | step, us | operators | what takes it: us of the profile, times a step |"


def lines(setup: Setup, folder: Path) -> Iterator[str]:
    """Yield the lines of the table.

    Args:
        setup: the model and its text.
        folder: an existing folder for model files and compiled models.
    """
    yield HEADER
    yield "|---|---|---|---|---|"
    files = Files(setup, folder, [works.STEP], lambda _: None)
    for rows in works.WORKS[works.STEP].batches:
        for form in FORMS:
            described = files.task(works.STEP, form, rows).plan
            found = _Profiled(form, described, setup, rows, folder)
            yield f"| {form.name} | {rows} | {_row(found)} |"


class _Profiled:
    """One form, loaded with and without the profiler."""

    def __init__(
        self, form: Contestant, described: Any, setup: Setup, rows: int, folder: Path
    ) -> None:
        backend = OnnxRuntimeBackend(dict(form.options), "0")
        backend.probe()
        backend.expected = {"batch": rows, "text": setup.text}
        parsed = pipeline.parse(described)
        artefact = backend.compile(parsed, form.quant, str(folder))[STAGE].path
        model = str((cache.read(artefact) or {})["model"])
        inputs = works.inputs(works.STEP, setup, rows, given=False)
        (stage,) = parsed.stages
        inputs[stage.inputs[-1].name] = works.full_mask(setup, rows)
        self._handles = [backend.from_host(inputs[one.name]) for one in stage.inputs]
        sessions = [
            backend._session(STAGE, model, works.SEED, prefix)  # noqa: SLF001 - as the backend does
            for prefix in (None, str(folder / "profile"))
        ]
        self._plain, self._watched = (OnnxRuntimeStage(stage, one, {}) for one in sessions)

    def seconds(self) -> float:
        """Return the median seconds of a step, unprofiled."""
        return statistics.median(self._times(self._plain))

    def _times(self, stage: OnnxRuntimeStage) -> list[float]:
        times = []
        for _ in range(STEPS):
            begun = time.perf_counter()
            stage.run(self._handles)
            times.append(time.perf_counter() - begun)
        return times

    def operators(self) -> tuple[Counter[str], Counter[str]]:
        """Return microseconds and calls of each kind of operator, over all steps."""
        self._times(self._watched)
        spent, calls = Counter[str](), Counter[str]()
        for event in self._watched.end_profiling():
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                kind = _kind(event["args"])
                spent[kind] += event["dur"]
                calls[kind] += 1
        return spent, calls


def _kind(facts: Mapping[str, Any]) -> str:
    """Return an operator's name, with the sizes of what a large one reads."""
    name = str(facts["op_name"])
    shapes = [dims for one in facts.get("input_type_shape", ()) for dims in one.values()]
    heavy = any(part in name for part in ("MatMul", "Gemm", "Conv", "LSTM"))
    return f"{name} {'x'.join(map(str, shapes[0]))}" if heavy and shapes else name


def _row(one: _Profiled) -> str:
    step_us = 1e6 * one.seconds()
    spent, calls = one.operators()
    shown = ", ".join(
        f"{kind} {us / STEPS:.0f} ({calls[kind] / STEPS:.0f})"
        for kind, us in spent.most_common(SHOWN)
    )
    return f"{step_us:.0f} | {sum(calls.values()) / STEPS:.0f} | {shown}"

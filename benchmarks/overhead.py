"""One iteration of the harness over a bare loop on the same loaded models."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from backends import pipeline as plan
from backends.onnxruntime.backend import OnnxRuntimeBackend
from backends.timing import executor
from benchmarks.ratios import Ratio, measure
from harness.models import store, tacotron2, text

if TYPE_CHECKING:
    from pathlib import Path

    from backends.base import CompiledStage


QUANT, SEED = "force_float32", 1234


def _runner(model: str, folder: Path, il: int) -> executor.Executor:
    pipeline = tacotron2.build(model).without_vocoder()
    resolved = store.resolve_models(
        pipeline, model=model, models_dir=None, seed=SEED, notify=lambda _: None
    )
    described = plan.parse(json.loads(json.dumps(pipeline.plan(resolved.models))))
    backend = OnnxRuntimeBackend({}, "0")
    backend.probe()
    artefacts = backend.compile(described, QUANT, str(folder))
    stages: dict[str, CompiledStage] = {
        stage.name: backend.load(stage, QUANT, artefacts[stage.name].path, SEED)
        for stage in described.stages
    }
    made = executor.Executor(described, stages, backend, SEED, 0)
    batch = text.benchmark_batch(il, 1)
    made.set_inputs({"sequences": batch.ids.tolist(), "sequence_lengths": batch.lengths.tolist()})
    return made


def _bare(runner: executor.Executor, count: int) -> float:
    """Run the same stages and glue with two clock reads an iteration; return seconds inside."""
    schedule, empty, total = runner._schedule, runner._empty, 0  # noqa: SLF001 - the same models
    clock = time.perf_counter_ns
    values: list[Any] = list(empty)
    for number in range(count):
        begin = clock()
        for stage in schedule:
            for slot, work in stage.glue:
                values[slot] = work(values, number)
            values[stage.span] = stage.run(stage.pick(values))
        total += clock() - begin
        values[:] = empty
    return total / 1e9


def _harness(runner: executor.Executor, count: int) -> float:
    return float(sum(runner.run(count, 0)["columns"]["latency_ns"])) / 1e9


def ratio(model: str, folder: Path, *, il: int, count: int, pairs: int) -> Ratio:
    """Return the ratio for one model size.

    Args:
        model: "tiny" shows the overhead best; "full" is what people measure.
        folder: for compiled models.
        il: input length.
        count: iterations of each side in each pair.
        pairs: how many pairs.
    """
    runner = _runner(model, folder, il)
    return measure(
        f"overhead-{model}",
        f"harness iteration / bare loop, {model} model, il={il}",
        "at most 1.002",
        lambda: _harness(runner, count),
        lambda: _bare(runner, count),
        pairs=pairs,
    )

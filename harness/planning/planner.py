"""From checked configurations to points that can be measured: models, probes, skips.

Everything that can be refused is refused here, before anything is measured.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.choices import Dropout
from harness.errors import UsageError, WorkerError
from harness.models import batch, external, store, tacotron2, text
from harness.models.pipeline import ALIGNMENTS
from harness.planning.job import Job
from harness.planning.point import (
    Point,
    Wanted,
    backend_options,
    beside_facts,
    make_point,
    told_apart,
)
from harness.records.identity import Side, point_id
from harness.workers.worker import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.config.schema import Config
    from harness.models.pipeline import Pipeline


PROBE_TIMEOUT_S = 120.0
REFERENCE_BACKEND = "onnxruntime"
"""What accuracy is held against runs there."""


@dataclass(frozen=True)
class PlannedPoint:
    """A point with everything its workers will be told, or the reason it is skipped."""

    point: Point
    config: Config
    pipeline: Pipeline
    plan: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, Any]
    probe: Mapping[str, Any]
    skip: str | None
    side: Side = Side.CANDIDATE
    exact_plan: Mapping[str, Any] | None = None
    """The same pipeline on the float32 models: what accuracy is held against; None: nothing is."""

    @property
    def place(self) -> str:
        """Where its results go, below the sweep's folder."""
        inner = f"points/{self.point.folder}"
        return inner if self.side is Side.CANDIDATE else f"{self.side.value}/{inner}"

    @property
    def parts(self) -> dict[str, list[str]]:
        """The part of the pipeline before the vocoder, under the pipeline's name."""
        stages = self.pipeline.without_vocoder().stages
        return {self.pipeline.name: [stage.name for stage in stages]}

    @property
    def artefacts(self) -> str:
        """What this machine calls the compiled form of the point's models."""
        facts = self.point.facts
        runtime = self.probe.get("runtime")
        return point_id(
            {key: facts[key] for key in ("backend", "quant", "models", "bs", "il", "devices")}
            | {"runtime": runtime}
        )

    def job(self, folder: Path) -> Job:
        """Return what `measure.run_process` needs, with outputs going to `folder`."""
        config = self.config
        return Job(
            backend=config.backend["name"],
            options=backend_options(config),
            interpreter=config.backend.get("python"),
            device=config.devices[0],
            devices=_beside(config),
            quant=config.quant.value,
            seed=config.seed,
            plan=self.plan,
            prepare=self.prepare,
            outputs=self._outputs(),
            cache=store.cache_folder() / "compiled",
            folder=folder,
            label=str(self.weights["label"]),
            artefacts=self.artefacts,
            measure=config.measure,
            scenario=config.scenario,
            calibration=self._calibration(),
            hop_samples=self.pipeline.audio.hop_samples,
        )

    @property
    def same_draws(self) -> bool:
        """Whether the point draws the random numbers of the float32 reference.

        onnxruntime seeds a random operator by its place in the graph. Our graphs draw first, so
        that rounding or fusing moves nothing; files of others may not.
        """
        as_it_is = self.probe.get("options", {}).get("graph") == "contract"
        return self.config.backend["name"] == REFERENCE_BACKEND and (
            self.weights["kind"] in {"synthetic", "checkpoint"}
            or (as_it_is and all(model["form"] == "float32" for model in self.models.values()))
        )

    def _calibration(self) -> tuple[Mapping[str, Any], ...]:
        """Return one utterance of the typical length and one of the largest.

        They do not depend on the point, so that one build serves a whole sweep.
        """
        if "qint" not in self.config.quant.value:
            return ()
        lengths = self.pipeline.sizes["text"]
        batches = (text.benchmark_batch(il, 1) for il in (lengths.typical, lengths.largest))
        return tuple(_inputs(batch) for batch in batches)

    def prepare(self) -> tuple[dict[str, Any], int]:
        """Turn the text into the padded inputs of one batch.

        Returns:
            The inputs as nested lists, and the nanoseconds the text took (`pre_ns`).
        """
        begun = time.perf_counter_ns()
        batch = text.benchmark_batch(self.config.il, self.config.bs)
        took = time.perf_counter_ns() - begun
        return _inputs(batch), took

    def order(self) -> list[int]:
        """Return the place of each row of the batch in the text: rows are sorted by length."""
        return [int(one) for one in text.benchmark_batch(self.config.il, self.config.bs).order]

    def _outputs(self) -> tuple[str, ...]:
        lengths = {items.lengths for items in self.pipeline.items}
        ends = self.pipeline.stages[-2:]
        produced = [spec.name for stage in ends for spec in stage.outputs]
        lengths_made = [
            spec.name
            for stage in self.pipeline.stages
            for spec in stage.outputs
            if spec.name in lengths
        ]
        given = [ALIGNMENTS.name for one in self.models.values() if one.get(ALIGNMENTS.name)]
        return tuple(dict.fromkeys([*produced, *lengths_made, *given]))


def _inputs(batch: text.Batch) -> dict[str, Any]:
    """Return a batch as the pipeline's inputs, nested lists."""
    return {"sequences": batch.ids.tolist(), "sequence_lengths": batch.lengths.tolist()}


def _beside(config: Config) -> tuple[str, ...]:
    """Return the devices of a point where there are several."""
    return tuple(config.devices) if len(config.devices) > 1 else ()


class Planner:
    """Plans points one after the other and remembers what they share."""

    def __init__(self, notify: Callable[[str], None], *, here: bool = True) -> None:
        """Plan for this machine, or for others.

        Args:
            notify: told what a reader should know.
            here: points are measured on this machine; otherwise only the machines they go to can
                say which devices and modes there are.
        """
        self.notify = notify
        self._here = here
        self._probes: dict[str, Mapping[str, Any]] = {}
        self._models: dict[str, store.ResolvedModels] = {}
        self._said: set[str] = set()
        self._batches: list[int] = []

    def plan(self, configs: Sequence[Config]) -> list[PlannedPoint]:
        """Return the points in order, each once.

        Raises:
            UsageError: something cannot be measured as asked; nothing has been measured.
        """
        # One build serves every batch size of the command, so its range covers them all.
        self._batches = [config.bs for config in configs]
        made = [self._point(config) for config in configs]
        points = told_apart([Wanted(one.point, beside_facts(one.config)) for one in made])
        planned: dict[str, PlannedPoint] = {}
        for one, point in zip(made, points, strict=True):
            if point.id in planned:
                logs = planned[point.id].config.log_file, one.config.log_file
                if len({name and os.path.normpath(name) for name in logs}) > 1:
                    raise UsageError(
                        f"log_file={logs[0]} and log_file={logs[1]}: {point.name} is measured once "
                        "and has one log; name one"
                    )
                self.notify(f"{point.name} is named twice and measured once")
            planned.setdefault(point.id, replace(one, point=point))
        return list(planned.values())

    def _point(self, config: Config) -> PlannedPoint:
        full = tacotron2.build(config.model.name, sigma=config.sigma)
        full = full.covering("batch", self._batches)
        pipeline = full if config.waveglow else full.without_vocoder()
        probe = self._probe(config)
        skip, form = self._form(config, probe) if self._here else (None, "float32")
        resolved = self._resolve(config, pipeline)
        exact = resolved.models
        if skip is None:
            exact = {name: self._runnable(model) for name, model in exact.items()}
        models = {
            name: store.in_form(model, form, self.notify) if skip is None else model
            for name, model in exact.items()
        }
        if config.bs > 1:
            models = {name: self._batched(model, config.bs) for name, model in models.items()}
        point = make_point(
            config,
            pipeline=pipeline.name,
            options=probe.get("options", {}),
            models={name: str(model["sha256"]) for name, model in resolved.models.items()},
        )
        return PlannedPoint(
            point,
            config,
            pipeline,
            pipeline.plan(models),
            models,
            resolved.weights,
            probe,
            skip,
            exact_plan=pipeline.plan(exact),
        )

    def _runnable(self, model: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a model as runtimes can run it, and say where that is not its file as it is."""
        fixed = model.get(batch.FIXED)
        if fixed:
            self._say(
                f"{model['file']}: the body of its Loop declares a fixed batch for "
                f"{', '.join(fixed)}, as NVIDIA's exporter leaves it; a copy with a dynamic batch "
                "axis runs in its place"
            )
        if model.get(external.APART):
            self._say(
                f"{model['file']}: small constants of it lie in files beside it, where runtimes do "
                "not look for sizes; a copy with its weights inside runs in its place"
            )
        return store.runnable(model, self.notify)

    def _say(self, line: str) -> None:
        """Say a thing once."""
        if line not in self._said:
            self._said.add(line)
            self.notify(line)

    def _batched(self, model: Mapping[str, Any], rows: int) -> Mapping[str, Any]:
        """Leave out a single step whose batch axis is fixed, and say so."""
        fixed = model.get("step_fixed")
        if not fixed:
            return model
        line = (
            f"{Path(model['step_path']).name}: the batch of {', '.join(fixed)} is fixed, so it "
            f"cannot run bs={rows}; a backend that steps the decoder needs it exported again with "
            "a dynamic batch on every input (python -m harness export writes it so)"
        )
        self._say(line)
        return {**model, "step_path": None}

    def _form(self, config: Config, probe: Mapping[str, Any]) -> tuple[str | None, str]:
        if not probe["available"]:
            return str(probe["reason"]), "float32"
        precision = probe["precisions"].get(config.quant.value)
        if precision is None:
            return f"{config.backend['name']} does not know {config.quant.value}", "float32"
        skipped = precision.get("skipped")
        return skipped, precision.get("form", "float32")

    def _probe(self, config: Config) -> Mapping[str, Any]:
        name, options = config.backend["name"], backend_options(config)
        device = config.devices[0]
        beside = _beside(config)
        python = config.backend.get("python")
        key = repr((name, python, sorted(options.items()), device, beside))
        if key not in self._probes:
            try:
                with WorkerProcess(python) as worker:
                    self._probes[key] = worker.ask(
                        "probe",
                        PROBE_TIMEOUT_S,
                        backend=name,
                        options=options,
                        device=device,
                        beside=list(beside),
                    )
            except UsageError as error:
                raise UsageError(f"backend={name} devices={device}: {error}") from error
            except WorkerError as error:
                self._probes[key] = {"available": False, "reason": str(error), "options": options}
        probe = self._probes[key]
        here = self._here and probe["available"]
        if here and not set(config.devices) <= set(probe["devices"]):
            found = ", ".join(probe["devices"]) or "no device"
            raise UsageError(f"devices={','.join(config.devices)}: {name} has {found}")
        return probe

    def _resolve(self, config: Config, pipeline: Pipeline) -> store.ResolvedModels:
        key = repr(
            (config.model.name, config.models_dir, config.seed, config.waveglow, config.dropout)
        )
        if key not in self._models:
            self._models[key] = store.resolve_models(
                pipeline,
                model=config.model.name,
                models_dir=None if config.models_dir is None else Path(config.models_dir),
                seed=config.seed,
                per_row=config.dropout is Dropout.per_row,
                notify=self.notify,
                writing=not config.plan,
            )
        return self._models[key]

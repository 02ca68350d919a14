"""The model files contestants run: the contract's, with given dropout masks, the exporter's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import works
from benchmarks.contestants import BASE, EXPORTER
from benchmarks.engines import Task
from harness.files import sha256
from harness.models import store, tacotron2
from harness.models.graphs import files
from harness.models.graphs.tacotron2 import DropoutMask
from harness.models.synthetic import decode_length
from harness.models.weights import SyntheticWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from benchmarks.contestants import Contestant
    from benchmarks.works import Setup


GIVEN = "given"
LOOPING = ("decoder", works.STEP_STAGE)


class Files:
    """Model files by stage, written when they are first asked for.

    Args:
        setup: the model.
        folder: an existing folder for what is written and compiled.
        wanted: names of the pieces of work that will be asked for.
        notify: told what takes time.
    """

    def __init__(
        self, setup: Setup, folder: Path, wanted: Collection[str], notify: Callable[[str], None]
    ) -> None:
        self._setup, self._folder, self._notify = setup, folder, notify
        self._wanted = wanted
        self._kept: dict[str, dict[str, dict[str, Any]]] = {}

    def plan(self, work: str, contestant: Contestant, *, given: bool) -> dict[str, Any]:
        """Return the plan of a piece of work on a contestant's files.

        Args:
            work: its name.
            contestant: who runs it.
            given: the dropout masks are an input; not with the exporter's files.
        """
        pipeline = works.pipeline(work, self._setup, given=given)
        models = self.models(GIVEN if given else contestant.files)
        formed = {
            stage.name: store.in_form(models[stage.name], contestant.form, self._notify)
            for stage in pipeline.stages
        }
        return pipeline.plan(formed)

    def task(self, work: str, contestant: Contestant, rows: int, *, given: bool = False) -> Task:
        """Return what a contestant's process is started with; see `plan`."""
        plan = self.plan(work, contestant, given=given) if contestant.backend else None
        return Task(contestant, work, self._setup, rows, given, plan, str(self._folder))

    def models(self, kind: str) -> Mapping[str, dict[str, Any]]:
        """Return the file of every stage.

        Args:
            kind: contract, given (the contract's with the dropout masks as an input) or exporter.
        """
        if kind not in self._kept:
            make = {BASE: self._contract, GIVEN: self._given, EXPORTER: self._exporter}[kind]
            self._kept[kind] = make()
        return self._kept[kind]

    def _contract(self) -> dict[str, dict[str, Any]]:
        pipeline = tacotron2.build(self._setup.model)
        resolved = store.resolve_models(
            pipeline, model=self._setup.model, models_dir=None, seed=works.SEED,
            notify=self._notify,
        )  # fmt: skip
        models = {name: dict(model) for name, model in resolved.models.items()}
        return {**models, works.STEP_STAGE: _described(Path(models["decoder"]["step_path"]))}

    def _given(self) -> dict[str, dict[str, Any]]:
        weights = SyntheticWeights(self._setup.sizes, works.SEED)
        folder = self._folder / GIVEN
        folder.mkdir()
        writers = files.tacotron2_files(
            weights, self._setup.sizes, decode_length(), DropoutMask.INPUT
        )
        wanted = {f"{stage}.onnx": writers[f"{stage}.onnx"] for stage in LOOPING}
        files.save(folder, wanted, {files.LABEL_KEY: "dropout masks given"}, self._notify)
        made = {stage: _described(folder / f"{stage}.onnx") for stage in LOOPING}
        return {**self.models(BASE), **made}

    def _exporter(self) -> dict[str, dict[str, Any]]:
        """Export the torch reference with the same weights; torch must be here."""
        import onnx  # noqa: PLC0415 - heavy
        from onnx import numpy_helper  # noqa: PLC0415 - heavy

        from benchmarks import torch_engine  # noqa: PLC0415 - only with torch
        from tests.torch_reference import exporter  # noqa: PLC0415 - only with torch

        folder = self._folder / EXPORTER
        folder.mkdir()
        self._notify("exporting the torch reference")
        vocoder = works.WAVEGLOW in self._wanted
        exporter.export(
            folder,
            torch_engine.network(works.TACOTRON2, self._setup.sizes),
            torch_engine.network(works.WAVEGLOW, self._setup.sizes) if vocoder else None,
        )
        # Synthetic weights never fire the gate: the exporter's Loop needs the limit it leaves out.
        model = onnx.load(folder / "decoder.onnx")
        (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
        loop.input[0] = "trip_limit"
        steps = np.array(self._setup.steps)
        model.graph.initializer.append(numpy_helper.from_array(steps, "trip_limit"))
        onnx.save(model, folder / "decoder.onnx")
        return {path.stem: _described(path) for path in folder.glob("*.onnx")}


def _described(path: Path) -> dict[str, Any]:
    """Return a file as a plan names it; `step` tells a model of one step of a loop."""
    return {
        "file": path.name, "path": str(path.resolve()), "sha256": sha256(path),
        "bytes": path.stat().st_size, "form": "float32", "step": path.stem == works.STEP_STAGE,
    }  # fmt: skip

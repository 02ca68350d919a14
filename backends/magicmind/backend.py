"""MagicMind as a backend: models built for a range of sizes, tensors that stay on the card."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from backends.base import QUANTS, Artefact, Backend, Option, finding
from backends.errors import BackendError, OptionError, UnsupportedError
from backends.magicmind import build_cache, builder, cnmon, doctor
from backends.magicmind import recipe as magicmind_recipe
from backends.magicmind.sdk import Card, Sdk
from backends.magicmind.stage import MagicMindStage

if TYPE_CHECKING:
    from backends.base import Work
    from backends.magicmind.calls import Handle
    from backends.pipeline import GlueStep, PipelinePlan, StagePlan


REFERENCE = "force_float32"
"""The mode whose build the calibration data are captured from."""

CUSTOM_RANGES = "custom ranges: for performance only, its output means nothing"


class MagicMindBackend(Backend):
    """MagicMind on one MLU card."""

    name = "magicmind"
    options = (
        Option("arch", "", "architecture to build for; empty: from the card's name (mtp_372)"),
        Option("clusters", "", "cluster counts to build for, such as 4,8; empty: all"),
        Option("sync", "stage", "wait for the card after every stage, or once at the end",
               ("stage", "end")),
        Option("fusion", True, "fuse operators; tried without where the build fails"),
        Option("conv_scale_fold", True, "fold scales behind a convolution into its weights"),
        Option("computation_preference", "", "what the build prefers",
               ("", "auto", "fast", "high_precision")),
        Option("static_sizes", "",
               "build for one size, such as batch:1,text:128,frames:608; empty: for ranges"),
        Option("build_config", "", "JSON file put over the build configuration"),
        Option("mm_run", False, "ask mm_run for clusters and clock after building the first stage"),
        Option("calibration", "reference",
               "qint ranges: from passes of the float32 build, or made up (performance only)",
               ("reference", "custom_ranges")),
        Option("calibration_algorithm", "linear", "how calibration finds ranges",
               ("linear", "eqnm")),
        Option("weight_granularity", "per_tensor", "one range per tensor or per axis of a weight",
               ("per_tensor", "per_axis")),
        Option("activation_algorithm", "symmetric", "ranges of activations",
               ("symmetric", "asymmetric")),
    )  # fmt: skip

    def __init__(self, options: Dict[str, Any], device: str) -> None:
        super().__init__(options, device)
        magicmind_recipe.static_sizes(self.settings["static_sizes"])
        self._clusters()
        eqnm = self.settings["calibration_algorithm"] == "eqnm"
        if eqnm and self.settings["activation_algorithm"] != "symmetric":
            raise OptionError(
                "magicmind.calibration_algorithm=eqnm: needs "
                "magicmind.activation_algorithm=symmetric"
            )
        self._sdk: Optional[Sdk] = None
        self._card: Optional[Card] = None
        self._facts: Dict[str, Any] = {}
        self._uncut: Any = (None, 0)
        """With sync=end: the handle of the true lengths, and the frames that were made."""
        if self.settings["sync"] == "end":
            self.finish = self._finish

    def _clusters(self) -> List[int]:
        text = self.settings["clusters"]
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not all(part.isdigit() and int(part) > 0 for part in parts):
            raise OptionError(f"magicmind.clusters={text!r}: write numbers, such as 4,8")
        return [int(part) for part in parts]

    # What is here

    def probe(self) -> Dict[str, Any]:
        """Start the runtime and choose the card."""
        answer: Dict[str, Any] = {
            "available": False,
            "reason": None,
            "runtime": {"name": "magicmind", "version": None},
            "device": {"id": self.device, "kind": "mlu", "name": None, "facts": {}},
            "devices": [],
        }
        number = self._number()
        try:
            self._sdk = Sdk()
        except UnsupportedError as error:
            answer["reason"] = str(error)
            return answer
        answer["runtime"]["version"] = self._sdk.version
        try:
            self._choose(self._sdk.open(), number, answer)
        except BaseException as error:
            # Frames of the failed calls hold objects that must be gone before the runtime ends.
            for one in (error, error.__cause__):
                traceback.clear_frames(one.__traceback__ if one else None)
            self.close()
            raise
        return answer

    def _choose(self, card: Card, number: int, answer: Dict[str, Any]) -> None:
        """Make a card this worker's and describe it in the answer."""
        self._card = card
        answer["devices"] = [str(one) for one in range(card.count)]
        if not card.count:
            answer["reason"] = f"MagicMind sees no card; {visible()}"
            return
        if number >= card.count:
            listed = ", ".join(answer["devices"])
            raise OptionError(f"no device {self.device!r}; there are: {listed}; {visible()}")
        card.choose(number)
        self._facts = cnmon.look(number)
        answer["device"].update(name=self._facts["name"], facts=self._facts)
        answer["available"] = True

    def _number(self) -> int:
        if not self.device.isdigit():
            raise OptionError(f"no device {self.device!r}; MLU cards are numbered from 0")
        return int(self.device)

    def precisions(self) -> Dict[str, Dict[str, Any]]:
        """Return the six modes; the build decides which of them this release can do."""
        notes = dict.fromkeys(QUANTS)  # type: Dict[str, Optional[str]]
        for quant in QUANTS:
            if "qint" in quant:
                made_up = self.settings["calibration"] == "custom_ranges"
                notes[quant] = (
                    CUSTOM_RANGES if made_up else "calibrated on passes of the float32 build"
                )
        return {quant: {"form": "float32", "note": note} for quant, note in notes.items()}

    def observe(self) -> Dict[str, Any]:
        """Return the card's state from cnmon, without a look at the SDK."""
        return cnmon.sample(self._number())

    def examine(self) -> List[Dict[str, str]]:
        """Return what of the SDK, the card and the vendor's tools is here."""
        found = doctor.surroundings(self._number())
        try:
            answer = self.probe()
        except BackendError as error:
            return [*found, finding("MagicMind", "warning", str(error), doctor.FIX_CARD)]
        version = answer["runtime"]["version"]
        if self._sdk is None:
            return [*found, finding("MagicMind", "warning", answer["reason"], doctor.FIX_SDK)]
        found.append(finding("MagicMind", "ok", f"version {version or 'not told'}"))
        if not answer["available"]:
            return [*found, finding("cards", "warning", answer["reason"], doctor.FIX_CARD)]
        found.append(finding("cards", "ok", f"{len(answer['devices'])}, {visible()}"))
        try:
            found.append(finding("architecture", "ok", json.dumps(self.archs())))
        except UnsupportedError as error:
            found.append(
                finding("architecture", "warning", str(error), "backend.arch=mtp_372, or mtp_592")
            )
        return found

    # From model file to something that runs

    def _ready(self) -> Sdk:
        if self._sdk is None or self._card is None:
            raise BackendError("MagicMind was not started: probe comes first")
        return self._sdk

    def archs(self) -> List[Any]:
        """Return what the build is for, as the configuration writes it.

        Raises:
            UnsupportedError: neither the card's name nor the option says it.
        """
        arch = self.settings["arch"] or cnmon.arch_of(self._facts.get("name"))
        if not arch:
            seen = self._facts.get("name") or self._facts.get("reasons", {}).get("name")
            raise UnsupportedError(
                f"which architecture to build for is not known (card: {seen}): set "
                f"backend.arch=mtp_372 (MLU370) or mtp_592 (MLU590)"
            )
        clusters = self._clusters()
        return [{arch: clusters}] if clusters else [arch]

    def compile(self, plan: PipelinePlan, quant: str, cache_dir: str) -> Dict[str, Artefact]:
        """Build every stage's model file, or find it in the cache."""
        self._ready()
        calibrated = "qint" in quant and self.settings["calibration"] == "reference"
        recipes = self._recipes(plan, quant, calibrated=calibrated)
        kept = build_cache.Cache(cache_dir)
        found = {recipe.stage.name: kept.find(recipe) for recipe in recipes}
        captured: Dict[str, builder.Samples] = {}
        if calibrated and any(artefact is None for artefact, _ in found.values()):
            captured = self._captured(plan, cache_dir)
        compiled = {}
        for recipe in recipes:
            artefact, note = found[recipe.stage.name]
            if artefact is None:
                artefact = self._build(kept, recipe, captured.get(recipe.stage.name), note)
                if self.settings["mm_run"] and recipe is recipes[0]:
                    self._ask_mm_run(kept, artefact.path)
            compiled[recipe.stage.name] = artefact
        return compiled

    def _recipes(
        self, plan: PipelinePlan, quant: str, *, calibrated: bool
    ) -> List[magicmind_recipe.BuildRecipe]:
        samples = None
        if calibrated:
            if not self.calibration:
                raise UnsupportedError(
                    f"{quant} needs inputs to calibrate on and was given none; "
                    f"backend.calibration=custom_ranges builds without, for performance only"
                )
            samples = [self.calibration, [one.model.get("sha256") for one in plan.stages]]
        sizes = magicmind_recipe.sizes_of(plan, self.settings)
        user = magicmind_recipe.user_config(self.settings["build_config"])
        version = self._ready().version
        return [
            magicmind_recipe.BuildRecipe(
                stage, quant, sizes, self.settings, self.archs(), user, samples, version
            )
            for stage in plan.stages
        ]

    def _build(
        self,
        kept: build_cache.Cache,
        recipe: magicmind_recipe.BuildRecipe,
        samples: Optional[builder.Samples],
        note: Optional[str],
    ) -> Artefact:
        begin = time.perf_counter_ns()
        if note:
            sys.stderr.write(f"{note}\n")
        model, record = builder.Build(self._ready(), recipe, samples).run()
        record["note"] = note
        try:
            return kept.keep(recipe, model, record, begin)
        finally:
            model.close()
            del model
            gc.collect()

    def _ask_mm_run(self, kept: build_cache.Cache, path: str) -> None:
        """Note in a build's record what mm_run tells of the card it runs on."""
        record = kept.record(path) or {}
        shapes = [[least for least, _ in sizes] for sizes in record["ranges"]]
        kept.write(path, dict(record, mm_run=cnmon.block(path, shapes, self._number())))

    def _captured(self, plan: PipelinePlan, cache_dir: str) -> Dict[str, builder.Samples]:
        """Run the float32 build on the calibration inputs; return what went into each stage."""
        from backends.timing.executor import Executor

        artefacts = self.compile(plan, REFERENCE, cache_dir)
        captured: Dict[str, builder.Samples] = {
            stage.name: {tensor.name: [] for tensor in stage.inputs} for stage in plan.stages
        }
        stages: Dict[str, Any] = {}
        runner = None
        try:
            for stage in plan.stages:
                loaded = self.load(stage, REFERENCE, artefacts[stage.name].path, 0)
                stages[stage.name] = _Listening(self, stage, loaded, captured[stage.name])
            runner = Executor(plan, stages, self, 0, 0)
            for inputs in self.calibration or []:
                runner.set_inputs(inputs)
                runner.once()
                runner.release()
        finally:
            if runner is not None:
                runner.close()
            for one in reversed(list(stages.values())):
                one.close()
        return captured

    def load(self, stage: StagePlan, quant: str, artefact: str, seed: int) -> MagicMindStage:
        """Load a model file onto the card; it must be one that was built for this quant mode."""
        sdk, card = self._ready(), self._card
        record = build_cache.Cache.record(artefact)
        if record is None or (record.get("stage"), record.get("quant")) != (stage.name, quant):
            raise BackendError(
                f"{stage.name}: {artefact} has no record of a {quant} build; compile again"
            )
        if card is None:
            raise BackendError("MagicMind was not started: probe comes first")
        model = sdk.model(artefact)
        try:
            model.start()
            sync = card.sync if self.finish is None else None
            facts = {"provider": f"MagicMind {sdk.version or 'of unknown version'}"}
            return MagicMindStage(stage, model, card.queue, sync=sync, built=record, facts=facts)
        except BaseException:
            model.close()
            raise

    def _finish(self) -> None:
        if self._card is not None:
            self._card.sync()

    def close(self) -> None:
        """Let go of the card and end the runtime; everything made on it is gone by now."""
        self.finish = None
        self._uncut = (None, 0)
        card, self._card = self._card, None
        self._sdk = None
        if card is not None:
            card.close()

    # Handles

    def shape(self, handle: Handle) -> Sequence[int]:
        """Return the sizes of a handle's axes."""
        return handle[1]

    def to_host(self, handle: Handle) -> Any:
        """Return a copy of the tensor's content."""
        host = self._ready().download(handle)
        lengths, frames = self._uncut
        if handle is lengths and int(host.max()) != frames:
            raise BackendError(
                f"sync=end leaves {frames} frames uncut where the longest row has {host.max()}; "
                f"measure this model with backend.sync=stage"
            )
        return host

    def from_host(self, array: Any) -> Handle:
        """Return a tensor on the card with the array's content."""
        return self._ready().upload(array)

    def glue(self, step: GlueStep) -> Optional[Work]:
        """Do on the card what needs no copy."""
        if step.op == "unsqueeze" and not step.reads["tensor"][1]:
            return self._unsqueeze(step)
        if step.op == "crop" and self.finish is not None and not step.reads["tensor"][1]:
            return self._left_whole(step)
        return None

    def _unsqueeze(self, step: GlueStep) -> Work:
        slot, axis = step.reads["tensor"][0], step.args["axis"]
        reshaped = self._ready().reshaped

        def unsqueeze(values: List[Any], iteration: int) -> Handle:
            handle = values[slot]
            shape = handle[1]
            return reshaped(handle, (*shape[:axis], 1, *shape[axis:]))

        return unsqueeze

    def _left_whole(self, step: GlueStep) -> Work:
        """Hand the tensor on uncut: to look at its lengths would mean to wait for the card.

        Whether there was nothing to cut off is checked after the iteration, when the lengths are
        read.
        """
        slot, lengths = step.reads["tensor"][0], step.reads["lengths"][0]
        axis = step.args["axis"]

        def left_whole(values: List[Any], iteration: int) -> Handle:
            handle = values[slot]
            self._uncut = (values[lengths], handle[1][axis])
            made: Handle = handle
            return made

        return left_whole


class _Listening:
    """A stage that keeps its inputs: what a qint build is calibrated on."""

    def __init__(
        self,
        backend: MagicMindBackend,
        stage: StagePlan,
        loaded: MagicMindStage,
        samples: builder.Samples,
    ) -> None:
        self._backend = backend
        self._names = [tensor.name for tensor in stage.inputs]
        self._loaded = loaded
        self._samples = samples
        self.input_dtype = loaded.input_dtype

    def run(self, tensors: Sequence[Handle]) -> List[Handle]:
        """Keep the inputs, then run the stage."""
        for name, handle in zip(self._names, tensors):
            self._samples[name].append(self._backend.to_host(handle))
        return self._loaded.run(tensors)

    def close(self) -> None:
        """Release the stage."""
        self._loaded.close()


def visible() -> str:
    """Return what restricts the cards of this process, in words."""
    chosen = os.environ.get("MLU_VISIBLE_DEVICES")
    return "MLU_VISIBLE_DEVICES is not set" if chosen is None else f"MLU_VISIBLE_DEVICES={chosen}"

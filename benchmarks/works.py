"""What is run side by side: pipelines, inputs, and how far results are off.

step       one step of the decoder, many in a row: what its weights cost while they stay in caches
tacotron2  encoder, decoder and postnet with the glue between them
waveglow   the vocoder
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import accuracy
from harness.models import tacotron2, text
from harness.models.graphs.tacotron2 import FRAMES_PER_SYMBOL, KEEP, LEAST_FRAMES, STATES
from harness.models.pipeline import Glue, Items, Pipeline, Stage, TensorSpec
from harness.models.sizes import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from harness.models.sizes import Sizes

    Arrays = Mapping[str, NDArray[Any]]


SEED = 1234
STEP, TACOTRON2, WAVEGLOW = "step", "tacotron2", "waveglow"
STEP_STAGE = "decoder_iter"
QUIET_MEL = -4.0
"""About the mean of a mel spectrogram: natural logarithm of an amplitude."""


@dataclass(frozen=True)
class Setup:
    """What all contestants are given to do."""

    model: str = "full"
    text: int = 128
    """Symbols of each row."""
    frames: int = 600
    """Mel frames the vocoder is given."""

    @property
    def sizes(self) -> Sizes:
        """The layers' sizes."""
        return BY_NAME[self.model]

    @property
    def steps(self) -> int:
        """What synthetic weights decode for the text."""
        return max(LEAST_FRAMES, round(FRAMES_PER_SYMBOL * self.text))


@dataclass(frozen=True)
class Work:
    """One piece of work, and how it is run."""

    name: str
    unit: str
    batches: tuple[int, ...]
    turns: int
    """As often everybody runs, unless the command line says how often."""
    block: int = 1
    """Runs in a row within a turn, timed together."""
    warm: int = 0
    """Runs before those, not timed: they bring back into caches what others drove out."""
    child_bytes: float = 0.6e9
    """What one loaded contestant takes at most, with the full model."""
    alone: bool = False
    """Only one contestant is loaded at a time."""


WORKS: Mapping[str, Work] = {
    one.name: one
    for one in (
        Work(STEP, "mel frames", (1, 4, 8), turns=40, block=50, warm=15),
        Work(TACOTRON2, "mel frames", (1, 4, 8), turns=12, child_bytes=0.9e9),
        Work(WAVEGLOW, "audio samples", (1,), turns=6, child_bytes=5e9, alone=True),
    )
}


def label(name: str, setup: Setup) -> str:
    """Return what a piece of work is called in a table."""
    return {
        STEP: f"decoder step, text {setup.text}",
        TACOTRON2: f"Tacotron 2, il={setup.text}, {setup.steps} frames",
        WAVEGLOW: f"WaveGlow, {setup.frames} frames",
    }[name]


def items(name: str, setup: Setup, rows: int) -> int:
    """Return how many mel frames or audio samples one run makes."""
    each = {
        STEP: 1,
        TACOTRON2: setup.steps,
        WAVEGLOW: setup.frames * tacotron2.HOP_SAMPLES,
    }
    return rows * each[name]


# --- pipelines -------------------------------------------------------------------------------


def pipeline(name: str, setup: Setup, *, given: bool) -> Pipeline:
    """Return the pipeline of a piece of work.

    Args:
        name: of the work.
        setup: the model and its sizes.
        given: the prenet's dropout masks are an input, not drawn by the graph.
    """
    whole = tacotron2.build(setup.model)
    if name == WAVEGLOW:
        return _vocoder(whole)
    made = whole.without_vocoder() if name == TACOTRON2 else _step(whole)
    if not given:
        return made
    looping = name == TACOTRON2
    masks = ((setup.steps,) if looping else ()) + (2, 1, setup.sizes.prenet)
    keep = TensorSpec(KEEP, masks)
    stages = tuple(
        replace(one, inputs=(*one.inputs, keep)) if one.name in {STEP_STAGE, "decoder"} else one
        for one in made.stages
    )
    return replace(made, inputs=(*made.inputs, keep), stages=stages)


def _vocoder(whole: Pipeline) -> Pipeline:
    """Return the vocoder as a pipeline that is given its mel frames and its noise."""
    stage = replace(whole.stages[-1], glue=())
    lengths = TensorSpec("mel_lengths_t", ("batch",), "int32")
    (counted,) = (one for one in whole.items if one.name == stage.produces)
    return replace(whole, inputs=(*stage.inputs, lengths), stages=(stage,), items=(counted,))


def _step(whole: Pipeline) -> Pipeline:
    """Return one step of the decoder as a pipeline."""
    (loop,) = (one for one in whole.stages if one.loop)
    states = {one.name.removesuffix("_0"): one.dims for one in loop.inputs[: len(STATES)]}
    memory, mask = loop.inputs[len(STATES) : -1], loop.inputs[-1]
    taken = tuple(TensorSpec(name, dims) for name, dims in states.items())
    made = (
        TensorSpec("decoder_output", states["decoder_input"]),
        TensorSpec("gate_prediction", ("batch", 1)),
        *(TensorSpec(f"out_{name}", states[name]) for name in STATES[1:]),
    )
    lengths = TensorSpec("sequence_lengths", ("batch",), "int32")
    glue = Glue("padding_mask", mask, {"lengths": lengths.name})
    stage = Stage(
        STEP_STAGE, f"{STEP_STAGE}.onnx", (*taken, *memory, mask), made, "mel_frames", (glue,)
    )
    counted = Items("mel_frames", "mel frames", ("batch", "text"), lengths.name)
    return replace(whole, inputs=(*taken, *memory, lengths), stages=(stage,), items=(counted,))


def outputs(name: str, setup: Setup) -> tuple[str, ...]:
    """Return the names of the tensors that are compared."""
    if name == TACOTRON2:
        return ("mel_outputs_postnet", "mel_lengths_t")
    return tuple(one.name for one in pipeline(name, setup, given=False).stages[-1].outputs)


# --- inputs ----------------------------------------------------------------------------------


def inputs(name: str, setup: Setup, rows: int, *, given: bool) -> dict[str, NDArray[Any]]:
    """Return what the pipeline of a piece of work takes; the same in every process."""
    random = np.random.default_rng(SEED)
    made = {STEP: _step_inputs, TACOTRON2: _text, WAVEGLOW: _mel}[name](random, setup, rows)
    if given:
        (spec,) = (one for one in pipeline(name, setup, given=True).inputs if one.name == KEEP)
        dims = [int(size) for size in spec.dims if not isinstance(size, tuple)]
        made[KEEP] = random.integers(0, 2, dims).astype(np.float32)
    return made


def _text(_: np.random.Generator, setup: Setup, rows: int) -> dict[str, NDArray[Any]]:
    batch = text.benchmark_batch(setup.text, rows)
    return {"sequences": batch.ids, "sequence_lengths": batch.lengths}


def _mel(random: np.random.Generator, setup: Setup, rows: int) -> dict[str, NDArray[Any]]:
    mel = random.standard_normal((rows, setup.sizes.mel, setup.frames, 1)) + QUIET_MEL
    positions = setup.frames * tacotron2.GROUPS_PER_FRAME
    z = random.standard_normal((rows, setup.sizes.groups, positions, 1))
    return {
        "mel": mel.astype(np.float32),
        "z": z.astype(np.float32),
        "mel_lengths_t": np.full(rows, setup.frames, np.int32),
    }


def _step_inputs(random: np.random.Generator, setup: Setup, rows: int) -> dict[str, NDArray[Any]]:
    """Return a state from the middle of a sentence: none of it is zero."""
    sizes = {"batch": rows, "text": setup.text}
    made: dict[str, NDArray[Any]] = {}
    for spec in pipeline(STEP, setup, given=False).inputs[:-1]:
        dims = [sizes[one] if isinstance(one, str) else int(str(one)) for one in spec.dims]
        drawn = random.standard_normal(dims)
        if spec.name.startswith("attention_weights"):
            drawn = np.exp(drawn) / np.exp(drawn).sum(axis=1, keepdims=True)
        else:
            drawn = np.tanh(0.5 * drawn)
        made[spec.name] = drawn.astype(np.float32)
    made["sequence_lengths"] = np.full(rows, setup.text, np.int32)
    return made


def full_mask(setup: Setup, rows: int) -> NDArray[Any]:
    """Return the mask of rows that are all as long as the text: nothing is padding."""
    return np.zeros((rows, setup.text), bool)


# --- accuracy --------------------------------------------------------------------------------


def off(name: str, setup: Setup, exact: Arrays, found: Arrays) -> dict[str, Any]:
    """Return how far results are from the reference's: `value` and `unit`, or the `reason`.

    A decoder step: root of the mean square of the difference over that of the reference, of the
    output where that is largest. The others: the distances of the accuracy gate.
    """
    for key in exact:
        if exact[key].shape != found[key].shape:
            shapes = f"{list(found[key].shape)} instead of {list(exact[key].shape)}"
            return {"reason": f"{key} has the shape {shapes}"}
    if name == STEP:
        return {"value": max(_relative(exact[key], found[key]) for key in exact), "unit": ""}
    key = "mel_db" if name == TACOTRON2 else "audio_db"
    made = [_judged(name, setup, one) for one in (exact, found)]
    return {"value": accuracy.distances(*made)[key], "unit": "dB"}


def _relative(exact: NDArray[Any], found: NDArray[Any]) -> float:
    away = found.astype(np.float64) - exact
    return float(np.sqrt(np.mean(away**2) / np.mean(exact.astype(np.float64) ** 2)))


def _judged(name: str, setup: Setup, made: Arrays) -> accuracy.SavedOutputs:
    """Return results as the accuracy gate takes them."""
    hop = tacotron2.HOP_SAMPLES
    if name == TACOTRON2:
        lengths = made["mel_lengths_t"].ravel()
        return accuracy.SavedOutputs(lengths, setup.steps, made["mel_outputs_postnet"], None, hop)
    audio = made["audio"]
    same = _mel(np.random.default_rng(SEED), setup, len(audio))
    return accuracy.SavedOutputs(same["mel_lengths_t"], 0, same["mel"][..., 0], audio, hop)

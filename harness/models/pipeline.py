"""The words a pipeline is described in: tensors, glue, stages, loops, items, sizes.

A pipeline is data. The measured side receives it as JSON (`Pipeline.plan`, documented in
docs/protocol.md), so a new stage or another pipeline needs no line changed in a backend.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


Size: TypeAlias = int | str | tuple[int | str, ...]
"""A fixed size, a symbol such as "frames", or a product such as ("frames", 32)."""


def _json_size(size: Size) -> int | str | list[int | str]:
    return list(size) if isinstance(size, tuple) else size


def product(size: Size, sizes: Mapping[str, int]) -> int:
    """Return the number a `Size` stands for.

    Raises:
        KeyError: a symbol is missing from `sizes`.
    """
    factors = size if isinstance(size, tuple) else (size,)
    total = 1
    for factor in factors:
        total *= sizes[factor] if isinstance(factor, str) else factor
    return total


@dataclass(frozen=True)
class TensorSpec:
    """Name, symbolic shape and dtype (numpy's name for it) of one tensor."""

    name: str
    dims: tuple[Size, ...]
    dtype: str = "float32"

    def plan(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "dims": [_json_size(size) for size in self.dims],
            "dtype": self.dtype,
        }


@dataclass(frozen=True)
class Glue:
    """One step of host work before a stage: the operation, the tensor it makes, its arguments.

    The operations are those of `backends/timing/glue.py`: zeros, padding_mask, crop, unsqueeze,
    normal.
    """

    op: str
    out: TensorSpec
    args: Mapping[str, Any] = field(default_factory=dict)

    def plan(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"op": self.op, "out": self.out.plan(), "args": dict(self.args)}


@dataclass(frozen=True)
class Items:
    """What a stage produces and how it is counted.

    Padded counts the whole batch at its longest row; valid counts the true lengths only.
    """

    name: str
    label: str
    padded: tuple[int | str, ...]
    lengths: str
    """Name of the tensor holding the true length of each row."""
    per_length: int = 1
    """Items per unit of length: 256 audio samples per mel frame."""

    def plan(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "padded": list(self.padded),
            "lengths": self.lengths,
            "per_length": self.per_length,
        }


@dataclass(frozen=True)
class Loop:
    """How a stage that loops ends: one step as a model of its own, and the most steps allowed."""

    step_model: str
    steps: str
    """Symbol bound to the number of steps that ran."""
    limit: int

    def plan(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"step_model": self.step_model, "steps": self.steps, "limit": self.limit}


@dataclass(frozen=True)
class Stage:
    """One model of the pipeline and the glue it owns."""

    name: str
    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    produces: str
    """Name of the `Items` this stage is credited with."""
    glue: tuple[Glue, ...] = ()
    loop: Loop | None = None

    def plan(self) -> dict[str, Any]:
        """Return the JSON form, without the path of the model file."""
        return {
            "name": self.name,
            "inputs": [spec.plan() for spec in self.inputs],
            "outputs": [spec.plan() for spec in self.outputs],
            "produces": self.produces,
            "glue": [step.plan() for step in self.glue],
            "loop": self.loop.plan() if self.loop else None,
        }


ALIGNMENTS = TensorSpec("alignments", ("steps", "batch", "text"))
"""Attention weights of every step: an output that is no part of the contract, but may be there."""


@dataclass(frozen=True)
class SizeRange:
    """The least, typical and largest value of a symbol: the shapes an engine is compiled for."""

    least: int
    typical: int
    largest: int


@dataclass(frozen=True)
class AudioFormat:
    """How audio samples relate to mel frames and to seconds."""

    sampling_rate_hz: int
    hop_samples: int

    def seconds(self, frames: float) -> float:
        """Return the seconds of speech in `frames` mel frames."""
        return frames * self.hop_samples / self.sampling_rate_hz


@dataclass(frozen=True)
class Pipeline:
    """Ordered stages and everything they share."""

    name: str
    inputs: tuple[TensorSpec, ...]
    stages: tuple[Stage, ...]
    items: tuple[Items, ...]
    sizes: Mapping[str, SizeRange]
    audio: AudioFormat
    vocoder: str
    """Name of the stage left out when only the acoustic model is measured."""

    def without_vocoder(self) -> Pipeline:
        """Return the same pipeline ending before the vocoder."""
        stages = tuple(stage for stage in self.stages if stage.name != self.vocoder)
        return Pipeline(
            self.name, self.inputs, stages, self.items, self.sizes, self.audio, self.vocoder
        )

    def covering(self, symbol: str, values: Sequence[int]) -> Pipeline:
        """Return the same pipeline with the range of a symbol widened to hold the values."""
        known = self.sizes[symbol]
        wide = (
            SizeRange(min(known.least, *values), known.typical, max(known.largest, *values))
            if values
            else known
        )
        return replace(self, sizes={**self.sizes, symbol: wide})

    def models(self) -> tuple[str, ...]:
        """Return the names of the model files the stages run, in order."""
        return tuple(stage.model for stage in self.stages)

    def plan(self, models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return the JSON the measured side executes.

        Args:
            models: for each stage name, the file that runs: path, sha256, form, and for a
                looping stage the path of its step model.
        """
        produced = {stage.produces for stage in self.stages}
        return {
            "pipeline": self.name,
            "inputs": [spec.plan() for spec in self.inputs],
            "items": [items.plan() for items in self.items if items.name in produced],
            "sizes": {
                symbol: [sizes.least, sizes.typical, sizes.largest]
                for symbol, sizes in self.sizes.items()
            },
            "stages": [
                {**_given(stage, models[stage.name]).plan(), "model": dict(models[stage.name])}
                for stage in self.stages
            ],
        }


def _given(stage: Stage, model: Mapping[str, Any]) -> Stage:
    """Return a stage with the output its file gives beside those of the contract."""
    if not model.get(ALIGNMENTS.name):
        return stage
    return replace(stage, outputs=(*stage.outputs, ALIGNMENTS))


def names(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Return the tensor names, in order."""
    return tuple(spec.name for spec in specs)

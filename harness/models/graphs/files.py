"""The files of the two networks: their names, and what makes the graph of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from harness.models.graphs import tacotron2, waveglow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.models.graphs.builder import GraphBuilder
    from harness.models.graphs.tacotron2 import DecodeLength, DropoutMask
    from harness.models.sizes import Sizes
    from harness.models.weights import Weights


WEIGHTS_KEY = "harness.weights"
LABEL_KEY = "harness.label"
"""Metadata of every file: the kind of its weights, and what each surface says of them."""
STEP_LIMIT_KEY = "harness.step_limit"
"""Metadata of a decoder that stops at its gate: the most steps it makes."""

Writers: TypeAlias = "Mapping[str, Callable[[], GraphBuilder]]"
"""From a file's name to what makes its graph, so that one graph is in memory at a time."""


def tacotron2_files(
    weights: Weights, sizes: Sizes, length: DecodeLength, dropout: DropoutMask
) -> Writers:
    """Return the four files of Tacotron 2."""
    return {
        "encoder.onnx": lambda: tacotron2.encoder(weights, sizes),
        "decoder.onnx": lambda: tacotron2.decoder(weights, sizes, length, dropout),
        "decoder_iter.onnx": lambda: tacotron2.decoder_iter(weights, sizes, dropout),
        "postnet.onnx": lambda: tacotron2.postnet(weights, sizes),
    }


def waveglow_files(weights: Weights, sizes: Sizes) -> Writers:
    """Return the one file of WaveGlow."""
    return {"waveglow.onnx": lambda: waveglow.waveglow(weights, sizes)}


def save(
    folder: Path, writers: Writers, about: Mapping[str, str], notify: Callable[[str], None]
) -> None:
    """Write the files into an existing folder, each carrying `about` as its metadata."""
    import onnx  # noqa: PLC0415 - heavy

    for name, make in writers.items():
        notify(f"writing {name}: {about[LABEL_KEY]}")
        onnx.save(make().model(about), folder / name)

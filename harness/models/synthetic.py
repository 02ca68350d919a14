"""Writes the five model files with seeded synthetic weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness.models.sizes import BY_NAME
from harness.models.tacotron2 import MAX_FRAMES
from harness.models.weights import SyntheticWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.models.graphs.builder import GraphBuilder
    from harness.models.graphs.tacotron2 import DecodeLength

WEIGHTS_KEY = "harness.weights"
SEED_KEY = "harness.seed"


def label(seed: int) -> str:
    """Return what every surface says of numbers made with these weights."""
    return f"synthetic weights (seed {seed})"


def recipe(model: str, seed: int) -> str:
    """Return the name of a set of files: its sizes and a hash of all that decides its bytes.

    The source of the graph and weight writers is part of it, so a changed writer never meets an
    old file.
    """
    folder = Path(__file__).resolve().parent
    sources = [
        *(folder / name for name in ("sizes.py", "synthetic.py", "weights.py")),
        *sorted(folder.glob("graphs/*.py")),
    ]
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    digest.update(json.dumps([BY_NAME[model].as_dict(), seed], sort_keys=True).encode())
    return f"{model}-{digest.hexdigest()[:16]}"


def _metadata(model: str, seed: int) -> Mapping[str, str]:
    return {
        WEIGHTS_KEY: "synthetic",
        SEED_KEY: str(seed),
        "harness.label": label(seed),
        "harness.model": model,
        "harness.decode_length": decode_length().describe(),
    }


def models(model: str, seed: int) -> Iterator[tuple[str, Callable[[], GraphBuilder]]]:
    """Yield each file's name and what makes its graph, so that one is in memory at a time."""
    from harness.models.graphs import tacotron2, waveglow  # noqa: PLC0415 - only to write

    sizes, weights = BY_NAME[model], SyntheticWeights(BY_NAME[model], seed)
    yield "encoder.onnx", lambda: tacotron2.encoder(weights, sizes)
    yield "decoder.onnx", lambda: tacotron2.decoder(weights, sizes, decode_length())
    yield "decoder_iter.onnx", lambda: tacotron2.decoder_iter(weights, sizes)
    yield "postnet.onnx", lambda: tacotron2.postnet(weights, sizes)
    yield "waveglow.onnx", lambda: waveglow.waveglow(weights, sizes)


def decode_length() -> DecodeLength:
    """Return the decode rule of synthetic weights: the text sets the number of steps."""
    from harness.models.graphs.tacotron2 import DecodeLength  # noqa: PLC0415 - only to write

    return DecodeLength(limit=MAX_FRAMES, from_text=True)


def write(folder: Path, model: str, seed: int, notify: Callable[[str], None]) -> None:
    """Write the five files into an existing folder."""
    import onnx  # noqa: PLC0415 - heavy

    about = _metadata(model, seed)
    for name, make in models(model, seed):
        notify(f"writing {name}: {label(seed)}")
        onnx.save(make().model(about), folder / name)

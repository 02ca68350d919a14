"""Writes the five model files with seeded synthetic weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness.models.graphs import files
from harness.models.graphs.files import LABEL_KEY, WEIGHTS_KEY
from harness.models.graphs.tacotron2 import DecodeLength, Dropout
from harness.models.sizes import BY_NAME
from harness.models.tacotron2 import MAX_FRAMES
from harness.models.weights import SyntheticWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SEED_KEY = "harness.seed"


def label(seed: int) -> str:
    """Return what every surface says of numbers made with these weights."""
    return f"synthetic weights (seed {seed})"


def recipe(model: str, seed: int, dropout: Dropout = Dropout.SHARED) -> str:
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
    digest.update(json.dumps([BY_NAME[model].as_dict(), seed, dropout], sort_keys=True).encode())
    return f"{model}-{digest.hexdigest()[:16]}"


def _metadata(model: str, seed: int, dropout: Dropout) -> Mapping[str, str]:
    return {
        WEIGHTS_KEY: "synthetic",
        SEED_KEY: str(seed),
        LABEL_KEY: label(seed),
        "harness.model": model,
        "harness.dropout": dropout,
        "harness.decode_length": decode_length().describe(),
    }


def decode_length() -> DecodeLength:
    """Return the decode rule of synthetic weights: the text sets the number of steps."""
    return DecodeLength(limit=MAX_FRAMES, from_text=True)


def write(
    folder: Path,
    model: str,
    seed: int,
    notify: Callable[[str], None],
    dropout: Dropout = Dropout.SHARED,
) -> None:
    """Write the five files into an existing folder."""
    sizes, weights = BY_NAME[model], SyntheticWeights(BY_NAME[model], seed)
    writers = {
        **files.tacotron2_files(weights, sizes, decode_length(), dropout),
        **files.waveglow_files(weights, sizes),
    }
    files.save(folder, writers, _metadata(model, seed, dropout), notify)

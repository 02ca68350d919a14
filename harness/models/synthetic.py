"""Writes the five model files with seeded synthetic weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.models.graphs import files
from harness.models.graphs.files import LABEL_KEY, WEIGHTS_KEY
from harness.models.graphs.tacotron2 import DecodeLength, DropoutMask
from harness.models.sizes import BY_NAME
from harness.models.tacotron2 import MAX_FRAMES
from harness.models.weights import SyntheticWeights

if TYPE_CHECKING:
    from collections.abc import Callable


SEED_KEY = "harness.seed"


def label(seed: int) -> str:
    """Return what every surface says of numbers made with these weights."""
    return f"synthetic weights (seed {seed})"


def decode_length() -> DecodeLength:
    """Return the decode rule of synthetic weights: the text sets the number of steps."""
    return DecodeLength(limit=MAX_FRAMES, from_text=True)


@dataclass(frozen=True)
class WeightsRecipe:
    """All that decides the bytes of a set of files."""

    model: str
    seed: int
    dropout: DropoutMask = DropoutMask.SHARED

    @property
    def name(self) -> str:
        """The name of the set: its sizes and a hash of all that decides its bytes.

        The source of the graph and weight writers is part of it, so a changed writer never meets
        an old file.
        """
        folder = Path(__file__).resolve().parent
        sources = [
            *(folder / name for name in ("sizes.py", "synthetic.py", "weights.py")),
            *sorted(folder.glob("graphs/*.py")),
        ]
        digest = hashlib.sha256()
        for source in sources:
            digest.update(source.read_bytes())
        facts = [BY_NAME[self.model].as_dict(), self.seed, self.dropout]
        digest.update(json.dumps(facts, sort_keys=True).encode())
        return f"{self.model}-{digest.hexdigest()[:16]}"

    def write(self, folder: Path, notify: Callable[[str], None]) -> None:
        """Write the five files into an existing folder."""
        sizes = BY_NAME[self.model]
        weights = SyntheticWeights(sizes, self.seed)
        writers = {
            **files.tacotron2_files(weights, sizes, decode_length(), self.dropout),
            **files.waveglow_files(weights, sizes),
        }
        about = {
            WEIGHTS_KEY: "synthetic",
            SEED_KEY: str(self.seed),
            LABEL_KEY: label(self.seed),
            "harness.model": self.model,
            "harness.dropout": self.dropout,
            "harness.decode_length": decode_length().describe(),
        }
        files.save(folder, writers, about, notify)


def write(folder: Path, model: str, seed: int, notify: Callable[[str], None]) -> None:
    """Write the five files, dropout shared by the batch, into an existing folder."""
    WeightsRecipe(model, seed).write(folder, notify)

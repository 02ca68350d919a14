"""Writing the full-size models over writing as many bytes of the same kind to disk."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.ratios import Ratio, measure
from harness.models import synthetic

if TYPE_CHECKING:
    from pathlib import Path


BLOCK = 1 << 24


def ratio(folder: Path, *, pairs: int) -> Ratio:
    """Return seeded drawing, graph building and writing over drawing and writing plain arrays."""
    sizes: list[int] = []

    def write_models() -> float:
        target = folder / "models"
        target.mkdir()
        begun = time.perf_counter()
        synthetic.write(target, "full", 1234, lambda _: None)
        os.sync()
        took = time.perf_counter() - begun
        sizes.append(sum(path.stat().st_size for path in target.iterdir()))
        shutil.rmtree(target)
        return took

    def write_arrays() -> float:
        left, rng = sizes[0], np.random.default_rng(1)
        begun = time.perf_counter()
        with (folder / "plain").open("wb") as stream:
            while left > 0:
                stream.write(rng.standard_normal(min(BLOCK, left) // 4, dtype=np.float32).tobytes())
                left -= BLOCK
        os.sync()
        took = time.perf_counter() - begun
        (folder / "plain").unlink()
        return took

    return measure(
        "models",
        "writing the five full-size models / drawing and writing as many float32 normals",
        "no goal",
        write_models,
        write_arrays,
        pairs=pairs,
    )

"""Start-up of `--help` over an empty Hydra application, and wall time per fake point."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.ratios import Ratio, measure

if TYPE_CHECKING:
    from pathlib import Path


EMPTY_APPLICATION = """\
import hydra


@hydra.main(version_base="1.3", config_path=None)
def main(config):
    pass


main()
"""


def _wall(*words: str, cwd: Path) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - begun


def ratio(folder: Path, *, pairs: int) -> Ratio:
    """Return `python -m harness --help` over the same of an empty Hydra application."""
    (folder / "empty.py").write_text(EMPTY_APPLICATION)
    return measure(
        "startup",
        "python -m harness --help / --help of an empty Hydra application",
        "at most 1.3",
        lambda: _wall("-m", "harness", "--help", cwd=folder),
        lambda: _wall("empty.py", "--help", cwd=folder),
        pairs=pairs,
    )


def point_cost(folder: Path, *, points: int) -> float:
    """Return the seconds of controller and workers per fake point, three processes each."""
    common = ["-m", "harness", "-m", "backend=fake", "model=tiny", "il=16", "num_iters=10"]
    one = _wall(*common, "bs=1", cwd=folder)
    batches = ",".join(str(size) for size in range(1, points + 1))
    many = _wall(*common, f"bs={batches}", cwd=folder)
    return (many - one) / (points - 1)

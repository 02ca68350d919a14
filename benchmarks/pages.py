"""Rendering the report of a large sweep: seconds, bytes and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.records import identity
from tests.make_trials import MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from pathlib import Path


PROCESSES, WARMUP = 5, 3
BATCHES = (1, 2, 4, 8, 16)
ASSESSED = 20
"""Points whose figures are computed; the others hold their iterations in another order."""


@dataclass(frozen=True)
class Rendering:
    """What one report cost."""

    points: int
    wall_s: float
    """Of a fresh `python -m harness report`, start of the interpreter included."""
    cpu_s: float
    """Processor time of it: what a busy machine disturbs least."""
    size_bytes: int
    peak_bytes: int
    """Largest resident size of that process."""


def write(folder: Path, *, points: int, iterations: int) -> Path:
    """Write a sweep of points that each have samples of their own.

    Computing a point's figures takes longer than rendering it, so it is done for a few; the others
    have the steady iterations of one of them in a seeded order of their own, which leaves means and
    percentiles as they are.

    Args:
        folder: where to.
        points: how many result files.
        iterations: steady iterations of each, over five processes.
    """
    rng = np.random.default_rng(1)
    bases = [_assessed(rng, bs, iterations // PROCESSES) for bs in BATCHES * (ASSESSED // 5)]
    write_sweep(folder, [_another(rng, bases[n % len(bases)], n) for n in range(points)])
    return folder


def _assessed(rng: np.random.Generator, bs: int, each: int) -> dict[str, Any]:
    samples = rng.lognormal(np.log(70 + 5 * bs), 0.03, (PROCESSES, each + WARMUP)) * MS
    return make_trial(
        [
            make_process(one, index=index, warmup=WARMUP, bs=bs)
            for index, one in enumerate(samples.astype(int).tolist(), 1)
        ],
        bs=bs,
    )


def _another(rng: np.random.Generator, base: dict[str, Any], seed: int) -> dict[str, Any]:
    facts = {**base["point"]["config"], "seed": seed}
    point = {"id": identity.point_id(facts), "name": f"{base['point']['name']}-seed{seed}"}
    made = {
        **base,
        "point": {**point, "config": facts},
        "trial_id": identity.new_trial_id(),
        "processes": [_reordered(rng, process) for process in base["processes"]],
    }
    return {**made, "content_sha256": identity.content_hash(made)}


def _reordered(rng: np.random.Generator, process: dict[str, Any]) -> dict[str, Any]:
    cut, n = process["warmup"], len(process["columns"]["latency_ns"])
    order = np.concatenate([np.arange(cut), cut + rng.permutation(n - cut)])
    back = np.argsort(order)
    moved = {
        key: {name: [column[at] for at in order] for name, column in process[key].items()}
        for key in ("columns", "glue", "work")
    }
    labels = {name: sorted(back[at].tolist()) for name, at in process["labels"].items()}
    return {**process, **moved, "labels": labels}


def render(folder: Path, *, points: int) -> Rendering:
    """Render the report of a written sweep of so many points in a process of its own."""
    begun = time.perf_counter()
    words = [sys.executable, "-m", "harness", "report", str(folder)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    size = (folder / "report.html").stat().st_size
    return Rendering(points, took, used.ru_utime + used.ru_stime, size, used.ru_maxrss * 1024)

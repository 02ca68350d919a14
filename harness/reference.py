"""The float32 reference of a point: the same models, text and seed on onnxruntime, kept."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import accuracy, results, store
from harness.errors import HarnessError
from harness.plan import REFERENCE_BACKEND as BACKEND
from harness.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.measure import Job

QUANT = "force_float32"
OPTIONS = {"graph": "contract"}
"""The files as they are: what a backend makes of them is judged too."""
ARRAYS, FACTS = "outputs.npz", "facts.json"
OTHER_SEED = 1
"""Added to a seed for the distance between two seeds."""


def outputs(job: Job, plan: Mapping[str, Any], *, other_seed: bool = False) -> accuracy.Outputs:
    """Return what the reference makes of a point, from the cache or from a worker of its own.

    Args:
        job: the point.
        plan: its pipeline on the float32 models.
        other_seed: draw dropout and noise anew.

    Raises:
        UsageError, WorkerError: the reference cannot run.
        OSError: its outputs cannot be kept.
    """
    seed = job.seed + OTHER_SEED * other_seed
    inputs, _ = job.prepare()
    models = [one["model"]["sha256"] for one in plan["stages"]]
    glue = [one["glue"] for one in plan["stages"]]
    version = metadata.version(BACKEND)
    key = hashlib.sha256(
        results.canonical([models, glue, inputs, seed, version, OPTIONS])
    ).hexdigest()[:24]
    folder = store.cache_folder() / "references" / key
    if not (folder / FACTS).is_file():
        _make(folder, job, plan, inputs, seed)
    facts = json.loads((folder / FACTS).read_bytes())
    return read(folder / ARRAYS, facts["sizes"]["steps"], job.hop_samples)


def _make(
    folder: Path, job: Job, plan: Mapping[str, Any], inputs: Mapping[str, Any], seed: int
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder.parent) as temporary:
        made = Path(temporary, "reference")
        made.mkdir()
        patience = job.patience_s()
        with Worker(log=Path(temporary, "log")) as worker:
            worker.ask("probe", patience, backend=BACKEND, options=OPTIONS, device="0")
            shared = {"plan": plan, "quant": QUANT}
            compiled = worker.ask(
                "compile", patience, cache_dir=str(job.cache), patience_s=patience, **shared
            )["stages"]
            artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
            worker.ask("load", patience, seed=seed, artefacts=artefacts, **shared)
            found = worker.ask(
                "verify",
                patience,
                inputs=inputs,
                outputs=list(job.outputs),
                path=str(made / ARRAYS),
            )
        (made / FACTS).write_text(json.dumps({"sizes": found["sizes"], "seed": seed}) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)


def check(
    job: Job,
    plan: Mapping[str, Any],
    limits: Mapping[str, float | None],
    process: Mapping[str, Any],
    *,
    same_draws: bool,
) -> dict[str, Any]:
    """Return the accuracy record of a point whose first process has run.

    Args:
        job: the point.
        plan: its pipeline on the float32 models.
        limits: the largest distances that pass.
        process: the record of the first process.
        same_draws: the point draws the reference's random numbers.
    """
    try:
        exact = outputs(job, plan)
        seeds = None
        if not same_draws:
            seeds = accuracy.distances(exact, outputs(job, plan, other_seed=True))
        steps = process["golden_sizes"]["steps"]
        found = read(job.golden_file, steps, job.hop_samples)
        return accuracy.judged(accuracy.distances(exact, found), limits, seeds)
    except (HarnessError, OSError, KeyError, ValueError) as error:
        return accuracy.not_checked(f"{type(error).__name__}: {error}".splitlines()[0])


def read(path: Path, steps: int, hop: int) -> accuracy.Outputs:
    """Return the outputs of one pass from the file its worker wrote."""
    with np.load(path) as arrays:
        return accuracy.Outputs(
            lengths=arrays["mel_lengths_t"].ravel(),
            steps=steps,
            mel=arrays["mel_outputs_postnet"],
            audio=arrays.get("audio"),
            hop=hop,
        )

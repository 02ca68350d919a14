"""The float32 reference of a point: the same models, text and seed on onnxruntime, kept."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
import zlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import files
from harness.analysis import accuracy
from harness.errors import HarnessError, WorkerError
from harness.machine import signature
from harness.models import store
from harness.models.pipeline import ALIGNMENTS
from harness.planning.planner import REFERENCE_BACKEND as BACKEND
from harness.records import identity
from harness.workers.worker import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.planning.job import Job

    Notify = Callable[[str], None]


QUANT = "force_float32"
NO_ALIGNMENTS = (
    f"the decoder's file keeps them inside its Loop, as the exporter writes it: it has no output "
    f"'{ALIGNMENTS.name}'"
)
OPTIONS = {"graph": "contract"}
"""The files as they are: what a backend makes of them is judged too."""
ARRAYS, FACTS = "outputs.npz", "facts.json"
FORMAT = 2
"""Of what is kept."""
FAULTS = (
    HarnessError, files.DamagedError, OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile,
    zlib.error, metadata.PackageNotFoundError,
)  # fmt: skip
"""What may keep a check from being made: workers, disks and files."""
OTHER_SEED = 1
"""Added to a seed for the distance between two seeds."""


def outputs(
    job: Job, plan: Mapping[str, Any], notify: Notify, *, other_seed: bool = False
) -> accuracy.SavedOutputs:
    """Return what the reference makes of a point, from the cache or from a worker of its own.

    Args:
        job: the point.
        plan: its pipeline on the float32 models.
        notify: told what was damaged and is made again.
        other_seed: draw dropout and noise anew.

    Raises:
        UsageError, WorkerError: the reference cannot run.
        OSError: its outputs cannot be kept.
        DamagedError: they are not what was written, however often they are made.
    """
    seed = job.seed + OTHER_SEED * other_seed
    inputs, _ = job.prepare()
    models = [one["model"]["sha256"] for one in plan["stages"]]
    glue = [one["glue"] for one in plan["stages"]]
    version = metadata.version(BACKEND)
    arithmetic = signature.here().record()["vector_flags"]
    key = hashlib.sha256(
        identity.canonical([FORMAT, models, glue, inputs, seed, version, OPTIONS, arithmetic])
    ).hexdigest()[:24]
    folder = store.cache_folder() / "references" / key
    store.use(folder)
    try:
        if (found := _kept(folder, job.hop_samples)) is not None:
            return found
    except files.DamagedError as error:
        notify(f"float32 reference: {error}: made again")
    _make(folder, job, plan, inputs=inputs, seed=seed, notify=notify)
    found = _kept(folder, job.hop_samples)
    if found is None:
        raise files.DamagedError(f"{folder} is gone as soon as it is made; is the disk sound?")
    return found


def _kept(folder: Path, hop: int) -> accuracy.SavedOutputs | None:
    """Return the outputs in the cache, None when there are none.

    Raises:
        DamagedError: they are not what was written.
    """
    if not os.path.lexists(folder):
        return None
    facts = files.read_sealed(folder / FACTS)
    if facts is None:
        raise files.DamagedError(f"{folder / FACTS} is missing")
    try:
        whole = files.sha256(folder / ARRAYS) == facts["sha256"]
    except OSError as error:
        why = f"{folder / ARRAYS} cannot be read ({error.strerror})"
        raise files.DamagedError(why) from error
    if not whole:
        raise files.DamagedError(f"{folder / ARRAYS} does not match its hash")
    files.touch(folder / FACTS)
    return read(folder / ARRAYS, facts["sizes"]["steps"], hop)


def _make(
    folder: Path, job: Job, plan: Mapping[str, Any], *, inputs: Mapping[str, Any], seed: int,
    notify: Notify,
) -> None:  # fmt: skip
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder.parent) as temporary:
        made = Path(temporary, "reference")
        made.mkdir()
        patience = job.patience_s()
        with WorkerProcess(log=Path(temporary, "log")) as worker:
            worker.ask("probe", patience, backend=BACKEND, options=OPTIONS, device="0")
            shared = {"plan": plan, "quant": QUANT}
            compiled = worker.ask(
                "compile", patience, cache_dir=str(job.cache), patience_s=patience, **shared
            )
            for line in compiled.get("notes", ()):
                notify(line)
            store.use(*map(Path, compiled.get("files", ())))
            artefacts = {name: one["artefact"] for name, one in compiled["stages"].items()}
            worker.ask("load", patience, seed=seed, artefacts=artefacts, **shared)
            found = worker.ask(
                "verify",
                patience,
                inputs=inputs,
                outputs=list(job.outputs),
                path=str(made / ARRAYS),
            )
        facts = {"sizes": found["sizes"], "seed": seed, "sha256": files.sha256(made / ARRAYS)}
        files.write_sealed(made / FACTS, facts)
        files.put(made, folder)


def check(
    job: Job,
    plan: Mapping[str, Any],
    limits: Mapping[str, float | None],
    process: Mapping[str, Any],
    *,
    same_draws: bool,
    notify: Notify,
) -> dict[str, Any]:
    """Return the accuracy record of a point whose first process has run.

    Where the check itself fails, the record says so: the gate did not speak, and no sweep may end
    as if it had.

    Args:
        job: the point.
        plan: its pipeline on the float32 models.
        limits: the largest distances that pass.
        process: the record of the first process.
        same_draws: the point draws the reference's random numbers.
        notify: told what was damaged and is made again.
    """
    try:
        exact = outputs(job, plan, notify)
        seeds = None
        if not same_draws:
            seeds = accuracy.distances(exact, outputs(job, plan, notify, other_seed=True))
        steps = process["golden_sizes"]["steps"]
        found = read(job.golden_file, steps, job.hop_samples)
        distances = accuracy.distances(exact, found)
        missing = {} if distances["alignment"] is not None else {"alignment": NO_ALIGNMENTS}
        return {**accuracy.judged(distances, limits, seeds), "not_compared": missing}
    except FAULTS as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        cannot = isinstance(error, WorkerError) and error.kind == "unsupported"
        return accuracy.not_checked(reason, fault=not cannot)


def read(path: Path, steps: int, hop: int) -> accuracy.SavedOutputs:
    """Return the outputs of one pass from the file its worker wrote."""
    with np.load(path) as arrays:
        return accuracy.SavedOutputs(
            lengths=arrays["mel_lengths_t"].ravel(),
            steps=steps,
            mel=arrays["mel_outputs_postnet"],
            audio=arrays.get("audio"),
            hop=hop,
            alignments=arrays.get(ALIGNMENTS.name),
        )

"""What this machine can do at most: bytes read a second, and products computed a second.

The limits that a stage's time is held against (S. Williams, A. Waterman, D. Patterson, "Roofline",
CACM 52(4), 2009). Each is measured through the worker, as everything else is, in fresh processes.
Of a process the best call counts, as in STREAM (J. McCalpin): a limit is what is possible when
nothing disturbs. The interval is that of the mean over processes.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness import environment, fitness, statistics
from harness.errors import WorkerError
from harness.models import limits
from harness.precision import FLOATS, family
from harness.selfcheck import Progress
from harness.units import duration, significant, size
from harness.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.console import Console

TIMEOUT_S = 300.0
SEED = 1
WARM = 2
"""Calls before those that count."""


@dataclass(frozen=True)
class Form:
    """How much is run."""

    processes: int = 4
    iterations: int = 12


FORMS = {"short": Form(), "long": Form(processes=15, iterations=30)}


@dataclass(frozen=True)
class Way:
    """One way to have a product computed here: a backend, a mode, and a model."""

    backend: str
    quant: str
    product: limits.Product
    options: tuple[str, ...]
    """Names of the backend's option that sets its threads; none is set where it has none."""


_FLOAT, _INTEGER = limits.PRODUCTS
WAYS = (
    Way("onnxruntime", "force_float32", _FLOAT, ("intra_threads",)),
    Way("onnxruntime", "force_float32", _INTEGER, ("intra_threads",)),
    Way("openvino", "force_float32", _FLOAT, ("threads",)),
    Way("openvino", "force_float16", _FLOAT, ("threads",)),
)
"""Every kernel that is tried; of those that compute in one precision the fastest is the limit.

OpenVINO turns a product of integers without its own quantisation into one of floats.
"""


class Call(NamedTuple):
    """The best call of a process: what it did, in bytes or operations, and how long it took."""

    amount: float
    seconds: float


Calls = dict[Any, list[Call]]
"""By what was measured: one for each process."""


# --- running ---------------------------------------------------------------------------------


def run(form: Form, console: Console, stopped: Callable[[], bool]) -> dict[str, Any]:
    """Measure the limits; return the facts.

    Args:
        form: how much to run.
        console: gets the progress.
        stopped: whether the user wants to end it.

    Raises:
        WorkerError: memory cannot be read through a worker here.
        KeyboardInterrupt: `stopped` said so.
    """
    begun, started = time.monotonic(), datetime.now(UTC)
    cpus = _cpus()
    reads, threads = limits.reads(cpus), sorted({1, cpus})
    steps = form.processes * (1 + len(WAYS) * len(threads))
    progress = Progress(console, "roofline", steps, begun)
    bandwidth: Calls = {}
    arithmetic: Calls = {}
    missing: dict[Way, str] = {}
    with tempfile.TemporaryDirectory(prefix="harness-roofline-") as name:
        folder = Path(name)
        models = limits.write(folder)
        for number in range(1, form.processes + 1):

            def step(what: str, number: int = number) -> None:
                if stopped():
                    raise KeyboardInterrupt
                progress.step(f"{what}, process {number}/{form.processes}")

            step("reading")
            _read(reads, form, folder, bandwidth)
            for way in WAYS:
                for count in threads:
                    step(f"{way.backend} {way.product.operator}, threads: {count}")
                    if way in missing:
                        continue
                    try:
                        key, call = _multiply(way, count, form, (models, folder))
                    except WorkerError as error:
                        missing[way] = str(error)
                    else:
                        arithmetic.setdefault(key, []).append(call)
    return {
        "schema": {"name": "harness.roofline", "major": 1, "minor": 0},
        "started": started.isoformat(timespec="seconds"),
        "seconds": time.monotonic() - begun,
        "form": asdict(form),
        "host": fitness.host(),
        "kernel": environment.identity()["kernel"],
        "cpu": environment.identity()["cpu"],
        "cpus": cpus,
        "bandwidth": [
            {"working_set_bytes": one.working_set_bytes, "threads": one.threads,
             "unit": "B/s", **_estimate(calls)}
            for one, calls in bandwidth.items()
        ],
        "arithmetic": [
            {"precision": precision, "backend": backend, "version": version, "threads": count,
             "unit": "FLOP/s" if precision in FLOATS else "OP/s", **_estimate(calls)}
            for (precision, backend, version, count), calls in arithmetic.items()
        ],
        "missing": [
            {"backend": way.backend, "quant": way.quant, "operator": way.product.operator,
             "reason": reason}
            for way, reason in missing.items()
        ],
    }  # fmt: skip


def _cpus() -> int:
    """Return how many CPUs a worker may use, as a worker says it."""
    with Worker() as worker:
        probe = worker.ask("probe", TIMEOUT_S, backend="reading", options={}, device="0")
    return int(probe["device"]["facts"]["cpus"])


def _best(
    worker: Worker, plan: Mapping[str, Any], quant: str, form: Form, folder: Path
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the least seconds of each stage of a plan, and what each stage ran as."""
    compiled = worker.ask(
        "compile", TIMEOUT_S, plan=plan, quant=quant, cache_dir=str(folder / "compiled")
    )["stages"]
    artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
    loaded = worker.ask(
        "load", TIMEOUT_S, plan=plan, quant=quant, seed=SEED, artefacts=artefacts
    )["stages"]  # fmt: skip
    worker.ask("run", TIMEOUT_S, inputs=limits.INPUTS, count=WARM, start=0)
    ran = worker.ask("run", TIMEOUT_S, inputs=limits.INPUTS, count=form.iterations, start=WARM)
    least = {name: min(ran["columns"][f"{name}_ns"]) / 1e9 for name in compiled}
    return least, {name: stage["effective"] for name, stage in loaded.items()}


def _read(reads: Sequence[limits.Read], form: Form, folder: Path, found: Calls) -> None:
    with Worker() as worker:
        worker.ask("probe", TIMEOUT_S, backend="reading", options={}, device="0")
        least, _ = _best(worker, limits.reading(reads), "force_float32", form, folder)
    for one in reads:
        call = Call(one.working_set_bytes * one.passes, least[one.name])
        found.setdefault(one, []).append(call)


def _multiply(
    way: Way, threads: int, form: Form, files: tuple[Mapping[str, Mapping[str, Any]], Path]
) -> tuple[tuple[str, str, str, int], Call]:
    """Return (precision, backend, its version, threads) of a product, and its best call.

    Raises:
        WorkerError: the backend is not here or has no such kernel; the text says so.
    """
    models, folder = files
    with Worker() as worker:
        probe = worker.ask(
            "probe", TIMEOUT_S, backend=way.backend, options=dict.fromkeys(way.options, threads),
            device="0",
        )  # fmt: skip
        plan = limits.product(way.product, models)
        least, effective = _best(worker, plan, way.quant, form, folder)
    one = effective[way.product.name]
    if not one["verified"]:
        raise WorkerError(f"{way.backend}: what the product ran as is not known: {one['reason']}")
    precision = family(one["compute"])
    if precision is None:
        raise WorkerError(f"{way.backend}: the product ran in {one['compute']}, no one precision")
    key = (precision, way.backend, str(probe["runtime"]["version"]), threads)
    return key, Call(limits.product_operations(), least[way.product.name])


def _estimate(calls: Sequence[Call]) -> dict[str, Any]:
    found = statistics.ratio(
        [np.array([one.amount]) for one in calls], [np.array([one.seconds]) for one in calls]
    )
    return {
        "value": found.value,
        "ci95": None if found.ci is None else list(found.ci),
        "method": f"best call of each process; {found.method}",
        "processes": len(calls),
        "values": [one.amount / one.seconds for one in calls],
    }


# --- telling ---------------------------------------------------------------------------------


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the facts as a reader wants them."""
    for one in facts["bandwidth"]:
        yield (
            f"read      {size(one['working_set_bytes']):>9}  {_threads(one)}  "
            f"{_giga(one)}B/s"
        )  # fmt: skip
    for one in facts["arithmetic"]:
        what = "FLOP/s" if one["precision"] in FLOATS else "OP/s"
        yield (
            f"product   {one['precision']:>9}  {_threads(one)}  {_giga(one)}{what}"
            f"  {one['backend']} {one['version'].partition('-')[0]}"
        )
    for one in facts["missing"]:
        yield f"not here  {one['backend']} {one['quant']} {one['operator']}: {one['reason']}"
    yield (
        f"took {duration(facts['seconds'])}; {facts['form']['processes']} processes each; "
        f"host {facts['host']}, {facts['cpu']}, {facts['cpus']} CPUs, kernel {facts['kernel']}"
    )


def _threads(one: Mapping[str, Any]) -> str:
    return f"{one['threads']:>3} thread{'s' if one['threads'] > 1 else ' '}"


def _giga(one: Mapping[str, Any]) -> str:
    text = f"{significant(one['value'] / 1e9):>7} G"
    if one["ci95"] is None:
        return text
    low, high = (significant(end / 1e9) for end in one["ci95"])
    return f"{significant(one['value'] / 1e9):>7} [{low}, {high}] G"

"""What this machine can do at most: how fast it reads, and how fast it multiplies.

Both are measured as any point is: fresh workers, warm-up, result files. Reading is numpy's, from
each cache and from memory, on one core and on all. Products are those of the backends here, in
every mode they offer, so that a peak is what a runtime reaches and its precision is read back.

A limit is the rate of the quickest tenth of a process's passes, typical of several processes, with
the interval of a throughput (method, section 3.4): the process is the unit, as everywhere.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import files
from harness.analysis import estimates
from harness.analysis.series import Series
from harness.config.choices import Quant
from harness.config.measure import Measure
from harness.config.schema import Config, Model
from harness.errors import HarnessError, WorkerError
from harness.machine import environment, host, signature
from harness.measuring.sweep import quietly
from harness.planning import plugins
from harness.planning.planner import PlannedPoint
from harness.planning.point import make_point
from harness.studies import limit_workloads
from harness.studies.levels import Level, levels
from harness.units import duration, significant, size
from harness.workers.worker import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.measuring.listener import Listener
    from harness.models.pipeline import Pipeline


COMMAND = "python -m harness roofline"
SCHEMA = {"name": "harness.roofline", "major": 1, "minor": 1}
"""Since 1.1: `rates` of each process, and the `reason` where there is no interval."""
YARDSTICKS = {"calibration", "fake", limit_workloads.READING}
"""Backends that run no model."""
PROBE_TIMEOUT_S = 120.0
QUICKEST = 0.10
"""Share of a process's passes a limit is taken from."""
ONE_PROCESS = "one process has no interval: processes=5"


@dataclass(frozen=True)
class LimitsSize:
    """How much is run."""

    processes: int = 5
    iterations: int = 15


FORMS = {"short": LimitsSize(), "long": LimitsSize(processes=10, iterations=60)}


class YardstickPoint(PlannedPoint):
    """A yardstick, planned: it has no text."""

    def prepare(self) -> tuple[dict[str, Any], int]:
        """Return the inputs, which took no time."""
        return dict(limit_workloads.INPUTS), 0

    def _calibration(self) -> tuple[Mapping[str, Any], ...]:
        """Return what a build of integer precision may calibrate on: the same inputs."""
        return (dict(limit_workloads.INPUTS),) if "qint" in self.config.quant.value else ()


# --- running ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Yardstick:
    """One thing to measure: a point, and what it says of the machine."""

    name: str
    point: PlannedPoint
    levels: tuple[Level, ...] = ()
    """Of reading; none: a product."""


def _point(
    form: LimitsSize,
    pipeline: Pipeline,
    models: Mapping[str, Mapping[str, Any]],
    backend: Mapping[str, Any],
    quant: Quant = Quant.force_float32,
) -> YardstickPoint:
    measure = Measure(
        min_processes=1,
        max_processes=1,
        warmup_iters=2,
        num_iters=form.iterations,
        time_limit_s=None,
    )
    config = Config(
        backend={"python": None, **backend}, model=Model("none"), measure=measure, quant=quant
    )
    point = make_point(
        config,
        pipeline=pipeline.name,
        options={key: value for key, value in backend.items() if key != "name"},
        models={name: str(model["sha256"]) for name, model in models.items()},
    )
    return YardstickPoint(
        point=point,
        config=config,
        pipeline=pipeline,
        plan=pipeline.plan(models),
        models=models,
        weights=limit_workloads.WEIGHTS,
        probe={"available": True},
        skip=None,
    )


def _reading(form: LimitsSize, places: Sequence[Level]) -> Yardstick:
    """Return one point that reads every place, so that a process starts once for all of them.

    The larger come first: each then leaves in the caches what the next one reads.
    """
    ordered = sorted(places, key=lambda one: (one.threads, -one.size_bytes))
    reads = {
        one.stage: {"bytes": one.size_bytes, "threads": one.threads, "passes": one.passes}
        for one in ordered
    }
    backend = {"name": limit_workloads.READING}
    models = limit_workloads.reading_models(reads)
    point = _point(form, limit_workloads.reading(reads), models, backend)
    return Yardstick(limit_workloads.READING, point, tuple(places))


def _probe(name: str) -> Mapping[str, Any]:
    """Return what a backend says of itself; not available where it cannot be asked."""
    try:
        with WorkerProcess() as worker:
            return worker.ask("probe", PROBE_TIMEOUT_S, backend=name, options={}, device="0")
    except HarnessError as error:
        return {"available": False, "reason": str(error)}


def _products(form: LimitsSize, path: Path) -> tuple[list[Yardstick], list[dict[str, Any]]]:
    """Return a product for each mode of each backend that computes on this CPU, and what not."""
    models = limit_workloads.models(path, files.sha256(path))
    found, skipped = [], []
    for described in plugins.describe():
        name = described["name"]
        if name in YARDSTICKS:
            continue
        probe = _probe(name)
        if not probe["available"]:
            skipped.append({"backend": name, "quant": None, "reason": probe["reason"]})
            continue
        if probe["device"]["kind"] != "cpu":
            continue
        for quant, precision in probe["precisions"].items():
            reason = precision.get("skipped")
            if precision.get("form", "float32") != "float32":
                reason = f"computes as force_float32 does: {precision['note']}"
            if reason:
                skipped.append({"backend": name, "quant": quant, "reason": reason})
                continue
            point = _point(form, limit_workloads.product(), models, {"name": name}, Quant(quant))
            found.append(Yardstick(f"{name} {quant}", point))
    return found, skipped


def run(
    form: LimitsSize, folder: Path, console: Listener, stopped: Callable[[], bool]
) -> dict[str, Any]:
    """Measure the limits; return them. The result files stay in `folder`.

    The yardsticks take turns, so that a disturbance of some seconds meets a process of each.

    Args:
        form: how much to run.
        folder: where the result files go.
        console: gets the progress.
        stopped: whether the user wants to end it.

    Raises:
        WorkerError: reading does not run here.
        KeyboardInterrupt: `stopped` said so.
    """
    started = time.monotonic()
    file = folder / limit_workloads.PRODUCT_FILE
    limit_workloads.write_product(file)
    caches = environment.collect()["cpu"]["caches"]
    cpus = int(_probe(limit_workloads.READING)["device"]["facts"]["cpus"])
    reading = _reading(form, levels({} if "reason" in caches else caches, cpus))
    products, skipped = _products(form, file)
    wanted = [reading, *products]
    documents: dict[str, list[Mapping[str, Any]]] = {one.name: [] for one in wanted}
    total, done = len(wanted) * form.processes, 0
    for turn in range(form.processes):
        for place, one in enumerate(list(wanted)):
            if stopped():
                raise KeyboardInterrupt
            spent = time.monotonic() - started
            left = spent / done * (total - done) if done else None
            done += 1
            console.progress(done, total, "roofline", one.name, left)
            try:
                documents[one.name] += quietly(
                    [one.point], folder / f"{turn + 1}-{place + 1:02d}", COMMAND
                )
            except WorkerError as error:
                if one.levels:
                    raise
                name, quant = one.name.split()
                skipped.append({"backend": name, "quant": quant, "reason": str(error)})
                wanted.remove(one)
    file.unlink()
    return {
        "schema": SCHEMA,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": time.monotonic() - started,
        "form": asdict(form),
        "host": host.host(),
        "machine": signature.here().record(),
        "kernel": environment.kernel(),
        "cpus": cpus,
        "reading": [_read(one, documents[reading.name]) for one in reading.levels],
        "products": [_multiplied(one, documents[one.name]) for one in wanted if not one.levels],
        "skipped": skipped,
    }


def fastest(samples: Sequence[Any], amount: float) -> dict[str, Any]:
    """Return the rate of the quickest tenth of passes, with its interval over processes.

    Each process gives one figure, amount / its 10 % quantile (method, 3.2): what it can do while
    neighbours leave it alone. Rate and interval are those of a throughput (3.4) with that one
    figure for each process: P x amount / the sum of the quantiles, and t on the logs. A tenth of
    all passes together would not do: how many each process has among them differs so much that
    a quantile of three processes, corrected for it (3.2), has no interval.

    Args:
        samples: seconds of every steady pass, by process.
        amount: what each pass gets through.
    """
    quick = [estimates.quantile(np.sort(one), QUICKEST) for one in samples]
    found = estimates.ratio(
        [np.array([amount])] * len(quick), [np.array([seconds]) for seconds in quick]
    )
    several = len(quick) > 1
    return {
        "rate": found.value,
        "ci95": list(found.ci) if found.ci and several else None,
        "reason": found.reason if several else ONE_PROCESS,
        "rates": [amount / seconds for seconds in quick],
        "n": sum(len(one) for one in samples),
        "processes": len(quick),
    }


def _samples(documents: Sequence[Mapping[str, Any]], stage: str) -> list[Any]:
    """Return the steady seconds of a stage's model, one array for each process."""
    return [one for document in documents for one in Series(document).seconds(f"{stage}_execute")]


def _read(one: Level, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rate = fastest(_samples(documents, one.stage), one.amount)
    return {**asdict(one), "bytes_per_s": rate.pop("rate"), **rate}


def _multiplied(one: Yardstick, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    effective = documents[0]["settings"]["effective"][limit_workloads.PRODUCT]
    rate = fastest(_samples(documents, limit_workloads.PRODUCT), limit_workloads.PRODUCT_MACS)
    backend, quant = one.name.split()
    return {
        "backend": backend,
        "quant": quant,
        "runtime": documents[0]["settings"]["runtime"],
        "compute": effective["compute"],
        "storage": effective["storage"],
        "verified": effective["verified"],
        "threads": documents[0]["settings"].get("threads"),
        "macs_per_s": rate.pop("rate"),
        **rate,
    }


# --- showing ---------------------------------------------------------------------------------


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the limits as a reader wants them."""
    for one in facts["reading"]:
        yield (
            f"reads     {one['level']:<18} {_rate(one, 'bytes_per_s', 1e9)} GB/s "
            f"({size(one['size_bytes'])} again and again)"
        )
    for one in facts["products"]:
        sure = "" if one["verified"] else " (not verified)"
        yield (
            f"products  {one['compute']:<18} {_rate(one, 'macs_per_s', 0.5e9)} GFLOP/s "
            f"({one['backend']} {one['quant']}{sure})"
        )
    for one in facts["skipped"]:
        mode = f" {one['quant']}" if one["quant"] else ""
        yield f"no        {one['backend']}{mode}: {one['reason']}"
    yield (
        "rates of the quickest tenth of each process's passes, 95 % intervals over processes; "
        f"took {duration(facts['seconds'])}; machine {facts['host']}, kernel {facts['kernel']}"
    )


def _rate(one: Mapping[str, Any], key: str, unit: float) -> str:
    interval = one["ci95"]
    within = one.get("reason") or "no interval"
    if interval:
        within = f"{significant(interval[0] / unit)} – {significant(interval[1] / unit)}"
    return f"{significant(one[key] / unit):>7} ({within})"

"""Requests on a schedule: capacity, arrivals, and serving them in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.analysis import estimates, requests
from harness.config.scenario import Kind
from harness.measuring.columns import append
from harness.units import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.measuring.listener import Progress
    from harness.measuring.outcome import Outcome
    from harness.planning.job import Job
    from harness.workers.worker import WorkerProcess

CAPACITY_ITERATIONS = 10
"""Iterations from which a process learns what it can do, before a schedule."""
PATIENCE = 3.0
"""How much longer than expected a schedule may take before its worker counts as hung."""
NS = 1e9


def serve(worker: WorkerProcess, job: Job, outcome: Outcome, progress: Progress) -> None:
    """Run the requests of a schedule in one go: nothing may come between them."""
    record, measure, scenario = outcome.record, job.measure, job.scenario
    inputs, pre_ns = job.prepare()
    record["columns"]["scheduled_ns"] = list(record["columns"].get("start_ns", ()))
    start = len(record["columns"]["scheduled_ns"])
    progress.tell("measuring capacity")
    each_s = _each_s(worker, job, inputs, start)
    if scenario.kind is Kind.offline:
        schedule = [0] * measure.num_iters
    else:
        rate = scenario.rate or (scenario.load or 0.0) / each_s
        percentiles = [percent / 100 for percent in measure.percentiles]
        least = max(map(estimates.needed, percentiles), default=1)
        seed = f"{job.seed} {record['index']}"
        schedule = requests.poisson(rate, least, scenario.seconds, seed)
        record["arrivals"] = {"rate_per_s": rate, "seed": seed, "count": len(schedule)}
    length_s = max(schedule[-1] / NS, len(schedule) * each_s)
    progress.tell(f"serving {len(schedule)} requests, about {duration(length_s)}")
    patience = measure.call_timeout_s + PATIENCE * length_s
    answer = worker.ask(
        "run", patience, inputs=inputs, count=len(schedule), start=start, schedule_ns=schedule
    )
    append(record, answer, *[pre_ns] * len(schedule))


def _each_s(worker: WorkerProcess, job: Job, inputs: Mapping[str, Any], start: int) -> float:
    """Return the seconds of a request when one follows the other."""
    answer = worker.ask(
        "run", job.measure.call_timeout_s, inputs=inputs, count=CAPACITY_ITERATIONS, start=start
    )
    total_ns: int = sum(answer["columns"]["latency_ns"])
    return max(1e-9, total_ns / CAPACITY_ITERATIONS / NS)

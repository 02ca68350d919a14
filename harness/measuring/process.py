"""Measures one point: fresh worker processes, warm-up, timed iterations in blocks, the stop rule.

The unit of replication is the process (measurement method, rule 2). The controller decides
between blocks of iterations, so the stop rule and the progress line never share a process with
the timed code.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from harness.config.scenario import Kind
from harness.errors import UsageError, WorkerError, WorkerTimeoutError
from harness.measuring.columns import append
from harness.measuring.outcome import Outcome
from harness.measuring.serving import serve
from harness.models import store
from harness.workers.telemetry import Sampler, look
from harness.workers.worker import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.measuring.gate import Gate
    from harness.measuring.listener import Progress
    from harness.planning.job import Job


CHUNK_S = 2.0
"""Seconds of iterations asked for at once: long enough to leave the worker alone."""
OVERHEAD_ITERATIONS = 1000
WAITING_S = 0.1
"""Seconds of iterations asked for at once while other devices still have some to do."""
LONGEST_LOG_BYTES = 1 << 21
LEAST_STEADY = 1
"""Steady iterations a process measures even when its time is already over."""


def run_process(
    job: Job,
    *,
    index: int,
    block: int,
    order: int,
    epoch_ns: int,
    seconds: float | None,
    progress: Progress,
    deadline_s: float | None = None,
    gate: Gate | None = None,
) -> Outcome:
    """Start a fresh worker, measure in it, end it; never raise for what a worker does.

    Args:
        job: the point.
        index: number of the process within the point, from 1.
        block: number of the block, from 1.
        order: place within the block, from 1.
        epoch_ns: when the trial started, on the monotonic clock.
        seconds: the time this process may take, from its start; None for no limit.
        progress: the terminal.
        deadline_s: after so many seconds the worker is killed, whatever it is doing; None: never.
        gate: where the workers of several devices wait for each other.
    """
    started = time.monotonic_ns()
    deadline = None if seconds is None else started + int(seconds * 1e9)
    record: dict[str, Any] = {
        "index": index,
        "block": block,
        "order": order,
        "device": job.device,
        "seed": job.seed,
        "start_offset_ns": started - epoch_ns,
        "hash_seed": secrets.randbelow(2**32),
        "warmup": job.measure.warmup_iters,
        "columns": {},
        "glue": {},
        "work": {},
        "causes": {},
        "counters": {},
    }
    outcome = Outcome(record)
    device = f"-device-{job.device}" if gate else ""
    log = job.folder / f"process-{index}{device}.log"
    try:
        with log.open("a", encoding="utf-8") as heading:  # an earlier session may have written
            heading.write(f"# {job.label}\n")
        with WorkerProcess(
            job.interpreter,
            log=log,
            environment={"PYTHONHASHSEED": str(record["hash_seed"])},
        ) as worker:
            progress.started(worker.pid)
            if deadline_s is not None:
                worker.deadline = started / 1e9 + deadline_s
            with gate.turn if gate else contextlib.nullcontext():
                _set_up(worker, job, outcome, progress)
            with _telemetry(worker, job, record):
                _iterate(worker, job, outcome, deadline, progress, gate=gate)
                if job.scenario.kind is not Kind.single_stream and outcome.state == "ok":
                    serve(worker, job, outcome, progress)
            record["closing"] = worker.close()
    except WorkerTimeoutError as error:
        outcome.state, outcome.reason = "timeout", str(error) + _endless(job)
    except WorkerError as error:
        outcome.state = "skipped" if error.kind == "unsupported" else "failed"
        outcome.reason = str(error)
    except (UsageError, OSError) as error:
        # The plan has probed with the same options, so this is new: the point's, not the sweep's.
        outcome.state, outcome.reason = "failed", str(error)
    finally:
        if gate:
            gate.leave(job.device)
    _shorten(log)
    if outcome.reason and outcome.state != "interrupted":
        record["error"] = outcome.reason
    return outcome


def _endless(job: Job) -> str:
    if not job.unlimited:
        return ""
    return (
        f"; the Loop of the {', '.join(job.unlimited)} has no trip limit and may never end; raise "
        "measure.loop_limit_s, or write the files with python -m harness export"
    )


@contextlib.contextmanager
def _telemetry(worker: WorkerProcess, job: Job, record: dict[str, Any]) -> Iterator[None]:
    """Look at the device before and after what is inside, and during it where that was asked."""
    told = record["telemetry"] = {"before": look(worker)}
    period_s = job.measure.telemetry_s
    if period_s is None:
        yield
    else:
        sampler = Sampler(job.interpreter, job.backend, job.options, job.device, period_s)
        try:
            with sampler:
                yield
        finally:
            told["during"] = sampler.record()
    told["after"] = look(worker)


def _set_up(worker: WorkerProcess, job: Job, outcome: Outcome, progress: Progress) -> None:
    record, patience = outcome.record, job.patience_s()
    record["pid"] = worker.greeting.get("pid", worker.pid)
    record["interpreter"] = f"{worker.greeting['implementation']} {worker.greeting['python']}"
    record["start_ns"] = worker.start_ns
    record["clock_epoch_ns"] = worker.greeting.get("epoch_ns")
    probe = worker.ask(
        "probe",
        patience,
        backend=job.backend,
        options=job.options,
        device=job.device,
        beside=list(job.devices),
    )
    if probe.get("virtual_clock"):
        record["clock_epoch_ns"] = 0  # every worker's clock starts at 0
    if not probe["available"]:
        raise WorkerError(str(probe["reason"]), kind="unsupported")
    progress.tell("building")
    inputs, pre_ns = job.prepare()
    answer = worker.ask(
        "compile",
        patience,
        plan=job.plan,
        quant=job.quant,
        cache_dir=str(job.cache),
        calibration=list(job.calibration),
        expected=_sizes(job.plan, inputs),
        patience_s=patience,
        thorough=record["index"] == 1,
    )
    for line in answer.get("notes", ()):
        progress.notice(line)
    compiled = answer["stages"]
    record["compile_ns"] = sum(stage["compile_ns"] for stage in compiled.values())
    record["compile_cached"] = all(stage["cached"] for stage in compiled.values())
    progress.tell("loading")
    artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
    paths = [str(path) for path in artefacts.values()]
    store.note_compiled(job.artefacts, paths, [*paths, *answer.get("files", ())])
    loaded = worker.ask(
        "load", patience, plan=job.plan, quant=job.quant, seed=job.seed, artefacts=artefacts
    )
    record["load_ns"] = sum(stage["load_ns"] for stage in loaded["stages"].values())
    outcome.settings = {
        "effective": {name: stage["effective"] for name, stage in loaded["stages"].items()},
        "runtime": probe["runtime"],
        "device": probe["device"],
        "options": probe["options"],
        "threads": loaded.get("threads"),
        "virtual_clock": bool(probe.get("virtual_clock")),
        "artefacts": {
            name: {key: stage[key] for key in ("key", "cached") if key in stage}
            for name, stage in compiled.items()
        },
    }
    record["overhead"] = worker.ask(
        "overhead", patience, stages=len(job.plan["stages"]), count=OVERHEAD_ITERATIONS
    )
    progress.tell("first pass")
    keeping = record["index"] == 1 and job.first
    golden_file = job.golden_file if keeping else None
    golden = worker.ask(
        "verify",
        patience,
        inputs=inputs,
        outputs=list(job.outputs),
        path=None if golden_file is None else str(golden_file),
    )
    record["first_ns"] = golden["first_ns"]
    record["golden"], record["golden_sizes"] = golden["outputs"], golden["sizes"]
    if job.measure.warmup_iters:
        append(record, golden, pre_ns)  # an iteration as any other: the first to warm up
    broken = [name for name, facts in golden["outputs"].items() if not facts["finite"]]
    if broken:
        raise WorkerError(f"output check failed: {', '.join(broken)} holds NaN or infinity")


def _sizes(plan: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes that inputs give to a plan's symbols: those that will run."""
    found: dict[str, int] = {}
    for tensor in plan["inputs"]:
        values = inputs[tensor["name"]]
        for size in tensor["dims"]:
            if isinstance(size, str):
                found[size] = len(values)
            values = values[0]
    return found


def _iterate(
    worker: WorkerProcess,
    job: Job,
    outcome: Outcome,
    deadline: int | None,
    progress: Progress,
    *,
    gate: Gate | None,
) -> None:
    record, wanted = outcome.record, job.measure.warmup_iters + job.measure.num_iters
    inputs, _ = job.prepare()
    warmup = job.measure.warmup_iters
    done, each_s = min(1, warmup), max(record["first_ns"], 1) / 1e9
    if job.scenario.kind is not Kind.single_stream:
        wanted = warmup
    while done < wanted or (gate and gate.others_run(job.device)):
        if gate and done == warmup:
            gate.start()
        if done < warmup:
            progress.tell(f"warm-up {done}/{warmup}")
        else:
            progress.tell(f"measuring {done - warmup}/{wanted - warmup}")
        phase_end = warmup if done < warmup else wanted
        chunk_s = CHUNK_S if done < wanted else WAITING_S
        count = max(1, int(chunk_s / each_s))
        if done < wanted:
            count = min(count, phase_end - done)
        answer = worker.ask(
            "run",
            job.patience_s(count),
            inputs=inputs,
            count=count,
            start=done,
            collect_every=job.measure.rules.collect_every,
        )
        append(record, answer, *(job.prepare()[1] for _ in range(answer["count"])))
        done += answer["count"]
        each_s = sum(answer["columns"]["latency_ns"]) / len(answer["columns"]["latency_ns"]) / 1e9
        each_s = max(each_s, 1e-9)
        if progress.stopped() and done < wanted:
            outcome.state, outcome.reason = "interrupted", "interrupted by the user"
            record["interrupted"] = True
            return
        late = deadline is not None and time.monotonic_ns() + each_s * 1e9 > deadline
        if late and done >= warmup + LEAST_STEADY:
            outcome.cut_short |= done < wanted
            wanted = min(wanted, done)  # the end, unless another device still runs


def _shorten(log: Path) -> None:
    """Keep the beginning and the end of a log that a talkative runtime has flooded."""
    with contextlib.suppress(OSError):
        total = log.stat().st_size
        if total <= LONGEST_LOG_BYTES:
            return
        half = LONGEST_LOG_BYTES // 2
        with log.open("rb") as stream:
            head = stream.read(half)
            stream.seek(-half, os.SEEK_END)
            tail = stream.read()
        log.write_bytes(head + f"\n# {total - 2 * half} bytes left out\n".encode() + tail)

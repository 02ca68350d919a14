"""What a sweep is going to do before it does it: each point's fate, its time and its disk space."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import regular
from harness.models import store
from harness.planning import resume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from harness.planning.planner import PlannedPoint


COLUMN_BYTES = 9
"""Of one integer in a result file, with its comma."""
COLUMNS = 14
"""Of an iteration, beside two for each stage."""
PROCESS_BYTES = 8 << 10
"""Of a process besides its iterations: golden facts, counters, its log."""
TRIAL_BYTES = 48 << 10
"""Of a trial besides its processes: settings, environment, summary."""
MEL_CHANNELS, FLOAT_BYTES = 80, 4
LEAST_FRAMES, FRAMES_PER_CHARACTER = 32, 4.75
REPORT_BYTES = 1 << 20


@dataclass(frozen=True)
class Forecast:
    """What is expected of one point."""

    planned: PlannedPoint
    fate: str
    """What will be done with it, in words."""
    to_measure: bool
    cached: bool
    """Its compiled artefacts are all there."""
    seconds: float | None
    """Expected; None when nothing bounds it."""
    measured_before: bool
    """The time rests on an earlier trial of this point; otherwise it is the profile's limit."""
    size_bytes: int


@dataclass(frozen=True)
class Total:
    """What is expected of all points together."""

    seconds: float | None
    is_bound: bool
    """At least one time is a limit, not an expectation."""
    size_bytes: int
    free_bytes: int


def forecast(
    points: Sequence[PlannedPoint], outputs: Path, folder: Path | None, *, retry: bool
) -> list[Forecast]:
    """Return what is expected of each point; reads files and changes none.

    Args:
        points: the points, in order.
        outputs: where earlier sweeps lie.
        folder: the sweep that is continued, if any.
        retry: failed points are measured again.
    """
    return [_one(point, outputs, folder, retry=retry) for point in points]


def _one(point: PlannedPoint, outputs: Path, folder: Path | None, *, retry: bool) -> Forecast:
    place = None if folder is None else folder / "points" / point.point.folder
    state, done = resume.progress(place, retry=retry)
    settings = point.config.measure
    fate, open_ = "to measure", True
    if state is not None:
        fate, open_ = f"done ({state})", False
    elif point.skip:
        fate, open_ = f"skipped: {point.skip}", False
    elif done:
        fate = f"continues after {done} processes"
    missing = max(1, settings.min_processes - done) if open_ else 0
    earlier = _earlier(point, outputs) if open_ else None
    limit = settings.time_limit_s
    if limit is not None:
        limit *= missing / settings.min_processes
    seconds: float | None = 0.0 if not open_ else limit
    if earlier is not None:
        expected = missing * _process_seconds(earlier, settings.warmup_iters + settings.num_iters)
        seconds = expected if limit is None else min(limit, expected)
    return Forecast(
        planned=point,
        fate=fate,
        to_measure=open_,
        cached=store.is_compiled(point.artefacts),
        seconds=seconds,
        measured_before=earlier is not None,
        size_bytes=_size(point, missing) if open_ else 0,
    )


def total(rows: Sequence[Forecast], outputs: Path) -> Total:
    """Return the sums, and the room there is."""
    place = outputs.resolve()
    while not place.exists():
        place = place.parent
    seconds: float | None = 0.0
    for row in rows:
        seconds = None if seconds is None or row.seconds is None else seconds + row.seconds
    return Total(
        seconds,
        any(row.to_measure and not row.measured_before for row in rows),
        sum(row.size_bytes for row in rows) + REPORT_BYTES,
        shutil.disk_usage(place).free,
    )


def _earlier(point: PlannedPoint, outputs: Path) -> Mapping[str, Any] | None:
    """Return the latest trial of the same point in any sweep here that has processes."""
    paths = outputs.glob(f"*/points/*-{point.point.id}/*.json*")
    for path in sorted(paths, key=lambda one: one.name, reverse=True):
        with contextlib.suppress(OSError, EOFError, ValueError, KeyError):
            raw = regular.read(path)
            document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
            if document["processes"] and document["status"]["state"] == "ok":
                found: Mapping[str, Any] = document
                return found
    return None


def _process_seconds(document: Mapping[str, Any], iterations: int) -> float:
    """Return the seconds of one process: its fixed part as before, and its iterations."""
    processes = document["processes"]
    each = document["method"]["spent_s"] / len(processes)
    if document["settings"].get("virtual_clock"):
        return float(each)
    latencies = [value for one in processes for value in one["columns"]["latency_ns"]]
    mean_s = sum(latencies) / len(latencies) / 1e9
    fixed = max(0.0, each - mean_s * len(latencies) / len(processes))
    return float(fixed + mean_s * iterations)


def _size(point: PlannedPoint, processes: int) -> int:
    config, stages = point.config, len(point.pipeline.stages)
    iterations = config.measure.warmup_iters + config.measure.num_iters
    columns = COLUMNS + 2 * stages
    frames = max(LEAST_FRAMES, round(FRAMES_PER_CHARACTER * config.il))
    golden = 2 * config.bs * frames * MEL_CHANNELS * FLOAT_BYTES
    if config.waveglow:
        golden += config.bs * frames * point.pipeline.audio.hop_samples * FLOAT_BYTES
    each = PROCESS_BYTES + iterations * columns * COLUMN_BYTES
    return TRIAL_BYTES + golden + processes * each

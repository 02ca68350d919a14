"""A sweep over many machines: one job of Hydra's launcher per point, results in one folder.

Scheduling is the launcher's. A job measures its point as a sweep of one does, under a lock of the
point's folder, and returns the result file; where the folder is shared it is there already.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig

from harness import files, regular, streams
from harness.config import choices, schema
from harness.errors import HarnessError
from harness.measuring import restore
from harness.measuring.listener import Nobody
from harness.measuring.sweep import Session, Sweep
from harness.plain_text import file_name
from harness.planning import resume
from harness.planning.planner import Planner
from harness.planning.point import as_stored, beside_facts
from harness.planning.resume import LOST
from harness.records import sweep_folder
from harness.workers.device_lock import VISIBLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omegaconf import DictConfig

    from harness.measuring.trial import Trial
    from harness.planning.launchers import Fleet


POLL_S = 1.0
SLURM_GPUS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")


@dataclass(frozen=True)
class Done:
    """What a job returns: its result file, by name and content, or why there is none."""

    file: str | None = None
    content: bytes = field(default=b"", repr=False)
    reason: str | None = None


def task(composed: DictConfig) -> Done:
    """Measure one point on the machine this runs on. The function every launcher calls."""
    for name in SLURM_GPUS:
        if os.environ.get(name):
            os.environ.setdefault(VISIBLE, os.environ[name])
    try:
        return _measure(schema.typed(composed), Path(HydraConfig.get().sweep.dir))
    except HarnessError as error:
        return Done(reason=str(error))


def _measure(config: schema.Config, folder: Path) -> Done:
    streams.make_lasting()
    nobody = Nobody()  # results are shown by the sweep's own process
    facts = sweep_folder.facts(folder)
    points = [
        replace(one, point=as_stored(one.point, beside_facts(config), facts.get("points", ())))
        for one in Planner(nobody.notice).plan([config])
    ]
    asked = resume.asked(points, rounds=1, retry=config.retry is choices.Retry.failed)
    command = facts.get("command", "a job of a launcher")
    session = Session(command, [], asked, resume.anew(), alone=True)
    place = folder / "points" / points[0].point.folder
    place.mkdir(parents=True, exist_ok=True)
    with sweep_folder.Lock(place) as lock:
        session.worker = lock.worker
        sweep = Sweep(points, folder, nobody, session)
        sweep.measure()
        (trial,) = sweep.points
        for path in place.glob(f"{trial.trial_id}.json*"):
            return Done(path.name, path.read_bytes())
    return Done(reason=trial.reason or "no result file was written")


def measure(sweep: Sweep, fleet: Fleet, tell: Callable[[str], None]) -> None:
    """Have every unfinished point of a sweep measured by a job, and gather what they return."""
    jobs = []
    for point in sweep.points:
        point.folder.mkdir(parents=True, exist_ok=True)
        state, _ = resume.progress(point.folder, retry=sweep.session.asked.retry)
        if state is None:
            jobs.append(_Job(point, _files(point)))
        else:
            sweep.adopt(point)
    if jobs:
        tell(f"{len(jobs)} jobs are handed to the launcher")
        _collect(sweep, jobs, _Launch(fleet, sweep.folder.resolve(), jobs))
    if sweep.session.stopped():
        tell("the jobs go on without this command; the same command collects what they leave")


@dataclass(frozen=True)
class _Job:
    point: Trial
    before: set[str]
    """The result files of earlier sessions."""

    @property
    def ended(self) -> bool:
        """A new result file is there."""
        return bool(self.made)

    @property
    def made(self) -> set[str]:
        """The result files that are new."""
        return _files(self.point) - self.before


class _Launch(threading.Thread):
    """The launcher at work; this process can see to results and signals meanwhile."""

    def __init__(self, fleet: Fleet, folder: Path, jobs: Sequence[_Job]) -> None:
        super().__init__(daemon=True)
        self._fleet, self._folder = fleet, folder
        self._configs = [job.point.planned.config for job in jobs]
        self.returned: list[Any] = [None] * len(jobs)
        self.reason = "the launcher returned nothing for it"

    def run(self) -> None:
        try:
            self.returned = self._fleet.launch(self._folder, self._configs, task)
        except Exception as error:  # noqa: BLE001 - launchers raise what they like for a lost job
            self.reason = (str(error).strip().splitlines() or [type(error).__name__])[0]


def _collect(sweep: Sweep, jobs: Sequence[_Job], launch: _Launch) -> None:
    launch.start()
    waiting = dict(enumerate(jobs))
    while launch.is_alive() and not sweep.session.stopped():
        launch.join(POLL_S)
        for place, job in list(waiting.items()):
            if job.ended:
                _adopt(sweep, job)
                del waiting[place]
    if launch.is_alive():
        return
    for place, job in waiting.items():
        _gather(sweep, job, launch.returned[place], launch.reason)


def _files(point: Trial) -> set[str]:
    return {path.name for path in point.folder.glob("*.json*")}


def _gather(sweep: Sweep, job: _Job, returned: Any, reason: str) -> None:
    """Take what a job left in the folder or returned; else the point is lost."""
    done = getattr(returned, "_return_value", returned)
    if isinstance(done, Done) and done.file and not job.ended:
        sweep.ledger.note(done.content)
        path = job.point.folder / file_name(done.file, "a job's result file")
        files.write_whole(path, done.content, replace=False)
    if job.ended:
        _adopt(sweep, job)
        return
    said = done.reason if isinstance(done, Done) else done
    _lost(sweep, job.point, reason if said is None else str(said).strip().splitlines()[0])


def _adopt(sweep: Sweep, job: _Job) -> None:
    """Take a job's result over; the ledger of whoever started the job knows it from then on."""
    for name in sorted(job.made):
        sweep.ledger.note(regular.read(job.point.folder / name))
    sweep.adopt(job.point)


def _lost(sweep: Sweep, point: Trial, why: str) -> None:
    """Record a point whose job never came back, with the whole processes it left."""
    restore.restore(point, retry=True)
    point.stop_reason = LOST
    sweep.end(point, "failed", f"job lost: {why}")

"""One trial in the making: a point, the processes measured so far, and the document they become."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis import accuracy
from harness.analysis.series import Series
from harness.judging import complete
from harness.machine import device_limits, environment, host
from harness.measuring import reference, stopping, wav
from harness.models import work
from harness.models.work import CountError
from harness.records import identity
from harness.records.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.measuring.outcome import Outcome
    from harness.planning.job import Job
    from harness.planning.planner import PlannedPoint
    from harness.records.journal import Entry


ENDED = ("skipped", "failed", "timeout", "interrupted")


def now() -> dict[str, Any]:
    """Return this moment on both clocks: UTC for people, monotonic for differences."""
    utc = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"utc": utc, "monotonic_ns": time.monotonic_ns()}


@dataclass
class Trial:
    """One point while its sweep runs. What its processes measured is in its journal, not here."""

    planned: PlannedPoint
    number: int
    """Its place in the plan, from 1."""
    folder: Path
    trial_id: str = field(default_factory=identity.new_trial_id)
    done: int = 0
    """Processes kept in the journal."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the last worker said of itself: effective precision, runtime, device, options."""
    campaign: str | None = None
    """Name of the sweep: what is measured in one campaign shares its blocks."""
    state: str = "ok"
    reason: str | None = None
    stop_reason: str | None = None
    cut_short: bool = False
    """A process ended by the time limit before it had all its iterations."""
    spent_s: float = 0.0
    plan: stopping.PilotPlan | None = None
    """What the pilot said of the processes after it."""
    unmet: list[str] | None = None
    """Targets of the profile not met when last looked; None: nobody looked."""
    started: dict[str, Any] = field(default_factory=now)
    session: int = 0
    """Number of this session among those that measured the trial, from 1; 0: not begun yet."""
    wav: dict[str, Any] | None = None
    """The audio files written, and what writing took; None: not asked for."""
    accuracy: dict[str, Any] | None = None
    """How far the outputs are from the reference's; None: nobody looked."""

    @property
    def finished(self) -> bool:
        """True when no further process will be started."""
        return self.stop_reason is not None or self.state in ENDED

    @property
    def journal(self) -> Journal:
        """Where its finished processes are kept."""
        return Journal(self.folder, self.trial_id)

    @property
    def processes(self) -> list[dict[str, Any]]:
        """The processes measured so far, read from the journal."""
        return _records(self.journal.entries())

    def begin(self) -> None:
        """Note that this session measures the trial, before its first process here.

        Raises:
            OSError: the journal cannot be written.
        """
        if self.session:
            return
        started = now()
        session = {"started": started, **environment.session()}
        if self.journal.path.is_dir():
            head = self.journal.head()
            self.started = _same_clock(head, started)
            head["sessions"].append(session)
            self.session = len(head["sessions"])
            self.journal.amend(head)
            return
        self.started, self.session = started, 1
        self.journal.begin(self._head([session]))

    def _head(self, sessions: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "point_id": self.planned.point.id,
            "supersedes": None,
            "started": self.started,
            "before": environment.collect(),
            "sessions": sessions,
            **more,
        }

    def take_over(self, document: Mapping[str, Any], entries: Iterable[Entry]) -> None:
        """Start from the whole processes of an earlier document, which this trial supersedes."""
        self.started = document["started"]
        earlier = {"supersedes": document["trial_id"]}
        if document["environment"]["before"]:
            earlier["before"] = document["environment"]["before"]
        self.journal.begin(self._head(list(document.get("sessions", ())), **earlier), entries)
        self.take_up()

    def take_up(self) -> None:
        """Continue from the journal: count what it holds, but for a process that was cut off."""
        self.started = self.journal.head()["started"]
        for entry in list(self.journal.entries()):
            if entry["state"] == "interrupted":
                self.journal.remove(entry)
            else:
                self._count(entry)

    def keep(self, outcome: Outcome, spent_s: float) -> None:
        """Put a finished process into the journal.

        Raises:
            OSError: it cannot be written.
        """
        entry = {
            "record": {**outcome.record, "session": self.session},
            "beside": [{**one, "session": self.session} for one in outcome.beside],
            "settings": outcome.settings,
            "cut_short": outcome.cut_short,
            "spent_s": spent_s,
            "state": outcome.state,
            "reason": outcome.reason,
        }
        self.journal.add(entry)
        self._count(entry)

    def _count(self, entry: Entry) -> None:
        self.done += 1
        self.spent_s += entry["spent_s"]
        self.cut_short |= entry["cut_short"]
        self.settings = entry["settings"] or self.settings
        if entry["state"] != "ok":
            self.state, self.reason = entry["state"], entry["reason"]

    def job(self) -> Job:
        """Return what the next process is told."""
        job = self.planned.job(self.folder)
        if self.plan:
            job.measure = replace(job.measure, num_iters=self.plan.iterations)
        return job

    def write_audio(self) -> None:
        """Write one WAV per utterance where that was asked for; never inside a timed span."""
        planned, job = self.planned, self.job()
        if planned.config.wav and not self._computes_nothing():
            try:
                self.wav = wav.write(
                    job.golden_file, planned.order(), planned.pipeline.audio, job.slug
                )
            except (OSError, KeyError, ValueError) as error:
                # The times are measured already; they must not be lost with the audio.
                self.wav = {"files": [], "reason": f"not written: {error}".splitlines()[0]}

    def _computes_nothing(self) -> bool:
        effective = self.settings.get("effective", {})
        return bool(effective) and all(one["compute"] == "none" for one in effective.values())

    def hold_against_reference(self, notify: Callable[[str], None]) -> None:
        """Compare the outputs of the first process with the float32 reference's.

        Args:
            notify: told what was damaged and is made again.
        """
        planned, job = self.planned, self.job()
        settings = planned.config.accuracy
        if not settings.check:
            self.accuracy = accuracy.not_checked("accuracy.check=false")
        elif planned.exact_plan is None:
            self.accuracy = accuracy.not_checked("this workload has no reference")
        elif self._computes_nothing():
            self.accuracy = accuracy.not_checked("a scripted backend computes no outputs")
        else:
            self.accuracy = reference.check(
                job,
                planned.exact_plan,
                settings.limits(planned.config.quant),
                self.processes[0],
                same_draws=planned.same_draws,
                notify=notify,
            )

    def _series(self, processes: list[dict[str, Any]]) -> Series:
        """Return the steady samples of processes."""
        assessed = complete.assessed(self._method(), processes)
        return Series({"processes": assessed, "stages": [], "method": self._method()})

    def decide(self) -> None:
        """Say after a process whether the point is finished; plan the rest after the pilot."""
        settings = self.planned.config.measure
        if settings.plan_iters and self.plan is None and self.done >= settings.pilot_processes:
            # From the pilot alone, also when a later session looks, so that it plans the same.
            pilot = list(self.journal.entries())[: settings.pilot_processes]
            series = self._series(_records(pilot))
            spent_s = sum(entry["spent_s"] for entry in pilot)
            self.plan = stopping.plan(settings, series, spent_s)
        # Looking is not free, and before the fewest processes it could change nothing.
        looking = self.done >= settings.min_processes < settings.max_processes
        self.unmet = None
        if looking:
            self.unmet = stopping.unmet(self._series(self.processes), settings, self._items())
        self.stop_reason = stopping.should_stop(
            settings, done=self.done, spent_s=self.spent_s, precise=self.unmet == []
        )

    def _items(self) -> str:
        return f"{self.planned.pipeline.stages[-1].produces}_valid"

    def _method(self) -> dict[str, Any]:
        settings = self.planned.config.measure
        scenario = self.planned.config.scenario
        return {
            **asdict(settings),
            "profile": settings.profile.value,
            "scenario": {**asdict(scenario), "kind": scenario.kind.value},
        }

    def _counts(self, processes: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the work of each stage at the mean length decoded, or why it cannot be told."""
        frames = [
            value / self.planned.config.bs
            for process in processes
            for value in process["work"].get("mel_frames_padded", ())
        ]
        if not frames or self.settings.get("virtual_clock"):
            return {}
        point = self.planned.config
        sizes = {"batch": point.bs, "text": point.il, "frames": round(sum(frames) / len(frames))}
        found: dict[str, Any] = {}
        for stage in self.planned.pipeline.stages:
            model = self.planned.models[stage.name]
            try:
                made = work.count(Path(model["path"]), stage, sizes, str(model["sha256"]))
                found[stage.name] = made.as_dict()
            except CountError as error:
                found[stage.name] = {"reason": str(error)}
        return found

    def document(self, command: str) -> dict[str, Any]:
        """Return the result document (docs/result-file.md) of what has been measured."""
        planned, config = self.planned, self.planned.config
        pipeline = planned.pipeline
        head = self.journal.head() if self.journal.path.is_dir() else {}
        processes = self.processes
        before = head.get("before", {}) if processes else {}
        after = environment.collect() if processes else {}
        return complete.complete(
            {
                "trial_id": self.trial_id,
                "supersedes": head.get("supersedes"),
                "campaign": {"id": self.campaign, "side": planned.side.value},
                "point": planned.point.record,
                "status": {"state": self.state, "reason": self.reason},
                "accuracy": self.accuracy or accuracy.not_checked("the point did not end well"),
                "wav": self.wav,
                "weights": dict(planned.weights),
                "started": self.started,
                "ended": now(),
                "sessions": head.get("sessions", []),
                "settings": {
                    "effective": {},
                    "runtime": planned.probe.get("runtime"),
                    "device": planned.probe.get("device"),
                    **self.settings,
                    # Last: no worker and no journal says what this command asked for.
                    "requested": {
                        "quant": config.quant.value,
                        "options": {k: v for k, v in config.backend.items() if v is not None},
                    },
                },
                "models": {name: dict(model) for name, model in planned.models.items()},
                "counts": self._counts(processes),
                "limits": device_limits.quoted(
                    self.settings.get("device") or planned.probe.get("device"), host.roofline()
                ),
                "environment": {
                    "before": before,
                    "after": after,
                    "changed": environment.differences(before, after) if after else [],
                },
                "method": {
                    **self._method(),
                    "plan": asdict(self.plan) if self.plan else None,
                    "unmet": self.unmet,
                    "processes": len(processes),
                    "confidence": 0.95,
                    "cut_short": self.cut_short,
                    "spent_s": self.spent_s,
                    "stop_reason": self.stop_reason,
                },
                "items": {items.name: items.label for items in pipeline.items},
                "stages": [
                    {
                        "name": stage.name,
                        "produces": stage.produces,
                        "step_limit": stage.loop.limit if stage.loop else None,
                    }
                    for stage in pipeline.stages
                ],
                "audio": asdict(pipeline.audio),
                "parts": planned.parts,
                "processes": processes,
                "selfcheck": host.quoted(),
                "provenance": environment.provenance(command),
            }
        )


def _records(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return the processes of entries: those of several devices stand in one."""
    return [one for entry in entries for one in (entry["record"], *entry.get("beside", ()))]


def _same_clock(head: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    """Return when a trial started, on the monotonic clock of the machine as it runs now.

    That clock starts anew with every boot; across one, the time of day tells how long ago.
    """
    started: dict[str, Any] = dict(head["started"])
    boot = environment.boot_id()
    if head["before"].get("os", {}).get("boot_id") != boot:
        then, here = (datetime.fromisoformat(one["utc"]) for one in (started, session))
        ago_ns = max(0, int((here - then).total_seconds() * 1e9))
        started["monotonic_ns"] = session["monotonic_ns"] - ago_ns
    return started

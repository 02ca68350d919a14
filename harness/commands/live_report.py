"""Logs and the report while the sweep is still being measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import naming
from harness.errors import UsageError
from harness.judging import compat_log
from harness.records.identity import Side

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.measuring.sweep import Sweep
    from harness.planning.planner import PlannedPoint


REPORT_SHARE = 0.1
"""Most of a sweep's time that goes into reports before it ends."""


@dataclass(frozen=True)
class Log:
    """Where the original's log of one point goes."""

    name: str
    """In a sweep's folder; no other point's log has it."""
    asked: Path | None = None
    """The file the command named instead."""

    def within(self, folder: Path) -> Path:
        """Return the file, for a sweep's folder."""
        return self.asked or folder / "logs" / self.name


class LiveReport:
    """Keeps the original's log and the report beside the results, point by point."""

    def __init__(self, sweep: Sweep, logs: Mapping[str, Log]) -> None:
        self._sweep = sweep
        self._logs = logs
        self._next = 0.0

    def point(self, document: Mapping[str, Any]) -> None:
        """Write a finished point's log, and the report unless the last one was just made."""
        folder = self._sweep.folder
        if document["campaign"]["side"] != Side.CANDIDATE:
            return
        log = self._logs[document["point"]["id"]].within(folder)
        if document["summary"]:
            compat_log.write_log(log, document)
        begun = time.monotonic()
        if all(point.finished for point in self._sweep.points) or begun < self._next:
            return  # the last report is made when the sweep has ended
        render(folder)
        ended = time.monotonic()
        self._next = ended + (ended - begun) / REPORT_SHARE


def render(folder: Path) -> str | None:
    """Render the report in a process of its own, so that this one stays small; return what failed.

    No page can end a sweep.
    """
    # Ours, whatever the working folder holds; and found too where nothing is installed.
    path = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "reports", str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if not done.returncode:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def log_files(points: Sequence[PlannedPoint]) -> dict[str, Log]:
    """Return where the log of each point goes, by the point's id.

    Raises:
        UsageError: two points would write the same file.
    """
    records = [one.point.record for one in points]
    asked = [one.config.log_file for one in points]
    places = [os.path.normpath(one) for one in asked if one]
    if len(set(places)) < len(places):
        keys = {"quant", "bs", "il", *naming.varying(records)}
        known = {
            "backend": "backend.name",
            "scenario": "scenario.kind",
            "measure": "measure.profile",
        }
        name = "_".join(f"${{{known.get(key, key)}}}" for key in sorted(keys, key=naming.rank))
        raise UsageError(
            f"log_file={next(filter(None, asked))}: {len(places)} points would write the same "
            f"file; use log_file='{name}_log_perf' or leave it out"
        )
    names = naming.log_names([compat_log.log_name({"point": one}) for one in records], records)
    return {
        one.point.id: Log(name, Path(named) if named else None)
        for one, name, named in zip(points, names, asked, strict=True)
    }

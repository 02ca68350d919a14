"""A sweep of many points: what the controller keeps of a finished one."""

from __future__ import annotations

import copy
import io
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.commands.console import Console
from harness.machine import environment
from harness.measuring import process
from harness.measuring.sweep import Session, Sweep
from harness.planning import compose, resume
from harness.planning.planner import Planner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.measuring.outcome import Outcome


POINTS, WARM = 120, 40
MOST_BYTES = 6_000
"""Of a finished point: its part of the summary, packed, and its name."""


@pytest.mark.slow
def test_memory_stays_flat_while_points_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["harness"])
    arguments = ["backend=fake", "model=tiny", "num_iters=20", "il=16"]
    one_process = ["measure.min_processes=1", "measure.max_processes=1"]
    (config,) = compose.composition([*arguments, *one_process]).configs
    points = Planner(lambda _: None).plan([replace(config, bs=bs) for bs in range(1, POINTS + 1)])
    assert len(points) == POINTS
    real = process.run_process
    outcomes: list[Outcome] = []

    def canned(job: Any, **more: Any) -> Outcome:
        # One true process; the others are its copy, because only the controller is looked at.
        if not outcomes:
            outcomes.append(real(job, **more))
        outcome = copy.deepcopy(outcomes[0])
        outcome.record["index"] = more["index"]
        return outcome

    monkeypatch.setattr("harness.measuring.process.run_process", canned)
    facts = environment.collect()
    monkeypatch.setattr("harness.machine.environment.collect", lambda: copy.deepcopy(facts))
    seen: list[int] = []

    def look(_: Mapping[str, Any]) -> None:
        seen.append(tracemalloc.get_traced_memory()[0])

    session = Session(
        "command", [], resume.asked(points, rounds=1, retry=False), resume.anew(), point=look
    )
    console = Console(io.StringIO(), io.StringIO())
    monkeypatch.setattr(console, "point", lambda *_: None)
    tracemalloc.start()
    try:
        assert Sweep(points, tmp_path, console, session).run() == 0
    finally:
        tracemalloc.stop()
    assert len(seen) == POINTS
    assert (seen[-1] - seen[WARM]) / (POINTS - WARM) < MOST_BYTES

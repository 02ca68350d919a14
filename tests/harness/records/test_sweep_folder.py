"""Folders of sweeps: unique, held by one process, taken over when the holder is dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from harness.errors import UsageError
from harness.records import sweep_folder

if TYPE_CHECKING:
    from pathlib import Path


HOLD = """
import sys, time
from pathlib import Path
from harness.records import sweep_folder as folder
with folder.Lock(Path(sys.argv[1])) as lock:
    if len(sys.argv) > 2:
        lock.worker(int(sys.argv[2]))
    print("held", flush=True)
    time.sleep(600)
"""
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def holder(place: Path, *more: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place), *more], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_sweeps_started_in_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    made = [sweep_folder.create(tmp_path / "outputs") for _ in range(50)]
    assert len(set(made)) == 50


def test_a_name_taken_by_chance_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["aaaaaa", "aaaaaa", "bbbbbb"] * 10)
    monkeypatch.setattr("harness.records.sweep_folder.secrets.token_hex", lambda _: next(drawn))
    first = sweep_folder.create(tmp_path)
    second = sweep_folder.create(tmp_path)
    assert first != second


def test_outputs_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("")
    with pytest.raises(UsageError, match="outputs"):
        sweep_folder.create(tmp_path / "outputs")


def test_a_folder_in_use_is_refused_with_its_holder(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        assert sweep_folder.is_held(tmp_path)
        with pytest.raises(UsageError, match=f"in use by process {process.pid} on "):
            sweep_folder.Lock(tmp_path).__enter__()
    finally:
        end(process)


def test_a_lock_goes_when_its_holder_leaves(tmp_path: Path) -> None:
    with sweep_folder.Lock(tmp_path) as lock:
        assert lock.left_behind is None
        assert sweep_folder.is_held(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not sweep_folder.is_held(tmp_path)


def test_the_lock_of_a_killed_process_is_taken_over_and_its_worker_ended(tmp_path: Path) -> None:
    worker = subprocess.Popen(SLEEP, start_new_session=True)
    process = holder(tmp_path, str(worker.pid))
    end(process)
    assert (tmp_path / sweep_folder.LOCK_FILE).exists()
    assert not sweep_folder.is_held(tmp_path)
    with sweep_folder.Lock(tmp_path) as lock:
        assert lock.left_behind is not None
        assert lock.left_behind["pid"] == process.pid
    assert worker.wait(30) == -signal.SIGKILL


def test_a_stranger_that_got_the_dead_workers_number_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEP, start_new_session=True)
    process = holder(tmp_path, str(stranger.pid))
    end(process)
    left = json.loads((tmp_path / sweep_folder.LOCK_FILE).read_text())
    left["worker"]["ticks"] = "1"
    (tmp_path / sweep_folder.LOCK_FILE).write_text(json.dumps(left))
    with sweep_folder.Lock(tmp_path):
        time.sleep(0.2)
    assert stranger.poll() is None
    os.killpg(stranger.pid, signal.SIGKILL)
    stranger.wait()


def test_a_lock_left_on_another_machine_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    left = {"host": "elsewhere", "pid": 7, "since": "2026-11-24T08:00:00+00:00"}
    (tmp_path / sweep_folder.LOCK_FILE).write_text(json.dumps(left))
    with pytest.raises(UsageError, match=r"process 7 on elsewhere .* delete "):
        sweep_folder.Lock(tmp_path).__enter__()


def test_only_our_sweeps_are_known_as_sweeps(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    for place, name in ((ours, "harness.sweep"), (other, "somebody.else")):
        place.mkdir()
        (place / sweep_folder.SWEEP_FILE).write_text(json.dumps({"schema": {"name": name}}))
    assert sweep_folder.facts(ours)
    assert not sweep_folder.facts(other)
    assert not sweep_folder.facts(tmp_path / "absent")

"""What workers, disks and clocks do wrong: one row with its reason, and the sweep goes on."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from harness.records import result_file, sweep_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


FAKE = ["backend=fake", "model=tiny", "il=16", "num_iters=5"]
SLOW = ["backend.clock=real", "backend.durations=encoder:100000000"]
REASONS = {
    "exit": r"run: the worker ended with exit status 3",
    "segv": r"run: the worker ended with signal SIGSEGV",
    "kill": r"run: the worker ended with signal SIGKILL \(the system does that when memory",
    "garbage": r"run: the worker wrote 'this is no JSON' where an answer was due",
    "half": r"run: the worker ended with exit status 0",
    "memory": r"MemoryError",
    "clock": r"the worker's clock ran backwards: ",
    "run": r"scripted: encoder, iteration 1",
    "noise": None,
    "flood": None,
}


def harness(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def trials(cwd: Path) -> list[Any]:
    (folder,) = sweep_folder.sweeps(cwd / "outputs")
    return list(result_file.load_sweep(folder).trials)


def test_each_failure_is_one_row_with_its_reason_and_the_others_are_measured(
    tmp_path: Path,
) -> None:
    failures = ",".join(["null", *REASONS])
    done = harness("-m", *FAKE, f"backend.fail={failures}", cwd=tmp_path)
    assert done.returncode == 6
    assert "Traceback" not in done.stderr + done.stdout
    (folder,) = sweep_folder.sweeps(tmp_path / "outputs")
    found = {one["point"]["config"]["backend"]["options"]["fail"]: one for one in trials(tmp_path)}
    assert set(found) == {"", *REASONS}
    with (folder / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for failure, reason in {"": None, **REASONS}.items():
        status = found[failure]["status"]
        mine = [row for row in rows if row["point_id"] == found[failure]["point"]["id"]]
        if reason is None:
            assert status["state"] == "ok", failure
            continue
        assert status["state"] == "failed"
        assert re.search(reason, status["reason"]), failure
        assert [row["reason"] for row in mine] == [status["reason"]]
    logs = {path.name: path.stat().st_size for path in folder.glob("points/*failflood*/*.log")}
    assert len(logs) == 3
    assert all(1 << 20 < bytes_ < 3 << 20 for bytes_ in logs.values())
    (noise,) = folder.glob("points/*failnoise*/process-1.log")
    assert "vendor says" in noise.read_text()


def test_a_hung_stage_is_killed_with_its_children_and_the_sweep_goes_on(tmp_path: Path) -> None:
    python = tmp_path / "python"  # a worker with a child of its own, as vendors' runtimes have
    python.write_text(f'#!/bin/sh\nsleep 765432 &\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = harness(
        "-m", *FAKE, "backend.fail=hang,null", f"backend.python={python}",
        "measure.call_timeout_s=8", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 6
    states = {one["point"]["config"]["backend"]["options"]["fail"]: one for one in trials(tmp_path)}
    assert states["hang"]["status"] == {
        "state": "timeout",
        "reason": "run: no answer within 8 s; killed",
    }
    assert states[""]["status"]["state"] == "ok"
    left = [
        one for one in psutil.process_iter(["cmdline"]) if "765432" in (one.info["cmdline"] or ())
    ]
    assert not left


def test_a_point_that_takes_too_long_is_ended_whatever_it_does(tmp_path: Path) -> None:
    done = harness(
        *FAKE, "backend.clock=real", "backend.durations=encoder:30000000000",
        "measure.point_timeout_s=5", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 6
    (trial,) = trials(tmp_path)
    assert trial["status"]["state"] == "timeout"
    assert trial["method"]["spent_s"] < 20


def test_a_worker_of_another_version_fails_its_point_only(tmp_path: Path) -> None:
    python, count = tmp_path / "python", tmp_path / "count"
    greeting = '{"hello": "backends.worker", "protocol": 99, "python": "3", "implementation": "C"}'
    python.write_text(  # two starts are the plan's look at the devices; the third is a process
        f"#!/bin/sh\necho x >> {count}\n"
        f"[ $(wc -l < {count}) = 3 ] && echo '{greeting}' && exec sleep 60\n"
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    done = harness("-m", *FAKE, f"backend.python={python}", "backend.slowdown=1,2", cwd=tmp_path)
    assert done.returncode == 6
    found = sorted((one["status"] for one in trials(tmp_path)), key=lambda one: str(one["state"]))
    assert [one["state"] for one in found] == ["failed", "ok"]
    assert "speaks protocol 99, this harness 1" in found[0]["reason"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 4 MiB, where the system lets us have one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    assert any(word in line for line in process.stderr), word


def test_a_full_disk_is_a_reason_of_the_points_it_hits(small_disk: Path, tmp_path: Path) -> None:
    process = start("-m", *FAKE, *SLOW, "bs=1,2", f"outputs={small_disk}", cwd=tmp_path)
    wait_for(process, "process 2  building")
    with (small_disk / "filling").open("wb", buffering=0) as stream:
        try:
            while stream.write(b"x" * 4096):
                pass
        except OSError:
            pass
    out, err = process.communicate(timeout=120)
    assert process.returncode in {1, 6}
    assert "No space left on device" in out
    assert "Traceback" not in err
    (small_disk / "filling").unlink()
    (folder,) = sweep_folder.sweeps(small_disk)
    assert not list(folder.glob("points/*/.*.tmp"))
    for path in folder.glob("points/*/*.json"):
        result_file.load_trial(path)


def test_a_folder_that_turned_read_only_is_a_reason_of_its_point_only(tmp_path: Path) -> None:
    process = start("-m", *FAKE, *SLOW, "bs=1,2", cwd=tmp_path)
    wait_for(process, "process 2  building")
    (place,) = tmp_path.glob("outputs/*/points/*-bs1-*")
    made = [
        subprocess.run(["mount", *words, str(place)], check=False, capture_output=True).returncode
        for words in (["--bind", str(place)], ["-o", "remount,ro,bind"])
    ]
    out, err = process.communicate(timeout=120)
    if not made[0]:
        subprocess.run(["umount", "-l", str(place)], check=True)
    if any(made):
        pytest.skip("no folder can be mounted read-only here")
    assert process.returncode == 6
    assert "Read-only file system" in out
    assert "Traceback" not in err
    (ok,) = trials(tmp_path)
    assert ok["point"]["config"]["bs"] == 2
    assert ok["status"]["state"] == "ok"
    (folder,) = sweep_folder.sweeps(tmp_path / "outputs")
    with (folder / "summary.csv").open(newline="") as file:
        rows = {(row["bs"], row["status"]) for row in csv.DictReader(file)}
    assert rows == {("1", "failed"), ("2", "ok")}
    again = harness("-m", *FAKE, *SLOW, "bs=1,2", "retry=failed", cwd=tmp_path)
    assert again.returncode == 0
    assert {one["status"]["state"] for one in trials(tmp_path)} == {"ok"}


def test_a_clock_set_back_does_not_hide_the_newer_trial(tmp_path: Path) -> None:
    from tests.make_trials import MS, make_process, make_trial, write_sweep  # noqa: PLC0415

    ids = ["20301124T080000000000Z-00000001", "20201124T080000000000Z-00000002"]
    old = make_trial([make_process([75 * MS] * 5)], trial_id=ids[0])
    new = make_trial([make_process([80 * MS] * 5)], trial_id=ids[1], supersedes=ids[0])
    write_sweep(tmp_path, [old, new])
    (kept,) = result_file.load_sweep(tmp_path).trials
    assert kept["trial_id"] == new["trial_id"]


def test_two_sweeps_at_once_do_not_meet(tmp_path: Path) -> None:
    both = [start(*FAKE, cwd=tmp_path) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    found = sweep_folder.sweeps(tmp_path / "outputs")
    assert len(found) == 2
    for folder in found:
        (trial,) = result_file.load_sweep(folder).trials
        assert trial["status"]["state"] == "ok"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_saves_what_is_measured_and_leaves_with_130(
    number: signal.Signals, tmp_path: Path
) -> None:
    process = start(*FAKE, *SLOW, "num_iters=300", cwd=tmp_path)
    wait_for(process, "measuring")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 130
    (trial,) = trials(tmp_path)
    assert trial["status"]["state"] == "interrupted"
    assert trial["processes"][0]["columns"]["latency_ns"]
    (folder,) = sweep_folder.sweeps(tmp_path / "outputs")
    assert (folder / "report.html").is_file()
    assert (folder / "summary.csv").is_file()


def test_two_signals_stop_at_once_and_leave_nothing_half_written(tmp_path: Path) -> None:
    endless = ["backend.clock=real", "backend.durations=encoder:600000000000"]
    process = start(*FAKE, *endless, cwd=tmp_path)
    wait_for(process, "first pass")
    (child,) = psutil.Process(process.pid).children()
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    wait_for(process, "again to stop now")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert time.monotonic() - begun < 25
    assert process.returncode == 130
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    (folder,) = sweep_folder.sweeps(tmp_path / "outputs")
    assert not (folder / sweep_folder.LOCK_FILE).exists()
    assert not [path for path in folder.rglob("*") if path.suffix == ".tmp"]
    assert not list(folder.glob("points/*/*.json"))


def test_a_gate_that_nothing_can_open_is_refused(tmp_path: Path) -> None:
    if psutil.sensors_temperatures():
        pytest.skip("this machine shows temperatures")
    done = harness(*FAKE, "measure.max_temperature_c=60", cwd=tmp_path)
    assert done.returncode == 2
    assert "no sensor is visible" in done.stderr


def test_rest_before_a_process_is_recorded(tmp_path: Path) -> None:
    assert harness(*FAKE, "measure.cool_down_s=0.3", cwd=tmp_path).returncode == 0
    (trial,) = trials(tmp_path)
    assert [one["rest"]["cool_down_s"] for one in trial["processes"]] == [0.3] * 3
    assert os.getpid() not in {one["pid"] for one in trial["processes"]}

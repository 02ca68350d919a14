"""Sweeps over many machines: real launchers on clusters that live as long as the test."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.planning import launchers
from harness.records import result_file, sweep_folder
from harness.workers import device_lock
from tests.harness.measuring import clusters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


FAKE = ["backend=fake", "model=tiny", "il=16", "num_iters=5"]
SIX = ["-m", *FAKE, "quant=force_float16,force_float32", "bs=1,2,4"]
LIMIT_S = 240


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "harness", *arguments]


def harness(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True, check=False,
        timeout=LIMIT_S,
    )  # fmt: skip


def trials(cwd: Path) -> list[Mapping[str, Any]]:
    (folder,) = sweep_folder.sweeps(cwd / "outputs")
    return list(result_file.load_sweep(folder).trials)


def spans(found: list[Mapping[str, Any]]) -> list[tuple[datetime, datetime]]:
    """Return when each point was measured, in order."""
    return sorted(
        (
            datetime.fromisoformat(one["sessions"][0]["started"]["utc"]),
            datetime.fromisoformat(one["ended"]["utc"]),
        )
        for one in found
    )


def none_meet(found: list[Mapping[str, Any]]) -> bool:
    return all(first[1] <= then[0] for first, then in itertools.pairwise(spans(found)))


def needs(name: str) -> None:
    if launchers.missing(name):
        pytest.skip(f"the extra '{name}' is not installed")


@pytest.fixture
def slurm() -> Iterator[dict[str, str]]:
    needs("slurm")
    if not clusters.slurm_is_here():
        pytest.skip("Slurm's daemons are not installed")
    # Sockets have short names: not in pytest's deep folders.
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as place,
        clusters.slurm(Path(place), 2) as environment,
    ):
        yield environment


SLURM = ["hydra/launcher=slurm", "hydra.launcher.partition=bench", "hydra.launcher.gres=mlu:1"]


@pytest.mark.slow
@pytest.mark.cluster
def test_six_points_on_two_slurm_nodes_never_share_a_device(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    done = harness(*SIX, *SLURM, cwd=tmp_path, environment=slurm)
    assert done.returncode == 0, done.stderr
    found = trials(tmp_path)
    assert [one["status"]["state"] for one in found] == ["ok"] * 6
    nodes: dict[str, list[Mapping[str, Any]]] = {}
    for one in found:
        (session,) = one["sessions"]
        assert session["scheduler"]["SLURM_JOB_ID"]
        nodes.setdefault(session["scheduler"]["SLURMD_NODENAME"], []).append(one)
    assert set(nodes) == {"n1", "n2"}
    assert all(none_meet(mine) for mine in nodes.values())
    assert "[6/6]" in done.stdout
    (folder,) = sweep_folder.sweeps(tmp_path / "outputs")
    assert (folder / "report.html").is_file()
    assert len({row["point_id"] for row in json.loads(
        (folder / "summary.json").read_text())["rows"]}) == 6  # fmt: skip


@pytest.mark.slow
@pytest.mark.cluster
def test_a_lost_job_is_a_failed_point_and_the_same_command_finishes_it(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    slow = ["-m", *FAKE, "backend.clock=real", "backend.durations=encoder:300000000",
            "num_iters=10", "bs=1,2"]  # fmt: skip
    process = subprocess.Popen(
        command(*slow, *SLURM), cwd=tmp_path, env=slurm, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + LIMIT_S
    while not (parts := list(tmp_path.glob("outputs/*/points/*-bs2-*/*.parts/1.json"))):
        assert time.monotonic() < end
        time.sleep(0.2)
    kept = json.loads(parts[0].read_text())["record"]["pid"]
    (lock,) = tmp_path.glob("outputs/*/points/*-bs2-*/.lock")
    os.kill(json.loads(lock.read_text())["pid"], 9)  # the node's process, gone without a word
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 6, err
    assert "job lost" in out
    (folder,) = sweep_folder.sweeps(tmp_path / "outputs")
    by_size = {one["point"]["config"]["bs"]: one for one in trials(tmp_path)}
    assert by_size[1]["status"]["state"] == "ok"
    assert by_size[2]["method"]["stop_reason"] == "lost"
    again = harness(*slow, *SLURM, cwd=tmp_path, environment=slurm)
    assert again.returncode == 0, again.stderr
    assert sweep_folder.sweeps(tmp_path / "outputs") == [folder]
    by_size = {one["point"]["config"]["bs"]: one for one in trials(tmp_path)}
    assert by_size[2]["status"]["state"] == "ok"
    assert by_size[2]["processes"][0]["pid"] == kept


@pytest.mark.slow
@pytest.mark.cluster
def test_six_points_on_ray_hold_its_one_device_in_turn(tmp_path: Path) -> None:
    needs("ray")
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as place,
        clusters.ray(Path(place), 1) as environment,
    ):
        address = environment.pop("RAY_TEST_ADDRESS")
        done = harness(
            *SIX, "hydra/launcher=ray", f"hydra.launcher.ray.init.address='{address}'",
            cwd=tmp_path, environment=environment,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = trials(tmp_path)
    assert [one["status"]["state"] for one in found] == ["ok"] * 6
    assert none_meet(found)
    assert len({one["sessions"][0]["pid"] for one in found}) == 6  # a fresh process each


@pytest.mark.slow
def test_joblib_runs_points_as_jobs_of_this_machine(tmp_path: Path) -> None:
    needs("joblib")
    done = harness("-m", *FAKE, "bs=1,2,2", "hydra/launcher=joblib", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [one["status"]["state"] for one in trials(tmp_path)] == ["ok"] * 2


def test_a_launcher_that_is_not_installed_names_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launchers, "PACKAGES", {"slurm": "no_such_package.launcher"})
    assert launchers.missing("slurm") == "hydra/launcher=slurm: pip install 'tts-harness[slurm]'"
    assert launchers.missing("basic") is None


def test_slurm_without_accounting_is_refused(tmp_path: Path) -> None:
    needs("slurm")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in (("sbatch", "exit 0"), ("sacct", "echo accounting is off >&2; exit 1")):
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    done = harness(
        "-m", *FAKE, "bs=1,2", "hydra/launcher=slurm",
        cwd=tmp_path, environment={**os.environ, "PATH": path},
    )  # fmt: skip
    assert done.returncode == 2
    assert "sacct does not answer (accounting is off)" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_a_device_is_held_by_one_at_a_time_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.workers.device_lock.tempfile.gettempdir", lambda: str(tmp_path))
    inside, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with device_lock.hold(["mlu-0"], lambda _: None, lambda: False):
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert most == 1


def test_a_visible_device_is_held_by_the_number_the_machine_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLU_VISIBLE_DEVICES", "3,5")
    assert device_lock.names({"kind": "mlu", "facts": {}}, ["1", "0"]) == ["mlu-3", "mlu-5"]
    assert device_lock.names({"kind": "fake", "facts": {"virtual_clock": True}}, ["0"]) == []

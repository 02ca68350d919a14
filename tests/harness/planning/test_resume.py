"""Sweeps that were cut off: what is continued, what is kept, what is refused."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.judging import verify
from harness.planning import resume
from harness.records import result_file, sweep_folder

DRIVER = Path(__file__).with_name("killed.py")
ROOT = DRIVER.parents[3]
FAKE = ["backend=fake", "model=tiny", "il=16", "num_iters=5"]
SLOW = ["backend.clock=real", "backend.durations=encoder:100000000"]


def harness(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def sweeps(cwd: Path) -> list[Path]:
    return sweep_folder.sweeps(cwd / "outputs")


def measured(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return of every point the processes of its one valid trial, less what differs by nature."""
    found = {}
    for trial in result_file.load_sweep(folder).trials:
        assert trial["status"]["state"] == "ok"
        keys = ("index", "block", "order", "columns", "glue", "work", "golden")
        found[trial["point"]["id"]] = [
            {key: process[key] for key in keys} | {"pre": len(process["columns"].pop("pre_ns"))}
            for process in trial["processes"]
        ]
    return found


def kill_when(process: subprocess.Popen[str], word: str, number: int, times: int = 1) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        times -= word in line
        if not times:
            break
    process.send_signal(number)


def started(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["2026"])
def test_a_sweep_killed_at_a_hundred_moments_equals_one_left_alone(
    seed: str, tmp_path: Path
) -> None:
    arguments = ["-m", *FAKE, "bs=1,2", "measure.min_processes=2", "measure.max_processes=2"]
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path), "100", seed, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] >= 100
    (whole,) = sweeps(Path(told["undisturbed"]))
    expected = measured(whole)
    assert len(expected) == 2
    for place, kept in zip(told["disturbed"], told["kept"], strict=True):
        folder = sweeps(Path(place))[-1]
        assert measured(folder) == expected
        left = [path.name for path in folder.rglob("*") if path.suffix in {".tmp", ".parts"}]
        assert not left
        assert not (folder / sweep_folder.LOCK_FILE).exists()
        files = list(verify.files(folder))
        assert len(files) == len(expected)  # one trial of each point: no iteration counts twice
        assert not [problem for path in files for problem in verify.problems(path)]
        rows = json.loads((folder / "summary.json").read_text())["rows"]
        assert {row["point_id"] for row in rows} == set(expected)
        final = {
            (path.parent.name, process["pid"])
            for path in files
            for process in result_file.load_trial(path)["processes"]
        }
        assert {(point, pid) for point, pid in kept} <= final  # nothing whole was lost


def test_the_same_command_continues_after_ctrl_c_and_supersedes(tmp_path: Path) -> None:
    process = started(*FAKE, *SLOW, "num_iters=30", cwd=tmp_path)
    kill_when(process, "measuring", signal.SIGINT, times=2)
    process.communicate(timeout=60)
    assert process.returncode == 130
    (folder,) = sweeps(tmp_path)
    (first,) = result_file.load_sweep(folder).trials
    assert first["status"]["state"] == "interrupted"
    whole = [one["pid"] for one in first["processes"] if "interrupted" not in one]
    done = harness(*FAKE, *SLOW, "num_iters=30", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "continuing" in done.stderr
    assert sweeps(tmp_path) == [folder]
    (second,) = result_file.load_sweep(folder).trials
    assert second["supersedes"] == first["trial_id"]
    pids = [one["pid"] for one in second["processes"]]
    assert pids[: len(whole)] == whole
    assert len(pids) == len(set(pids)) == 3
    assert [one["session"] for one in second["processes"]] == [1] * len(whole) + [2] * (
        3 - len(whole)
    )
    assert len(second["sessions"]) == 2


def test_a_finished_sweep_is_measured_anew(tmp_path: Path) -> None:
    for count in (1, 2):
        assert harness(*FAKE, cwd=tmp_path).returncode == 0
        assert len(sweeps(tmp_path)) == count


def test_a_sweep_killed_between_its_last_file_and_its_report_is_continued(tmp_path: Path) -> None:
    assert harness(*FAKE, cwd=tmp_path).returncode == 0
    (folder,) = sweeps(tmp_path)
    before = measured(folder)
    (folder / "report.html").unlink()
    (folder / sweep_folder.LOCK_FILE).write_text(json.dumps({"host": platform.node(), "pid": 1}))
    done = harness(*FAKE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sweeps(tmp_path) == [folder]
    assert measured(folder) == before
    assert (folder / "report.html").is_file()
    assert not (folder / sweep_folder.LOCK_FILE).exists()


def killed(tmp_path: Path, *more: str) -> Path:
    """Leave a sweep of two points behind, killed in its second block."""
    process = started("-m", *FAKE, *SLOW, "bs=1,2", *more, cwd=tmp_path)
    kill_when(process, "process 2  building", signal.SIGKILL)
    process.communicate()
    (folder,) = sweeps(tmp_path)
    assert sweep_folder.facts(folder)["ended"] is None
    assert list(folder.glob("points/*/*.parts"))
    return folder


def test_resume_alone_continues_the_folder_it_names(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    done = harness(f"resume={folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sweeps(tmp_path) == [folder]
    assert [len(processes) for processes in measured(folder).values()] == [3, 3]


def test_resume_never_leaves_the_unfinished_sweep_alone(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    before = sorted(path.name for path in folder.rglob("*"))
    done = harness("-m", *FAKE, *SLOW, "bs=1,2", "resume=never", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(sweeps(tmp_path)) == 2
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_another_configuration_does_not_continue_and_is_refused_by_name(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    refused = harness("-m", *FAKE, *SLOW, "bs=1,4", f"resume={folder}", cwd=tmp_path)
    assert refused.returncode == 2
    assert "holds another sweep" in refused.stderr
    assert harness("-m", *FAKE, "bs=1,4", cwd=tmp_path).returncode == 0
    assert len(sweeps(tmp_path)) == 2


def test_other_versions_are_told_apart(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    facts = sweep_folder.facts(folder)
    facts["conditions"]["runtime of fake"] = "fake 0.9"
    result_file.write_sweep(folder, facts)
    refused = harness(f"resume={folder}", cwd=tmp_path)
    assert refused.returncode == 2
    assert "runtime of fake: fake 0.9 -> fake 1" in refused.stderr
    done = harness("-m", *FAKE, *SLOW, "bs=1,2", cwd=tmp_path)
    assert done.returncode == 0
    assert "is not continued (runtime of fake: fake 0.9 -> fake 1)" in done.stderr
    assert len(sweeps(tmp_path)) == 2


def test_a_folder_in_use_is_not_continued(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    with sweep_folder.Lock(folder):
        refused = harness(f"resume={folder}", cwd=tmp_path)
        assert refused.returncode == 2
        assert f"in use by process {os.getpid()}" in refused.stderr
        assert harness("-m", *FAKE, *SLOW, "bs=1,2", cwd=tmp_path).returncode == 0
    assert len(sweeps(tmp_path)) == 2


@pytest.mark.parametrize("named", ["/no/such/folder", "."])
def test_a_folder_without_a_sweep_is_refused(named: str, tmp_path: Path) -> None:
    for arguments in ([f"resume={named}"], [*FAKE, f"resume={named}"]):
        done = harness(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "not a sweep's folder" in done.stderr


def test_retry_measures_failed_points_again_and_keeps_their_whole_processes(
    tmp_path: Path,
) -> None:
    flag = tmp_path / "broken"
    flag.write_text("")
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\n[ -e {flag} ] && [ -e {tmp_path}/second ] && exit 7\n"
        f"[ -e {tmp_path}/first ] && touch {tmp_path}/second\ntouch {tmp_path}/first\n"
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    command = [*FAKE, f"backend.python={python}"]
    assert harness(*command, cwd=tmp_path).returncode == 6
    (folder,) = sweeps(tmp_path)
    (failed,) = result_file.load_sweep(folder).trials
    assert failed["status"]["reason"] == "the greeting: the worker ended with exit status 7"
    flag.unlink()
    done = harness(*command, "retry=failed", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sweeps(tmp_path) == [folder]
    (ok,) = result_file.load_sweep(folder).trials
    assert ok["supersedes"] == failed["trial_id"]
    assert ok["processes"][0]["pid"] == failed["processes"][0]["pid"]
    assert "error" not in ok["processes"][1]


def test_repeat_measures_the_whole_sweep_into_folders_that_know_each_other(
    tmp_path: Path,
) -> None:
    assert harness(*FAKE, "repeat=2", cwd=tmp_path).returncode == 0
    rounds = [sweep_folder.facts(folder)["repeat"] for folder in sweeps(tmp_path)]
    assert sorted(one["number"] for one in rounds) == [1, 2]
    assert len({one["group"] for one in rounds}) == 1


def test_a_repeat_that_was_cut_off_goes_on_with_the_round_that_is_missing(tmp_path: Path) -> None:
    assert harness(*FAKE, "repeat=3", cwd=tmp_path).returncode == 0
    third = next(
        one for one in sweeps(tmp_path) if sweep_folder.facts(one)["repeat"]["number"] == 3
    )
    group = sweep_folder.facts(third)["repeat"]["group"]
    for path in sorted(third.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    third.rmdir()
    assert harness(*FAKE, "repeat=3", cwd=tmp_path).returncode == 0
    rounds = [sweep_folder.facts(folder)["repeat"] for folder in sweeps(tmp_path)]
    assert sorted(one["number"] for one in rounds) == [1, 2, 3]
    assert {one["group"] for one in rounds} == {group}


def test_a_budget_ends_the_sweep_with_what_was_measured(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = harness("-m", *FAKE, *SLOW, "bs=1,2,4", "num_iters=50", "budget=4s", cwd=tmp_path)
    assert time.monotonic() - begun < 60
    assert done.returncode == 6
    (folder,) = sweeps(tmp_path)
    trials = result_file.load_sweep(folder).trials
    assert any(trial["summary"] for trial in trials)
    assert any("budget=4s was used up" in str(one["status"]["reason"]) for one in trials)
    assert resume.unfinished(sweep_folder.facts(folder), retry=False)
    assert (folder / "report.html").is_file()

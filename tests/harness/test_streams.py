"""Standard output and error that nobody reads: what is measured and said with files stays."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.errors import ExitStatus

if TYPE_CHECKING:
    from pathlib import Path


FAKE = "backend=fake model=tiny il=16 num_iters=5"
NOWHERE = (
    "| head -n 1", ">&-", "> /dev/full", "2>&-", "2>&1 | true", "<&- >&- 2>&-", "> /dev/full 2>&1",
)  # fmt: skip


def shell(arguments: str, where: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line in bash; the status is the harness's, not that of the pipe's reader."""
    line = f"{shlex.quote(sys.executable)} -m harness {arguments} {where}; exit ${{PIPESTATUS[0]}}"
    return subprocess.run(
        ["bash", "-c", line], cwd=cwd, capture_output=True, text=True, check=False
    )  # fmt: skip


def folder_of(cwd: Path) -> Path:
    (folder,) = (cwd / "outputs").iterdir()
    return folder


@pytest.mark.parametrize("where", NOWHERE)
def test_a_sweep_is_measured_to_its_end_whoever_listens(tmp_path: Path, where: str) -> None:
    done = shell(FAKE, where, tmp_path)
    assert done.returncode == ExitStatus.FINE, done.stderr
    folder = folder_of(tmp_path)
    assert (folder / "summary.csv").is_file()
    assert (folder / "report.html").is_file()
    assert len(list(folder.glob("points/*/*.json"))) == 1
    for wrong in ("Traceback", "Exception ignored", "BrokenPipe"):
        assert wrong not in done.stderr + done.stdout


def test_a_failed_point_keeps_its_status_without_a_reader(tmp_path: Path) -> None:
    done = shell(f"{FAKE} backend.fail=run", "| true", tmp_path)
    assert done.returncode == ExitStatus.POINTS_FAILED, done.stderr


def test_a_full_disk_behind_standard_output_is_said_once(tmp_path: Path) -> None:
    done = shell(FAKE, "> /dev/full", tmp_path)
    said = [line for line in done.stderr.splitlines() if "standard output" in line]
    assert len(said) == 1
    assert "No space left on device" in said[0]


def test_workers_on_other_processes_outlive_the_reader_too(tmp_path: Path) -> None:
    done = shell(f"-m {FAKE} bs=1,2 hydra/launcher=joblib", "2>&1 | true", tmp_path)
    assert done.returncode == ExitStatus.FINE
    assert len(list(folder_of(tmp_path).glob("points/*/*.json"))) == 2


@pytest.mark.parametrize("where", ["2>&1 | true", ">&-", "> /dev/full"])
@pytest.mark.parametrize(
    "arguments",
    ["doctor", "backends", "--help", "--cfg job", "clean", "history base", "verify base/*"],
)
def test_what_only_asks_leaves_as_with_a_reader(slower: Path, arguments: str, where: str) -> None:
    done = shell(arguments, where, slower)
    assert done.returncode == ExitStatus.FINE, done.stderr
    for wrong in ("Traceback", "Exception ignored", "BrokenPipe"):
        assert wrong not in done.stderr + done.stdout


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep in `base`, and one half as fast in `new`."""
    place = tmp_path_factory.mktemp("slower")
    for factor, outputs in ((1.0, "base"), (2.0, "new")):
        more = f"backend.slowdown={factor} outputs={outputs}"
        assert shell(f"{FAKE} {more}", "> /dev/null", place).returncode == ExitStatus.FINE
    return place


@pytest.mark.parametrize("where", ["2>&1 | true", ">&-", "> /dev/full"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("compare base/*/logs/* new/*/logs/* rule=compat", ExitStatus.REGRESSION),
        ("compare base/* new/*", ExitStatus.NOTHING_MEASURED),
        ("compare base/* nowhere", ExitStatus.USAGE),
    ],
)
def test_a_verdict_stays_the_exit_status(
    slower: Path, arguments: str, status: ExitStatus, where: str
) -> None:
    done = shell(arguments, where, slower)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr + done.stdout

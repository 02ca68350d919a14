"""A wheel, installed elsewhere, with plug-ins of other distributions beside it."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SMALL = ["model=tiny", "il=16", "num_iters=3"]
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "outputs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "tests"
)

pytestmark = pytest.mark.slow


@dataclass
class Elsewhere:
    """A virtual environment with the wheel in it, and a folder that is not the checkout."""

    python: Path
    folder: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [str(self.python), *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def harness(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "harness", *words)


def wheel_of(source: Path, target: Path) -> Path:
    """Build the wheel of a copy, so that no build folder is left in the checkout."""
    copy = target / f"copy-{source.name}"
    shutil.copytree(source, copy, ignore=NOT_COPIED)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, copy],
        check=True,
        capture_output=True,
    )
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    home = tmp_path_factory.mktemp("elsewhere")
    venv.create(home / "venv", with_pip=False, symlinks=True)
    python = home / "venv" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / "venv" / "lib" / version / "site-packages"
    # The dependencies are those of the running interpreter; its editable install of this very
    # project is not, because a path named in a .pth file has its own .pth files left unread.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    for source in (ROOT, HERE / "toy", HERE / "broken"):
        wheel = wheel_of(source, tmp_path_factory.mktemp("wheel"))
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
             "--force-reinstall", "--no-index", wheel],
            check=True,
        )  # fmt: skip
    folder = home / "work"
    for name in ("conf", "backends", "reports"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise SystemExit('a file of the user ran')\n")
    (folder / "conf" / "config.yaml").write_text("not: ours\n")
    return Elsewhere(python, folder)


def test_the_wheel_is_what_runs(elsewhere: Elsewhere) -> None:
    script = "import harness, pathlib; print(pathlib.Path(harness.__file__).resolve())"
    done = elsewhere.run("-P", "-c", script)
    assert str(elsewhere.python.parent.parent.resolve()) in done.stdout, done.stderr


def test_it_measures_from_a_folder_with_conf_and_backends_of_its_own(elsewhere: Elsewhere) -> None:
    done = elsewhere.harness(*SMALL, "outputs=one")
    assert done.returncode == 0, done.stderr
    (sweep,) = (elsewhere.folder / "one").iterdir()
    assert (sweep / "report.html").is_file()


def test_the_script_does_the_same(elsewhere: Elsewhere) -> None:
    script = elsewhere.python.parent / "harness"
    done = elsewhere.run(str(script), *SMALL, "backend=fake", "outputs=two")
    assert done.returncode == 0, done.stderr


def test_a_plug_in_is_found_and_measured(elsewhere: Elsewhere) -> None:
    done = elsewhere.harness(*SMALL, "backend=toy", "backend.pause_ms=0.2", "outputs=three")
    assert done.returncode == 0, done.stderr
    (sweep,) = (elsewhere.folder / "three").iterdir()
    with (sweep / "summary.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["backend"] for row in rows} == {"toy"}
    assert all(float(row["mean_s"]) > 0.0002 for row in rows)


def test_an_option_the_plug_in_lacks_is_one_line(elsewhere: Elsewhere) -> None:
    done = elsewhere.harness(*SMALL, "backend=toy", "backend.speed=9")
    assert done.returncode == 2
    assert "speed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_plug_in_is_named_and_hurts_nobody(elsewhere: Elsewhere) -> None:
    done = elsewhere.harness("backends")
    assert done.returncode == 0, done.stderr
    assert "toy  (toy-backend 1.0)" in done.stdout
    assert "another decade" in done.stdout
    measured = elsewhere.harness(*SMALL, "backend=fake", "outputs=four")
    assert measured.returncode == 0
    assert "wreck (broken-backend 2.0)" in measured.stderr


def test_asking_for_the_broken_plug_in_is_one_line(elsewhere: Elsewhere) -> None:
    done = elsewhere.harness(*SMALL, "backend=wreck")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "another decade" in done.stderr

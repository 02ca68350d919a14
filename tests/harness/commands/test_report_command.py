"""`report` from the command line: every format is written, read back, and says the same."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


FAKE = ["backend=fake", "model=tiny", "il=16", "num_iters=3", "measure.min_processes=1",
        "measure.max_processes=1"]  # fmt: skip
FILES = {
    "html": "report.html",
    "markdown": "report.md",
    "csv": "report.csv",
    "json": "report.json",
    "latex": "report.tex",
}


def harness(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("sweep")
    assert harness("-m", *FAKE, "bs=1,2", cwd=cwd).returncode == 0
    (folder,) = (cwd / "outputs").iterdir()
    return folder


def paths(done: subprocess.CompletedProcess[str], cwd: Path) -> list[Path]:
    assert done.returncode == 0, done.stderr
    return [cwd / line for line in done.stdout.splitlines()]


def point_ids(sweep: Path) -> list[str]:
    return [one["id"] for one in json.loads((sweep / "sweep.json").read_text())["points"]]


def test_all_formats_are_written_beside_the_page_and_read_back(sweep: Path) -> None:
    before = {path for path in sweep.iterdir() if path.name not in FILES.values()}
    written = paths(harness("report", str(sweep), "format=all", cwd=sweep), sweep)
    assert written == [sweep / name for name in FILES.values()]
    assert before == {path for path in sweep.iterdir() if path.name not in FILES.values()}
    table = json.loads((sweep / "report.json").read_text())
    assert [row["point_id"] for row in table["rows"]] == point_ids(sweep)
    with (sweep / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["point_id"] for row in rows] == point_ids(sweep)
    for row, same in zip(rows, table["rows"], strict=True):
        for name, cell in same["cells"].items():
            assert row[name] == ("" if cell["value"] is None else str(cell["value"]))
    for row in table["rows"]:
        for name in ("report.md", "report.tex", "report.html"):
            text = (sweep / name).read_text().replace("\\_", "_").replace("\\-", "-")
            assert row["point"].split("-")[0] in text
    page = HTMLParser()
    page.feed((sweep / "report.html").read_text())
    markdown = (sweep / "report.md").read_text().splitlines()
    bars = [line for line in markdown if line.startswith("| ")]
    assert len(bars) == 2 + len(rows)
    assert len({line.count(" | ") for line in bars}) == 1
    latex = (sweep / "report.tex").read_text()
    assert latex.count("\\begin{tabular}") == latex.count("\\end{tabular}") == 1
    # What lies beside the results is none of them.
    assert "2 result files checked, 0 problems" in harness("verify", str(sweep), cwd=sweep).stdout


@pytest.mark.parametrize("name", FILES)
def test_one_format_goes_to_the_file_that_is_named(name: str, sweep: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "table"
    done = harness("report", str(sweep), f"format={name}", f"out={target}", cwd=tmp_path)
    assert paths(done, tmp_path) == [target]
    beside = paths(harness("report", str(sweep), f"format={name}", cwd=tmp_path), tmp_path)
    assert target.read_bytes() == beside[0].read_bytes()


def test_several_formats_go_into_a_folder(sweep: Path, tmp_path: Path) -> None:
    done = harness("report", str(sweep), "format=csv,json,csv", f"out={tmp_path / 'o'}", cwd=sweep)
    assert paths(done, sweep) == [tmp_path / "o" / "report.csv", tmp_path / "o" / "report.json"]
    done = harness("report", str(sweep), "format=latex", f"out={tmp_path / 'o'}", cwd=sweep)
    assert paths(done, sweep) == [tmp_path / "o" / "report.tex"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["format=pdf"], "format=pdf: possible: html, markdown, csv, json, latex, all"),
        (["format=csv,pdf"], "possible: html, markdown, csv, json, latex, all"),
        (["format="], "possible: html, markdown, csv, json, latex, all"),
        (["format=csv", "format=json"], "give it once"),
        (["format=csv", "--open"], "format=html,csv"),
        (["out=/proc/nowhere/x"], "/proc/nowhere/x: cannot be written"),
        (["form=csv"], "unknown key 'form'; possible: format, out"),
    ],
)
def test_what_cannot_be_written_is_one_line(words: list[str], said: str, sweep: Path) -> None:
    done = harness("report", str(sweep), *words, cwd=sweep)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["html", "csv"])
def test_nothing_takes_the_place_of_a_link_or_special_file(
    name: str, sweep: Path, tmp_path: Path
) -> None:
    kept, link, pipe = tmp_path / "kept", tmp_path / "link", tmp_path / "pipe"
    kept.write_text("kept")
    link.symlink_to(kept)
    os.mkfifo(pipe)
    for target, said in ((link, "is a link"), (pipe, "is a FIFO")):
        done = harness("report", str(sweep), f"format={name}", f"out={target}", cwd=tmp_path)
        assert done.returncode == 2
        assert f"{target}: cannot be written ({said})" in done.stderr
        assert done.stderr.count("\n") == 1
    assert link.is_symlink()
    assert pipe.is_fifo()
    assert kept.read_text() == "kept"

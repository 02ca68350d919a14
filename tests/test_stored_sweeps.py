"""Sweeps that an earlier version stored: read, recomputed and compared as they were then.

`golden/sweeps-1.0` was written by the first version of the result file's schema, from scripted
latencies with noise. Whatever moves in the code, their figures, verdicts and exit statuses stay.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reports
from harness.judging import summary
from harness.records import result_file

STORED = Path(__file__).resolve().parent / "golden" / "sweeps-1.0"
NAMES = sorted(path.name for path in STORED.iterdir())
FIGURES = (
    "status", "n", "processes", "mean_s", "p50_s", "p90_s", "p95_s", "p99_s", "max_s", "cl50_s",
    "cl90_s", "cl95_s", "cl99_s", "cl100_s", "items_per_s", "items_per_s_lo", "items_per_s_hi",
    "items_padded_per_s", "rtf", "x_realtime",
)  # fmt: skip


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def same(then: Any, now: Any) -> bool:
    if isinstance(then, float) and isinstance(now, float):
        return math.isclose(then, now, rel_tol=1e-9)
    return bool(then == now)


@pytest.mark.parametrize("name", NAMES)
def test_every_stored_figure_is_computed_again(name: str) -> None:
    done = harness("verify", str(STORED / name))
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 problems" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_summary_has_the_figures_it_had(name: str) -> None:
    stored = json.loads((STORED / name / "summary.json").read_text())["rows"]
    then = {(row["point_id"], row["device"], row["subject"]): row for row in stored}
    trials = result_file.load_sweep(STORED / name).trials
    now = {
        (row["point_id"], row["device"], row["subject"]): row
        for trial in trials
        for row in summary.rows(trial)
    }
    assert then.keys() <= now.keys()
    for key, row in then.items():
        for figure in FIGURES:
            assert same(row[figure], now[key][figure]), (key, figure)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_made_of_it(name: str, tmp_path: Path) -> None:
    page = reports.render(STORED / name, out=tmp_path / "report.html")
    assert "<table" in page.read_text(encoding="utf-8")


def test_the_verdicts_beside_a_baseline_are_those_of_then() -> None:
    done = harness("compare", str(STORED / "beside"), "format=json")
    then = json.loads((STORED / "beside" / "comparison.json").read_text())
    now = json.loads(done.stdout)
    assert done.returncode == 3
    assert len(then["rows"]) == len(now["rows"]) > 0
    for before, after in zip(then["rows"], now["rows"], strict=True):
        for key in ("metric", "verdict", "ratio"):
            assert same(before[key], after[key])


def test_two_files_of_then_are_compared() -> None:
    done = harness(
        "compare", str(STORED / "many"), str(STORED / "beside" / "baseline"), "format=json"
    )
    assert done.returncode == 0
    rows = json.loads(done.stdout)["rows"]
    assert {row["verdict"] for row in rows} == {"unresolved"}
    assert all(0.98 < row["ratio"] < 1.04 for row in rows)


def test_history_reads_what_earlier_versions_summarised(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    for name in ("many", "compat"):
        shutil.copytree(STORED / name, tmp_path / name)
        summary.write_summary(
            tmp_path / name, summary.summary_parts(result_file.load_sweep(tmp_path / name).trials)
        )
    done = harness("history", str(tmp_path), "format=json")
    assert done.returncode == 0, done.stderr
    assert "latency.mean" in done.stdout

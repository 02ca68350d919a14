"""The command line from outside: what it prints, the files it writes, how it leaves."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from harness.judging import complete

if TYPE_CHECKING:
    from pathlib import Path


SCHEMA = json.loads(resources.files("harness").joinpath("trial.schema.json").read_text("utf-8"))
FAKE = ["backend=fake", "model=tiny", "il=16", "num_iters=20"]


def harness(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def folder_of(cwd: Path) -> Path:
    (folder,) = (cwd / "outputs").iterdir()
    return folder


def documents(cwd: Path) -> list[dict[str, Any]]:
    paths = sorted(folder_of(cwd).glob("points/*/*.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_a_sweep_leaves_results_logs_summary_and_report(tmp_path: Path) -> None:
    done = harness("-m", *FAKE, "quant=force_float16,force_float32", "bs=1,4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = folder_of(tmp_path)
    assert (folder / "report.html").is_file()
    assert (folder / "summary.json").is_file()
    assert len(list((folder / "logs").iterdir())) == 4
    assert [doc["status"]["state"] for doc in documents(tmp_path)] == ["ok"] * 4
    for document in documents(tmp_path):
        jsonschema.Draft202012Validator(SCHEMA).validate(document)
        again = {key: value for key, value in document.items() if key != "content_sha256"}
        assert complete.complete(again) == document
    assert "[4/4]" in done.stdout
    assert "Traceback" not in done.stderr


def test_every_surface_says_synthetic_weights(tmp_path: Path) -> None:
    done = harness(*FAKE, cwd=tmp_path)
    folder = folder_of(tmp_path)
    (log,) = (folder / "logs").iterdir()
    (document,) = documents(tmp_path)
    for surface in (
        done.stdout,
        log.read_text(),
        (folder / "report.html").read_text(),
        (folder / "summary.csv").read_text(),
        (folder / "summary.json").read_text(),
        document["weights"]["label"],
    ):
        assert "synthetic weights" in surface
    for path in (path for path in folder.rglob("*") if path.is_file()):
        said = path.read_bytes()
        assert b"synthetic weights" in said or "synthetic-weights" in path.name, path


def test_spans_and_residual_equal_the_total_exactly(tmp_path: Path) -> None:
    harness(*FAKE, "waveglow=true", cwd=tmp_path)
    (document,) = documents(tmp_path)
    stages = [stage["name"] for stage in document["stages"]]
    assert stages == ["encoder", "decoder", "postnet", "waveglow"]
    for process in document["processes"]:
        columns = process["columns"]
        for row in range(len(columns["latency_ns"])):
            spans = sum(columns[f"{stage}_ns"][row] for stage in stages)
            glue = sum(process["glue"][stage][row] for stage in stages)
            assert glue == columns["glue_ns"][row]
            assert spans + glue + columns["residual_ns"][row] == columns["latency_ns"][row]


def test_summary_csv_has_a_row_for_the_whole_and_for_every_stage(tmp_path: Path) -> None:
    harness(*FAKE, cwd=tmp_path)
    with (folder_of(tmp_path) / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["subject"] for row in rows] == ["latency", "encoder", "decoder", "postnet"]
    for row in rows:
        for key in ("cl50_s", "cl90_s", "cl95_s", "cl99_s", "cl100_s", "items_per_s"):
            assert float(row[key]) > 0


def test_a_failing_point_does_not_stop_the_others(tmp_path: Path) -> None:
    done = harness("-m", *FAKE, "bs=1", "backend.fail=null,segv", cwd=tmp_path)
    assert done.returncode == 6
    states = sorted(doc["status"]["state"] for doc in documents(tmp_path))
    assert states == ["failed", "ok"]
    assert "SIGSEGV" in done.stdout
    assert (folder_of(tmp_path) / "report.html").is_file()


def test_an_unsupported_mode_is_skipped_with_its_reason(tmp_path: Path) -> None:
    done = harness(
        "-m",
        *FAKE,
        "quant=force_float32,qint8_mixed_float32",
        "backend.unsupported=qint8_mixed_float32",
        cwd=tmp_path,
    )
    assert done.returncode == 0
    states = {doc["point"]["config"]["quant"]: doc["status"] for doc in documents(tmp_path)}
    assert states["force_float32"]["state"] == "ok"
    assert states["qint8_mixed_float32"]["state"] == "skipped"
    assert states["qint8_mixed_float32"]["reason"]


def test_nothing_measured_is_its_own_exit_status(tmp_path: Path) -> None:
    done = harness(*FAKE, "backend.unsupported=force_float32", cwd=tmp_path)
    assert done.returncode == 5


def test_a_hanging_worker_is_a_timeout(tmp_path: Path) -> None:
    done = harness(*FAKE, "backend.fail=hang", "measure.call_timeout_s=1", cwd=tmp_path)
    assert done.returncode == 6
    (document,) = documents(tmp_path)
    assert document["status"]["state"] == "timeout"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bs=0"], "bs=0"),
        (["backend.noise=much"], "noise"),
        (["devices=7"], "devices=7"),
        (["models_dir=/no/such/folder"], "/no/such/folder"),
        (["outputs=/proc/here"], "/proc/here"),
        (["-m", "bs=1,2", "log_file=one.log"], "one.log"),
        (["wibble"], "wibble"),
        (["report", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    fake = [] if arguments[0] in {"wibble", "report"} else FAKE
    first = arguments[:1] if arguments[0] in {"-m", "wibble", "report"} else []
    done = harness(*first, *fake, *arguments[len(first) :], cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("harness: error: ")
    assert said in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_progress_without_a_terminal_is_plain_lines(tmp_path: Path) -> None:
    done = harness(*FAKE, cwd=tmp_path)
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    for phase in ("building", "loading", "warm-up", "measuring"):
        assert phase in done.stderr
    assert "point 1 of 1" in done.stderr


def test_ctrl_c_saves_what_was_measured_and_leaves_with_130(tmp_path: Path) -> None:
    slow = [*FAKE, "backend.clock=real", "backend.durations=encoder:300000000", "num_iters=500"]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *slow],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "measuring" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    (document,) = documents(tmp_path)
    assert document["status"]["state"] == "interrupted"
    assert document["processes"][0]["columns"]["latency_ns"]
    assert (folder_of(tmp_path) / "report.html").is_file()


def test_the_report_can_be_rendered_again(tmp_path: Path) -> None:
    harness(*FAKE, cwd=tmp_path)
    page = folder_of(tmp_path) / "report.html"
    before = page.read_bytes()
    page.unlink()
    done = harness("report", str(page.parent), cwd=tmp_path)
    assert done.returncode == 0
    assert page.read_bytes() == before


def test_a_sweep_measures_fresh_processes_in_interleaved_blocks(tmp_path: Path) -> None:
    harness("-m", *FAKE, "bs=1,2", cwd=tmp_path)
    seen = sorted(
        (process["block"], process["order"], doc["point"]["config"]["bs"])
        for doc in documents(tmp_path)
        for process in doc["processes"]
    )
    assert [(block, order) for block, order, _ in seen] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
        (3, 1),
        (3, 2),
    ]
    pids = {process["pid"] for doc in documents(tmp_path) for process in doc["processes"]}
    assert len(pids) == 6


def test_the_time_limit_is_named_when_it_cuts_iterations(tmp_path: Path) -> None:
    harness(
        *FAKE,
        "backend.clock=real",
        "backend.durations=encoder:200000000",
        "num_iters=100",
        "measure.time_limit_s=3",
        cwd=tmp_path,
    )
    (document,) = documents(tmp_path)
    assert document["method"]["cut_short"] is True
    assert any("100" in warning["seen"] for warning in document["warnings"])

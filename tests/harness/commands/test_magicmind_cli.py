"""A sweep of the MagicMind backend from the command line, on the double."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DOUBLES = Path(__file__).resolve().parents[2] / "doubles"
SMALL = ["model=tiny", "il=16", "num_iters=3", "measure.min_processes=1", "measure.max_processes=1"]
PYTHON37 = os.environ.get("HARNESS_PYTHON37")
"""A Python 3.7 with numpy and onnxruntime, for the one test that wants the real interpreter."""


def harness(
    cwd: Path, *arguments: str, double: dict[str, Any] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    own = {
        "PYTHONPATH": str(DOUBLES),
        "PATH": f"{DOUBLES / 'bin'}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(cwd / "cache"),  # what one test builds, another must not find
        "MAGICMIND_DOUBLE": json.dumps(double or {}),
        "MAGICMIND_DOUBLE_LOG": str(cwd / "calls.jsonl"),
    }
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **own, **environment},
    )


def documents(cwd: Path) -> dict[str, dict[str, Any]]:
    paths = (cwd / "outputs").glob("*/points/*/*.json")
    found = [json.loads(path.read_text()) for path in paths]
    return {one["point"]["name"]: one for one in found}


def golden(cwd: Path, quant: str) -> Any:
    (path,) = (cwd / "outputs").glob(f"*/points/*{quant}-bs1-*/golden-*.npz")
    return np.load(path)


def test_a_sweep_runs_and_its_mel_equals_the_cpu_reference(tmp_path: Path) -> None:
    mlu, cpu = tmp_path / "mlu", tmp_path / "cpu"
    mlu.mkdir()
    cpu.mkdir()
    quants = "quant=force_float16,force_float32,qint8_mixed_float16"
    done = harness(mlu, "-m", "backend=magicmind", *SMALL, quants, "bs=1,12", "waveglow=true")
    assert done.returncode == 0, done.stderr
    found = documents(mlu)
    assert len(found) == 6
    for name, one in found.items():
        assert one["status"] == {"state": "ok", "reason": None}, name
        assert one["settings"]["runtime"] == {"name": "magicmind", "version": "1.6.0"}
        assert one["settings"]["device"]["name"] == "MLU370-S4"
        build = one["settings"]["effective"]["decoder"]["build"]["config"]
        assert build["precision_config"]["precision_mode"] == one["point"]["config"]["quant"]
        # One build for the whole sweep, so its range covers the batch size nobody foresaw.
        assert build["dim_range"]["0"]["max"][0] == 12
    builds = [json.loads(line) for line in (mlu / "calls.jsonl").read_text().splitlines()]
    # Three modes of four stages; the float32 build is there already for the calibration.
    assert len([one for one in builds if one["call"] == "build_model"]) == 3 * 4
    # One thread and the files as they are, as the double has: the order of additions is part of
    # equality.
    same = ["backend.intra_threads=1", "backend.graph=contract"]
    assert harness(cpu, *SMALL, "waveglow=true", *same).returncode == 0
    wanted, seen = golden(cpu, "force_float32"), golden(mlu, "force_float32")
    for name in ("mel_outputs_postnet", "mel_lengths_t", "audio"):
        np.testing.assert_array_equal(seen[name], wanted[name])


def test_a_refused_build_leaves_the_other_points_alone(tmp_path: Path) -> None:
    refuse = {"refuse": {"precision_config.precision_mode": "force_float16"}}
    done = harness(
        tmp_path, "-m", "backend=magicmind", *SMALL, "quant=force_float16,force_float32",
        double=refuse,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = documents(tmp_path)
    states = {one["point"]["config"]["quant"]: one["status"] for one in found.values()}
    assert states["force_float32"]["state"] == "ok"
    assert states["force_float16"]["state"] == "skipped"
    # The SDK says why on standard error only; that is part of the reason.
    assert "precision_config.precision_mode=force_float16 is refused" in str(
        states["force_float16"]["reason"]
    )


def test_a_failing_card_fails_the_point_in_one_line(tmp_path: Path) -> None:
    done = harness(tmp_path, "backend=magicmind", *SMALL, double={"fail": {"enqueue": 5}})
    assert done.returncode == 6
    (one,) = documents(tmp_path).values()
    assert one["status"]["state"] == "failed"
    assert one["status"]["reason"] == "MagicMind: enqueue failed: injected failure of enqueue"
    assert "Traceback" not in done.stdout + done.stderr


def test_a_hang_is_killed_and_reported(tmp_path: Path) -> None:
    done = harness(
        tmp_path, "backend=magicmind", *SMALL, "measure.call_timeout_s=4",
        double={"hang": "enqueue"},
    )  # fmt: skip
    assert done.returncode == 6
    (one,) = documents(tmp_path).values()
    assert one["status"] == {
        "state": "timeout",
        "reason": "verify: no answer within 4 s; killed",
    }


def test_without_the_sdk_nothing_is_measured_and_the_reason_says_where_to_look(
    tmp_path: Path,
) -> None:
    done = harness(tmp_path, "backend=magicmind", *SMALL, PYTHONPATH="")
    assert done.returncode == 5
    assert "MagicMind is not installed" in done.stdout
    assert "backend.python=" in done.stdout


def test_a_card_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    done = harness(tmp_path, "backend=magicmind", *SMALL, "devices=3")
    assert done.returncode == 2
    assert "no device '3'; there are: 0; MLU_VISIBLE_DEVICES is not set" in done.stderr


@pytest.mark.parametrize("interpreter", [pytest.param(PYTHON37, id="3.7")])
def test_the_worker_runs_on_python_3_7(tmp_path: Path, interpreter: str | None) -> None:
    if interpreter is None:
        pytest.skip("HARNESS_PYTHON37 names no Python 3.7 with numpy and onnxruntime")
    command = shlex.join([shutil.which("env") or "env", f"PYTHONPATH={DOUBLES}", interpreter])
    python = f"backend.python='{command}'"
    done = harness(tmp_path, "backend=magicmind", python, *SMALL, PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    (one,) = documents(tmp_path).values()
    assert one["status"]["state"] == "ok"
    assert one["processes"][0]["interpreter"].startswith("CPython 3.7")


def test_two_cards_work_at_the_same_time(tmp_path: Path) -> None:
    done = harness(
        tmp_path, "backend=magicmind", *SMALL, "devices=0,1", "num_iters=100",
        double={"devices": 2}, FAKE_CNMON=json.dumps({"cards": 2}),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (one,) = documents(tmp_path).values()
    assert [process["device"] for process in one["processes"]] == ["0", "1"]
    assert len({process["pid"] for process in one["processes"]}) == 2
    (together,) = one["devices"]["rounds"]
    assert set(together["overlap"]) == {"0", "1"}
    assert together["skew_s"] >= 0
    assert one["settings"]["devices"]["1"]["facts"]["uuid"].endswith("1")
    # One log block a card, one row a card beside that of both.
    (log,) = (tmp_path / "outputs").glob("*/logs/*")
    assert "dev[0]" in log.read_text()
    assert "dev[1]" in log.read_text()
    (table,) = (tmp_path / "outputs").glob("*/summary.json")
    rows = json.loads(table.read_text())["rows"]
    whole = {row["device"]: row for row in rows if row["subject"] == "latency"}
    assert set(whole) == {"0,1", "0", "1"}
    assert whole["0,1"]["items_per_s"] > max(whole[card]["items_per_s"] for card in "01") * 0.5
    assert "skew" in done.stdout
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    # The second card's worker found what the first one's built, and each used its own card.
    assert len([call for call in calls if call["call"] == "build_model"]) == 3
    used = {(call["pid"], call["device"]) for call in calls if call["call"] == "enqueue"}
    assert sorted(device for _, device in used) == [0, 1]


def test_a_card_that_fails_ends_the_round_and_names_itself(tmp_path: Path) -> None:
    done = harness(
        tmp_path, "backend=magicmind", *SMALL, "devices=0,1",
        double={"devices": 2, "fail": {"sync": 7}, "fail_on": 1},
        FAKE_CNMON=json.dumps({"cards": 2}),
    )  # fmt: skip
    assert done.returncode == 6
    (one,) = documents(tmp_path).values()
    assert one["status"]["reason"] == ("device 1: MagicMind: sync failed: injected failure of sync")


def test_a_card_is_looked_at_around_and_during_a_process(tmp_path: Path) -> None:
    done = harness(
        tmp_path, "backend=magicmind", *SMALL, "num_iters=400", "measure.telemetry_s=0.2",
        FAKE_CNMON=json.dumps({"power": [40, 60]}),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (one,) = documents(tmp_path).values()
    (process,) = one["processes"]
    told = process["telemetry"]
    for end in ("before", "after"):
        assert told[end]["power_w"] in {40.0, 60.0}
        assert told[end]["clock_mhz"] is None
    columns = told["during"]["columns"]
    assert told["during"]["period_s"] == 0.2
    assert len(columns["at_ns"]) >= 1
    assert min(columns["cost_ns"]) > 0
    # Samples and iterations share one clock.
    first = process["clock_epoch_ns"] + process["columns"]["start_ns"][0]
    assert all(at > first for at in columns["at_ns"])
    assert "30 s are needed" in one["energy"]["reason"]


def test_without_cnmon_the_reason_stands_where_the_figure_would(tmp_path: Path) -> None:
    bare = f"{Path(sys.executable).parent}"
    done = harness(tmp_path, "backend=magicmind", "backend.arch=mtp_372", *SMALL, PATH=bare)
    assert done.returncode == 0, done.stderr
    (one,) = documents(tmp_path).values()
    assert one["settings"]["device"]["name"] is None
    assert "cnmon is not on PATH" in one["settings"]["device"]["facts"]["reasons"]["power_w"]
    assert "cnmon is not on PATH" in one["processes"][0]["telemetry"]["before"]["reason"]


def test_doctor_says_what_is_found_and_what_is_missing(tmp_path: Path) -> None:
    done = harness(tmp_path, "doctor", "backend=magicmind")
    assert done.returncode == 0, done.stderr
    for seen in ("MLU370-S4, driver v5.10.22", "version 1.6.0", '["mtp_372"]'):
        assert seen in done.stdout
    missing = harness(tmp_path, "doctor", "backend=magicmind", "fail_on=warning", PYTHONPATH="")
    assert missing.returncode == 1
    assert "MagicMind is not installed for Python" in missing.stdout
    assert "backend.python='docker exec -i CONTAINER python3.7'" in missing.stdout


def test_the_originals_own_run_is_an_experiment(tmp_path: Path) -> None:
    done = harness(tmp_path, "-m", "experiment=mlu370_s4", "model=tiny", double={"clusters": 6})
    assert done.returncode == 0, done.stderr
    found = documents(tmp_path)
    points = {
        (one["point"]["config"]["quant"], one["point"]["config"]["bs"]) for one in found.values()
    }
    assert points == {(f"force_float{bits}", bs) for bits in (16, 32) for bs in (1, 4, 8)}
    for one in found.values():
        config, method = one["point"]["config"], one["method"]
        assert config["backend"]["name"] == "magicmind"
        assert (config["il"], config["waveglow"], config["sync"]) == (128, False, "stage")
        assert (method["warmup_iters"], method["num_iters"], method["processes"]) == (3, 10, 1)
        build = one["settings"]["effective"]["decoder"]["build"]["config"]
        # The original labels a float16 build float32; here the label is what is built.
        assert build["precision_config"]["precision_mode"] == config["quant"]
        assert build["archs"] == [{"mtp_372": [6, 8]}]
        assert build["dim_range"]["0"] == {"min": [1, 80], "max": [8, 80]}
        assert one["compat"]["0"]["n"] == 10
    logs = {path.name for path in (tmp_path / "outputs").glob("*/logs/*")}
    assert "force_float16_8_128_log_perf" in logs

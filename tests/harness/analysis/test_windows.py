"""Several devices: the common window, what counts in it, and the common start."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from harness.analysis import metrics, windows
from harness.analysis.series import Series
from harness.errors import WorkerError
from harness.measuring.gate import WAITED, Gate
from tests.harness.commands.test_measure import documents, harness

if TYPE_CHECKING:
    from pathlib import Path


MS = 1_000_000


def process(device: str, index: int, starts_ms: list[int], lasting_ms: int) -> dict[str, Any]:
    """A process whose iterations make ten frames each."""
    count = len(starts_ms)
    return {
        "index": index,
        "device": device,
        "warmup": 0,
        "clock_epoch_ns": 10**18,  # a machine that is up for thirty years
        "columns": {
            "start_ns": [start * MS for start in starts_ms],
            "latency_ns": [lasting_ms * MS] * count,
            "decoder_ns": [lasting_ms * MS] * count,
            "glue_ns": [0] * count,
            "residual_ns": [0] * count,
            "pre_ns": [0] * count,
            "post_ns": [0] * count,
        },
        "glue": {"decoder": [0] * count},
        "work": {"mel_frames_valid": [10] * count, "mel_frames_padded": [10] * count,
                 "utterances": [1] * count},
        "load_ns": 0, "compile_ns": 0, "first_ns": 0,
    }  # fmt: skip


def document(*processes: dict[str, Any]) -> dict[str, Any]:
    return {
        "processes": list(processes),
        "stages": [{"name": "decoder", "produces": "mel_frames"}],
        "parts": {},
        "audio": {"hop_samples": 256, "sampling_rate_hz": 22050},
        "method": {"warmup_iters": 0},
    }


def two() -> dict[str, Any]:
    """Device 0 works from 0 to 100 ms in steps of 10, device 1 from 5 to 105 in steps of 20."""
    return document(
        process("0", 1, list(range(0, 100, 10)), 10), process("1", 1, list(range(5, 105, 20)), 20)
    )


def test_the_window_runs_from_the_latest_start_to_the_earliest_end() -> None:
    (found,) = windows.rounds(Series(two()))
    assert found.seconds == pytest.approx(0.095)
    assert found.skew_s == pytest.approx(0.005)
    assert found.overlap("0") == pytest.approx(0.95)
    assert found.overlap("1") == pytest.approx(0.95)


def test_an_iteration_on_the_edge_counts_by_its_fraction_inside() -> None:
    series = Series(two())
    done, seconds = windows.windowed(series, series.work("mel_frames_valid"))
    # Device 0: half of its first iteration and nine whole ones; device 1: four and three quarters.
    assert done[0][0] == pytest.approx(95 + 47.5)
    assert seconds[0][0] == pytest.approx(0.095)


def test_the_rate_of_the_whole_is_that_of_the_window_and_no_sum() -> None:
    summary = metrics.summarise(two())
    rate = summary["latency.items_per_s"]
    assert rate["estimate"] == pytest.approx(142.5 / 0.095)
    assert "common window" in rate["method"]
    # A stage's rate stays what it is on the devices.
    assert summary["decoder.items_per_s"]["estimate"] == pytest.approx(150 / 0.2)


def test_each_device_keeps_its_own_rate_and_the_imbalance_is_their_ratio() -> None:
    found = windows.assess(Series(two()))
    assert found["items_per_s"] == {"0": pytest.approx(1000), "1": pytest.approx(500)}
    assert found["imbalance"] == pytest.approx(2)
    assert found["efficiency"]["value"] is None
    assert found["efficiency"]["reason"]
    assert windows.least_overlap(found) == pytest.approx(0.95)


def test_devices_that_never_worked_together_have_no_rate() -> None:
    apart = document(process("0", 1, [0, 10], 10), process("1", 1, [50, 60], 10))
    assert "latency.items_per_s" not in metrics.summarise(apart)
    assert windows.least_overlap(windows.assess(Series(apart))) == 0


def test_one_device_has_no_window() -> None:
    alone = document(process("0", 1, [0, 10], 10))
    assert windows.assess(Series(alone)) == {}
    rate = metrics.summarise(alone)["latency.items_per_s"]
    assert rate["estimate"] == pytest.approx(1000)
    assert "window" not in rate["method"]


def test_a_round_that_lost_a_device_does_not_count() -> None:
    whole = two()
    whole["processes"].append(process("0", 2, [0, 10], 10))
    assert [one.index for one in windows.rounds(Series(whole))] == [1]


def test_the_gate_opens_when_everybody_is_there() -> None:
    gate = Gate(["0", "1"])
    seen: list[str] = []

    def other() -> None:
        gate.start()
        seen.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    assert not seen
    gate.start()
    thread.join(10)
    assert seen == ["other"]


def test_nobody_ends_while_another_runs() -> None:
    gate = Gate(["0", "1"])
    assert gate.others_run("0")
    assert not gate.others_run("1")
    assert not gate.others_run("0")


def test_who_waits_for_a_failed_device_is_told() -> None:
    gate = Gate(["0", "1"])
    gate.leave("1")
    with pytest.raises(WorkerError, match=WAITED):
        gate.start()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two devices of the CPU need two CPUs")
def test_devices_of_the_cpu_keep_to_cores_of_their_own(tmp_path: Path) -> None:
    done = harness("model=tiny", "il=8", "devices=0,1", "num_iters=5", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (document,) = documents(tmp_path)
    pinned = [one["facts"]["pinned"] for one in document["settings"]["devices"].values()]
    assert all(pinned)
    assert not set(pinned[0]) & set(pinned[1])
    assert document["settings"]["options"]["intra_threads"] == len(pinned[0])
    assert len(document["devices"]["rounds"]) == 3


@pytest.mark.parametrize("words", [["devices=1"], [f"devices={','.join(map(str, range(500)))}"]])
def test_cpus_that_are_not_there_are_refused(words: list[str], tmp_path: Path) -> None:
    done = harness("model=tiny", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "CPU" in done.stderr.splitlines()[-1]

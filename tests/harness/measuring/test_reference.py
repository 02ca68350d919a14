"""Distances from the reference, worked out by hand, and what follows from a large one."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.analysis import accuracy
from harness.analysis.accuracy import SavedOutputs

if TYPE_CHECKING:
    from pathlib import Path


LIMITS = {"frames": 0.0, "steps": 0.0, "mel_db": 1.0, "audio_db": 2.0}


def outputs(
    lengths: list[int], *, gain: float = 1.0, steps: int = 10, seed: int = 1
) -> SavedOutputs:
    random, longest = np.random.default_rng(seed), max(lengths)
    mel = random.standard_normal((len(lengths), 80, longest)).astype("float32")
    audio = random.standard_normal((len(lengths), 256 * longest)).astype("float32")
    return SavedOutputs(np.array(lengths), steps, mel + math.log(gain), audio * gain, 256)


def test_the_same_outputs_are_at_no_distance() -> None:
    one = outputs([10, 7])
    found = accuracy.distances(one, one)
    assert found == {
        "frames": 0.0, "steps": 0.0, "mel_db": 0.0, "alignment": None, "audio_db": 0.0,
    }  # fmt: skip


def test_attention_on_another_symbol_counts_by_its_share() -> None:
    one, other = np.zeros((3, 1, 5), np.float32), np.zeros((3, 1, 5), np.float32)
    one[:, 0, 2] = 1.0
    other[:, 0, 2], other[:, 0, 3] = 0.75, 0.25
    other[2, 0] = 0.0  # beyond the row's two frames
    sides = [
        SavedOutputs(np.array([2]), 3, np.zeros((1, 80, 3)), None, 256, at) for at in (one, other)
    ]
    assert accuracy.distances(*sides)["alignment"] == pytest.approx(0.25)


def test_twice_the_amplitude_is_six_decibels_everywhere() -> None:
    found = accuracy.distances(outputs([10, 7]), outputs([10, 7], gain=2.0))
    assert found["mel_db"] == pytest.approx(20 * math.log10(2), rel=1e-5)
    assert found["audio_db"] == pytest.approx(20 * math.log10(2), rel=1e-4)


def test_a_single_band_counts_by_its_share() -> None:
    mel = np.zeros((80, 3), np.float32)
    other = mel.copy()
    other[17, 1] = math.log(10)
    found = accuracy.mel_distance(mel, other)
    assert found == pytest.approx([0.0, 20 / math.sqrt(80), 0.0], rel=1e-6)


def test_lengths_and_steps_count_by_their_largest_difference() -> None:
    found = accuracy.distances(outputs([10, 7], steps=11), outputs([10, 4], steps=9))
    assert (found["frames"], found["steps"]) == (3.0, 2.0)


def test_only_frames_that_both_have_are_compared() -> None:
    long, short = outputs([10]), outputs([10])
    cut = SavedOutputs(np.array([6]), 7, short.mel[:, :, :6], short.audio[:, : 6 * 256], 256)  # type: ignore[index]
    found = accuracy.distances(long, cut)
    assert found["mel_db"] == 0.0
    assert found["audio_db"] == 0.0


def test_what_lies_beyond_a_rows_length_does_not_count() -> None:
    one, other = outputs([10, 7]), outputs([10, 7])
    other.mel[1, :, 7:] = 99.0
    assert other.audio is not None
    other.audio[1, 7 * 256 :] = 99.0
    assert accuracy.distances(one, other)["mel_db"] == 0.0
    assert accuracy.distances(one, other)["audio_db"] == 0.0


def test_nothing_to_compare_is_no_distance() -> None:
    none = SavedOutputs(np.array([0]), 1, np.zeros((1, 80, 1), np.float32), None, 256)
    found = accuracy.distances(outputs([4]), none)
    assert found["mel_db"] is None
    assert found["audio_db"] is None
    assert found["frames"] == 4.0


def test_silence_has_no_distance_from_silence() -> None:
    silent = np.zeros(4096, np.float32)
    assert accuracy.log_spectral_distance(silent, silent).tolist() == [0.0] * 13


def test_audio_shorter_than_a_window_is_compared() -> None:
    audio = np.ones(300, np.float32)
    found = accuracy.log_spectral_distance(audio, 10 * audio)
    assert found[0] == pytest.approx(20.0, abs=0.1)


def test_a_distance_at_its_limit_passes_and_above_it_fails() -> None:
    distance: dict[str, float | None] = {"frames": 0, "steps": 0, "mel_db": 1.0, "audio_db": None}
    assert accuracy.judged(distance, LIMITS, None)["state"] == "passed"
    record = accuracy.judged({**distance, "mel_db": 1.234}, LIMITS, None)
    assert record["state"] == "failed"
    (line,) = accuracy.lines(record, "force_float16")
    assert line == (
        "mel distance 1.23 dB from the float32 reference, limit 1.00; the smallest that passes: "
        "accuracy.force_float16.mel_db=1.24"
    )


@pytest.mark.parametrize("value", [0.0, 0.001, 0.01, 1.0, 1.2345, 7.999999])
def test_the_limit_that_is_named_would_have_passed_and_less_would_not(value: float) -> None:
    (named,) = [accuracy.judged({"mel_db": value}, {}, None)["figures"]["mel_db"]["would_pass"]]
    assert accuracy.judged({"mel_db": value}, {"mel_db": named}, None)["state"] == "passed"
    below = {"mel_db": named - 0.01}
    assert accuracy.judged({"mel_db": value}, below, None)["state"] == "failed"


def test_without_a_limit_nothing_fails() -> None:
    assert accuracy.judged({"mel_db": 99.0}, {"mel_db": None}, None)["state"] == "passed"


def test_other_draws_are_held_against_the_distance_between_two_seeds() -> None:
    seeds: dict[str, float | None] = {"mel_db": 8.0}
    assert accuracy.judged({"mel_db": 11.9}, LIMITS, seeds)["state"] == "passed"
    assert accuracy.judged({"mel_db": 12.1}, LIMITS, seeds)["state"] == "failed"
    quiet: dict[str, float | None] = {"mel_db": 0.1}
    assert accuracy.judged({"mel_db": 0.9}, LIMITS, quiet)["figures"]["mel_db"]["limit"] == 1.0


def harness(*words: str, cwd: Path) -> tuple[subprocess.CompletedProcess[str], list[Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "-m", "model=tiny", "il=16", "num_iters=2",
         "measure.min_processes=1", "measure.max_processes=1", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    found = sorted((cwd / "outputs").glob("*/points/*/*.json"))
    return done, [json.loads(path.read_text()) for path in found]


def test_rounding_to_half_is_a_small_distance_that_passes(tmp_path: Path) -> None:
    done, found = harness(
        "quant=force_float32,force_float16", "waveglow=true", "bs=2", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout
    by_quant = {one["point"]["config"]["quant"]: one["accuracy"] for one in found}
    exact = {key: one["value"] for key, one in by_quant["force_float32"]["figures"].items()}
    assert exact["frames"] == exact["steps"] == 0.0
    assert (
        max(one for one in exact.values() if one is not None) < 1e-4
    )  # the fused form sums in another order
    half = by_quant["force_float16"]
    assert half["state"] == "passed"
    assert 0.0 < half["figures"]["mel_db"]["value"] < 0.1
    assert 0.0 < half["figures"]["audio_db"]["value"] < 0.5


def test_int8_is_read_back_and_held_against_the_files_as_they_are(tmp_path: Path) -> None:
    done, (document,) = harness("quant=qint8_mixed_float32", "bs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert document["accuracy"]["state"] == "passed"
    assert 0.0 < document["accuracy"]["figures"]["mel_db"]["value"] < 1.0
    effective = document["settings"]["effective"]
    assert [effective[name]["compute"] for name in ("encoder", "decoder", "postnet")] == [
        "float32+int8", "float32+int8", "int8",
    ]  # fmt: skip
    assert {one["activations"] for one in effective.values()} == {"float32"}
    assert all(one["verified"] for one in effective.values())
    assert "float32+int8 compute" in done.stdout


def test_a_point_that_fails_keeps_its_times_and_is_marked_everywhere(tmp_path: Path) -> None:
    done, (document,) = harness(
        "quant=force_float16", "accuracy.force_float16.mel_db=0", cwd=tmp_path
    )
    assert done.returncode == 7
    assert document["status"]["state"] == "ok"
    assert document["summary"]["latency.mean"]["estimate"] > 0
    assert document["accuracy"]["state"] == "failed"
    assert "accuracy-failed" in {one["code"] for one in document["warnings"]}
    assert "accuracy failed: mel distance 0.01 dB from the float32 reference" in done.stdout
    assert "accuracy.force_float16.mel_db=0.01" in done.stdout
    (folder,) = (tmp_path / "outputs").iterdir()
    with (folder / "summary.csv").open(newline="") as file:
        assert {row["accuracy"] for row in csv.DictReader(file)} == {"failed"}
    assert "accuracy failed" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("accuracy=off",), "accuracy.check=false"),
        (("backend=fake",), "a scripted backend computes no outputs"),
    ],
)
def test_what_is_not_checked_is_said(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    done, (document,) = harness(*words, cwd=tmp_path)
    assert done.returncode == 0
    assert document["accuracy"] == {"state": "not checked", "reason": reason, "figures": {}}
    assert f"accuracy not checked: {reason}" in done.stdout


def golden(found: list[Any], key: str, value: Any) -> dict[str, Any]:
    (one,) = [one for one in found if one["point"]["config"].get(key) == value]
    return {name: facts["sha256"] for name, facts in one["processes"][0]["golden"].items()}


def test_the_seed_decides_frames_and_audio(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    words = ("waveglow=true", "bs=2", "accuracy=off")
    _, found = harness(*words, "seed=5,6", cwd=tmp_path)
    _, again = harness(*words, "seed=5", cwd=tmp_path / "again")
    assert golden(found, "seed", 5) == golden(again, "seed", 5)
    first, second = golden(found, "seed", 5), golden(found, "seed", 6)
    assert first["mel_outputs_postnet"] != second["mel_outputs_postnet"]
    assert first["audio"] != second["audio"]


def test_rows_share_their_dropout_or_draw_their_own(tmp_path: Path) -> None:
    _, found = harness("bs=2", "dropout=shared,per_row", cwd=tmp_path)
    assert [one["accuracy"]["state"] for one in found] == ["passed", "passed"]
    alike = {}
    for document in found:
        folder = next((tmp_path / "outputs").glob(f"*/points/*{document['point']['id']}*"))
        with np.load(next(folder.glob("golden-*.npz"))) as arrays:
            mel = arrays["mel_outputs"]
        # Both rows of the benchmark batch read the same text.
        alike["per_row" in document["point"]["name"]] = np.allclose(mel[0], mel[1], atol=1e-5)
    assert alike == {False: True, True: False}


def test_per_row_dropout_draws_the_same_in_half_precision(tmp_path: Path) -> None:
    _, (document,) = harness("bs=2", "dropout=per_row", "quant=force_float16", cwd=tmp_path)
    assert document["accuracy"]["state"] == "passed"
    assert document["accuracy"]["figures"]["mel_db"]["value"] < 0.1
    assert document["accuracy"]["figures"]["mel_db"]["between_seeds"] is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("sigma=3", "sigma=3.0: a standard deviation from 0 to 2.0"),
        ("dropout=none_at_all", "dropout"),
        ("accuracy.force_float16.mel=1", "unknown key 'accuracy.force_float16.mel'"),
    ],
)
def test_a_wrong_value_is_refused(word: str, said: str, tmp_path: Path) -> None:
    done, found = harness(word, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert not found


def test_dropout_of_files_is_decided_by_the_files(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    done, _ = harness("models_dir=models", "dropout=per_row", cwd=tmp_path)
    assert done.returncode == 2
    assert "the files of models_dir decide that" in done.stderr

"""WAV files: cut to the true length, in the text's order, in true amplitude."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.io import wavfile

from harness.measuring import wav
from harness.models.pipeline import AudioFormat

if TYPE_CHECKING:
    from pathlib import Path


FORMAT = AudioFormat(22_050, 256)


def golden(folder: Path, lengths: list[int], amplitude: float = 0.5) -> Path:
    audio = np.full((len(lengths), 256 * max(lengths)), 9.0, np.float32)
    for row, length in enumerate(lengths):
        audio[row, : 256 * length] = amplitude * (row + 1) / len(lengths)
    path = folder / "golden.npz"
    np.savez(path, audio=audio, mel_lengths_t=np.array(lengths, np.int32)[:, None])
    return path


def test_rows_are_cut_and_put_back_in_the_texts_order(tmp_path: Path) -> None:
    found = wav.write(golden(tmp_path, [5, 3, 2]), [2, 0, 1], FORMAT, "seed-1")
    assert found["files"] == [f"audio-seed-1-{number}.wav" for number in (1, 2, 3)]
    assert found["clipped"] == 0
    assert found["post_ns"] > 0
    expected = {1: (3, 2 / 3), 2: (2, 1.0), 3: (5, 1 / 3)}
    for number, (frames, share) in expected.items():
        rate, samples = wavfile.read(tmp_path / f"audio-seed-1-{number}.wav")
        assert (rate, len(samples), samples.dtype.name) == (22_050, 256 * frames, "int16")
        assert np.unique(samples).tolist() == [round(0.5 * share * 32767)]


def test_what_is_too_loud_is_cut_and_counted(tmp_path: Path) -> None:
    found = wav.write(golden(tmp_path, [2], amplitude=1.5), [0], FORMAT, "x")
    assert found["clipped"] == 512
    _, samples = wavfile.read(tmp_path / "audio-x-1.wav")
    assert np.unique(samples).tolist() == [32767]


def test_an_utterance_without_frames_has_no_file(tmp_path: Path) -> None:
    found = wav.write(golden(tmp_path, [4, 0]), [0, 1], FORMAT, "x")
    assert found["files"] == ["audio-x-1.wav"]


def harness(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "model=tiny", "il=8", "num_iters=1",
         "measure.min_processes=1", "measure.max_processes=1", "wav=true", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_leaves_one_file_an_utterance(tmp_path: Path) -> None:
    done = harness("waveglow=true", "bs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "outputs").glob("*/points/*/*.json")
    document = json.loads(path.read_text())
    names = [f"audio-synthetic-weights-seed-1234-{number}.wav" for number in (1, 2)]
    assert document["wav"]["files"] == names
    for name in names:
        rate, samples = wavfile.read(path.parent / name)
        assert (rate, len(samples)) == (22_050, 256 * 38)


@pytest.mark.parametrize("word", ["waveglow=false"])
def test_without_a_vocoder_there_is_no_audio(word: str, tmp_path: Path) -> None:
    done = harness(word, cwd=tmp_path)
    assert done.returncode == 2
    assert "wav=true: there is no audio without the vocoder" in done.stderr

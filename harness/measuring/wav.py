"""The audio of a point's seeded first pass as WAV files: one per utterance, in the text's order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.models.pipeline import AudioFormat


LARGEST = 32767


def write(golden: Path, order: Sequence[int], audio: AudioFormat, slug: str) -> dict[str, Any]:
    """Write 16-bit WAV files beside the outputs of a pass.

    Args:
        golden: the outputs: audio (batch, samples), mel_lengths_t (batch, 1).
        order: for each row, the place of its utterance in the text.
        audio: sampling rate, and samples of a frame.
        slug: what the weights are, as part of every name.

    Returns:
        files (names by utterance, empty ones left out), post_ns (what cutting, converting and
        writing took), clipped (samples beyond full scale, which were cut to it).
    """
    from scipy.io import wavfile  # noqa: PLC0415 - only when asked for

    with np.load(golden) as arrays:
        rows, lengths = arrays["audio"], arrays["mel_lengths_t"].ravel()
    begun, clipped = time.perf_counter_ns(), 0
    files: dict[int, str] = {}
    for row, utterance in enumerate(order):
        samples = rows[row, : int(lengths[row]) * audio.hop_samples]
        if not len(samples):
            continue
        clipped += int((np.abs(samples) > 1.0).sum())
        name = f"audio-{slug}-{utterance + 1}.wav"
        scaled = np.clip(samples, -1.0, 1.0) * LARGEST
        whole = np.rint(scaled).astype(np.int16)
        wavfile.write(golden.with_name(name), audio.sampling_rate_hz, whole)
        files[utterance] = name
    post_ns = time.perf_counter_ns() - begun
    return {"files": [files[one] for one in sorted(files)], "post_ns": post_ns, "clipped": clipped}

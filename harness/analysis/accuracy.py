"""Are a point's outputs still the network's? Distances from the float32 reference, and limits.

Compared are the seeded first pass of a point and the same pass of the reference: the length of
every row, the steps of the decoder, the mel frames and the audio, each over the part both have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from harness.units import apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]


DB_PER_NEPER = 20.0 / math.log(10.0)
"""A mel value is the natural logarithm of an amplitude."""
FAILED = "failed"
"""State of a record whose outputs are too far from the reference's."""
WINDOW, HOP = 1024, 256
FLOOR = 1e-5
"""Magnitudes below this share of the reference's largest (-100 dB) count as equal."""
OTHER_DRAWS = 1.5
"""With other random draws a distance may be so many times that between two seeds."""


@dataclass(frozen=True)
class OutputDistance:
    """One distance: its key in the limits, what it is called, and its unit."""

    key: str
    label: str
    unit: str
    digits: int


MEASURES = (
    OutputDistance("frames", "frames", "frames", 0),
    OutputDistance("steps", "stop step", "steps", 0),
    OutputDistance("mel_db", "mel distance", "dB", 2),
    OutputDistance("alignment", "alignment", "of the attention", 3),
    OutputDistance("audio_db", "log-spectral distance", "dB", 2),
)


@dataclass(frozen=True)
class SavedOutputs:
    """What one seeded pass made.

    Attributes:
        lengths: (batch,), valid mel frames of each row.
        steps: decoder steps until every row had stopped.
        mel: (batch, bands, frames), natural logarithm of amplitude.
        audio: (batch, samples), or None without the vocoder.
        hop: audio samples of one frame.
        alignments: (steps, batch, text), each row's attention over the text, or None.
    """

    lengths: Array
    steps: int
    mel: Array
    audio: Array | None
    hop: int
    alignments: Array | None = None


def mel_distance(reference: Array, found: Array) -> Array:
    """Return the distance of each frame in dB: root of the mean square over the bands.

    Args:
        reference: (bands, frames), natural logarithm of amplitude.
        found: the same shape.
    """
    difference = DB_PER_NEPER * (found.astype(np.float64) - reference)
    return np.asarray(np.sqrt((difference**2).mean(axis=0)))


def log_spectral_distance(reference: Array, found: Array) -> Array:
    """Return the distance of each frame in dB: root of the mean square over the frequencies.

    Gray and Markel, Distance measures for speech processing (IEEE Trans. ASSP 24, 1976), on
    magnitudes of a Hann window of 1024 samples every 256.

    Args:
        reference: (samples,).
        found: the same shape.
    """
    spectra = [np.abs(_frames(audio)) for audio in (reference, found)]
    least = max(FLOOR * float(spectra[0].max()), np.finfo(np.float64).tiny)
    levels = [20.0 * np.log10(np.maximum(one, least)) for one in spectra]
    return np.asarray(np.sqrt(((levels[1] - levels[0]) ** 2).mean(axis=1)))


def _frames(audio: Array) -> Array:
    padded = np.pad(audio.astype(np.float64), (0, max(0, WINDOW - len(audio))))
    windows = sliding_window_view(padded, WINDOW)[::HOP]
    return np.asarray(np.fft.rfft(windows * np.hanning(WINDOW)))


def distances(reference: SavedOutputs, found: SavedOutputs) -> dict[str, float | None]:
    """Return every distance; None where there is nothing to compare.

    frames is the largest difference of a row's length, steps that of the decoder's; mel_db,
    alignment (the share of the attention that lies on other symbols, half of the sum of absolute
    differences) and audio_db are means over the frames both have, of all rows.
    """
    common = np.minimum(reference.lengths, found.lengths).astype(int)
    pairs = zip(reference.mel, found.mel, common, strict=True)
    mel = [mel_distance(a[:, :end], b[:, :end]) for a, b, end in pairs if end]
    audio: list[Array] = []
    if reference.audio is not None and found.audio is not None:
        rows = zip(reference.audio, found.audio, common * reference.hop, strict=True)
        audio = [log_spectral_distance(a[:end], b[:end]) for a, b, end in rows if end]
    attended: list[Array] = []
    if reference.alignments is not None and found.alignments is not None:
        moved = zip(
            reference.alignments.swapaxes(0, 1), found.alignments.swapaxes(0, 1), common,
            strict=True,
        )  # fmt: skip
        attended = [np.abs(a[:end] - b[:end]).sum(axis=1) / 2 for a, b, end in moved if end]
    return {
        "frames": float(np.abs(reference.lengths.astype(int) - found.lengths).max()),
        "steps": float(abs(reference.steps - found.steps)),
        "mel_db": _mean(mel),
        "alignment": _mean(attended),
        "audio_db": _mean(audio),
    }


def _mean(frames: Sequence[Array]) -> float | None:
    return float(np.concatenate(frames).mean()) if frames else None


def judged(
    found: Mapping[str, float | None],
    limits: Mapping[str, float | None],
    between_seeds: Mapping[str, float | None] | None,
) -> dict[str, Any]:
    """Return the verdict on some distances.

    Args:
        found: by key of `MEASURES`.
        limits: the same keys; None: not limited.
        between_seeds: distances between two seeds of the reference, where the point cannot draw
            what the reference drew; the limits are then no less than 1.5 of these.

    Returns:
        state (`passed` or `failed`), figures (value, limit, unit, would_pass by key).
    """
    figures = {}
    for one in MEASURES:
        value, limit = found.get(one.key), limits.get(one.key)
        floor = (between_seeds or {}).get(one.key)
        if limit is not None and floor is not None:
            limit = max(limit, OTHER_DRAWS * floor)
        figures[one.key] = {
            "value": value,
            "limit": limit,
            "between_seeds": floor,
            "unit": one.unit,
            "passed": value is None or limit is None or value <= limit,
            "would_pass": None if value is None else _up(value, one.digits),
        }
    state = "passed" if all(one["passed"] for one in figures.values()) else FAILED
    return {"state": state, "reason": None, "figures": figures}


def _up(value: float, digits: int) -> float:
    """Return the smallest limit of so many digits that lets a value pass."""
    scale = 10.0**digits
    return math.ceil(value * scale) / scale


def not_checked(reason: str, *, fault: bool = False) -> dict[str, Any]:
    """Return the record of a point whose outputs are held against nothing.

    Args:
        reason: why.
        fault: they should have been, and something of ours failed.
    """
    marked = {"fault": True} if fault else {}
    return {"state": "not checked", "reason": reason, "figures": {}, **marked}


def at_fault(document: Mapping[str, Any]) -> bool:
    """Return whether a result's outputs should have been checked and could not be."""
    return bool((document.get("accuracy") or {}).get("fault"))


def failed(document: Mapping[str, Any]) -> bool:
    """Return whether a result's outputs were too far from the reference's."""
    return (document.get("accuracy") or {}).get("state") == FAILED


def lines(record: Mapping[str, Any], quant: str) -> Iterator[str]:
    """Yield one line for each distance that is too large, with the limit that would have passed."""
    for one in MEASURES:
        figure = record["figures"].get(one.key)
        if figure and not figure["passed"]:
            value, limit = apart(figure["value"], figure["limit"], one.digits)
            yield (
                f"{one.label} {value} {one.unit} from the float32 "
                f"reference, limit {limit}; the smallest that passes: "
                f"accuracy.{quant}.{one.key}={figure['would_pass']:.{one.digits}f}"
            )

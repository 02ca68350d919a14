"""What a point said: its WAV files as players inside the page, each with its mel bands.

A recording lies beside the result file it belongs to. Pages stay one file of bounded size, so only
the first recordings are embedded; the others are named with their places.
"""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.text.plain import plain

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from reports.views.points import PointView


MOST_EMBEDDED_BYTES = 1_500_000
"""Of all recordings of a page, before base64."""
WINDOW, HOP = 1024, 256
"""Samples of the analysis window and between windows: those of Tacotron 2's own spectrograms."""
BANDS, TOP_HZ = 80, 8000.0
FLOOR_DB = 80.0
"""Below the loudest: what is softer is drawn as silence."""
MOST_COLUMNS = 1200
_PCM_16 = 2


@dataclass(frozen=True)
class Recording:
    """One WAV file of a point."""

    name: str
    """Its path from the sweep's folder."""
    seconds: float = 0.0
    rate_hz: int = 0
    sound: str = ""
    """The file as a `data:` address; empty when it is not embedded."""
    picture: str = ""
    """Its mel bands as a PNG, also as a `data:` address."""
    missing: str = ""
    """Why it is not embedded."""


class Recorder:
    """Embeds recordings of one page until its room is used up."""

    def __init__(self, room: int = MOST_EMBEDDED_BYTES) -> None:
        self._room = room

    def of(self, point: PointView) -> tuple[Recording, ...]:
        """Return the recordings of a point, in the order of their names."""
        return tuple(self._recording(name, path) for name, path in point.recordings)

    def _recording(self, name: str, path: Path) -> Recording:
        name = plain(name)
        try:
            content = path.read_bytes()
            samples, rate = read(content)
        except (OSError, EOFError, ValueError, wave.Error) as error:
            return Recording(name, missing=f"cannot be read: {plain(error)}")
        seconds = len(samples) / rate
        if len(content) > self._room:
            why = "the page holds no more sound; play the file itself"
            return Recording(name, seconds, rate, missing=why)
        self._room -= len(content)
        picture = _address("image/png", png(mel_db(samples, rate)))
        return Recording(name, seconds, rate, _address("audio/wav", content), picture)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def read(content: bytes) -> tuple[NDArray[np.float64], int]:
    """Return the samples of a WAV file, the mean of its channels in -1 to 1, and their rate in Hz.

    Raises:
        ValueError: it holds no 16-bit samples, or none at all.
        wave.Error: it is no WAV file.
        EOFError: it ends too early.
    """
    import numpy as np  # noqa: PLC0415 - `import reports` stays cheap

    with wave.open(io.BytesIO(content)) as stream:
        channels, width, rate, frames = stream.getparams()[:4]
        raw = stream.readframes(frames)
    if width != _PCM_16:
        raise ValueError(f"{8 * width}-bit samples, 16-bit ones are known")
    values = np.frombuffer(raw, dtype="<i2").astype(float) / 2**15
    if not len(values) or not rate:
        raise ValueError("it holds no sample")
    return values[: len(values) // channels * channels].reshape(-1, channels).mean(axis=1), rate


def mel_db(samples: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """Return the power of mel bands in dB below the loudest, (bands, windows), low bands first.

    Bands are triangles evenly spaced on the scale 2595 log10(1 + f / 700) (O'Shaughnessy 1987).
    """
    import numpy as np  # noqa: PLC0415 - as above

    padded = np.pad(samples, WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    step = -(-len(windows) // MOST_COLUMNS)
    power = np.abs(np.fft.rfft(windows[::step] * np.hanning(WINDOW))) ** 2
    bands = _triangles(rate_hz) @ power.T
    loudest = bands.max()
    if loudest <= 0:
        return np.full(bands.shape, -FLOOR_DB)
    least = loudest * 10 ** (-FLOOR_DB / 10)
    return np.asarray(10 * np.log10(np.maximum(bands, least) / loudest), dtype=float)


def _triangles(rate_hz: int) -> NDArray[np.float64]:
    """Return the weight of every frequency in every band, (bands, WINDOW / 2 + 1)."""
    import numpy as np  # noqa: PLC0415 - as above

    top = min(TOP_HZ, rate_hz / 2)
    mels = np.linspace(0, 2595 * np.log10(1 + top / 700), BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / rate_hz)
    below, centre, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - below) / (centre - below)
    falling = (above - frequencies) / (above - centre)
    return np.asarray(np.maximum(0, np.minimum(rising, falling)), dtype=float)


def png(decibels: NDArray[np.float64]) -> bytes:
    """Return a heat map in few colours, high bands at the top."""
    import numpy as np  # noqa: PLC0415 - as above
    from matplotlib import colormaps  # noqa: PLC0415 - heavy
    from PIL import Image  # noqa: PLC0415 - heavy

    levels = np.round((decibels[::-1] + FLOOR_DB) / FLOOR_DB * 63).astype(np.uint8)
    image = Image.fromarray(levels)
    image.putpalette(
        (colormaps["cividis"](np.linspace(0, 1, 64))[:, :3] * 255).astype(int).ravel().tolist()
    )
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()

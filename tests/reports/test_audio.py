"""Recordings beside result files: players and pictures in the page, or the reason why not."""

from __future__ import annotations

import base64
import io
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import reports
from reports.pages import recordings
from tests.reports import sweeps
from tests.reports.browser import complaints, needs_browser, show

if TYPE_CHECKING:
    from pathlib import Path

    from selenium import webdriver


RATE = 22_050


def tone(hertz: float, seconds: float = 0.5, *, width: int = 2, channels: int = 1) -> bytes:
    """Return a WAV file that holds one tone."""
    at = np.arange(int(RATE * seconds)) / RATE
    values = (0.5 * np.sin(2 * np.pi * hertz * at) * 2**15).astype("<i2")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as made:
        made.setnchannels(channels)
        made.setsampwidth(width)
        made.setframerate(RATE)
        made.writeframes(np.repeat(values, channels).tobytes())
    return stream.getvalue()


def test_samples_are_read_whatever_the_number_of_channels() -> None:
    mono, rate = recordings.read(tone(440))
    stereo, _ = recordings.read(tone(440, channels=2))
    assert rate == RATE
    assert np.array_equal(mono, stereo)
    assert abs(mono).max() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 5000.0])
def test_a_tone_is_brightest_in_the_band_around_it(hertz: float) -> None:
    bands = recordings.mel_db(recordings.read(tone(hertz))[0], RATE)
    loudest = int(bands.mean(axis=1).argmax())
    top = 2595 * np.log10(1 + 8000 / 700)
    centre = 700 * (10 ** (top * (loudest + 1) / (recordings.BANDS + 1) / 2595) - 1)
    assert centre == pytest.approx(hertz, rel=0.06)
    assert bands.shape[0] == recordings.BANDS
    assert bands.min() >= -recordings.FLOOR_DB
    assert bands.max() == 0


def test_silence_is_dark_and_no_error() -> None:
    assert (recordings.mel_db(np.zeros(RATE), RATE) == -recordings.FLOOR_DB).all()


def test_low_bands_are_below_in_the_picture() -> None:
    image = Image.open(
        io.BytesIO(recordings.png(recordings.mel_db(recordings.read(tone(200))[0], RATE)))
    )
    grey = np.asarray(image.convert("L"), dtype=float)
    assert grey[-10:].mean() > grey[:10].mean() + 50


def test_the_page_holds_the_recording_and_its_picture(tmp_path: Path) -> None:
    folder = sweeps.fixed(tmp_path / "sweep")
    point = min((folder / "points").iterdir())
    (point / "sentence.wav").write_bytes(tone(440))
    page = reports.render(folder).read_text("utf-8")
    assert page.count("<audio") == 1
    assert base64.b64encode(tone(440)).decode() in page
    assert f"{point.name}/sentence.wav" in page
    assert "not speech" in page
    assert "media-src data:" in page


def test_what_cannot_be_embedded_is_named_with_the_reason(tmp_path: Path) -> None:
    folder = sweeps.fixed(tmp_path / "sweep")
    point = min((folder / "points").iterdir())
    (point / "a.wav").write_bytes(b"RIFF")
    (point / "b.wav").write_bytes(tone(440, width=1))
    (point / "c.wav").write_bytes(tone(440, 0))
    (point / "d.wav").write_bytes(tone(440, recordings.MOST_EMBEDDED_BYTES / RATE))
    page = reports.render(folder).read_text("utf-8")
    assert "<audio" not in page
    for text in ("cannot be read", "8-bit samples", "no sample", "holds no more sound"):
        assert text in page, text


class TestInABrowser:
    """The player knows how long the recording is, and nothing is refused."""

    pytestmark = needs_browser

    def test_it_plays_under_the_policy(self, tmp_path: Path, browser: webdriver.Chrome) -> None:
        folder = sweeps.fixed(tmp_path / "sweep")
        (min((folder / "points").iterdir()) / "sentence.wav").write_bytes(tone(440))
        show(browser, reports.render(folder))
        seconds = browser.execute_async_script(
            "const done = arguments[0], one = document.querySelector('audio');"
            "one.preload = 'auto'; one.load();"
            "one.addEventListener('loadedmetadata', () => done(one.duration));"
            "one.addEventListener('error', () => done(-1));"
        )
        assert seconds == pytest.approx(0.5, abs=0.01)
        width = browser.execute_script("return document.querySelector('.mel img').naturalWidth")
        assert width == 44
        assert complaints(browser) == []

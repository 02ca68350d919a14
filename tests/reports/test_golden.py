"""Pages and exports as they were last looked at: `pytest --rewrite-golden` writes them anew."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import reports
from reports.exports import comparison
from tests.reports import sweeps
from tests.reports.browser import needs_browser, picture, show

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from selenium import webdriver


GOLDEN = Path(__file__).parent / "golden"
SCALE = 0.5
"""Pixels of a picture per pixel of the page: enough to see what moved."""
BLOCK = 16
"""Pictures are compared by the means of squares of so many pixels: other fonts and smoothing
move single pixels, a part that is missing or out of place changes many squares."""
LEVELS, SHARE = 28, 0.03
"""A square differs from so many grey levels on; a picture from this share of squares on."""
VIEWS = {
    "phone": {"width": 390},
    "laptop": {"width": 1280},
    "laptop-dark": {"width": 1280, "dark": True},
    "print": {"width": 794, "paper": True},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweeps.fixed(tmp_path_factory.mktemp("golden") / "sweep")


@pytest.mark.parametrize("name", ["csv", "latex", "markdown"])
def test_exports_are_as_last_looked_at(name: str, folder: Path, rewrite_golden: bool) -> None:
    path = GOLDEN / f"sweep.{name}"
    text = reports.export(folder, name)
    if rewrite_golden:
        path.write_text(text, "utf-8")
    # Exact values may end otherwise on another processor; what is read may not.
    assert rounded(text) == rounded(path.read_text("utf-8"))


@pytest.mark.parametrize("name", ["latex", "markdown"])
def test_comparisons_are_as_last_looked_at(name: str, rewrite_golden: bool) -> None:
    path = GOLDEN / f"comparison.{name}"
    text = comparison.FORMATS[name](sweeps.compared())
    if rewrite_golden:
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def rounded(text: str) -> str:
    """Return a text with its long decimals cut to twelve significant digits."""
    return re.sub(r"\d+\.\d{12,}(?:e-?\d+)?", lambda found: f"{float(found[0]):.12g}", text)


def squares(png: bytes) -> NDArray[np.float64]:
    """Return the mean grey of every square of a picture: (rows, columns), 0 to 255."""
    grey = np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=float)
    rows, columns = (n // BLOCK for n in grey.shape)
    whole = grey[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    return np.asarray(whole.mean((1, 3)), dtype=float)


def differing(seen: bytes, known: bytes) -> float:
    """Return the share of squares that differ, 1 where the pictures' sizes do."""
    a, b = squares(seen), squares(known)
    if a.shape[1] != b.shape[1] or abs(a.shape[0] - b.shape[0]) > 0.03 * b.shape[0]:
        return 1.0
    rows = min(a.shape[0], b.shape[0])
    return float((np.abs(a[:rows] - b[:rows]) > LEVELS).mean())


def compact(png: bytes) -> bytes:
    """Return a picture in few colours, as it is kept."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(32).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def test_a_part_that_is_missing_is_seen_and_smoothing_is_not() -> None:
    image = Image.fromarray(np.full((640, 640), 255, np.uint8))
    image.paste(0, (64, 64, 256, 256))

    def png(one: Image.Image) -> bytes:
        stream = io.BytesIO()
        one.save(stream, "PNG")
        return stream.getvalue()

    moved = Image.fromarray(np.full((640, 640), 255, np.uint8))
    moved.paste(0, (66, 64, 258, 256))
    assert differing(png(moved), png(image)) <= SHARE
    assert differing(png(Image.new("L", (640, 640), 255)), png(image)) > SHARE


def written(page: str, folder: Path) -> Path:
    """Return the file of a page, made when first asked for."""
    made = folder / f"{page}.html"
    if made.exists():
        return made
    if page == "comparison":
        made.write_text(comparison.to_html(sweeps.compared()), "utf-8")
        return made
    sweep = folder if page == "sweep" else getattr(sweeps, page)(folder / page)
    return reports.render(sweep, out=made)


PICTURES = [
    *((page, view) for page in ("sweep", "comparison") for view in VIEWS),
    ("watched", "phone"),
    ("watched", "laptop"),
    ("served", "laptop-dark"),
]


@pytest.mark.parametrize(("page", "view"), PICTURES)
class TestPictures:
    """Screenshots of whole pages."""

    pytestmark = needs_browser

    def test_the_page_looks_as_last_looked_at(
        self, page: str, view: str, folder: Path, browser: webdriver.Chrome, rewrite_golden: bool
    ) -> None:
        made = written(page, folder)
        show(browser, made, scale=SCALE, **VIEWS[view])  # type: ignore[arg-type]
        seen = picture(browser, int(VIEWS[view]["width"]))
        path = GOLDEN / f"{page}-{view}.png"
        if rewrite_golden:
            path.write_bytes(compact(seen))
        assert differing(seen, path.read_bytes()) <= SHARE

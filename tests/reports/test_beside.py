"""A sweep with a baseline, from outside: what its pages say, and their links."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

import reports
from harness import commands
from reports.views.beside import NONE
from tests.harness.commands.test_measure import folder_of, harness
from tests.harness.planning.test_baselines import QUICK, SLOWER
from tests.reports import sweeps

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reports.conftest import Once


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a sweep that was measured with baseline=: half of it became slower."""
    place = tmp_path_factory.mktemp("beside")
    assert harness(*QUICK, "outputs=base", cwd=place).returncode == 0
    (base,) = (place / "base").iterdir()
    done = harness(*QUICK, f"baseline={base}", SLOWER, cwd=place)
    assert done.returncode == 3, done.stderr
    return folder_of(place)


@pytest.fixture
def folder(measured: Path, tmp_path: Path) -> Path:
    """Return a copy of the sweep that a test may change."""
    return shutil.copytree(measured, tmp_path / "sweep")


def links(page: Path) -> list[Path]:
    """Return the files a page links."""
    found = re.findall(r'href="([^"#][^"]*)"', page.read_text("utf-8"))
    return [(page.parent / one).resolve() for one in found]


def test_the_page_says_what_was_found_and_links_it(measured: Path) -> None:
    page = measured / "report.html"
    text = page.read_text("utf-8")
    assert NONE not in text
    assert "Measured side by side with a baseline. 4 figures compared: 2 slower" in text
    assert "Null control passed." in text
    assert (measured / "comparison.html").resolve() in links(page)


def test_the_comparison_links_back(measured: Path) -> None:
    assert links(measured / "comparison.html") == [(measured / "report.html").resolve()]


def test_links_are_right_from_elsewhere(measured: Path, tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    page = reports.render(measured, out=tmp_path / "a b" / "page.html")
    assert set(links(page)) == {(measured / "comparison.html").resolve()}
    other = tmp_path / "a b" / "c.html"
    commands.run("compare", [str(measured), "format=html", f"out={other}"])
    assert links(other) == [(measured / "report.html").resolve()]


@pytest.mark.parametrize("side", ["baseline", "control"])
def test_the_pages_of_the_sides_say_what_they_are(side: str, folder: Path) -> None:
    text = reports.render(folder / side).read_text("utf-8")
    assert NONE not in text
    assert f"These points are the {side} of the sweep in the folder above" in text


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"rows": [{}]}', '{"rows": 3}'])
def test_without_a_comparison_that_can_be_read_it_says_how_to_have_one(
    content: str | None, folder: Path
) -> None:
    (folder / "comparison.json").unlink()
    if content is not None:
        (folder / "comparison.json").write_text(content)
    text = reports.render(folder).read_text("utf-8")
    assert NONE not in text
    assert "python -m harness compare" in text
    assert 'href="comparison.html"' not in text


def test_a_page_that_is_gone_is_not_linked(folder: Path) -> None:
    (folder / "comparison.html").unlink()
    page = reports.render(folder)
    assert "4 figures compared" in page.read_text("utf-8")
    assert links(page) == []


def test_tables_for_documents_say_it_too(measured: Path) -> None:
    for name in ("markdown", "latex"):
        assert "4 figures compared: 2 slower" in reports.export(measured, name)


def test_hostile_names_of_a_comparison_stay_text(folder: Path) -> None:
    found = json.loads((folder / "comparison.json").read_text())
    for row in found["rows"]:
        row["point"] = sweeps.HOSTILE
        row["verdict"] = sweeps.HOSTILE
    (folder / "comparison.json").write_text(json.dumps(found))
    text = reports.render(folder).read_text("utf-8")
    assert "<script>alert" not in text
    assert "\x1b" not in text


def test_without_a_baseline_none_was_given(once: Once) -> None:
    page = reports.render(once(sweeps.seed_table))
    assert NONE in page.read_text("utf-8")
    assert links(page) == []

"""Markdown, CSV, JSON and LaTeX from the same cells as the page."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

import reports
from harness.errors import UsageError
from harness.records import result_file
from tests.make_trials import LABEL
from tests.reports import sweeps

if TYPE_CHECKING:
    from pathlib import Path


FORMATS = ("csv", "json", "latex", "markdown")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sweeps.seed_table(tmp_path / "sweep")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_synthetic(name: str, folder: Path) -> None:
    assert LABEL in reports.export(folder, name)


def test_csv_and_json_hold_the_summarys_own_values(folder: Path) -> None:
    trials = {t["point"]["id"]: t for t in result_file.load_sweep(folder).trials}
    table = list(csv.DictReader(io.StringIO(reports.export(folder, "csv"))))
    rows = json.loads(reports.export(folder, "json"))["rows"]
    assert len(table) == len(rows) == 6
    for text, exact in zip(table, rows, strict=True):
        mean = trials[exact["point_id"]]["summary"]["latency.mean"]
        cell = exact["cells"]["mean_s"]
        assert (cell["value"], [cell["low"], cell["high"]]) == (mean["estimate"], mean["ci95"])
        assert float(text["mean_s"]) == mean["estimate"]


@pytest.mark.parametrize("name", FORMATS)
def test_failed_and_skipped_points_are_in_every_format(name: str, tmp_path: Path) -> None:
    text = reports.export(sweeps.mixed(tmp_path / "sweep"), name)
    assert "skipped" in text
    assert "timeout" in text


def test_markdown_and_latex_escape_what_would_be_markup(tmp_path: Path) -> None:
    folder = sweeps.hostile(tmp_path / "sweep")
    assert "<script>" not in reports.export(folder, "markdown")
    assert "<" not in reports.export(folder, "latex")


def test_an_unknown_format_is_one_line(folder: Path) -> None:
    with pytest.raises(UsageError, match="possible: csv, json, latex, markdown"):
        reports.export(folder, "word")

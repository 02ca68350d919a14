"""`cl` figures and figures with an interval count different iterations: each has its own n."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

import html5lib
import pytest

import reports
from harness.records import result_file
from tests.make_trials import make_trial, write_sweep
from tests.reports import sweeps

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reports.conftest import Once


HTML = "{http://www.w3.org/1999/xhtml}"
COUNTED, ORIGINAL = 60, 90
"""Of three processes of 33 iterations: warm-up found in the series, and the three asked for."""


@pytest.fixture(scope="module")
def folder(once: Once) -> Path:
    return once(sweeps.seed_table)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return reports.render(folder).read_text("utf-8")


def test_the_two_counts_are_not_alike(folder: Path) -> None:
    summary = result_file.load_sweep(folder).trials[-1]["summary"]
    assert summary["latency.mean"]["n"] == summary["latency.p50"]["n"] == COUNTED
    assert summary["latency.cl99"]["n"] == ORIGINAL


def test_exports_and_the_summary_hold_both(folder: Path) -> None:
    for text in (reports.export(folder, "csv"), (folder / "summary.csv").read_text()):
        rows = list(csv.DictReader(io.StringIO(text)))
        row = [one for one in rows if one.get("subject", "latency") == "latency"][-1]
        assert (row["n"], row["cl_n"]) == (str(COUNTED), str(ORIGINAL))
    cells = json.loads(reports.export(folder, "json"))["rows"][-1]["cells"]
    assert (cells["n"]["value"], cells["cl_n"]["value"]) == (COUNTED, ORIGINAL)
    assert "compat: n" in reports.export(folder, "markdown")


def test_the_n_of_cl_stands_in_its_group_in_every_table_that_has_cl(page: str) -> None:
    checked = 0
    for table in html5lib.parse(page).iter(f"{HTML}table"):
        heads = ["".join(one.itertext()) for one in table.iter(f"{HTML}th")
                 if one.get("scope") == "col"]  # fmt: skip
        if not any(re.match(r"cl\d", head) for head in heads):
            continue
        before = heads[: next(at for at, head in enumerate(heads) if head.startswith("cl"))]
        if heads[0] == "whose":
            assert [head for head in heads if head.startswith("n")] == [
                "nmean and rates", "ncl, std, frames",
            ]  # fmt: skip
        else:
            assert before[-1] == "n"
        checked += 1
    assert checked >= 3


def test_published_tables_say_both(page: str) -> None:
    text = page.partition('id="published"')[2]
    ours = re.findall(r'<tr class="ours">.*?</tr>', text)
    last = [re.sub(r"<[^>]*>", " ", one).split() for one in ours]
    assert [str(COUNTED), str(ORIGINAL), "3"] in [one[-3:] for one in last]


def test_data_for_the_script_holds_both(tmp_path: Path) -> None:
    trials = [make_trial(sweeps.processes(3, 30, bs, 6), bs=bs) for bs in range(1, 31)]
    page = reports.render(write_sweep(tmp_path / "sweep", trials)).read_text("utf-8")
    island = re.search(r'id="island">(.*?)</script>', page, re.DOTALL)
    assert island is not None
    known = {one["point"]["name"]: one["summary"] for one in trials}
    for point in json.loads(island[1]).values():
        for name, _, *rest in point["stages"]:
            summary = known[point["name"]]
            ns = [summary[f"{name}.{key}"]["n"] for key in ("mean", "cl50")]
            assert rest[-2:] == ns

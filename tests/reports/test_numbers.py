"""One number, one text: every format shows what the raw samples give when computed again."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import html5lib
import pytest

import reports
from harness.analysis import metrics
from harness.records import result_file
from reports.exports import comparison
from tests.reports import sweeps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.reports.conftest import Once


HTML = "{http://www.w3.org/1999/xhtml}"
MAKERS = [sweeps.seed_table, sweeps.mixed, sweeps.fixed]
SUMMARY = {"mean_s": "latency.mean", "cl99_s": "latency.cl99", "cl50_s": "latency.cl50"} | {
    f"p{p}_s": f"latency.p{p}" for p in (50, 90, 99)
}
"""Columns of a time, and what they show."""
RATES = {"latency_items_per_s": "latency.items_per_s", "x_realtime": "latency.x_realtime"} | {
    f"{stage}_items_per_s": f"{stage}.items_per_s" for stage in ("encoder", "decoder", "postnet")
}


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
def folder(request: pytest.FixtureRequest, once: Once) -> Path:
    return once(request.param)


def exported(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(reports.export(folder, "json"))["rows"]
    return rows


def test_every_figure_is_what_the_samples_give_again(folder: Path) -> None:
    again = {
        trial["point"]["id"]: metrics.summarise(trial)
        for trial in result_file.load_sweep(folder).trials
    }
    checked = 0
    for row in exported(folder):
        for key, name in (SUMMARY | RATES).items():
            known = again[row["point_id"]].get(name)
            cell = row["cells"].get(key)
            if cell is None or known is None:
                continue
            assert cell["value"] == known["estimate"], (row["point"], key)
            if known["displayable"] and known["ci95"]:
                assert [cell["low"], cell["high"]] == known["ci95"]
            checked += 1
    assert checked >= 8


def test_the_page_and_json_show_the_same_text(folder: Path) -> None:
    tree = html5lib.parse(reports.render(folder).read_text("utf-8"))
    (table,) = [one for one in tree.iter(f"{HTML}table") if one.get("id") == "points-table"]
    keys = [str(one.get("data-key")) for one in table.findall(f"{HTML}thead/{HTML}tr")[-1]]
    rows = table.findall(f"{HTML}tbody/{HTML}tr")
    expected = exported(folder)
    assert len(rows) == len(expected)
    for row, one in zip(rows, expected, strict=True):
        cells = dict(zip(keys, row, strict=True))
        assert set(one["cells"]) == set(cells) - {"point"}
        for key, cell in one["cells"].items():
            text = " ".join(part for part in (cell["text"], cell["note"]) if part)
            assert " ".join(cells[key].itertext()).strip() == text
            assert cells[key].get("data-v") == ("" if cell["value"] is None else str(cell["value"]))


def texts(folder: Path) -> list[list[str]]:
    """Return the cells of every row as they are read, in the order of the columns."""
    rows = exported(folder)
    head = reports.export(folder, "csv").splitlines()[0].split(",")
    keys = [key for key in head if key in rows[0]["cells"]]
    return [
        [
            " ".join(
                part for part in (row["cells"][key]["text"], row["cells"][key]["note"]) if part
            )
            for key in keys
        ]
        for row in rows
    ]


def test_markdown_shows_the_same_text(folder: Path) -> None:
    lines = [x for x in reports.export(folder, "markdown").splitlines() if x.startswith("| ")][2:]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[2:-1]] for line in lines]
    assert [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in rows] == texts(folder)


def test_latex_shows_the_same_text(folder: Path) -> None:
    found = reports.export(folder, "latex")
    body = found.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    marks = {r"$\pm$": "±", r"\_": "_", r"\%": "%", r"\textmu{}": "µ", " -- ": " – "}
    rows = []
    for line in body:
        cells = line.removesuffix(" \\\\").split(" & ")[1:]
        for mark, character in marks.items():
            cells = [cell.replace(mark, character) for cell in cells]
        rows.append([cell.replace("---", "—") for cell in cells])
    assert rows == texts(folder)


def test_csv_holds_the_exact_values(folder: Path) -> None:
    lines = csv.DictReader(io.StringIO(reports.export(folder, "csv")))
    for line, row in zip(lines, exported(folder), strict=True):
        for key, cell in row["cells"].items():
            assert line[key] == ("" if cell["value"] is None else str(cell["value"]))
            if cell["low"] is not None:
                assert (line[f"{key}_lo"], line[f"{key}_hi"]) == (
                    str(cell["low"]),
                    str(cell["high"]),
                )


needs_tex = pytest.mark.skipif(not shutil.which("pdflatex"), reason="no TeX engine (pdflatex)")


@pytest.mark.slow
@needs_tex
@pytest.mark.parametrize("maker", [*MAKERS, sweeps.hostile], ids=lambda maker: maker.__name__)
def test_latex_compiles(maker: Callable[[Path], Path], tmp_path: Path) -> None:
    compile_table(reports.export(maker(tmp_path / "sweep"), "latex"), tmp_path)


@pytest.mark.slow
@needs_tex
def test_latex_of_a_comparison_compiles(tmp_path: Path) -> None:
    compile_table(comparison.to_latex(sweeps.compared()), tmp_path)


def compile_table(table: str, tmp_path: Path) -> None:
    document = (
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{textcomp}"
        "\\usepackage[paperwidth=200cm]{geometry}\\usepackage{booktabs}\\begin{document}\n"
        f"{table}\\end{{document}}\n"
    )
    (tmp_path / "table.tex").write_text(document, "utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "table.pdf").stat().st_size > 1000

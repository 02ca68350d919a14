"""A server's response comes first on every surface, and service time beside it by its name."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import reports
from harness import commands
from harness.analysis import metrics
from harness.records import result_file
from harness.units import seconds
from reports.figures import percentiles
from reports.tables.points import points_table
from reports.tables.stages import stage_tables
from reports.views.reader import read_sweep
from tests.harness.commands.test_measure import FAKE, harness
from tests.make_trials import MS, make_process, make_trial, write_sweep
from tests.reports import sweeps

if TYPE_CHECKING:
    import subprocess


STALLS = ["backend.stall_every=60", "backend.stall_ns=1000000000"]
"""A service of 80 ms that stalls now and then, so that requests wait."""


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Measure one server point once."""
    cwd = tmp_path_factory.mktemp("served")
    done = harness(*FAKE, *STALLS, "scenario=server", "scenario.rate=8", cwd=cwd)
    assert done.returncode == 0, done.stderr
    (folder,) = (cwd / "outputs").iterdir()
    return done, folder


def document(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("points/*/*.json*")
    return result_file.load_trial(path)


def estimate(folder: Path, key: str) -> float:
    return float(document(folder)["summary"][key]["estimate"])


def test_the_response_is_far_from_the_service_time(served: tuple[Any, Path]) -> None:
    _, folder = served
    assert estimate(folder, "response.p50") != estimate(folder, "latency.p50")
    assert estimate(folder, "response.mean") > 1.2 * estimate(folder, "latency.mean")


def test_the_terminal_tells_the_response_first(served: tuple[Any, Path]) -> None:
    done, folder = served
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("[1/1]")]
    shown = {
        subject: [seconds(estimate(folder, f"{key}.{p}")) for p in ("p50", "p99")]
        for subject, key in (("response", "response"), ("service time", "latency"))
    }
    said = [f"{name} p50 {p50}   p99 {p99}" for name, (p50, p99) in shown.items()]
    assert "   ".join(said) in line
    assert "cl50" not in line
    first = [
        one for one in done.stdout.splitlines() if re.search(r"  (response|service time) +", one)
    ]
    table = [one for one in first if not one.startswith("[")]
    assert [("response" in one, "service time" in one) for one in table[:2]] == [
        (True, False), (False, True),
    ]  # fmt: skip
    assert f"{estimate(folder, 'response.mean') * 1e3:,.3f}" in table[0]
    assert not any(re.search(r"  whole  ", one) for one in done.stdout.splitlines())


def test_the_summary_has_the_response_in_its_first_row(served: tuple[Any, Path]) -> None:
    _, folder = served
    with (folder / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["subject"] for row in rows][:2] == ["response", "latency"]
    assert rows[0]["span"].startswith("response")
    assert rows[1]["span"] == "service time"
    assert {row["span"] for row in rows[2:]} == {"stage"}
    assert float(rows[0]["p99_s"]) == estimate(folder, "response.p99")
    assert float(rows[0]["requests_per_s"]) == estimate(folder, "response.requests_per_s")
    assert rows[0]["items"] == "requests"
    assert json.loads((folder / "summary.json").read_text())["rows"][0]["subject"] == "response"


@pytest.mark.parametrize("name", ["markdown", "latex", "csv", "json"])
def test_exports_name_which_time_each_column_is(name: str, served: tuple[Any, Path]) -> None:
    _, folder = served
    text = reports.export(folder, name)
    machine = name in {"csv", "json"}
    response = "response_p99_s" if machine else "Response: p99"
    service = "service_p99_s" if machine else "Service time: p99"
    assert text.index(response) > 0
    assert text.index(response) < text.index(service) or name == "json"
    assert not re.search(r"Latency: |(?<![a-z_])(mean|p50|p99|cl50)_s", text)


def test_the_page_tells_the_response_in_table_figures_and_points(served: tuple[Any, Path]) -> None:
    _, folder = served
    sweep = read_sweep(folder)
    (row,) = points_table(sweep).rows
    columns = points_table(sweep).columns
    cells = {column.key: cell for column, cell in zip(columns, row.cells, strict=True)}
    assert cells["response_p99_s"].value == estimate(folder, "response.p99")
    assert cells["service_p99_s"].value == estimate(folder, "latency.p99")
    assert "Latency" not in {column.group for column in columns}
    assert [one.title for one in stage_tables(sweep, sweep.points)][:2] == [
        "Response, from due to done", "Whole pipeline, service time",
    ]  # fmt: skip
    (point,) = sweep.points
    drawn = [value for _, value, *_ in percentiles.percentile_curve(percentiles.steady(point))]
    assert max(drawn) > 1.1 * estimate(folder, "latency.p50")
    assert point.grade == document(folder)["grade"]["response.mean"]["letter"]
    page = (folder / "report.html").read_text()
    assert "response by percentile" in page
    assert "mean service time by stage" in page
    assert "latency by percentile" not in page
    assert f"mean response {seconds(estimate(folder, 'response.mean'))[:3]}" in page


def test_history_follows_the_response_unless_another_metric_is_named(
    served: tuple[Any, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("duckdb")
    _, folder = served
    commands.run("history", [str(folder)])
    said = capsys.readouterr().out
    assert "response.mean" in said
    assert seconds(estimate(folder, "response.mean")) in said
    commands.run("history", [str(folder), "metric=latency.mean"])
    said = capsys.readouterr().out
    assert "latency.mean (service time)" in said
    assert seconds(estimate(folder, "latency.mean")) in said


def test_a_comparison_judges_the_response_first(
    served: tuple[Any, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = served
    commands.run("compare", [str(folder), str(folder)])
    lines = capsys.readouterr().out.splitlines()
    metric = [
        line.split("  ")[1].strip() for line in lines if " no difference" in line and "  " in line
    ]
    assert metric[:2] == ["response", "service time"]
    assert any(line.startswith("Geometric mean of response ratios") for line in lines)
    commands.run("compare", [str(folder), str(folder), "format=json"])
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["metric"] == "response"
    assert found["rows"][0]["baseline_s"] == pytest.approx(estimate(folder, "response.mean"))


def test_where_a_queue_never_ends_there_is_no_verdict_on_the_response(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweeps.served(tmp_path / "sweep")
    commands.run("compare", [str(folder), str(folder), "format=json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    (row,) = [row for row in rows if row["metric"] == "response" and row["baseline_s"] is None]
    assert row["point"].endswith("load1.2")
    assert row["verdict"] == "unresolved"
    assert "saturated" in row["reason"]


def test_saturated_is_said_and_not_called_too_small(tmp_path: Path) -> None:
    done = harness(*FAKE, "scenario=server", "scenario.load=2", cwd=tmp_path)
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("[1/1]")]
    assert "response p50 saturated   p99 saturated   service time p50" in line
    assert "n too small" not in line


def test_offline_has_no_response_and_its_latency_is_service_time(tmp_path: Path) -> None:
    done = harness(*FAKE, "scenario=offline", cwd=tmp_path)
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("[1/1]")]
    assert "scenario=offline   service time cl50 " in line
    (folder,) = (tmp_path / "outputs").iterdir()
    with (folder / "summary.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["span"] == "service time"
    assert "Service time: mean" in reports.export(folder, "markdown")


def test_a_sweep_of_both_kinds_keeps_their_times_in_columns_of_their_own(tmp_path: Path) -> None:
    folder = sweeps.served(tmp_path / "sweep")
    write_sweep(folder, [make_trial([make_process([30 * MS] * 20, index=i) for i in (1, 2, 3)])])
    sweep = read_sweep(folder)
    table = points_table(sweep)
    groups = [column.group for column in table.columns]
    assert {"Latency", "Response", "Service time"} <= set(groups)
    for row in table.rows:
        known = {
            group
            for group, cell in zip(groups, row.cells, strict=True)
            if cell.value is not None and group in {"Latency", "Response", "Service time"}
        }
        assert known <= ({"Response", "Service time"} if row.point.scheduled else {"Latency"})
    assert {point.headline for point in sweep.points} == {metrics.RESPONSE, "latency"}


def test_files_from_before_scenarios_have_a_latency_as_ever(tmp_path: Path) -> None:
    old = make_trial([make_process([30 * MS] * 20, index=i) for i in (1, 2, 3)])
    assert "scenario" not in old["method"]
    folder = write_sweep(tmp_path / "sweep", [old])
    assert "Latency: mean, ms" in reports.export(folder, "markdown")
    assert "latency by percentile" in Path(reports.render(folder)).read_text()

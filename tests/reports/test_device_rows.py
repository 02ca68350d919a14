"""Energy, devices, rooflines, input length and load: on the page as the files hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import reports
from reports.figures import loading, pareto, scaling
from reports.tables import devices, energy, facts, findings, roofline
from reports.views.reader import read_sweep
from tests.make_trials import make_trial, write_sweep
from tests.reports import sweeps

if TYPE_CHECKING:
    from pathlib import Path

    from reports.tables.cells import Table
    from reports.views.points import SweepView


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> SweepView:
    return read_sweep(sweeps.watched(tmp_path_factory.mktemp("watched") / "sweep"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> SweepView:
    return read_sweep(sweeps.served(tmp_path_factory.mktemp("served") / "sweep"))


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


def named(table: Table, key: str) -> list[tuple[str, str]]:
    """Return text and second line of a column."""
    place = [column.key for column in table.columns].index(key)
    return [(row.cells[place].text, row.cells[place].note) for row in table.rows]


def test_energy_is_that_of_the_file_and_has_an_interval(watched: SweepView) -> None:
    table = energy.energy_table(watched.points)
    for row in table.rows:
        stored = row.point.document["energy"]
        assert row.cells[0].value == stored["value"] == pytest.approx(50.0)
        assert [row.cells[0].low, row.cells[0].high] == stored["ci95"]
    assert named(table, "energy_net_j")[0] == ("not known", "idle power was not measured")


def test_why_there_is_no_energy_is_said_once_with_its_points(watched: SweepView) -> None:
    (found,) = findings.without_energy(watched.points)
    assert found.seen == "energy not measured: the tool says nothing"
    assert [point.batch for point in found.points] == [4]


def test_what_devices_said_is_a_row_each_and_what_nobody_told_is_no_column(
    watched: SweepView,
) -> None:
    table = energy.telemetry_table(watched.points)
    keys = [column.key for column in table.columns]
    assert "temperature_c" in keys
    assert "utilisation_pct" not in keys
    assert [row[0] for row in texts(table)] == ["0", "0", "1"]
    assert named(table, "temperature_c") == [("61", "60 – 62")] * 2 + [("71", "70 – 72")]
    assert named(table, "samples")[0][0] == "504"
    assert named(table, "cost_s")[0][0] == "4.0"


def test_several_devices_have_their_common_windows_and_a_row_each(watched: SweepView) -> None:
    (row,) = devices.together_table(watched.points).rows
    stored = row.point.document["devices"]
    cells = dict(zip(("devices", "rate", "rounds", "window", "overlap", "skew", "imbalance"),
                     row.cells, strict=True))  # fmt: skip
    assert cells["devices"].value == 2
    rate = row.point.record("latency", "items_per_s")
    assert rate is not None
    assert cells["rate"].value == rate.estimate
    assert cells["window"].value == min(one["window_s"] for one in stored["rounds"])
    assert cells["skew"].text == "500.0"
    each = devices.each_table(watched.points)
    assert [row[:2] for row in texts(each)] == [["0", "card 0"], ["1", "card 1"]]
    assert [row.cells[2].value for row in each.rows] == list(stored["items_per_s"].values())


def test_a_roofline_is_shown_where_it_is_known_and_else_how_to_get_it(watched: SweepView) -> None:
    (row,) = roofline.roofline_table(watched.points).rows
    assert [cell.text for cell in row.cells] == ["5", "42", "—"]
    assert [cell.note for cell in row.cells] == [
        "limit: arithmetic", "limit: bandwidth", roofline.NOT_MEASURED,
    ]  # fmt: skip


def test_a_share_of_a_limit_that_was_measured_without_an_interval_says_so(tmp_path: Path) -> None:
    share = {"share": 0.42, "limit": "memory", "share_ci95": [0.40, 0.44]}
    trials = [make_trial(sweeps.processes(3, 30), bs=bs) for bs in (1, 4)]
    for trial, bound in zip(trials, ({}, {"bound_ci95": [0.1, 0.2]}), strict=True):
        trial["limits"] = {"kind": "measured"}
        trial["roofline"] = {"encoder": {**share, **bound}}
    sweep = read_sweep(write_sweep(tmp_path / "sweep", [sweeps.rehashed(one) for one in trials]))
    cells = [row.cells[0] for row in roofline.roofline_table(sweep.points).rows]
    assert [(cell.low, cell.high) for cell in cells] == [(0.40, 0.44)] * 2
    assert [cell.note for cell in cells] == [
        "40 – 44; limit: memory, measured without an interval", "40 – 44; limit: memory",
    ]  # fmt: skip


def test_the_page_says_that_no_roofline_was_measured(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep", [make_trial(sweeps.processes(3, 30))])
    page = reports.render(folder).read_text("utf-8")
    assert "Share of the roofline: not measured: python -m harness roofline." in page
    assert "power was not sampled" in page


def test_throughput_stands_beside_the_ideal_of_its_axis(tmp_path: Path) -> None:
    sweep = read_sweep(sweeps.lengths(tmp_path / "sweep"))
    assert scaling.curves(sweep, scaling.BATCH) == []
    (curve,) = scaling.curves(sweep, scaling.LENGTH)
    assert [at for at, _ in curve.points] == [32, 64, 128, 256]
    first = curve.points[0][1].estimate
    assert first is not None
    # A longer input ideally keeps the rate, a larger batch multiplies it.
    assert curve.ideal(256) == first
    assert curve.efficiency(256, 2 * first) == pytest.approx(200)
    page = reports.render(tmp_path / "sweep").read_text("utf-8")
    assert 'id="fig-length-t"' in page
    assert "Throughput against batch size: not shown" in page


def test_devices_scale_in_proportion(watched: SweepView) -> None:
    (curve,) = scaling.curves(watched, scaling.DEVICES)
    (one, rate), (two, both) = curve.points
    assert (one, two) == (1, 2)
    assert curve.ideal(2) == pytest.approx(2 * (rate.estimate or 0.0))
    assert curve.efficiency(2, both.estimate or 0.0) == pytest.approx(100, rel=1e-3)


def test_the_load_curve_rises_and_ends_where_the_queue_never_does(served: SweepView) -> None:
    (panel,) = loading.panels(served)
    assert [load.rate for load in panel.loads] == pytest.approx([20, 50, 80, 120])
    assert [load.saturated for load in panel.loads] == [False, False, False, True]
    p50 = [record.estimate for load in panel.loads if (record := load.record("p50"))]
    assert len(p50) == 3
    assert p50 == sorted(p50)  # type: ignore[type-var] # records without a value are left out
    drawing = loading.draw(served)
    assert drawing.svg is not None
    assert "(saturated)" in drawing.svg
    assert drawing.data is not None
    rows = [row for row in drawing.data.rows if row[5] == "yes"]
    assert len(rows) == 3
    assert all(row[3].startswith("saturated:") for row in rows)


def test_points_whose_rate_was_sent_are_neither_the_best_nor_on_the_front(
    served: SweepView,
) -> None:
    assert findings.best_points(served) == []
    assert pareto.draw(served).missing == pareto.FEW + pareto.UNSCHEDULED


def test_one_rate_makes_no_curve(served: SweepView) -> None:
    alone = type(served)(served.name, served.points[:1])
    assert loading.panels(alone) == []
    assert loading.draw(alone).missing


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("watched", "single_stream", "cannot see queueing"),
        ("served", "server", "waiting is part of it"),
    ],
)
def test_the_method_says_what_a_scenario_can_tell(
    name: str, kind: str, words: str, request: pytest.FixtureRequest
) -> None:
    (found,) = facts.scenarios(request.getfixturevalue(name))
    assert found.key == kind
    assert words in found.value

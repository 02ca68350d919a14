"""Intervals on every surface: both ends, never a half-width, never below zero."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import reports
from harness.judging import comparison as judging_comparison
from harness.judging import history
from harness.records import result_file
from reports.exports import comparison as exports_comparison
from reports.exports import history as exports_history
from reports.views.reader import read_sweep
from tests.harness.judging.test_history import put
from tests.make_trials import MS, make_process, make_trial, write_sweep
from tests.reports import sweeps

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.reports.conftest import Once


HALF_WIDTH = re.compile(r"±|\+-|\+/-|\\pm|&plusmn;|&#177;")
BELOW_ZERO = re.compile(r"\(-\d|[–(\[]\s*-\d")
FORMATS = ("csv", "json", "latex", "markdown")
LEVELS = st.lists(st.integers(1, 3_000), min_size=2, max_size=4)
"""Milliseconds of the processes of one point: as unlike as they may be."""


def trial(levels: list[int], bs: int = 1, index: int = 1) -> dict[str, Any]:
    made = [
        make_process([(level + 5) * MS + 7919 * n for n in range(12)], index=place, bs=bs)
        for place, level in enumerate(levels, index)
    ]
    return make_trial(made, bs=bs)


def read(page: str) -> str:
    """Return what is read of a page, without its markup, style and script."""
    text = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"<[^>]*>", " ", text)


def surfaces(folder: Path) -> dict[str, str]:
    """Return the text of everything that is made of a sweep, by name."""
    found = {name: reports.export(folder, name) for name in FORMATS}
    found["page"] = read(reports.render(folder).read_text("utf-8"))
    found["summary.csv"] = (folder / "summary.csv").read_text("utf-8")
    return found


def compared(base: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """Return a comparison in all its formats; the page without style and script."""
    found = judging_comparison.compare([base], [new])
    texts = {name: form(found) for name, form in exports_comparison.FORMATS.items()}
    return {**texts, "html": read(texts["html"])}


@settings(
    max_examples=6, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(first=LEVELS, second=LEVELS)
def test_no_surface_shows_a_half_width_or_less_than_no_time(
    first: list[int], second: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    trials = [trial(first), trial(second, bs=4)]
    folder = write_sweep(tmp_path_factory.mktemp("any") / "sweep", trials)
    texts = surfaces(folder) | compared(trials[0], trial(second))
    for name, text in texts.items():
        assert not HALF_WIDTH.search(text), name
        if name not in {"csv", "json", "summary.csv"}:
            assert not BELOW_ZERO.search(text), name
    rows = csv.DictReader(io.StringIO(texts["summary.csv"]))
    ends = [float(row[key]) for row in rows for key in ("mean_lo_s", "items_per_s_lo")]
    cells = [cell for row in json.loads(reports.export(folder, "json"))["rows"]
             for cell in row["cells"].values()]  # fmt: skip
    ends += [cell["low"] for cell in cells if cell["low"] is not None]
    assert ends
    assert min(ends) >= 0


def test_both_ends_of_an_interval_that_is_not_symmetric_are_on_every_surface(once: Once) -> None:
    folder = once(sweeps.wide)
    (document, _) = result_file.load_sweep(folder).trials
    rate = document["summary"]["latency.items_per_s"]
    low, high = rate["ci95"]
    assert high - rate["estimate"] > 3 * (rate["estimate"] - low)
    texts = surfaces(folder)
    for name in ("page", "markdown"):
        assert f"({low:,.0f} – {high:,.0f})" in texts[name], name
    assert f"({low:,.0f} -- {high:,.0f})" in texts["latex"]
    (cells, _) = (row["cells"] for row in json.loads(texts["json"])["rows"])
    assert cells["latency_items_per_s"]["note"] == f"({low:,.0f} – {high:,.0f})"
    (row, _) = csv.DictReader(io.StringIO(texts["csv"]))
    assert [float(row[f"latency_items_per_s{end}"]) for end in ("_lo", "_hi")] == [low, high]
    published = texts["page"].rpartition("Published figures")[2]
    assert f"({low:,.0f} – {high:,.0f})" in published


def test_the_best_points_have_both_ends(once: Once) -> None:
    page = reports.render(once(sweeps.wide)).read_text("utf-8")
    figures = re.findall(r'<span class="best">(.*?) <small>', page)
    assert len(figures) == 2
    assert all(re.fullmatch(r"[\d,.]+ \([\d,.]+ – [\d,.]+\)", one) for one in figures), figures


def test_a_mean_that_reaches_below_zero_is_cut_on_surfaces_and_kept_in_the_file(
    once: Once,
) -> None:
    folder = once(sweeps.wide)
    for point in read_sweep(folder).points:
        record = point.record("latency", "mean")
        stored = result_file.load_sweep(folder).trials
        assert record is not None
        assert record.low == 0.0
        assert min(one["summary"]["latency.mean"]["ci95"][0] for one in stored) < 0


def test_the_data_of_points_without_a_section_has_no_time_below_zero(tmp_path: Path) -> None:
    trials = [trial([5, 40, 900 + bs], bs=bs) for bs in range(1, 31)]
    page = reports.render(write_sweep(tmp_path / "sweep", trials)).read_text("utf-8")
    island = re.search(r'id="island">(.*?)</script>', page, re.DOTALL)
    assert island is not None
    figures = [
        figure
        for point in json.loads(island[1]).values()
        for stage in point["stages"]
        for figure in stage[2:12]
        if figure and figure[1] is not None
    ]
    assert figures
    assert min(low for _, low, *_ in figures) >= 0


def test_figures_draw_no_interval_left_of_nothing(once: Once) -> None:
    page = reports.render(once(sweeps.wide)).read_text("utf-8")
    figure = page.partition('aria-labelledby="fig-stages-t')[2].partition("</svg>")[0]
    whiskers = [
        [float(x) for x in re.findall(r"[ML] ([\d.-]+) ", path)]
        for path in re.findall(r'<path d="([^"]*)"[^>]*style="[^"]*--ink', figure)
    ]
    axis = re.findall(r'<path d="M ([\d.]+) [\d.]+  L \1 [\d.]+  "[^>]*--rule', figure)
    assert whiskers
    assert min(x for path in whiskers for x in path) >= min(map(float, axis)) - 0.01


def test_a_history_shows_both_ends_and_draws_any_interval(tmp_path: Path) -> None:
    for day, level in ((1, 80), (2, 90)):
        put(tmp_path / "outputs", day, level)
    wild = make_trial(
        [make_process([round(v * MS)] * 5, index=i) for i, v in enumerate((60, 70, 900), 1)],
        trial_id="20261103T080000000000Z-00000003",
    )
    folder = write_sweep(tmp_path / "outputs" / "sweep-03", [wild])
    facts = json.loads((tmp_path / "outputs" / "sweep-01" / "sweep.json").read_text())
    result_file.write_sweep(folder, facts)
    # A summary as it was written before intervals ended at zero.
    table = (folder / "summary.csv").read_text().replace(",0.0,", ",-0.9,")
    (folder / "summary.csv").write_text(table)
    for metric in ("latency.mean", "latency.items_per_s"):
        found = history.trends([tmp_path / "outputs"], metric=metric)
        text = exports_history.text(found)
        assert not HALF_WIDTH.search(text)
        assert "-0." not in text
        assert re.search(r"[\d.]+ \w* ?to [\d.]+", text)
        target = exports_history.plot(found, tmp_path / f"{metric}.svg")
        assert target.stat().st_size > 1000
    lows = [one.low for trend in history.trends([tmp_path / "outputs"], metric="latency.mean")
            for one in trend.occasions]  # fmt: skip
    assert min(low for low in lows if low is not None) == 0.0


def test_ratios_of_a_comparison_have_both_ends() -> None:
    rng = np.random.default_rng(1)
    base, new = (trial([int(v) for v in rng.integers(50, 400, 4)]) for _ in range(2))
    texts = compared(base, new)
    (low, high) = json.loads(texts["json"])["rows"][0]["ci95"]
    for name in ("text", "markdown", "latex", "junit", "html"):
        assert f"{low:.4f} to {high:.4f}" in texts[name], name

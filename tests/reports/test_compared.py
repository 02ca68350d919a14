"""The page of a comparison: the same verdicts and ratios as its other formats, worst first."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import html5lib
import pytest

from harness import commands
from harness.errors import ExitStatus, UsageError
from harness.judging import comparison as judging_comparison
from reports.exports import comparison as exports_comparison
from reports.tables import published
from reports.views.points import PointView, SweepView
from tests.make_trials import make_trial, write_sweep
from tests.reports import sweeps

if TYPE_CHECKING:
    from pathlib import Path

    from harness.judging.comparison import Comparison


HTML = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture(scope="module")
def found() -> Comparison:
    return sweeps.compared()


@pytest.fixture(scope="module")
def page(found: Comparison) -> str:
    return exports_comparison.to_html(found)


def table(page: str) -> list[dict[str, Any]]:
    """Return the rows of the table of verdicts by column key: (sort value, text)."""
    tree = html5lib.parse(page)
    (body,) = [one for one in tree.iter(f"{HTML}table") if one.get("id") == "points-table"]
    keys = [str(one.get("data-key")) for one in body.findall(f"{HTML}thead/{HTML}tr")[-1]]
    return [
        {
            key: (cell.get("data-v"), " ".join(cell.itertext()))
            for key, cell in zip(keys, row, strict=True)
        }
        for row in body.findall(f"{HTML}tbody/{HTML}tr")
    ]


def test_the_page_holds_the_figures_of_the_other_formats(found: Comparison, page: str) -> None:
    exact = {
        (r["point"], r["metric"]): r for r in json.loads(exports_comparison.to_json(found))["rows"]
    }
    rows = table(page)
    assert len(rows) == len(exact)
    for row in rows:
        one = exact[row["point"][0], row["metric"][0]]
        assert one["verdict"] in row["verdict"][1]
        if one["ratio"] is not None:
            assert float(row["ratio"][0]) == one["ratio"]
            low, high = one["ci95"]
            assert row["ratio"][1] == f"{one['ratio']:.4f} {low:.4f} to {high:.4f}"
            assert float(row["baseline_s"][0]) == one["baseline_s"]


def test_what_needs_a_look_stands_first(page: str) -> None:
    words = [row["verdict"][1].split(" ", 1)[1] for row in table(page)]
    assert words[0] == "slower"
    assert words[-1].startswith("faster")
    assert [float(row["verdict"][0]) for row in table(page)] == sorted(
        float(row["verdict"][0]) for row in table(page)
    )


def test_every_verdict_has_a_shape_beside_its_word(page: str) -> None:
    for text in ("▲ slower", "▼ faster", "? unresolved", "× not comparable"):
        assert text in page, text


def test_hostile_text_stays_text(page: str) -> None:
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_the_same_comparison_gives_the_same_bytes(found: Comparison, page: str) -> None:
    assert exports_comparison.to_html(found) == page


def test_nothing_compared_is_a_page(found: Comparison) -> None:
    empty = exports_comparison.to_html(replace(found, rows=(), pairs=()))
    assert "Nothing was compared" in empty
    assert "no figure of both sides" in empty


def test_what_differs_in_the_environment_is_named() -> None:
    base, new = (make_trial(sweeps.processes(3, 30)) for _ in range(2))
    before = {"cpu": {"governor": "powersave"}, "state": {"cpu_seconds": 3.0}}
    new = {**new, "environment": {**new["environment"], "before": before}}
    page = exports_comparison.to_html(judging_comparison.compare([base], [new]))
    assert "cpu.governor" in page
    assert "powersave" in page
    assert "state.cpu_seconds" not in page


def test_the_command_writes_the_page_and_keeps_its_status(tmp_path: Path) -> None:
    base = write_sweep(tmp_path / "a", [make_trial(sweeps.processes(3, 30))])
    status = commands.run(
        "compare", [str(base), str(base), "format=html", f"out={tmp_path / 'c.html'}"]
    )
    assert status is ExitStatus.FINE
    assert (tmp_path / "c.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(UsageError, match="cannot be written"):
        commands.run("compare", [str(base), str(base), f"out={tmp_path / 'no' / 'c.html'}"])


# --- published tables -----------------------------------------------------------------------


def view(*documents: dict[str, Any]) -> SweepView:
    return SweepView("sweep", tuple(PointView(one) for one in documents))


def test_every_published_table_has_source_units_and_caveats() -> None:
    for one in published.references(view(make_trial(sweeps.processes(3, 30)))):
        assert one.source
        assert one.units
        assert one.caveats
        assert all(
            len(line.cells) == len(one.header) for group in one.groups for line in group.lines
        )


def test_a_point_stands_beside_the_rows_of_its_setting_alone() -> None:
    sweep = view(
        make_trial(sweeps.processes(3, 30)),
        make_trial(sweeps.processes(3, 30), quant="force_float16", bs=2),
    )
    counts = {one.key: one.matches for one in published.references(sweep)}
    assert counts == {"mlu370_s4": 1, "nvidia_pytorch": 0, "nvidia_tensorrt": 0, "mlu370_x4": 0}


def test_a_vocoder_point_stands_beside_the_rows_with_a_vocoder() -> None:
    sweep = view(make_trial(sweeps.vocoder(3, 30), waveglow=True, quant="force_float16"))
    counts = {one.key: one.matches for one in published.references(sweep)}
    assert counts == {"mlu370_s4": 0, "nvidia_pytorch": 1, "nvidia_tensorrt": 1, "mlu370_x4": 0}


def test_another_models_table_never_stands_beside_a_point() -> None:
    points = [
        make_trial(sweeps.processes(3, 30), bs=bs, quant=f"force_{precision}")
        for bs in (1, 4, 8)
        for precision in ("float16", "float32")
    ]
    assert published.compare(view(*points), "mlu370_x4").matches == 0


@pytest.mark.parametrize("name", ["nvidia_pytorch", "nvidia_tensorrt"])
def test_published_rates_agree_with_the_latency_they_stand_beside(name: str) -> None:
    for row in published.load_table(name)["rows"]:
        samples = row["bs"] * row["mel_frames_mean"] * 256 / row["latency_s"]
        assert samples == pytest.approx(row["audio_samples_per_s"], rel=0.02)

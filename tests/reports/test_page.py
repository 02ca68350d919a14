"""The page as text: self-contained, escaped, deterministic, sensible whatever was measured."""

from __future__ import annotations

import base64
import hashlib
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import html5lib
import numpy as np
import pytest

import reports
from harness.errors import UsageError
from harness.records import identity, result_file
from reports.tables import facts
from tests.make_trials import LABEL, MS, make_trial, write_sweep
from tests.reports import sweeps

if TYPE_CHECKING:
    from pathlib import Path

    from reports.views.points import PointView
    from tests.reports.conftest import Once


MAKERS = [sweeps.seed_table, sweeps.mixed, sweeps.hostile]


def rendered(folder: Path) -> str:
    return reports.render(folder).read_text("utf-8")


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
def page(request: pytest.FixtureRequest, page_of: Once) -> str:
    return page_of(request.param).read_text("utf-8")


def test_it_is_html_without_an_error(page: str) -> None:
    parser = html5lib.HTMLParser(strict=False)
    parser.parse(page)
    # An SVG of matplotlib has attributes html5lib does not know; structure is what counts.
    assert not [error for error in parser.errors if "attribute" not in str(error[1])]


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|img|iframe|link|object|embed)[^>]*\b(src|href)=", page)
    assert not re.search(r"url\((?!#|\"#|'#|data:)", page)
    assert "@import" not in page


def test_the_only_script_is_the_one_the_policy_names(page: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    allowed = re.search(r"script-src 'sha256-([^']+)'", page)
    assert allowed is not None
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert hashes == [allowed[1]]


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    folder = sweeps.seed_table(tmp_path / "sweep")
    assert rendered(folder) == rendered(folder)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    page = rendered(sweeps.hostile(tmp_path / "sweep"))
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_every_part_the_reader_needs_is_there(tmp_path: Path) -> None:
    page = rendered(sweeps.seed_table(tmp_path / "sweep"))
    for part in ("warnings", "points", "figures", "stages", "published", "environment", "method"):
        assert f'id="{part}"' in page, part
    assert LABEL in page
    assert page.count("<svg") >= 4
    assert page.count("<desc") >= 4


def test_cl_figures_and_rates_of_every_stage_are_on_the_page(tmp_path: Path) -> None:
    page = rendered(sweeps.seed_table(tmp_path / "sweep"))
    for stage in ("Encoder", "Decoder", "Postnet"):
        assert re.search(rf"rowgroup.*{stage}", page), stage
    for p in (50, 90, 95, 99, 100):
        assert f"cl{p}" in page


def test_the_published_rows_are_beside_ours_with_what_they_really_are(tmp_path: Path) -> None:
    page = rendered(sweeps.seed_table(tmp_path / "sweep"))
    assert "75.218" in page
    assert "float16" in page
    assert "10 iterations" in page


def test_every_state_and_reason_is_shown(tmp_path: Path) -> None:
    page = rendered(sweeps.mixed(tmp_path / "sweep"))
    for text in ("no int8 kernels", "SIGSEGV", "within 900 s", "by the user"):
        assert text in page


def test_a_planned_point_without_a_result_is_shown_as_that(tmp_path: Path) -> None:

    folder = sweeps.mixed(tmp_path / "sweep")
    other = make_trial([], bs=32, state="skipped", reason="x")["point"]
    facts = {"points": [{**other, "folder": "x", "skip": None}], "command": "python -m harness"}
    result_file.write_sweep(folder, facts)
    assert "not measured" in rendered(folder)


def test_an_empty_sweep_is_a_page(tmp_path: Path) -> None:
    assert "No point has been measured" in rendered(write_sweep(tmp_path, []))


def test_an_unreadable_file_is_named_and_the_rest_shown(tmp_path: Path) -> None:
    folder = sweeps.mixed(tmp_path / "sweep")
    (folder / "points" / "bad").mkdir()
    (folder / "points" / "bad" / "1.json").write_text("{")
    page = rendered(folder)
    assert "1.json" in page
    assert "SIGSEGV" in page


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        reports.render(tmp_path / "nowhere")


@pytest.mark.slow
def test_a_thousand_points_stay_a_page_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # These files need not survive a power cut, and a disk takes its time over a thousand of them.
    monkeypatch.setattr("os.fsync", lambda _: None)
    made = [make_trial(sweeps.processes(1, 20, bs, bs), bs=bs) for bs in BATCHES]
    trials = [again(one, seed) for seed in range(100) for one in made]
    write_sweep(tmp_path, trials)
    page = rendered(tmp_path)
    assert len(page.encode()) < 5_000_000
    assert "1,000 points" in page


BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def again(trial: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the same measurement as if of another seed."""
    config = {**trial["point"]["config"], "seed": seed}
    name = f"{trial['point']['name']}-seed{seed}"
    point = {"id": identity.point_id(config), "name": name, "config": config}
    return sweeps.rehashed({**trial, "point": point, "trial_id": identity.new_trial_id()})


def scheduled(kind: str) -> dict[str, Any]:
    """Return a trial whose requests came by a schedule: every 100 ms, or all at once."""
    made = sweeps.processes(3, 40)
    for process in made:
        n = len(process["columns"]["latency_ns"])
        every = 100 * MS if kind == "server" else 0
        due = [every * at for at in range(n)]
        ends = np.cumsum(process["columns"]["latency_ns"]).tolist()
        sent = due if kind == "server" else [0, *ends[:-1]]
        process["columns"] |= {"scheduled_ns": due, "start_ns": sent}
    method = {**make_trial(made)["method"], "scenario": {"kind": kind}}
    return make_trial(made, method=method)


def test_requests_by_a_schedule_show_what_they_waited_for(tmp_path: Path) -> None:
    page = rendered(write_sweep(tmp_path, [scheduled("server")]))
    assert 'id="requests"' in page
    assert "requests/s" in page


def test_offline_latencies_have_no_percentile_anywhere(tmp_path: Path) -> None:
    page = rendered(write_sweep(tmp_path, [scheduled("offline")]))
    assert "service time by percentile: not shown: offline" in page
    assert 'id="fig-percentiles' not in page


def test_one_point_of_one_iteration_is_a_page_without_an_invented_figure(tmp_path: Path) -> None:
    page = rendered(write_sweep(tmp_path, [make_trial(sweeps.processes(1, 1))]))
    assert "n too small" in page
    assert "not shown: it needs at least two measured points" in page


def test_what_the_host_said_of_itself_is_quoted(tmp_path: Path) -> None:
    check = {
        "started": "2026-11-20T08:00:00+00:00", "age_days": 4.0, "same_kernel": True,
        "passed": True, "different": 2, "comparisons": 40, "mde": 0.012, "power": [],
    }  # fmt: skip
    page = rendered(write_sweep(tmp_path, [make_trial(sweeps.processes(3, 20), selfcheck=check)]))
    assert "2 of 40 comparisons of equal work came out different" in page
    assert "1.2%" in page


def test_what_changed_while_measuring_is_shown_before_and_after(tmp_path: Path) -> None:
    ends = {
        "before": {"cpu": {"governor": "performance"}},
        "after": {"cpu": {"governor": "powersave"}},
        "changed": ["cpu.governor"],
    }
    trial = make_trial(sweeps.processes(3, 20))
    ends = {key: {**trial["environment"][key], **one} if isinstance(one, dict) else one
            for key, one in ends.items()}  # fmt: skip
    page = rendered(write_sweep(tmp_path, [make_trial(sweeps.processes(3, 20), environment=ends)]))
    assert re.search(r"cpu\.governor</th><td>performance</td><td>powersave</td>", page)


def test_how_int8_weights_are_kept_stands_beside_how_precision_was_read() -> None:
    effective = {"compute": "int8", "verified": True, "source": "profile", "weights": "signed"}
    document = {"settings": {"effective": {"postnet": effective}}, "stages": [{"name": "postnet"}]}
    point = cast("PointView", SimpleNamespace(document=document, quant="qint8_mixed_float32"))
    assert facts.setting_rows(point)[0][4] == "profile; weights signed"
    del effective["weights"]
    assert facts.setting_rows(point)[0][4] == "profile"

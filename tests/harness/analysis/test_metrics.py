"""What a summary holds, from samples small enough to reckon by hand."""

from __future__ import annotations

import pytest

from harness.analysis.metrics import METRICS
from tests.make_trials import MS, make_process, make_trial


def test_every_stage_and_the_whole_have_every_time_and_rate() -> None:
    document = make_trial([make_process([75 * MS] * 8, index=i) for i in (1, 2, 3)])
    elsewhere = {"utterances_per_s", "requests_per_s", "rtf", "x_realtime"}
    names = [one.id for one in METRICS if one.id not in elsewhere]
    for subject in ("latency", "tacotron2", "encoder", "decoder", "postnet"):
        for name in names:
            assert f"{subject}.{name}" in document["summary"], (subject, name)


def test_a_stage_owns_its_glue_and_execute_does_not() -> None:
    summary = make_trial([make_process([75 * MS] * 4)])["summary"]
    assert summary["encoder.mean"]["estimate"] == pytest.approx((MS + 1000) / 1e9)
    assert summary["encoder_execute.mean"]["estimate"] == pytest.approx(MS / 1e9)
    parts = [summary[f"{name}.mean"]["estimate"] for name in ("encoder", "decoder", "postnet")]
    residual = summary["residual.mean"]["estimate"]
    assert sum(parts) + residual == pytest.approx(summary["latency.mean"]["estimate"])


def test_warm_up_is_kept_and_not_counted() -> None:
    slow, steady = [900 * MS] * 3, [75 * MS] * 5
    document = make_trial([make_process(slow + steady, warmup=3)])
    assert document["summary"]["latency.mean"]["estimate"] == 0.075
    assert document["summary"]["latency.max"]["n"] == 5
    assert len(document["processes"][0]["columns"]["latency_ns"]) == 8


def test_rates_count_what_each_stage_makes() -> None:
    summary = make_trial([make_process([75 * MS] * 4, bs=4)], bs=4)["summary"]
    assert summary["latency.items_per_s"]["estimate"] == pytest.approx(4 * 608 / 0.075)
    assert summary["encoder.items_per_s"]["estimate"] == pytest.approx(512 / 0.001001)
    assert summary["latency.utterances_per_s"]["estimate"] == pytest.approx(4 / 0.075)


def test_real_time_counts_the_speech_of_the_whole_batch() -> None:
    summary = make_trial([make_process([75 * MS] * 4, bs=4)], bs=4)["summary"]
    speech = 4 * 608 * 256 / 22050
    assert summary["latency.rtf"]["estimate"] == pytest.approx(0.075 / speech)
    assert summary["latency.x_realtime"]["estimate"] == pytest.approx(speech / 0.075)


def test_a_percentile_the_data_cannot_support_has_no_estimate() -> None:
    record = make_trial([make_process([75 * MS] * 10)])["summary"]["latency.p99"]
    assert record["estimate"] is None
    assert record["reason"].startswith("n too small (have 10, need ")


def test_the_part_before_the_vocoder_is_the_whole_without_it() -> None:
    document = make_trial([make_process([75 * MS] * 4, waveglow=True)], waveglow=True)
    summary = document["summary"]
    part, whole = summary["tacotron2.mean"]["estimate"], summary["latency.mean"]["estimate"]
    assert part == pytest.approx(whole - summary["waveglow.mean"]["estimate"])
    assert summary["latency.items_per_s"]["estimate"] == pytest.approx(256 * 608 / 0.075)


def test_a_failed_process_is_kept_and_not_counted() -> None:
    good, bad = make_process([75 * MS] * 4), make_process([1 * MS * 9] * 4, error="it broke")
    document = make_trial([good, bad], state="failed", reason="it broke")
    assert document["summary"]["latency.mean"]["p_processes"] == 1
    assert document["grade"]["latency.mean"]["letter"] == "F"


def test_nothing_steady_is_no_summary() -> None:
    assert make_trial([make_process([75 * MS] * 3, warmup=3)])["summary"] == {}
    assert make_trial([])["summary"] == {}

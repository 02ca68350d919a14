"""A value beside the limit that decided on it: rounding never makes the two contradict the rule."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import units
from harness.analysis import accuracy, verdicts
from harness.analysis.series import Series
from harness.config.measure import Measure
from harness.judging import comparison as comparing
from harness.measuring import stopping
from harness.studies.request_rate import Goal, Step
from reports.exports import comparison as exports_comparison
from reports.figures import forest
from reports.text import verdicts as text_verdicts
from tests.make_trials import MS, make_process, make_trial

NUMBER = re.compile(r"(-?[\d,]+(?:\.\d+)?)%")
POSITIVE = st.floats(1e-9, 1e9)


def side(value: float, limit: float) -> int:
    return (value > limit) - (value < limit)


def plain(text: str) -> float:
    return float(text.replace(",", ""))


@given(limit=POSITIVE, apart=st.floats(-0.2, 0.2), decimals=st.integers(0, 4))
def test_a_value_is_written_on_the_side_of_its_limit_on_which_it_lies(
    limit: float, apart: float, decimals: int
) -> None:
    value = limit * (1 + apart)
    shown, against = (plain(one) for one in units.apart(value, limit, decimals))
    assert side(shown, against) == side(value, limit)
    assert against == pytest.approx(limit, rel=0.005)


@given(limit=POSITIVE)
def test_the_next_number_above_a_limit_is_not_written_as_the_limit(limit: float) -> None:
    for value in (math.nextafter(limit, math.inf), math.nextafter(limit, 0), limit):
        shown, against = (plain(one) for one in units.apart(value, limit, 1))
        assert side(shown, against) == side(value, limit)


@pytest.mark.parametrize(
    ("value", "limit", "texts"),
    [
        (0.0204, 0.02, ("2.04%", "2.0%")),
        (0.02, 0.02, ("2.0%", "2.0%")),
        (0.31, 0.02, ("31.0%", "2.0%")),
        (0.00036, 0.0001, ("0.04%", "0.01%")),
        (0.034, 0.035, ("3.4%", "3.5%")),
    ],
)
def test_shares_have_as_many_decimals_as_it_takes(
    value: float, limit: float, texts: tuple[str, str]
) -> None:
    assert units.shares(value, limit) == texts


def test_spans_are_written_in_one_unit() -> None:
    assert units.spans(5.0000004e-6, 5e-6) == ("5.0000004 us", "5.000 us")
    assert units.spans(3.36, 0.1) == ("3360.0 ms".replace("3360.0", "3,360.0"), "100.0 ms")


def with_residual(share: float, rule: float) -> dict[str, Any]:
    """Return a trial of which a share of the latency belongs to no stage."""
    processes = [make_process([100 * MS] * 50, index=index) for index in range(1, 11)]
    for process in processes:
        columns = process["columns"]
        columns["residual_ns"] = [round(share * 100 * MS)] * 50
    method = {**make_trial([])["method"], "rules": {"unattributed": rule}}
    return make_trial(processes, method=method)


@pytest.mark.parametrize(
    ("share", "rule"), [(0.0204, 0.02), (0.02001, 0.02), (0.0004, 0.0003), (0.3, 0.12345)]
)
def test_what_belongs_to_no_stage_is_said_by_the_rule_that_decided(
    share: float, rule: float
) -> None:
    document = with_residual(share, rule)
    (found,) = [one for one in document["warnings"] if one["code"] == "unattributed"]
    (seen,), (limit,) = NUMBER.findall(found["seen"]), NUMBER.findall(found["why"])
    assert plain(seen) > plain(limit) > 0
    (reason,) = [
        one for one in document["grade"]["latency.mean"]["reasons"] if one["code"] == "unattributed"
    ]
    assert f"more than {limit}%" in reason["text"]
    assert plain(limit) == pytest.approx(100 * rule, rel=0.005)


def test_a_drift_is_said_by_the_rule_that_decided() -> None:
    rng = np.random.default_rng(1)
    ramp = 75 * (1 + 0.02 * np.arange(60) / 60) + rng.normal(0, 0.05, 60)
    processes = [make_process([int(v * MS) for v in ramp], index=i) for i in range(1, 11)]
    method = {
        **make_trial([])["method"],
        "rules": {"drift": 0.004, "penalty": 1e6, "same_level": 0.5},
    }
    document = make_trial(processes, method=method)
    texts = [one["text"] for one in document["grade"]["latency.mean"]["reasons"]]
    assert [text for text in texts if text.startswith("latency drifts by more than 0.4% in")], texts


def test_severe_outliers_are_said_by_the_rule_that_decided() -> None:
    values = [75 * MS + 1000 * (n % 9) for n in range(2000)]
    values[7] = values[77] = 900 * MS
    method = {**make_trial([])["method"], "rules": {"severe": 0.0009}}
    document = make_trial([make_process(values, index=i) for i in (1, 2)], method=method)
    (found,) = [one for one in document["warnings"] if one["code"] == "outliers"]
    (seen, limit) = NUMBER.findall(found["seen"])[0], NUMBER.findall(found["why"])[0]
    assert plain(seen) > plain(limit) == 0.09


def test_distances_are_told_from_their_limits() -> None:
    found = {"mel_db": 1.0004, "frames": 2.0, "steps": 2.0, "audio_db": None}
    record = accuracy.judged(found, {"mel_db": 1.0, "frames": 4.0}, None)
    (line,) = accuracy.lines(record, "force_float16")
    value, limit = re.findall(r"distance ([\d.]+) dB .* limit ([\d.]+);", line)[0]
    assert float(value) > float(limit)


@pytest.mark.parametrize(("ratio", "verdict"), [(0.949996, "fail"), (1.050004, "option")])
def test_the_originals_rule_is_told_from_its_band(ratio: float, verdict: str) -> None:
    text = exports_comparison.compat_text(
        comparing.compat_rows("log", {"0": 1000.0}, {"0": 1000 * ratio})
    )
    low, high = verdicts.COMPAT_BAND
    assert f"{low} to {high}" in text
    row = text.splitlines()[1].split()
    assert row[3] == verdict
    assert not low <= float(row[2]) <= high


@pytest.mark.parametrize("delta", [0.02, 0.0004])
def test_the_least_difference_is_never_rounded_away(delta: float) -> None:
    base = make_trial([make_process([75 * MS] * 20, index=i) for i in range(1, 11)])
    found = comparing.compare([base], [base], delta=delta)
    (said,) = NUMBER.findall(
        next(line for line in text_verdicts.headline(found) if line.startswith("A difference"))
    )[:1]
    assert plain(said) == pytest.approx(100 * delta)
    low, high = re.findall(r"ratios of ([\d.]+) to ([\d.]+)", forest._caption(0, delta))[0]
    assert float(low) < 1 < float(high)
    assert float(high) - 1 == pytest.approx(delta, rel=0.05)


def test_a_rate_beyond_the_limit_is_not_said_to_be_on_it() -> None:
    line = Step(10.0, 0.5, 0.0999, 0.1000004, held=False).line(Goal(0.1, 99, 8))
    upper, limit = re.findall(r"at most ([\d.]+) ms: beyond ([\d.]+) ms", line)[0]
    assert float(upper) > float(limit)


def test_a_target_is_said_as_it_was_asked_for() -> None:
    processes = [make_process([int(v * MS)] * 20, index=i) for i, v in enumerate((70, 75, 80), 1)]
    series = Series(make_trial(processes))
    found = stopping.unmet(series, Measure(target_half_width=0.0003), "mel_frames_valid")
    assert "mean to 0.03%" in found

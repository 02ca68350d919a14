"""The table follows from raw seconds, effective precisions and limits, and from them alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import limits, machine, sidebyside, table, works
from harness.judging import roofline
from harness.machine import device_limits, environment, host
from harness.models.work import Counts, Work

if TYPE_CHECKING:
    from pathlib import Path


FLOAT32 = {**dict.fromkeys(("compute", "storage", "activations"), "float32"), "verified": True}
INT8 = {**dict.fromkeys(("compute", "storage", "activations"), "int8"), "verified": True}
LIMITS = {
    "levels": [{"level": "memory", "capacity_bytes": None, "bytes_per_s": 4e9}],
    "operations_s": {"float32": 1e12, "int8": 4e12},
    "which": "made up",
}
COUNTS = {"decoder_iter": {**Counts(Work(macs=1000, weights=1_000_000)).as_dict(), "steps": 0}}
"""4 MB in float32: a millisecond."""


def seat(name: str, wall: list[float], **changes: Any) -> dict[str, Any]:
    return {
        "name": name, "reason": None, "runtime": f"runtime of {name}",
        "effective": {"decoder_iter": FLOAT32}, "wall_s": wall, "cpu_s": [2 * one for one in wall],
        "off": {}, "resident_bytes": 1, **changes,
    }  # fmt: skip


def group(*seats: dict[str, Any], work: str = works.STEP, **changes: Any) -> dict[str, Any]:
    return {
        "work": work, "label": "decoder step", "rows": 4, "unit": "mel frames", "items": 4,
        "base": "contract", "block": 50, "warm": 15,
        "counts": COUNTS, "contestants": list(seats), **changes,
    }  # fmt: skip


def run(*groups: dict[str, Any], **changes: Any) -> dict[str, Any]:
    state = machine.state()
    return {
        "schema": sidebyside.SCHEMA, "machine": machine.facts(),
        "setup": {"model": "full", "text": 128},
        "limits": LIMITS, "states": [state, state], "absent": [], "groups": list(groups), **changes,
    }  # fmt: skip


def test_ratios_are_taken_within_a_turn_and_not_between_medians() -> None:
    # A neighbour slowed both in the later turns; within each turn the second is twice as fast.
    slow = [0.002, 0.004, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
    quick = [one / 2 for one in slow]
    _, found, *_ = table.rows(group(seat("contract", slow), seat("quick", quick)), LIMITS)
    assert found.faster == pytest.approx((2.0, 2.0, 2.0))
    assert found.less_cpu == pytest.approx((2.0, 2.0, 2.0))
    assert found.best_s == 0.001
    assert found.turns == 8


def test_few_turns_have_no_interval() -> None:
    seats = seat("contract", [2.0, 2.0]), seat("quick", [1.0, 1.0])
    text = "\n".join(table.lines([group(*seats)], LIMITS))
    assert "2.00 (too few turns)" in text
    assert "times faster than contract" in text


def test_a_share_is_that_of_the_harness_own_bound_at_the_effective_precision() -> None:
    seats = (
        seat("contract", [0.002] * 6),
        seat("int8", [0.002] * 6, effective={"decoder_iter": INT8}),
    )
    as_float32, as_int8, *_ = table.rows(group(*seats), LIMITS)
    alone = roofline.bound(Counts.of(COUNTS["decoder_iter"]), 0, LIMITS, FLOAT32)
    assert alone is not None
    assert as_float32.share == pytest.approx(alone.seconds / 0.002) == pytest.approx(0.5)
    assert as_int8.share == pytest.approx(0.125)


def test_a_share_above_all_that_is_possible_is_not_passed_over() -> None:
    quick, slow = (run(group(seat("contract", [one] * 6))) for one in (0.0009, 0.0011))
    assert table.BEYOND in table.document(quick)
    assert table.BEYOND not in table.document(slow)


def test_the_limits_come_last_the_widest_first_and_say_what_limits() -> None:
    *_, wide, narrow = table.rows(group(seat("contract", [0.002] * 6)), LIMITS)
    assert (wide.what, narrow.what) == ("limit, float32", "limit, int8")
    assert wide.median_s == pytest.approx(1e-3)
    assert narrow.median_s == pytest.approx(0.25e-3)
    assert wide.runs_as == "limited by memory"
    assert wide.faster == pytest.approx((2.0, 2.0, 2.0))


def test_the_limit_of_several_stages_is_the_sum_of_theirs() -> None:
    other = {**Counts(Work(macs=10**9), Work(macs=10**6)).as_dict(), "steps": 1000}
    counted = {**COUNTS, "postnet": other}
    found = limits.limit(counted, LIMITS, dict.fromkeys(counted, FLOAT32))
    assert found is not None
    assert found.seconds == pytest.approx(1e-3 + 2 * 2e9 / 1e12)
    assert found.describe() == "decoder_iter: memory; postnet: arithmetic"


def test_an_unknown_precision_has_no_limit() -> None:
    assert limits.limit(COUNTS, LIMITS, {}) is None
    (found, *_) = table.rows(group(seat("contract", [1.0] * 6, effective={})), LIMITS)
    assert found.share is None


def test_what_did_not_run_is_a_row_with_the_reason() -> None:
    absent = seat("exporter", [], reason="a batch of one", effective={})
    text = "\n".join(table.lines([group(absent, seat("contract", [1.0] * 6))], LIMITS))
    assert "| exporter | did not run: a batch of one |" in text


def test_without_the_base_there_are_times_and_no_ratios() -> None:
    gone = seat("contract", [1.0], reason="its process ended, status -9")
    _, found, *_ = table.rows(group(gone, seat("other", [1.0] * 6)), LIMITS)
    assert found.faster is None
    assert found.median_s == 1.0


def test_distances_and_reasons_stand_in_the_same_column() -> None:
    seats = (
        seat("contract", [1.0] * 6, off={"reason": "the reference"}),
        seat("near", [1.0] * 6, off={"value": 0.00123, "unit": "dB"}),
    )
    base, near, *_ = table.rows(group(*seats), LIMITS)
    assert (base.off, near.off) == ("the reference", "0.0012 dB")


def test_published_rows_stand_beside_ours_and_the_limit() -> None:
    tacotron2 = group(
        seat("contract", [0.5] * 6), work=works.TACOTRON2, rows=1, items=608, label="Tacotron 2"
    )
    text = "\n".join(table.published(run(tacotron2)))
    assert "| 1 | Cambricon MLU370 S4 | float16, asked for force_float32 | 7,900 | 1 |" in text
    assert "| 1 | contract | float32 | 1,216 | 0.154 |" in text
    assert "| 1 | limit, int8 |" in text


def test_nothing_is_published_about_other_models_or_texts() -> None:
    whole = group(seat("contract", [0.5] * 6), work=works.TACOTRON2)
    assert not list(table.published(run(whole, setup={"model": "tiny", "text": 128})))
    assert not list(table.published(run(whole, setup={"model": "full", "text": 64})))
    assert not list(table.published(run(group(seat("contract", [0.5] * 6)))))


def test_the_document_follows_from_the_file_alone(tmp_path: Path) -> None:
    unsure = {**FLOAT32, "verified": False, "reason": "the inside is hidden"}
    kept = run(
        group(seat("contract", [0.002] * 6, effective={"decoder_iter": unsure})),
        absent=[{"name": "pytorch", "reason": "torch is not installed"}],
    )
    out = tmp_path / "table.md"
    sidebyside.keep(kept, out)
    again = "\n".join(sidebyside.again([tmp_path / "table.json"], brief=False)) + "\n"
    assert out.read_text() == again
    assert "| pytorch | torch is not installed |" in again
    assert "float32 (not verified)" in again
    assert "Not verified: the inside is hidden." in again
    assert "made up" in again
    assert "50 steps in a row after 15" in again


def test_the_brief_table_has_a_row_for_each_contestant(tmp_path: Path) -> None:
    half = seat(
        "quick", [0.001] * 6, effective={"decoder_iter": INT8}, off={"value": 0.01, "unit": ""}
    )
    base = seat("contract", [0.002] * 6, off={"reason": "the reference"})
    gone = seat("quick", [], reason="its files are exported with a batch of one")
    paths = []
    for rows, other in ((4, half), (8, gone)):
        out = tmp_path / f"{rows}.md"
        sidebyside.keep(run(group(base, other, rows=rows)), out)
        paths.append(out.with_suffix(".json"))
    found = list(sidebyside.again(paths, brief=True))
    assert "| what | computes in | batch 4 | batch 8 |" in found
    (ours,) = (line for line in found if line.startswith("| quick"))
    assert ours == "| quick | int8 | 1.000; x 2.00; 25%; 0.01 | did not run |"
    (theirs,) = (line for line in found if line.startswith("| contract"))
    assert theirs.startswith("| contract | float32 | 2.000; x 1; 50%; the reference |")
    assert any(line.startswith("| limit, int8 | – | 0.2500; x 8.00 |") for line in found)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"schema": {"name": "harness.trial"}}))
    with pytest.raises(ValueError, match="not the raw seconds"):
        list(sidebyside.again([other], brief=False))


def test_a_fresh_record_of_the_limits_is_used_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {
        "started": datetime.now(UTC).isoformat(), "kernel": environment.kernel(),
        "reading": LIMITS["levels"],
        "products": [
            {"macs_per_s": 1e9, "compute": "float32", "backend": "b", "quant": "force_float32"}
        ],
    }  # fmt: skip
    monkeypatch.setattr(host, "stored", lambda _: [facts])
    found = limits.record()
    assert found == {**device_limits.measured(facts), "which": found["which"]}
    assert found["which"].startswith("stored")

"""What the accuracy gate said is on the page: in its first sentence, its warnings and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import reports
from harness.analysis import accuracy
from reports.figures import pareto
from reports.tables import accuracy as tables_accuracy
from reports.tables import findings
from reports.views.reader import read_sweep
from tests.make_trials import make_trial, write_sweep
from tests.reports import sweeps

if TYPE_CHECKING:
    from pathlib import Path

    from reports.views.points import SweepView


LIMITS = {"frames": 4.0, "steps": 4.0, "mel_db": 1.0, "audio_db": 3.0}


def record(mel_db: float) -> dict[str, Any]:
    found = {"frames": 0.0, "steps": 0.0, "mel_db": mel_db, "audio_db": None}
    return accuracy.judged(found, LIMITS, None)


PASSED, FAILED = record(0.1), record(1.234)
OFF = accuracy.not_checked("accuracy.check=false")


def made(folder: Path, *records: dict[str, Any] | None) -> SweepView:
    kept: list[dict[str, Any]] = [{} if one is None else {"accuracy": one} for one in records]
    trials = [
        make_trial(sweeps.processes(3, 30, bs), bs=bs, **more) for bs, more in enumerate(kept, 1)
    ]
    return read_sweep(write_sweep(folder / "sweep", trials))


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([None, None], ""),
        ([PASSED], "accuracy passed"),
        ([PASSED, PASSED], "accuracy passed throughout"),
        ([OFF, OFF], "accuracy not checked throughout"),
        ([FAILED, PASSED, PASSED], "accuracy: 1 failed, 2 passed"),
        ([FAILED, OFF, None], "accuracy: 1 failed, 2 not checked"),
    ],
)
def test_the_outcome_in_words(
    tmp_path: Path, records: list[dict[str, Any] | None], words: str
) -> None:
    sweep = made(tmp_path, *records)
    assert tables_accuracy.outcome(sweep) == words
    assert words in findings.headline(sweep)


def test_a_failure_names_the_distance_its_limit_and_the_limit_that_passes(tmp_path: Path) -> None:
    sweep = made(tmp_path, FAILED, PASSED)
    (found,) = [one for one in findings.warnings(sweep) if one.code == "accuracy-failed"]
    assert found.severity == "error"
    assert "mel distance 1.23 dB" in found.seen
    assert "limit 1.00" in found.seen
    assert "accuracy.force_float32.mel_db=1.24" in found.seen
    page = reports.render(tmp_path / "sweep").read_text("utf-8")
    assert "✗ 1.23<small>limit 1.00" in page
    assert 'href="#accuracy"' in page


def test_what_was_not_checked_is_a_notice_with_its_reason(tmp_path: Path) -> None:
    sweep = made(tmp_path, OFF, PASSED)
    (found,) = [one for one in findings.warnings(sweep) if one.code == "accuracy-not-checked"]
    assert found.severity == "notice"
    assert "accuracy.check=false" in found.seen
    assert [point.batch for point in found.points] == [1]


def test_the_fastest_point_is_not_the_best_when_its_outputs_are_wrong(tmp_path: Path) -> None:
    sound, wrong = (made(tmp_path / name, one, PASSED, PASSED) for name, one in
                    (("sound", PASSED), ("wrong", FAILED)))  # fmt: skip
    assert [one.point.batch for one in findings.best_points(sound)] == [1, 3]
    assert [one.point.batch for one in findings.best_points(wrong)] == [2, 3]
    fronts = [[one.on_front for one in pareto.marks(sweep, "mean")] for sweep in (sound, wrong)]
    assert fronts == [[True, True, True], [False, True, True]]


def test_distances_nobody_has_are_no_column(tmp_path: Path) -> None:
    table = tables_accuracy.accuracy_table(made(tmp_path, PASSED, FAILED).points)
    assert [column.key for column in table.columns] == ["accuracy", "frames", "steps", "mel_db"]
    assert [row.cells[0].text for row in table.rows] == ["passed", "failed"]

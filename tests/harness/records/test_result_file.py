"""Result files: whole or absent, never changed, checked when read."""

from __future__ import annotations

import copy
import csv
import gzip
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from harness.errors import ResultFileError
from harness.judging import complete
from harness.records import identity, result_file
from harness.records.journal import Journal
from tests.make_trials import LABEL, MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from pathlib import Path


SCHEMA = json.loads(resources.files("harness").joinpath("trial.schema.json").read_text("utf-8"))


@pytest.fixture
def trial() -> dict[str, Any]:
    return make_trial([make_process([75 * MS, 76 * MS, 80 * MS], index=i) for i in (1, 2, 3)])


def test_a_document_meets_the_schema(trial: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(trial)
    validator.validate(make_trial([], state="skipped", reason="no kernels"))


@pytest.mark.parametrize("broken", ["status", "point", "processes", "content_sha256"])
def test_the_schema_refuses_a_document_without(broken: str, trial: dict[str, Any]) -> None:
    del trial[broken]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(trial)


def test_the_schema_refuses_times_that_are_not_integers(trial: dict[str, Any]) -> None:
    trial["processes"][0]["columns"]["latency_ns"][0] = 0.5
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(trial)


def test_what_is_written_is_read_back(trial: dict[str, Any], tmp_path: Path) -> None:
    assert result_file.load_trial(result_file.write_trial(tmp_path, trial)) == trial


def test_many_iterations_are_compressed(tmp_path: Path) -> None:
    path = result_file.write_trial(tmp_path, make_trial([make_process([75 * MS] * 2000)]))
    assert path.name.endswith(".json.gz")
    assert json.loads(gzip.decompress(path.read_bytes())) == result_file.load_trial(path)


def test_a_file_is_never_overwritten(trial: dict[str, Any], tmp_path: Path) -> None:
    path = result_file.write_trial(tmp_path, trial)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        result_file.write_trial(tmp_path, {**trial, "items": {}})
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_crash_while_writing_leaves_no_file(
    trial: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.files.os.fsync", crash)
    with pytest.raises(OSError, match="No space"):
        result_file.write_trial(tmp_path, trial)
    assert not list(tmp_path.iterdir())


def test_the_journal_goes_when_the_trial_is_whole(trial: dict[str, Any], tmp_path: Path) -> None:
    journal = Journal(tmp_path, trial["trial_id"])
    journal.begin({}, [{"record": trial["processes"][0]}])
    assert [one["record"] for one in journal.entries()] == trial["processes"][:1]
    result_file.write_trial(tmp_path, trial)
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": {"name": "harness.trial", "major": 2, "minor": 0}}, "newer"),
        ({"schema": {"name": "another", "major": 1, "minor": 0}}, "not a result file"),
        ({"status": {"state": "ok", "reason": "altered"}}, "does not match"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(
    change: dict[str, Any], said: str, trial: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "trial.json").write_text(json.dumps({**trial, **change}))
    with pytest.raises(ResultFileError, match=said):
        result_file.load_trial(tmp_path / "trial.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema": 3}'])
def test_garbage_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "trial.json").write_bytes(content)
    with pytest.raises(ResultFileError, match=r"^[^\n]+$"):
        result_file.load_trial(tmp_path / "trial.json")


@pytest.mark.parametrize(
    "text", [": ", ", ", "a\\b", 'said "x": 1', "two\nlines", "µ\u2028{}, [1, 2]"]
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_hash_holds_however_the_file_is_spaced(
    text: str, indent: int | None, trial: dict[str, Any], tmp_path: Path
) -> None:
    trial["status"]["reason"] = text
    trial["content_sha256"] = identity.content_hash(trial)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(trial, indent=indent, ensure_ascii=False), "utf-8")
    assert result_file.load_trial(path) == trial
    trial["status"]["reason"] = text + " "
    path.write_text(json.dumps(trial, indent=indent, ensure_ascii=False), "utf-8")
    with pytest.raises(ResultFileError, match="does not match"):
        result_file.load_trial(path)


def test_a_reader_may_keep_a_part_of_each_document(trial: dict[str, Any], tmp_path: Path) -> None:
    write_sweep(tmp_path, [trial])
    found = result_file.load_sweep(
        tmp_path, keep=lambda one: {"point": one["point"], "trial_id": one["trial_id"]}
    )
    assert [sorted(one) for one in found.trials] == [["point", "trial_id"]]


def test_an_unknown_field_is_kept(trial: dict[str, Any], tmp_path: Path) -> None:
    richer = {**trial, "weather": "fine"}
    richer["content_sha256"] = identity.content_hash(richer)
    assert result_file.load_trial(result_file.write_trial(tmp_path, richer))["weather"] == "fine"


def test_the_stored_summary_is_what_the_samples_give(trial: dict[str, Any]) -> None:
    again = complete.complete(copy.deepcopy(trial))
    assert again == trial


def test_no_number_in_a_file_is_infinite_or_nan(tmp_path: Path) -> None:
    golden = {"mel": {"sha256": "0", "finite": False, "min": float("nan"), "max": float("inf")}}
    trial = make_trial([make_process([75 * MS] * 2, golden=golden)])
    assert trial["processes"][0]["golden"]["mel"]["min"] is None
    result_file.write_trial(tmp_path, trial)


def test_a_sweep_is_read_in_order_with_what_could_not_be(tmp_path: Path) -> None:
    trials = [make_trial([make_process([75 * MS] * 3)], bs=bs) for bs in (1, 4)]
    write_sweep(tmp_path, trials)
    (tmp_path / "points" / "odd").mkdir()
    (tmp_path / "points" / "odd" / "x.json").write_text("{")
    found = result_file.load_sweep(tmp_path)
    assert [one["point"]["config"]["bs"] for one in found.trials] == [1, 4]
    assert len(found.problems) == 1


def test_the_latest_trial_of_a_point_counts(tmp_path: Path) -> None:
    first = make_trial([make_process([75 * MS] * 3)])
    second = make_trial([make_process([80 * MS] * 3)], supersedes=first["trial_id"])
    write_sweep(tmp_path, [first, second])
    (trial,) = result_file.load_sweep(tmp_path).trials
    assert trial["trial_id"] == second["trial_id"]


def test_summary_csv_and_json_say_the_same(tmp_path: Path) -> None:
    trials = [
        make_trial([make_process([75 * MS] * 8, index=i) for i in (1, 2, 3)]),
        make_trial([], bs=4, state="skipped", reason="no kernels"),
    ]
    write_sweep(tmp_path, trials)
    with (tmp_path / "summary.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [row["subject"] for row in table] == ["latency", "encoder", "decoder", "postnet", ""]
    assert {row["weights"] for row in table} == {LABEL}
    for text, exact in zip(table, summary["rows"], strict=True):
        for key, value in exact.items():
            assert text[key] == ("" if value is None else str(value))
    assert table[0]["p99_s"] == ""
    reasons = summary["not_shown"][trials[0]["trial_id"]]
    assert reasons["latency.p99"].startswith("n too small")
    assert table[-1]["reason"] == "no kernels"

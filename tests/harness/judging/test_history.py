"""A metric over many sweeps: the query over files, change points, and what may be removed."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.commands import clean
from harness.errors import UsageError
from harness.judging import history
from harness.machine import signature
from harness.records import result_file, sweep_folder
from reports.exports import history as exports_history
from tests.make_trials import LABEL, MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from pathlib import Path


def harness(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **more},
    )  # fmt: skip


def put(outputs: Path, day: int, level_ms: float, *, host: str = "here", **more: Any) -> Path:
    """Write a finished sweep of one point, measured on the given day."""
    trial_id = f"202611{day:02d}T080000000000Z-0000000{day % 10}"
    processes = [
        make_process([round(level_ms * MS) + step * 1000 for step in range(5)], index=index)
        for index in (1, 2, 3)
    ]
    folder = write_sweep(
        outputs / f"sweep-{day:02d}", [make_trial(processes, trial_id=trial_id, **more)]
    )
    facts = {
        "schema": sweep_folder.SCHEMA,
        "conditions": {"host": host},
        "provenance": {"git": {"commit": f"{day:040x}"}},
        "weights": LABEL,
    }
    result_file.write_sweep(folder, facts)
    return folder


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Twelve days on one host, 5 % slower from the seventh on; two days on another host."""
    place = tmp_path / "outputs"
    for day in range(1, 13):
        put(place, day, 80 * (1.05 if day >= 7 else 1.0) + 0.1 * (day % 3))
    for day in (13, 14):
        put(place, day, 40, host="elsewhere")
    return place


def test_a_step_is_named_with_its_first_occasion_and_hosts_are_told_apart(outputs: Path) -> None:
    (trend,) = history.trends([outputs], metric="latency.mean")
    assert len(trend.occasions) == 14
    changed = [one for one in trend.occasions if one.change is not None]
    assert [one.at for one in changed] == ["2026-11-07T08:00:00Z"]
    assert changed[0].change == pytest.approx(0.05, abs=0.003)
    assert changed[0].commit == f"{7:040x}"
    assert [one.host for one in trend.occasions[-2:]] == ["elsewhere"] * 2
    first = trend.occasions[0]
    assert first.low is not None
    assert first.high is not None
    assert first.low <= first.value <= first.high


def test_values_are_those_of_the_result_files(outputs: Path) -> None:
    (trend,) = history.trends([outputs], metric="decoder.cl99")
    for one in trend.occasions:
        (trial,) = result_file.load_sweep(outputs / one.sweep).trials
        assert one.value == trial["summary"]["decoder.cl99"]["estimate"]
        assert one.low is None


def test_failed_points_and_other_points_are_left_out(outputs: Path) -> None:
    put(outputs, 15, 80, bs=4)
    put(outputs, 16, 80, state="failed", reason="x")
    found = history.trends([outputs], metric="latency.mean")
    assert [len(one.occasions) for one in found] == [14, 1]
    (only,) = history.trends([outputs], metric="latency.mean", point="-bs4-")
    assert only.name.endswith("bs4-il128")


@pytest.mark.parametrize("metric", ["latency", "latency.wibble", "mean", "latency.reason"])
def test_an_unknown_metric_is_refused_with_those_there_are(metric: str, outputs: Path) -> None:
    with pytest.raises(UsageError, match=r"statistics: mean, p50"):
        history.trends([outputs], metric=metric)


def test_steady_history_has_no_change_points_but_for_one_series_in_fifty() -> None:
    draw = np.random.default_rng(11)
    alarms = sum(
        bool(history.change_points(np.exp(draw.normal(0.0, 0.01, 30)))) for _ in range(200)
    )
    assert alarms <= 4


def test_a_step_of_five_percent_is_found_where_it_is() -> None:
    draw = np.random.default_rng(12)
    found = 0
    for _ in range(100):
        values = np.exp(draw.normal(0.0, 0.01, 24)) * np.where(np.arange(24) < 12, 1.0, 1.05)
        changes = history.change_points(values)
        found += len(changes) == 1 and abs(changes[0][0] - 12) <= 1
    assert found >= 90


def test_the_command_writes_text_csv_json_and_a_figure(outputs: Path, tmp_path: Path) -> None:
    said = harness("history", str(outputs), "plot=trend.svg", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "new level: +5.0%, worse" in said.stdout
    assert LABEL in said.stdout
    drawn = (tmp_path / "trend.svg").read_text()
    assert ET.fromstring(drawn).tag.endswith("svg")  # noqa: S314 - our own file
    rows = json.loads(harness("history", "format=json", cwd=tmp_path).stdout)
    table = csv.DictReader(io.StringIO(harness("history", "format=csv", cwd=tmp_path).stdout))
    assert [float(row["value"]) for row in table] == [row["value"] for row in rows]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["history", "/no/such"], "/no/such"),
        (["history", "."], "no sweep with results"),
        (["history", "format=wibble"], "format=wibble"),
        (["clean", "older=soon"], "older=soon"),
        (["clean", "above=much"], "above=much"),
    ],
)
def test_wrong_words_are_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = harness(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr or "no such folder" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def age(folder: Path, days: float) -> None:
    for path in [folder, *folder.rglob("*")]:
        stat = path.stat()
        os.utime(path, (stat.st_atime, stat.st_mtime - days * 86400))


def test_clean_names_old_sweeps_and_removes_them_only_when_told(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    old, new = put(outputs, 1, 80), put(outputs, 2, 80)
    foreign = outputs / "thesis"
    foreign.mkdir()
    (foreign / "sweep.json").write_text('{"mine": true}')
    (outputs / "notes.txt").write_text("mine")
    for place in (old, foreign):
        age(place, 40)
    dry = harness("clean", "what=sweeps", "older=30d", cwd=tmp_path)
    assert dry.returncode == 0
    assert str(old.name) in dry.stdout
    assert old.is_dir()
    wet = harness("clean", "what=sweeps", "older=30d", "apply=true", cwd=tmp_path)
    assert wet.returncode == 0
    assert not old.exists()
    assert new.is_dir()
    assert foreign.is_dir()
    assert (outputs / "notes.txt").is_file()


def test_clean_keeps_the_newest_within_a_size_and_what_is_in_use(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    places = [put(outputs, day, 80) for day in (1, 2, 3)]
    for place, days in zip(places, (3, 2, 1), strict=True):
        age(place, days)
    items = clean.sweeps(outputs)
    assert [one.path for one in items] == places[::-1]
    room = items[0].size_bytes + items[1].size_bytes
    assert [one.path for one in clean.chosen(items, older_s=None, above_bytes=room)] == places[:1]
    with sweep_folder.Lock(places[0]):
        assert not clean.chosen(clean.sweeps(outputs), older_s=None, above_bytes=room * 10)
        held = [one for one in clean.sweeps(outputs) if one.in_use]
        assert [one.path for one in held] == places[:1]
        assert places[0] not in [
            one.path for one in clean.chosen(clean.sweeps(outputs), older_s=1.0, above_bytes=None)
        ]


def test_clean_of_the_cache_touches_nothing_beside_it(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in ("models/a", "compiled/b", "somebody/c"):
        (cache / "harness" / name).mkdir(parents=True)
        (cache / "harness" / name / "file").write_bytes(b"x" * 10_000)
    said = harness(
        "clean", "what=cache", "above=0", "apply=true", cwd=tmp_path, XDG_CACHE_HOME=str(cache)
    )
    assert said.returncode == 0, said.stderr
    left = {path.relative_to(cache / "harness").as_posix() for path in cache.rglob("file")}
    assert left == {"somebody/c/file"}


def test_one_machine_under_two_names_is_one_and_two_under_one_name_are_two(tmp_path: Path) -> None:
    zen3, zen4 = (
        signature.Signature(vendor="AuthenticAMD", model="AMD EPYC", number=number)
        for number in ("1", "17")
    )
    for day in range(1, 13):
        folder = put(tmp_path, day, 80 * (1.05 if day >= 7 else 1.0) + 0.1 * (day % 3))
        sign(folder, zen3, host=f"container-{day}")
    for day in (13, 14):
        sign(put(tmp_path, day, 40), zen4, host="container-1")
    (trend,) = history.trends([tmp_path], metric="latency.mean")
    assert {one.host for one in trend.occasions} == {
        f"AMD EPYC {zen3.key}", f"AMD EPYC {zen4.key}"
    }  # fmt: skip
    assert [one.at for one in trend.occasions if one.change is not None] == ["2026-11-07T08:00:00Z"]
    assert all(one.signed for one in trend.occasions)
    assert "machine unknown" not in exports_history.text([trend])


def sign(folder: Path, machine: signature.Signature, *, host: str) -> None:
    """Say in a sweep's plan where it was measured."""
    facts = sweep_folder.facts(folder)
    facts["conditions"] = {"host": host, "machine": machine.record()}
    result_file.write_sweep(folder, facts)


def test_a_sweep_that_does_not_say_its_machine_is_told_apart_by_host(outputs: Path) -> None:
    (trend,) = history.trends([outputs], metric="latency.mean")
    assert not any(one.signed for one in trend.occasions)
    assert "machine unknown in older sweeps" in exports_history.text([trend])

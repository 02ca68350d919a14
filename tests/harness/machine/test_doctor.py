"""`doctor` looks and does not touch; every warning has a command, every unknown a reason."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from harness import commands
from harness.errors import ExitStatus, UsageError
from harness.machine import doctor, environment

if TYPE_CHECKING:
    from pathlib import Path


QUIET: dict[str, Any] = {
    "cpu": {"governor": "performance", "boost": "0", "turbo_off": environment.unknown("no file"),
            "smt": "0", "logical": 8},
    "os": {"clocksource": "tsc"},
    "confinement": {"cpu_max": "max 100000"},
    "state": {"load": [0.1, 0.1, 0.1], "competing": [], "temperature_c": 40.0,
              "pressure": {"cpu": 0.0, "memory": 0.0, "io": 0.0}, "swap_used_bytes": 0,
              "throttled": 0},
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_steal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "steal", lambda: doctor.MachineFinding("steal", "ok", "0.0 %"))


def states(record: dict[str, Any], folder: Path) -> dict[str, doctor.MachineFinding]:
    return {one.what: one for one in doctor.look(record, folder)}


def test_a_quiet_machine_has_no_warning(tmp_path: Path) -> None:
    assert {one.state for one in states(QUIET, tmp_path).values()} == {"ok"}


@pytest.mark.parametrize(
    ("group", "key", "value", "what"),
    [
        ("cpu", "governor", "powersave", "governor"),
        ("cpu", "boost", "1", "turbo"),
        ("cpu", "smt", "1", "SMT"),
        ("state", "load", [7.0, 1.0, 1.0], "load"),
        ("state", "competing", ["make (99 %)"], "competing processes"),
        ("state", "pressure", {"cpu": 30.0}, "cpu pressure"),
        ("state", "temperature_c", 95.0, "temperature"),
        ("state", "swap_used_bytes", 1 << 30, "swap in use"),
        ("state", "throttled", 3, "throttled periods"),
        ("confinement", "cpu_max", "200000 100000", "cgroup CPU limit"),
        ("os", "clocksource", "hpet", "clock source"),
    ],
)
def test_each_disturbance_is_a_warning_with_what_to_do(
    group: str, key: str, value: Any, what: str, tmp_path: Path
) -> None:
    record = copy.deepcopy(QUIET)
    record[group][key] = value
    found = states(record, tmp_path)
    assert {name for name, one in found.items() if one.state == "warning"} == {what}
    assert found[what].fix


def test_what_cannot_be_read_is_unknown_with_its_reason(tmp_path: Path) -> None:
    record = copy.deepcopy(QUIET)
    record["cpu"]["governor"] = environment.unknown("no such file")
    found = states(record, tmp_path)["governor"]
    assert (found.state, found.seen) == ("unknown", "no such file")


def test_it_runs_here_and_fails_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.run("doctor", []) is ExitStatus.FINE
    assert "governor" in capsys.readouterr().out
    bad = doctor.MachineFinding("load", "warning", "9", "wait")
    monkeypatch.setattr(doctor, "examine", lambda _: [bad])
    assert commands.run("doctor", []) is ExitStatus.FINE
    assert commands.run("doctor", ["fail_on=warning"]) is ExitStatus.ERROR


@pytest.mark.parametrize("word", ["fail_on=always", "now", "speed=1"])
def test_wrong_usage_is_one_line(word: str) -> None:
    with pytest.raises(UsageError, match=r"^doctor: [^\n]+$"):
        commands.run("doctor", [word])

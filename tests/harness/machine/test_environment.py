"""The record of the machine: nothing left out, nothing secret, what moves told apart."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

from harness.machine import environment

if TYPE_CHECKING:
    import pytest


def test_every_group_is_there_and_fits_a_result_file() -> None:
    record = environment.collect()
    assert set(record) == {
        "machine", "cpu", "memory", "os", "confinement", "accelerator", "software", "state",
    }  # fmt: skip
    json.dumps(record, allow_nan=False)


def test_what_is_unknown_has_a_reason() -> None:
    found = environment.unknown("no sensor")
    assert found == {"value": None, "reason": "no sensor"}


def test_no_other_environment_variable_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret-value")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    record = environment.collect()
    assert "secret-value" not in json.dumps(record)
    assert record["software"]["variables"]["OMP_NUM_THREADS"] == "2"


def test_what_moves_is_no_difference_and_what_should_not_is() -> None:
    before = environment.collect()
    after = copy.deepcopy(before)
    after["state"]["load"] = [9.0, 9.0, 9.0]
    assert environment.differences(before, after) == []
    after["cpu"]["governor"] = "powersave"
    after["confinement"]["affinity"] = [0]
    changed = environment.differences(before, after)
    assert "confinement.affinity" in changed
    assert any(key.startswith("cpu.governor") for key in changed)

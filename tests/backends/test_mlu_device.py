"""What cnmon and mm_run print, in every layout known, and what happens when they do not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from backends.magicmind import cnmon as device

BIN = Path(__file__).resolve().parents[1] / "doubles" / "bin"


@pytest.fixture
def cnmon(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put the made-up cnmon on PATH; call the fixture to say how it behaves."""
    monkeypatch.setenv("PATH", str(BIN), prepend=":")

    def behave(**how: Any) -> None:
        monkeypatch.setenv("FAKE_CNMON", json.dumps(how))

    behave()
    return behave


@pytest.mark.parametrize(
    ("driver", "version", "temperature"), [(4, "v4.20.18", 47.0), (5, "v5.10.22", 52.0)]
)
def test_facts_of_a_card_in_both_layouts(
    cnmon: Any, driver: int, version: str, temperature: float
) -> None:
    cnmon(driver=driver)
    facts = device.look(0)
    assert facts["name"] == "MLU370-S4"
    assert facts["driver"] == version  # and not "Running", the second key of that name
    assert facts["firmware"] == "v1.1.6"
    assert facts["temperature_c"] == temperature
    assert (facts["power_w"], facts["power_cap_w"]) == (44.0, 75.0)
    assert (facts["memory_used_mib"], facts["memory_total_mib"]) == (512.0, 23308.0)
    assert facts["utilisation_pct"] == 66.0
    # cnmon names no clock: said, not guessed.
    assert facts["clock_mhz"] is None
    assert facts["reasons"]["clock_mhz"] == "cnmon does not tell it"


def test_cards_are_told_apart(cnmon: Any) -> None:
    cnmon(cards=3)
    assert device.look(2)["uuid"].endswith("2")
    gone = device.look(3)
    assert gone["name"] is None
    assert "no device" in gone["reasons"]["name"]


def test_what_a_layout_lacks_is_none_with_a_reason(cnmon: Any) -> None:
    cnmon(driver=5, missing=["Chip", "Cap", "UUID"])
    facts = device.look(0)
    assert facts["temperature_c"] == 47.0  # the board's
    assert facts["uuid"] is None
    assert "uuid" in facts["reasons"]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"status": 3}, "cnmon ended with exit status 3 and said: cnmon: cannot open the driver"),
        ({"hang": 30}, "cnmon gave no answer within 0.5 s"),
    ],
)
def test_a_tool_that_fails_or_hangs_is_a_reason(
    cnmon: Any, how: dict[str, Any], reason: str
) -> None:
    cnmon(**how)
    assert device.look(0, 0.5)["reasons"]["power_w"] == reason
    told = device.sample(0, 0.5)
    assert told["power_w"] is None
    assert told["reason"] == reason


def test_no_cnmon_is_a_reason_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("cnmon") is None
    assert device.look(0)["reasons"]["name"] == (
        "cnmon is not on PATH; bind-mount it from the host into the container"
    )


def test_a_sample_says_when_it_was_taken_and_what_it_cost(cnmon: Any) -> None:
    cnmon(power=[40])
    first, second = device.sample(0), device.sample(0)
    assert first["power_w"] == 40.0
    assert first["cost_ns"] > 0
    assert first["at_ns"] < second["at_ns"]


@pytest.mark.parametrize(
    ("product", "arch"),
    [("MLU370-S4", "mtp_372"), ("MLU370-X8", "mtp_372"), ("MLU590-M9", "mtp_592"),
     ("MLU999", None), (None, None)],
)  # fmt: skip
def test_architecture_of_a_product(product: str | None, arch: str | None) -> None:
    assert device.arch_of(product) == arch


@pytest.mark.parametrize("style", ["old", "new"])
def test_mm_run_names_clusters_and_clock_in_both_styles(
    cnmon: Any,  # noqa: ARG001 - mm_run lies beside it
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    style: str,
) -> None:
    monkeypatch.setenv("FAKE_MM_RUN", json.dumps({"style": style}))
    model = tmp_path / "encoder.mm"
    model.write_bytes(b"")
    facts = device.block(str(model), [[1, 128], [1]], 0)
    assert facts["clusters"] == 6
    assert facts["clock_mhz"] == 1000
    assert facts["memory_total_mib"] == 24576
    assert facts["throughput_qps"] == 28916.2  # the number, not the text behind it


def test_mm_run_that_hangs_is_a_reason(
    cnmon: Any,  # noqa: ARG001 - mm_run lies beside it
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("FAKE_MM_RUN", json.dumps({"hang": 30}))
    model = tmp_path / "encoder.mm"
    model.write_bytes(b"")
    found = device.block(str(model), [[1, 128], [1]], 0, 0.5)
    assert found == {"reason": "mm_run gave no answer within 0.5 s"}

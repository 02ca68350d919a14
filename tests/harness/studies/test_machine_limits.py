"""The limits of a host: what is measured, printed, kept, and quoted by every result."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness import commands
from harness.commands.console import Console
from harness.errors import ExitStatus, UsageError
from harness.judging import roofline as bounds
from harness.machine import device_limits, environment, host
from harness.planning import plugins
from harness.studies import levels, machine_limits

if TYPE_CHECKING:
    from pathlib import Path


MIB = 1 << 20
CACHES = {"L1 Data": "32K", "L2 Unified": "1024K", "L3 Unified": "32768K"}


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_every_level_is_read_by_one_thread_and_by_all() -> None:
    found = levels.levels(CACHES, 2)
    assert [(one.level, one.capacity_bytes, one.size_bytes) for one in found] == [
        ("L2, 1 thread", MIB, MIB // 2),
        ("L3, 1 thread", 32 * MIB, 16 * MIB),
        ("memory, 1 thread", None, 256 * MIB),
        ("L2, 2 threads", 2 * MIB, MIB),
        ("L3, 2 threads", 32 * MIB, 16 * MIB),
        ("memory, 2 threads", None, 256 * MIB),
    ]
    assert all(one.passes * one.size_bytes >= 256 * MIB * one.threads for one in found)
    assert [one.stage for one in found] == [
        "l2_1", "l3_1", "memory_1", "l2_2", "l3_2", "memory_2",
    ]  # fmt: skip
    assert found[3].amount == 512 * MIB


def test_a_machine_of_one_core_without_known_caches_still_has_memory() -> None:
    (memory,) = levels.levels({}, 1)
    assert (memory.level, memory.threads, memory.passes) == ("memory, 1 thread", 1, 1)


def test_a_large_last_cache_is_left_behind() -> None:
    memory = levels.levels({"L3 Unified": "256M"}, 1)[-1]
    assert memory.size_bytes == 2048 * MIB


# --- the figure ------------------------------------------------------------------------------


def passes(*quick: float) -> list[Any]:
    """Return the seconds of processes whose 10 % quantiles are as named; the rest is slow."""
    return [np.array([9 * one, *[one] * 4, *[5 * one] * 14, 7 * one]) for one in quick]


def test_a_limit_is_that_of_the_quickest_tenth_of_each_process() -> None:
    seconds = (0.010, 0.011, 0.010, 0.012, 0.010)
    found = machine_limits.fastest(passes(*seconds), 2e6)
    assert found["rates"] == pytest.approx([2e8, 2e6 / 0.011, 2e8, 2e6 / 0.012, 2e8])
    # Section 3.4: total over total, and t with 4 degrees of freedom on the logs.
    assert found["rate"] == pytest.approx(5 * 2e6 / sum(seconds))
    half = 2.776445 * np.std(np.log(seconds), ddof=1) / np.sqrt(5)
    assert found["ci95"] == pytest.approx(
        [found["rate"] * np.exp(-half), found["rate"] * np.exp(half)]
    )
    assert (found["n"], found["processes"], found["reason"]) == (100, 5, None)


def test_the_interval_follows_from_the_rates_that_are_kept() -> None:
    found = machine_limits.fastest(passes(0.010, 0.013, 0.010, 0.012, 0.019), 2e6)
    again = machine_limits.fastest([np.array([2e6 / rate]) for rate in found["rates"]], 2e6)
    assert again["ci95"] == pytest.approx(found["ci95"])


def test_a_disturbed_half_shows_in_the_interval() -> None:
    low, high = machine_limits.fastest(passes(0.01, 0.01, 0.01, 0.03, 0.03), 2e6)["ci95"]
    assert high > 3 * low


def test_one_process_has_no_interval_and_says_why() -> None:
    found = machine_limits.fastest(passes(0.010), 2e6)
    assert found["rate"] == pytest.approx(2e8)
    assert (found["ci95"], found["reason"]) == (None, machine_limits.ONE_PROCESS)


@pytest.mark.parametrize("form", machine_limits.FORMS.values())
def test_every_form_has_processes_enough_for_an_interval(form: machine_limits.LimitsSize) -> None:
    assert form.processes >= 5


# --- a run -----------------------------------------------------------------------------------


def measured(seconds: float, point: Any, iterations: int) -> dict[str, Any]:
    """Return a result whose stages took less and less from the first to the last."""
    stages = [stage["name"] for stage in point.plan["stages"]]
    columns = {"latency_ns": [1] * (iterations + 2)}
    for place, stage in enumerate(stages, 1):
        columns[f"{stage}_ns"] = [1] * 2 + [round(seconds / place * 1e9)] * iterations
    process = {"device": "0", "warmup": 2, "columns": columns, "glue": {}}
    effective = {"compute": "float32", "storage": "float32", "verified": True}
    return {
        "processes": [process],
        "stages": [{"name": stage} for stage in stages],
        "settings": {"effective": dict.fromkeys(stages, effective), "runtime": {}},
    }


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the limits of a machine whose every process is one hundredth slower."""
    turns: list[str] = []
    probe: dict[str, Any] = {"available": True, "device": {"kind": "cpu", "facts": {"cpus": 2}}}
    probe["precisions"] = {"force_float32": {"form": "float32", "note": ""}}

    def quietly(points: Any, folder: Path, _: str) -> list[dict[str, Any]]:
        turns.append(folder.name)
        turn = int(folder.name.partition("-")[0])
        return [measured(0.1 * 1.01**turn, points[0], 10)]

    monkeypatch.setattr(machine_limits, "quietly", quietly)
    monkeypatch.setattr(machine_limits, "_probe", lambda _: probe)
    backends = [{"name": "reading"}, {"name": "onnxruntime"}]
    monkeypatch.setattr(plugins, "describe", lambda: backends)
    monkeypatch.setattr(environment, "collect", lambda: {"cpu": {"caches": CACHES}})
    console = Console(io.StringIO(), io.StringIO())
    facts = machine_limits.run(machine_limits.FORMS["short"], tmp_path, console, lambda: False)
    assert turns == [f"{turn}-{place:02d}" for turn in range(1, 6) for place in (1, 2)]
    return facts


def test_one_process_reads_every_level_the_largest_first(ran: dict[str, Any]) -> None:
    # The fake takes 0.1 s for the first stage, half of it for the second, and so on.
    order = ["memory, 1 thread", "L3, 1 thread", "L2, 1 thread",
             "memory, 2 threads", "L3, 2 threads", "L2, 2 threads"]  # fmt: skip
    total = sum(1.01**turn for turn in range(1, 6))
    for one in ran["reading"]:
        place, amount = order.index(one["level"]) + 1, 256 * MIB * one["threads"]
        assert one["bytes_per_s"] == pytest.approx(amount * place * 5 / 0.1 / total)


def test_every_limit_has_an_interval_and_the_rates_it_follows_from(ran: dict[str, Any]) -> None:
    assert ran["schema"] == {"name": "harness.roofline", "major": 1, "minor": 1}
    for one in [*ran["reading"], *ran["products"]]:
        rate = one["bytes_per_s"] if "level" in one else one["macs_per_s"]
        low, high = one["ci95"]
        assert low < rate < high
        assert len(one["rates"]) == one["processes"] == 5
        assert one["rates"][0] / one["rates"][-1] == pytest.approx(1.01**4)
    assert not any("no interval" in line for line in machine_limits.lines(ran))


def test_records_from_before_are_shown_and_quoted(ran: dict[str, Any]) -> None:
    """Version 1.0 kept neither the rates of the processes nor the reason."""
    for one in [*ran["reading"], *ran["products"]]:
        one["ci95"] = None
        del one["rates"], one["reason"]
    assert "(no interval)" in next(iter(machine_limits.lines(ran)))
    limits = device_limits.quoted({"kind": "cpu"}, ran)
    assert limits["operations_ci95"] == {"float32": None}
    assert bounds.bandwidth(limits, 1e9) > 0


@pytest.mark.slow
def test_limits_run_through_the_real_pipeline_and_are_kept(capsys: Any) -> None:
    assert host.roofline()["value"] is None
    words = ["processes=2", "iterations=2"]
    assert commands.run("roofline", words) is ExitStatus.FINE
    said = capsys.readouterr().out
    for line in ("reads     memory", "products  float32", "magicmind: ", "quickest tenth"):
        assert line in said
    assert "no interval" not in said
    (facts,) = host.stored(host.ROOFLINE)
    assert host.stored() == []
    quoted = host.roofline()
    assert quoted["reading"] == facts["reading"]
    float32 = next(one for one in quoted["products"] if one["quant"] == "force_float32")
    assert float32["verified"]
    assert float32["macs_per_s"] > 0
    int8 = next(one for one in quoted["products"] if one["quant"] == "qint8_mixed_float32")
    assert "int8" in int8["compute"]
    assert {one["backend"] for one in facts["skipped"]} >= {"magicmind", "onnxruntime"}


@pytest.mark.parametrize("word", ["processes=0", "iterations=x", "form=medium", "k=1"])
def test_what_it_refuses(word: str) -> None:
    with pytest.raises(UsageError, match=r"^roofline: [^\n]+$"):
        commands.run("roofline", [word])

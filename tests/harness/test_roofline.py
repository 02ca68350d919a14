"""The limits of a host: what is measured, printed, kept, and quoted by every result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness import commands, fitness, roofline
from harness.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
CACHES = {"L1 Data": "32K", "L2 Unified": "1024K", "L3 Unified": "32768K"}


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_every_level_is_read_by_one_thread_and_by_all() -> None:
    found = roofline.levels(CACHES, 2)
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
    (memory,) = roofline.levels({}, 1)
    assert (memory.level, memory.threads, memory.passes) == ("memory, 1 thread", 1, 1)


def test_a_large_last_cache_is_left_behind() -> None:
    memory = roofline.levels({"L3 Unified": "256M"}, 1)[-1]
    assert memory.size_bytes == 2048 * MIB


@pytest.mark.slow
def test_limits_run_through_the_real_pipeline_and_are_kept(capsys: Any) -> None:
    assert fitness.roofline()["value"] is None
    words = ["processes=1", "iterations=2"]
    assert commands.run("roofline", words) is ExitStatus.FINE
    said = capsys.readouterr().out
    for line in ("reads     memory", "products  float32", "magicmind: ", "quickest tenth"):
        assert line in said
    (facts,) = fitness.stored(fitness.ROOFLINE)
    assert fitness.stored() == []
    quoted = fitness.roofline()
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

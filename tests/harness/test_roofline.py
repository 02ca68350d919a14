"""The machine's limits: how they are measured, told, kept, and what refuses them."""

from __future__ import annotations

from typing import Any

import pytest

from harness import commands, fitness, roofline
from harness.errors import ExitStatus, UsageError, WorkerError
from harness.models import limits
from harness.precision import family

SMALL = ["processes=2", "iterations=1"]


@pytest.fixture(autouse=True)
def small_and_apart(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(limits, "WORKING_SETS", (4096, 65536))
    monkeypatch.setattr(limits, "READ_BYTES", 1 << 20)
    monkeypatch.setattr(limits, "SIDE", 32)


def test_the_limits_are_measured_told_and_kept(capsys: Any) -> None:
    assert commands.run("roofline", SMALL) is ExitStatus.FINE
    said = capsys.readouterr()
    assert "roofline  reading, process 2/2, about" in said.err
    (facts,) = fitness.stored("roofline")
    sets = {(one["working_set_bytes"], one["threads"]) for one in facts["bandwidth"]}
    assert sets == {(size, count) for size in (4096, 65536) for count in {1, facts["cpus"]}}
    kernels = {
        (one["precision"], one["unit"])
        for one in facts["arithmetic"]
        if one["backend"] == "onnxruntime"
    }
    assert kernels == {("float32", "FLOP/s"), ("int8", "OP/s")}
    for one in [*facts["bandwidth"], *facts["arithmetic"]]:
        low, high = one["ci95"]
        assert 0 < low < one["value"] < high
        assert len(one["values"]) == 2
    for line in ("read      4.000 KiB    1 thread ", "product     float32", "product        int8"):
        assert line in said.out
    assert str(fitness.home("roofline")) in said.out
    assert not [path for path in fitness.home("roofline").iterdir() if path.is_dir()]


def test_a_result_quotes_the_latest_limits() -> None:
    assert "python -m harness roofline" in fitness.limits()["reason"]
    commands.run("roofline", SMALL)
    quoted = fitness.limits()
    assert quoted["same_kernel"]
    assert 0 <= quoted["age_days"] < 1
    assert quoted["bandwidth"] == fitness.stored("roofline")[-1]["bandwidth"]


def test_the_best_call_of_each_process_is_what_counts() -> None:
    found = roofline._estimate([roofline.Call(100.0, 1.0), roofline.Call(100.0, 4.0)])
    assert found["values"] == [100.0, 25.0]
    assert found["value"] == pytest.approx(40.0)  # 200 in 5 s
    assert found["ci95"][0] > 0


def test_a_backend_that_is_not_here_is_named_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def absent(*_: Any) -> Any:
        raise WorkerError("no such runtime")

    monkeypatch.setattr(roofline, "_multiply", absent)
    assert commands.run("roofline", SMALL) is ExitStatus.FINE
    (facts,) = fitness.stored("roofline")
    assert facts["arithmetic"] == []
    assert {one["reason"] for one in facts["missing"]} == {"no such runtime"}
    assert "not here  onnxruntime force_float32 MatMul: no such runtime" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["processes=1", "iterations=0", "iterations=x", "form=big", "k=1"])
def test_what_it_refuses(word: str) -> None:
    with pytest.raises(UsageError, match=r"^roofline: [^\n]+$"):
        commands.run("roofline", [word])


def test_stopped_means_nothing_is_kept() -> None:
    with pytest.raises(KeyboardInterrupt):
        roofline.run(roofline.FORMS["short"], _Silent(), lambda: True)  # type: ignore[arg-type]
    assert fitness.stored("roofline") == []


class _Silent:
    def progress(self, *_: Any) -> None:
        raise AssertionError("a step began")


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        ("float32", "float32"),
        ("uint8", "int8"),
        ("int8+uint8", "int8"),
        ("float32+int8", None),
        ("unknown", None),
    ],
)
def test_the_family_of_a_precision(compute: str, expected: str | None) -> None:
    assert family(compute) == expected

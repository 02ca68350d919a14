"""Six ways in which the original's published figures went wrong, replayed: seen or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness import commands
from harness.analysis import compat
from harness.errors import ExitStatus
from harness.judging import complete
from harness.judging.summary import rows as rows_of
from tests.harness.commands.test_measure import FAKE, documents, harness
from tests.make_trials import MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from pathlib import Path


def trial(**more: Any) -> dict[str, Any]:
    return make_trial([make_process([75 * MS] * 20, index=i) for i in range(1, 11)], **more)


def codes(document: dict[str, Any]) -> set[str]:
    return {one["code"] for one in document["warnings"]}


def test_float16_under_the_name_of_float32() -> None:
    document = trial(quant="force_float32")
    ran = {
        name: {**one, "compute": "float16"}
        for name, one in document["settings"]["effective"].items()
    }
    settings = {**document["settings"], "effective": ran}
    again = trial(quant="force_float32", settings=settings)
    assert "precision-differs" in codes(again)
    (row, *_) = rows_of(again)
    assert row["quant"] == "force_float32"
    assert row["effective"].startswith("float16 compute")


@pytest.mark.parametrize(
    "words", [["-warmup_iters", "3", "--num_iters", "100"], ["num_iter=100"], ["--num_iters=100"]]
)
def test_options_nobody_reads(words: list[str], tmp_path: Path) -> None:
    done = harness(*FAKE, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_ten_iterations_called_a_hundred(tmp_path: Path) -> None:
    done = harness(
        "backend=fake", "backend.clock=real", "model=tiny", "il=16", "num_iters=100",
        "measure.time_limit_s=3", cwd=tmp_path,
    )  # fmt: skip
    (document,) = documents(tmp_path)
    assert document["method"]["num_iters"] == 100
    ran = [len(one["columns"]["latency_ns"]) - one["warmup"] for one in document["processes"]]
    assert document["summary"]["latency.mean"]["n"] == sum(ran) < 300
    assert "cut-short" in codes(document)
    assert "100 iterations were asked for" in done.stdout


def test_percentiles_of_ten_iterations() -> None:
    document = make_trial([make_process([75 * MS] * 9 + [99 * MS])])
    for percent in (90, 95, 99):
        record = document["summary"][f"latency.p{percent}"]
        assert record["estimate"] is None
        assert record["reason"].startswith("n too small (have 10, need ")
    # The original's figures are all the ninth value, far from the slowest, and say what they are.
    figures = {document["summary"][f"latency.cl{p}"]["estimate"] for p in (90, 95, 99)}
    assert figures == {0.075}
    assert document["summary"]["latency.cl99"]["method"].startswith("compat")
    assert document["compat"]["0"]["worth"] == compat.WORTH


def test_a_comparison_that_never_fails(tmp_path: Path) -> None:
    base = write_sweep(tmp_path / "base", [trial()])
    slow = make_trial([make_process([90 * MS] * 20, index=i) for i in range(1, 11)])
    new = write_sweep(tmp_path / "new", [slow])
    assert commands.run("compare", [str(base), str(new)]) is ExitStatus.REGRESSION
    assert commands.run("compare", [str(base), str(new), "rule=compat"]) is ExitStatus.REGRESSION


def test_frames_called_queries() -> None:
    (row, *_) = rows_of(trial(bs=4))
    assert row["items"] == "mel frames"
    document = make_trial([make_process([100 * MS] * 20, index=i, bs=4) for i in (1, 2)], bs=4)
    summary = document["summary"]
    # 4 x 608 frames and 4 utterances in 0.1 s: two figures, each under its own name.
    assert summary["latency.items_per_s"]["estimate"] == pytest.approx(24_320)
    assert summary["latency.utterances_per_s"]["estimate"] == pytest.approx(40)


def test_the_table_of_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = trial()
    other["point"]["config"]["models"]["decoder"] = "1" * 64
    rest = {key: value for key, value in other.items() if key != "content_sha256"}
    folders = [
        str(write_sweep(tmp_path / name, [one]))
        for name, one in (("base", trial()), ("new", complete.complete(rest)))
    ]
    assert commands.run("compare", folders) is ExitStatus.NOTHING_MEASURED
    assert "differs in models" in capsys.readouterr().out

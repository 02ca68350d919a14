"""The original's figures digit for digit, and its log through our writer and reader."""

from __future__ import annotations

import io
import json
import math
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import estimates
from harness.commands.console import Console
from harness.errors import ResultFileError
from harness.judging import compat_log
from harness.judging.compat_log import Block
from tests.make_trials import LABEL, MS, make_process, make_trial

if TYPE_CHECKING:
    from pathlib import Path


PUBLISHED = json.loads(
    resources.files("reports").joinpath("data", "mlu370_s4.json").read_text("utf-8")
)["rows"]
FULL_LOG = """\
================dev[0]================
Preprocessing average (seconds) = 0.000470
Number of mels per audio average = 590.4
Encoder latency average (seconds) = 0.001100
Decoder latency average (seconds) = 0.072210
Postnet latency average (seconds) = 0.000671
Latency average (seconds) = 0.074805
Latency std (seconds) = 0.001711
Latency cl 50 (seconds) = 0.074550
Latency cl 90 (seconds) = 0.076405
Latency cl 95 (seconds) = 0.076405
Latency cl 99 (seconds) = 0.076405
Latency cl 100 (seconds) = 0.076718
tacotron2_items_per_sec average = 7892.716437
"""


def original_cl(latencies: list[float], share: float) -> float:
    """Say the rule as the original does: the largest of the first int(n p) sorted values."""
    ordered = sorted(latencies)
    return max(ordered[: int(len(ordered) * share)])


def published_fields(row: dict[str, float]) -> dict[str, float]:
    return {
        "Number of mels per audio average": row["mel_frames_mean"],
        "Encoder latency average (seconds)": row["encoder_s"],
        "Decoder latency average (seconds)": row["decoder_s"],
        "Postnet latency average (seconds)": row["postnet_s"],
        "Latency average (seconds)": row["latency_s"],
        "Latency std (seconds)": row["latency_std_s"],
        **{f"Latency cl {p} (seconds)": row[f"cl{p}_s"] for p in (50, 90, 95, 99, 100)},
        "tacotron2_items_per_sec average": row["mel_frames_per_s"],
    }


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row['quant']}-{row['bs']}")
def test_the_published_logs_survive_writer_and_reader(
    row: dict[str, float], tmp_path: Path
) -> None:
    path = tmp_path / "log_perf"
    path.write_text(compat_log.log_text([Block("0", published_fields(row))]))
    (block,) = compat_log.read_log(path)
    assert block == Block("0", published_fields(row))
    assert compat_log.log_text([block]) == path.read_text()


def test_the_one_log_known_in_full_comes_back_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "force_float16_1_128_log_perf"
    path.write_text(FULL_LOG)
    assert compat_log.log_text(compat_log.read_log(path)) == FULL_LOG


@given(st.lists(st.integers(1, 10**10), min_size=2, max_size=200))
def test_cl_is_the_original_rule(values: list[int]) -> None:
    times = [value / 1e9 for value in values]
    for percent in (50, 90, 95, 99, 100):
        found = estimates.cl(np.sort(np.array(times)), percent)
        assert found == original_cl(times, percent / 100)


def test_ten_iterations_give_one_figure_for_cl90_cl95_and_cl99() -> None:
    ordered = np.arange(1.0, 11.0)
    assert [estimates.cl(ordered, p) for p in (50, 90, 95, 99, 100)] == [5, 9, 9, 9, 10]


@pytest.mark.parametrize("n", [1, 2, 10, 100])
def test_the_block_is_the_original_formulas(n: int) -> None:
    rng = np.random.default_rng(n)
    latencies = [int(value) for value in rng.normal(75, 2, n) * MS]
    document = make_trial([make_process(latencies, bs=4, frames=600)], bs=4)
    fields = document["compat"]["0"]["fields"]
    seconds = [value / 1e9 for value in latencies]
    assert fields["Latency average (seconds)"] == float(np.mean(seconds))
    assert fields["Latency std (seconds)"] == float(np.std(seconds))
    rate = float(np.mean([4 * 600 / value for value in seconds]))
    assert math.isclose(fields["tacotron2_items_per_sec average"], rate, rel_tol=1e-14)
    assert fields["Number of mels per audio average"] == 600.0
    for percent in (50, 90, 95, 99, 100):
        if int(n * percent / 100):
            expected = original_cl(seconds, percent / 100)
            assert fields[f"Latency cl {percent} (seconds)"] == expected
        else:
            assert fields[f"Latency cl {percent} (seconds)"] is None


def test_the_log_says_synthetic_first_and_is_read_back(tmp_path: Path) -> None:
    document = make_trial([make_process([75 * MS, 76 * MS, 77 * MS])])
    compat_log.write_log(tmp_path / "log", document)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == f"# {LABEL}"
    (block,) = compat_log.read_log(tmp_path / "log")
    expected = [line.split(" = ")[0] for line in FULL_LOG.splitlines()[1:]]
    assert list(block.fields) == expected


def test_with_the_vocoder_its_lines_stand_where_the_original_puts_them(tmp_path: Path) -> None:
    document = make_trial([make_process([75 * MS] * 4, waveglow=True)], waveglow=True)
    compat_log.write_log(tmp_path / "log", document)
    (block,) = compat_log.read_log(tmp_path / "log")
    names = list(block.fields)
    assert names[0] == "Throughput average (samples/sec)"
    assert names[2] == "Postprocessing average (seconds)"
    assert names[7] == "Waveglow latency average (seconds)"
    acoustic = 608 / ((75 * MS - 5 * MS - 1000) / 1e9)
    assert block.fields["tacotron2_items_per_sec average"] == pytest.approx(acoustic, rel=1e-9)


def test_what_n_is_too_small_for_is_said_and_left_out(tmp_path: Path) -> None:
    compat_log.write_log(tmp_path / "log", make_trial([make_process([75 * MS])]))
    assert "n too small for: Latency cl 50" in (tmp_path / "log").read_text()
    (block,) = compat_log.read_log(tmp_path / "log")
    assert "Latency cl 50 (seconds)" not in block.fields
    assert block.fields["Latency cl 100 (seconds)"] == 0.075


def test_each_device_has_a_block_of_its_own(tmp_path: Path) -> None:
    processes = [make_process([75 * MS] * 3), make_process([80 * MS] * 3, device="1")]
    compat_log.write_log(tmp_path / "log", make_trial(processes))
    found = compat_log.read_log(tmp_path / "log")
    assert [block.device for block in found] == ["0", "1"]
    assert [block.fields["Latency average (seconds)"] for block in found] == [0.075, 0.08]


@pytest.mark.parametrize("text", ["", "hello\n", "=====dev[0]=====\nLatency average: 3\n"])
def test_what_is_no_log_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text)
    with pytest.raises(ResultFileError, match=r"^[^\n]+$"):
        compat_log.read_log(tmp_path / "log")


def test_the_terminal_says_once_what_its_cl_figures_are() -> None:
    out = io.StringIO()
    document = make_trial([make_process([75 * MS] * 3)])
    Console(out, io.StringIO()).table([("a point", document)])
    said = [line for line in out.getvalue().splitlines() if line.startswith("cl N as")]
    assert len(said) == 1
    assert document["weights"]["label"] in said[0]

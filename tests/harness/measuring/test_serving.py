"""Requests by a schedule: its statistics, and what a stalling server costs those who wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness import commands
from harness.analysis import requests
from harness.errors import ExitStatus, UsageError
from harness.records import result_file
from tests.harness.commands.test_measure import harness

if TYPE_CHECKING:
    from pathlib import Path


FAKE = ["backend=fake", "model=tiny", "il=16", "measure.min_processes=2", "measure.max_processes=2"]


def test_a_schedule_is_poisson() -> None:
    due = np.array(requests.poisson(50.0, 1, 2000.0, "1234 1")) / 1e9
    gaps = np.diff(due, prepend=0.0)
    n = len(due)
    # 100,000 arrivals expected; three standard errors of a Poisson count and of the moments.
    assert n == pytest.approx(100_000, abs=3 * np.sqrt(100_000))
    assert gaps.mean() == pytest.approx(1 / 50, rel=3 / np.sqrt(n))
    assert gaps.var() == pytest.approx(1 / 50**2, rel=3 * np.sqrt(8 / n))
    counts = np.histogram(due, bins=2000, range=(0, 2000))[0]
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=3 * np.sqrt(2 / 2000))


def test_a_schedule_follows_from_its_seed() -> None:
    assert requests.poisson(5.0, 10, 60.0, "1 1") == requests.poisson(5.0, 10, 60.0, "1 1")
    assert requests.poisson(5.0, 10, 60.0, "1 1") != requests.poisson(5.0, 10, 60.0, "1 2")
    assert (
        requests.poisson(5.0, 1, 1.0, "golden")[:2] == requests.poisson(5.0, 9, 1.0, "golden")[:2]
    )


def test_a_schedule_is_long_enough_both_ways() -> None:
    assert requests.poisson(1.0, 1, 60.0, "1")[-1] >= 60e9
    assert len(requests.poisson(100.0, 9000, 60.0, "1")) >= 9000


def test_a_stall_is_charged_to_everybody_who_waited() -> None:
    """A 75 ms service with a stall of 3 s once a minute at 75 % load (method, section 10)."""
    due = np.array(requests.poisson(10.0, 1, 36_000.0, "stall2")) / 1e9
    service = np.full(len(due), 0.075)
    service[np.random.default_rng(2).random(len(due)) < 1 / 600] += 3.0
    latency = np.array(requests.served_in_order(list(due), list(service)))
    assert np.quantile(latency, 0.99) == pytest.approx(4.5, rel=0.15)
    assert np.quantile(service, 0.99) == pytest.approx(0.075)


def served(rate: float, seconds: float = 120.0, service_s: float = 0.1) -> tuple[Any, Any, Any]:
    due = np.array(requests.poisson(rate, 1, seconds, "served")) / 1e9
    service = np.full(len(due), service_s)
    latency = np.array(requests.served_in_order(list(due), list(service)))
    return due, due + latency - service, service


@pytest.mark.parametrize("rate", [1.0, 5.0, 7.0])
def test_a_server_that_keeps_up_is_not_saturated(rate: float) -> None:
    assert requests.saturated(*served(rate)) is None


@pytest.mark.parametrize("rate", [10.5, 15.0, 100.0])
def test_more_than_it_can_do_is_saturated(rate: float) -> None:
    assert str(requests.saturated(*served(rate))).startswith("saturated")


def test_the_issue_delay_counts_only_what_nothing_else_explains() -> None:
    scheduled = np.array([0.0, 0.1, 1.0])
    sent = np.array([0.0, 0.5, 1.01])  # the second waited for the first, the third for nobody
    service = np.array([0.5, 0.1, 0.1])
    assert requests.issue_delay(scheduled, sent, service).tolist() == pytest.approx(
        [0.0, 0.0, 0.01]
    )


def trial(cwd: Path) -> dict[str, Any]:
    (path,) = cwd.glob("outputs/*/points/*/*.json*")
    return result_file.load_trial(path)


def test_the_worker_times_from_when_a_request_was_due(tmp_path: Path) -> None:
    done = harness(
        *FAKE, "scenario=server", "scenario.rate=6", "backend.stall_every=200",
        "backend.stall_ns=3000000000", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    document = trial(tmp_path)
    for process in document["processes"]:
        seed = process["arrivals"]["seed"]
        schedule = requests.poisson(6.0, process["arrivals"]["count"], 60.0, seed)
        columns, skip = process["columns"], process["warmup"]
        scheduled = columns["scheduled_ns"][skip:]
        assert np.diff(scheduled).tolist() == np.diff(schedule).tolist()
        due = [one / 1e9 for one in scheduled]
        expected = requests.served_in_order(
            due, [one / 1e9 for one in columns["latency_ns"][skip:]]
        )
        sent = np.array(columns["start_ns"][skip:]) - np.array(scheduled)
        found = (sent + np.array(columns["latency_ns"][skip:])) / 1e9
        # The generator's own steps between two requests are what is left.
        assert np.abs(found - expected).max() < 1e-6
    summary = document["summary"]
    assert summary["response.p95"]["estimate"] > 3 * summary["latency.p95"]["estimate"]
    assert summary["response.requests_per_s"]["estimate"] == pytest.approx(6.0, rel=0.2)
    assert document["point"]["config"]["scenario"] == {"kind": "server", "rate": 6.0, "load": None}


def test_a_saturated_point_shows_no_latency_and_is_invalid(tmp_path: Path) -> None:
    harness(*FAKE, "scenario=server", "scenario.load=2", cwd=tmp_path)
    document = trial(tmp_path)
    record = document["summary"]["response.p50"]
    assert record["estimate"] is None
    assert record["reason"].startswith("saturated")
    assert document["grade"]["latency.mean"]["letter"] == "F"


def test_offline_is_throughput_without_a_latency_percentile(tmp_path: Path) -> None:
    assert harness(*FAKE, "scenario=offline", cwd=tmp_path).returncode == 0
    document = trial(tmp_path)
    assert document["summary"]["latency.p50"]["reason"] == "offline: no latency of a request"
    assert document["summary"]["latency.p50"]["estimate"] is None
    assert document["summary"]["response.mean"]["estimate"] is None
    frames = rate = 0.0
    for process in document["processes"]:
        columns, skip = process["columns"], process["warmup"]
        done = columns["start_ns"][-1] + columns["latency_ns"][-1]
        frames += sum(process["work"]["mel_frames_valid"][skip:])
        rate += (done - columns["scheduled_ns"][skip]) / 1e9
    assert document["summary"]["latency.items_per_s"]["estimate"] == pytest.approx(frames / rate)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scenario=server"], "scenario.rate .* or scenario.load"),
        (["scenario=server", "scenario.rate=1", "scenario.load=0.5"], "one of them"),
        (["scenario=server", "scenario.rate=0"], "must be above 0"),
        (["scenario=server", "scenario.rate=1", "scenario.seconds=5"], "at least 60"),
        (["scenario.rate=1"], "are for scenario=server"),
        (["scenario=batch"], "possible: offline, server, single_stream"),
    ],
)
def test_wrong_scenarios_are_one_line(words: list[str], said: str) -> None:
    from harness.planning import compose  # noqa: PLC0415

    with pytest.raises(UsageError, match=said):
        compose.composition([*FAKE, *words])


def test_the_rate_that_keeps_a_limit_is_found_and_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*FAKE, "slo_ms=300", "percentile=90", "steps=5"]
    assert commands.run("slo", words) is ExitStatus.FINE
    *tried, confirmed, _ = capsys.readouterr().out.splitlines()
    assert tried[0].startswith("load 0.10: ")
    assert tried[0].endswith("within 300.0 ms")
    assert tried[1].endswith("beyond 300.0 ms")
    assert confirmed.startswith("confirmed: ")
    assert confirmed.endswith("within 300.0 ms")


def test_a_limit_below_the_service_is_not_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert commands.run("slo", [*FAKE, "slo_ms=1"]) is ExitStatus.NOTHING_MEASURED
    assert "no rate was found" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["slo_ms=x"], ["slo_ms=1", "steps=1"]])
def test_what_slo_refuses(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^slo: [^\n]+$"):
        commands.run("slo", words)

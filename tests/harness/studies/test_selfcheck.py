"""The harness measured by itself: what the check computes, prints, keeps, and what quotes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from harness import commands
from harness.errors import ExitStatus, UsageError
from harness.machine import host
from harness.machine.environment import kernel
from harness.records import result_file
from harness.studies import selfcheck
from tests.harness.commands.test_measure import FAKE, harness
from tests.make_trials import MS, make_process, make_trial

if TYPE_CHECKING:
    from pathlib import Path


SMALL = ["comparisons=2", "powered=1", "pairs=2", "iterations=2", "noise_s=1"]


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def compared(count: int, sd: float, shift: float = 0.0, pairs: int = 5) -> list[Any]:
    rng = np.random.default_rng(11)

    def means(level: float = 1.0) -> list[float]:
        return list(0.01 * level * np.exp(rng.normal(0, sd, pairs)))

    return [
        selfcheck.Compared(
            means(), means(1 + shift), {effect: means(1 + effect) for effect in selfcheck.EFFECTS}
        )
        for _ in range(count)
    ]


def test_equal_sides_pass_and_known_differences_are_found() -> None:
    facts = selfcheck.assess(compared(400, 0.005), selfcheck.CheckSize(tolerated=32))
    # 5 % of 400 intervals miss; 32 is three standard deviations above.
    assert facts["aa"]["passed"]
    two, five = facts["power"]
    assert two["found"] >= 0.9 * two["comparisons"]
    assert five["found"] == five["comparisons"]
    assert facts["pair_sd"] == pytest.approx(0.005 * np.sqrt(2), rel=0.1)
    assert facts["between_sd"] == pytest.approx(0.005, rel=0.1)
    assert facts["level_s"] == pytest.approx(0.01, rel=0.01)


def test_sides_that_differ_fail() -> None:
    facts = selfcheck.assess(compared(40, 0.002, shift=0.02), selfcheck.FORMS["short"])
    assert not facts["aa"]["passed"]
    assert facts["aa"]["different"] > 30


def test_the_smallest_detectable_effect_is_that_of_the_method() -> None:
    # At s_z = 1 % and ten blocks the method says 1 %.
    assert selfcheck.detectable(0.01, 10) == pytest.approx(0.01, abs=0.0005)
    t = stats.t(4)
    assert selfcheck.detectable(0.02, 5) == pytest.approx(
        (t.ppf(0.975) + t.ppf(0.8)) * 0.02 / np.sqrt(5)
    )


def test_the_check_runs_through_the_real_pipeline_and_is_kept(capsys: Any) -> None:
    assert commands.run("selfcheck", [*SMALL, "raw=true"]) is ExitStatus.FINE
    said = capsys.readouterr()
    assert "point 3 of 3  selfcheck  comparison 2/2, about" in said.err
    for line in ("clock ", "A/A ", "+2% of work found in", "+5% of work found in", "detectable"):
        assert line in said.out
    (facts,) = host.stored()
    assert facts["aa"]["comparisons"] == 2
    assert [one["comparisons"] for one in facts["power"]] == [1, 1]
    (raw,) = [path for path in host.home().iterdir() if path.is_dir()]
    trials = result_file.load_sweep(raw / "001").trials
    assert {one["point"]["name"] for one in trials} == {
        "calibration", "calibration+2%", "calibration+5%"
    }  # fmt: skip
    assert len(result_file.load_sweep(raw / "001" / "baseline").trials) == 1
    assert all(one["weights"]["label"].endswith("no weights") for one in trials)


@pytest.mark.parametrize("word", ["comparisons=0", "pairs=1", "noise_s=x", "form=medium", "k=1"])
def test_what_it_refuses(word: str) -> None:
    with pytest.raises(UsageError, match=r"^selfcheck: [^\n]+$"):
        commands.run("selfcheck", [word])


def facts_of(started: datetime, **changes: Any) -> dict[str, Any]:
    return {
        "started": started.isoformat(timespec="seconds"),
        "kernel": kernel(),
        "level_s": 0.01,
        "aa": {"passed": True, "different": 1, "comparisons": 40},
        "mde": {"10": 0.01},
        "power": [],
        **changes,
    }


def stored(*facts: dict[str, Any]) -> None:
    for one in facts:
        host.keep(one, host.new_folder(), raw=False)


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("facts", "code", "letter"),
    [
        (facts_of(NOW - timedelta(days=8)), "selfcheck-old", "B"),
        (facts_of(NOW, kernel="another"), "selfcheck-old", "B"),
        (facts_of(NOW, mde={"10": 0.06}), "unfit-host", "D"),
        (
            facts_of(NOW, aa={"passed": False, "different": 9, "comparisons": 40}),
            "selfcheck-failed",
            "C",
        ),
        (None, "selfcheck-missing", "B"),
    ],
)
def test_a_result_is_graded_by_the_check_of_its_host(
    facts: dict[str, Any] | None, code: str, letter: str
) -> None:
    if facts:
        stored(facts)
    document = make_trial(
        [make_process([75 * MS] * 50, index=i) for i in range(1, 12)], selfcheck=host.quoted()
    )
    reasons = document["grade"]["latency.mean"]["reasons"]
    assert [(one["code"], one["letter"]) for one in reasons] == [(code, letter)]
    assert document["grade"]["latency.mean"]["letter"] == letter


def test_a_recent_check_that_passed_limits_nothing() -> None:
    stored(facts_of(NOW))
    document = make_trial(
        [make_process([75 * MS] * 50, index=i) for i in range(1, 12)], selfcheck=host.quoted()
    )
    assert document["grade"]["latency.mean"] == {"letter": "A", "reasons": []}


def test_every_result_quotes_the_latest_check(tmp_path: Path) -> None:
    stored(facts_of(NOW - timedelta(days=1)), facts_of(NOW, level_s=0.02))
    assert harness(*FAKE, cwd=tmp_path).returncode == 0
    (path,) = tmp_path.glob("outputs/*/points/*/*.json")
    assert json.loads(path.read_text())["selfcheck"]["started"] == NOW.isoformat(timespec="seconds")


def test_five_occasions_measure_what_one_assumed() -> None:
    levels = [0.0100, 0.0101, 0.0099, 0.0102, 0.0098]
    stored(*(facts_of(NOW, level_s=level) for level in levels[:4]))
    assert host.occasion_sd() is None
    stored(facts_of(NOW, level_s=levels[4]))
    assert host.occasion_sd() == pytest.approx(np.std(np.log(levels), ddof=1))

"""Baselines from outside: saved under a name, measured again side by side, null control."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness import commands
from harness.errors import ExitStatus, UsageError
from harness.judging import comparison
from harness.judging.pairing import Pair
from harness.planning import baselines
from harness.records import baselines as records_baselines
from harness.records import identity, result_file
from tests.harness.commands.test_measure import FAKE, harness
from tests.make_trials import MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]


QUICK = [*FAKE, "num_iters=5", "warmup_iters=1", "measure.min_processes=3"]

SLOWER = "backend.durations='encoder:2000000,decoder:1100000,postnet:3000000'"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def side_by_side(level: float, control: float = 1.0, *, wobble: float = 0.2) -> Any:
    """Return trials of three sides over ten blocks whose speed wanders by `wobble`."""

    def side(name: str, factor: float) -> dict[str, Any]:
        processes = [
            make_process([int(75 * MS * factor * (1 + wobble * block / 10))] * 20, index=block)
            for block in range(1, 11)
        ]
        return make_trial(processes, campaign={"id": "c", "side": name})

    base = side("baseline", 1.0)
    pair = Pair(base, side("candidate", level), chosen=True)
    return comparison.compare_pairs(
        [pair], controls=[Pair(base, side("control", control), chosen=True)]
    )


def test_blocks_take_out_what_both_sides_share() -> None:
    found = side_by_side(1.03)
    assert found.interleaved
    assert [row.verdict for row in found.rows if row.metric == "latency"] == ["slower"]
    (row,) = [row for row in found.rows if row.metric == "latency"]
    # The levels wander by 20 %; the ratio of each block is 1.03 to the rounding of one ns.
    assert row.difference.ratio == pytest.approx(1.03, abs=1e-6)
    assert row.difference.half_width < 1e-6


def test_a_failed_null_control_withdraws_every_verdict() -> None:
    found = side_by_side(1.03, control=1.05)
    assert not found.null_control.passed
    assert {row.verdict for row in found.rows} <= {"unresolved", "no difference"}
    assert "null control failed" in {row.reason for row in found.rows}
    assert found.status() is ExitStatus.FINE
    assert found.status(fail_on_unresolved=True) is ExitStatus.UNRESOLVED


def test_the_passed_null_control_is_kept() -> None:
    assert side_by_side(1.03).null_control.passed


def test_saving_listing_and_finding_a_name(user: Path, capsys: Capture) -> None:
    sweep = write_sweep(user / "sweep", [make_trial([make_process([75 * MS] * 20)])])
    assert commands.run("baseline", ["list"]) is ExitStatus.FINE
    assert "no baseline is saved" in capsys.readouterr().out
    assert commands.run("baseline", ["save", "v1", str(sweep)]) is ExitStatus.FINE
    assert commands.run("baseline", ["list"]) is ExitStatus.FINE
    assert "v1  1 points" in capsys.readouterr().out
    assert len(result_file.load_sweep(records_baselines.resolve("v1", "")).trials) == 1
    assert commands.run("compare", ["v1", str(sweep)]) is ExitStatus.FINE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["save", "v1", "sweep"], "exists already; overwrite=true"),
        (["save", "../v1", "sweep"], "letters, digits"),
        (["save", "v2", "nowhere"], "no such folder"),
        (["save", "v2", "data"], "holds no result file"),
        (["save"], "baseline save NAME DIR"),
        (["list", "overwrite=maybe"], "possible: false, true"),
    ],
)
def test_what_baseline_refuses(
    words: list[str], said: str, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(user)
    write_sweep(user / "sweep", [make_trial([make_process([75 * MS] * 20)])])
    commands.run("baseline", ["save", "v1", "sweep"])
    with pytest.raises(UsageError, match=said):
        commands.run("baseline", words)


def test_overwriting_replaces_a_baseline(user: Path) -> None:
    for count in (1, 2):
        trials = [make_trial([make_process([75 * MS] * 20)], bs=bs) for bs in range(1, count + 1)]
        sweep = write_sweep(user / f"sweep{count}", trials)
        commands.run("baseline", ["save", "v1", str(sweep), "overwrite=true"])
    assert len(result_file.load_sweep(records_baselines.resolve("v1", "")).trials) == 2


def test_a_missing_baseline_is_a_clear_error(tmp_path: Path) -> None:
    done = harness(*QUICK, "baseline=v0", cwd=tmp_path)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert "baseline=v0: neither a folder nor a saved baseline" in line
    assert not (tmp_path / "outputs").exists()


def test_partner_is_the_nearest_of_the_same_workload() -> None:
    near = make_trial([], quant="force_float32", bs=4)
    far = make_trial([], quant="force_float16", bs=4, seed=1)
    facts = near["point"]["config"] | {"backend": {"name": "onnxruntime", "options": {"a": 1}}}
    assert baselines.partner(facts, [far, near]) is near
    with pytest.raises(UsageError, match="no point with bs=4"):
        baselines.partner(facts, [make_trial([])])
    with pytest.raises(UsageError, match="equally near"):
        baselines.partner(facts, [near, near])


def test_a_slower_candidate_fails_beside_its_baseline(tmp_path: Path) -> None:
    assert harness(*QUICK, "outputs=base", cwd=tmp_path).returncode == 0
    (base,) = (tmp_path / "base").iterdir()
    done = harness(*QUICK, f"baseline={base}", SLOWER, cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "slower" in done.stdout
    assert "Under test: backend.options.durations" in done.stdout
    assert "Null control passed" in done.stdout
    (folder,) = (tmp_path / "outputs").iterdir()
    found = json.loads((folder / "comparison.json").read_text())
    assert found["interleaved"] is True
    for side, sub in (("candidate", ""), ("baseline", "baseline"), ("control", "control")):
        (trial,) = result_file.load_sweep(folder / sub).trials
        assert trial["campaign"] == {"id": folder.name, "side": side}
        assert len({one["block"] for one in trial["processes"]}) == 3
    # The same verdicts again, from the files alone.
    assert commands.run("compare", [str(folder)]) is ExitStatus.REGRESSION


def test_a_baseline_that_cannot_be_measured_as_it_was_is_refused(tmp_path: Path) -> None:
    assert harness(*QUICK, "outputs=base", cwd=tmp_path).returncode == 0
    (base,) = (tmp_path / "base").iterdir()
    (path,) = base.glob("points/*/*.json")
    document = result_file.load_trial(path)
    document["point"]["config"]["models"]["encoder"] = "0" * 64
    document["point"]["id"] = identity.point_id(document["point"]["config"])
    document["content_sha256"] = identity.content_hash(document)
    path.write_text(json.dumps(document))
    done = harness(*QUICK, f"baseline={base}", cwd=tmp_path)
    assert done.returncode == 2
    assert "would differ in models.encoder" in done.stderr

"""No way of asking for points loses some of them and says that all is well."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from harness.errors import UsageError
from harness.planning import compose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


PACKAGE = "# @package _global_\n"
OWN = {
    "experiment/a": 'hydra: {sweeper: {params: {bs: "1,2", il: "16"}}}',
    "experiment/b": 'hydra: {sweeper: {params: {bs: "4", il: "16,32"}}}',
    "experiment/plain": "bs: 3",
    "experiment/yaml_list": "hydra: {sweeper: {params: {bs: [1, 4]}}}",
    "experiment/two_backends": 'hydra: {sweeper: {params: {backend: "fake,onnxruntime"}}}',
    "experiment/through_site": 'hydra: {sweeper: {params: {+site: "x,y"}}}',
    "experiment/models": 'hydra: {sweeper: {params: {model: "[full,tiny]"}}}',
    "experiment/in_turn": 'hydra: {sweeper: {params: {experiment: "a,b"}}}',
    "experiment/empty": 'hydra: {sweeper: {params: {bs: "range(4,1)"}}}',
    "experiment/siblings": "defaults: [a, b]",
    "experiment/heir": 'defaults: [a, _self_]\nhydra: {sweeper: {params: {bs: "8"}}}',
    "experiment/elsewhere": "outputs: elsewhere",
    "experiment/on_slurm": "hydra: {launcher: {_target_: somebody.Launcher}}",
    "site/x": 'hydra: {sweeper: {params: {seed: "1,2"}}}',
    "site/y": 'hydra: {sweeper: {params: {seed: "3,4,5"}}}',
}
"""A user's own configuration folder: file -> content."""


@pytest.fixture(autouse=True)
def _plugins_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["harness"])


@pytest.fixture
def own(tmp_path: Path) -> str:
    for name, text in OWN.items():
        file = tmp_path / "own" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{PACKAGE}{text}\n")
    return f"--config-dir={tmp_path / 'own'}"


def sizes(*arguments: str) -> list[tuple[int, int]]:
    return [(one.bs, one.il) for one in compose.composition(list(arguments)).configs]


A, B = [(1, 16), (2, 16)], [(4, 16), (4, 32)]


@pytest.mark.parametrize(
    "asked",
    [
        ["experiment=a,b"],
        ["experiment=choice(a,b)"],
        ["experiment=glob(?)"],
        ["experiment='a','b'"],
        ["backend=fake", "experiment=a,b", "quant=force_float16"],
        ["experiment=[a],b"],
    ],
)
@pytest.mark.parametrize("word", ["-m", "--multirun"])
def test_every_experiment_of_a_list_brings_its_own_sweep(
    asked: list[str], word: str, own: str
) -> None:
    assert sizes(word, own, *asked) == [*A, *B]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["experiment=a"], A),
        (["experiment=b,a"], [*B, *A]),
        (["experiment=a,plain"], [*A, (3, 128)]),
        (["experiment=a,b", "bs=8"], [(8, 16), (8, 16), (8, 32)]),
        (["experiment=a,b", "bs=8,9"], [(8, 16), (9, 16), (8, 16), (8, 32), (9, 16), (9, 32)]),
        (["experiment=a,b", "++bs=8"], [(8, 16), (8, 16), (8, 32)]),
        (["experiment=[a,plain]"], A),
        (["experiment=heir"], [(8, 16)]),
        (["experiment=heir,b"], [(8, 16), *B]),
        (["experiment=[a,b]", "bs=7", "il=8"], [(7, 8)]),
    ],
)
def test_the_command_line_replaces_a_list_of_each_experiment(
    asked: list[str], expected: list[tuple[int, int]], own: str
) -> None:
    assert sizes("-m", own, *asked) == expected


def test_two_swept_groups_with_sweeps_of_their_own_multiply(own: str) -> None:
    points = compose.composition(["-m", own, "+site=x,y", "experiment=a,b"]).configs
    found = [(one.seed, one.bs, one.il) for one in points]
    expected = [
        (seed, *size)
        for seeds in ([1, 2], [3, 4, 5])
        for one in (A, B)
        for seed in seeds
        for size in one
    ]
    assert sorted(found) == sorted(expected)


def test_a_sweep_over_backends_comes_with_the_experiment(own: str) -> None:
    points = compose.composition(["-m", own, "experiment=two_backends,plain"]).configs
    found = [(one.backend["name"], one.bs) for one in points]
    assert found == [("fake", 1), ("onnxruntime", 1), ("onnxruntime", 3)]


def test_choices_that_an_experiment_sweeps_bring_their_own_sweeps(own: str) -> None:
    seeds = [
        one.seed for one in compose.composition(["-m", own, "experiment=through_site"]).configs
    ]
    assert seeds == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["experiment=a,b"], "add -m"),
        (["experiment=a"], "add -m"),
        (["experiment=[a,b]"], "add -m"),
        (["experiment=choice(a,b)"], "requires --multirun"),
        (["model=[full,tiny]"], "a point has one model"),
        (["-m", "model=[full,tiny]"], "a point has one model"),
        (["-m", "backend=[fake,onnxruntime]"], "a point has one backend"),
        (["-m", "experiment=models"], "a point has one model"),
        (["-m", "experiment=[a,b]"], "bs=1,2 would be lost; sweep over experiment=a,b"),
        (["-m", "experiment=siblings"], "bs=1,2 would be lost"),
        (["-m", "+site=[x,y]"], "seed=1,2 would be lost"),
        (["-m", "experiment=in_turn"], "experiment=in_turn: its own sweep asks for experiment=a,b"),
        (["-m", "experiment=in_turn,a"], "its own sweep asks for experiment=a,b in turn"),
        (["-m", "experiment=a,empty"], "experiment=empty: its own sweep has no points"),
        (["-m", "experiment=empty"], "no points"),
        (["-m", "experiment=yaml_list"], "bs=[1,4]"),
        (["-m", "experiment=a,on_slurm"], "one launcher"),
        (["-m", "experiment=glob(z*)"], "experiment=glob(z*): matches nothing; possible: a, b, "),
        (["-m", "backend=glob(z*)"], "matches nothing; possible: fake, "),
        (["-m", "experiment=a", "experiment=b"], "experiment is given twice"),
        (["-m", "bs=1,4", "bs=8"], "bs=1,4 and bs=8: bs is given twice"),
        (["-m", "bs=1,4", "++bs=8"], "bs is given twice"),
        (["-m", "il=16", "il=32,64"], "il is given twice"),
        (["-m", "bs=[1,4]"], "bs=[1,4]"),
        (["-m", "num_iters=5", "measure.num_iters=10,20"], "give the same point"),
        (["-m", "experiment=plain,elsewhere"], "outputs=outputs,elsewhere: outputs holds for"),
        (["-m", "outputs=a,b"], "outputs holds for the whole command"),
        (["-m", "repeat=1,2"], "repeat holds for the whole command"),
        (["-m", "resume=never,auto"], "resume holds for the whole command"),
        (["-m", "baseline=a,b"], "baseline holds for the whole command"),
    ],
)
def test_what_would_lose_points_is_refused_in_one_line(
    asked: list[str], said: str, own: str
) -> None:
    with pytest.raises(UsageError) as caught:
        compose.composition([own, *asked])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_single_value_is_replaced_by_a_later_one() -> None:
    assert [one.bs for one in compose.composition(["-m", "bs=1", "il=16,32", "bs=4"]).configs] == [
        4,
        4,
    ]


# From outside


def planned(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [*arguments, "backend=fake", "plan=true"]
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def ids(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^ *\d+\. .*\b([0-9a-f]{16})\b", done.stdout, re.MULTILINE)
    assert done.stdout.startswith(f"{len(found)} point")
    return found


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[str]]:
    """Return the ids of the points of some experiments, each asked for alone."""
    cwd = tmp_path_factory.mktemp("single")
    return {
        name: ids(planned(cwd, "-m", f"experiment={name}", "model=tiny"))
        for name in ("smoke", "seed_table", "full_pipeline")
    }


def test_two_experiments_plan_the_points_of_both(
    single: Mapping[str, list[str]], tmp_path: Path
) -> None:
    assert [len(one) for one in single.values()] == [4, 6, 6]
    for first, second in pairwise([*single, "smoke"]):
        both = planned(tmp_path, "-m", f"experiment={first},{second}", "model=tiny")
        assert ids(both) == [*single[first], *single[second]]
    smoke, table = (line for line in both.stdout.splitlines() if line.startswith("measure="))
    assert "30 timed" in smoke
    assert "5 timed" in table


def test_what_two_experiments_share_is_measured_once_and_said(own: str, tmp_path: Path) -> None:
    small = (own, "model=tiny")
    alone = [ids(planned(tmp_path, "-m", *small, f"experiment={one}", "bs=4")) for one in "ab"]
    both = planned(tmp_path, "-m", *small, "experiment=a,b", "bs=4")
    assert ids(both) == list(dict.fromkeys([*alone[0], *alone[1]]))
    assert len(ids(both)) == 2
    assert "is named twice and measured once" in both.stderr


@pytest.mark.parametrize(
    ("asked", "told_apart"),
    [
        ("measure=quick,standard", ["quick", "standard"]),
        ("num_iters=5,10", ["num_iters=5", "num_iters=10"]),
        ("accuracy=off,standard", ["accuracy=off", "accuracy=standard"]),
    ],
)
def test_a_point_asked_for_in_two_ways_is_two_points(
    asked: str, told_apart: list[str], tmp_path: Path
) -> None:
    done = planned(tmp_path, "-m", "model=tiny", asked)
    assert done.returncode == 0, done.stderr
    assert len(set(ids(done))) == 2
    for words in told_apart:
        assert words in done.stdout


def test_one_point_cannot_have_two_logs(tmp_path: Path) -> None:
    done = planned(tmp_path, "-m", "model=tiny", "log_file=a,b")
    assert done.returncode == 2
    assert "log_file=a and log_file=b" in done.stderr.splitlines()[-1]


def test_a_launcher_is_handed_the_points_of_every_experiment(own: str, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = ["-m", own, "experiment=a,b", "hydra/launcher=joblib", "backend=fake", "model=tiny",
             "num_iters=2", "measure=compat"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs").iterdir()
    found = {path.parent.name.rpartition("-")[2] for path in folder.glob("points/*/*.json")}
    alone = [planned(tmp_path, *words[:2], f"experiment={one}", "model=tiny") for one in "ab"]
    assert found == {point for one in alone for point in ids(one)}
    assert len(found) == 4

"""What varies: no two points of a sweep look alike, and no log is written over another."""

from __future__ import annotations

import csv
import json
import random
import re
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import commands, naming
from harness.judging import summary
from harness.records import identity
from reports.views.reader import read_sweep
from tests.harness.commands.test_measure import FAKE, folder_of, harness
from tests.make_trials import MS, make_process, make_trial, write_sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


NASTY: tuple[Any, ...] = (
    "/", "..", "../../etc/passwd", "/a/b", "/a/B", "A", "a", "\u212b", "\u00e5", "x" * 400,
    "x" * 399 + "y", "a b", "a\nb", "\x1b[31m", "\x00", "=", "_log_perf", "con", "", None, True, 1,
    "1", 1.0, 0.1 + 0.2, 0.3, [1, 2], ["1", "2"], "1,2", {"a": 1}, {},
)  # fmt: skip
KEYS = ("seed", "sigma", "waveglow", "model", "devices", "scenario", "pipeline")


def any_points(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test on many random sets of points."""
    return hypothesis.settings(max_examples=100, deadline=None)(given(seed=st.integers(0))(test))


def record(config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return what a result file holds of a point."""
    return {"id": identity.point_id(config), "name": "a point", "config": dict(config), **more}


def some_points(seed: int) -> list[dict[str, Any]]:
    """Return points of random choices, as many as are different."""
    draw = random.Random(seed)  # noqa: S311 - names, not secrets
    quants = ["force_float32", "force_float16", *draw.sample([str(one) for one in NASTY], 2)]
    values = draw.sample(NASTY, draw.randint(2, 6))
    found = {}
    for _ in range(draw.randint(2, 12)):
        options = {draw.choice("aAbB"): draw.choice(values) for _ in range(draw.randint(0, 2))}
        config: dict[str, Any] = {
            "quant": draw.choice(quants), "bs": draw.choice((1, 4)), "il": 128,
            "backend": {"name": draw.choice(("fake", "Fake")), "options": options},
            "models": {"encoder": draw.choice("01") * 64},
            **{key: draw.choice(values) for key in draw.sample(KEYS, draw.randint(0, 3))},
        }  # fmt: skip
        asked = {"models_dir": draw.choice(values), "measure.num_iters": draw.choice((5, 6))}
        name = f"{config['backend']['name']}-{config['quant']}"
        one = record(config, **({"asked": asked} if draw.random() < 0.7 else {}))
        found[one["id"]] = {**one, "name": name}
    return list(found.values())


def original(one: Mapping[str, Any]) -> str:
    config = one["config"]
    return f"{config['quant']}_{config['bs']}_{config['il']}_log_perf"


def all_differ(names: Sequence[str]) -> bool:
    return len({one.casefold() for one in names}) == len(names)


@any_points
def test_points_never_share_a_name_on_any_surface(seed: int) -> None:
    points = some_points(seed)
    assert all_differ(naming.called(points))
    assert all_differ(naming.varies_text(points))
    assert all_differ(naming.settings(points, ["candidate"] * len(points)))
    for one in (*naming.settings(points, ["baseline"] * len(points)), *naming.varies_text(points)):
        assert one.isprintable()


@any_points
def test_points_never_share_a_log_and_no_log_leaves_its_folder(seed: int) -> None:
    points = some_points(seed)
    names = naming.log_names([original(one) for one in points], points)
    assert all_differ(names)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_.,:+=@%~-]+", name), name
        assert ".." not in name
        assert name[0] not in ".-"
        assert len(name) <= naming.LONGEST_FILE


@any_points
def test_a_log_name_that_is_unique_is_the_original_s(seed: int) -> None:
    points = [one for one in some_points(seed) if one["config"]["quant"].startswith("force")]
    originals = [original(one) for one in points]
    for name, made in zip(originals, naming.log_names(originals, points), strict=True):
        assert made.startswith(name)
        if originals.count(name) == 1:
            assert made == name


def test_a_name_says_what_differs_and_nothing_that_is_shared() -> None:
    made = [
        record({"quant": "force_float32", "bs": 1, "il": 128, "waveglow": False,
                "backend": {"name": "onnxruntime", "options": {"intra_threads": n, "spin_us": 50}}})
        for n in (1, 2)
    ]  # fmt: skip
    assert naming.varies_text(made) == ["backend.intra_threads=1", "backend.intra_threads=2"]
    said = naming.settings(made, ["candidate", "baseline"])
    assert said[0] == "bs=1 quant=force_float32 il=128 backend.intra_threads=1"
    assert said[1].startswith("baseline: bs=1")


def test_a_key_that_one_point_leaves_alone_is_null_there() -> None:
    config = {"quant": "force_float32", "bs": 1, "il": 128}
    made = [record(config), record({**config, "sigma": 0.5})]
    assert naming.varies_text(made) == ["sigma=null", "sigma=0.5"]
    assert naming.log_names([original(one) for one in made], made) == [
        "force_float32_1_128_log_perf_sigma=null", "force_float32_1_128_log_perf_sigma=0.5",
    ]  # fmt: skip


def test_options_of_different_backends_do_not_vary() -> None:
    made = [
        record({"backend": {"name": "onnxruntime", "options": {"spin_us": 50}}}),
        record({"backend": {"name": "openvino", "options": {"threads": 2}}}),
        record({"backend": {"name": "openvino", "options": {"threads": 4}}}),
    ]
    assert naming.varying(made) == ["backend", "backend.threads"]


def test_paths_are_told_apart_by_their_last_parts() -> None:
    made = [
        record({"bs": 1, "n": n}, asked={"models_dir": f"/data/{side}/models"})
        for n, side in enumerate(("old", "new"))
    ]
    (old, new) = ([str(one) for one in found] for found in naming.what_varies(made))
    assert old == ["models_dir=old/models", "n=0"]
    assert new == ["models_dir=new/models", "n=1"]


def test_files_of_before_are_told_apart_by_what_they_hold() -> None:
    config = {"quant": "force_float32", "bs": 1, "il": 128}
    old = [record({**config, "models": {"encoder": side * 64}}) for side in "01"]
    assert [one[:3] for one in naming.varies_text(old)] == ["id=", "id="]
    assert all_differ(naming.varies_text(old))


# --- from outside ----------------------------------------------------------------------------

BARE = [word for word in FAKE if not word.startswith("num_iters")]
"""A list takes the place of no value given before it: a key stands once."""
SWEEPS = {
    "an option": (["backend.default_ns=1000,2000"], "backend.default_ns="),
    "the seed": (["seed=1,2"], "seed="),
    "sigma": (["waveglow=true", "sigma=null,0.5"], "sigma="),
    "dropout": (["dropout=shared,per_row"], "dropout="),
    "how much is measured": (["num_iters=6,7"], "measure.num_iters="),
    "the profile": (["measure=quick,compat"], "measure="),
    "the interpreter": ([f"backend.python=null,{sys.executable}"], "backend.python="),
    "the rate": (["scenario=server", "scenario.rate=1.1,1.2"], "scenario.rate="),
}


@pytest.mark.parametrize("case", SWEEPS)
def test_points_that_differ_in_one_key_look_different_everywhere(case: str, tmp_path: Path) -> None:
    words, key = SWEEPS[case]
    short = BARE if "num_iters" in words[0] else FAKE
    done = harness("-m", *short, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = folder_of(tmp_path)
    lines = [line for line in done.stdout.splitlines() if re.match(r"\[\d/2\]", line)]
    heads = {line.partition("]")[2].partition("   ")[0] for line in lines}
    assert len(heads) == 2
    assert sum(key in head for head in heads) >= 1
    progress = {
        line.rpartition("  process")[0].partition("of 2")[2]
        for line in done.stderr.splitlines()
        if line.startswith("point ")
    }
    assert {one.strip() for one in progress} == {one.strip() for one in heads}
    rows = {
        line.partition("  whole")[0].partition("  response")[0].strip()
        for line in done.stdout.splitlines()
        if re.search(r"  (whole|response)  ", line)
    }
    assert rows == {one.strip() for one in heads}  # fmt: skip
    logs = sorted(path.name for path in (folder / "logs").iterdir())
    assert len(logs) == 2
    assert all(name.startswith("force_float32_1_16_log_perf") for name in logs)
    with (folder / "summary.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len({row["varies"] for row in table}) == len({row["point"] for row in table}) == 2
    view = read_sweep(folder)
    assert all_differ(list(view.labels.values()))
    assert all_differ(list(view.names.values()))
    page = (folder / "report.html").read_text()
    assert all(page.count(f">{label}<") for label in view.labels.values())


def test_logs_of_a_sweep_over_quant_bs_and_il_are_called_as_the_original_calls_them(
    tmp_path: Path,
) -> None:
    harness("-m", *FAKE, "quant=force_float16,force_float32", "bs=1,2", cwd=tmp_path)
    names = {path.name for path in (folder_of(tmp_path) / "logs").iterdir()}
    assert names == {
        f"{quant}_{bs}_16_log_perf" for quant in ("force_float16", "force_float32") for bs in (1, 2)
    }


def test_one_log_file_for_several_points_is_refused_with_a_name_for_each(tmp_path: Path) -> None:
    words = ["-m", *FAKE, "seed=1,2", "log_file=./log,log"]
    done = harness(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "would write the same file" in done.stderr
    (name,) = re.findall(r"log_file='([^']*)'", done.stderr)
    done = harness(*words[:-1], f"log_file='{name}'", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("force_float32_1_16_*_log_perf"))) == 2


def test_what_is_asked_for_twice_in_the_same_words_is_measured_once(tmp_path: Path) -> None:
    done = harness("-m", *FAKE, "seed=1,1", cwd=tmp_path)
    assert "named twice and measured once" in done.stderr
    assert "[1/1]" in done.stdout


def test_the_same_command_continues_points_that_differ_in_how_they_are_measured(
    tmp_path: Path,
) -> None:
    words = ["-m", *BARE, "num_iters=5,6"]
    cut = harness(*words, "budget=1s", cwd=tmp_path)
    ids = {path.name for path in (folder_of(tmp_path) / "points").iterdir()}
    done = harness(*words, cwd=tmp_path)
    assert (cut.returncode, done.returncode) == (6, 0)
    assert {path.name for path in (folder_of(tmp_path) / "points").iterdir()} == ids
    counts = {
        document["method"]["num_iters"]
        for path in folder_of(tmp_path).glob("points/*/*.json")
        if (document := json.loads(path.read_text()))["status"]["state"] == "ok"
    }
    assert counts == {5, 6}


def test_a_launcher_s_job_finds_its_point_among_those_that_differ_in_measuring(
    tmp_path: Path,
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = harness("-m", *BARE, "num_iters=5,6", "hydra/launcher=joblib", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((folder_of(tmp_path) / "points").iterdir())) == 2


def test_points_of_one_name_are_told_apart_in_a_comparison_and_matched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def side(name: str) -> str:
        trials = []
        for sigma in (None, 0.5):
            one = make_trial([make_process([20 * MS] * 20, index=i) for i in (1, 2, 3)])
            config = {**one["point"]["config"], **({"sigma": sigma} if sigma else {})}
            one["point"] = {**one["point"], "config": config, "id": identity.point_id(config)}
            trials.append({**one, "content_sha256": identity.content_hash(one)})
        return str(write_sweep(tmp_path / name, trials))

    assert commands.run("compare", [side("base"), side("new")]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "  latency  " in line]
    assert len({line.partition("  ")[0] for line in said}) == len(said) == 2


def test_every_column_of_the_summary_is_written_for_every_point(tmp_path: Path) -> None:
    trials = [make_trial([make_process([20 * MS] * 9)], bs=bs) for bs in (1, 2)]
    folder = write_sweep(tmp_path / "sweep", trials)
    with (folder / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(summary.COLUMNS)
    assert {row["varies"] for row in rows} == {"bs=1", "bs=2"}
    assert all(set(one) == set(two) for one, two in pairwise(rows))

"""The cache of the control side: what is damaged is said and made again, what is used stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from harness import files
from harness.analysis import accuracy
from harness.commands import clean
from harness.config.measure import Measure
from harness.errors import ExitStatus, UsageError, WorkerError
from harness.machine import host
from harness.measuring import reference
from harness.models import store, tacotron2, uses
from harness.planning import job as planning_job
from tests.damages import empty, folder, gone, number, truncate, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


TINY = ("model=tiny", "il=16", "num_iters=3", "measure=compat")
GATED = (*TINY, "accuracy.force_float32.mel_db=0")
"""Sums in another order are further away than that: the gate speaks whenever it is asked."""


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def listed(path: Path) -> None:
    path.write_text("[1, 2]")


DAMAGES = (truncate, empty, flip, listed, number, folder, unreadable, gone)
every_damage = pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)


def harness(*arguments: str, cwd: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments], cwd=cwd, capture_output=True, text=True,
        check=False, env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setattr(store, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


# Sealed files


@every_damage
def test_a_sealed_file_is_itself_or_damaged(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "sealed.json"
    content = {"sizes": {"steps": 3}, "small": -2.5e-8}
    files.write_sealed(path, content)
    assert files.read_sealed(path) == content
    damage(path)
    if damage is gone:
        assert files.read_sealed(path) is None
    else:
        with pytest.raises(files.DamagedError, match=r"sealed\.json"):
            files.read_sealed(path)
    files.write_sealed(path, content)
    assert files.read_sealed(path) == content


# The reference


def made(folder: Path, *_: Any, **__: Any) -> None:
    """Write outputs as a worker would."""
    import numpy as np  # noqa: PLC0415 - as small as that

    place = folder.with_name("made")
    place.mkdir(parents=True)
    with (place / reference.ARRAYS).open("wb") as stream:
        np.savez(
            stream, mel_lengths_t=np.array([4]),
            mel_outputs_postnet=np.linspace(0, 1, 320, dtype=np.float32).reshape(1, 80, 4),
        )  # fmt: skip
    facts = {"sizes": {"steps": 4}, "seed": 1, "sha256": files.sha256(place / reference.ARRAYS)}
    files.write_sealed(place / reference.FACTS, facts)
    files.put(place, folder)


PLAN = {"stages": [{"model": {"sha256": "0"}, "glue": {}}]}


def job(tmp_path: Path) -> planning_job.Job:
    return planning_job.Job(
        backend="onnxruntime", options={}, interpreter=None, device="0", quant="force_float32",
        seed=1, plan=PLAN, prepare=lambda: ({}, 0), outputs=(), cache=tmp_path, folder=tmp_path,
        label="label", measure=Measure(), scenario=None, artefacts="a",  # type: ignore[arg-type]
    )  # fmt: skip


@every_damage
@pytest.mark.parametrize("name", [reference.ARRAYS, reference.FACTS])
def test_a_damaged_reference_is_said_and_made_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str,
    damage: Callable[[Path], None],
) -> None:  # fmt: skip
    monkeypatch.setattr(reference, "_make", made)
    said: list[str] = []
    exact = reference.outputs(job(tmp_path), PLAN, said.append)
    assert said == []
    (place,) = (cache / "references").iterdir()
    damage(place / name)
    again = reference.outputs(job(tmp_path), PLAN, said.append)
    assert (again.mel == exact.mel).all()
    assert len(said) == 1
    assert name in said[0]
    reference.outputs(job(tmp_path), PLAN, said.append)
    assert len(said) == 1


@pytest.mark.parametrize("instead", ["file", "folder"])
def test_a_reference_that_is_no_reference_is_made_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, instead: str
) -> None:
    monkeypatch.setattr(reference, "_make", made)
    reference.outputs(job(tmp_path), PLAN, print)
    (place,) = (cache / "references").iterdir()
    files.remove(place)
    if instead == "file":
        place.write_text("x")
    else:
        place.mkdir()
    said: list[str] = []
    assert reference.outputs(job(tmp_path), PLAN, said.append).steps == 4
    assert len(said) == 1


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(28, "No space left on device"), True),
        (WorkerError("outputs cannot be written"), True),
        (WorkerError("no such operator", kind="unsupported"), False),
        (files.DamagedError("x is not what was written"), True),
        (EOFError("no data left"), True),
    ],
)
def test_whose_fault_a_missing_check_is(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, *, fault: bool
) -> None:
    assert cache.is_dir()

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(reference, "_make", fails)
    record = reference.check(job(tmp_path), PLAN, {}, {}, same_draws=True, notify=print)
    assert record["state"] == "not checked"
    assert accuracy.at_fault({"accuracy": record}) is fault


def test_the_gate_speaks_whatever_happened_to_its_reference(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert harness(*GATED, cwd=tmp_path, cache=cache).returncode == ExitStatus.ACCURACY_FAILED
    for damage, name in ((truncate, reference.ARRAYS), (empty, reference.FACTS)):
        (place,) = (cache / "harness" / "references").iterdir()
        damage(place / name)
        done = harness(*GATED, cwd=tmp_path, cache=cache)
        assert done.returncode == ExitStatus.ACCURACY_FAILED, done.stderr
        assert f"{name} " in done.stderr
        assert "made again" in done.stderr
    # Where it cannot be made, the sweep does not end as if all were well.
    files.remove(cache / "harness" / "references")
    (cache / "harness" / "references").symlink_to("references")
    done = harness(*TINY, cwd=tmp_path, cache=cache)
    assert done.returncode == ExitStatus.ERROR, done.stderr
    assert "accuracy could not be checked: " in done.stdout
    assert "Traceback" not in done.stderr


def test_a_damaged_compiled_form_is_said_on_the_terminal(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert harness(*TINY, cwd=tmp_path, cache=cache).returncode == ExitStatus.FINE
    (form,) = (cache / "harness" / "compiled").glob("decoder-*.onnx")
    flip(form)
    for known in (cache / "harness" / "compiled" / "known").iterdir():
        number(known)
    done = harness(*TINY, cwd=tmp_path, cache=cache)
    assert done.returncode == ExitStatus.FINE, done.stderr
    assert f"{form.name} does not match its hash: made again" in done.stderr


# Models


@every_damage
@pytest.mark.parametrize("name", ["manifest.json", "encoder.onnx", "decoder_iter.onnx"])
def test_damaged_synthetic_models_are_said_and_written_again(
    cache: Path, name: str, damage: Callable[[Path], None]
) -> None:
    pipeline = tacotron2.build("tiny").without_vocoder()

    def resolved(said: list[str]) -> Any:
        return store.resolve_models(
            pipeline, model="tiny", models_dir=None, seed=1, notify=said.append
        ).models

    exact = resolved([])
    (place,) = (cache / "models").iterdir()
    damage(place / name)
    said: list[str] = []
    assert resolved(said) == exact
    assert "does not match its manifest: written again" in said[0]
    said.clear()
    resolved(said)
    assert said == []


def test_something_else_in_place_of_the_caches_folders_is_removed_and_said(cache: Path) -> None:
    for name in ("models", "references"):
        (cache / name).write_text("x")
    (cache / "compiled").symlink_to("nowhere")
    said: list[str] = []
    store.mend_folders(said.append)
    assert [line.split()[0] for line in said] == [str(cache / "models"), str(cache / "references")]
    assert (cache / "compiled").is_symlink()


@every_damage
def test_a_damaged_note_of_what_is_compiled_is_no_note(
    cache: Path, damage: Callable[[Path], None]
) -> None:
    artefact = cache / "a.json"
    artefact.write_text("x")
    store.note_compiled("p", [str(artefact)], [str(artefact)])
    assert store.is_compiled("p")
    (note,) = (cache / "compiled" / "known").iterdir()
    damage(note)
    assert not store.is_compiled("p")
    store.use_compiled("p")
    store.note_compiled("p", [str(artefact)], [str(artefact)])
    assert store.is_compiled("p")


# Facts of this host


@every_damage
def test_damaged_facts_of_a_host_are_put_aside_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(host, "home", lambda kind=host.SELFCHECK: tmp_path / kind)
    older, last = (
        host.keep({"started": f"2026-11-0{day}", "level_s": 1.0}, host.new_folder(), raw=False)
        for day in (1, 2)
    )
    damage(last)
    assert [one["started"] for one in host.stored()] == ["2026-11-01"]
    said = list(host.set_aside())
    assert len(said) == (damage is not gone)
    assert all("python -m harness selfcheck" in line for line in said)
    assert list(host.set_aside()) == []
    assert older.exists()


# What is in use


USER = """
import sys, time
from pathlib import Path
from harness.models import uses
uses.mine.note(Path(sys.argv[1]), sys.argv[2:])
print("noted", flush=True)
sys.stdin.read()
"""


def test_what_a_living_process_uses_is_neither_chosen_nor_removed(cache: Path) -> None:
    for name in ("models/a/x.onnx", "models/b/x.onnx", "references/r/outputs.npz"):
        (cache / name).parent.mkdir(parents=True)
        (cache / name).write_bytes(b"x" * 100)
    (cache / "compiled").mkdir()
    for name in ("e-1.onnx", "e-1.weights", "e-1.rewritten", "e-2.onnx"):
        (cache / "compiled" / name).write_bytes(b"x" * 100)
    held = [cache / "models/a", cache / "references/r", cache / "compiled/e-1.weights"]
    user = subprocess.Popen(
        [sys.executable, "-c", USER, str(cache), *map(str, held)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert user.stdout is not None
    assert user.stdout.readline() == "noted\n"
    items = {item.path.name: item for item in clean.caches()}
    assert {name for name, item in items.items() if item.in_use} == {"a", "r", "e-1.onnx"}
    going = {one.path.name for one in clean.chosen(items.values(), older_s=None, above_bytes=0)}
    assert going == {"b", "e-2.onnx"}
    with pytest.raises(UsageError, match="in use"):
        clean.remove(items["a"])
    user.kill()
    user.communicate()
    assert not any(item.in_use for item in clean.caches())
    assert uses.used(cache) == set()
    assert list((cache / uses.FOLDER).iterdir()) == []
    for item in clean.caches():
        clean.remove(item)
    assert list((cache / "compiled").iterdir()) == []


def test_age_is_counted_from_the_last_use_and_files_of_an_entry_go_together(cache: Path) -> None:
    (cache / "compiled").mkdir()
    now = time.time()  # noqa: TID251 - files carry the wall clock's time
    for name, days in (("e-1.onnx", 90), ("e-1.weights", 90), ("e-1.rewritten", 1), ("d.mm", 90)):
        (cache / "compiled" / name).write_bytes(b"x")
        os.utime(cache / "compiled" / name, (now - days * 86400,) * 2)
    old = clean.chosen(clean.caches(), older_s=30 * 86400, above_bytes=None)
    assert [one.path.name for one in old] == ["d.mm"]


def test_using_models_makes_them_young(cache: Path) -> None:
    pipeline = tacotron2.build("tiny").without_vocoder()

    def resolve() -> None:
        store.resolve_models(pipeline, model="tiny", models_dir=None, seed=1, notify=print)

    resolve()
    for path in cache.rglob("*"):
        os.utime(path, (0, 0))
    resolve()
    (item,) = (one for one in clean.caches() if one.kind == "cache: models")
    assert item.age_s < 3600
    assert {cache / "models" / item.path.name} <= uses.used(cache) | {item.path}

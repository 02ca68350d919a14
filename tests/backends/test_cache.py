"""Whatever happens to a file of the artefact cache, it is noticed, said and made again."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from backends import cache
from backends.testing import Answers
from tests.backends import small_pipeline
from tests.damages import empty, folder, gone, number, truncate, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable


INPUTS, OUTPUTS = small_pipeline.INPUTS, small_pipeline.OUTPUTS


def flip(path: Path) -> None:
    """Change one bit, and let size and time of writing be as they were."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def garbage(path: Path) -> None:
    path.write_text('{"key": [1, 2], "files": 3}')


DAMAGES = (truncate, empty, flip, garbage, number, folder, unreadable, gone)


class Life:
    """One process of the measured side, from probe to outputs."""

    def __init__(self, place: Path, described: dict[str, Any], **options: Any) -> None:
        self.answers = Answers()
        self.answers.ask("probe", backend="onnxruntime", options={"intra_threads": 1})
        shared = {"plan": described, "quant": options.pop("quant", "force_float32")}
        cache.watch.used.clear()
        self.compiled = self.answers.ask(
            "compile", cache_dir=str(place / "cache"), **shared, **options
        )
        artefacts = {name: one["artefact"] for name, one in self.compiled["stages"].items()}
        self.answers.ask("load", seed=3, artefacts=artefacts, **shared)
        self.outputs = self.answers.ask("verify", inputs=INPUTS, outputs=OUTPUTS, path=None)[
            "outputs"
        ]

    @property
    def cached(self) -> bool:
        return all(one["cached"] for one in self.compiled["stages"].values())


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    models = tmp_path_factory.mktemp("models")
    return dict(small_pipeline.plan(small_pipeline.write_models(models)))


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_damage_to_any_file_is_said_and_healed(
    tmp_path: Path, described: dict[str, Any], damage: Callable[[Path], None], *, thorough: bool
) -> None:
    exact = Life(tmp_path, described)
    names = sorted(
        one.name
        for one in (tmp_path / "cache").iterdir()
        if one.name.startswith("encoder") and one.stat().st_size
    )
    assert len(names) >= 3, names
    for name in names:
        path = tmp_path / "cache" / name
        damage(path)
        healed = Life(tmp_path, described, thorough=thorough)
        assert not healed.cached, name
        assert healed.outputs == exact.outputs, name
        if damage is not gone or not name.endswith((".json", ".rewritten")):
            assert any(name in line for line in healed.compiled["notes"]), name
        again = Life(tmp_path, described, thorough=thorough)
        assert again.cached, name
        assert again.compiled["notes"] == []


def test_a_whole_cache_is_said_nothing_of_and_names_its_files(
    tmp_path: Path, described: dict[str, Any]
) -> None:
    Life(tmp_path, described)
    again = Life(tmp_path, described)
    assert again.cached
    assert again.compiled["notes"] == []
    kept = {str(one) for one in (tmp_path / "cache").iterdir()}
    assert set(again.compiled["files"]) == kept


def test_large_files_are_hashed_again_only_where_something_changed(
    tmp_path: Path, described: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Life(tmp_path, described)
    hashed: list[str] = []

    def wrong(path: Path) -> str:
        hashed.append(path.name)
        return "0"

    monkeypatch.setattr(cache, "sha256", wrong)
    assert Life(tmp_path, described, thorough=False).cached
    assert hashed == []
    assert not Life(tmp_path, described, thorough=True).cached
    assert hashed


def test_a_copied_cache_is_proved_once_and_known_from_then_on(
    tmp_path: Path, described: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Life(tmp_path, described)
    for path in (tmp_path / "cache").iterdir():
        if path.suffix in {".onnx", ".weights"}:
            os.utime(path)
    moved = Life(tmp_path, described, thorough=False)
    assert moved.cached
    assert moved.compiled["notes"] == []
    monkeypatch.setattr(cache, "sha256", lambda _: "0")
    assert Life(tmp_path, described, thorough=False).cached


def test_using_a_record_makes_it_young(tmp_path: Path, described: dict[str, Any]) -> None:
    Life(tmp_path, described)
    records = [
        one for one in (tmp_path / "cache").iterdir() if one.suffix in {".json", ".rewritten"}
    ]
    for path in records:
        os.utime(path, (1_000_000, 1_000_000))
    Life(tmp_path, described)
    assert all(path.stat().st_mtime > 1_000_000 for path in records)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_a_record_is_itself_or_nothing(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "record.json"
    content = {"key": "k", "ranges": {"x": [0.1, -2.5e-8]}}
    cache.write(str(path), content)
    assert cache.read(str(path)) == content
    damage(path)
    cache.watch.notes.clear()
    assert cache.read(str(path)) is None
    assert bool(cache.watch.notes) == (damage is not gone)
    cache.write(str(path), content)
    assert cache.read(str(path)) == content
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_bytes_reach_the_disk_before_the_name_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, rename = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def renamed(made: Path, target: Path) -> Path:
        order.append("rename")
        return rename(made, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    cache.write(str(tmp_path / "record.json"), {"a": 1})
    assert order == ["file", "rename", "folder"]


def test_a_full_disk_is_one_line(
    tmp_path: Path, described: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "cache"))

    monkeypatch.setattr(cache, "put", full)
    answers = Answers()
    answers.ask("probe", backend="onnxruntime", options={"intra_threads": 1})
    error = answers.error(
        "compile", plan=described, quant="force_float32", cache_dir=str(tmp_path / "cache")
    )
    assert "cannot be kept (No space left on device)" in error["message"]

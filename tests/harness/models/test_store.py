"""Model files found, written and kept: the cache, and folders that people name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest

from harness.errors import UsageError
from harness.models import store, tacotron2

PIPELINE = tacotron2.build("tiny").without_vocoder()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def resolve(
    models_dir: Path | None = None, *, per_row: bool = False, writing: bool = True
) -> tuple[store.ResolvedModels, list[str]]:
    said: list[str] = []
    found = store.resolve_models(
        PIPELINE, model="tiny", models_dir=models_dir, seed=1234, notify=said.append,
        per_row=per_row, writing=writing,
    )  # fmt: skip
    return found, said


def path_of(found: store.ResolvedModels, stage: str = "encoder") -> Path:
    return Path(found.models[stage]["path"])


def test_models_are_written_once_and_reused() -> None:
    first, said = resolve()
    assert len(said) == 5
    again, said = resolve()
    assert said == []
    assert again == first
    assert first.weights["label"] == "synthetic weights (seed 1234)"


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_cache_is_said_and_written_again(damage: str) -> None:
    first, _ = resolve()
    path = path_of(first)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-7] if damage == "truncated" else content[:-1] + b"\x00")
    again, said = resolve()
    assert "does not match its manifest" in said[0]
    assert again == first
    assert path.read_bytes() == content


def test_two_writers_at_once_leave_one_whole_set(cache: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: resolve()[0], range(2))
    assert first == second
    assert not list(cache.rglob(".writing-*"))


def test_a_folder_of_files_is_used_as_it_is(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "mine")
    found, said = resolve(tmp_path / "mine")
    assert path_of(found).parent == tmp_path / "mine"
    assert said == []
    assert found.weights["label"] == "synthetic weights (seed 1234)"


def test_files_that_do_not_say_where_their_weights_are_from_are_supplied(
    tiny: Path, tmp_path: Path
) -> None:
    for stage in PIPELINE.stages:
        model = onnx.load(tiny / stage.model)
        del model.metadata_props[:]
        onnx.save(model, tmp_path / stage.model)
    assert resolve(tmp_path)[0].weights["label"] == "supplied weights"


def test_an_empty_folder_becomes_the_cache_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    found, said = resolve(tmp_path / "mine")
    assert "synthetic weights are kept there" in said[0]
    assert path_of(found).is_relative_to(tmp_path / "mine")
    again, _ = resolve(tmp_path / "mine")  # what was written there is nothing foreign
    assert again == found


def test_a_plan_writes_nothing_into_an_empty_folder(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "mine").mkdir()
    planned, said = resolve(tmp_path / "mine", writing=False)
    assert "synthetic weights will be kept there" in said[0]
    assert not list((tmp_path / "mine").iterdir())
    assert path_of(planned).is_relative_to(cache)
    found, _ = resolve(tmp_path / "mine")
    for stage, model in found.models.items():
        assert model["sha256"] == planned.models[stage]["sha256"]  # so the plan tells the points


def test_masks_for_every_row_are_written_into_an_empty_folder_too(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    shared, per_row = (resolve(tmp_path / "mine", per_row=one)[0] for one in (False, True))
    assert shared.models["decoder"]["sha256"] != per_row.models["decoder"]["sha256"]


@pytest.mark.parametrize("name", ["Encoder.onnx", "notes.txt", ".hidden", "inner/"])
def test_a_folder_of_something_else_is_refused_and_left_as_it_is(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / name).mkdir(parents=True) if name.endswith("/") else folder.mkdir()
    if not name.endswith("/"):
        (folder / name).touch()
    text = refused(folder)
    assert "encoder.onnx, decoder.onnx, postnet.onnx are expected" in text
    assert f"found {name};" in text
    assert len(list(folder.rglob("*"))) == 1


def test_a_folder_of_many_things_is_refused_in_one_line(tmp_path: Path) -> None:
    for place in range(9):
        (tmp_path / f"{place}.bin").touch()
    assert "found 0.bin, 1.bin, 2.bin, 3.bin, 4.bin and 4 more;" in refused(tmp_path)


def test_something_else_beside_what_was_written_earlier_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    resolve(tmp_path / "mine")
    (tmp_path / "mine" / "Decoder.onnx").touch()
    assert "found Decoder.onnx;" in refused(tmp_path / "mine")


def harness(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "model=tiny", "il=16", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("words", [(), ("plan=true",)])
def test_a_command_on_a_folder_of_something_else_is_usage(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "readme.txt").touch()
    done = harness("models_dir=models", *words, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "encoder.onnx, decoder.onnx, postnet.onnx are expected" in line
    assert "found readme.txt;" in line
    assert [one.name for one in (tmp_path / "models").rglob("*")] == ["readme.txt"]


def test_a_plan_on_an_empty_folder_shows_the_points_and_leaves_it_empty(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    done = harness("models_dir=models", "plan=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 to measure" in done.stdout
    assert not list((tmp_path / "models").iterdir())


def refused(folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        resolve(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nowhere")


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "cannot be read" in refused(tmp_path / "file")


def test_an_incomplete_folder_names_what_is_missing(tiny: Path, tmp_path: Path) -> None:
    shutil.copy(tiny / "encoder.onnx", tmp_path)
    text = refused(tmp_path)
    assert "decoder.onnx, postnet.onnx missing beside encoder.onnx" in text


@pytest.mark.parametrize("content", [b"", b"not a model at all", None])
def test_a_file_that_is_no_whole_model_is_refused(
    content: bytes | None, tiny: Path, tmp_path: Path
) -> None:
    for name in PIPELINE.models():
        shutil.copy(tiny / name, tmp_path)
    whole = (tmp_path / "decoder.onnx").read_bytes()
    (tmp_path / "decoder.onnx").write_bytes(
        whole[: len(whole) // 2] if content is None else content
    )
    assert "decoder.onnx" in refused(tmp_path)


def test_another_input_is_refused_by_name(tiny: Path, tmp_path: Path) -> None:
    for name in PIPELINE.models():
        shutil.copy(tiny / name, tmp_path)
    model = onnx.load(tmp_path / "postnet.onnx")
    for node in model.graph.node:
        node.input[:] = ["mels" if name == "mel_outputs" else name for name in node.input]
    model.graph.input[0].name = "mels"
    onnx.save(model, tmp_path / "postnet.onnx")
    assert "input 'mel_outputs' is missing; found mels" in refused(tmp_path)


def test_a_form_is_prepared_once_and_has_a_hash_of_its_own() -> None:
    found = resolve()[0]
    said: list[str] = []
    model = found.models["encoder"]
    half = store.in_form(model, "half_rounded", said.append)
    assert said == ["preparing encoder.onnx in form half_rounded"]
    assert half["sha256"] != model["sha256"]
    assert half["source_sha256"] == model["sha256"]
    assert store.in_form(model, "half_rounded", said.append) == half
    assert len(said) == 1


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(UsageError, match="form 'int3'"):
        store.in_form(resolve()[0].models["encoder"], "int3", lambda _: None)

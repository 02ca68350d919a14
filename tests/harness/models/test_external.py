"""Weights in files beside a model: where they may lie, and what they are part of."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import external_data_helper, numpy_helper

from backends.onnxruntime import stored_weights
from harness import files
from harness.errors import UsageError
from harness.models import store, supplied, tacotron2, work

if TYPE_CHECKING:
    from collections.abc import Callable


PIPELINE = tacotron2.build("tiny").without_vocoder()
STAGES = {stage.name: stage for stage in PIPELINE.stages}
KEY = "embedding.weight"


def apart(source: Path, target: Path, *, least: int = 1024, place: str = "{}.data") -> Path:
    """Copy models; weights of so many bytes or more go into files beside them."""
    target.mkdir()
    for path in source.glob("*.onnx"):
        name = place.format(path.name)
        (target / name).parent.mkdir(exist_ok=True)
        model = onnx.load(path)
        onnx.save(
            model, target / path.name, save_as_external_data=True, location=name,
            size_threshold=least,
        )  # fmt: skip
    return target


@pytest.fixture
def models(tiny: Path, tmp_path: Path) -> Path:
    return apart(tiny, tmp_path / "models")


def measure(folder: str | Path, *words: str, cwd: Path) -> tuple[Any, list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "-m", f"models_dir={folder}", "model=tiny", "il=16",
         "measure=compat", "num_iters=1", "resume=never", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    paths = sorted((cwd / "outputs").glob("*/points/*/*.json"))
    return done, [json.loads(path.read_text()) for path in paths]


def test_a_folder_named_from_elsewhere_is_measured(models: Path) -> None:
    """By a relative path, in the runtime's own form."""
    cwd = models.parent / "elsewhere"
    cwd.mkdir()
    done, (document,) = measure("../models", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert document["accuracy"]["state"] == "passed"
    assert {name: one["compute"] for name, one in document["settings"]["effective"].items()} == (
        dict.fromkeys(STAGES, "float32")
    )
    (data,) = document["models"]["encoder"]["data"]
    assert data["file"] == "encoder.onnx.data"
    assert data["sha256"] == files.sha256(models / "encoder.onnx.data")
    assert document["models"]["encoder"]["file_sha256"] == files.sha256(models / "encoder.onnx")


@pytest.mark.parametrize("graph", ["fused", "contract"])
def test_other_weights_beside_the_same_model_are_another_point(models: Path, graph: str) -> None:
    """With caches and a reference of its own: else a right result would be called inaccurate."""
    words = f"backend.graph={graph}"
    done, (first,) = measure(models, words, cwd=models.parent)
    assert done.returncode == 0, done.stderr
    weights = models / "postnet.onnx.data"
    (np.fromfile(weights, "<f4") * 3).astype("<f4").tofile(weights)
    done, documents = measure(models, words, cwd=models.parent)
    assert done.returncode == 0, done.stdout
    (second,) = (one for one in documents if one["trial_id"] != first["trial_id"])
    assert second["point"]["id"] != first["point"]["id"]
    assert second["accuracy"]["state"] == "passed"
    mel = [one["processes"][0]["golden"]["mel_outputs_postnet"] for one in (first, second)]
    assert mel[0]["sha256"] != mel[1]["sha256"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_small_constants_in_a_file_are_read_from_there(
    backend: str, tiny: Path, tmp_path: Path
) -> None:
    """Sizes are among them, which runtimes do not look for in files."""
    pytest.importorskip(backend)
    folder = apart(tiny, tmp_path / "models", least=0, place="weights/{}.bin")
    words = (f"backend={backend}", "backend.graph=contract,fused", "bs=2")
    done, documents = measure(folder, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "encoder.onnx: small constants of it lie in files beside it" in done.stderr
    assert len(documents) == 2
    for document in documents:
        assert document["status"]["state"] == "ok"
        assert document["accuracy"]["state"] == "passed"
        assert document["models"]["encoder"]["source_path"] == str(folder / "encoder.onnx")


def test_work_is_counted_with_small_constants_apart(tiny: Path, tmp_path: Path) -> None:
    folder = apart(tiny, tmp_path / "models", least=0)
    sizes = {"batch": 2, "text": 12, "frames": 64}
    for stage in STAGES.values():
        assert work.count(folder / stage.model, stage, sizes) == work.count(
            tiny / stage.model, stage, sizes
        )


def test_storage_is_read_without_a_length_too(models: Path) -> None:
    path = models / "encoder.onnx"
    model = onnx.load(path)
    one = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (models / "alone").write_bytes(one.raw_data)
    external_data_helper.set_external_data(one, "alone")
    one.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    supplied.check(path, STAGES["encoder"])
    assert stored_weights.storage(str(path)) == "float32"


def _renamed(name: str) -> Callable[[Path, dict[str, str]], None]:
    def change(_: Path, entries: dict[str, str]) -> None:
        entries["location"] = name

    return change


def _entry(key: str, value: str) -> Callable[[Path, dict[str, str]], None]:
    def change(_: Path, entries: dict[str, str]) -> None:
        entries[key] = value

    return change


def _replaced(by: Callable[[Path], object]) -> Callable[[Path, dict[str, str]], None]:
    def change(data: Path, _: dict[str, str]) -> None:
        data.rename(data.with_name("moved"))
        by(data)

    return change


def _cut(data: Path, _: dict[str, str]) -> None:
    data.write_bytes(data.read_bytes()[:100])


def _no_length(_: Path, entries: dict[str, str]) -> None:
    del entries["length"]


ELSEWHERE = "which is no path inside the model's folder"
REFUSED = {
    "absolute": (_renamed("/etc/passwd"), ELSEWHERE),
    "above": (_renamed("../models/encoder.onnx.data"), ELSEWHERE),
    "above, further in": (_renamed("a/../../x"), ELSEWHERE),
    "of another system": (_renamed("C:\\weights"), ELSEWHERE),
    "no name": (_renamed(""), ELSEWHERE),
    "the folder itself": (_renamed("."), ELSEWHERE),
    "a name that is none": (_renamed("a\0b"), ELSEWHERE),
    "missing": (_renamed("nowhere.data"), "cannot be read (No such file or directory)"),
    "below a file": (_renamed("encoder.onnx/x"), "is no folder"),
    "a link": (_replaced(lambda data: data.symlink_to("moved")), "is a link"),
    "a link elsewhere": (_replaced(lambda data: data.symlink_to("/dev/zero")), "is a link"),
    "two names": (
        _replaced(lambda data: data.hardlink_to(data.with_name("moved"))),
        "is a file with further names (hard links)",
    ),
    "a pipe": (_replaced(os.mkfifo), "is no regular file"),
    "a folder": (_replaced(Path.mkdir), "is no regular file"),
    "empty": (_replaced(Path.touch), "has 0: it is cut short"),
    "cut": (_cut, "has 100: it is cut short"),
    "beyond the end": (_entry("offset", "999999999"), "it is cut short, or of another export"),
    "before the beginning": (_entry("offset", "-4"), "can be read; export"),
    "no number": (_entry("offset", "many"), "can be read; export"),
    "another size": (_entry("length", "8"), "bytes by their shape and 8 in"),
    "no length": (_no_length, "have no length"),
}


@pytest.mark.parametrize("damage", REFUSED)
def test_what_may_not_be_read_is_refused_in_one_line(damage: str, models: Path) -> None:
    change, said = REFUSED[damage]
    path = models / "encoder.onnx"
    model = onnx.load(path, load_external_data=False)
    (tensor,) = (one for one in model.graph.initializer if one.name == KEY)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    change(models / "encoder.onnx.data", entries)
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError) as caught:
        supplied.check(path, STAGES["encoder"])
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("dims", [[-4], [3, 3]])
def test_a_shape_that_does_not_fit_is_refused(dims: list[int], models: Path) -> None:
    path = models / "encoder.onnx"
    model = onnx.load(path, load_external_data=False)
    (tensor,) = (one for one in model.graph.initializer if one.name == KEY)
    tensor.dims[:] = dims
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=KEY):
        supplied.check(path, STAGES["encoder"])


def test_a_model_reached_by_a_link_has_its_weights_beside_the_file_it_leads_to(
    models: Path, tmp_path: Path
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    for name in PIPELINE.models():
        (links / name).symlink_to(models / name)
    found = store.resolve_models(
        PIPELINE, model="tiny", models_dir=links, seed=1, notify=lambda _: None
    )
    assert found.models["encoder"]["path"] == str(models / "encoder.onnx")


def test_a_command_refuses_it_with_status_2(models: Path, tmp_path: Path) -> None:
    os.truncate(models / "postnet.onnx.data", 10)
    done, documents = measure("models", cwd=tmp_path)
    assert (done.returncode, documents) == (2, [])
    (line,) = done.stderr.splitlines()
    assert "postnet.onnx.data, which has 10: it is cut short" in line


def test_constants_inside_of_nodes_count_as_the_others(tiny: Path, tmp_path: Path) -> None:
    """Those of a Loop body's nodes too."""
    shutil.copytree(tiny, tmp_path / "models")
    path = tmp_path / "models" / "decoder.onnx"
    model = onnx.load(path)
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    body = next(one.g for one in loop.attribute if one.name == "body")
    node = onnx.helper.make_node("Constant", [], ["unread"])
    values = numpy_helper.from_array(np.arange(3), "unread")
    node.attribute.append(onnx.helper.make_attribute("value", values))
    body.node.insert(0, node)
    (tmp_path / "models" / "x").write_bytes(values.raw_data)
    tensor = body.node[0].attribute[0].t
    external_data_helper.set_external_data(tensor, "x", 0, 24)
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    found = supplied.check(path, STAGES["decoder"])
    assert [one.name for one in found.data] == ["x"]
    assert found.small_apart
    (tmp_path / "models" / "x").unlink()
    with pytest.raises(UsageError, match="'unread' lie in 'x'"):
        supplied.check(path, STAGES["decoder"])

"""int8 does not saturate on any kind of processor: its form follows what the kernels do."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backends import pipeline, processor
from backends.errors import UnsupportedError
from backends.graphs import fusion
from backends.onnxruntime import exact, int8
from backends.onnxruntime.backend import OnnxRuntimeBackend
from tests import hidden_cpu
from tests.backends import small_pipeline, test_fusion

if TYPE_CHECKING:
    from collections.abc import Mapping


ROOT = Path(__file__).resolve().parents[2]
INT8 = "qint8_mixed_float32"
LIMIT_DB = 0.4
ASKING = """
import json
from backends import processor
from backends.onnxruntime import exact, int8
from backends.onnxruntime.backend import OnnxRuntimeBackend
backend = OnnxRuntimeBackend({"intra_threads": 1}, "0")
answer = {
    "extensions": processor.vector_extensions(),
    "stored": backend._stored(),
    "exact": {one.name: exact.adds_up(backend._small, one) for one in (int8.DIRECT, int8.SAFE)},
    "blocks": backend._blocks_in_int8(),
}
try:
    from backends.openvino.backend import OpenVinoBackend
    answer["openvino"] = OpenVinoBackend({"threads": 1}, "0").precisions()["qint8_mixed_float32"]
except ImportError:
    pass
print(json.dumps(answer))
"""


def seen_as(kind: str, folder: Path) -> dict[str, str]:
    reason = hidden_cpu.missing(kind)
    if reason is not None:
        pytest.skip(reason)
    return hidden_cpu.environment(kind, folder)


def python(*arguments: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    full = {**env, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=full, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", hidden_cpu.KINDS)
def test_the_form_follows_the_processor(kind: str, tmp_path: Path) -> None:
    done = python("-c", ASKING, cwd=tmp_path, env=seen_as(kind, tmp_path))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    vnni = kind.endswith("vnni")
    assert answer["exact"] == {"signed": vnni, "unsigned": True}
    assert answer["stored"] == ("signed" if vnni else "unsigned")
    assert answer["blocks"]
    assert ("AVX512F" in answer["extensions"]) == kind.startswith("avx512")
    if find_spec("openvino") is not None:
        offered = answer["openvino"]
        assert ("form" in offered) == vnni
        assert vnni or "int8 convolutions saturate (a sum comes out as 0.51" in offered["skipped"]
        assert vnni or "dense layers compute in float32" in offered["skipped"]


def test_forms_are_near_on_a_processor_without_vnni(tmp_path: Path) -> None:
    """The bounds of `test_fusion`, whatever processor the tests run on."""
    tests = str(ROOT / "tests/backends/test_fusion.py")
    chosen = "int8_form or form_for_few or any_width"
    arguments = ["-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", tests, "-k", chosen]
    done = python(*arguments, cwd=ROOT, env=seen_as("avx2", tmp_path))
    assert done.returncode == 0, done.stdout
    assert "21 passed" in done.stdout


def measured(folder: Path, env: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the output and the result of an int8 point whose cache lies in a folder."""
    homes = {name: str(folder / name) for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME")}
    done = python(
        *("-m", "harness", "model=tiny", "backend=onnxruntime", "backend.intra_threads=1"),
        *(f"quant={INT8}", "bs=2", "il=8", "measure=compat", "num_iters=1"),
        cwd=folder,
        env={**env, **homes},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    newest = max((folder / "outputs").glob("*/points/*/*.json"), key=os.path.getmtime)
    return done.stdout, json.loads(newest.read_text())


def test_machines_that_share_a_cache_do_not_share_int8_forms(tmp_path: Path) -> None:
    """Same name, same home folder, other vector extensions."""
    lesser = seen_as("avx2", tmp_path)
    results = [measured(tmp_path, env)[1] for env in (os.environ, lesser, os.environ)]
    said = [one["settings"]["effective"]["postnet"]["weights"] for one in results]
    assert "saturate in 16 bits" in said[1]
    assert said[0] == said[2]
    if not hidden_cpu.missing("avx2 with vnni") or not hidden_cpu.missing("avx512 with vnni"):
        assert said[0].startswith("signed, 8 bits")
    for one in results:
        assert one["accuracy"]["state"] == "passed"
        assert 0.0 < one["accuracy"]["figures"]["mel_db"]["value"] <= LIMIT_DB
    states = {name: stage["compute"] for name, stage in results[1]["settings"]["effective"].items()}
    assert states == {"encoder": "float32+int8", "decoder": "float32+int8", "postnet": "int8"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN's limit is of x86-64")
def test_openvino_under_a_limit_of_onednn_skips_int8_with_the_reason(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    done = python(
        *("-m", "harness", "model=tiny", "backend=openvino", "measure=compat", "num_iters=1"),
        *(f"quant={INT8}", "bs=1", "il=8"),
        cwd=tmp_path,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
    )
    assert "skipped: probed on this CPU, OpenVINO's int8 convolutions saturate" in done.stdout


# What holds on whatever processor runs the tests


@pytest.mark.parametrize("stored", [int8.DIRECT, int8.SAFE], ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["encoder", "decoder", "postnet"])
def test_each_way_of_keeping_weights_is_near_where_it_is_exact(
    name: str, stored: int8.Stored
) -> None:
    backend = OnnxRuntimeBackend({"intra_threads": 1}, "0")
    if not exact.adds_up(backend._small, stored):
        pytest.skip(f"{stored.name} weights saturate on this CPU")
    original, model = test_fusion.MODELS[name](), test_fusion.MODELS[name]()
    fusion.fused(model)
    int8.quantised(model, stored)
    given = test_fusion.feeds(original, 3)
    pairs = zip(
        test_fusion.outputs(original, given), test_fusion.outputs(model, given), strict=True
    )
    for theirs, ours in pairs:
        away = np.sqrt(np.mean((ours.astype(np.float64) - theirs) ** 2))
        assert away <= test_fusion.NEAR * np.sqrt(np.mean(theirs.astype(np.float64) ** 2)) + 1e-6


def compiled(folder: Path, quant: str = INT8) -> dict[str, Any]:
    described = pipeline.parse(small_pipeline.plan(small_pipeline.write_models(folder / "models")))
    backend = OnnxRuntimeBackend({"intra_threads": 1}, "0")
    return backend.compile(described, quant, str(folder))


@pytest.mark.parametrize("saturating", [(), ("signed",), ("signed", "unsigned")])
def test_the_first_exact_way_is_taken_and_none_is_one_line(
    saturating: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "adds_up", lambda _, stored: stored.name not in saturating)
    if len(saturating) == 2:
        with pytest.raises(UnsupportedError, match=r"saturate on this CPU .*signed, unsigned"):
            compiled(tmp_path)
        compiled(tmp_path, "force_float32")
        return
    artefact = json.loads(Path(compiled(tmp_path)["postnet"].path).read_text())
    chosen = int8.SAFE if saturating else int8.DIRECT
    assert artefact["stored"] == chosen.name
    assert artefact["effective"]["weights"] == chosen.says


@pytest.mark.parametrize("quant", ["force_float32", INT8])
def test_vector_extensions_decide_the_key(
    quant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, same = compiled(tmp_path, quant), compiled(tmp_path, quant)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    limited = compiled(tmp_path, quant)
    monkeypatch.setattr(processor, "vector_extensions", lambda: ["avx2"])
    other = compiled(tmp_path, quant)
    assert [one["encoder"].cached for one in (first, same, limited, other)] == [
        False, True, False, False,
    ]  # fmt: skip
    assert len({one["encoder"].key for one in (first, limited, other)}) == 3

"""OpenVINO held against onnxruntime on the same files, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from backends.base import UsageError
from backends.openvino import HIDDEN, OpenVinoBackend
from backends.plan import StagePlan, Tensor
from backends.testing import Answers
from harness.models.graphs import tacotron2, waveglow
from harness.models.graphs.tacotron2 import KEEP, DecodeLength, Dropout
from harness.models.sizes import TINY
from harness.models.weights import SyntheticWeights
from tests.backends import small_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from harness.models.graphs.builder import GraphBuilder

openvino = pytest.importorskip("openvino", reason="openvino is not installed")
ort = pytest.importorskip("onnxruntime")

BATCH, TEXT, FRAMES, STEPS = 3, 7, 40, 9
WEIGHTS = SyntheticWeights(TINY, 5)
SMALL = {"batch_size": BATCH, "text_seq": TEXT, "seq_len": TEXT, "mel_seq": FRAMES,
         "z_seq": FRAMES * 32, "steps": STEPS, "rows": 1}  # fmt: skip
GRAPHS: dict[str, Any] = {
    "encoder": lambda: tacotron2.encoder(WEIGHTS, TINY),
    "decoder": lambda: tacotron2.decoder(
        WEIGHTS, TINY, DecodeLength(limit=STEPS, from_text=False), Dropout.INPUT
    ),
    "postnet": lambda: tacotron2.postnet(WEIGHTS, TINY),
    "waveglow": lambda: waveglow.waveglow(WEIGHTS, TINY),
}
HALF = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def values(model: onnx.ModelProto) -> dict[str, Any]:
    """Return inputs of every kind, drawn with a seed."""
    rng, made = np.random.default_rng(2), {}
    for one in model.graph.input:
        shape = [
            SMALL[dim.dim_param] if dim.dim_param else dim.dim_value
            for dim in one.type.tensor_type.shape.dim
        ]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
        made[one.name] = rng.normal(0, 0.5, shape).astype(dtype)
    made.update({name: made[name] > 0.5 for name in ("mask",) if name in made})
    if KEEP in made:
        made[KEEP] = (made[KEEP] > 0).astype(np.float32)
    if "sequences" in made:
        made["sequences"] = rng.integers(0, TINY.symbols, (BATCH, TEXT))
        made["sequence_lengths"] = np.array([TEXT, TEXT - 2, 1], np.int32)
    return made


def both(name: str, folder: Path, quant: str = "force_float32") -> tuple[Any, Any, dict[str, Any]]:
    """Return the outputs of onnxruntime and of OpenVINO, and what the latter says it ran as."""
    graph: GraphBuilder = GRAPHS[name]()
    model = graph.model({})
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    given = values(model)
    made = [one.name for one in model.graph.output]
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    exact = session.run(made, given)
    stage = StagePlan(
        name, tuple(Tensor(one, (), "float32") for one in given),
        tuple(Tensor(one, (), "float32") for one in made), "items", (), None,
        {"path": str(path), "sha256": "0"},
    )  # fmt: skip
    backend = OpenVinoBackend({"threads": 1}, "0")
    artefact = backend._artefact(stage, quant, str(folder))
    loaded = backend.load(stage, quant, artefact.path, 1)
    found = [np.array(one) for one in loaded.run(list(given.values()))]
    effective = loaded.effective()
    loaded.close()
    backend.close()
    return exact, found, effective


@pytest.mark.parametrize("name", list(GRAPHS))
def test_float32_equals_onnxruntime(name: str, tmp_path: Path) -> None:
    exact, found, effective = both(name, tmp_path)
    assert effective["compute"] == "float32"
    for one, other in zip(exact, found, strict=True):
        assert one.shape == other.shape
        # 1e-4 of the largest value: the order of summation differs, and a decoder feeds it back.
        scale = max(1.0, float(np.abs(one).max()))
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-4 * scale)


@pytest.mark.skipif(not HALF, reason="this CPU has no bfloat16 kernels in OpenVINO")
@pytest.mark.parametrize("name", ["encoder", "postnet", "waveglow"])
def test_half_is_what_the_runtime_model_says_and_differs(name: str, tmp_path: Path) -> None:
    exact, found, effective = both(name, tmp_path, "force_float16")
    # Storage too: a bound by reading float32 weights would call possible times impossible.
    assert (effective["compute"], effective["storage"]) == ("bfloat16", "bfloat16")
    assert effective["verified"]
    assert not np.allclose(found[0], exact[0], rtol=0, atol=1e-6)


def test_inside_a_loop_is_not_called_verified(tmp_path: Path) -> None:
    _, _, effective = both("decoder", tmp_path)
    assert (effective["verified"], effective["reason"]) == (False, HIDDEN)
    assert effective["operators"]["FullyConnected"]["float32"] > 1


def loaded(folder: Path, seed: int) -> Answers:
    answers = Answers()
    described = small_pipeline.plan(small_pipeline.write_models(folder / "models"))
    answers.ask("probe", backend="openvino", options={"threads": 1})
    shared: dict[str, Any] = {"plan": described, "quant": "force_float32"}
    compiled = answers.ask("compile", **shared, cache_dir=str(folder / "cache"))["stages"]
    artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
    answers.ask("load", **shared, seed=seed, artefacts=artefacts)
    return answers


def test_the_seed_decides_the_draws_and_every_iteration_draws_anew(tmp_path: Path) -> None:
    def mels(seed: int) -> list[str]:
        answers = loaded(tmp_path, seed)
        return [
            answers.ask("verify", inputs=small_pipeline.INPUTS,
                        outputs=["mel_outputs_postnet"], path=None)
            ["outputs"]["mel_outputs_postnet"]["sha256"]
            for _ in range(2)
        ]  # fmt: skip

    first, same, other = mels(3), mels(3), mels(4)
    assert first == same
    assert not set(first) & set(other)
    assert first[0] != first[1]


def test_the_second_compile_is_the_cache(tmp_path: Path) -> None:
    answers = Answers()
    described = small_pipeline.plan(small_pipeline.write_models(tmp_path / "models"))
    answers.ask("probe", backend="openvino", options={"threads": 1})
    request: dict[str, Any] = {
        "plan": described, "quant": "force_float32", "cache_dir": str(tmp_path / "cache"),
    }  # fmt: skip
    first, second = (answers.ask("compile", **request)["stages"] for _ in range(2))
    assert not any(one["cached"] for one in first.values())
    assert all(one["cached"] for one in second.values())


@pytest.mark.parametrize("quant", ["qint8_mixed_float32", "qint16_mixed_float16"])
def test_integer_modes_are_skipped_with_a_reason(quant: str) -> None:
    assert (
        "form of this model is prepared" in OpenVinoBackend({}, "0").precisions()[quant]["skipped"]
    )


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    entries = small_pipeline.write_models(tmp_path)
    (tmp_path / "encoder.onnx").write_bytes(b"no model")
    answers = Answers()
    answers.ask("probe", backend="openvino", options={})
    error = answers.error(
        "compile", plan=small_pipeline.plan(entries), quant="force_float32",
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    assert error["kind"] == "failed"
    assert error["message"].startswith("encoder: ")
    assert "cannot be loaded" in error["message"]


def test_several_devices_are_refused() -> None:
    backend = OpenVinoBackend({}, "0")
    backend.beside = ["0", "1"]
    with pytest.raises(UsageError, match="devices=0,1"):
        backend.probe()

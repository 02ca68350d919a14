"""OpenVINO held against onnxruntime on the same files, and what it says of itself."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from backends import cache
from backends.errors import BackendError, OptionError, UnsupportedError
from backends.graphs import compiled_files
from backends.openvino import backend as ours
from backends.openvino import int8
from backends.openvino.backend import GROUPS, INT8, OpenVinoBackend
from backends.openvino.precision import HIDDEN
from backends.openvino.ranges import Calibration
from backends.pipeline import PipelinePlan, StagePlan, Tensor
from backends.testing import Answers
from harness.models.graphs import tacotron2, waveglow
from harness.models.graphs.tacotron2 import KEEP, DecodeLength, DropoutMask
from harness.models.sizes import TINY
from harness.models.weights import SyntheticWeights
from harness.studies import limit_workloads
from tests.backends import small_pipeline

if TYPE_CHECKING:
    from backends.base import Artefact
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
        WEIGHTS, TINY, DecodeLength(limit=STEPS, from_text=False), DropoutMask.INPUT
    ),
    "postnet": lambda: tacotron2.postnet(WEIGHTS, TINY),
    "waveglow": lambda: waveglow.waveglow(WEIGHTS, TINY),
}
ABLE = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
HALF = "BF16" in ABLE
NO_INT8 = OpenVinoBackend({}, "0").precisions()[INT8].get("skipped", "")
"""Why the backend does not offer int8 on this CPU; what it does not offer is not tested here."""


NEAR = 0.05
"""Root of the mean square of the difference over that of the value, in int8."""
WIDE = replace(TINY, rnn=int8.GROUP, wn_layers=3, wn_channels=16, upsample_groups=1)
"""The tiny sizes, wide enough for int8."""
WIDE_WEIGHTS = SyntheticWeights(WIDE, 5)
INT8_GRAPHS = {
    **GRAPHS,
    "decoder": lambda: tacotron2.decoder(
        WIDE_WEIGHTS, WIDE, DecodeLength(limit=STEPS, from_text=False), DropoutMask.INPUT
    ),
    "waveglow": lambda: waveglow.waveglow(WIDE_WEIGHTS, WIDE),
}
QUANTISED = {
    "encoder": {"int8 convolution": 3},
    "decoder": {"int8 dense": 3},  # two LSTMs and the query: the prenet is narrower than a group
    "postnet": {"int8 convolution": 5},
    "waveglow": {"int8 convolution": 3 * WIDE.flows * WIDE.wn_layers},
}


def shape(one: onnx.ValueInfoProto) -> tuple[Any, ...]:
    return tuple(dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim)


def values(model: onnx.ModelProto, rows: int = BATCH) -> dict[str, Any]:
    """Return inputs of every kind, drawn with a seed."""
    rng, made = np.random.default_rng(2), {}
    sizes = {**SMALL, "batch_size": rows}
    for one in model.graph.input:
        dims = [sizes.get(dim, dim) for dim in shape(one)]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
        made[one.name] = rng.normal(0, 0.5, dims).astype(dtype)
    if "mask" in made:
        made["mask"] = np.arange(TEXT) >= np.array([[TEXT], [TEXT - 2], [1]])[:rows]
    if KEEP in made:
        made[KEEP] = (made[KEEP] > 0).astype(np.float32)
    if "sequences" in made:
        made["sequences"] = rng.integers(0, TINY.symbols, (rows, TEXT))
        made["sequence_lengths"] = np.array([TEXT, TEXT - 2, 1][:rows], np.int32)
    return made


def written(graph: GraphBuilder, name: str, folder: Path) -> tuple[onnx.ModelProto, PipelinePlan]:
    """Write a model; return it, and a pipeline of this one stage."""
    model = graph.model({})
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    takes, gives = (
        tuple(
            Tensor(
                one.name,
                tuple((dim,) for dim in shape(one)),
                np.dtype(onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)).name,
            )
            for one in ports
        )
        for ports in (model.graph.input, model.graph.output)
    )
    entry = {"path": str(path), "sha256": "0"}
    stage = StagePlan(name, takes, gives, "items", (), None, entry)
    return model, PipelinePlan(name, takes, (), {}, (stage,))


def listed(given: dict[str, Any]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in given.items()}


def both(
    name: str, folder: Path, quant: str = "force_float32", rows: int = BATCH
) -> tuple[Any, Any, dict[str, Any]]:
    """Return the outputs of onnxruntime and of OpenVINO, and what the latter says it ran as."""
    graphs = INT8_GRAPHS if quant == INT8 else GRAPHS
    model, plan = written(graphs[name](), name, folder)
    given = values(model, rows)
    made = [one.name for one in model.graph.output]
    session = ort.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    exact = session.run(made, given)
    backend = OpenVinoBackend({"threads": 1}, "0")
    backend.calibration = [listed(given)]
    artefact = backend.compile(plan, quant, str(folder))[name]
    loaded = backend.load(plan.stages[0], quant, artefact.path, 1)
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


def int8_counts(effective: dict[str, Any]) -> dict[str, int]:
    """Return how many layers of each kind the runtime model shows in int8."""
    kinds = {"FullyConnected": "int8 dense", "Convolution": "int8 convolution"}
    seen = effective["operators"].items()
    return {kinds[kind]: counts["int8"] for kind, counts in seen if "int8" in counts}


@pytest.mark.skipif(bool(NO_INT8), reason=NO_INT8 or "offered")
@pytest.mark.parametrize("rows", [1, BATCH])
@pytest.mark.parametrize("name", list(GRAPHS))
def test_int8_runs_as_such_near_float32(name: str, rows: int, tmp_path: Path) -> None:
    exact, found, effective = both(name, tmp_path, INT8, rows)
    # Every layer that was given int8 weights: none went back to float32 without a word.
    assert int8_counts(effective) == QUANTISED[name]
    assert "int8" in effective["compute"].split("+")
    assert ("RNNSeq" in effective["operators"]) == (name == "encoder")
    assert not np.array_equal(found[0], exact[0])
    for one, other in zip(exact, found, strict=True):
        assert one.shape == other.shape
        away = np.sqrt(np.mean((other.astype(np.float64) - one) ** 2))
        assert away <= NEAR * np.sqrt(np.mean(one.astype(np.float64) ** 2)) + 1e-6


@pytest.mark.skipif(bool(NO_INT8), reason=NO_INT8 or "offered")
def test_layers_that_are_not_quantised_as_they_run_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime model looks the same: it names what the weights are kept in."""
    monkeypatch.setitem(ours.EXTRA, INT8, {GROUPS: 0})
    _, _, effective = both("decoder", tmp_path, INT8)
    assert effective["compute"] == "float32"
    assert effective["storage"] == "float32+int8"
    assert "int8" not in effective["operators"]["FullyConnected"]


@pytest.mark.skipif(bool(NO_INT8), reason=NO_INT8 or "offered")
def test_a_layer_of_a_group_or_more_rounds_what_it_reads() -> None:
    backend = OpenVinoBackend({"threads": 1}, "0")
    backend.probe()
    rounds = backend._asking(INT8)
    widths = [1, 80, int8.GROUP - 1, int8.GROUP, int8.GROUP + 44, 1792]
    assert [rounds(width) for width in widths] == [False] * 3 + [True] * 3


@pytest.mark.skipif(bool(NO_INT8), reason=NO_INT8 or "offered")
def test_a_property_that_is_not_taken_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVinoBackend, "_config", lambda *_: {"NUM_STREAMS": "1"})
    with pytest.raises(BackendError, match=f"decoder: OpenVINO does not take {GROUPS}"):
        both("decoder", tmp_path, INT8)


@pytest.mark.skipif(bool(NO_INT8), reason=NO_INT8 or "offered")
def test_the_product_of_the_roofline_runs_in_int8(tmp_path: Path) -> None:
    path = tmp_path / limit_workloads.PRODUCT_FILE
    limit_workloads.write_product(path)
    described = limit_workloads.product().plan(limit_workloads.models(path, "0" * 64))
    answers = Answers()
    answers.ask("probe", backend="openvino", options={"threads": 1})
    shared: dict[str, Any] = {"plan": described, "quant": INT8}
    compiled = answers.ask("compile", **shared, cache_dir=str(tmp_path / "cache"))["stages"]
    artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
    stages = answers.ask("load", **shared, seed=1, artefacts=artefacts)["stages"]
    effective = stages[limit_workloads.PRODUCT]["effective"]
    assert (effective["compute"], effective["verified"]) == ("int8", True)


def form(artefact: Artefact) -> Path:
    """Return the model file an artefact names."""
    return Path((cache.read(artefact.path) or {})["model"])


def calibrated(folder: Path, inputs: list[dict[str, Any]]) -> tuple[OpenVinoBackend, PipelinePlan]:
    _, plan = written(GRAPHS["postnet"](), "postnet", folder)
    backend = OpenVinoBackend({"threads": 1}, "0")
    backend.calibration = inputs
    return backend, plan


def mels(scale: float) -> dict[str, Any]:
    model = GRAPHS["postnet"]().model({})
    return listed({name: scale * array for name, array in values(model, 1).items()})


def test_ranges_are_those_of_the_first_inputs_and_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*scales: float) -> Any:
        backend, plan = calibrated(tmp_path, [mels(scale) for scale in scales])
        known = Calibration(backend, plan, str(tmp_path), backend._watching)
        return known.ranges(plan.stages[0])

    ranges = found(2.0, 3.0)
    assert len(ranges) == 5
    drawn = np.array(mels(2.0)["mel_outputs"], np.float32)
    np.testing.assert_allclose(ranges["mel_outputs"], [drawn.min(), drawn.max()], rtol=1e-6)
    assert all(least < largest for least, largest in ranges.values())
    monkeypatch.setattr(Calibration, "_measured", None)
    assert found(2.0) == ranges


def test_convolutions_without_inputs_to_calibrate_on_are_unsupported(tmp_path: Path) -> None:
    backend, plan = calibrated(tmp_path, [])
    with pytest.raises(UnsupportedError, match="none were given"):
        backend.compile(plan, INT8, str(tmp_path))


@pytest.mark.skipif(bool(NO_INT8), reason=NO_INT8 or "offered")
def test_whatever_decides_an_int8_form_decides_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(scale: float = 1.0) -> Any:
        backend, plan = calibrated(tmp_path, [mels(scale)])
        return backend.compile(plan, INT8, str(tmp_path))["postnet"]

    first, same, other = compiled(), compiled(), compiled(2.0)
    assert (first.cached, same.cached, other.cached) == (False, True, False)
    assert first.key == same.key
    monkeypatch.setitem(ours.EXTRA, INT8, {GROUPS: 128})
    grouped = compiled()
    monkeypatch.setattr(compiled_files, "written_by", lambda: "other code")
    rewritten = compiled()
    assert len({one.key for one in (first, other, grouped, rewritten)}) == 4
    assert form(rewritten) != form(first)
    form(rewritten).unlink()
    assert not compiled().cached


def test_an_artefact_of_other_code_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, plan = calibrated(tmp_path, [])
    artefact = backend.compile(plan, "force_float32", str(tmp_path))["postnet"]
    monkeypatch.setattr(compiled_files, "written_by", lambda: "other code")
    with pytest.raises(BackendError, match="compile again"):
        backend.load(plan.stages[0], "force_float32", artefact.path, 1)


@pytest.mark.parametrize("graph", compiled_files.GRAPHS)
def test_both_graphs_give_the_same_in_float32(graph: str, tmp_path: Path) -> None:
    model, plan = written(GRAPHS["decoder"](), "decoder", tmp_path)
    backend = OpenVinoBackend({"threads": 1, "graph": graph}, "0")
    artefact = backend.compile(plan, "force_float32", str(tmp_path))["decoder"]
    path = plan.stages[0].model["path"]
    assert (form(artefact) == Path(path)) == (graph == "contract")
    given = values(model)
    stage = backend.load(plan.stages[0], "force_float32", artefact.path, 1)
    found = np.array(stage.run(list(given.values()))[0])
    exact = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, given)[0]
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-4 * float(np.abs(exact).max()))


def test_int8_is_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = OpenVinoBackend({"graph": "contract"}, "0").precisions()[INT8]
    assert "graph=fused" in contract["skipped"]
    monkeypatch.setattr(OpenVinoBackend, "_capabilities", lambda _: ["FP32"])
    old = OpenVinoBackend({}, "0").precisions()
    assert "no int8 kernels" in old[INT8]["skipped"]
    assert "no half-precision kernels" in old["force_float16"]["skipped"]


@pytest.mark.parametrize(
    ("convolved", "rounds", "reason"),
    [
        (("int8", 0.506), True, "int8 convolutions saturate (a sum comes out as 0.51 of itself)"),
        (("float32", 1.0), True, "convolutions compute in float32 where int8 is asked"),
        (("int8", 1.0), False, "dense layers compute in float32 where int8 is asked"),
    ],
)
def test_int8_that_does_not_run_as_such_is_not_offered(
    convolved: tuple[str, float], rounds: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVinoBackend, "_convolved", lambda _: convolved)
    monkeypatch.setattr(OpenVinoBackend, "_asking", lambda *_: lambda _: rounds)
    assert reason in OpenVinoBackend({}, "0").precisions()[INT8]["skipped"]
    answers = Answers()
    probed = answers.ask("probe", backend="openvino", options={"threads": 1})
    assert reason in probed["precisions"][INT8]["skipped"]


def test_int8_kernels_that_raise_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("could not create a primitive. Run with ONEDNN_VERBOSE=all")

    monkeypatch.setattr(OpenVinoBackend, "_convolved", broken)
    monkeypatch.setattr(OpenVinoBackend, "_asking", lambda *_: broken)
    reason = OpenVinoBackend({}, "0").precisions()[INT8]["skipped"]
    assert "int8 convolutions do not run (could not create a primitive)" in reason
    assert "int8 dense layers do not run" in reason


@pytest.mark.parametrize("quant", ["force_float32", INT8])
def test_without_the_onnx_package_is_one_line(
    quant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, plan = calibrated(tmp_path, [])
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UnsupportedError, match="the onnx package beside openvino"):
        backend.compile(plan, quant, str(tmp_path))


def test_a_constant_tensor_can_be_rounded(tmp_path: Path) -> None:
    """All zeros: the range is empty, and division by it must not be."""
    model = GRAPHS["postnet"]().model({})
    names = int8.watched(model)
    assert names == {"watched": 5}
    backend, plan = calibrated(tmp_path, [mels(0.0)])
    artefact = backend.compile(plan, INT8, str(tmp_path))["postnet"]
    stage = backend.load(plan.stages[0], INT8, artefact.path, 1)
    assert np.isfinite(stage.run([np.zeros((1, TINY.mel, 8), np.float32)])[0]).all()


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


@pytest.mark.parametrize("quant", ["qint8_mixed_float16", "qint16_mixed_float16"])
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
    with pytest.raises(OptionError, match="devices=0,1"):
        backend.probe()


@pytest.mark.parametrize("quant", ["force_float32", INT8])
def test_a_form_that_does_not_load_gives_way_to_the_file_as_it_is(
    quant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused(model: Any) -> dict[str, int]:
        model.graph.node[0].op_type = "NoSuchOperator"
        return {}

    monkeypatch.setattr(compiled_files, "FUSED", compiled_files.CompileRecipe("fused", (refused,)))
    if quant == INT8 and NO_INT8:
        pytest.skip(NO_INT8)
    exact, found, effective = both("postnet", tmp_path, quant)
    assert "cannot be loaded" in effective["fallback"]
    assert (effective["requested"], effective["compute"]) == (quant, "float32")
    assert "postnet: its compiled form is refused" in capfd.readouterr().err
    np.testing.assert_allclose(found[0], exact[0], rtol=0, atol=1e-4)


def test_a_form_that_loads_states_no_fallback(tmp_path: Path) -> None:
    assert both("postnet", tmp_path)[2]["fallback"] is None

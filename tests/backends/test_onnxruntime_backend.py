from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from backends import pipeline
from backends.graphs.compiled_files import CompileRecipe
from backends.onnxruntime import int8, precision, stored_weights
from backends.onnxruntime.backend import OnnxRuntimeBackend
from backends.onnxruntime.stage import OnnxRuntimeStage
from backends.testing import Answers
from tests.backends import small_pipeline

INPUTS, OUTPUTS = small_pipeline.INPUTS, small_pipeline.OUTPUTS


def loaded(
    folder: Path,
    *,
    half: bool = False,
    quant: str = "force_float32",
    seed: int = 3,
    **options: Any,
) -> tuple[Answers, dict[str, Any]]:
    """A worker after load, and the answer of load."""
    answers = Answers()
    described = small_pipeline.plan(small_pipeline.write_models(folder / "models", half=half))
    options.setdefault("intra_threads", 1)
    answers.ask("probe", backend="onnxruntime", options=options)
    cache = str(folder / "cache")
    compiled = answers.ask("compile", plan=described, quant=quant, cache_dir=cache)["stages"]
    artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
    return answers, answers.ask("load", plan=described, quant=quant, seed=seed, artefacts=artefacts)


def effective(answer: dict[str, Any], field: str) -> dict[str, str]:
    return {name: stage["effective"][field] for name, stage in answer["stages"].items()}


STAGES = ("encoder", "decoder", "postnet", "waveglow")


def test_float32_is_read_back_from_the_profile(tmp_path: Path) -> None:
    _, answer = loaded(tmp_path)
    for field in ("compute", "storage", "activations"):
        assert effective(answer, field) == dict.fromkeys(STAGES, "float32")
    assert effective(answer, "provider") == dict.fromkeys(STAGES, "CPUExecutionProvider")
    assert all(effective(answer, "verified").values())


def test_operators_inside_the_loop_are_seen(tmp_path: Path) -> None:
    _, answer = loaded(tmp_path)
    counts = answer["stages"]["decoder"]["effective"]["operators"]
    assert sum(dtypes["float32"] for dtypes in counts.values()) == 2


def test_half_rounded_form_is_seen_in_weights_and_activations(tmp_path: Path) -> None:
    _, answer = loaded(tmp_path, half=True, quant="force_float16")
    assert effective(answer, "compute") == dict.fromkeys(STAGES, "float32")
    assert effective(answer, "storage") == dict.fromkeys(STAGES, "float16-rounded")
    assert effective(answer, "activations") == dict.fromkeys(STAGES, "float16-rounded")
    assert answer["stages"]["encoder"]["effective"]["operators"]["Cast"] == {"float16": 2}


def test_float32_file_given_for_float16_is_not_called_float16(tmp_path: Path) -> None:
    _, answer = loaded(tmp_path, half=False, quant="force_float16")
    assert effective(answer, "requested") == dict.fromkeys(STAGES, "force_float16")
    for field in ("compute", "storage", "activations"):
        assert effective(answer, field) == dict.fromkeys(STAGES, "float32")


def test_profile_without_heavy_operators_is_not_verified() -> None:
    event = {
        "cat": "Node",
        "name": "Add_1_kernel_time",
        "args": {
            "op_name": "Add",
            "provider": "CPUExecutionProvider",
            "node_index": "1",
            "input_type_shape": [{"float": [1]}],
            "output_type_shape": [{"float": [1]}],
        },
    }
    found = precision.effective("force_float32", "none", [event])
    assert (found["verified"], found["compute"]) == (False, "unknown")
    assert precision.effective("force_float32", "float32", [])["verified"] is False


@pytest.mark.parametrize("quant", ["qint16_mixed_float32", "qint8_mixed_float16"])
def test_integer_modes_are_skipped_with_a_reason(tmp_path: Path, quant: str) -> None:
    answers = Answers()
    answers.ask("probe", backend="onnxruntime", options={})
    described = small_pipeline.plan(small_pipeline.write_models(tmp_path))
    error = answers.error("compile", plan=described, quant=quant, cache_dir=str(tmp_path))
    assert error["kind"] == "unsupported"
    assert "CPU kernels have no" in error["message"]


def outputs(answers: Answers) -> Any:
    return answers.ask("verify", inputs=INPUTS, outputs=OUTPUTS, path=None)["outputs"]


def test_seed_decides_the_first_pass(tmp_path: Path) -> None:
    first, second, other = (
        outputs(loaded(tmp_path / str(index), seed=seed)[0])["mel_outputs_postnet"]["sha256"]
        for index, seed in enumerate((3, 3, 4))
    )
    assert first == second != other


def test_profiled_pass_does_not_change_what_follows(tmp_path: Path) -> None:
    built, _ = loaded(tmp_path)
    cached, _ = loaded(tmp_path)
    assert outputs(built) == outputs(cached)


def test_same_seed_gives_the_same_outputs_in_every_process(tmp_path: Path) -> None:
    described = small_pipeline.plan(small_pipeline.write_models(tmp_path / "models"))
    quant = "force_float32"
    probe = small_pipeline.request("probe", backend="onnxruntime", options={"intra_threads": 1})
    compiling = small_pipeline.request(
        "compile", plan=described, quant=quant, cache_dir=str(tmp_path / "cache")
    )
    stages = small_pipeline.talk(probe, compiling).answers[1]["result"]["stages"]
    artefacts = {name: stage["artefact"] for name, stage in stages.items()}
    requests = [
        probe,
        small_pipeline.request("load", plan=described, quant=quant, seed=3, artefacts=artefacts),
        small_pipeline.request("verify", inputs=INPUTS, outputs=OUTPUTS),
        small_pipeline.request("run", inputs=INPUTS, count=3),
        small_pipeline.request("verify", inputs=INPUTS, outputs=[*OUTPUTS, "audio"]),
    ]
    seen = [small_pipeline.talk(*requests).answers for _ in range(2)]
    for index in (2, 4):
        assert seen[0][index]["result"]["outputs"] == seen[1][index]["result"]["outputs"]
    assert seen[0][2]["result"]["outputs"] != {
        name: found for name, found in seen[0][4]["result"]["outputs"].items() if name in OUTPUTS
    }


def test_outputs_equal_those_of_a_plain_session(tmp_path: Path) -> None:
    answers, _ = loaded(tmp_path)
    path = tmp_path / "golden.npz"
    asked = ["memory", "mel_outputs", "mel_outputs_postnet", "audio", "z", "mel"]
    answers.ask("verify", inputs=INPUTS, outputs=asked, path=str(path))
    written = np.load(path)
    assert written["mel_outputs"].shape == (1, 5, 8)  # cropped from ten steps
    for model, feed, output in (
        ("encoder.onnx", dict.fromkeys(INPUTS), "memory"),
        ("postnet.onnx", {"mel_outputs": None}, "mel_outputs_postnet"),
        ("waveglow.onnx", {"mel": None, "z": None}, "audio"),
    ):
        session = onnxruntime.InferenceSession(str(tmp_path / "models" / model))
        arrays = {
            "sequences": np.array(INPUTS["sequences"], np.int64),
            "sequence_lengths": np.array(INPUTS["sequence_lengths"], np.int32),
            **written,
        }
        (expected,) = session.run([output], {name: arrays[name] for name in feed})
        assert np.array_equal(written[output], expected)


def test_second_compile_is_found_in_the_cache_and_other_options_are_not(tmp_path: Path) -> None:
    entries = small_pipeline.write_models(tmp_path / "models")

    def compiled(**options: Any) -> dict[str, Any]:
        answers = Answers()
        answers.ask("probe", backend="onnxruntime", options={"intra_threads": 1, **options})
        stages: dict[str, Any] = answers.ask(
            "compile",
            plan=small_pipeline.plan(entries),
            quant="force_float32",
            cache_dir=str(tmp_path / "cache"),
        )["stages"]
        return stages

    assert [stage["cached"] for stage in compiled().values()] == [False] * 4
    assert [stage["cached"] for stage in compiled().values()] == [True] * 4
    assert [stage["cached"] for stage in compiled(arena=False).values()] == [False] * 4
    entries["encoder"]["sha256"] = "changed"
    assert not compiled()["encoder"]["cached"]
    left = [path.name.split("-")[:2] for path in (tmp_path / "cache").glob("*.onnx")]
    # One fused file for each model, whatever the options; one more for the changed encoder.
    assert sorted(left) == sorted([[name, "blocked"] for name in [*STAGES, "encoder"]])


def test_artefact_of_other_options_is_refused(tmp_path: Path) -> None:
    described = small_pipeline.plan(small_pipeline.write_models(tmp_path / "models"))
    first = Answers()
    first.ask("probe", backend="onnxruntime", options={"intra_threads": 1})
    compiled = first.ask("compile", plan=described, quant="force_float32", cache_dir=str(tmp_path))[
        "stages"
    ]
    artefacts = {name: stage["artefact"] for name, stage in compiled.items()}
    second = Answers()
    second.ask("probe", backend="onnxruntime", options={"intra_threads": 2})
    error = second.error("load", plan=described, quant="force_float32", seed=1, artefacts=artefacts)
    assert error["kind"] == "failed"
    assert "compile again" in error["message"]


def compile_error(folder: Path, change: Any) -> dict[str, Any]:
    entries = small_pipeline.write_models(folder)
    described = small_pipeline.plan(entries)
    change(entries, described)
    answers = Answers()
    answers.ask("probe", backend="onnxruntime", options={})
    error = answers.error(
        "compile", plan=described, quant="force_float32", cache_dir=str(folder / "cache")
    )
    assert error["kind"] == "failed"
    return error


def test_truncated_model_is_a_failure_in_one_line(tmp_path: Path) -> None:
    def cut(_: Any, __: Any) -> None:
        path = tmp_path / "postnet.onnx"
        path.write_bytes(path.read_bytes()[:200])

    message = compile_error(tmp_path, cut)["message"]
    assert message.startswith("postnet: ")
    assert "postnet.onnx cannot be loaded" in message


def test_missing_model_is_a_failure_in_one_line(tmp_path: Path) -> None:
    message = compile_error(tmp_path, lambda *_: (tmp_path / "decoder.onnx").unlink())["message"]
    assert "decoder.onnx cannot be loaded" in message


def test_invalid_graph_is_a_failure_in_one_line(tmp_path: Path) -> None:
    def spoil(_: Any, __: Any) -> None:
        path = tmp_path / "postnet.onnx"
        model = onnx.load(path)
        model.graph.node[0].op_type = "NoSuchOperator"
        onnx.save(model, path)

    assert "NoSuchOperator" in compile_error(tmp_path, spoil)["message"]


def test_model_with_other_tensors_than_the_plan_names_both(tmp_path: Path) -> None:
    def rename(_: Any, described: Any) -> None:
        described["stages"][0]["outputs"][0]["name"] = "remembered"
        described["stages"][1]["inputs"][8]["name"] = "remembered"

    message = compile_error(tmp_path, rename)["message"]
    assert "remembered" in message
    assert "the model has sequences, sequence_lengths" in message


def test_shape_that_does_not_fit_is_a_failure_of_its_stage(tmp_path: Path) -> None:
    def narrow(_: Any, described: Any) -> None:
        described["stages"][1]["glue"][3]["out"]["dims"][1] = 7  # decoder_hidden_0 is 6 wide

    assert compile_error(tmp_path, narrow)["message"].startswith("decoder: ")


def decoder_artefact(folder: Path, entries: Any, batch: int) -> dict[str, Any]:
    backend = OnnxRuntimeBackend({"intra_threads": 1}, "0")
    backend.expected = {"batch": batch}
    described = pipeline.parse(small_pipeline.plan(entries))
    compiled = backend.compile(described, "qint8_mixed_float32", str(folder))
    # Whoever loads need not know what was expected.
    loader = OnnxRuntimeBackend({"intra_threads": 1}, "0")
    path = compiled["decoder"].path
    loader.load(described.stages[1], "qint8_mixed_float32", path, 1).close()
    return dict(json.loads(Path(path).read_text()))


def test_the_int8_decoder_is_made_for_the_rows_expected(tmp_path: Path) -> None:
    entries = small_pipeline.write_models(tmp_path / "models")
    few, four, many = (decoder_artefact(tmp_path, entries, batch) for batch in (1, 4, 5))
    assert (few["kind"], four["kind"], many["kind"]) == ("int8-few", "int8-few", "int8")
    assert few["key"] == four["key"] != many["key"]


def test_kernels_that_compute_blocks_in_float32_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With accuracy level 1 the same operator leaves its activations in float32."""
    entries = small_pipeline.write_models(tmp_path / "models")
    monkeypatch.setattr(int8, "IN_INT8", 1)
    assert decoder_artefact(tmp_path, entries, 1)["kind"] == "int8"


def test_defaults_are_answered_as_what_is_in_effect() -> None:
    answer = Answers().ask("probe", backend="onnxruntime", options={})
    assert answer["options"]["intra_threads"] >= 1
    assert answer["options"]["inter_threads"] == 1
    assert answer["options"]["spin_us"] == 50
    assert answer["runtime"]["version"] == onnxruntime.__version__
    assert answer["runtime"]["host_views"] is True


def test_options_reach_the_session(tmp_path: Path) -> None:
    answers, _ = loaded(
        tmp_path, optimisation="basic", arena=False, spin_us=20, denormals_as_zero=True
    )
    stage = answers.worker._stages["encoder"]
    assert isinstance(stage, OnnxRuntimeStage)
    options = stage._session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.inter_op_num_threads == 1
    assert options.graph_optimization_level == (onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    assert options.enable_cpu_mem_arena is False
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert options.get_session_config_entry("session.intra_op.spin_duration_us") == "20"
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"


def test_threads_that_must_not_spin_are_told_so(tmp_path: Path) -> None:
    answers, _ = loaded(tmp_path, spin_us=0)
    stage = answers.worker._stages["encoder"]
    assert isinstance(stage, OnnxRuntimeStage)
    options = stage._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_runtime_that_cannot_limit_spinning_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.25.1")
    assert Answers().ask("probe", backend="onnxruntime", options={})["options"]["spin_us"] == 0
    error = Answers().error("probe", backend="onnxruntime", options={"spin_us": 5})
    assert error["kind"] == "usage"
    assert "1.25.1 cannot limit how long a thread spins (1.26 can)" in error["message"]


def test_threads_really_created_are_counted(tmp_path: Path) -> None:
    counted = []
    for threads in (1, 3):
        described = small_pipeline.plan(small_pipeline.write_models(tmp_path / "models"))
        probe = small_pipeline.request(
            "probe", backend="onnxruntime", options={"intra_threads": threads}
        )
        arguments: dict[str, Any] = {"plan": described, "quant": "force_float32"}
        compiling = small_pipeline.request(
            "compile", cache_dir=str(tmp_path / str(threads)), **arguments
        )
        stages = small_pipeline.talk(probe, compiling).answers[1]["result"]["stages"]
        artefacts = {name: stage["artefact"] for name, stage in stages.items()}
        load = small_pipeline.request("load", seed=1, artefacts=artefacts, **arguments)
        counted.append(small_pipeline.talk(probe, load).answers[1]["result"]["threads"])
    # Four sessions, each with two workers beside the calling thread.
    assert counted[1] - counted[0] == 8


def test_int64_tokens_are_narrowed_to_what_the_model_declares(tmp_path: Path) -> None:
    entries = small_pipeline.write_models(tmp_path / "models")
    path = tmp_path / "models" / "encoder.onnx"
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    onnx.save(model, path)
    backend = OnnxRuntimeBackend({"intra_threads": 1}, "0")
    described = pipeline.parse(small_pipeline.plan(entries))
    compiled = backend.compile(described, "force_float32", str(tmp_path))
    stage = backend.load(described.stages[0], "force_float32", compiled["encoder"].path, seed=1)
    assert stage.input_dtype("sequences") == "int32"
    assert stage.input_dtype("sequence_lengths") == "int32"


def test_value_that_does_not_fit_the_narrow_dtype_is_a_usage_error(tmp_path: Path) -> None:
    answers, _ = loaded(tmp_path)
    inputs = {"sequences": [[1, 2]], "sequence_lengths": [2**40]}
    error = answers.error("run", inputs=inputs, count=1)
    assert error["kind"] == "usage"
    assert "does not fit int32" in error["message"]


def test_tensors_are_shared_with_numpy_and_outlive_their_handle() -> None:
    backend = OnnxRuntimeBackend({}, "0")
    backend.probe()
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    handle = backend.from_host(array)
    seen = backend.to_host(handle)
    array[0, 0] = 99.0
    assert seen[0, 0] == 99.0
    cut = backend.to_host(backend.from_host(array[:, 1:3]))
    assert np.array_equal(cut, array[:, 1:3])


def test_frames_may_differ_from_call_to_call(tmp_path: Path) -> None:
    answers, _ = loaded(tmp_path)
    for length in (4, 9, 6):
        inputs = {"sequences": [[5] * length], "sequence_lengths": [length]}
        work = answers.ask("run", inputs=inputs, count=2)["work"]
        assert work["decoder_steps"] == [2 * length] * 2
        assert work["mel_frames_valid"] == [2 * length - 2] * 2


@pytest.mark.parametrize("half", [False, True])
def test_storage_is_read_from_the_file_itself(tmp_path: Path, half: bool) -> None:
    entries = small_pipeline.write_models(tmp_path, half=half)
    found = {name: stored_weights.storage(entry["path"]) for name, entry in entries.items()}
    assert found == dict.fromkeys(STAGES, "float16-rounded" if half else "float32")


def test_storage_of_true_half_weights_and_of_none(tmp_path: Path) -> None:
    helper = onnx.helper
    tensor = onnx.numpy_helper.from_array(np.ones((2, 2), np.float16), "w")
    for weights, expected in (([tensor], "float16"), ([], "none")):
        graph = helper.make_graph([], "g", [], [], weights)
        path = tmp_path / "model.onnx"
        path.write_bytes(helper.make_model(graph).SerializeToString())
        assert stored_weights.storage(str(path)) == expected


def test_storage_of_what_is_no_model_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff" * 64)
    assert stored_weights.storage(str(path)) == "unknown"


def test_least_inputs_fill_lengths_and_use_the_least_sizes() -> None:
    parsed = pipeline.parse(small_pipeline.plan())
    assert precision.least_inputs(parsed) == {"sequences": [[1] * 4], "sequence_lengths": [4]}


def test_artefact_holds_what_was_read_back(tmp_path: Path) -> None:
    _, answer = loaded(tmp_path)
    (path,) = (tmp_path / "cache").glob("encoder-*.json")
    assert json.loads(path.read_text())["effective"] == answer["stages"]["encoder"]["effective"]


def test_a_loop_that_never_ends_is_ended_while_its_precision_is_read(tmp_path: Path) -> None:
    entries = small_pipeline.write_models(tmp_path / "models")
    endless = onnx.load(entries["decoder"]["path"])
    (loop,) = (node for node in endless.graph.node if node.op_type == "Loop")
    loop.input[0] = ""
    onnx.save(endless, entries["decoder"]["path"])
    entries["decoder"]["unlimited"] = True
    answers = Answers()
    answers.ask("probe", backend="onnxruntime", options={"intra_threads": 1})
    described = small_pipeline.plan(entries)
    compiled = answers.ask(
        "compile", plan=described, quant="force_float32", cache_dir=str(tmp_path / "cache"),
        patience_s=0.2,
    )["stages"]  # fmt: skip
    kept = {name: json.loads(Path(one["artefact"]).read_text()) for name, one in compiled.items()}
    for name, artefact in kept.items():
        assert artefact["effective"]["compute"] == "float32", name
        assert artefact["effective"]["verified"], name
    seen = kept["decoder"]["effective"]["operators"].values()
    assert sum(dtypes["float32"] for dtypes in seen) == 2  # those inside the Loop


def test_what_fails_by_itself_is_not_taken_for_a_loop_that_was_ended(tmp_path: Path) -> None:
    entries = small_pipeline.write_models(tmp_path / "models")
    broken = onnx.load(entries["decoder"]["path"])
    (weight,) = (one for one in broken.graph.initializer if one.name == "axis")
    weight.CopyFrom(onnx.numpy_helper.from_array(np.array([7]), "axis"))
    onnx.save(broken, entries["decoder"]["path"])
    entries["decoder"]["unlimited"] = True
    answers = Answers()
    answers.ask("probe", backend="onnxruntime", options={"intra_threads": 1})
    with pytest.raises(AssertionError, match="decoder"):
        answers.ask(
            "compile", plan=small_pipeline.plan(entries), quant="force_float32",
            cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip


def no_such_operator(model: Any) -> dict[str, int]:
    """Rewrite a graph to what no runtime loads."""
    model.graph.node[0].op_type = "NoSuchOperator"
    return {}


def no_rewriting(_: Any) -> dict[str, int]:
    raise KeyError("a shape of graph nobody thought of")


@pytest.mark.parametrize(
    ("rewriting", "why"), [(no_such_operator, "NoSuchOperator"), (no_rewriting, "nobody thought")]
)
def test_a_form_that_does_not_load_gives_way_to_the_file_as_it_is(
    rewriting: Any, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(
        "backends.onnxruntime.backend.FLOAT32", CompileRecipe("blocked", (rewriting,))
    )
    answers, answer = loaded(tmp_path)
    for name, said in effective(answer, "fallback").items():
        assert why in str(said), name
    assert effective(answer, "compute") == dict.fromkeys(STAGES, "float32")
    logged = capfd.readouterr().err
    assert "encoder: its compiled form is refused, the model file as it is takes" in logged
    exact = outputs(loaded(tmp_path / "contract", graph="contract")[0])
    assert outputs(answers) == exact
    # From the cache too: it is stated for as long as it is so.
    _, again = loaded(tmp_path)
    assert effective(again, "fallback") == effective(answer, "fallback")


def test_a_form_that_loads_states_no_fallback(tmp_path: Path) -> None:
    assert effective(loaded(tmp_path)[1], "fallback") == dict.fromkeys(STAGES)


def test_where_the_file_is_refused_too_the_reason_is_told(tmp_path: Path) -> None:
    entries = small_pipeline.write_models(tmp_path / "models")
    broken = onnx.load(entries["postnet"]["path"])
    no_such_operator(broken)
    onnx.save(broken, entries["postnet"]["path"])
    answers = Answers()
    answers.ask("probe", backend="onnxruntime", options={"intra_threads": 1})
    error = answers.error(
        "compile", plan=small_pipeline.plan(entries), quant="force_float32",
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    assert error["kind"] == "failed"
    assert error["message"].startswith(f"postnet: {entries['postnet']['path']} cannot be loaded")
    assert "NoSuchOperator" in error["message"]

"""Files as NVIDIA's exporter writes them are measured unchanged."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from harness.errors import UsageError
from harness.models import batch, supplied, synthetic, tacotron2, work
from harness.models.sizes import TINY
from harness.models.weights import SyntheticWeights
from tests.torch_reference import exporter
from tests.torch_reference.tacotron2 import Tacotron2
from tests.torch_reference.waveglow import WaveGlow

if TYPE_CHECKING:
    from pathlib import Path


torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[torch]'")

STAGES = {stage.name: stage for stage in tacotron2.build("tiny").stages}


def gate(module: Any, bias: float) -> Any:
    """Let the stop gate's logit be `bias` always."""
    layer = module.decoder.gate_layer.linear_layer
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(bias)
    return module


STOP = 30


def lively() -> Any:
    """Return a network that stops at step 30 whatever it reads: one of its units counts steps."""
    network, weights = Tacotron2(TINY).eval(), SyntheticWeights(TINY, 4)
    names = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    network.load_state_dict({key: torch.from_numpy(weights[key]) for key in names}, strict=False)
    cell, layer, each = network.decoder.decoder_rnn, network.decoder.gate_layer.linear_layer, 0.02
    with torch.no_grad():
        rows = [gate_row * TINY.rnn for gate_row in range(4)]  # input, forget, cell, output
        for tensor in (cell.weight_ih, cell.weight_hh, cell.bias_hh):
            tensor[rows] = 0.0
        cell.bias_ih[rows] = torch.tensor([20.0, 20.0, math.atanh(each), 20.0])
        layer.weight.zero_()
        layer.weight[0, 0] = 1000.0
        layer.bias.fill_(-1000.0 * math.tanh(each * (STOP - 0.5)))
    return network


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as the exporter leaves it, with weights that stop; do not change it."""
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(4)
    exporter.export(folder, lively(), WaveGlow(TINY).eval())
    return folder


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same with a gate that never fires."""
    folder = tmp_path_factory.mktemp("endless")
    torch.manual_seed(4)
    exporter.export(folder, gate(Tacotron2(TINY).eval(), -99.0))
    return folder


def measure(folder: Path, *words: str, cwd: Path) -> tuple[Any, list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "-m", f"models_dir={folder}", "model=tiny", "il=16",
         "num_iters=2", "measure.loop_limit_s=20", "measure.min_processes=1",
         "measure.max_processes=1", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    paths = sorted((cwd / "outputs").glob("*/points/*/*.json"))
    return done, [json.loads(path.read_text()) for path in paths]


@pytest.mark.parametrize("name", STAGES)
def test_the_exporters_files_keep_the_contract(name: str, exported: Path) -> None:
    found = supplied.check(exported / f"{name}.onnx", STAGES[name])
    assert found.unlimited == (name == "decoder")
    assert "harness.weights" not in found.metadata


def test_they_run_unchanged_for_one_row_and_for_several(exported: Path, tmp_path: Path) -> None:
    done, found = measure(exported, "waveglow=true", "bs=1,4", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(found) == 2
    for document in found:
        assert document["weights"]["label"] == "supplied weights"
        seen = {one["code"]: one for one in document["warnings"]}
        assert "a pass is given 20 s" in seen["no-trip-limit"]["why"]
        golden = document["processes"][0]["golden"]
        assert golden["mel_lengths_t"]["shape"] == [document["point"]["config"]["bs"], 1]
        assert document["accuracy"]["state"] == "passed"
        assert set(document["processes"][0]["work"]["decoder_steps"]) == {STOP}


EVERY = ("force_float32", "force_float16", "qint8_mixed_float32")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("opset", [None, 13, 17])
def test_they_run_in_every_form_at_every_batch(
    backend: str, opset: int | None, exported: Path, tmp_path: Path
) -> None:
    """At the exporter's own opsets, and at those of later ones."""
    pytest.importorskip(backend)
    folder = exported
    if opset is not None:
        folder = tmp_path / "models"
        folder.mkdir()
        torch.manual_seed(4)
        exporter.export(folder, lively(), opset=opset)
    batches = [1, 4, 8] if opset is None else [4]
    words = (f"backend={backend}", f"bs={','.join(map(str, batches))}", f"quant={','.join(EVERY)}")
    done, found = measure(folder, *words, cwd=tmp_path)
    assert done.returncode in (0, 7), done.stdout + done.stderr  # half may be judged inaccurate
    names = "decoder_input, attention_hidden, attention_cell, decoder_hidden, decoder_cell"
    said = [line for line in done.stderr.splitlines() if "a dynamic batch axis" in line]
    assert len(said) == 1
    assert f"the body of its Loop declares a fixed batch for {names}" in said[0]
    assert len(found) == len(batches) * len(EVERY)
    for document in found:
        if document["status"]["state"] == "skipped":  # a processor without such kernels
            continue
        assert document["status"]["state"] == "ok", document["status"]["reason"]
        assert set(document["processes"][0]["work"]["decoder_steps"]) == {STOP}
        assert "dynamic-batch" in {one["code"] for one in document["warnings"]}
        assert "decoder_input" in document["models"]["decoder"]["loop_fixed"]
        assert document["models"]["decoder"]["source_path"] == str(folder / "decoder.onnx")
        effective = document["settings"]["effective"].values()
        assert [one["fallback"] for one in effective] == [None] * 3
        if document["point"]["config"]["quant"] == "force_float32":
            assert document["accuracy"]["state"] == "passed"


def test_the_files_as_they_are_run_at_every_batch_too(exported: Path, tmp_path: Path) -> None:
    done, found = measure(exported, "bs=1,4,8", "backend.graph=contract", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [one["accuracy"]["state"] for one in found] == ["passed"] * 3


def test_only_declarations_of_the_body_change(exported: Path) -> None:
    before, after = (onnx.load(exported / "decoder.onnx") for _ in range(2))
    batch.free(after)
    assert batch.fixed(before)
    assert batch.fixed(after) == ()
    onnx.checker.check_model(after, full_check=True)
    assert after.graph.input == before.graph.input
    bodies = [
        next(one.g for node in model.graph.node for one in node.attribute if one.name == "body")
        for model in (before, after)
    ]
    assert bodies[1].node == bodies[0].node
    assert bodies[1].initializer == bodies[0].initializer
    for value in (*bodies[1].input, *bodies[1].output):
        dims = value.type.tensor_type.shape.dim
        assert not dims or not dims[0].HasField("dim_value"), value.name
    widths = [value.type.tensor_type.shape.dim[1].dim_value for value in bodies[1].input[2:7]]
    assert widths == [TINY.mel, *[TINY.rnn] * 4]


def test_a_body_that_is_declared_as_it_is_called_is_left_alone(tiny: Path) -> None:
    assert batch.fixed(onnx.load(tiny / "decoder.onnx")) == ()
    found = supplied.check(tiny / "decoder.onnx", STAGES["decoder"])
    assert batch.FIXED not in found.as_model()


def test_files_that_draw_elsewhere_are_held_against_the_distance_between_seeds(
    exported: Path, tmp_path: Path
) -> None:
    _, (document,) = measure(exported, "quant=force_float16", cwd=tmp_path)
    figures = document["accuracy"]["figures"]
    assert figures["mel_db"]["between_seeds"] > 1.0
    assert figures["mel_db"]["limit"] == pytest.approx(1.5 * figures["mel_db"]["between_seeds"])


def test_the_single_step_with_a_fixed_batch_is_named_with_advice(
    exported: Path, tmp_path: Path
) -> None:
    done, _ = measure(exported, "bs=1,4,8", "backend=fake", cwd=tmp_path)
    said = [line for line in done.stderr.splitlines() if "decoder_iter.onnx" in line]
    assert len(said) == 2, done.stderr
    assert "the batch of decoder_input, attention_hidden" in said[0]
    assert "bs=4" in said[0]
    assert "exported again with a dynamic batch" in said[0]


def test_sequences_of_either_integer_type_are_taken(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "models")
    model = onnx.load(folder / "encoder.onnx")
    for value in model.graph.input:
        if value.name == "sequences":
            value.type.tensor_type.elem_type = onnx.TensorProto.INT32
    onnx.save(model, folder / "encoder.onnx")
    done, found = measure(folder, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert found[0]["status"]["state"] == "ok"


def test_a_loop_that_never_ends_meets_the_clock(endless: Path, tmp_path: Path) -> None:
    done, (document,) = measure(endless, "measure.loop_limit_s=8", cwd=tmp_path)
    assert done.returncode == 6
    assert document["status"]["state"] == "timeout"
    assert "the Loop of the decoder has no trip limit and may never end" in done.stdout
    assert "measure.loop_limit_s" in document["status"]["reason"]
    # Reading its precision back ended in time: only the pass on the real text met the limit.
    assert document["processes"][0]["compile_ns"] > 0


def test_no_frames_at_all_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    torch.manual_seed(4)
    exporter.export(folder, gate(Tacotron2(TINY).eval(), 99.0))
    done, (document,) = measure(folder, cwd=tmp_path)
    assert done.returncode == 6
    expected = "postnet: nothing to work on: every row of mel_outputs ended at its first step"
    assert document["status"]["reason"] == expected


def test_checkpoints_without_model_files_are_not_answered_with_synthetic_weights(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    torch.save({"state_dict": {}}, folder / "nvidia_tacotron2pyt_fp16_20190427")
    done, found = measure(folder, cwd=tmp_path)
    assert done.returncode == 2
    assert "holds checkpoints (nvidia_tacotron2pyt_fp16_20190427) but no model files" in done.stderr
    assert "python -m harness export" in done.stderr
    assert not found


def test_our_graph_and_the_exporters_agree_where_nothing_is_drawn(
    exported: Path, tmp_path: Path
) -> None:
    from harness.models.graphs import files  # noqa: PLC0415
    from harness.models.graphs.tacotron2 import DecodeLength, DropoutMask  # noqa: PLC0415
    from tests.harness.models.test_graphs import encoded, run  # noqa: PLC0415

    torch.manual_seed(4)
    network, vocoder = lively(), WaveGlow(TINY).eval()
    weights = {
        key: value.numpy()
        for module in (network, vocoder)
        for key, value in module.state_dict().items()
    }
    writers = {
        **files.tacotron2_files(
            weights, TINY, DecodeLength(50, from_text=False), DropoutMask.SHARED
        ),
        **files.waveglow_files(weights, TINY),
    }
    files.save(tmp_path, writers, {"harness.label": "test"}, lambda _: None)
    theirs, _ = encoded(exported, [16, 12, 3])
    ours, _ = encoded(tmp_path, [16, 12, 3])
    mel = np.random.default_rng(1).standard_normal((2, 80, 30)).astype("float32")
    noise = np.random.default_rng(2).standard_normal((2, 8, 32 * 30, 1)).astype("float32")
    for name, feeds in (
        ("postnet", {"mel_outputs": mel}),
        ("waveglow", {"mel": mel[..., None], "z": noise}),
    ):
        theirs |= run(exported / f"{name}.onnx", feeds)
        ours |= run(tmp_path / f"{name}.onnx", feeds)
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, atol=1e-4 * np.abs(value).max(), err_msg=key)


@pytest.mark.parametrize("name", STAGES)
def test_a_damaged_model_file_is_read_or_refused_in_one_line(
    name: str, exported: Path, tmp_path: Path
) -> None:
    from tests.harness.models.test_checkpoint import damaged  # noqa: PLC0415

    for one in exported.iterdir():
        shutil.copy(one, tmp_path)
    path = tmp_path / f"{name}.onnx"
    content, chance = path.read_bytes(), random.Random(name)  # noqa: S311
    before = sorted(one.name for one in tmp_path.iterdir())
    refused = 0
    for _ in range(125):
        path.write_bytes(damaged(content, chance))
        said = ""
        try:
            supplied.check(path, STAGES[name])
        except UsageError as error:
            said = str(error)
        assert "\n" not in said
        refused += bool(said)
    assert refused > 20
    assert sorted(one.name for one in tmp_path.iterdir()) == before


def test_the_exporters_files_count_as_ours_do(exported: Path, tmp_path: Path) -> None:
    synthetic.write(tmp_path, "tiny", 1234, lambda _: None)
    sizes = {"batch": 3, "text": 40, "frames": 64}
    for stage in STAGES.values():
        theirs, ours = (
            work.count(folder / stage.model, stage, sizes).total(steps=64)
            for folder in (exported, tmp_path)
        )
        assert theirs.macs == ours.macs
        assert theirs.activations == ours.activations
        # Its constants stand in the graph in other forms, by some vectors of a layer's width.
        assert theirs.weights == pytest.approx(ours.weights, rel=0.01)


def test_alignments_are_compared_where_the_file_gives_them(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    synthetic.write(folder, "tiny", 1234, lambda _: None)
    _, (without,) = measure(folder, cwd=tmp_path)
    assert without["accuracy"]["figures"]["alignment"]["value"] is None
    assert "no output 'alignments'" in without["accuracy"]["not_compared"]["alignment"]
    decoder = onnx.load(folder / "decoder.onnx")
    dims = ["steps", "batch_size", "seq_len"]
    decoder.graph.output.append(onnx.helper.make_tensor_value_info("alignments", 1, dims))
    onnx.save(decoder, folder / "decoder.onnx")
    again = tmp_path / "again"
    again.mkdir()
    done, (found,) = measure(folder, cwd=again)
    assert done.returncode == 0, done.stdout
    figure = found["accuracy"]["figures"]["alignment"]
    assert figure["value"] == pytest.approx(0.0, abs=1e-5)
    assert not found["accuracy"]["not_compared"]

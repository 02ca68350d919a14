"""Checkpoints of every kind become the same files; whatever is none is refused in one line."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from harness.errors import UsageError
from harness.models import checkpoint
from harness.models.sizes import FULL, TINY
from tests.torch_reference.tacotron2 import Tacotron2
from tests.torch_reference.waveglow import Coupling, WaveGlow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[torch]'")

NETWORKS: dict[str, Any] = {"tacotron2": Tacotron2, "waveglow": WaveGlow}


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """Torch warns about classes of its own where the legacy format is written."""
    import warnings  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def network(name: str, sizes: Any = TINY) -> Any:
    torch.manual_seed(3)
    return NETWORKS[name](sizes).eval()


def normed(module: Any, how: str) -> Any:
    """Put the weight norm on that the checkpoints are trained with."""
    old = torch.nn.utils.weight_norm
    add = old if how == "old" else torch.nn.utils.parametrizations.weight_norm
    for part in module.modules():
        if isinstance(part, Coupling):
            add(part.start)
            for layers in (part.in_layers, part.cond_layers, part.res_skip_layers):
                for layer in layers:
                    add(layer)
    return module


def saved(path: Path, content: Any, *, legacy: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def same(found: checkpoint.Checkpoint, module: Any, limit: float = 0.0) -> None:
    state = module.state_dict()
    assert set(found.weights) == {key for key in state if not key.endswith("num_batches_tracked")}
    for key, array in found.weights.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, state[key].float().numpy(), rtol=0, atol=limit)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "2019": lambda state: {"epoch": 1500, "config": {"n_symbols": 148}, "state_dict": state},
    "late 2019": lambda state: {
        "epoch": 1,
        "config": {},
        "state_dict": state,
        "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": []},
        "cuda_rng_state_all": [torch.zeros(8, dtype=torch.uint8)],
        "random_rng_state": torch.zeros(8, dtype=torch.uint8),
        "amp": {"loss_scaler0": {"loss_scale": 1024.0, "unskipped": 3}},
    },
    "2020": lambda state: {
        "state_dict": state,
        "random_rng_states_all": torch.zeros(2, 8, dtype=torch.uint8),
        "scaler": {"scale": 65536.0},
    },
    "bare": lambda state: state,
}


@pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layout_in_both_formats_is_read(
    name: str, layout: str, legacy: bool, tmp_path: Path
) -> None:
    module = network(name)
    path = saved(tmp_path / "file", LAYOUTS[layout](module.state_dict()), legacy=legacy)
    found = checkpoint.read(path, TINY)
    assert found.network == name
    same(found, module)


@pytest.mark.parametrize("prefix", ["module.", "module.1."])
def test_prefixes_of_parallel_training_are_dropped(prefix: str, tmp_path: Path) -> None:
    module = network("tacotron2")
    state = {prefix + key: value for key, value in module.state_dict().items()}
    same(checkpoint.read(saved(tmp_path / "file", {"state_dict": state}), TINY), module)


@pytest.mark.parametrize("how", ["old", "new"])
def test_weight_norm_is_removed_in_both_spellings(how: str, tmp_path: Path) -> None:
    plain = network("waveglow")
    state = normed(network("waveglow"), how).state_dict()
    for key in state:
        if key.endswith(("weight_g", "original0")):
            state[key] *= 1.5  # else length and norm cancel to the plain weight whatever is done
    trained = network("waveglow")
    for key, value in plain.state_dict().items():
        inside = key.startswith("WN.") and key.endswith("weight") and ".end." not in key
        trained.state_dict()[key].copy_(value * 1.5 if inside else value)
    assert any(("weight_g" if how == "old" else "parametrizations") in key for key in state)
    same(checkpoint.read(saved(tmp_path / "file", state), TINY), trained, limit=3e-7)


def test_half_tensors_are_widened_and_said(tmp_path: Path) -> None:
    module = network("tacotron2").half()
    module.postnet.float()
    found = checkpoint.read(saved(tmp_path / "file", module.state_dict()), TINY)
    same(found, module)
    assert set(found.dtypes) == {"float16", "float32"}
    assert "float16" in found.describe()
    assert "used as float32" in found.describe()


def test_views_into_one_storage_are_read_at_their_offset(tmp_path: Path) -> None:
    module = network("tacotron2")
    state = module.state_dict()
    names = [key for key in state if key.startswith("encoder.lstm")]
    flat = torch.cat([state[name].flatten() for name in names])
    start = 0
    for name in names:
        shape = state[name].shape
        state[name] = flat[start : start + shape.numel()].view(shape)
        start += shape.numel()
    same(checkpoint.read(saved(tmp_path / "file", state), TINY), module)


def test_the_width_of_waveglow_comes_from_the_tensors(tmp_path: Path) -> None:
    module = network("waveglow", replace(TINY, wn_channels=12))
    found = checkpoint.read(saved(tmp_path / "file", module.state_dict()), TINY)
    assert found.sizes.wn_channels == 12
    assert "12 channels" in found.describe()


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        checkpoint.read(path, TINY)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def spoilt(tmp_path: Path, name: str, change: Callable[[dict[str, Any]], None]) -> str:
    state = dict(network(name).state_dict())
    change(state)
    return refused(saved(tmp_path / "file", {"state_dict": state}))


GATE = "decoder.gate_layer.linear_layer.weight"


def test_missing_keys_are_named(tmp_path: Path) -> None:
    text = spoilt(tmp_path, "tacotron2", lambda state: state.pop(GATE))
    assert f"lacks {GATE}" in text


def test_extra_keys_are_named(tmp_path: Path) -> None:
    text = spoilt(tmp_path, "tacotron2", lambda state: state.update(gst=torch.zeros(1)))
    assert "has unknown gst" in text


def test_a_length_without_its_direction_is_named(tmp_path: Path) -> None:
    state = normed(network("waveglow"), "old").state_dict()
    del state["WN.3.start.weight_v"]
    text = refused(saved(tmp_path / "file", state))
    assert "lacks WN.3.start.weight and has unknown WN.3.start.weight_g" in text


def test_a_wrong_shape_names_stage_key_and_both_shapes(tmp_path: Path) -> None:
    text = spoilt(tmp_path, "tacotron2", lambda state: state.update({GATE: torch.zeros(1, 7)}))
    assert f"decoder: {GATE} has the shape [1, 7], the network [1, 32]" in text


def test_the_wrong_size_of_network_is_a_wrong_shape(tmp_path: Path) -> None:
    path = saved(tmp_path / "file", network("tacotron2").state_dict())
    with pytest.raises(UsageError, match=r"shape \[148, 16\], the network \[148, 512\]"):
        checkpoint.read(path, FULL)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.full((1, 32), float("nan")), "holds NaN or infinity"),
        (torch.zeros((1, 32), dtype=torch.int64), "is int64; float16 and float32 are read"),
        ("a word", "an object of type str where a tensor is due"),
    ],
)
def test_a_value_that_is_no_weight_is_named(value: Any, said: str, tmp_path: Path) -> None:
    assert said in spoilt(tmp_path, "tacotron2", lambda state: state.update({GATE: value}))


def test_a_matrix_without_an_inverse_is_named(tmp_path: Path) -> None:
    key = "convinv.2.conv.weight"
    text = spoilt(tmp_path, "waveglow", lambda state: state.update({key: torch.ones(8, 8, 1)}))
    assert f"{key} is a matrix that has no inverse" in text


def test_the_other_family_of_waveglow_is_named(tmp_path: Path) -> None:
    def fuse(state: dict[str, Any]) -> None:
        for key in [key for key in state if "cond_layers" in key]:
            del state[key]
        state["WN.0.cond_layer.weight"] = torch.zeros(64, 640, 1)

    assert "another family (one fused cond_layer" in spoilt(tmp_path, "waveglow", fuse)


def test_another_networks_tensors_are_named(tmp_path: Path) -> None:
    text = refused(saved(tmp_path / "file", {"layer.weight": torch.zeros(2)}))
    assert "neither Tacotron 2 nor WaveGlow" in text
    assert "layer.weight" in text


class Trap:
    """Leaves a file behind when it is unpickled by anything that runs what it reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "zip"])
def test_code_in_a_file_is_never_run(legacy: bool, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    state = dict(network("tacotron2").state_dict())
    path = saved(tmp_path / "file", {"state_dict": state, "extra": Trap(trap)}, legacy=legacy)
    text = refused(path)
    assert "holds more than tensors" in text
    assert "nothing of it was executed" in text
    assert not trap.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    assert "holds more than tensors" in refused(
        saved(tmp_path / "file", {"model": torch.nn.Linear(2, 2)})
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"<html>sign in</html>", "no torch checkpoint (they begin with b'<htm')"),
        (pickle.dumps([1, 2], protocol=2), "torch cannot read"),
        (b"PK\x03\x04 and nothing more", "torch cannot read"),
    ],
)
def test_another_kind_of_file_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert said in refused(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in refused(tmp_path / "nowhere")


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few changed, a piece lost, doubled or zeroed."""
    content = bytearray(whole)
    kind = chance.randrange(4)
    # Where a format keeps its structure: mostly at the two ends, where damage tells.
    span = chance.choice([64, 4096, len(content)])
    start = chance.randrange(min(span, len(content)))
    place = start if chance.random() < 0.7 else len(content) - 1 - start
    if kind == 0:
        for _ in range(chance.randrange(1, 9)):
            content[(place + chance.randrange(64)) % len(content)] = chance.randrange(256)
    elif kind == 1:
        del content[place:]
    elif kind == 2:
        del content[place : place + chance.randrange(1, 64)]
    else:
        content[place:place] = content[place : place + chance.randrange(1, 64)]
    return bytes(content)


@pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "zip"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_damaged_checkpoint_is_read_or_refused_in_one_line(
    name: str, legacy: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    whole = saved(folder / "file", {"state_dict": network(name).state_dict()}, legacy=legacy)
    content, chance = whole.read_bytes(), random.Random(f"{name} {legacy}")  # noqa: S311
    outcomes = {"read": 0, "refused": 0}
    for _ in range(125):
        whole.write_bytes(damaged(content, chance))
        said = ""
        try:
            checkpoint.read(whole, TINY)
        except UsageError as error:
            said = str(error)
        assert "\n" not in said
        outcomes["refused" if said else "read"] += 1
    assert outcomes["refused"] > 60, outcomes
    assert [path.name for path in tmp_path.rglob("*")] == ["input", "file"]


def export(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "export", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Return a folder with a legacy checkpoint of each network."""
    for name in NETWORKS:
        state = LAYOUTS["2019"](network(name).state_dict())
        saved(tmp_path / f"{name}.pt", state)
    return tmp_path


def test_the_command_writes_the_files_and_says_what_it_found(pair: Path) -> None:
    done = export("checkpoint=tacotron2.pt,waveglow.pt", "model=tiny", "max_steps=60", cwd=pair)
    assert done.returncode == 0, done.stderr
    names = ["decoder.onnx", "decoder_iter.onnx", "encoder.onnx", "postnet.onnx", "waveglow.onnx"]
    assert sorted(path.name for path in (pair / "models").iterdir()) == names
    assert done.stdout.split() == [f"models/{name}" for name in [*names]]
    assert "tacotron2.pt: tacotron2; tensors: 76 float32; used as float32" in done.stderr
    about = {one.key: one.value for one in onnx.load(pair / "models/decoder.onnx").metadata_props}
    assert about["harness.weights"] == "checkpoint"
    assert about["harness.label"] == "checkpoint tacotron2.pt"
    assert about["harness.decode_length"] == "gate, at most 60"
    assert len(about["harness.checkpoint_sha256"]) == 64


def test_files_that_are_there_stay_unless_told_otherwise(pair: Path) -> None:
    words = ("checkpoint=waveglow.pt", "model=tiny")
    assert export(*words, cwd=pair).returncode == 0
    again = export(*words, cwd=pair)
    assert again.returncode == 2
    assert "models holds waveglow.onnx already" in again.stderr
    assert export(*words, "overwrite=true", cwd=pair).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("checkpoint=waveglow.pt,waveglow.pt", "model=tiny"), "one checkpoint of each network"),
        (("checkpoint=waveglow.pt", "sigma=1"), "unknown key 'sigma'"),
        (("checkpoint=waveglow.pt", "max_steps=0"), "max_steps=0"),
        ((), "neither models/nvidia_tacotron2pyt_fp16_20190427 nor"),
    ],
)
def test_wrong_words_are_refused_in_one_line(words: tuple[str, ...], said: str, pair: Path) -> None:
    done = export(*words, cwd=pair)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (pair / "models").exists()


def test_what_was_fetched_is_exported_without_naming_it(pair: Path) -> None:
    (pair / "models").mkdir()
    (pair / "tacotron2.pt").rename(pair / "models/nvidia_tacotron2pyt_fp16_20190427")
    assert export("model=tiny", cwd=pair).returncode == 0
    assert (pair / "models/decoder.onnx").exists()


def test_a_refused_checkpoint_leaves_nothing_behind(pair: Path) -> None:
    (pair / "waveglow.pt").write_bytes(b"text")
    done = export("checkpoint=tacotron2.pt,waveglow.pt", "model=tiny", cwd=pair)
    assert done.returncode == 2
    assert not (pair / "models").exists()


@pytest.mark.slow
def test_a_full_size_pair_goes_through_export_sweep_and_report(tmp_path: Path) -> None:
    acoustic = network("tacotron2", FULL)
    torch.nn.init.constant_(acoustic.decoder.gate_layer.linear_layer.bias, -9.0)
    for name, module in (
        ("tacotron2.pt", acoustic),
        ("waveglow.pt", normed(network("waveglow", FULL), "old")),
    ):
        saved(tmp_path / name, {"epoch": 1, "config": {}, "state_dict": module.state_dict()})
    done = export("checkpoint=tacotron2.pt,waveglow.pt", "max_steps=40", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "harness", "models_dir=models", "waveglow=true", "il=4", "wav=true",
         "num_iters=1", "warmup_iters=0", "measure.min_processes=1", "measure.max_processes=1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "outputs").iterdir()
    label = "checkpoint tacotron2.pt; checkpoint waveglow.pt"
    assert label in done.stdout
    page = (folder / "report.html").read_text().replace("<wbr>", "")
    assert label in page
    (path,) = folder.glob("points/*/*.json")
    document = json.loads(path.read_text())
    assert document["weights"] == {"kind": "checkpoint", "seed": None, "label": label}
    assert document["accuracy"]["state"] == "passed"
    assert "ran into its limit of 40 steps" in str(document["warnings"])
    assert len(document["wav"]["files"]) == 1

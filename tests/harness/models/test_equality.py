"""Our ONNX graphs are the original networks: they agree with the torch reference.

Every figure is the largest difference over the largest value of the reference, in float32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest

from harness.models.graphs import tacotron2 as graphs
from harness.models.graphs.tacotron2 import STATES, DecodeLength, DropoutMask
from harness.models.graphs.waveglow import waveglow
from harness.models.sizes import FULL, TINY, Sizes
from harness.models.tacotron2 import build
from harness.models.weights import SyntheticWeights
from tests.torch_reference.tacotron2 import Tacotron2
from tests.torch_reference.waveglow import WaveGlow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.models.graphs.builder import GraphBuilder


torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[torch]'")

LIMIT = 1e-4
STEPS = 200
SMALL = replace(
    TINY, encoder=32, rnn=64, prenet=32, attention=16, wn_layers=3, wn_channels=8, upsample_groups=1
)
"""The tiny sizes with full connections everywhere."""

cases = pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        pytest.param(SMALL, [4], id="small-b1-il4"),
        pytest.param(SMALL, [64], id="small-b1-il64"),
        pytest.param(SMALL, [128, 100, 4], id="small-b3-il128"),
        pytest.param(SMALL, [256, 255, 200, 128, 64, 31, 5, 4], id="small-b8-il256"),
        pytest.param(FULL, [4], marks=pytest.mark.slow, id="full-b1-il4"),
        pytest.param(FULL, [64, 50, 4], marks=pytest.mark.slow, id="full-b3-il64"),
        pytest.param(FULL, [128], marks=pytest.mark.slow, id="full-b1-il128"),
        pytest.param(
            FULL,
            [256, 255, 200, 128, 64, 31, 5, 4],
            marks=pytest.mark.slow,
            id="full-b8-il256",
        ),
    ],
)


def difference(ours: Any, theirs: Any) -> float:
    theirs = np.asarray(theirs)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def run(builder: GraphBuilder, feeds: Mapping[str, Any]) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        builder.model({}).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def arrays(module: Any) -> dict[str, Any]:
    return {key: value.numpy() for key, value in module.state_dict().items()}


def stir(module: Any, seed: int) -> None:
    """Move the batch norms away from the identity they start as."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in module.state_dict().items():
        if key.endswith(("running_mean", "running_var")):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif key.endswith((".1.weight", ".1.bias")):
            value.add_(0.2 * torch.randn(value.shape, generator=generator))


def acoustic(sizes: Sizes, kind: str) -> tuple[Any, Mapping[str, Any]]:
    torch.manual_seed(11)
    module = Tacotron2(sizes).eval()
    if kind == "torch":
        stir(module, 5)
        return module, arrays(module)
    weights = SyntheticWeights(sizes, 11)
    keys = [key for key in module.state_dict() if not key.endswith("num_batches_tracked")]
    state = {key: torch.from_numpy(weights[key]) for key in keys}
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    return module, weights


def batch(lengths: list[int]) -> tuple[Any, Any, Any]:
    """Return ids, lengths and the padding mask."""
    longest, random = max(lengths), np.random.default_rng(3)
    ids = random.integers(1, 148, (len(lengths), longest))
    mask = np.arange(longest)[None, :] >= np.array(lengths)[:, None]
    ids[mask] = 0
    return ids, np.array(lengths, np.int32), mask


def masks(sizes: Sizes, steps: int, rows: int) -> Any:
    return np.random.default_rng(9).integers(0, 2, (steps, 2, rows, sizes.prenet)).astype("float32")


def encoded(module: Any, lengths: list[int]) -> tuple[Any, Any, Any]:
    ids, counts, mask = batch(lengths)
    memory, processed = module.encode(torch.from_numpy(ids), torch.from_numpy(counts))
    return memory, processed, torch.from_numpy(mask)


def fed(memory: Any, processed: Any, mask: Any) -> dict[str, Any]:
    return {"memory": memory.numpy(), "processed_memory": processed.numpy(), "mask": mask.numpy()}


def zero_states(module: Any, memory: Any, suffix: str) -> dict[str, Any]:
    start = module.decoder.start(memory)
    return {f"{name}{suffix}": getattr(start, name).numpy() for name in STATES}


@pytest.mark.parametrize("kind", ["synthetic", "torch"])
@cases
def test_the_encoder_agrees(sizes: Sizes, lengths: list[int], kind: str) -> None:
    module, weights = acoustic(sizes, kind)
    ids, counts, _ = batch(lengths)
    with torch.no_grad():
        memory, processed, _ = encoded(module, lengths)
    found = run(graphs.encoder(weights, sizes), {"sequences": ids, "sequence_lengths": counts})
    assert difference(found["memory"], memory) <= LIMIT
    assert difference(found["processed_memory"], processed) <= LIMIT


@pytest.mark.parametrize("rows", ["shared", "per_row"])
@pytest.mark.parametrize("kind", ["synthetic", "torch"])
@cases
def test_two_hundred_decoder_steps_agree(
    sizes: Sizes, lengths: list[int], kind: str, rows: str
) -> None:
    module, weights = acoustic(sizes, kind)
    weights = {**weights, "decoder.gate_layer.linear_layer.bias": np.array([-99], np.float32)}
    with torch.no_grad():
        memory, processed, mask = encoded(module, lengths)
        keep = masks(sizes, STEPS, 1 if rows == "shared" else len(lengths))
        steps = module.decoder.steps(memory, processed, mask, torch.from_numpy(keep))
        frames = torch.stack([frame for frame, _, _ in steps], 2)
    graph = graphs.decoder(weights, sizes, DecodeLength(STEPS, from_text=False), DropoutMask.INPUT)
    feeds = fed(memory, processed, mask) | zero_states(module, memory, "_0")
    found = run(graph, {**feeds, "prenet_keep": keep})
    assert difference(found["mel_outputs"], frames) <= LIMIT
    assert found["mel_lengths_t"].ravel().tolist() == [STEPS] * len(lengths)


@cases
def test_every_output_of_a_single_step_agrees(sizes: Sizes, lengths: list[int]) -> None:
    module, weights = acoustic(sizes, "torch")
    keep = masks(sizes, 3, len(lengths))
    with torch.no_grad():
        memory, processed, mask = encoded(module, lengths)
        steps = list(module.decoder.steps(memory, processed, mask, torch.from_numpy(keep)))
    before, (frame, gate, after) = steps[1][2], steps[2]
    feeds = fed(memory, processed, mask) | {name: getattr(before, name).numpy() for name in STATES}
    graph = graphs.decoder_iter(weights, sizes, DropoutMask.INPUT)
    found = run(graph, {**feeds, "prenet_keep": keep[2]})
    assert difference(found["decoder_output"], frame) <= LIMIT
    assert difference(found["gate_prediction"], gate) <= LIMIT
    for name in STATES[1:]:
        assert difference(found[f"out_{name}"], getattr(after, name)) <= LIMIT, name


APART = 30.0
"""How much the rows' texts are scaled apart."""


def gate_that_fires_at(module: Any, feeds: tuple[Any, ...], keep: Any, steps: list[int]) -> None:
    """Set the gate's weights so that row i's logit turns positive at its step, and not before.

    The gate feeds nothing back, so what it sees does not depend on it: least squares finds it.
    """
    state, seen, wanted = module.decoder.start(feeds[0]), [], []
    for number, mask_of_step in enumerate(keep, 1):
        joined, rest = module.decoder.joined(state, *feeds, mask_of_step)
        state = rest._replace(decoder_input=module.decoder.linear_projection(joined))
        for row, last in enumerate(steps):
            if number <= last:
                seen.append(joined[row])
                wanted.append(1.0 if number == last else -1.0)
    inputs = torch.cat([torch.stack(seen), torch.ones(len(seen), 1)], 1).double()
    solved = torch.linalg.lstsq(inputs, torch.tensor(wanted).double(), driver="gelsd").solution
    layer = module.decoder.gate_layer.linear_layer
    layer.weight.copy_(solved[None, :-1])
    layer.bias.copy_(solved[-1:])


@pytest.mark.parametrize(
    ("lengths", "steps"),
    [
        ([16], [1]),
        ([16], [23]),
        ([16, 12, 9], [5, 40, 17]),
        ([16, 12, 9], [1, 1, 1]),
        ([20, 19, 18, 9, 8, 7, 5, 4], [3, 8, 1, 30, 29, 2, 16, 30]),
    ],
)
def test_lengths_and_stop_step_are_exact_when_the_gate_fires(
    lengths: list[int], steps: list[int]
) -> None:
    sizes = replace(SMALL, rnn=256)
    module, _ = acoustic(sizes, "torch")
    keep = masks(sizes, STEPS, len(lengths))
    with torch.no_grad():
        memory, processed, mask = encoded(module, lengths)
        # Rows that are nearly alike at their first step would need weights of millions to be told
        # apart, which turn the last bit of what the gate sees, another on each processor, into a
        # stop.
        memory = memory * torch.linspace(APART, -APART, len(lengths))[:, None, None]
        drawn = torch.from_numpy(keep)
        gate_that_fires_at(module, (memory, processed, mask), drawn, steps)
        decoded = module.decode(memory, processed, mask, drawn)
    for row, last in enumerate(steps):
        assert (decoded.gates[row, :last].abs() > 0.5).all(), "a gate too near to call"
    expected = [step - 1 for step in steps]
    assert decoded.lengths.tolist() == expected
    weights = arrays(module)
    graph = graphs.decoder(weights, sizes, DecodeLength(STEPS, from_text=False), DropoutMask.INPUT)
    feeds = fed(memory, processed, mask) | zero_states(module, memory, "_0")
    found = run(graph, {**feeds, "prenet_keep": keep})
    assert found["mel_lengths_t"].tolist() == [[one] for one in expected]
    assert found["mel_outputs"].shape[2] == max(steps)
    assert difference(found["mel_outputs"], decoded.mel) <= LIMIT


@pytest.mark.parametrize("kind", ["synthetic", "torch"])
@pytest.mark.parametrize(
    ("sizes", "rows", "frames"),
    [
        (SMALL, 1, 1),
        (SMALL, 3, 50),
        pytest.param(FULL, 1, 200, marks=pytest.mark.slow),
        pytest.param(FULL, 8, 40, marks=pytest.mark.slow),
    ],
)
def test_the_postnet_agrees(sizes: Sizes, rows: int, frames: int, kind: str) -> None:
    module, weights = acoustic(sizes, kind)
    shape = (rows, sizes.mel, frames)
    mel = np.random.default_rng(2).standard_normal(shape).astype("float32")
    with torch.no_grad():
        refined = module.postnet(torch.from_numpy(mel))
    found = run(graphs.postnet(weights, sizes), {"mel_outputs": mel})
    assert difference(found["mel_outputs_postnet"], refined) <= LIMIT


@pytest.mark.parametrize("kind", ["synthetic", "torch"])
@pytest.mark.parametrize(
    ("sizes", "rows", "frames"),
    [
        (SMALL, 1, 1),
        (SMALL, 3, 20),
        (TINY, 2, 20),
        pytest.param(FULL, 1, 40, marks=pytest.mark.slow),
        pytest.param(FULL, 3, 12, marks=pytest.mark.slow),
        pytest.param(replace(FULL, wn_channels=512), 1, 8, marks=pytest.mark.slow),
    ],
)
def test_waveglow_agrees(sizes: Sizes, rows: int, frames: int, kind: str) -> None:
    torch.manual_seed(7)
    module, weights = WaveGlow(sizes).eval(), SyntheticWeights(sizes, 7)
    if kind == "synthetic":
        state = {key: torch.from_numpy(weights[key]) for key in module.state_dict()}
        module.load_state_dict(state, strict=True)
    found = run(
        waveglow(weights if kind == "synthetic" else arrays(module), sizes),
        feeds := noise(sizes, rows, frames),
    )
    with torch.no_grad():
        mel, z = (torch.from_numpy(feeds[name][..., 0]) for name in ("mel", "z"))
        audio = module(mel, z, (0.9, 1.0))
    assert found["audio"].shape == (rows, 256 * frames)
    assert difference(found["audio"], audio) <= LIMIT


@pytest.mark.parametrize("sigma", [0.0, 0.6, 1.0])
def test_sigma_is_the_same_on_every_channel_whatever_the_graph_does(sigma: float) -> None:
    torch.manual_seed(7)
    module = WaveGlow(SMALL).eval()
    feeds = noise(SMALL, 2, 8)
    (stage,) = [one for one in build("tiny", sigma=sigma).stages if one.name == "waveglow"]
    (scales,) = [step.args["scales"] for step in stage.glue if step.op == "normal"]
    scaled = feeds["z"] * np.array(scales, np.float32)[:, None, None]
    found = run(waveglow(arrays(module), SMALL), {"mel": feeds["mel"], "z": scaled})
    with torch.no_grad():
        mel, z = (torch.from_numpy(feeds[name][..., 0]) for name in ("mel", "z"))
        audio = module(mel, z, (sigma, sigma))
    assert difference(found["audio"], audio) <= LIMIT


def noise(sizes: Sizes, rows: int, frames: int) -> dict[str, Any]:
    random = np.random.default_rng(4)
    shapes: Iterable[tuple[str, int]] = (("mel", frames), ("z", 32 * frames))
    return {
        name: random.standard_normal(
            (rows, sizes.mel if name == "mel" else sizes.groups, long, 1)
        ).astype("float32")
        for name, long in shapes
    }

"""The weights: how many, and that full-size models built of them stay finite and unsaturated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest

from harness.models import synthetic, text
from harness.models.sizes import FULL
from harness.models.weights import BUFFERS, SyntheticWeights, tacotron2_shapes, waveglow_shapes

if TYPE_CHECKING:
    from pathlib import Path


def parameters(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(int(np.prod(s)) for key, s in shapes.items() if not key.endswith(BUFFERS))


def test_the_full_networks_have_the_published_numbers_of_parameters() -> None:
    assert parameters(tacotron2_shapes(FULL)) == 28_193_153
    assert parameters(waveglow_shapes(FULL)) == 87_731_816


def test_an_array_depends_on_its_key_and_seed_alone() -> None:
    key = "decoder.gate_layer.linear_layer.weight"
    weights = SyntheticWeights(FULL, 5)
    first = weights[key]
    _ = weights["embedding.weight"]
    np.testing.assert_array_equal(weights[key], first)
    np.testing.assert_array_equal(SyntheticWeights(FULL, 5)[key], first)
    assert not np.array_equal(SyntheticWeights(FULL, 6)[key], first)


@pytest.mark.slow
def test_at_full_size_608_steps_and_the_vocoder_stay_finite_and_unsaturated(tmp_path: Path) -> None:
    synthetic.write(tmp_path, "full", 1234, lambda _: None)

    def session(name: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        path = str(tmp_path / f"{name}.onnx")
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    batch = text.benchmark_batch(128, 1)
    lengths = batch.lengths.astype(np.int32)
    names = ["memory", "processed_memory"]
    feeds = {"sequences": batch.ids.astype(np.int64), "sequence_lengths": lengths}
    memory, processed = session("encoder").run(names, feeds)
    widths = {
        "decoder_input": 80, "attention_hidden": 1024, "attention_cell": 1024,
        "decoder_hidden": 1024, "decoder_cell": 1024, "attention_weights": 128,
        "attention_weights_cum": 128, "attention_context": 512,
    }  # fmt: skip
    states = {f"{name}_0": np.zeros((1, size), np.float32) for name, size in widths.items()}
    mask = np.zeros((1, 128), bool)
    (mel,) = session("decoder").run(
        ["mel_outputs"], {**states, "memory": memory, "processed_memory": processed, "mask": mask}
    )
    assert mel.shape == (1, 80, 608)
    (after,) = session("postnet").run(["mel_outputs_postnet"], {"mel_outputs": mel})
    for one in (mel, after):
        assert np.isfinite(one).all()
        assert 0.05 < float(one.std()) < 2.0
        assert float(np.abs(one).max()) < 10.0
    # Alive to the end: the last frames still move.
    assert float(np.diff(mel[0, :, -50:], axis=1).std()) > 1e-3
    noise = np.random.default_rng(1).standard_normal((1, 8, 32 * 100, 1)).astype(np.float32)
    (audio,) = session("waveglow").run(["audio"], {"mel": after[:, :, :100, None], "z": noise})
    assert audio.shape == (1, 25_600)
    assert np.isfinite(audio).all()
    assert 0.02 < float(audio.std()) < 1.0
    assert float(np.abs(audio).max()) < 5.0

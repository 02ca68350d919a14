"""Tacotron 2 and WaveGlow as a pipeline: encoder -> decoder -> postnet -> waveglow.

Names, dtypes, ranks and order are those of the files NVIDIA's TensorRT 22.03 exporter writes
(NVIDIA/TensorRT, demo/Tacotron2/tensorrt), so that an existing models_dir runs unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.models.pipeline import (
    AudioFormat,
    Glue,
    Items,
    Loop,
    Pipeline,
    Size,
    SizeRange,
    Stage,
    TensorSpec,
)
from harness.models.sizes import BY_NAME, FIRST_SIGMA

HOP_SAMPLES = 256
SAMPLING_RATE_HZ = 22_050
GROUPS_PER_FRAME = 32
"""WaveGlow works on groups of 8 samples: 256 / 8 groups per mel frame."""
NOISE_CHANNELS = 8
FIRST_CHANNELS = 4
"""Noise channels the flows start from; the others come in later."""
MEL_CHANNELS = 80
MAX_FRAMES = 1664
"""Largest mel length the original builds its engines for; our decoder loop stops there."""


@dataclass(frozen=True)
class Widths:
    """Layer widths that appear in the tensors handed between stages."""

    encoder: int = 512
    attention: int = 128
    rnn: int = 1024
    mel: int = MEL_CHANNELS


def pipeline(
    widths: Widths | None = None, *, max_steps: int = MAX_FRAMES, sigma: float | None = None
) -> Pipeline:
    """Return the pipeline for the given widths (full size by default).

    Args:
        widths: of the tensors between stages.
        max_steps: most decoder steps.
        sigma: standard deviation of the vocoder's noise on all channels; None feeds unit noise,
            which the graph makes 0.9 on the first channels and leaves at 1 on the others.
    """
    w = widths or Widths()
    memory = (
        TensorSpec("memory", ("batch", "text", w.encoder)),
        TensorSpec("processed_memory", ("batch", "text", w.attention)),
    )
    mask = TensorSpec("mask", ("batch", "text"), "bool")
    states: tuple[tuple[str, Size], ...] = (
        ("decoder_input_0", w.mel),
        ("attention_hidden_0", w.rnn),
        ("attention_cell_0", w.rnn),
        ("decoder_hidden_0", w.rnn),
        ("decoder_cell_0", w.rnn),
        ("attention_weights_0", "text"),
        ("attention_weights_cum_0", "text"),
        ("attention_context_0", w.encoder),
    )
    zeros = tuple(TensorSpec(name, ("batch", width)) for name, width in states)
    cropped = TensorSpec("mel_outputs", ("batch", w.mel, "frames"))
    postnet_mel = TensorSpec("mel_outputs_postnet", ("batch", w.mel, "frames"))
    mel = TensorSpec("mel", ("batch", w.mel, "frames", 1))
    noise = TensorSpec("z", ("batch", NOISE_CHANNELS, ("frames", GROUPS_PER_FRAME), 1))
    return Pipeline(
        name="tacotron2",
        inputs=(
            TensorSpec("sequences", ("batch", "text"), "int64"),
            TensorSpec("sequence_lengths", ("batch",), "int32"),
        ),
        stages=(
            Stage(
                name="encoder",
                model="encoder.onnx",
                inputs=(
                    TensorSpec("sequences", ("batch", "text"), "int64"),
                    TensorSpec("sequence_lengths", ("batch",), "int32"),
                ),
                outputs=(*memory, TensorSpec("lens", ("batch",), "int32")),
                produces="characters",
            ),
            Stage(
                name="decoder",
                model="decoder.onnx",
                inputs=(*zeros, *memory, mask),
                outputs=(
                    TensorSpec("mel_outputs", ("batch", w.mel, "steps")),
                    TensorSpec("mel_lengths_t", ("batch", 1), "int32"),
                ),
                produces="mel_frames",
                glue=(
                    *(Glue("zeros", spec) for spec in zeros),
                    Glue("padding_mask", mask, {"lengths": "sequence_lengths"}),
                ),
                loop=Loop("decoder_iter.onnx", "steps", max_steps),
            ),
            Stage(
                name="postnet",
                model="postnet.onnx",
                inputs=(cropped,),
                outputs=(postnet_mel,),
                produces="mel_frames",
                glue=(
                    Glue(
                        "crop",
                        cropped,
                        {"tensor": "mel_outputs", "axis": 2, "lengths": "mel_lengths_t"},
                    ),
                ),
            ),
            Stage(
                name="waveglow",
                model="waveglow.onnx",
                inputs=(mel, noise),
                outputs=(TensorSpec("audio", ("batch", ("frames", HOP_SAMPLES))),),
                produces="audio_samples",
                glue=(
                    Glue("unsqueeze", mel, {"tensor": "mel_outputs_postnet", "axis": 3}),
                    Glue("normal", noise, _noise(sigma)),
                ),
            ),
        ),
        items=(
            Items("characters", "characters", ("batch", "text"), "sequence_lengths"),
            Items("mel_frames", "mel frames", ("batch", "frames"), "mel_lengths_t"),
            Items(
                "audio_samples",
                "audio samples",
                ("batch", "frames", HOP_SAMPLES),
                "mel_lengths_t",
                HOP_SAMPLES,
            ),
        ),
        sizes={
            "batch": SizeRange(1, 4, 8),
            "text": SizeRange(4, 128, 256),
            "frames": SizeRange(32, 768, MAX_FRAMES),
        },
        audio=AudioFormat(SAMPLING_RATE_HZ, HOP_SAMPLES),
        vocoder="waveglow",
    )


def _noise(sigma: float | None) -> dict[str, list[float]]:
    if sigma is None:
        return {}
    later = NOISE_CHANNELS - FIRST_CHANNELS
    return {"scales": [sigma / FIRST_SIGMA] * FIRST_CHANNELS + [sigma] * later}


def build(model: str, *, sigma: float | None = None) -> Pipeline:
    """Return the pipeline of a model size: "full" or "tiny".

    Raises:
        KeyError: there is no such size.
    """
    sizes = BY_NAME[model]
    return pipeline(
        Widths(encoder=sizes.encoder, attention=sizes.attention, rnn=sizes.rnn, mel=sizes.mel),
        sigma=sigma,
    )

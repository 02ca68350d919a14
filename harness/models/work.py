"""How much each stage has to do: weights read and operations, counted from the layer sizes.

An operation is a multiplication or an addition of a matrix product or convolution; activation
functions, biases and the movement of activations are left out, so the counts are the least that the
contract's graphs (`graphs/`) ask for. A weight is counted every time it has to be read anew: once
in a pass, but for a recurrent layer, whose weights are read once in each of its steps.

E, A, P, R, M stand for the widths of encoder, attention, prenet, LSTMs and mel; k for a kernel.

    encoder   convs E E k; both LSTMs' input 4 E E; memory A E; per symbol
              both LSTMs' recurrent 2 E E; per symbol, read in each step of the text
    decoder   prenet M P + P P; LSTMs 4 R (P + E + R) and 4 R (R + E + R); query R A;
              mel and gate (R + E) (M + 1); per step and row, read in each step
              location 2 L k + L A, energy A, context E (not a weight); per step and symbol
    postnet   M N k, N N k, ..., N M k; per frame
    waveglow  upsampling M M k / groups; per frame
              each flow's start, in, cond, res/skip, end and 1x1 layers; per group of samples
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.models.sizes import Sizes

PER_TERM = 2
"""Operations of each term of a product: a multiplication and an addition."""


@dataclass(frozen=True)
class Part:
    """Weights that lie together and are read together, and what is computed in one iteration."""

    weights: int
    """Elements read at a time: the working set."""
    reads: float
    """How often they are read."""
    operations: float


def stage(name: str, sizes: Sizes, counts: Mapping[str, float]) -> tuple[Part, ...]:
    """Return what a stage does in one iteration.

    Args:
        name: encoder, decoder, postnet or waveglow.
        sizes: of the layers.
        counts: work counts of an iteration, padded, as result files hold them.

    Raises:
        KeyError: no such stage, or a count is missing.
    """
    return STAGES[name](sizes, counts)


def _encoder(s: Sizes, counts: Mapping[str, float]) -> tuple[Part, ...]:
    symbols = counts["characters_padded"]
    steps = symbols / counts["utterances"]
    once = s.encoder_convs * s.encoder**2 * s.encoder_kernel
    once += 4 * s.encoder**2 + s.encoder * s.attention
    recurrent = 2 * s.encoder**2
    return (
        Part(once, 1, PER_TERM * symbols * once),
        Part(recurrent, steps, PER_TERM * symbols * recurrent),
    )


def _decoder(s: Sizes, counts: Mapping[str, float]) -> tuple[Part, ...]:
    steps, rows, symbols = (
        counts[name] for name in ("decoder_steps", "utterances", "characters_padded")
    )
    dense = s.mel * s.prenet + s.prenet**2
    dense += 4 * s.rnn * (s.prenet + s.encoder + s.rnn)
    dense += 4 * s.rnn * (s.rnn + s.encoder + s.rnn)
    dense += s.rnn * s.attention + (s.rnn + s.encoder) * (s.mel + 1)
    along = 2 * s.location_filters * s.location_kernel
    along += s.location_filters * s.attention + s.attention
    terms = rows * dense + symbols * (along + s.encoder)
    return (Part(dense + along, steps, PER_TERM * steps * terms),)


def _postnet(s: Sizes, counts: Mapping[str, float]) -> tuple[Part, ...]:
    inner = (s.postnet_convs - 2) * s.postnet**2
    weights = s.postnet_kernel * (2 * s.mel * s.postnet + inner)
    return (Part(weights, 1, PER_TERM * counts["mel_frames_padded"] * weights),)


def _waveglow(s: Sizes, counts: Mapping[str, float]) -> tuple[Part, ...]:
    frames = counts["mel_frames_padded"]
    up = s.mel * s.mel * s.upsample_kernel // s.upsample_groups
    flows = sum(_flow(s, flow) for flow in range(s.flows))
    groups = frames * s.upsample_stride / s.groups
    return (Part(up + flows, 1, PER_TERM * (frames * up + groups * flows)),)


def _flow(s: Sizes, flow: int) -> int:
    """Return the weights of one flow; each is used once for every group of samples."""
    channels, wide = s.channels(flow), s.wn_channels
    layer = 2 * wide * wide * s.wn_kernel + 2 * wide * s.mel * s.groups
    skips = 2 * wide * wide * (s.wn_layers - 1) + wide * wide
    return (
        channels // 2 * wide
        + s.wn_layers * layer
        + skips
        + wide * channels
        + channels**2
    )  # fmt: skip


STAGES = {"encoder": _encoder, "decoder": _decoder, "postnet": _postnet, "waveglow": _waveglow}

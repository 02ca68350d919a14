"""Seeded synthetic weights, under the key names and shapes of NVIDIA's checkpoints.

The keys are those of the `state_dict` of the two networks (WaveGlow without weight norm), so
arrays read from a checkpoint and arrays made here build the same graphs.

Each array is drawn from a generator of its own, seeded with (seed, key): its values depend
neither on the order in which arrays are asked for nor on the others, and only what a file needs
is ever made. The gains keep 608 decoder steps and WaveGlow finite and unsaturated, the
recurrences contracting (a rounding error dies out instead of growing from step to step), and the
attention neither flat nor stuck on one symbol.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from harness.models.sizes import Sizes


Array: TypeAlias = NDArray[np.float32]
Shape: TypeAlias = tuple[int, ...]
Weights: TypeAlias = Mapping[str, Array]

BUFFERS = ("running_mean", "running_var")
"""Suffixes of keys that are statistics of a batch norm, not parameters."""

GATE_BIAS = -6.0
"""Keeps the stop gate shut: synthetic weights decode a length computed from the text."""

RULES: tuple[tuple[str, float, float], ...] = (
    # key (a regular expression), gain over 1/sqrt(fan in), mean
    (r"convolutions\.\d+\.1\.(weight|running_var)", 0.1, 1.0),
    (r"running_mean", 0.1, 0.0),
    (r"weight_hh", 0.6, 0.0),
    (r"lstm\.weight_ih", 3.0, 0.0),
    (r"rnn\.weight_ih", 1.5, 0.0),
    (r"(memory|query)_layer", 3.0, 0.0),
    (r"attention_layer\.v\.", 5.0, 0.0),
    (r"location_conv", 0.2, 0.0),
    (r"linear_projection.*weight", 5.0, 0.0),
    (r"gate_layer.*bias", 0.0, GATE_BIAS),
    (r"gate_layer.*weight", 0.5, 0.0),
    (r"prenet", 1.5, 0.0),
    (r"WN\.\d+\.in_layers\.\d+\.weight", 0.7, 0.0),
    (r"WN\.\d+\.cond_layers\.\d+\.weight", 0.7, 0.0),
    (r"WN\.\d+\.end\.weight", 0.1, 0.0),
    (r"bias", 0.05, 0.0),
    (r"", 1.0, 0.0),
)
"""The first rule whose expression is found in a key gives its spread and its mean."""

LOG_SCALE = 0.5
"""Mean of WaveGlow's log scale: each flow shrinks half of its channels, as a trained one does,
which takes unit noise down to the loudness of speech."""


def tacotron2_shapes(sizes: Sizes) -> dict[str, Shape]:
    """Return key and shape of every array of Tacotron 2, batch-norm statistics included."""
    s = sizes
    shapes: dict[str, Shape] = {"embedding.weight": (s.symbols, s.encoder)}
    for i in range(s.encoder_convs):
        shapes |= _conv_norm(f"encoder.convolutions.{i}", s.encoder, s.encoder, s.encoder_kernel)
    for direction in ("", "_reverse"):
        shapes |= _lstm("encoder.lstm.", f"_l0{direction}", s.encoder, s.encoder // 2)
    shapes |= {
        "decoder.prenet.layers.0.linear_layer.weight": (s.prenet, s.mel),
        "decoder.prenet.layers.1.linear_layer.weight": (s.prenet, s.prenet),
        **_lstm("decoder.attention_rnn.", "", s.prenet + s.encoder, s.rnn),
    }
    attention = "decoder.attention_layer."
    shapes |= {
        f"{attention}query_layer.linear_layer.weight": (s.attention, s.rnn),
        f"{attention}memory_layer.linear_layer.weight": (s.attention, s.encoder),
        f"{attention}v.linear_layer.weight": (1, s.attention),
        f"{attention}location_layer.location_conv.conv.weight": (
            s.location_filters,
            2,
            s.location_kernel,
        ),
        f"{attention}location_layer.location_dense.linear_layer.weight": (
            s.attention,
            s.location_filters,
        ),
    }
    joined = s.rnn + s.encoder
    shapes |= {
        **_lstm("decoder.decoder_rnn.", "", joined, s.rnn),
        "decoder.linear_projection.linear_layer.weight": (s.mel, joined),
        "decoder.linear_projection.linear_layer.bias": (s.mel,),
        "decoder.gate_layer.linear_layer.weight": (1, joined),
        "decoder.gate_layer.linear_layer.bias": (1,),
    }
    widths = [s.mel, *[s.postnet] * (s.postnet_convs - 1), s.mel]
    for i in range(s.postnet_convs):
        shapes |= _conv_norm(
            f"postnet.convolutions.{i}", widths[i + 1], widths[i], s.postnet_kernel
        )
    return shapes


def waveglow_shapes(sizes: Sizes) -> dict[str, Shape]:
    """Return key and shape of every array of WaveGlow without weight norm."""
    s, n = sizes, sizes.wn_channels
    shapes: dict[str, Shape] = {
        "upsample.weight": (s.mel, s.mel // s.upsample_groups, s.upsample_kernel),
        "upsample.bias": (s.mel,),
    }
    for flow in range(s.flows):
        channels = s.channels(flow)
        shapes |= _conv(f"WN.{flow}.start", n, channels // 2, 1)
        for i in range(s.wn_layers):
            out = n if i == s.wn_layers - 1 else 2 * n
            shapes |= _conv(f"WN.{flow}.in_layers.{i}", 2 * n, n, s.wn_kernel)
            shapes |= _conv(f"WN.{flow}.cond_layers.{i}", 2 * n, s.mel * s.groups, 1)
            shapes |= _conv(f"WN.{flow}.res_skip_layers.{i}", out, n, 1)
        shapes |= _conv(f"WN.{flow}.end", channels, n, 1)
        shapes[f"convinv.{flow}.conv.weight"] = (channels, channels, 1)
    return shapes


def parameter_count(shapes: Mapping[str, Shape]) -> int:
    """Return the number of trainable parameters (statistics of batch norms are none)."""
    return sum(math.prod(shape) for key, shape in shapes.items() if not key.endswith(BUFFERS))


class SyntheticWeights(Mapping[str, Array]):
    """Arrays made when they are asked for, from a seed."""

    def __init__(self, sizes: Sizes, seed: int) -> None:
        self._shapes = tacotron2_shapes(sizes) | waveglow_shapes(sizes)
        self._stride = sizes.upsample_stride
        self._seed = seed

    def __getitem__(self, key: str) -> Array:
        shape = self._shapes[key]
        random = np.random.Generator(np.random.SFC64([self._seed, *key.encode()]))
        if key.startswith("convinv"):
            return _rotation(random, shape)
        gain, mean = next((g, m) for pattern, g, m in RULES if re.search(pattern, key))
        array = random.random(shape, dtype=np.float32)
        array -= np.float32(0.5)
        # A uniform variable of width w has standard deviation w / sqrt(12).
        array *= np.float32(gain * math.sqrt(12.0 / self._fan_in(key, shape)))
        array += np.float32(mean)
        if re.search(r"WN\.\d+\.end\.bias", key):
            array[len(array) // 2 :] += np.float32(LOG_SCALE)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def _fan_in(self, key: str, shape: Shape) -> float:
        if key == "embedding.weight":
            return 1.0
        if key == "upsample.weight":
            # (in, out / groups, kernel): kernel / stride taps of every input of the group overlap.
            return max(1.0, shape[1] * shape[2] / self._stride)
        return float(math.prod(shape[1:]))


def _rotation(random: np.random.Generator, shape: Shape) -> Array:
    """Return a random orthogonal matrix: inverting it neither grows nor shrinks the audio."""
    q, r = np.linalg.qr(random.standard_normal(shape[:2]))
    return np.asarray(q * np.sign(np.diag(r)), dtype=np.float32)[..., np.newaxis]


def _conv(key: str, out: int, channels: int, kernel: int) -> dict[str, Shape]:
    return {f"{key}.weight": (out, channels, kernel), f"{key}.bias": (out,)}


def _conv_norm(key: str, out: int, channels: int, kernel: int) -> dict[str, Shape]:
    norm = {f"{key}.1.{part}": (out,) for part in ("weight", "bias", *BUFFERS)}
    return {**_conv(f"{key}.0.conv", out, channels, kernel), **norm}


def _lstm(prefix: str, suffix: str, inputs: int, hidden: int) -> dict[str, Shape]:
    return {
        f"{prefix}weight_ih{suffix}": (4 * hidden, inputs),
        f"{prefix}weight_hh{suffix}": (4 * hidden, hidden),
        f"{prefix}bias_ih{suffix}": (4 * hidden,),
        f"{prefix}bias_hh{suffix}": (4 * hidden,),
    }

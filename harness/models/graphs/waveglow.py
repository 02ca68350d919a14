"""WaveGlow as an ONNX graph: mel frames and noise to audio.

Tensors at the border carry a trailing axis of size 1, as in the exporter's file. Inside, positions
lie along the last axis, (batch, channels, 1, positions): the same bytes, and the layout for which
runtimes have fast convolutions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.models.graphs.builder import GraphBuilder
from harness.models.sizes import FIRST_SIGMA

if TYPE_CHECKING:
    from harness.models.sizes import Sizes
    from harness.models.weights import Array, Weights


BATCH = "batch_size"
SIGMA = FIRST_SIGMA
"""What the exporter bakes in; it scales the first noise channels only, not the early outputs."""


def waveglow(weights: Weights, sizes: Sizes) -> GraphBuilder:
    """Return the graph from mel (batch, 80, frames, 1) and unit noise z to audio."""
    b = GraphBuilder("waveglow")
    b.input("mel", "float32", (BATCH, sizes.mel, "mel_seq", 1))
    b.input("z", "float32", (BATCH, sizes.groups, "z_seq", 1))
    cond = _conditioning(b, weights, sizes)
    noise = b.op("Transpose", "z", perm=[0, 1, 3, 2])
    pieces = _noise_channels(sizes)
    names = [f"noise_{i}" for i in range(len(pieces))]
    first, *early = b.ops("Split", [noise], names, axis=1, split=pieces)
    state = b.op("Mul", first, b.scalar(SIGMA))
    for flow in reversed(range(sizes.flows)):
        state = _flow(b, weights, sizes, flow=flow, state=state, cond=cond)
        if flow and flow % sizes.early_every == 0:
            state = b.op("Concat", early.pop(0), state, axis=1)
    by_position = b.op("Transpose", state, perm=[0, 2, 3, 1])  # (batch, 1, positions, groups)
    b.op("Reshape", by_position, b.ints(0, -1), out="audio")
    b.output("audio", "float32", (BATCH, "audio_seq"))
    return b


def _noise_channels(sizes: Sizes) -> list[int]:
    """Return how z is cut: the first state, then what each early output takes back."""
    first = sizes.channels(sizes.flows - 1)
    inserts = (sizes.groups - first) // sizes.early_size
    return [first, *[sizes.early_size] * inserts]


def _conditioning(b: GraphBuilder, weights: Weights, sizes: Sizes) -> str:
    """Upsample mel to the audio's rate and fold `groups` samples into the channels.

    The result is (batch, mel * groups, 1, positions), its channel mel * groups + phase.
    """
    up = b.op(
        "ConvTranspose",
        b.op("Transpose", "mel", perm=[0, 1, 3, 2]),
        b.weight("upsample.weight", weights["upsample.weight"][:, :, np.newaxis]),
        b.weight("upsample.bias", weights["upsample.bias"]),
        kernel_shape=[1, sizes.upsample_kernel],
        strides=[1, sizes.upsample_stride],
        group=sizes.upsample_groups,
    )
    # (frames - 1) * stride + kernel samples: what is beyond frames * stride is cut off.
    surplus = sizes.upsample_kernel - sizes.upsample_stride
    up = b.op("Slice", up, b.ints(0), b.ints(-surplus), b.ints(3))
    up = b.op("Reshape", up, b.ints(0, sizes.mel, -1, sizes.groups))
    up = b.op("Transpose", up, perm=[0, 1, 3, 2])  # (batch, mel, groups, positions)
    return b.op("Reshape", up, b.ints(0, sizes.mel * sizes.groups, 1, -1))


def _flow(
    b: GraphBuilder, weights: Weights, sizes: Sizes, *, flow: int, state: str, cond: str
) -> str:
    """Undo one flow: affine coupling, then the inverse of its 1x1 convolution."""
    half = sizes.channels(flow) // 2
    kept, changed = _halves(b, state, half, f"flow_{flow}_state")
    out = _wavenet(b, weights, sizes, flow=flow, x=kept, cond=cond)
    shift, log_scale = _halves(b, out, half, f"flow_{flow}_affine")
    changed = b.op("Div", b.op("Sub", changed, shift), b.op("Exp", log_scale))
    state = b.op("Concat", kept, changed, axis=1)
    key = f"convinv.{flow}.conv"
    inverse = np.linalg.inv(weights[f"{key}.weight"][:, :, 0])
    return b.op("Conv", state, b.weight(f"{key}.inverse", inverse[:, :, np.newaxis, np.newaxis]))


def _wavenet(
    b: GraphBuilder, weights: Weights, sizes: Sizes, *, flow: int, x: str, cond: str
) -> str:
    """Return shift and log scale (batch, 2 * half, 1, positions) from half of the state."""
    key, n = f"WN.{flow}", sizes.wn_channels
    hidden = _conv(b, weights, f"{key}.start", x)
    skip = ""
    for i in range(sizes.wn_layers):
        gate = b.op(
            "Add",
            _conv(b, weights, f"{key}.in_layers.{i}", hidden, dilation=2**i),
            _conv(b, weights, f"{key}.cond_layers.{i}", cond),
        )
        tanh, sigmoid = _halves(b, gate, n, f"flow_{flow}_gate_{i}")
        acts = b.op("Mul", b.op("Tanh", tanh), b.op("Sigmoid", sigmoid))
        passed = _conv(b, weights, f"{key}.res_skip_layers.{i}", acts)
        if i < sizes.wn_layers - 1:
            residual, passed = _halves(b, passed, n, f"flow_{flow}_res_skip_{i}")
            hidden = b.op("Add", hidden, residual)
        skip = b.op("Add", skip, passed) if skip else passed
    return _conv(b, weights, f"{key}.end", skip)


def _halves(b: GraphBuilder, x: str, size: int, name: str) -> tuple[str, str]:
    """Cut the channels in two."""
    first, second = b.ops("Split", [x], [f"{name}_0", f"{name}_1"], axis=1, split=[size, size])
    return first, second


def _conv(b: GraphBuilder, weights: Weights, key: str, x: str, dilation: int = 1) -> str:
    """Apply a convolution over positions that keeps their number."""
    weight: Array = weights[f"{key}.weight"]
    reach = dilation * (weight.shape[2] // 2)
    return b.op(
        "Conv",
        x,
        b.weight(f"{key}.weight", weight[:, :, np.newaxis]),
        b.weight(f"{key}.bias", weights[f"{key}.bias"]),
        kernel_shape=[1, weight.shape[2]],
        dilations=[1, dilation],
        pads=[0, reach, 0, reach],
    )

"""WaveGlow's inference as ONNX: mel and unit noise -> audio.

Two-dimensional convolutions with a trailing axis of 1, as NVIDIA's exporter writes them
(NVIDIA/TensorRT 22.03, demo/Tacotron2/tensorrt/convert_waveglow2onnx.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.models.graphs.builder import Graph, value

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from harness.models.sizes import Sizes
    from harness.models.weights import Weights

SIGMA = 0.9
"""Scales the first noise channels only, as the exporter leaves it; later channels stay unit."""


def _conv(
    g: Graph, state: Weights, source: str, key: str, *, kernel: int = 1, dilation: int = 1
) -> str:
    weight, bias = state[f"{key}.weight"], state[f"{key}.bias"]
    pad = dilation * (kernel - 1) // 2
    return g.add(
        "Conv",
        source,
        g.constant(f"{key}.weight", weight[..., None]),
        g.constant(f"{key}.bias", bias),
        kernel_shape=[kernel, 1],
        dilations=[dilation, 1],
        pads=[pad, 0, pad, 0],
    )


def _conditioning(g: Graph, state: Weights, sizes: Sizes) -> str:
    """Upsample the mel to samples and fold groups of 8 into channels: mel x 8 + phase."""
    tail = sizes.upsample_kernel - sizes.upsample_stride
    up = g.add(
        "ConvTranspose",
        "mel",
        g.constant("upsample.weight", state["upsample.weight"][..., None]),
        g.constant("upsample.bias", state["upsample.bias"]),
        group=sizes.upsample_groups,
        kernel_shape=[sizes.upsample_kernel, 1],
        strides=[sizes.upsample_stride, 1],
        # Cropping the tail by padding gives exactly hop samples per frame.
        pads=[0, 0, tail, 0],
    )
    grouped = g.constant("grouped", [0, sizes.mel, -1, sizes.groups], np.int64)
    folded = g.constant("folded", [0, sizes.mel * sizes.groups, -1, 1], np.int64)
    up = g.add("Transpose", g.add("Reshape", up, grouped), perm=[0, 1, 3, 2])
    return g.add("Reshape", up, folded)


def _wavenet(g: Graph, state: Weights, sizes: Sizes, key: str, sources: tuple[str, str]) -> str:
    """Add one flow's network: (audio half, conditioning) -> bias and log scale, stacked."""
    n = sizes.wn_channels
    source, cond = sources
    hidden = _conv(g, state, source, f"{key}.start")
    skip = ""
    for i in range(sizes.wn_layers):
        inner = _conv(
            g, state, hidden, f"{key}.in_layers.{i}", kernel=sizes.wn_kernel, dilation=2**i
        )
        inner = g.add("Add", inner, _conv(g, state, cond, f"{key}.cond_layers.{i}"))
        left, right = g.split(inner, [n, n], 1)
        gated = g.add("Mul", g.add("Tanh", left), g.add("Sigmoid", right))
        out = _conv(g, state, gated, f"{key}.res_skip_layers.{i}")
        if i < sizes.wn_layers - 1:
            residual, out = g.split(out, [n, n], 1)
            hidden = g.add("Add", hidden, residual)
        skip = g.add("Add", skip, out) if skip else out
    return _conv(g, state, skip, f"{key}.end")


def waveglow(state: Weights, sizes: Sizes, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Write the vocoder: mel (batch, mel, frames, 1), z (batch, 8, 32 frames, 1) -> audio."""
    g = Graph("waveglow")
    cond = _conditioning(g, state, sizes)
    early = sizes.early_size
    inserts = (sizes.flows - 1) // sizes.early_every
    first = sizes.groups - inserts * early
    noise = g.split("z", [first, *[early] * inserts], 1)
    audio = g.add("Mul", noise.pop(0), g.constant("sigma", SIGMA))
    for k in reversed(range(sizes.flows)):
        half = sizes.channels(k) // 2
        a0, a1 = g.split(audio, [half, half], 1)
        bias, log_scale = g.split(_wavenet(g, state, sizes, f"WN.{k}", (a0, cond)), [half, half], 1)
        a1 = g.add("Div", g.add("Sub", a1, bias), g.add("Exp", log_scale))
        weight = state[f"convinv.{k}.conv.weight"][:, :, 0]
        inverse = np.linalg.inv(weight).astype(np.float32)[..., None, None]
        audio = g.add(
            "Conv",
            g.add("Concat", a0, a1, axis=1),
            g.constant(f"convinv.{k}.inverse", inverse),
            kernel_shape=[1, 1],
        )
        if k % sizes.early_every == 0 and k > 0:
            audio = g.add("Concat", noise.pop(0), audio, axis=1)
    audio = g.add("Transpose", g.add("Squeeze", audio, axes=[3]), perm=[0, 2, 1])
    g.add("Reshape", audio, g.constant("flat", [0, -1], np.int64), name="audio")
    return g.model(
        [
            value("mel", ["batch_size", sizes.mel, "mel_seq", 1]),
            value("z", ["batch_size", sizes.groups, "z_seq", 1]),
        ],
        [value("audio", ["batch_size", "audio_seq"])],
        metadata,
    )

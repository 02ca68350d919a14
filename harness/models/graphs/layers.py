"""PyTorch's parameters as ONNX operators want them: folded, permuted, transposed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from harness.models.graphs.builder import GraphBuilder
    from harness.models.weights import Array, Weights


NORM_EPSILON = 1e-5


def conv_norm(weights: Weights, key: str) -> tuple[Array, Array]:
    """Return weight and bias of a convolution with its batch norm (evaluation mode) folded in."""
    scale = weights[f"{key}.1.weight"] / np.sqrt(
        weights[f"{key}.1.running_var"].astype(np.float64) + NORM_EPSILON
    )
    weight = weights[f"{key}.0.conv.weight"] * scale[:, np.newaxis, np.newaxis]
    shifted = weights[f"{key}.0.conv.bias"] - weights[f"{key}.1.running_mean"]
    bias = shifted * scale + weights[f"{key}.1.bias"]
    return weight.astype(np.float32), bias.astype(np.float32)


def gates(array: Array) -> Array:
    """Reorder the four row blocks of an LSTM parameter from PyTorch's i,f,g,o to ONNX's i,o,f,c."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])


def lstm(
    b: GraphBuilder, weights: Weights, prefix: str, suffixes: tuple[str, ...]
) -> tuple[str, str, str]:
    """Add the W, R and B of an ONNX LSTM with one direction for each suffix."""
    name = prefix.removesuffix(".")
    w = np.stack([gates(weights[f"{prefix}weight_ih{end}"]) for end in suffixes])
    r = np.stack([gates(weights[f"{prefix}weight_hh{end}"]) for end in suffixes])
    bias = np.stack(
        [
            np.concatenate([gates(weights[f"{prefix}bias_{kind}{end}"]) for kind in ("ih", "hh")])
            for end in suffixes
        ]
    )
    return b.weight(f"{name}.W", w), b.weight(f"{name}.R", r), b.weight(f"{name}.B", bias)


def linear(b: GraphBuilder, weights: Weights, key: str, x: str, out: str | None = None) -> str:
    """Apply a linear layer without bias to the last axis of `x`."""
    weight = b.weight(f"{key}.weight", weights[f"{key}.linear_layer.weight"].T)
    return b.op("MatMul", x, weight, out=out)


def affine(b: GraphBuilder, weights: Weights, key: str, x: str, out: str) -> str:
    """Apply a linear layer with bias to `x` of two axes."""
    weight = b.weight(f"{key}.weight", weights[f"{key}.linear_layer.weight"])
    bias = b.weight(f"{key}.bias", weights[f"{key}.linear_layer.bias"])
    return b.op("Gemm", x, weight, bias, out=out, transB=1)


def conv_norm_1d(b: GraphBuilder, weights: Weights, key: str, x: str) -> str:
    """Apply a folded convolution over the last axis that keeps the length."""
    weight, bias = conv_norm(weights, key)
    kernel = weight.shape[2]
    return b.op(
        "Conv",
        x,
        b.weight(f"{key}.weight", weight),
        b.weight(f"{key}.bias", bias),
        kernel_shape=[kernel],
        pads=[kernel // 2, kernel // 2],
    )

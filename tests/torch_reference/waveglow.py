"""WaveGlow at inference: mel frames and noise to audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from harness.models.sizes import Sizes


class Coupling(nn.Module):
    """The WaveNet of one flow: half of the state and the conditioning to shift and log scale."""

    def __init__(self, sizes: Sizes, half: int) -> None:
        super().__init__()
        n, last, reach = sizes.wn_channels, sizes.wn_layers - 1, sizes.wn_kernel // 2
        self.start = nn.Conv1d(half, n, 1)
        self.in_layers = nn.ModuleList(
            nn.Conv1d(n, 2 * n, sizes.wn_kernel, dilation=2**i, padding=reach * 2**i)
            for i in range(sizes.wn_layers)
        )
        self.cond_layers = nn.ModuleList(
            nn.Conv1d(sizes.mel * sizes.groups, 2 * n, 1) for _ in range(sizes.wn_layers)
        )
        self.res_skip_layers = nn.ModuleList(
            nn.Conv1d(n, n if i == last else 2 * n, 1) for i in range(sizes.wn_layers)
        )
        self.end = nn.Conv1d(n, 2 * half, 1)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        hidden = self.start(x)
        n = hidden.shape[1]
        skips = []
        layers = zip(self.in_layers, self.cond_layers, self.res_skip_layers, strict=True)
        for inner, condition, res_skip in layers:
            gate = inner(hidden) + condition(cond)
            made = res_skip(torch.tanh(gate[:, :n]) * torch.sigmoid(gate[:, n:]))
            if made.shape[1] > n:
                hidden = hidden + made[:, :n]
            skips.append(made[:, -n:])
        return self.end(torch.stack(skips).sum(0))


class Mixing(nn.Module):
    """The invertible 1x1 convolution; `forward` applies its inverse."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 1, bias=False)
        with torch.no_grad():
            nn.init.orthogonal_(self.conv.weight[:, :, 0])

    def forward(self, state: Tensor) -> Tensor:
        return torch.linalg.solve(self.conv.weight[:, :, 0], state)


class WaveGlow(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.upsample = nn.ConvTranspose1d(
            sizes.mel,
            sizes.mel,
            sizes.upsample_kernel,
            stride=sizes.upsample_stride,
            groups=sizes.upsample_groups,
        )
        channels = [sizes.channels(flow) for flow in range(sizes.flows)]
        self.WN = nn.ModuleList(Coupling(sizes, one // 2) for one in channels)
        self.convinv = nn.ModuleList(Mixing(one) for one in channels)

    def condition(self, mel: Tensor) -> Tensor:
        """(batch, mel, frames) -> (batch, mel * groups, positions), by mel first, then phase."""
        sizes = self.sizes
        samples = self.upsample(mel)[:, :, : mel.shape[2] * sizes.upsample_stride]
        folded = samples.reshape(
            *mel.shape[:2], -1, sizes.groups
        )  # (batch, mel, positions, groups)
        return folded.transpose(2, 3).flatten(1, 2)

    def forward(self, mel: Tensor, z: Tensor, sigmas: tuple[float, float]) -> Tensor:
        """Return audio (batch, samples).

        Args:
            mel: (batch, mel, frames).
            z: unit noise (batch, groups, positions): the first state, then what comes back later.
            sigmas: standard deviation of the first state, and of what comes back.
        """
        cond = self.condition(mel)
        first = self.sizes.channels(self.sizes.flows - 1)
        state, later = sigmas[0] * z[:, :first], sigmas[1] * z[:, first:]
        for flow in range(self.sizes.flows - 1, -1, -1):
            half = state.shape[1] // 2
            made = self.WN[flow](state[:, :half], cond)
            changed = (state[:, half:] - made[:, :half]) * torch.exp(-made[:, half:])
            state = self.convinv[flow](torch.cat([state[:, :half], changed], 1))
            if flow and flow % self.sizes.early_every == 0:
                size = self.sizes.early_size
                state, later = torch.cat([later[:, :size], state], 1), later[:, size:]
        return state.transpose(1, 2).flatten(1)

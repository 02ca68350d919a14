"""The layer sizes of Tacotron 2 and WaveGlow: NVIDIA's, and a tiny set with the same graphs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


FIRST_SIGMA = 0.9
"""What the exporter bakes into WaveGlow's graph: a factor of the first noise channels alone."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of every layer; the defaults are NVIDIA's (NVIDIA/TensorRT 22.03, demo/Tacotron2)."""

    symbols: int = 148
    encoder: int = 512
    """Width of the embedding, of the encoder's convolutions and of its output."""
    encoder_convs: int = 3
    encoder_kernel: int = 5
    attention: int = 128
    location_filters: int = 32
    location_kernel: int = 31
    prenet: int = 256
    rnn: int = 1024
    """Hidden units of the attention LSTM and of the decoder LSTM."""
    mel: int = 80
    postnet: int = 512
    postnet_convs: int = 5
    postnet_kernel: int = 5
    flows: int = 12
    groups: int = 8
    """Audio samples WaveGlow treats as the channels of one position."""
    early_every: int = 4
    early_size: int = 2
    wn_layers: int = 8
    wn_channels: int = 256
    wn_kernel: int = 3
    upsample_kernel: int = 1024
    upsample_stride: int = 256
    upsample_groups: int = 1
    """Groups of the transposed convolution; more than one only makes a small model smaller."""

    def channels(self, flow: int) -> int:
        """Return the channels of the audio state inside `flow` (8, 6 or 4 at full size)."""
        return self.groups - self.early_size * (flow // self.early_every)

    def as_dict(self) -> dict[str, int]:
        """Return the sizes by name."""
        return asdict(self)


FULL = Sizes()

TINY = Sizes(
    encoder=16,
    attention=8,
    location_filters=4,
    prenet=16,
    rnn=16,
    postnet=16,
    wn_layers=2,
    wn_channels=4,
    upsample_kernel=512,
    upsample_groups=80,
)

BY_NAME: Mapping[str, Sizes] = {"full": FULL, "tiny": TINY}


def named(name: str) -> Sizes:
    """Return the sizes called `name`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in BY_NAME:
        raise UsageError(f"model={name}: no such model; choose one of {', '.join(BY_NAME)}")
    return BY_NAME[name]

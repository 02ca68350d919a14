"""Tacotron 2 at inference: encoder, attention decoder, postnet."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.models.sizes import Sizes


STOP = 0.5


class Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(inputs, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_layer(x)


class Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def conv_norm(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(Conv(inputs, outputs, kernel), nn.BatchNorm1d(outputs))


class Encoder(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.encoder
        self.convolutions = nn.ModuleList(
            conv_norm(width, width, sizes.encoder_kernel) for _ in range(sizes.encoder_convs)
        )
        self.lstm = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """(batch, text, width), longest row first -> (batch, text, width)."""
        x = embedded.transpose(1, 2)
        for convolution in self.convolutions:
            x = functional.relu(convolution(x))
        packed = nn.utils.rnn.pack_padded_sequence(x.transpose(1, 2), lengths, batch_first=True)
        memory, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return memory


class Prenet(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Linear(inputs, sizes.prenet) for inputs in (sizes.mel, sizes.prenet)
        )

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Dropout stays on at inference: `keep` (2, rows, width) is 1 where a value stays.

        Without it, a mask common to all rows is drawn for each layer, as the exporter does.
        """
        for place, layer in enumerate(self.layers):
            x = functional.relu(layer(x))
            if keep is None:
                drawn = torch.le(torch.rand(int(x.shape[1])), STOP).to(x.dtype)
                x = x * drawn.expand(x.size(0), x.size(1)) * 2.0
            else:
                x = x * keep[place] * 2.0
        return x


class Location(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.location_conv = Conv(2, sizes.location_filters, sizes.location_kernel, bias=False)
        self.location_dense = Linear(sizes.location_filters, sizes.attention)

    def forward(self, history: Tensor) -> Tensor:
        return self.location_dense(self.location_conv(history).transpose(1, 2))


class Attention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.query_layer = Linear(sizes.rnn, sizes.attention)
        self.memory_layer = Linear(sizes.encoder, sizes.attention)
        self.v = Linear(sizes.attention, 1)
        self.location_layer = Location(sizes)

    def forward(self, query: Tensor, history: Tensor, processed: Tensor, mask: Tensor) -> Tensor:
        """Return the attention weights (batch, text)."""
        hidden = self.query_layer(query).unsqueeze(1) + self.location_layer(history) + processed
        energies = self.v(torch.tanh(hidden)).squeeze(2)
        return torch.softmax(energies.masked_fill(mask, float("-inf")), dim=1)


class State(NamedTuple):
    """What a step hands to the next, in the contract's order."""

    decoder_input: Tensor
    attention_hidden: Tensor
    attention_cell: Tensor
    decoder_hidden: Tensor
    decoder_cell: Tensor
    attention_weights: Tensor
    attention_weights_cum: Tensor
    attention_context: Tensor


class Decoder(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        joined = sizes.rnn + sizes.encoder
        self.prenet = Prenet(sizes)
        self.attention_rnn = nn.LSTMCell(sizes.prenet + sizes.encoder, sizes.rnn)
        self.attention_layer = Attention(sizes)
        self.decoder_rnn = nn.LSTMCell(joined, sizes.rnn)
        self.linear_projection = Linear(joined, sizes.mel, bias=True)
        self.gate_layer = Linear(joined, 1, bias=True)

    def start(self, memory: Tensor) -> State:
        rows, text, width = memory.shape
        rnn = self.sizes.rnn
        widths = (self.sizes.mel, rnn, rnn, rnn, rnn, text, text, width)
        return State._make(torch.zeros(rows, one) for one in widths)

    def joined(
        self, state: State, memory: Tensor, processed: Tensor, mask: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return what frame and gate are computed from, and the state without the new frame."""
        x = torch.cat([self.prenet(state.decoder_input, keep), state.attention_context], 1)
        hidden, cell = self.attention_rnn(x, (state.attention_hidden, state.attention_cell))
        history = torch.stack([state.attention_weights, state.attention_weights_cum], 1)
        weights = self.attention_layer(hidden, history, processed, mask)
        context = torch.bmm(weights.unsqueeze(1), memory).squeeze(1)
        last, last_cell = self.decoder_rnn(
            torch.cat([hidden, context], 1), (state.decoder_hidden, state.decoder_cell)
        )
        total = state.attention_weights_cum + weights
        rest = State(state.decoder_input, hidden, cell, last, last_cell, weights, total, context)
        return torch.cat([last, context], 1), rest

    def forward(
        self, state: State, memory: Tensor, processed: Tensor, mask: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        """One step: frame (batch, mel), gate logit (batch, 1), next state."""
        joined, rest = self.joined(state, memory, processed, mask, keep)
        frame = self.linear_projection(joined)
        return frame, self.gate_layer(joined), rest._replace(decoder_input=frame)

    def steps(
        self, memory: Tensor, processed: Tensor, mask: Tensor, keep: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, State]]:
        """Yield step after step, as many as `keep` (steps, 2, rows, width) has masks for."""
        state = self.start(memory)
        for mask_of_step in keep:
            frame, gate, state = self(state, memory, processed, mask, mask_of_step)
            yield frame, gate, state


class Postnet(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        widths = [sizes.mel, *[sizes.postnet] * (sizes.postnet_convs - 1), sizes.mel]
        self.convolutions = nn.ModuleList(
            conv_norm(inputs, outputs, sizes.postnet_kernel) for inputs, outputs in pairwise(widths)
        )

    def forward(self, mel: Tensor) -> Tensor:
        x = mel
        for convolution in self.convolutions[:-1]:
            x = torch.tanh(convolution(x))
        return mel + self.convolutions[-1](x)


class Decoded(NamedTuple):
    """What the decoder made: frames (batch, mel, steps), lengths (batch,), gate logits."""

    mel: Tensor
    lengths: Tensor
    gates: Tensor


class Tacotron2(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Embedding(sizes.symbols, sizes.encoder)
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)
        self.postnet = Postnet(sizes)

    def encode(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return memory (batch, text, encoder) and processed memory (batch, text, attention)."""
        memory = self.encoder(self.embedding(ids), lengths)
        return memory, self.decoder.attention_layer.memory_layer(memory)

    def decode(self, memory: Tensor, processed: Tensor, mask: Tensor, keep: Tensor) -> Decoded:
        """Decode until every row's gate has fired, or the masks are used up."""
        alive = torch.ones(len(memory), dtype=torch.bool)
        lengths = torch.zeros(len(memory), dtype=torch.int64)
        frames, gates = [], []
        for frame, gate, _ in self.decoder.steps(memory, processed, mask, keep):
            frames.append(frame)
            gates.append(gate)
            alive = alive & (torch.sigmoid(gate[:, 0]) < STOP)
            lengths = lengths + alive
            if not alive.any():
                break
        return Decoded(torch.stack(frames, 2), lengths, torch.stack(gates, 2)[:, 0])

"""Networks that read an image as a sequence: recurrent ones and transformers, with or without normalisation.

Every operation is a primitive one or a normalisation layer, so second derivatives exist: attention is written out and not torch's
fused kernel.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from bntheory.bridge.networks.builder import Builder


def image_sequence(images: Tensor, rows: int) -> Tensor:
    """(N, C, H, W) -> (N, H/rows, C*rows*W): an image from top to bottom, ``rows`` rows at a time."""
    n, channels, height, width = images.shape
    cut = images.reshape(n, channels, height // rows, rows, width)
    return cut.movedim(2, 1).reshape(n, height // rows, channels * rows * width)


class StepNorm(nn.Module):
    """Normalisation of a recurrent layer: each time step has a layer, hence statistics, of its own; gamma and beta are shared.

    So a twin freezes the statistics of each time step apart from those of the others, and running statistics are not mixed over
    time either (Cooijmans et al. 2017, section 3). ``forward(y, step)``: y of shape (N, C), and so is the result.
    """

    def __init__(self, build: Builder, channels: int, steps: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(build.norm(channels, False, affine=False) for _ in range(steps))
        self.noises = nn.ModuleList(build.noise() for _ in range(steps))
        affine = not all(isinstance(step, nn.Identity) for step in self.steps)
        self.register_parameter("weight", nn.Parameter(torch.ones(channels, dtype=torch.float64)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels, dtype=torch.float64)) if affine else None)

    def forward(self, y: Tensor, step: int) -> Tensor:
        z = self.steps[step](y)
        if self.weight is not None and self.bias is not None:
            z = z * self.weight + self.bias
        return cast(Tensor, self.noises[step](z))


class _RecurrentLayer(nn.Module):
    """h_t = act(norm_t(W [u_t, h_{t-1}])), h_0 = 0: the whole pre-activation is normalised, as in a feed-forward layer."""

    def __init__(self, build: Builder, inputs: int, width: int, steps: int) -> None:
        super().__init__()
        self.width = width
        self.weight_layer = build.linear(inputs + width, width, bias=bool(build.spec.bias))
        self.norm = StepNorm(build, width, steps)
        self.act = build.act()

    def forward(self, sequence: Tensor) -> Tensor:
        """(N, T, inputs) -> (N, T, width)."""
        h = sequence.new_zeros(sequence.shape[0], self.width)
        found = []
        for step, u in enumerate(sequence.unbind(1)):
            h = self.act(self.norm(self.weight_layer(torch.cat([u, h], dim=1)), step))
            found.append(h)
        return torch.stack(found, dim=1)


class Recurrent(nn.Module):
    """Stacked recurrent layers over the rows of an image; the last state of the last layer is classified."""

    def __init__(self, build: Builder) -> None:
        super().__init__()
        spec = build.spec
        channels, height, width = spec.input_shape
        self.rows, steps = spec.rows, height // spec.rows
        features = channels * spec.rows * width
        self.layers = nn.Sequential()
        for i, size in enumerate(spec.layout):
            self.layers.add_module(f"recurrent{i}", _RecurrentLayer(build, features, size, steps))
            features = size
        self.output = build.linear(features, spec.classes, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.output(self.layers(image_sequence(x, self.rows))[:, -1]))


class _Attention(nn.Module):
    """Multi-head self-attention, softmax(Q K'/sqrt(d)) V, written out. (N, T, C) -> (N, T, C)."""

    def __init__(self, build: Builder, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = build.linear(width, width, bias=False)
        self.key = build.linear(width, width, bias=False)
        self.value = build.linear(width, width, bias=False)
        self.project = build.linear(width, width, bias=bool(build.spec.bias))

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = (
            layer(x).reshape(n, t, self.heads, c // self.heads).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(c // self.heads), dim=-1)
        return cast(Tensor, self.project((weights @ v).transpose(1, 2).reshape(n, t, c)))


class _TokenNorm(nn.Module):
    """A normalisation layer on (N, T, C): batch norm over batch and positions, layer norm within each token."""

    def __init__(self, build: Builder, width: int) -> None:
        super().__init__()
        self.norm, self.noise = build.norm(width, False), build.noise()
        # all others take the channels on axis 1
        self.features_last = build.spec.norm in ("layer", "layer-detached", "rms")

    def forward(self, x: Tensor) -> Tensor:
        if self.features_last:
            return cast(Tensor, self.norm(x))
        return cast(Tensor, self.noise(self.norm(x.transpose(1, 2))).transpose(1, 2))


class _TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): the normalisation inside the residual branch, four times the width in the MLP."""

    def __init__(self, build: Builder, width: int, heads: int) -> None:
        super().__init__()
        self.first_norm = _TokenNorm(build, width)
        self.attention = _Attention(build, width, heads)
        self.second_norm = _TokenNorm(build, width)
        self.expand = build.linear(width, 4 * width, bias=True)
        self.act = build.act()
        self.contract = build.linear(4 * width, width, bias=bool(build.spec.bias))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first_norm(x))
        return cast(Tensor, x + self.contract(self.act(self.expand(self.second_norm(x)))))


class Transformer(nn.Module):
    """Encoder over the rows of an image: embedding, fixed positions, blocks, a last normalisation, mean over positions.

    Vaswani et al. 2017 with the normalisation in front of each branch. A bias that is written onto the residual stream is removed
    by every batch norm that reads the stream, so those follow ``NetworkSpec.bias``; that of the MLP's hidden layer does not.
    """

    positions: Tensor

    def __init__(self, build: Builder) -> None:
        super().__init__()
        spec = build.spec
        channels, height, width = spec.input_shape
        size, blocks, heads = spec.layout
        self.rows = spec.rows
        self.embed = build.linear(channels * spec.rows * width, size, bias=bool(spec.bias))
        self.register_buffer("positions", _positions(height // spec.rows, size), persistent=False)
        self.blocks = nn.Sequential()
        for i in range(blocks):
            self.blocks.add_module(f"block{i}", _TransformerBlock(build, size, heads))
        self.last_norm = _TokenNorm(build, size)
        self.output = build.linear(size, spec.classes, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(image_sequence(x, self.rows)) + self.positions
        return cast(Tensor, self.output(self.last_norm(self.blocks(tokens)).mean(dim=1)))


def _positions(tokens: int, width: int) -> Tensor:
    """The fixed encoding of Vaswani et al. 2017, section 3.5: sines in the even features, cosines in the odd ones."""
    position = torch.arange(tokens, dtype=torch.float64)[:, None]
    feature = torch.arange(width, dtype=torch.float64)[None, :]
    angle = position / 10000 ** (2 * torch.floor(feature / 2) / width)
    return torch.where(feature % 2 == 0, torch.sin(angle), torch.cos(angle))

"""Multilayer perceptrons, VGG-like and ResNet-like networks, and deep linear ones, with or without normalisation.

The module tree does not depend on the normalisation (``norm="none"`` puts an identity in its place), so arms of a comparison share
parameter names, and with them initial values (``spec.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.builder import Builder
from bntheory.bridge.networks.sequences import Recurrent, Transformer
from bntheory.bridge.networks.spec import NetworkSpec, initialise
from bntheory.errors import UserError

__all__ = ["NetworkSpec", "build_network"]


@checked
def build_network(
    spec: NetworkSpec, seed: int, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> nn.Module:
    """The network of ``spec``, in training mode, with initial values that depend on ``seed`` and names alone.

    No global random state is read or changed. Raises ValueError for a negative seed.
    Input (N, *spec.input_shape), output (N, spec.classes).
    """
    if seed < 0:
        raise UserError(f"seed: {seed} is negative; use an integer >= 0")
    builder = Builder(spec, seed)
    kinds: dict[str, Callable[[Builder], nn.Module]] = {
        "vgg": _vgg,
        "resnet": _ResNet,
        "rnn": Recurrent,
        "transformer": Transformer,
    }
    model = kinds.get(spec.kind, _mlp)(builder)
    initialise(model, spec.init, spec.init_scale, seed)
    return model.to(device=device, dtype=dtype)


def _mlp(build: Builder) -> nn.Module:
    spec = build.spec
    features = math.prod(spec.input_shape)
    model = nn.Sequential()
    model.add_module("flatten", nn.Flatten())
    for i, width in enumerate(spec.layout):
        weight = build.linear(features, width, bias=bool(spec.bias))
        model.add_module(f"hidden{i}", build.unit(weight, width, spatial=False))
        features = width
    model.add_module("output", build.linear(features, spec.classes, bias=True))
    return model


def _vgg(build: Builder) -> nn.Module:
    spec = build.spec
    channels, height, width = spec.input_shape
    model = nn.Sequential()
    # ceil_mode lets 28 x 28 images pass the five poolings of the full size, as 32 x 32 ones do
    pool = nn.MaxPool2d if spec.pool == "max" else nn.AvgPool2d
    convs = pools = 0
    for entry in spec.layout:
        if entry == 0:
            model.add_module(f"pool{pools}", pool(2, 2, ceil_mode=True))
            pools += 1
            height, width = (height + 1) // 2, (width + 1) // 2
            continue
        unit = build.unit(build.conv(channels, entry, 3), entry, spatial=True)
        model.add_module(f"conv{convs}", unit)
        convs += 1
        channels = entry
    model.add_module("flatten", nn.Flatten())
    model.add_module("output", build.linear(channels * height * width, spec.classes, bias=True))
    return model


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a strided 1x1 convolution where the shape changes."""

    def __init__(self, build: Builder, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = build.unit(build.conv(inputs, outputs, 3, stride), outputs, spatial=True)
        self.second = build.unit(build.conv(outputs, outputs, 3), outputs, spatial=True, act=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = build.conv(inputs, outputs, 1, stride)
            self.shortcut = build.unit(projection, outputs, spatial=True, act=False)
        self.act = build.act()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.second(self.first(x)) + self.shortcut(x)))


class _ResNet(nn.Module):
    """He et al. 2016, in the form for small images: a 3x3 stem, stages of basic blocks, mean over positions."""

    def __init__(self, build: Builder) -> None:
        super().__init__()
        spec = build.spec
        channels = spec.layout[0][0]
        self.stem = build.unit(build.conv(spec.input_shape[0], channels, 3), channels, spatial=True)
        self.stages = nn.Sequential()
        for i, (width, blocks) in enumerate(spec.layout):
            for j in range(blocks):
                stride = 2 if i > 0 and j == 0 else 1
                self.stages.add_module(f"stage{i}block{j}", _Block(build, channels, width, stride))
                channels = width
        self.output = build.linear(channels, spec.classes, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.output(self.stages(self.stem(x)).mean(dim=(2, 3))))

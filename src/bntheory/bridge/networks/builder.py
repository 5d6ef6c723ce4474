"""The layers that networks are put together from, by what their description says of norm, activation and noise.

What lives here: :class:`Builder` and the unit of weight layer, normalisation, noise and activation. What does not: whole networks
(``images.py``, ``sequences.py``) and initial values (``spec.py``).
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn

from bntheory.bridge.networks.noise import ActivationNoise
from bntheory.bridge.networks.normalisation import LpBatchNorm, PrimitiveBatchNorm
from bntheory.bridge.networks.partial_normalisation import (
    Detached,
    DetachedBatchNorm,
    DetachedGroupNorm,
    DetachedLayerNorm,
    RootMeanSquareNorm,
    VarianceOnlyBatchNorm,
    WeightNorm,
)
from bntheory.bridge.networks.spec import ACTIVATIONS, NetworkSpec


class Builder:
    """Makes the layers of one network in float64 without drawing random numbers."""

    def __init__(self, spec: NetworkSpec, seed: int) -> None:
        self.spec, self.seed, self.noises = spec, seed, 0

    def linear(self, inputs: int, outputs: int, *, bias: bool) -> nn.Module:
        with torch.device("meta"):
            layer = nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)
        return layer.to_empty(device="cpu")

    def conv(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
        with torch.device("meta"):  # there torch draws no initial values, so the global generator stays as it is
            layer = nn.Conv2d(
                inputs, outputs, kernel, stride, kernel // 2, bias=bool(self.spec.bias), dtype=torch.float64
            )
        return layer.to_empty(device="cpu")

    def act(self) -> nn.Module:
        return ACTIVATIONS[self.spec.activation]()

    def unit(self, weight: nn.Module, channels: int, *, spatial: bool, act: bool = True) -> Unit:
        return Unit(weight, self.norm(channels, spatial), self.noise(), self.act() if act else nn.Identity())

    def noise(self) -> nn.Module:
        if not self.spec.norm.startswith("noisy-"):
            return nn.Identity()
        self.noises += 1
        unit = cast(Literal["channel", "activation"], self.spec.noise_unit)
        return ActivationNoise((self.seed, self.noises), unit=unit, dose=self.spec.noise_dose)

    def norm(self, channels: int, spatial: bool, *, affine: bool = True) -> nn.Module:
        spec, kind = self.spec, self.spec.norm.removeprefix("noisy-")
        if kind == "none":
            return nn.Identity()
        if kind == "batch":
            cls = nn.BatchNorm2d if spatial else nn.BatchNorm1d
            return cls(channels, eps=spec.eps, momentum=spec.momentum, affine=affine)
        if kind == "batch-primitive":
            return PrimitiveBatchNorm(channels, spec.eps, spec.momentum, affine)
        if kind in ("l1", "l2", "linf", "mean-only"):
            p = {"l1": 1.0, "l2": 2.0, "linf": math.inf, "mean-only": 0.0}[kind]
            return LpBatchNorm(channels, spec.eps, spec.momentum, affine, p=p)
        if kind.startswith("detached"):
            which = cast(Detached, kind.partition("-")[2] or "both")
            return DetachedBatchNorm(channels, spec.eps, spec.momentum, affine, detach=which)
        if kind == "variance-only":
            return VarianceOnlyBatchNorm(channels, spec.eps, spec.momentum, affine)
        if kind == "weight":
            return WeightNorm(channels)
        if kind == "layer-detached":
            grouped = DetachedGroupNorm(1, channels, spec.eps, affine)
            return grouped if spatial else DetachedLayerNorm(channels, spec.eps, affine)
        if kind == "rms" and spatial:
            return RootMeanSquareNorm(channels, spec.eps, affine)
        if kind in ("rms", "layer") and not spatial:
            over_features = nn.RMSNorm if kind == "rms" else nn.LayerNorm
            return over_features(channels, eps=spec.eps, elementwise_affine=affine)
        groups = {"layer": 1, "instance": channels}.get(kind, spec.groups)
        return nn.GroupNorm(groups, channels, eps=spec.eps, affine=affine)


class Unit(nn.Module):
    """Weight layer, normalisation, noise, activation: identities stand where there is none."""

    def __init__(self, weight: nn.Module, norm: nn.Module, noise: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.weight_layer, self.norm, self.noise, self.act = weight, norm, noise, act

    def forward(self, x: Tensor) -> Tensor:
        y = self.weight_layer(x)
        z = self.norm(y, self.weight_layer.weight) if isinstance(self.norm, WeightNorm) else self.norm(y)
        return cast(Tensor, self.act(self.noise(z)))

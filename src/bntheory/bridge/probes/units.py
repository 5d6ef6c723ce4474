"""Normalisation modules seen as independent units: which axes are normalised, and with which affine map.

A unit is what one mean and one variance are taken over. For batch normalisation that is a channel and its m = N*H*W entries; for
layer normalisation one position and its m features; for group normalisation one sample's group. Where the affine map is not one
number a unit (layer and group normalisation), it is counted as part of the downstream loss: gamma = 1, beta = 0, z = y_hat. The
mathematics of :mod:`bntheory.layer` then applies to all three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

__all__ = ["UnitView", "is_normalisation", "normalisation_layers", "unit_view"]

Kind = Literal["batch", "layer", "group"]
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def is_normalisation(module: nn.Module) -> bool:
    """Whether ``capture`` knows this module: BatchNorm1d/2d/3d (or one that says ``is_batch_norm``), LayerNorm, GroupNorm."""
    return isinstance(module, (*_BATCH_NORM, nn.LayerNorm, nn.GroupNorm)) or _says_batch_norm(module)


def _says_batch_norm(module: nn.Module) -> bool:
    return bool(getattr(module, "is_batch_norm", False))


def normalisation_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The known normalisation modules of a model by name, in the order of definition; a shared one once."""
    return {name or "(model)": module for name, module in model.named_modules() if is_normalisation(module)}


@dataclass(frozen=True)
class UnitView:
    """How a tensor that enters a normalisation module splits into units.

    kind: "batch", "layer" or "group". shape: of the tensor. units, m: how many units, and how many entries each.
    gamma, beta: (units,) for batch normalisation; ones and zeros otherwise.
    element_gamma: None, or a tensor that broadcasts to ``shape``: dz/dy_hat where it is not one number a unit.
    """

    kind: Kind
    shape: tuple[int, ...]
    units: int
    m: int
    gamma: Tensor
    beta: Tensor
    eps: float
    element_gamma: Tensor | None

    def split(self, x: Tensor) -> Tensor:
        """(shape) -> (units, m)."""
        if self.kind == "batch":
            return x.movedim(1, 0).reshape(self.units, self.m)
        return x.reshape(self.units, self.m)

    def join(self, units: Tensor) -> Tensor:
        """(units, m) -> (shape), the inverse of :meth:`split`."""
        if self.kind == "batch":
            channel_first = (self.shape[1], self.shape[0], *self.shape[2:])
            return units.reshape(channel_first).movedim(0, 1)
        return units.reshape(self.shape)


def unit_view(module: nn.Module, x: Tensor, name: str) -> UnitView:
    """The units of module for the input x, (N, C, ...) or as the module takes it.

    Raises ValueError where a unit has fewer than two entries.
    """
    shape = tuple(x.shape)
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    element_gamma: Tensor | None = None
    kind: Kind
    if isinstance(module, nn.LayerNorm):
        kind = "layer"
        m = math.prod(module.normalized_shape)
        units = x.numel() // m
        element_gamma = weight
    elif isinstance(module, nn.GroupNorm):
        kind = "group"
        units = shape[0] * module.num_groups
        m = x.numel() // units
        element_gamma = None if weight is None else weight.reshape(1, -1, *[1] * (x.ndim - 2))
    else:
        kind = "batch"
        units, m = shape[1], x.numel() // shape[1]
    if m < 2:
        raise ValueError(
            f"layer {name!r} normalises over m = {m} entry (input of shape {shape}): a batch of one equals its own mean. "
            "Give a larger batch"
        )
    per_unit = kind == "batch"
    ones, zeros = x.new_ones(units), x.new_zeros(units)
    gamma = weight.detach().to(x) if per_unit and weight is not None else ones
    beta = bias.detach().to(x) if per_unit and bias is not None else zeros
    detached = None if element_gamma is None else element_gamma.detach()
    eps = float(getattr(module, "eps", 0.0))
    return UnitView(kind, shape, units, m, gamma, beta, eps, detached)

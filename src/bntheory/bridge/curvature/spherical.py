"""Curvature in the units of the weights: the norm-scaled Hessian of scale-invariant weights.

Where the loss does not change under w -> a w (weights in front of a normalisation), its Hessian at w is 1/|w|^2 times
that at w/|w|, so its size says little. The matrix D H D with D = |w| on each invariant group is the Hessian at the
point where every group has norm 1: the spherical sharpness of Lyu, Li and Arora (2022) is its top eigenvalue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from bntheory.bridge.arguments import checked
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.operator import CurvatureOperator
from bntheory.bridge.curvature.selection import flatten, unflatten
from bntheory.errors import UserError

Per = Literal["unit", "tensor", "all"]


class NormScaledOperator(SymmetricOperator):
    """D A D, with D the norm of the group that each weight belongs to and 1 for weights outside; see :func:`norm_scaled`."""

    def __init__(self, op: CurvatureOperator, scale: Tensor, radial: Tensor | None, groups: Tensor) -> None:
        super().__init__(op.size, op.dtype, op.device)
        self._op, self._radial, self._groups = op, radial, groups
        self.scale = scale
        self.gradient = self._tangent(scale * op.gradient)

    def _product(self, v: Tensor) -> Tensor:
        return self._tangent(self.scale * self._op.apply(self.scale * self._tangent(v)))

    def _tangent(self, v: Tensor) -> Tensor:
        if self._radial is None:
            return v
        along = torch.zeros(int(self._groups.max()) + 1, dtype=v.dtype, device=v.device)
        along.index_add_(0, self._groups, self._radial * v)
        return v - self._radial * along[self._groups]


@checked
def norm_scaled(
    op: CurvatureOperator, names: Sequence[str] | None = None, *, per: Per = "unit", tangent: bool = False
) -> NormScaledOperator:
    """The norm-scaled operator of ``op``.

    Args:
        names: the scale-invariant parameters among ``op.names``; all of them if ``None``.
        per: the group that is invariant: ``"unit"`` (each output unit or channel: batch norm), ``"tensor"`` (each
            tensor), ``"all"`` (all named parameters together, as in Lyu, Li and Arora).
        tangent: remove each group's radial direction: the Hessian of the loss on the product of spheres.

    Raises ValueError for unknown names and for a group of norm zero.
    """
    wanted = list(op.names) if names is None else list(names)
    unknown = [name for name in wanted if name not in op.names]
    if unknown or not wanted:
        raise UserError(f"names lists {unknown or 'nothing'}; the operator's parameters are {', '.join(op.names)}")
    tensors = unflatten(op.point, [torch.empty(shape, device="meta") for shape in op.shapes])
    groups: list[Tensor] = []
    count = 1  # group 0 holds everything that is not scaled
    for name, tensor in zip(op.names, tensors, strict=True):
        label = torch.zeros(tensor.shape, dtype=torch.long, device=op.device)
        if name in wanted and per == "all":
            label += 1
            count = 2
        elif name in wanted:
            units = tensor.shape[0] if per == "unit" and tensor.dim() > 1 else 1
            label += torch.arange(count, count + units, device=op.device).reshape(-1, *[1] * (tensor.dim() - 1))
            count += units
        groups.append(label)
    group = flatten(groups)
    squares = torch.zeros(count, dtype=op.dtype, device=op.device).index_add_(0, group, op.point.square())
    norms = squares.sqrt()
    norms[0] = 1.0
    if not bool((norms > 0).all()):
        raise UserError("a group of weights is zero: a scale-invariant loss has no Hessian there")
    scale = norms[group]
    radial = torch.where(group > 0, op.point / scale, torch.zeros_like(scale)) if tangent else None
    return NormScaledOperator(op, scale, radial, group)

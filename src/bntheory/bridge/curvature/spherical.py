"""Curvature in the units of the weights: the norm-scaled Hessian of scale-invariant weights.

Where the loss does not change under w -> a w (weights in front of a normalisation), its Hessian at w is 1/|w|^2 times
that at w/|w|, so its size says little. The matrix D H D with D = |w| on each invariant group is the Hessian at the
point where every group has norm 1: the spherical sharpness of Lyu, Li and Arora (2022) is its top eigenvalue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, finfo
from torch.nn.modules.conv import _ConvTransposeNd

from bntheory.bridge.arguments import checked
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.operator import CurvatureOperator
from bntheory.bridge.curvature.selection import flatten
from bntheory.errors import UserError

Per = Literal["unit", "tensor", "all"]

# The cosine of weights and gradient up to which a loss counts as invariant: eps against the variance, in a layer's own units.
_ORTHOGONAL = 0.02


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

    That the loss does not change with the scale of a group is checked: its gradient is orthogonal to the group's weights (Euler).

    Args:
        names: the scale-invariant parameters among ``op.names``; if ``None``, all those in whose groups' scales the loss is invariant
            (for ``per="all"``, in whose own).
        per: the group that is invariant: ``"unit"`` (each output unit or channel: batch norm; axis 0 of a tensor, and of a transposed
            convolution the channels that it gives), ``"tensor"`` (each tensor), ``"all"`` (all named parameters together, as in Lyu,
            Li and Arora).
        tangent: remove each group's radial direction: the Hessian of the loss on the product of spheres.

    Raises ValueError for unknown names, for a group of norm zero, and for a group in whose scale the loss is not invariant.
    """
    unknown = [name for name in names or () if name not in op.names]
    if unknown or (names is not None and not names):
        raise UserError(f"names lists {unknown or 'nothing'}; the operator's parameters are {', '.join(op.names)}")
    wanted = list(names) if names is not None else _invariant(op, per)
    group, labels = _groups(op, wanted, per)
    norms, cosines = _judged(op, group)
    zero, moving = labels[norms == 0], labels[cosines.abs() > _ORTHOGONAL]
    if len(zero):
        raise UserError(
            f"{_place(op, int(zero[0]), per)}: all weights of this group are zero, and a scale-invariant loss has no Hessian there; leave the "
            "parameter out: names=[...] lists those in whose scale the loss is invariant"
        )
    if len(moving):
        worst = int(cosines.abs().argmax())
        finer = (
            "per='tensor' where only the scale of all of it is (units on another axis, layer norm), or "
            if per == "unit"
            else ""
        )
        raise UserError(
            f"{_place(op, int(labels[worst]), per)}: the loss is not invariant in the scale of this group: the cosine of its weights and their "
            f"gradient is {float(cosines[worst]):.1e}, and 0 where the loss is invariant. No normalisation with live statistics follows, or its "
            f"eps is large beside the variance; use {finer}leave the parameter out: names=[...]"
        )
    norms = torch.cat([torch.ones_like(norms[:1]), norms])
    scale = norms[group]
    radial = torch.where(group > 0, op.point / scale, torch.zeros_like(scale)) if tangent else None
    return NormScaledOperator(op, scale, radial, group)


def _invariant(op: CurvatureOperator, per: Per) -> list[str]:
    """The parameters in whose groups' scales the loss is invariant; a zero tensor has no scale."""
    found = []
    for name in op.names:
        norms, cosines = _judged(op, _groups(op, [name], per)[0])
        if bool((norms > 0).any()) and bool((cosines.abs() <= _ORTHOGONAL).all()):
            found.append(name)
    if not found:
        raise UserError(
            f"op: in the scale of none of its parameters ({', '.join(op.names[:5])}) is the loss invariant with per={per!r}, so there is nothing to "
            "scale: no normalisation with live statistics follows them. Measure in mode='train', or another per"
        )
    return found


def _groups(op: CurvatureOperator, wanted: Sequence[str], per: Per) -> tuple[Tensor, Tensor]:
    """The group of each entry, 0 for those that are not scaled; and where the first entry of each group 1, 2, ... is."""
    groups: list[Tensor] = []
    count = 1
    for name, shape in zip(op.names, op.shapes, strict=True):
        label = torch.zeros(shape, dtype=torch.long, device=op.device)
        if name in wanted and per == "all":
            label += 1
            count = 2
        elif name in wanted:
            unit = _unit_of(op, name, shape) if per == "unit" and len(shape) > 1 else torch.zeros_like(label)
            label += count + unit
            count += int(unit.max()) + 1
        groups.append(label)
    group = flatten(groups)
    places = torch.arange(len(group), device=op.device)
    first = torch.full((count,), len(group), device=op.device).scatter_reduce_(0, group, places, "amin")
    return group, first[1:]


def _unit_of(op: CurvatureOperator, name: str, shape: tuple[int, ...]) -> Tensor:
    """The output unit that each entry of a tensor belongs to, broadcast along the other axes."""
    owner = name.rpartition(".")[0].partition(".parametrizations")[0]
    module = op.objective.named_modules().get(owner)
    rest = [1] * (len(shape) - 2)
    first = torch.arange(shape[0], device=op.device).reshape(-1, 1, *rest)
    if not isinstance(module, _ConvTransposeNd) or shape != tuple(module.weight.shape):
        return first
    within = torch.arange(shape[1], device=op.device).reshape(1, -1, *rest)  # (in, out / groups, ...)
    return first // (shape[0] // module.groups) * shape[1] + within


def _judged(op: CurvatureOperator, group: Tensor) -> tuple[Tensor, Tensor]:
    """The norm of each group, and the cosine of its weights and its gradient: 0 where the gradient is nothing but rounding."""

    def sums(values: Tensor) -> Tensor:
        zeros = torch.zeros(int(group.max()) + 1, dtype=op.dtype, device=op.device)
        return zeros.index_add_(0, group, values)[1:]

    norms, slopes = sums(op.point.square()).sqrt(), sums(op.gradient.square()).sqrt()
    size = norms * slopes
    rounding = finfo(op.dtype).eps ** 0.75 * float(op.point.norm() * op.gradient.norm())
    return norms, torch.where(size > rounding, sums(op.point * op.gradient) / size.clamp_min(1e-300), 0.0)


def _place(op: CurvatureOperator, entry: int, per: Per) -> str:
    """The name of the parameter, with the unit where units are the groups, that an entry of the flat vector belongs to."""
    if per == "all":
        return "the named parameters together"
    for name, shape in zip(op.names, op.shapes, strict=True):
        size = math.prod(shape)
        if entry < size:
            of = _unit_of(op, name, shape).expand(shape).reshape(-1) if per == "unit" and len(shape) > 1 else None
            return name if of is None else f"{name}, unit {int(of[entry])}"
        entry -= size
    raise AssertionError("an entry beyond the last parameter")

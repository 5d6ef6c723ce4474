"""Normalisation seen as independent units: which axes are normalised, and with which affine map.

A unit is what one scale (and, but for RMS normalisation, one mean) is taken over. For batch normalisation that is a channel and its
m = N*H*W entries; for layer normalisation one position and its m features; for group and instance normalisation one example's group.
Where the affine map is not one number a unit, it is counted as part of the downstream loss: gamma = 1, beta = 0, z = y_hat. The
mathematics of :mod:`bntheory.layer` then applies to all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor, finfo, nn

from bntheory.bridge.draws import normal_like
from bntheory.bridge.left_out import LARGER_BATCH
from bntheory.errors import UserError

Kind = Literal["batch", "layer", "group", "instance", "rms"]


@dataclass(frozen=True)
class UnitView:
    """How a tensor that enters a normalisation splits into units.

    kind: what it is. shape: of the tensor. grouped: the shape that it is first brought to. axes: of ``grouped``, those that are
    normalised over. units, m: how many units, and how many entries each. gamma, beta: (units,) for batch normalisation; ones and
    zeros otherwise. eps: added to the variance. element_gamma: None, or dz/dy_hat of shape ``grouped`` (or one that broadcasts to
    it) where it is not one number a unit.
    """

    kind: Kind
    shape: tuple[int, ...]
    grouped: tuple[int, ...]
    axes: tuple[int, ...]
    units: int
    m: int
    gamma: Tensor
    beta: Tensor
    eps: float
    element_gamma: Tensor | None

    @property
    def _order(self) -> tuple[int, ...]:
        rest = tuple(axis for axis in range(len(self.grouped)) if axis not in self.axes)
        return rest + self.axes

    def split(self, x: Tensor) -> Tensor:
        """(shape) -> (units, m)."""
        return x.reshape(self.grouped).permute(self._order).reshape(self.units, self.m)

    def join(self, units: Tensor) -> Tensor:
        """(units, m) -> (shape), the inverse of :meth:`split`."""
        order = self._order
        back = [order.index(axis) for axis in range(len(order))]
        return units.reshape([self.grouped[axis] for axis in order]).permute(back).reshape(self.shape)

    def over_the_examples(self, n: int) -> bool:
        """Whether a normalisation within examples is taken over the axis that counts n of them: no unit belongs to one example."""
        normalised = [self.grouped[axis] for axis in self.axes]
        return self.kind != "batch" and n > 1 and self.units % n != 0 and n in normalised

    def split_gamma(self) -> Tensor | None:
        """``element_gamma`` as (units, m)."""
        if self.element_gamma is None:
            return None
        full = self.element_gamma.expand(self.grouped)
        return full.permute(self._order).reshape(self.units, self.m)


def _view(
    kind: Kind,
    x: Tensor,
    grouped: Sequence[int],
    axes: Sequence[int],
    eps: float,
    gamma: Tensor | None,
    beta: Tensor | None,
    name: str,
) -> UnitView:
    """gamma, beta: for "batch" of shape (units,), for the others ``element_gamma`` as it broadcasts to ``grouped``."""
    grouped, axes = tuple(grouped), tuple(axes)
    m = math.prod(grouped[axis] for axis in axes)
    units = x.numel() // m if m else 0
    if m < 2:
        raise UserError(
            f"layer {name!r} normalises over m = {m} entry (input of shape {tuple(x.shape)}): a batch of one equals its own "
            f"mean. {LARGER_BATCH}"
        )
    ones, zeros = (make(units, device=x.device).to(x) for make in (torch.ones, torch.zeros))
    per_unit = kind == "batch"
    element = None if per_unit or gamma is None else gamma.detach().to(x)
    if per_unit:
        ones = ones if gamma is None else gamma.detach().to(x)
        zeros = zeros if beta is None else beta.detach().to(x)
    return UnitView(kind, tuple(x.shape), grouped, axes, units, m, ones, zeros, eps, element)


def unit_view(
    kind: Kind, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, layout: Any, name: str
) -> UnitView:
    """The units of a call of one of torch's functional normalisations with input x.

    layout: for "layer" and "rms" the normalised shape, for "group" the number of groups, otherwise unused.

    Raises ValueError where a unit has fewer than two entries.
    """
    shape = tuple(x.shape)
    if kind == "batch":
        return _view(kind, x, shape, [a for a in range(x.dim()) if a != 1], eps, weight, bias, name)
    if kind in ("layer", "rms"):
        count = len(layout)
        return _view(kind, x, shape, range(x.dim() - count, x.dim()), eps, weight, bias, name)
    groups = shape[1] if kind == "instance" else int(layout)
    grouped = (shape[0], groups, shape[1] // groups, *shape[2:])
    spread = None if weight is None else weight.reshape(1, groups, -1, *[1] * (x.dim() - 2))
    return _view(kind, x, grouped, range(2, len(grouped)), eps, spread, None, name)


# -- layers written by hand: which closed form their output is -----------------------------------------------------------


@dataclass(frozen=True)
class _Form:
    """A closed form to compare with: the units, and the axes along which the affine map may vary."""

    kind: Kind
    grouped: tuple[int, ...]
    axes: tuple[int, ...]
    affine: tuple[int, ...]


def _forms(x: Tensor, module: nn.Module) -> list[_Form]:
    shape, n = tuple(x.shape), x.dim()
    every = tuple(range(n))
    counts = {
        v for v in vars(module).values() if type(v) is int and v > 0 and n >= 2 and shape[1] % v == 0
    }  # of groups
    forms = []
    if n >= 2:
        forms.append(_Form("batch", shape, tuple(a for a in every if a != 1), (1,)))
        if n > 2:
            forms.append(_Form("batch", shape, every[:-1], (n - 1,)))
    for kind in ("layer", "rms"):
        forms.append(_Form(kind, shape, (n - 1,), (n - 1,)))
        if n > 2:
            forms.append(_Form(kind, shape, (1,), (1,)))
            forms.append(_Form(kind, shape, every[1:], every[1:]))
            forms.append(_Form(kind, shape, every[1:], (1,)))
    if n > 2:
        forms.append(_Form("instance", shape, every[2:], (1,)))
    for groups in sorted(counts):
        grouped = (shape[0], groups, shape[1] // groups, *shape[2:])
        forms.append(_Form("group", grouped, tuple(range(2, n + 1)), (1, 2)))
    return forms


#: Values of eps that code has without a name for it.
_LITERALS = (1e-5, 1e-6, 1e-3, 1e-8, 1e-12, 1e-4, 1e-7, 1e-2, 0.0)


def eps_of(module: nn.Module) -> tuple[float, ...]:
    """The module's eps by any of its usual names; where it has none, the values that it may have."""
    for name in ("eps", "epsilon", "variance_epsilon", "norm_eps", "layer_norm_eps"):
        value = getattr(module, name, None)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return (float(value),)
        if isinstance(value, Tensor) and value.numel() == 1:
            return (float(value),)
    return _LITERALS


def matched_view(module: nn.Module, x: Tensor, z: Tensor, name: str) -> UnitView | None:
    """The units of a layer written by hand whose output z on x is ``a y_hat + b`` of one of the closed forms; None if of none.

    a and b are fitted: one pair a channel (batch), or one a feature and shared by all units. A fit of two numbers proves nothing on
    fewer than four entries, and z has to agree with it up to the rounding of its own precision.
    """
    exact, output = x.dtype, z
    y, z = x.detach().double(), z.detach().double()
    if z.shape != x.shape or not bool(torch.isfinite(z).all()):
        return None
    for form, named in product(_forms(x, module), eps_of(module)):
        m = math.prod(form.grouped[axis] for axis in form.axes)
        over = tuple(axis for axis in range(len(form.grouped)) if axis not in form.affine)
        entries = math.prod(form.grouped[axis] for axis in over)
        if m < 2 or entries < 4:
            continue
        u, w = y.reshape(form.grouped), z.reshape(form.grouped)
        mean = u.mean(form.axes, keepdim=True) * (form.kind != "rms")
        variance = (u - mean).square().mean(form.axes, keepdim=True)
        # an unbiased variance is the biased one with another gamma and eps
        for eps in dict.fromkeys((named, named * (m - 1) / m)):
            sigma = (variance + eps).sqrt()
            if not bool((sigma > 0).all()):
                continue
            fitted = affine_fit((u - mean) / sigma, w, over)
            tolerance = rounding_of_fit(exact, m, u, sigma, form.axes)
            # a constant is the output of every form with gamma = 0, and tells nothing
            if fitted is None or fitted[2] > tolerance or bool(fitted[0].abs().amax() <= tolerance * w.abs().amax()):
                continue
            a, b = (t.reshape(-1) if form.kind == "batch" else t for t in fitted[:2])
            view = _view(form.kind, x, form.grouped, form.axes, eps, a, b, name)
            if _differentiates_as(view, x, output, tolerance):
                return view
    return None


def affine_fit(y_hat: Tensor, w: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor, float] | None:
    """w = a y_hat + b by least squares over these axes, and the largest residual relative to the terms; None where y_hat is constant."""
    centre, level = y_hat.mean(over, keepdim=True), w.mean(over, keepdim=True)
    spread = (y_hat - centre).square().mean(over, keepdim=True)
    if not bool((spread > 1e-12).all()):
        return None
    a = ((y_hat - centre) * (w - level)).mean(over, keepdim=True) / spread
    b = level - a * centre
    size = float(w.abs().amax() + b.abs().amax())
    return a, b, float((w - a * y_hat - b).abs().amax()) / size if size > 0 else 0.0


def rounding_of_fit(dtype: torch.dtype, m: int, u: Tensor, sigma: Tensor, axes: tuple[int, ...]) -> float:
    """The residual of a fit, relative to its terms, that the rounding of ``dtype`` explains."""
    kappa = float((u.abs().amax(axes, keepdim=True) / sigma).amax())
    return 8 * finfo(dtype).eps * (math.sqrt(m) * (3 + 2 * kappa) + 8)


def _differentiates_as(view: UnitView, x: Tensor, z: Tensor, tolerance: float) -> bool:
    """Whether the pull-back of a random vector through the layer is (gamma/sigma) P g, to rounding.

    Values alone cannot tell: on one batch an affine map with constants equals batch normalisation, and has another derivative.
    """
    g = normal_like(z, torch.Generator().manual_seed(0))
    (pulled,) = torch.autograd.grad(z, x, g, retain_graph=True, allow_unused=True)
    if pulled is None:
        return False
    y, u = view.split(x.detach()).double(), view.split(g).double()
    element = view.split_gamma()
    u = u * view.gamma[:, None] if element is None else u * element
    centred = y if view.kind == "rms" else y - y.mean(1, keepdim=True)
    sigma = (centred.square().mean(1, keepdim=True) + view.eps).sqrt()
    y_hat = centred / sigma
    expected = u if view.kind == "rms" else u - u.mean(1, keepdim=True)
    expected = (expected - y_hat * (y_hat * u).mean(1, keepdim=True)) / sigma
    gap = (view.split(pulled).double() - expected).norm(dim=1)
    return bool((gap <= tolerance * (u / sigma).norm(dim=1)).all())


#: What a layer written by hand computes its scale with, as direct calls of its own forward.
SCALES = {"var", "std", "var_mean", "std_mean", "rsqrt", "rsqrt_", "sqrt", "sqrt_", "norm", "vector_norm"}


def is_statistic(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a spread is taken of activations over the first axis, which is that of the batch."""
    name = getattr(func, "__name__", "")
    if name not in ("var", "std", "var_mean", "std_mean") or not args or isinstance(args[0], nn.Parameter):
        return False
    x = args[0]
    axes = kwargs.get("dim", args[1] if len(args) > 1 else None)
    over = [axes] if isinstance(axes, int) and not isinstance(axes, bool) else axes
    whole = over is None or isinstance(over, bool)
    return bool(x.dim() >= 2 and (whole or any(a % x.dim() == 0 for a in over)))


def is_scale(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    name = getattr(func, "__name__", "")
    if name in ("pow", "__pow__", "pow_", "__rpow__"):
        exponent = args[1] if len(args) > 1 else kwargs.get("exponent")
        return exponent in (0.5, -0.5) if isinstance(exponent, (int, float)) else False
    return name in SCALES

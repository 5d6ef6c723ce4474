r"""The second backward pass of batch normalisation from the closed form, for Hessian products.

For a unit with h = (x - mean)/sigma, sigma = sqrt(var + eps) and the first backward pass

    dx = (w/sigma) P g,  dw = <g, h>,  db = <1, g>,  P y = y - <1, y>/m - h <h, y>/m,

a product with (u, a, b) needs the gradient of (w/sigma) <u, P g> + a <g, h> + b <1, g>. With p = <u, h>, q = <g, h> and
Q = <u, P g> = <u, g> - <1, u><1, g>/m - p q/m it is

    by g:  (w/sigma) P u + a h + b
    by w:  Q/sigma
    by x:  -(w Q/(m sigma^2)) h + (1/sigma) P [ (a - w p/(m sigma)) g - (w q/(m sigma)) u ].

P u, p and <1, u> come from torch's own fused first backward pass, applied to u; the rest is one affine combination of u, g
and x a unit. Torch's own second backward pass takes about three times as many passes over the data.

At the first product every layer is compared with torch's formula on the data at hand, and left to it where they differ.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, finfo
from torch.nn import functional

# Below these sizes what a call costs outweighs what passes over the data cost.
_ENTRIES, _POSITIONS = 1 << 17, 16
# How far two orders of summation may differ, in units of eps sqrt(m) of the terms' size.
_APART = 10.0

_native = torch.ops.aten.native_batch_norm
_native_backward = torch.ops.aten.native_batch_norm_backward


class _Layer:
    """One call of batch normalisation: its eps, how <u, g> is summed, and whether the closed form was found to agree on its data."""

    def __init__(self, eps: float, fused: bool) -> None:
        self.eps, self.inner = eps, _inner_in_place if fused else _inner
        self.agrees: bool | None = None


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, b: Tensor, mean: Tensor | None, var: Tensor | None, momentum: float, layer: _Layer
    ) -> Tensor:  # fmt: skip
        out, batch_mean, inverse = _native(x, w, b, mean, var, True, momentum, layer.eps)
        ctx.save_for_backward(x, w, batch_mean, inverse)
        ctx.layer = layer
        found: Tensor = out
        return found

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w, mean, inverse = ctx.saved_tensors
        first = _Backward.apply(g, x, w, mean, inverse, ctx.layer)
        return (*first, None, None, None, None)


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, w: Tensor, mean: Tensor, inverse: Tensor, layer: _Layer) -> Any:
        dx, dw, db = _first(g, x, w, mean, inverse, layer.eps)
        ctx.save_for_backward(g, x, w, mean, inverse, dw, db)
        ctx.layer = layer
        return dx, dw, db

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, u: Tensor, a: Tensor, b: Tensor) -> Any:
        g, x, w, mean, inverse, dw, db = ctx.saved_tensors
        layer: _Layer = ctx.layer
        if layer.agrees is None:
            found = _second(u, a, b, g, x, w, mean, inverse, dw, db, layer)
            plain = _second_by_torch(u, a, b, g, x, w, mean, inverse, layer.eps)
            layer.agrees = _agree(found, plain, x)
            return (*plain, None, None, None)
        if not layer.agrees:
            return (*_second_by_torch(u, a, b, g, x, w, mean, inverse, layer.eps), None, None, None)
        return (*_second(u, a, b, g, x, w, mean, inverse, dw, db, layer), None, None, None)


def _first(g: Tensor, x: Tensor, w: Tensor, mean: Tensor, inverse: Tensor, eps: float) -> Any:
    return _native_backward(g, x, w, None, None, mean, inverse, True, eps, [True, True, True])


def _inner(u: Tensor, g: Tensor, mean: Tensor) -> Tensor:
    """<u, g> of each channel."""
    return torch.einsum("nci,nci->c", u.flatten(2), g.flatten(2))


def _inner_in_place(u: Tensor, g: Tensor, mean: Tensor) -> Tensor:
    """The same without a copy of either and summed in another order: as the gradient of the weight of a layer with mean 0 and scale 1."""
    zero, one = torch.zeros_like(mean), torch.ones_like(mean)
    found: Tensor = _native_backward(u, g, None, None, None, zero, one, True, 0.0, [False, True, False])[1]
    return found


def _second(
    u: Tensor, a: Tensor, b: Tensor, g: Tensor, x: Tensor, w: Tensor, mean: Tensor, inverse: Tensor, q: Tensor, g_sum: Tensor,
    layer: _Layer,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """By g, x and w; q = <g, h> and g_sum = <1, g> are those of the first backward pass."""
    m = x.numel() // x.shape[1]
    by_g, p, u_sum = _first(u, x, w, mean, inverse, layer.eps)
    between = layer.inner(u, g, mean) - (u_sum * g_sum + p * q) / m
    of_u, of_g = -w * inverse * q / m, a - w * inverse * p / m
    h = -inverse * ((of_u * p + of_g * q) / m + w * inverse * between / m)  # P takes off what lies along h and 1
    one = -inverse * (of_u * u_sum + of_g * g_sum) / m

    def unit(t: Tensor) -> Tensor:
        return t.view(1, -1, *[1] * (x.dim() - 2))

    by_x = torch.addcmul(unit(one - h * inverse * mean), x, unit(h * inverse))
    by_x = by_x.addcmul_(u, unit(of_u * inverse)).addcmul_(g, unit(of_g * inverse))
    by_g = by_g.addcmul_(x, unit(a * inverse)).add_(unit(b - a * inverse * mean))
    return by_g, by_x, inverse * between


def _second_by_torch(
    u: Tensor, a: Tensor, b: Tensor, g: Tensor, x: Tensor, w: Tensor, mean: Tensor, inverse: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.enable_grad():
        g, x, w = (t.detach().requires_grad_() for t in (g, x, w))
        by_g, by_x, by_w = torch.autograd.grad(_first(g, x, w, mean, inverse, eps), (g, x, w), (u, a, b))
    return by_g, by_x, by_w


def _agree(found: tuple[Tensor, ...], plain: tuple[Tensor, ...], x: Tensor) -> bool:
    """Whether two orders of summation explain the difference, unit by unit."""
    tolerance = _APART * finfo(x.dtype).eps * (x.numel() / x.shape[1]) ** 0.5
    for ours, theirs in zip(found, plain, strict=True):
        gap = (ours - theirs).abs().max()
        if not bool(gap <= tolerance * theirs.abs().max()):
            return False
    return True


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    fused: bool = False,
) -> Tensor:
    """``functional.batch_norm``, with the second backward pass of this module where it normalises a large batch by its statistics.

    fused: sum without copies, which is faster and rounds otherwise.
    """
    large = x.dim() > 2 and x.numel() >= _ENTRIES and x.shape[2:].numel() >= _POSITIONS
    if not training or not large or weight is None or bias is None or not x.requires_grad:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    if not x.dtype == weight.dtype == bias.dtype:  # mixed precision is torch's own business
        return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    found: Tensor = _Forward.apply(x, weight, bias, running_mean, running_var, momentum, _Layer(eps, fused))
    return found

r"""The second backward pass of a convolution as four convolutions of the first one's kind, for Hessian products.

For y = x * w, whose first backward pass is dx = D(g, w), dw = W(x, g), both linear in each argument, a product with (u, a) needs the
gradient of <u, D(g, w)> + <a, W(x, g)> = <g, u * w> + <g, x * a>:

    by g:  u * w + x * a,      by x:  D(g, a),      by w:  W(u, g).

Torch's own formula takes W as a convolution with the gradient for a kernel, which is as large as an image and up to four times slower
than the kernels of the first backward pass. They sum in another order, so results differ by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

#: Multiplications an example from which on a convolution has this second backward pass unless it is asked for by name.
LARGE = 1 << 22

_backward = torch.ops.aten.convolution_backward


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, how: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.how, ctx.bias = how, None if b is None else list(b.shape)
        return torch.conv2d(x, w, b, *how)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        wanted = ctx.needs_input_grad[:3]
        return (*_Backward.apply(g, *ctx.saved_tensors, ctx.how, ctx.bias, wanted), None)


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, w: Tensor, how: tuple[Any, ...], bias: Any, wanted: Any) -> Any:
        ctx.save_for_backward(g, x, w)
        ctx.how = how
        ctx.set_materialize_grads(False)
        return _first(g, x, w, how, wanted, bias)

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, a: Tensor | None, b: Tensor | None) -> Any:
        g, x, w = ctx.saved_tensors
        by_g = None if u is None else torch.conv2d(u, w, b, *ctx.how)
        if a is not None:
            along = torch.conv2d(x, a, b if u is None else None, *ctx.how)
            by_g = along if by_g is None else by_g.add_(along)
        elif u is None and b is not None:
            by_g = b.view(1, -1, 1, 1).expand_as(g)
        by_x = _first(g, x, a, ctx.how, (True, False, False))[0] if a is not None and ctx.needs_input_grad[1] else None
        by_w = _first(g, u, w, ctx.how, (False, True, False))[1] if u is not None and ctx.needs_input_grad[2] else None
        return by_g, by_x, by_w, None, None, None


def _first(g: Tensor, x: Tensor, w: Tensor, how: tuple[Any, ...], wanted: Any, bias: Any = None) -> Any:
    return _backward(g, x, w, bias, *how[:3], False, [0, 0], how[3], list(wanted))


def convolution(
    least: int, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """``torch.conv2d``, with this second backward pass where an example takes at least ``least`` multiplications."""
    of_one_kind = x.dtype == weight.dtype and (bias is None or bias.dtype == x.dtype)
    how = (stride, padding, dilation)
    plain = x.dim() == 4 and x.is_floating_point() and all(isinstance(v, (int, tuple, list)) for v in how)
    if (
        not plain
        or not of_one_kind
        or not weight.requires_grad
        or weight.numel() * x.shape[2:].numel() < least * math.prod(_pair(how[0]))
    ):
        return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)
    found: Tensor = _Forward.apply(x, weight, bias, (*(_pair(v) for v in how), groups))
    return found


def _pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value) * (2 // len(value))

"""Networks whose layers, written by formulas, normalise over the batch; and their derivatives with statistics as constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import network_oracle as oracle
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CE = F.cross_entropy


DRAW = torch.Generator().manual_seed(3)


X, Y = torch.randn(12, 4, generator=DRAW), torch.arange(12) % 3


def alive(t: Tensor) -> Tensor:
    return t


Statistics = Callable[[Any, Tensor, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]], Tensor]


class Layer(nn.Module):
    """A layer by a formula, in which ``mean`` and ``scale`` are held constant by the oracle alone."""

    def __init__(self, formula: Statistics, **attributes: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(5) + 0.5), nn.Parameter(torch.randn(5))
        self.formula, self.mean, self.scale = formula, alive, alive
        self.__dict__.update(attributes)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * self.formula(self, x, self.mean, self.scale) + self.bias


def einsum(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    mu = x.sum(0) / len(x)
    var = torch.einsum("ij,ij->j", x - mu, x - mu) / len(x)
    return (x - mean(mu)) / scale((var + s.eps).sqrt())


def matrix_product(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    average = x.new_ones(1, len(x)) / len(x)
    mu = average @ x
    return (x - mean(mu)) * scale((average @ (x - mu).square() + s.eps).rsqrt())


def unbiased(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    return (x - mean(x.mean(0))) / scale(torch.sqrt(x.var(0) + 1e-5))  # an eps without a name


class Fused(torch.autograd.Function):
    """Right in its first derivative, whose intermediate results are constants to the second."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.var(0, unbiased=False) + 1e-5)
        ctx.save_for_backward((x - x.mean(0)) * scale, scale)
        return (x - x.mean(0)) * scale

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        y_hat, scale = ctx.saved_tensors
        return scale * (g - g.mean(0) - y_hat * (g * y_hat).mean(0))


def fused(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    if mean is alive and scale is alive:
        return Fused.apply(x)
    return (x - mean(x.mean(0))) / scale((x.var(0, unbiased=False) + 1e-5).sqrt())


def net(layer: nn.Module, behind: nn.Module | None = None) -> nn.Sequential:
    """A perceptron with the layer, and with torch's batch norm elsewhere: a twin is made either way."""
    torch.manual_seed(1)
    for p in layer.parameters():
        nn.init.normal_(p)
    return nn.Sequential(nn.Linear(4, 5), layer, behind or nn.Tanh(), nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))  # fmt: skip


def standard(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    mu = x.mean(0)
    return (x - mean(mu)) / scale((((x - mu) ** 2).mean(0) + 1e-5).sqrt())


def by_formulas(model: nn.Sequential, freeze: str | None) -> nn.Sequential:
    """The network of :func:`net` with torch's own layer written by a formula as well, and its statistics as constants."""
    other = Layer(standard)
    other.weight, other.bias = model[4].weight, model[4].bias
    model[4] = other
    for layer in (model[1], other):
        layer.mean = Tensor.detach if freeze in ("both", "mean") else alive
        layer.scale = Tensor.detach if freeze in ("both", "variance") else alive
    return model


def right(formula: Statistics, freeze: str | None, **attributes: float) -> tuple[float, dict[str, Tensor], Tensor]:
    """Loss, gradient and Hessian."""
    return oracle.derivatives(by_formulas(net(Layer(formula, **attributes)), freeze), CE, (X, Y))


def assert_right(found: np.ndarray, expected: Tensor) -> None:
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-8 * float(expected.abs().max()))


class Inline(nn.Module):
    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one, self.bn, self.two, self.between = (nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3), between)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.between(torch.tanh(self.bn(self.one(x)))))


class Calls(nn.Module):
    """Batch normalisation by another call than torch's functional one."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def entropy_and(term: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda o, y: CE(o, y) + term(o)


class Sequences(Inline):
    """Of three axes, one of which is left behind what is between; a batch norm of torch's behind that."""

    def __init__(self, between: Callable[[Tensor], Tensor], time: int = 1) -> None:
        super().__init__(between)
        self.time = time

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.bn(self.between(self.one(x)).mean(self.time))))


def standardised_over(*axes: int, mean: bool = True, scale: bool = True) -> Callable[[Tensor], Tensor]:
    """By operations of which no form tells that they are a normalisation's."""

    def apply(h: Tensor) -> Tensor:
        centre = h.mean(axes, keepdim=True)
        inverse = torch.exp(-0.5 * torch.log((h - centre).square().mean(axes, keepdim=True) + 1e-5))
        return h * (inverse if scale else 1) + (-centre if mean else 0) * (inverse if scale else 1)

    return apply


SERIES = torch.randn(6, 3, 4, generator=DRAW), torch.arange(6) % 3

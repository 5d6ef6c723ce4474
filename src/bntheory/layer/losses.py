"""Downstream losses of a layer's output, with their first two derivatives in closed form.

A loss is a function of z, (..., m). ``value`` has shape (..., 1), ``grad`` (..., m), and ``hess(z)`` returns a product v -> H v. For
:class:`Softmax` the axis before the last counts the units (classes) of one group, which the loss couples: its product takes and
returns (..., K, m), and ``value`` is summed over the group, (..., 1, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bntheory.arrays import Array, is_torch, namespace, outer_dot
from bntheory.layer.closed_form import BatchNormLayer, Operator
from bntheory.layer.domain import Normaliser
from bntheory.layer.family import make_layer

__all__ = ["Linear", "LocalQuadratic", "Logistic", "Loss", "Softmax", "Squared", "layer_with_loss"]


class Loss(Protocol):
    """A twice differentiable function of a layer's output."""

    def value(self, z: Array) -> Array: ...
    def grad(self, z: Array) -> Array: ...
    def hess(self, z: Array) -> Operator: ...


@dataclass(frozen=True)
class Linear:
    """L = <a, z>, with a of shape (..., m)."""

    a: Array

    def value(self, z: Array) -> Array:
        """<a, z>."""
        return outer_dot(self.a + 0 * z, z)

    def grad(self, z: Array) -> Array:
        """a."""
        return self.a + 0 * z

    def hess(self, z: Array) -> Operator:
        """Zero."""
        return lambda v: 0 * v


@dataclass(frozen=True)
class Squared:
    """L = 1/2 ||z - t||^2, with targets t of shape (..., m)."""

    t: Array

    def value(self, z: Array) -> Array:
        """Half the squared distance."""
        return outer_dot(z - self.t, z - self.t) / 2

    def grad(self, z: Array) -> Array:
        """z - t."""
        return z - self.t

    def hess(self, z: Array) -> Operator:
        """The identity."""
        return lambda v: v


@dataclass(frozen=True)
class Logistic:
    """L = sum log(1 + exp(-s z)), with labels s of -1 or +1, (..., m)."""

    s: Array

    def value(self, z: Array) -> Array:
        """The logistic loss, without overflow at either end."""
        x = -self.s * z
        return _softplus(x).sum(-1)[..., None]

    def grad(self, z: Array) -> Array:
        """-s / (1 + exp(s z))."""
        return -self.s * _sigmoid(-self.s * z)

    def hess(self, z: Array) -> Operator:
        """Diagonal p (1 - p) with p = 1/(1 + exp(-z))."""
        p = _sigmoid(self.s * z)
        weight = p * _sigmoid(-self.s * z)
        return lambda v: weight * v


@dataclass(frozen=True)
class Softmax:
    """Cross-entropy over a group of K units: L = sum_i [ log sum_k exp z_ki - <t_i, z_i> ], targets t (..., K, m) sum to 1 over K."""

    t: Array

    def _p(self, z: Array) -> Array:
        top = z.amax(-2, keepdim=True) if is_torch(z) else np.max(z, axis=-2, keepdims=True)
        e = namespace(z).exp(z - top)
        return e / e.sum(-2)[..., None, :]

    def value(self, z: Array) -> Array:
        """Summed over the batch, (..., 1, 1)."""
        top = z.amax(-2, keepdim=True) if is_torch(z) else np.max(z, axis=-2, keepdims=True)
        log_sum = namespace(z).log(namespace(z).exp(z - top).sum(-2)) + top[..., 0, :]
        return (log_sum - (self.t * z).sum(-2)).sum(-1)[..., None, None]

    def grad(self, z: Array) -> Array:
        """softmax(z) - t."""
        return self._p(z) - self.t

    def hess(self, z: Array) -> Operator:
        """p v - p <p, v> over the group, sample by sample."""
        p = self._p(z)
        return lambda v: p * (v - (p * v).sum(-2)[..., None, :])


@dataclass(frozen=True)
class LocalQuadratic:
    """L = <g, z - z0> + 1/2 <z - z0, H (z - z0)>: any loss near z0, given by its gradient g and Hessian product."""

    z0: Array
    g: Array
    product: Operator

    def value(self, z: Array) -> Array:
        """The quadratic; zero at z0."""
        d = z - self.z0
        return outer_dot(self.g, d) + outer_dot(d, self.product(d)) / 2

    def grad(self, z: Array) -> Array:
        """g + H (z - z0)."""
        return self.g + self.product(z - self.z0)

    def hess(self, z: Array) -> Operator:
        """H."""
        return self.product


def layer_with_loss(
    loss: Loss,
    y: Array,
    *,
    normaliser: Normaliser = "batch",
    gamma: Any = 1.0,
    beta: Any = 0.0,
    eps: Any = 0.0,
) -> BatchNormLayer:
    """The layer at y with the derivatives of ``loss`` at its own output; arguments as for :class:`BatchNormLayer`."""
    z = make_layer(normaliser, y, gamma=gamma, beta=beta, eps=eps).z
    return make_layer(normaliser, y, loss.grad(z), loss.hess(z), gamma=gamma, beta=beta, eps=eps)


def _sigmoid(x: Array) -> Array:
    e = namespace(x).exp(-abs(x))
    return namespace(x).where(x >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: Array) -> Array:
    positive = (x + abs(x)) / 2
    return positive + namespace(x).log1p(namespace(x).exp(-abs(x)))

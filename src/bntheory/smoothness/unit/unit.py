r"""A single normalised unit with a separable loss, as a landscape in its pre-activations y and in its weights.

    f(y) = sum_i l(gamma y_hat_i + beta, t_i),    y_hat = (y - mean(y))/sqrt(var(y) + eps)

and its control, which is a landscape too: the *frozen twin* (mean and sigma are the constants they have at one point,
so that the forward map is affine; with mean 0 and sigma 1 it is the unit without normalisation). In weight space y = X
w, and f(X w) is a :class:`~bntheory.smoothness.restriction.AffinePullback` of the same object.

What is true of it (squared loss unless said otherwise; T the standard deviation of t, phi the correlation of y and t):

In y. f depends on y through the direction of its centred part only (eps = 0). It has no limit at constant batches,
unless gamma = 0 or t is constant: no global Lipschitz constant of any order exists. With eps > 0,
f_eps(y) = f_1(y/sqrt(eps)), so that

    Lip(f_eps) = Lip(f_1)/sqrt(eps),     Lip(grad f_eps) = Lip(grad f_1)/eps,        exactly,

and Lip(grad f_eps) >= gamma^2/eps (the Hessian at a constant batch is (gamma^2/eps)(I - 11'/m)) >= gamma^2/sigma^2, the
frozen twin's constant at any sigma: globally in y, BN never reduces it.

In w. The same scaling in eps; Lip(grad) >= (gamma^2/eps) lambda_max(X'CX), the Hessian at w = 0, C the centring matrix.
With eps = 0 and X'CX positive definite, f is smooth away from 0, Hess(w) = Hess(w/|w|)/|w|^2, and the gradient is
orthogonal to w: a step of gradient descent never shortens w, nor does any point of the step, so the loss along a whole
trajectory is M/|w_0|^2-smooth, M the supremum of the spectral norm over the unit sphere. For whitened inputs (X'1 = 0,
X'X = m I, at least two weights) M = (2/sqrt 3) m |gamma| T_X, T_X the standard deviation of the projection of t on the
range of X (any loss with H = I; see :mod:`bntheory.smoothness.unit.squared_loss`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from bntheory.layer import BatchNormLayer
from bntheory.smoothness.protocol import Vector, as_point
from bntheory.smoothness.unit.losses import SeparableLoss, loss_named


class _Unit:
    """Targets, one number an example, and a loss; as a function of y in R^m."""

    def __init__(self, target: ArrayLike, loss: str | SeparableLoss) -> None:
        t = np.asarray(target, dtype=np.float64)
        if t.ndim != 1 or t.shape[0] < 2:
            raise ValueError(f"target has shape {t.shape}; it is one number an example, shape (m,) with m >= 2")
        if not np.isfinite(t).all():
            raise ValueError(f"target has {int((~np.isfinite(t)).sum())} non-finite entries")
        self.target, self.loss = t, loss_named(loss)

    @property
    def dimension(self) -> int:
        return int(self.target.shape[0])


class BatchNormUnit(_Unit):
    """The unit with batch statistics, as a function of y in R^m. Gradients and products cost O(m).

    Raises ValueError where a point is a constant batch and eps = 0.
    """

    def __init__(
        self,
        target: ArrayLike,
        loss: str | SeparableLoss = "squared",
        *,
        gamma: float = 1.0,
        beta: float = 0.0,
        eps: float = 0.0,
    ) -> None:
        super().__init__(target, loss)
        self.gamma, self.beta, self.eps = float(gamma), float(beta), float(eps)
        for name, number in (("gamma", self.gamma), ("beta", self.beta), ("eps", self.eps)):
            if not math.isfinite(number):
                raise ValueError(f"{name} is {number}; give a finite number")
        if self.eps < 0:
            raise ValueError(f"eps is {eps}; it is added to a variance, so it must be >= 0")
        self._at: Vector | None = None
        self._layer: BatchNormLayer | None = None

    def layer(self, y: ArrayLike) -> BatchNormLayer:
        """The closed-form layer at y, with this loss's gradient and Hessian at z."""
        point = as_point(y, self.dimension, "y")
        if self._layer is None or self._at is None or not np.array_equal(self._at, point):
            z = BatchNormLayer(point, gamma=self.gamma, beta=self.beta, eps=self.eps).z
            curvature = self.loss.second(z, self.target)
            self._layer = BatchNormLayer(
                point,
                self.loss.first(z, self.target),
                lambda v: curvature * v,
                gamma=self.gamma,
                beta=self.beta,
                eps=self.eps,
            )
            self._at = np.array(point)
        return self._layer

    def value(self, y: Vector) -> float:
        z = BatchNormLayer(y, gamma=self.gamma, beta=self.beta, eps=self.eps).z
        return self.loss.total(z, self.target)

    def grad(self, y: Vector) -> Vector:
        return np.asarray(self.layer(y).input_grad)

    def hvp(self, y: Vector, v: Vector) -> Vector:
        return np.asarray(self.layer(y).input_hess(v))

    def frozen_at(self, y: ArrayLike) -> FrozenUnit:
        """The twin whose mean and sigma are the constants that they have at y."""
        layer = self.layer(y)
        return FrozenUnit(
            self.target,
            self.loss,
            gamma=self.gamma,
            beta=self.beta,
            mean=float(layer.mu[0]),
            sigma=float(layer.sigma[0]),
        )


class FrozenUnit(_Unit):
    """z = gamma (y - mean)/sigma + beta with constant mean and sigma: an affine rescaling and nothing else."""

    def __init__(
        self,
        target: ArrayLike,
        loss: str | SeparableLoss = "squared",
        *,
        gamma: float = 1.0,
        beta: float = 0.0,
        mean: float = 0.0,
        sigma: float = 1.0,
    ) -> None:
        super().__init__(target, loss)
        self.gamma, self.beta, self.mean, self.sigma = float(gamma), float(beta), float(mean), float(sigma)
        if not self.sigma > 0:
            raise ValueError(f"sigma is {sigma}; a frozen standard deviation divides, so it must be > 0")

    @property
    def factor(self) -> float:
        """gamma/sigma, by which every perturbation of y is multiplied."""
        return self.gamma / self.sigma

    def output(self, y: Vector) -> Vector:
        """z at y."""
        return np.asarray(self.factor * (y - self.mean) + self.beta)

    def value(self, y: Vector) -> float:
        return self.loss.total(self.output(y), self.target)

    def grad(self, y: Vector) -> Vector:
        return np.asarray(self.factor * self.loss.first(self.output(y), self.target))

    def hvp(self, y: Vector, v: Vector) -> Vector:
        return np.asarray(self.factor**2 * self.loss.second(self.output(y), self.target) * v)

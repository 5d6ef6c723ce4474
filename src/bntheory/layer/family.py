r"""The family of normalisers that the literature compares with batch normalisation, one unit each.

All write z = gamma y_hat + beta with y_hat = (y - mu)/sigma, and differ in what mu and sigma are:

=============  ==========  ======================================  =============================
normaliser     mu          sigma                                   source
=============  ==========  ======================================  =============================
``batch``      mean        sqrt(mean (y-mu)^2 + eps)               Ioffe and Szegedy 2015
``mean-only``  mean        1                                       Salimans and Kingma 2016
``unbiased``   mean        sqrt(sum (y-mu)^2/(m-1) + eps)          the variance of a sample
``rms``        0           sqrt(mean y^2 + eps)                    Zhang and Sennrich 2019
``frozen``     constant    constant, both with their value at y    the frozen-statistics twin
``l1``         mean        mean |y-mu| + eps                       Santurkar et al. 2018, appendix
``l2``         mean        as batch                                the same
``linf``       mean        max |y-mu|                              the same
=============  ==========  ======================================  =============================

For the l_p members sigma^p = mean |y-mu|^p + eps, whence d sigma = <q, C dy>/m with the *dual* vector q = |y_hat|^(p-1)
sign(y_hat) and C the centring matrix. In the limit p = inf q is m sign(y_hat_k) at the entry k of largest size and 0
elsewhere. Then

    dz/dy v       = (gamma/sigma) (C v - y_hat <q, C v>/m)               not symmetric unless q = y_hat
    input_grad    = (gamma/sigma) C (g - q <y_hat, g>/m)
    input_hess(v) = J' H J v - (d sigma/sigma) input_grad - (gamma/(m sigma)) C (q <dy_hat, g> + dq <y_hat, g>)

with dy_hat = J v/gamma (J dz/dy) and dq = (p-1) |y_hat|^(p-2) dy_hat, zero for p = 1 and p = inf. These derivatives
hold where sigma is differentiable: for p = 1 no entry equals the mean, for p = inf one entry alone is the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, get_args

import numpy as np

from bntheory.arrays import Array, is_object, is_torch, namespace
from bntheory.layer.closed_form import BatchNormLayer
from bntheory.layer.domain import Normaliser
from bntheory.layer.vocabulary import sqrt


class UnbiasedLayer(BatchNormLayer):
    """Divides by the root of the unbiased variance, ``var`` m/(m - 1); every formula has m - 1 where the scale is
    differentiated."""

    made_as = "unbiased"

    @property
    def _degrees(self) -> int:
        return self.m - 1

    @cached_property
    def sigma(self) -> Array:
        """sqrt(var m/(m - 1) + eps), (..., 1)."""
        return sqrt(self.var * self.m / self._degrees + self.eps)

    @property
    def dual(self) -> Array:
        """y_hat m/(m - 1), (..., m)."""
        return self.y_hat * self.m / self._degrees


class FrozenLayer(BatchNormLayer):
    """The frozen-statistics twin: mu and sigma keep the value they have at y, so the layer is an affine map."""

    made_as = "frozen"

    _not_passed = 0

    def _projected(self, v: Array, scale: Array, dot: Array | None = None, mean: Array | None = None) -> Array:
        """scale v: nothing depends on the batch."""
        return scale * v

    def input_hess(self, v: Array) -> Array:
        """(gamma/sigma) H (gamma/sigma) v, (..., m)."""
        slope = self.gamma / self.sigma
        return slope * self.hess(slope * v)


class MeanOnlyLayer(FrozenLayer):
    """Subtracts the mean and divides by nothing; ``sigma`` is 1 and eps plays no part."""

    made_as = "mean-only"

    _not_passed = 1

    def _refuse_constant_batch(self) -> None:
        """Constant batches are fine here."""

    @cached_property
    def sigma(self) -> Array:
        """One, (..., 1)."""
        return self.var * 0 + 1

    def _projected(self, v: Array, scale: Array, dot: Array | None = None, mean: Array | None = None) -> Array:
        """scale C v, (..., m)."""
        return scale * (v - self._mean(v))

    def input_hess(self, v: Array) -> Array:
        """gamma C H C gamma v, (..., m)."""
        return self.gamma * self.project(self.hess(self.gamma * self.project(v)))


class RmsLayer(BatchNormLayer):
    """Divides by the root mean square and subtracts nothing; ``mu`` is 0 and ``var`` the mean square."""

    made_as = "rms"

    _not_passed = 1

    def _refuse_constant_batch(self) -> None:
        if is_object(self.y):
            return
        if bool(((self.var == 0) & (self.eps == 0)).any()):
            raise ValueError(
                "y is zero over the whole batch and eps = 0: the root mean square is zero and y_hat is 0/0. Give eps > 0"
            )

    @cached_property
    def mu(self) -> Array:
        """Zero, (..., 1)."""
        return self._mean(self.y) * 0

    @cached_property
    def centred(self) -> Array:
        """y itself, (..., m)."""
        return self.y

    def _along_one(self, v: Array) -> Array:
        """Zero: nothing is subtracted in every coordinate."""
        return self.mu


class LpLayer(BatchNormLayer):
    """Centres and divides by the average l_p norm, p = 1, 2 or inf, so that sum |y_hat|^p = m (p finite, eps = 0)."""

    @property
    def made_as(self) -> str:
        """The name for :func:`make_layer`."""
        return f"l{'inf' if self.p == np.inf else int(self.p)}"

    def __init__(self, y: Array, grad: Array | None = None, hess: Any = None, *, p: float, **rest: Any) -> None:
        if p not in (1, 2, np.inf):
            raise ValueError(f"p is {p!r}; the average l_p norms of the literature have p = 1, 2 or inf")
        self.p = p
        super().__init__(y, grad, hess, **rest)
        if p == np.inf and bool((self.eps != 0).any()):
            raise ValueError("normalisation by the largest entry has no standard form with eps > 0; give eps = 0")

    @cached_property
    def sigma(self) -> Array:
        """The average l_p norm of y - mu, (..., 1)."""
        size = abs(self.centred)
        if self.p == 1:
            return self._mean(size) + self.eps
        if self.p == 2:
            return super().sigma
        return size.amax(-1, keepdim=True) if is_torch(size) else np.max(size, axis=-1, keepdims=True)

    @cached_property
    def dual(self) -> Array:
        """q = |y_hat|^(p-1) sign(y_hat), the gradient of m sigma with respect to y - mu; (..., m)."""
        if self.p == 2:
            return self.y_hat
        sign = _sign(self.centred)
        if self.p == 1:
            return sign
        size = abs(self.centred)
        first = size.argmax(-1)[..., None]
        index = namespace(size).arange(self.m, device=size.device)
        return sign * ((index == first) * self.m)

    def jac(self, v: Array) -> Array:
        """(dz/dy) v, (..., m)."""
        return self.gamma * self._dy_hat(v)

    def _dy_hat(self, v: Array) -> Array:
        v = v - self._mean(v)
        return (v - self.y_hat * (self.dot(self.dual, v) / self.m)) / self.sigma

    def vjp(self, u: Array) -> Array:
        """(dz/dy)' u, (..., m)."""
        w = u - self.dual * (self.dot(self.y_hat, u) / self.m)
        return (self.gamma / self.sigma) * (w - self._mean(w))

    @cached_property
    def jac_norm(self) -> Array:
        """The largest singular value of dz/dy, (..., 1).

        Up to gamma/sigma, dz/dy is I - u w' on the vectors orthogonal to 1, with u = y_hat and w = C q/m. All its
        singular values are 1 but two, whose squares have the sum t = 2 - 2 <u,w> + |u|^2 |w|^2 and the product
        (1 - <u,w>)^2. At m = 2 it is a number.
        """
        slope, w = abs(self.gamma) / self.sigma, (self.dual - self._mean(self.dual)) / self.m
        kept = 1 - self.dot(self.y_hat, w)
        if self.m == 2:
            return slope * abs(kept)
        t = 2 * kept + self.norm2(self.y_hat) * self.norm2(w)
        gap = t * t - 4 * kept * kept
        return slope * sqrt((t + sqrt(abs(gap))) / 2)

    @cached_property
    def input_grad(self) -> Array:
        """dL_hat/dy = (gamma/sigma) C (g - q <y_hat,g>/m), (..., m)."""
        return self.vjp(self.grad)

    def input_hess(self, v: Array) -> Array:
        """(d2L_hat/dy2) v, (..., m)."""
        if self.p == 2:
            return super().input_hess(v)
        dy_hat = self._dy_hat(v)
        dsigma = self.dot(self.dual, v - self._mean(v)) / self.m
        bend = self.dual * self.dot(dy_hat, self.grad)
        bend = bend - self._mean(bend)
        bent = -(dsigma / self.sigma) * self.input_grad - (self.gamma / (self.m * self.sigma)) * bend
        return self.vjp(self.hess(self.jac(v))) + bent


def _sign(x: Array) -> Array:
    if is_object(x):
        # the entries' own numbers: a sum of ints divided by m would be a rounded float
        return np.vectorize(lambda e: 0 * e + (int(e > 0) - int(e < 0)), otypes=[object])(x)
    return namespace(x).sign(x)


def make_layer(normaliser: Normaliser, *given: Any, **named: Any) -> BatchNormLayer:
    """The member of the family by name; arguments as for :class:`BatchNormLayer`. Raises ValueError for an unknown
    name."""
    makers: Mapping[str, Callable[..., BatchNormLayer]] = {
        "batch": BatchNormLayer,
        "l1": partial(LpLayer, p=1),
        "l2": BatchNormLayer,
        "linf": partial(LpLayer, p=np.inf),
        "unbiased": UnbiasedLayer,
        "mean-only": MeanOnlyLayer,
        "rms": RmsLayer,
        "frozen": FrozenLayer,
    }
    if normaliser not in makers:
        raise ValueError(f"normaliser is {normaliser!r}; it can be one of {', '.join(map(repr, get_args(Normaliser)))}")
    return makers[normaliser](*given, **named)

"""The words in which a layer claim is written.

One unit (channel) of a normalisation layer with batch size m: pre-activations ``y`` in R^m, mean ``mu``, biased
variance ``var``, ``sigma = sqrt(var + eps)``, ``y_hat = (y - mu)/sigma``, ``z = gamma*y_hat + beta`` and a
downstream loss L(z) with gradient ``grad`` and Hessian ``hess`` *at z*. ``L_hat(y) = L(z(y))`` has gradient
``input_grad`` and Hessian ``input_hess`` with respect to y; the layer itself has the Jacobian ``jac`` = dz/dy.

The same words are spoken in four worlds: closed-form arrays (numpy, torch, Arb balls), inner-product algebra (symbolic
m), real arithmetic (z3), and layers captured inside a network. A claim that uses nothing else can be judged in all of
them. Vectors add, subtract and scale; scalars have field arithmetic and non-negative integer powers; ``dot``,
``norm2``, ``trace`` and :func:`sqrt` are the only other operations. In array worlds a division by zero gives no number,
so a claim asserts nothing there; write products instead of quotients where that matters.

Some claims speak of more than the layer: a factor a > 0, an arbitrary shift s of the batch, a data matrix X. These are
*free* quantities, declared in the claim's :class:`~bntheory.layer.domain.LayerDomain` and universally quantified:
``layer.scalar("a")``, ``layer.vector("s")``, ``layer.operator("K")(v)``.

What else papers speak of is built from these words: the same layer at a second batch
(:mod:`bntheory.layer.second_batch`), a second unit and the block of the Hessian between the two
(:mod:`bntheory.layer.second_unit`), and bounds on eigenvalues, which are claims for all directions
(:mod:`bntheory.claims.typed.eigenvalues`). Normalisers by name, losses and their smoothness belong to the
:class:`~bntheory.layer.domain.LayerDomain`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

Scalar = Any
Vector = Any


@runtime_checkable
class Layer(Protocol):
    """What a claim function receives. In array worlds scalars have shape (..., 1) and vectors (..., m)."""

    @property
    def m(self) -> Scalar: ...
    @property
    def gamma(self) -> Scalar: ...
    @property
    def beta(self) -> Scalar: ...
    @property
    def eps(self) -> Scalar: ...
    @property
    def mu(self) -> Scalar: ...
    @property
    def var(self) -> Scalar: ...
    @property
    def sigma(self) -> Scalar: ...
    @property
    def one(self) -> Vector: ...
    @property
    def y(self) -> Vector: ...
    @property
    def y_hat(self) -> Vector: ...
    @property
    def dual(self) -> Vector:
        """q with d sigma = <q, C dy>/m: y_hat for batch normalisation, |y_hat|^(p-1) sign(y_hat) for l_p."""

    @property
    def z(self) -> Vector:
        """The output, gamma y_hat + beta."""

    @property
    def jac_norm(self) -> Scalar:
        """The largest singular value of the Jacobian dz/dy; |gamma|/sigma for batch normalisation with m >= 3."""

    @property
    def grad(self) -> Vector: ...
    @property
    def input_grad(self) -> Vector: ...
    @property
    def gamma_grad(self) -> Scalar:
        """dL_hat/dgamma, the gradient of the layer's own scale."""

    @property
    def beta_grad(self) -> Scalar:
        """dL_hat/dbeta, the gradient of the layer's own shift."""

    def jac(self, v: Vector) -> Vector:
        """(dz/dy) v, the Jacobian of the layer; symmetric but for l_1 and l_inf."""

    def trace(self, operator: Callable[[Vector], Vector]) -> Scalar:
        """The trace of ``layer.hess``, ``layer.jac``, ``layer.input_hess`` or a free operator."""

    def hess(self, v: Vector) -> Vector:
        """H v, the Hessian of the downstream loss at z."""

    def input_hess(self, v: Vector) -> Vector:
        """The Hessian of L_hat with respect to y, applied to v."""

    def dot(self, u: Vector, v: Vector) -> Scalar: ...
    def norm2(self, v: Vector) -> Scalar:
        """The squared Euclidean norm."""

    def scalar(self, name: str) -> Scalar:
        """A free scalar of the claim's domain."""

    def vector(self, name: str) -> Vector:
        """A free vector in R^m of the claim's domain."""

    def operator(self, name: str) -> Callable[[Vector], Vector]:
        """A free symmetric operator on R^m of the claim's domain."""


#: While a claim is stated, what makes a Python number one of its layer's, so that sqrt(2) is no rounded decimal.
stated: ContextVar[Callable[[Any], Any] | None] = ContextVar("stated", default=None)


def sqrt(x: Scalar) -> Scalar:
    """The non-negative square root in whatever world ``x`` belongs to; within a claim that of a number is exact."""
    if isinstance(x, (int, float, Fraction)):
        number = stated.get()
        return math.sqrt(x) if number is None else number(x).sqrt()
    method = getattr(x, "sqrt", None)
    if callable(method):
        return method()
    import numpy as np

    return np.sqrt(x)


def batch_mean(layer: Layer, v: Vector) -> Scalar:
    """The mean of v over the batch, <1, v>/m."""
    return layer.dot(layer.one, v) / layer.m


def centre(layer: Layer, v: Vector) -> Vector:
    """v minus its mean over the batch."""
    return v - batch_mean(layer, v) * layer.one


def standardise(layer: Layer, v: Vector, eps: Scalar | None = None) -> Vector:
    """Batch normalisation without gamma and beta applied to another batch v; ``eps`` defaults to the layer's.

    ``standardise(layer, layer.y)`` is ``layer.y_hat``.
    """
    centred = centre(layer, v)
    variance = layer.norm2(centred) / layer.m
    return centred / sqrt(variance + (layer.eps if eps is None else eps))

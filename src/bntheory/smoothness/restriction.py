"""Landscapes made of others: on a line, a plane or any affine subspace, scaled and rotated.

A ball or a sphere is not a restriction of the function but of where it is looked at: see
:mod:`bntheory.smoothness.regions`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.smoothness.protocol import Landscape, Vector, as_point


class AffinePullback:
    """s -> f(origin + A s) for a matrix A of shape (n, k): chain rule, one call of f for each call.

    With A the data matrix X and f a function of pre-activations this is the landscape in the weights; with A
    orthonormal it is a restriction to a subspace (k < n) or a rotation (k = n); with A = a I a change of the unit of
    length.
    """

    def __init__(self, landscape: Landscape, matrix: ArrayLike, origin: ArrayLike | None = None) -> None:
        self.matrix: Floats = np.asarray(matrix, dtype=np.float64)
        if self.matrix.ndim != 2 or self.matrix.shape[0] != landscape.dimension or self.matrix.shape[1] < 1:
            raise ValueError(
                f"matrix has shape {self.matrix.shape}; the landscape has dimension {landscape.dimension}, so it needs shape "
                f"({landscape.dimension}, k) with k >= 1"
            )
        if not np.isfinite(self.matrix).all():
            raise ValueError("matrix has non-finite entries")
        self.inner = landscape
        n = landscape.dimension
        self.origin = np.zeros(n) if origin is None else as_point(origin, n, "origin")

    @property
    def dimension(self) -> int:
        return int(self.matrix.shape[1])

    def embed(self, s: Vector) -> Vector:
        """The point of the inner landscape that s stands for."""
        return np.asarray(self.origin + self.matrix @ s)

    def value(self, x: Vector) -> float:
        return self.inner.value(self.embed(x))

    def grad(self, x: Vector) -> Vector:
        return np.asarray(self.matrix.T @ self.inner.grad(self.embed(x)))

    def hvp(self, x: Vector, v: Vector) -> Vector:
        return np.asarray(self.matrix.T @ self.inner.hvp(self.embed(x), self.matrix @ v))


def _direction(landscape: Landscape, direction: ArrayLike, name: str) -> Vector:
    d = as_point(direction, landscape.dimension, name)
    length = float(np.linalg.norm(d))
    if length == 0:
        raise ValueError(f"{name} is the zero vector; it spans no line")
    return d / length


def line(landscape: Landscape, origin: ArrayLike, direction: ArrayLike) -> AffinePullback:
    """s -> f(origin + s d), d the direction at unit length: s is a distance."""
    return AffinePullback(landscape, _direction(landscape, direction, "direction")[:, None], origin)


def plane(landscape: Landscape, origin: ArrayLike, first: ArrayLike, second: ArrayLike) -> AffinePullback:
    """(s, t) -> f(origin + s u + t v), (u, v) the orthonormalised pair. Raises ValueError where they are parallel."""
    u = _direction(landscape, first, "first")
    v = _direction(landscape, second, "second")
    v = v - (u @ v) * u
    if float(np.linalg.norm(v)) < 1e-8:
        raise ValueError("first and second are parallel: they span a line, not a plane")
    return AffinePullback(landscape, np.stack([u, v / np.linalg.norm(v)], axis=1), origin)


class Scaled:
    """c f: every Lipschitz-like constant is multiplied by |c|, no scale-free measure changes (for c > 0)."""

    def __init__(self, landscape: Landscape, factor: float) -> None:
        self.inner, self.factor = landscape, float(factor)
        if not np.isfinite(self.factor):
            raise ValueError(f"factor is {factor}; give a finite number")

    @property
    def dimension(self) -> int:
        return self.inner.dimension

    def value(self, x: Vector) -> float:
        return self.factor * self.inner.value(x)

    def grad(self, x: Vector) -> Vector:
        return self.factor * self.inner.grad(x)

    def hvp(self, x: Vector, v: Vector) -> Vector:
        return self.factor * self.inner.hvp(x, v)

"""The protocol: a scalar function of a flat float64 vector with its gradient and Hessian-vector product.

A toy function, a single normalised unit with a loss, a least-squares model and a whole network are all landscapes, so
that each measure of smoothness is written once. Points are flat numpy vectors; a torch function becomes a landscape
through :class:`bntheory.smoothness.autograd.TorchLandscape`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bntheory.smoothness.measure import Cost

Vector = NDArray[np.float64]


@runtime_checkable
class Landscape(Protocol):
    """value: (n,) -> float; grad: (n,) -> (n,); hvp: (n,), (n,) -> (n,), the product of the Hessian at x with v."""

    @property
    def dimension(self) -> int: ...

    def value(self, x: Vector) -> float: ...

    def grad(self, x: Vector) -> Vector: ...

    def hvp(self, x: Vector, v: Vector) -> Vector: ...


def as_point(x: ArrayLike, dimension: int, name: str = "x") -> Vector:
    """x as a flat float64 vector of the given length; a number is taken for a vector of length 1.

    Raises ValueError for another length or non-finite entries.
    """
    point = np.atleast_1d(np.asarray(x, dtype=np.float64))
    if point.shape != (dimension,):
        raise ValueError(
            f"{name} has shape {point.shape}, but the landscape has dimension {dimension}: give a flat vector of shape "
            f"({dimension},)"
        )
    if not np.isfinite(point).all():
        raise ValueError(f"{name} has {int((~np.isfinite(point)).sum())} non-finite entries; give a finite point")
    return point


class FunctionLandscape:
    """A landscape made of plain functions, for toys and tests.

    Without ``hvp`` the product is a central difference of the gradient (relative error about 1e-10 where the third
    derivative is of the order of the second); where that matters give the product itself.
    """

    def __init__(
        self,
        dimension: int,
        value: Callable[[Vector], float],
        grad: Callable[[Vector], Vector],
        hvp: Callable[[Vector, Vector], Vector] | None = None,
        name: str = "function",
    ) -> None:
        if dimension < 1:
            raise ValueError(f"dimension is {dimension}; a landscape has at least one parameter")
        self.name = name
        self._dimension = int(dimension)
        self._value, self._grad, self._hvp = value, grad, hvp

    @property
    def dimension(self) -> int:
        return self._dimension

    def value(self, x: Vector) -> float:
        return float(self._value(x))

    def grad(self, x: Vector) -> Vector:
        return np.asarray(self._grad(x), dtype=np.float64)

    def hvp(self, x: Vector, v: Vector) -> Vector:
        if self._hvp is not None:
            return np.asarray(self._hvp(x, v), dtype=np.float64)
        length = float(np.linalg.norm(v))
        if length == 0.0:
            return np.zeros_like(x)
        h = np.finfo(float).eps ** (1 / 3) * max(1.0, float(np.linalg.norm(x))) / length
        return (self.grad(x + h * v) - self.grad(x - h * v)) / (2 * h)


class Counted:
    """A landscape that counts what it is asked; every measure wraps its argument in one."""

    def __init__(self, landscape: Landscape) -> None:
        self.inner = landscape
        self.values = self.gradients = self.products = 0

    @property
    def dimension(self) -> int:
        return self.inner.dimension

    def value(self, x: Vector) -> float:
        self.values += 1
        return self.inner.value(x)

    def grad(self, x: Vector) -> Vector:
        self.gradients += 1
        return self.inner.grad(x)

    def hvp(self, x: Vector, v: Vector) -> Vector:
        self.products += 1
        return self.inner.hvp(x, v)

    @property
    def cost(self) -> Cost:
        """The calls so far."""
        return Cost(self.values, self.gradients, self.products)

"""Arrays of numbers with a bound on their rounding error, in float64 or in many digits of mpmath.

The numbers of the oracle. Nothing of bntheory is used here. The first axis counts layers. ``bad`` marks layers at which a
value is undefined (a zero divisor, a root of a negative number), ``unsure`` those at which rounding leaves that open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

__all__ = ["Bounded", "World", "digits", "floats"]


@dataclass(frozen=True)
class World:
    """How numbers are kept: ``unit`` is the roundoff, ``exact_zero`` whether what is below its error bound counts as zero.

    With 60 digits and small rational input, a value below 1e-50 that is not zero does not occur; in floats it does.
    """

    unit: float
    exact_zero: bool
    of: Callable[[Any], Any]
    root: Callable[[Any], Any]

    def number(self, x: Fraction | float | int) -> Any:
        return self.of(x.numerator) / self.of(x.denominator) if isinstance(x, Fraction) else self.of(x)


def floats() -> World:
    """Float64: thousands of layers at once, undecided near zero."""
    return World(2.0**-50, False, lambda x: np.asarray(x, dtype=np.float64), np.sqrt)


def digits(count: int) -> World:
    """``count`` decimal digits; the caller keeps mpmath's precision at that (``mpmath.workdps``)."""
    to = np.frompyfunc(
        lambda x: (
            mpmath.mpf(float(x))
            if isinstance(x, np.floating)
            else mpmath.mpf(int(x))
            if isinstance(x, np.integer)
            else mpmath.mpf(x)
        ),
        1,
        1,
    )
    return World(
        10.0 ** (2 - count),
        True,
        lambda x: np.asarray(to(np.asarray(x)), dtype=object),
        lambda x: np.asarray(np.frompyfunc(mpmath.sqrt, 1, 1)(x), dtype=object),
    )


def _float(x: Any) -> Any:
    return np.asarray(x, dtype=np.float64)


def _where(condition: Any, a: Any, b: Any) -> Any:
    return np.where(condition, a, b)


class Bounded:
    """x with |x - true| <= e. Scalars have shape (n,), vectors (n, m); ``bad`` and ``unsure`` have shape (n,)."""

    __slots__ = ("bad", "e", "unsure", "world", "x")

    def __init__(self, world: World, x: Any, e: Any = None, bad: Any = None, unsure: Any = None) -> None:
        self.world, self.x = world, x
        n = x.shape[0]
        self.e = world.unit * np.abs(_float(x)) if e is None else e
        self.bad = np.zeros(n, bool) if bad is None else bad
        self.unsure = np.zeros(n, bool) if unsure is None else unsure

    @property
    def is_vector(self) -> bool:
        return self.x.ndim == 2

    @property
    def size(self) -> Any:
        return np.abs(_float(self.x))

    def _lift(self, other: Bounded) -> tuple[Any, Any, Any, Any]:
        a, ea, b, eb = self.x, self.e, other.x, other.e
        if a.ndim < b.ndim:
            a, ea = a[:, None], ea[:, None]
        if b.ndim < a.ndim:
            b, eb = b[:, None], eb[:, None]
        return a, ea, b, eb

    def _result(self, x: Any, e: Any, *others: Bounded, bad: Any = False, unsure: Any = False) -> Bounded:
        for o in (self, *others):
            bad, unsure = bad | o.bad, unsure | o.unsure
        e = e + self.world.unit * np.abs(_float(x))
        broken = ~np.isfinite(_float(x)) | ~np.isfinite(e)
        broken = broken.any(-1) if broken.ndim == 2 else broken
        return Bounded(self.world, x, e, bad, unsure | (broken & ~bad))

    def __neg__(self) -> Bounded:
        return Bounded(self.world, -self.x, self.e, self.bad, self.unsure)

    def __add__(self, other: Bounded) -> Bounded:
        a, ea, b, eb = self._lift(other)
        return self._result(a + b, ea + eb, other)

    def __sub__(self, other: Bounded) -> Bounded:
        a, ea, b, eb = self._lift(other)
        return self._result(a - b, ea + eb, other)

    def __mul__(self, other: Bounded) -> Bounded:
        a, ea, b, eb = self._lift(other)
        return self._result(a * b, np.abs(_float(a)) * eb + np.abs(_float(b)) * ea + ea * eb, other)

    def inverse(self) -> Bounded:
        near = self.size <= self.e
        x = _where(near, self.x * 0 + self.world.of(1), self.x)
        low = np.maximum(np.abs(_float(x)) - self.e, np.abs(_float(x)) * 1e-3)
        e = self.e / (low * low)
        if self.world.exact_zero:
            return self._result(1 / x, e, bad=near)
        return self._result(1 / x, e, unsure=near)

    def __truediv__(self, other: Bounded) -> Bounded:
        return self * other.inverse()

    def __pow__(self, power: int) -> Bounded:
        if power < 0:
            return (self**-power).inverse()
        result = Bounded(self.world, self.x * 0 + self.world.of(1), self.e * 0)
        for _ in range(power):
            result = result * self
        if power == 0:
            return Bounded(self.world, result.x, result.e, self.bad, self.unsure)
        return result

    def sqrt(self) -> Bounded:
        negative = _float(self.x) < -self.e
        near = (self.size <= self.e) & ~negative
        x = _where(negative | near, self.x * 0 + self.world.of(1), self.x)
        root = self.world.root(x)
        e = self.e / np.abs(_float(root))
        root = _where(near, self.x * 0, root)
        e = np.where(near, 0.0 if self.world.exact_zero else np.sqrt(2 * self.e), e)
        return self._result(root, e, bad=negative, unsure=near & (not self.world.exact_zero) & (self.e > 0))

    def dot(self, other: Bounded) -> Bounded:
        product = self * other
        x = product.x.sum(-1)
        e = product.e.sum(-1) + self.world.unit * product.size.sum(-1) * self.x.shape[-1]
        return self._result(x, e, other)

    def apply(self, matrix: Any) -> Bounded:
        """The symmetric matrices (n, m, m), given without error, applied to vectors."""
        x = (matrix * self.x[:, None, :]).sum(-1)
        size = np.abs(_float(matrix))
        e = (size * self.e[:, None, :]).sum(-1)
        e = e + self.world.unit * (size * self.size[:, None, :]).sum(-1) * self.x.shape[-1]
        return self._result(x, e)

    def signs(self) -> Any:
        """-1, 0, 1 where the sign of each entry is certain, 2 where it is not."""
        certain = self.size > self.e
        zero = np.where((self.e == 0) | self.world.exact_zero, 0, 2)
        return np.where(certain, np.where(_float(self.x) > 0, 1, -1), zero)

"""Arb balls that refuse to guess.

A comparison of two overlapping balls has no answer; python-flint returns False for it, which would silently steer a claim or
an absolute value down one branch. :class:`Ball` raises :class:`Undecided` instead, and the certificate then doubles the
precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from flint import arb, ctx, fmpq

from bntheory.layer.constants import exact
from bntheory.layer.number import Number, between


class Undecided(ArithmeticError):
    """Two balls overlap, so their order is not known at this precision."""


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Ball arithmetic with this many bits inside the block; the setting before it is put back."""
    before = ctx.prec
    ctx.prec = bits
    try:
        yield
    finally:
        ctx.prec = before


def _arb(x: Any) -> Any:
    if isinstance(x, Ball):
        return x.value
    number = exact(x)
    return arb(fmpq(number.numerator, number.denominator))


class Ordered(Number):
    """A number whose order with another is known, or asking for it raises."""

    __slots__ = ()

    def _order(self, other: Any) -> int:
        """-1, 0 or 1."""
        raise NotImplementedError

    def __lt__(self, other: Any) -> bool:
        return self._order(other) < 0

    def __le__(self, other: Any) -> bool:
        return self._order(other) <= 0

    def __gt__(self, other: Any) -> bool:
        return self._order(other) > 0

    def __ge__(self, other: Any) -> bool:
        return self._order(other) >= 0


class Ball(Ordered):
    """A real number known to lie in an interval."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value if isinstance(value, arb) else _arb(value)

    def _own(self, x: Any) -> Ball:
        return x if isinstance(x, Ball) else Ball(x)

    @between
    def __add__(self, other: Any) -> Ball:
        return Ball(self.value + other.value)

    @between
    def __mul__(self, other: Any) -> Ball:
        return Ball(self.value * other.value)

    @between
    def __truediv__(self, other: Any) -> Ball:
        return Ball(self.value / other.value)

    def __pow__(self, power: Any) -> Ball:
        return Ball(self.value ** (int(power) if isinstance(power, (int, np.integer)) else _arb(power)))

    def __neg__(self) -> Ball:
        return Ball(-self.value)

    def __abs__(self) -> Ball:
        return Ball(abs(self.value))

    def sqrt(self) -> Ball:
        """The square root; no number for a ball that reaches below zero, as for a quotient by a ball that holds zero.

        The value may be zero there, or negative: more digits, or radicals, tell.
        """
        return Ball(self.value.sqrt() if self.value >= 0 else arb("nan"))

    @property
    def missing(self) -> str:
        """ "unknown" for what is no number at this precision, "" otherwise."""
        return "" if self.value.is_finite() else "unknown"

    def sign(self) -> int | None:
        """-1, 0 or 1 where the whole ball agrees, None otherwise."""
        if self.value > 0:
            return 1
        if self.value < 0:
            return -1
        return 0 if self.value.is_zero() else None

    def _order(self, other: Any) -> int:
        difference = self - other
        sign = difference.sign() if isinstance(difference, Ball) else None
        if sign is None:
            raise Undecided(f"{self} and {other} overlap")
        return sign

    def __eq__(self, other: Any) -> bool:
        return self._order(other) == 0

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return self._order(0) != 0

    def __float__(self) -> float:
        return float(self.value.mid())

    def __repr__(self) -> str:
        return str(self.value.str(17))

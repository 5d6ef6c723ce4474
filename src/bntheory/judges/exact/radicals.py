"""Exact real numbers of the form sum_n c_n sqrt(n): c_n rational, n integers of different square classes.

The values of a layer at rational data are of this form: y_hat brings sqrt(var + eps), a norm brings another root. Square roots
of integers no two of which have a square as their product are linearly independent over the rationals, so a number is zero
exactly if it has no terms. Small n are kept squarefree; large ones are not factored, and a product that is a square merges them. That decides the equalities which no ball of positive radius can decide. Signs of non-zero numbers come
from Arb balls, whose precision is doubled until they exclude zero.

Roots of irrational numbers do not fit and raise :class:`Inexact`; the certificate then relies on balls alone.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import gcd, isqrt
from typing import Any

import numpy as np
from flint import arb, ctx, fmpq, fmpz

__all__ = ["Inexact", "Radical"]

_MAX_TERMS = 64
_FACTOR_BITS = 80  # larger radicands are not factored


class Inexact(ArithmeticError):  # noqa: N818 - a limit of the number type, not a failure
    """The result is not a rational combination of square roots, or too large a one; it says nothing about its value."""


def _rational(x: Any) -> fmpq:
    if isinstance(x, fmpq):
        return x
    if isinstance(x, (bool, int, np.integer)):
        return fmpq(int(x))
    if isinstance(x, fmpz):
        return fmpq(x)
    if isinstance(x, (float, np.floating)):
        x = Fraction(float(x))  # the float's own binary value
    if isinstance(x, Fraction):
        return fmpq(x.numerator, x.denominator)
    raise TypeError(f"{type(x).__name__} is no exact number")


@lru_cache(maxsize=4096)
def _square_part(n: int) -> tuple[int, int]:
    """s, r with n = s^2 r and r squarefree."""
    root = fmpz(n).isqrt()
    if root * root == n:
        return int(root), 1
    if n.bit_length() > _FACTOR_BITS:
        return 1, n
    square, rest = 1, 1
    for prime, power in fmpz(n).factor():
        square *= int(prime) ** (power // 2)
        rest *= int(prime) ** (power % 2)
    return square, rest


def _root(n: int) -> int | None:
    """The square root of a perfect square."""
    root = isqrt(n)
    return root if root * root == n else None


def _add_term(terms: dict[int, fmpq], n: int, c: fmpq) -> None:
    """Add c sqrt(n), to a term of the same square class where there is one."""
    if n not in terms and n.bit_length() > 1:
        for k in terms:
            if max(n, k).bit_length() > _FACTOR_BITS and (root := _root(n * k)) is not None:
                n, c = k, c * fmpq(root, k)  # sqrt(n) = sqrt(n k)/k sqrt(k)
                break
    total = terms.get(n, 0) + c
    if total:
        terms[n] = total
    else:
        terms.pop(n, None)


def _conjugation(radicands: list[int]) -> set[int]:
    """Those radicands whose roots change sign under one automorphism of the field that moves at least the first of them.

    The square classes are a vector space over F_2. The first radicand joins a basis with coordinate 1, every further basis
    member gets 0, and the others follow from the subset of the basis whose product with them is a square.
    """
    basis: list[tuple[int, int]] = []
    flipped: set[int] = set()
    for n in radicands:
        products = [(1, 0)]
        for b, parity in basis:
            products += [(p * b, q ^ parity) for p, q in products]
        known = [q for p, q in products if _root(n * p) is not None]
        parity = known[0] if known else int(not basis)
        if not known:
            if len(basis) == 6:
                raise Inexact("a number with seven independent square roots")
            basis.append((n, parity))
        if parity:
            flipped.add(n)
    return flipped


class Radical:
    """sum_n c_n sqrt(n), immutable, with exact field arithmetic, order and square roots of rationals."""

    __slots__ = ("_terms",)

    def __init__(self, value: Any = 0) -> None:
        if isinstance(value, Radical):
            self._terms: dict[int, fmpq] = value._terms
        else:
            q = _rational(value)
            self._terms = {1: q} if q else {}

    @classmethod
    def _of(cls, terms: dict[int, fmpq]) -> Radical:
        if len(terms) > _MAX_TERMS:
            raise Inexact(f"a sum of {len(terms)} different square roots")
        new = cls.__new__(cls)
        new._terms = terms
        return new

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def is_rational(self) -> bool:
        """Whether no square root is left."""
        return not self._terms or (len(self._terms) == 1 and 1 in self._terms)

    def as_fraction(self) -> Fraction:
        """The rational value; Inexact where there is none."""
        if not self.is_rational:
            raise Inexact("an irrational number")
        q = self._terms.get(1, fmpq(0))
        return Fraction(int(q.p), int(q.q))

    def ball(self) -> arb:
        """An enclosure at the present precision of flint."""
        total = arb(0)
        for n, c in self._terms.items():
            total += arb(c) if n == 1 else arb(c) * arb(n).sqrt()
        return total

    def sign(self) -> int:
        """-1, 0 or 1, exactly."""
        if not self._terms:
            return 0
        if len(self._terms) == 1:
            return 1 if next(iter(self._terms.values())) > 0 else -1
        before = ctx.prec
        try:
            ctx.prec = 64
            while True:  # ends, because the number is not zero
                ball = self.ball()
                if ball > 0:
                    return 1
                if ball < 0:
                    return -1
                ctx.prec *= 2
        finally:
            ctx.prec = before

    def __repr__(self) -> str:
        if not self._terms:
            return "0"
        return " + ".join(f"{c}" if n == 1 else f"{c}*sqrt({n})" for n, c in sorted(self._terms.items()))

    def __float__(self) -> float:
        before = ctx.prec
        try:
            ctx.prec = 64
            while self._terms and (ball := self.ball()).rel_accuracy_bits() < 53:
                ctx.prec *= 2
            return float(ball.mid()) if self._terms else 0.0
        finally:
            ctx.prec = before

    def __hash__(self) -> int:
        return hash(float(self))

    def __bool__(self) -> bool:
        return bool(self._terms)

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Radical:
        other = _operand(other)
        if other is None:
            return NotImplemented
        terms = dict(self._terms)
        for n, c in other._terms.items():
            _add_term(terms, n, c)
        return Radical._of(terms)

    __radd__ = __add__

    def __neg__(self) -> Radical:
        return Radical._of({n: -c for n, c in self._terms.items()})

    def __pos__(self) -> Radical:
        return self

    def __sub__(self, other: Any) -> Radical:
        term = _operand(other)
        return NotImplemented if term is None else self + -term

    def __rsub__(self, other: Any) -> Radical:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> Radical:
        other = _operand(other)
        if other is None:
            return NotImplemented
        terms: dict[int, fmpq] = {}
        for n, c in self._terms.items():
            for k, d in other._terms.items():
                common = gcd(n, k)
                product = (n // common) * (k // common)
                square, rest = _square_part(product)
                _add_term(terms, rest, c * d * common * square)
        return Radical._of(terms)

    __rmul__ = __mul__

    def inverse(self) -> Radical:
        """1/self, by multiplying with conjugates until the denominator is rational."""
        if not self._terms:
            raise ZeroDivisionError("division by an exact zero")
        if len(self._terms) == 1:
            ((n, c),) = self._terms.items()
            return Radical._of({n: 1 / (c * n)})
        flipped = _conjugation([n for n in self._terms if n != 1])
        conjugate = Radical._of({n: (-c if n in flipped else c) for n, c in self._terms.items()})
        return conjugate * (self * conjugate).inverse()

    def __truediv__(self, other: Any) -> Radical:
        other = _operand(other)
        return NotImplemented if other is None else self * other.inverse()

    def __rtruediv__(self, other: Any) -> Radical:
        return self.inverse().__mul__(other)

    def __pow__(self, power: Any) -> Radical:
        if isinstance(power, (float, np.floating)) and float(power) == 0.5:
            return self.sqrt()
        if isinstance(power, (float, np.floating)) and float(power).is_integer():
            power = int(power)
        if not isinstance(power, (int, np.integer)):
            return NotImplemented
        base, power = (self, int(power)) if power >= 0 else (self.inverse(), -int(power))
        result = Radical(1)
        while power:
            if power & 1:
                result = result * base
            power >>= 1
            if power:
                base = base * base
        return result

    def sqrt(self) -> Radical:
        """The non-negative root of a non-negative rational; Inexact otherwise."""
        value = self.as_fraction()
        if value < 0:
            raise ArithmeticError(f"the square root of {value}, a negative number")
        if value == 0:
            return Radical(0)
        square, rest = _square_part(value.numerator * value.denominator)
        return Radical._of({rest: fmpq(square, value.denominator)})

    def __abs__(self) -> Radical:
        return -self if self.sign() < 0 else self

    # -- order ---------------------------------------------------------------------------------------------------

    def __eq__(self, other: Any) -> bool:
        other = _operand(other)
        return NotImplemented if other is None else not (self - other)._terms

    def __lt__(self, other: Any) -> bool:
        return self.__sub__(other).sign() < 0

    def __le__(self, other: Any) -> bool:
        return self.__sub__(other).sign() <= 0

    def __gt__(self, other: Any) -> bool:
        return self.__sub__(other).sign() > 0

    def __ge__(self, other: Any) -> bool:
        return self.__sub__(other).sign() >= 0


def _operand(x: Any) -> Radical | None:
    if isinstance(x, Radical):
        return x
    try:
        return Radical(x)
    except TypeError:
        return None

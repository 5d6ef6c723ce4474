"""Exact real numbers of the form sum_n c_n sqrt(n): c_n rational, n integers of different square classes.

The values of a layer at rational data are of this form: y_hat brings sqrt(var + eps), a norm brings another root. Square roots
of integers no two of which have a square as their product are linearly independent over the rationals, so a number is zero
exactly if it has no terms. Small n are kept squarefree; large ones are not factored, and a product that is a square merges them. That decides the equalities which no ball of positive radius can decide. Signs of non-zero numbers come
from Arb balls, whose precision is doubled until they exclude zero.

A quotient by zero and the root of a negative number are *undefined*; roots of irrational numbers do not fit and are *not
known*. Both go on through the arithmetic, have no sign, and leave other numbers alone; about what is not known the certificate
relies on balls.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd, isqrt
from typing import Any, Literal

import numpy as np
from flint import arb, ctx, fmpq, fmpz

from bntheory.judges.exact.balls import Ordered
from bntheory.layer.constants import exact
from bntheory.layer.number import between

Missing = Literal["", "undefined", "unknown"]
_MAX_TERMS = 64
_FACTOR_BITS = 80  # larger radicands are not factored


class Inexact(ArithmeticError):
    """A value is asked for that there is not: the number is irrational, undefined, or not known."""


def _rational(x: Any) -> fmpq:
    if isinstance(x, fmpq):
        return x
    if isinstance(x, fmpz):
        return fmpq(x)
    number = exact(x)
    return fmpq(number.numerator, number.denominator)


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
                raise Inexact("seven independent square roots")
            basis.append((n, parity))
        if parity:
            flipped.add(n)
    return flipped


class Radical(Ordered):
    """sum_n c_n sqrt(n), immutable, with exact field arithmetic, order and square roots of rationals.

    ``missing`` is "" for a number, "undefined" where there is none, "unknown" where it does not fit.
    """

    __slots__ = ("_terms", "missing")

    def __init__(self, value: Any = 0) -> None:
        self.missing: Missing = ""
        if isinstance(value, Radical):
            self._terms: dict[int, fmpq] = value._terms
            self.missing = value.missing
        else:
            q = _rational(value)
            self._terms = {1: q} if q else {}

    @classmethod
    def _of(cls, terms: dict[int, fmpq], missing: Missing = "") -> Radical:
        new = cls.__new__(cls)
        fits = len(terms) <= _MAX_TERMS
        new._terms = terms if fits and not missing else {}
        new.missing = missing if fits else "unknown"
        return new

    def _lacking(self, *others: Radical) -> Radical | None:
        """What comes of an operation in which a value is missing."""
        found = {x.missing for x in (self, *others)}
        if found == {""}:
            return None
        return Radical._of({}, "undefined" if "undefined" in found else "unknown")

    def _known(self) -> None:
        if self.missing:
            raise Inexact(f"the number is {'undefined' if self.missing == 'undefined' else 'not known'}")

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def is_rational(self) -> bool:
        """Whether no square root is left."""
        return not self.missing and set(self._terms) <= {1}

    def as_fraction(self) -> Fraction:
        """The rational value; Inexact where there is none."""
        self._known()
        if not self.is_rational:
            raise Inexact("an irrational number")
        q = self._terms.get(1, fmpq(0))
        return Fraction(int(q.p), int(q.q))

    def ball(self) -> arb:
        """An enclosure at the present precision of flint."""
        total = arb("nan") if self.missing else arb(0)
        for n, c in self._terms.items():
            total += arb(c) if n == 1 else arb(c) * arb(n).sqrt()
        return total

    def sign(self) -> int | None:
        """-1, 0 or 1, exactly; None where there is no value."""
        if self.missing:
            return None
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
        if self.missing or not self._terms:
            return self.missing or "0"
        return " + ".join(f"{c}" if n == 1 else f"{c}*sqrt({n})" for n, c in sorted(self._terms.items()))

    def __float__(self) -> float:
        if self.missing:
            return float("nan")
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
        self._known()
        return bool(self._terms)

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def _own(self, x: Any) -> Radical:
        return x if isinstance(x, Radical) else Radical(x)

    @between
    def __add__(self, other: Any) -> Radical:
        if (lacking := self._lacking(other)) is not None:
            return lacking
        terms = dict(self._terms)
        for n, c in other._terms.items():
            _add_term(terms, n, c)
        return Radical._of(terms)

    def __neg__(self) -> Radical:
        return Radical._of({n: -c for n, c in self._terms.items()}, self.missing)

    @between
    def __mul__(self, other: Any) -> Radical:
        if (lacking := self._lacking(other)) is not None:
            return lacking
        terms: dict[int, fmpq] = {}
        for n, c in self._terms.items():
            for k, d in other._terms.items():
                common = gcd(n, k)
                product = (n // common) * (k // common)
                square, rest = _square_part(product)
                _add_term(terms, rest, c * d * common * square)
        return Radical._of(terms)

    def inverse(self) -> Radical:
        """1/self, by multiplying with conjugates until the denominator is rational."""
        if self.missing or not self._terms:
            return Radical._of({}, self.missing or "undefined")
        if len(self._terms) == 1:
            ((n, c),) = self._terms.items()
            return Radical._of({n: 1 / (c * n)})
        try:
            flipped = _conjugation([n for n in self._terms if n != 1])
        except Inexact:
            return Radical._of({}, "unknown")
        conjugate = Radical._of({n: (-c if n in flipped else c) for n, c in self._terms.items()})
        return conjugate * (self * conjugate).inverse()

    @between
    def __truediv__(self, other: Radical) -> Radical:
        return self * other.inverse()

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
        """The non-negative root; undefined for a negative number, and not known for an irrational one."""
        sign = self.sign()
        if sign is None or sign < 0:
            return Radical._of({}, self.missing or "undefined")
        if not self.is_rational:
            return Radical._of({}, "unknown")
        value = self.as_fraction()
        if value == 0:
            return Radical(0)
        square, rest = _square_part(value.numerator * value.denominator)
        return Radical._of({rest: fmpq(square, value.denominator)})

    def __abs__(self) -> Radical:
        return -self if self.sign() == -1 else self

    # -- order ---------------------------------------------------------------------------------------------------

    def _order(self, other: Any) -> int:
        difference = self - other
        difference._known()
        return difference.sign() or 0

    @between
    def __eq__(self, other: Any) -> bool:
        return self._order(other) == 0


def coefficients(numbers: Sequence[Radical]) -> list[list[Fraction]]:
    """For every square root that occurs, its coefficient in each of the numbers. Inexact where one is undefined or not known."""
    table: dict[int, list[fmpq]] = {}
    for i, number in enumerate(numbers):
        number._known()
        for n, c in number._terms.items():
            k, root = next(((k, r) for k in table if (r := _root(n * k)) is not None), (n, n))
            table.setdefault(k, [fmpq(0)] * len(numbers))[i] += c * fmpq(root, k)
    return [[Fraction(int(c.p), int(c.q)) for c in row] for row in table.values()]

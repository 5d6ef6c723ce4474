"""Exact scalars: fractions of polynomials in symbols whose signs are known.

A :class:`Field` owns the symbols and the square roots that were taken. Division by something that may vanish and the root of
something that may be negative are allowed; every scalar carries the conditions under which it is defined, and keeps them when
a denominator cancels. Cancellation is immediate (polynomials are multivariate over the rationals, from FLINT), so
most denominators never reach the solver.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Literal

import flint

from bntheory.errors import OutsideVocabulary
from bntheory.layer.constants import exact
from bntheory.layer.number import Number, between
from bntheory.layer.relations import Uncompared

Sign = Literal["positive", "nonnegative", "nonzero", "any"]
#: What the range of a domain's scalar says of its sign.
SIGNS: Mapping[str, Sign] = {
    "positive": "positive",
    "nonzero": "nonzero",
    "nonnegative": "nonnegative",
    "unit": "nonnegative",
}
Condition = tuple[Literal["nonzero", "nonnegative"], Any]

_CAPACITY = 128
_MAX_TERMS = 5_000
_MAX_DEGREE = 160


class Field:
    """The symbols of one evaluation of a claim, with what is known about them."""

    def __init__(self) -> None:
        self.context = flint.fmpq_mpoly_ctx.get([f"v{i}" for i in range(_CAPACITY)], flint.Ordering.degrevlex)
        self._generators = self.context.gens()
        self.names: list[str] = []
        self.signs: list[Sign] = []
        self.components: set[int] = set()  # the symbols that are one component of a vector or an operator
        self.roots: dict[int, Scalar] = {}  # symbol -> the scalar whose root it is
        self.partial: set[int] = set()  # the roots of what may be negative
        self._interned: dict[Any, Scalar] = {}
        self.conditions: list[Condition] = []  # scalars hold their numbers
        self._never_zero: list[Any] = []
        self._never_negative: list[Any] = []
        self.one = self.constant(1)
        self.zero = self.constant(0)

    def constant(self, x: Any) -> Scalar:
        value = exact(x)
        number = flint.fmpq(value.numerator, value.denominator)
        return Scalar(self, self.context.constant(number), self.context.constant(1))

    def symbol(self, name: str, sign: Sign = "any", *, component: bool = False) -> Scalar:
        """A new symbol, told apart from every other whatever it is called."""
        index = len(self.names)
        if index >= _CAPACITY:
            raise OutsideVocabulary(f"the claim needs more than {_CAPACITY} real unknowns")
        name = re.sub(r"[^ -~]|[|\\]", "_", name)  # what an SMT-LIB script cannot quote
        while name in self.names:
            name += "'"
        if component:
            self.components.add(index)
        self.names.append(name)
        self.signs.append(sign)
        return Scalar(self, self._generators[index], self.context.constant(1))

    def index(self, symbol: Scalar) -> int:
        """The number of a bare symbol."""
        return next(iter(self.variables(symbol.num)))

    @staticmethod
    def variables(poly: Any) -> set[int]:
        """The numbers of the symbols that occur in a polynomial."""
        return {i for i, d in enumerate(poly.degrees()) if d > 0}

    def sign(self, poly: Any) -> Literal["+", "+0", "-", "-0", "0", "?"]:
        """What the signs of the symbols and coefficients alone say about a polynomial."""
        if poly.is_zero():
            return "0"
        up = down = strict = False
        for exponents, coefficient in poly.terms():
            definite, nonzero = True, True
            for i, e in enumerate(exponents):
                if e:
                    kind = self.signs[i]
                    definite &= e % 2 == 0 or kind in ("positive", "nonnegative")
                    nonzero &= kind in ("positive", "nonzero")
            if not definite:
                return "?"
            up |= coefficient > 0
            down |= coefficient < 0
            strict |= nonzero
        if up and down:
            return "?"
        return ("+" if strict else "+0") if up else ("-" if strict else "-0")

    def never_zero(self, poly: Any) -> bool:
        """Whether the polynomial is known not to vanish."""
        if self.sign(poly) in ("+", "-") or poly in self._never_zero or -poly in self._never_zero:
            return True
        if len(poly) != 1:
            return False
        return all(self.signs[i] in ("positive", "nonzero") for i in self.variables(poly))

    def promise_nonzero(self, x: Scalar) -> None:
        """The frame's constraints keep x away from zero: to divide by it is no condition."""
        self._never_zero += [factor for factor, _ in self.factors(x.num)]

    def promise_nonnegative(self, x: Scalar) -> None:
        """x is a squared length where it is defined: its root is no condition."""
        self._never_negative.append(_up_to_size(self.cleared(x)))

    def _never_below_zero(self, x: Scalar) -> bool:
        return _up_to_size(self.cleared(x)) in self._never_negative

    def factors(self, poly: Any) -> Iterator[tuple[Any, int]]:
        """The irreducible factors and their powers, the constant first."""
        constant, factors = poly.factor()
        yield self.context.constant(constant), 1
        yield from factors

    def nonzero(self, poly: Any) -> frozenset[int]:
        """The conditions under which a polynomial does not vanish."""
        if poly.is_zero():
            return frozenset({self._condition("nonzero", poly)})
        return frozenset(
            self._condition("nonzero", factor) for factor, _ in self.factors(poly) if not self.never_zero(factor)
        )

    def _condition(self, kind: Literal["nonzero", "nonnegative"], poly: Any) -> int:
        if (kind, poly) not in self.conditions:
            self.conditions.append((kind, poly))
        return self.conditions.index((kind, poly))

    def cleared(self, x: Scalar) -> Any:
        """A polynomial with the sign of x everywhere x is defined: the denominator multiplied out."""
        poly = x.num
        for factor, power in self.factors(x.den):
            if power % 2 == 0:
                continue
            if self.sign(factor) != "+":
                poly = poly * factor
        # positive factors of the numerator carry no information about the sign
        if poly.is_zero():
            return poly
        kept = self.context.constant(1)
        for factor, power in self.factors(poly):
            sign = self.sign(factor)
            if sign == "-":
                kept = kept * (-1) ** power
            elif sign != "+":
                kept = kept * factor**power
        return kept

    def root(self, x: Scalar, *, positive: bool = False) -> Scalar:
        """The non-negative square root; with a condition where x may be negative.

        positive: the frame's constraints say that x is.
        """
        if x.num.is_zero():
            return self.zero.under(x.conditions)
        outside, inside = self._split_root(x, ("+", "+0"))
        if not (inside.den.is_one() and self.sign(inside.num) in ("+", "+0")) and not positive:
            # sqrt(a^2 b) is a sqrt(b) only where b >= 0: with b < 0 it is 0 at a = 0, which a sqrt(b) is not
            outside, inside = self._split_root(x, ("+",))
        if inside.num.is_one() and inside.den.is_one():
            return outside.under(x.conditions)
        known = "+" if positive else self.sign(inside.num) if inside.den.is_one() else "?"
        if known == "?" and inside.den.is_one() and self._never_below_zero(inside):
            known = "+0"
        conditions = x.conditions
        if known not in ("+", "+0"):
            conditions |= {self._condition("nonnegative", self.cleared(inside))}
        key = (str(inside.num), str(inside.den))
        if key not in self._interned:
            symbol = self.symbol(f"root{len(self.roots) + 1}", "positive" if known == "+" else "nonnegative")
            self.roots[self.index(symbol)] = inside
            if known not in ("+", "+0"):
                self.partial.add(self.index(symbol))
            self._interned[key] = symbol
        return (outside * self._interned[key]).under(conditions)

    def _split_root(self, x: Scalar, squares_of: tuple[str, ...]) -> tuple[Scalar, Scalar]:
        """(a, b) with x = a^2 b and a >= 0: the squares of factors of the given signs are taken out."""
        outside = inside = self.one
        radicand, denominator = x.num, x.den
        if self.sign(denominator) == "+":
            radicand = radicand * denominator
            outside = outside / Scalar(self, denominator, self.context.constant(1))
            denominator = self.context.constant(1)
        for factor, power in self.factors(radicand):
            f = Scalar(self, factor, self.context.constant(1))
            if factor.is_constant():
                c = exact_rational(factor.leading_coefficient())
                square, rest = _split_square(c)
                outside, inside = outside * square, inside * rest
                continue
            if self.sign(factor) in squares_of:
                outside = outside * f ** (power // 2)
                if power % 2:
                    inside = inside * f
            else:
                inside = inside * f**power
        return outside, inside / Scalar(self, denominator, self.context.constant(1))


def _up_to_size(poly: Any) -> Any:
    """The polynomial's positive multiple that all of its positive multiples share: the sign stays."""
    return poly if poly.is_zero() else poly / abs(poly.leading_coefficient())


def exact_rational(x: Any) -> Fraction:
    """A FLINT rational as a Fraction."""
    return Fraction(int(x.p), int(x.q))


def _split_square(c: Fraction) -> tuple[Fraction, Fraction]:
    """c = s^2 r with r an integer that is as small as trial division makes it."""
    n = c.numerator * c.denominator
    s, rest, p = 1, abs(n), 2
    while p * p <= rest and p < 1000:
        while rest % (p * p) == 0:
            rest //= p * p
            s *= p
        p += 1
    r = math.isqrt(rest)
    if r * r == rest:
        s, rest = s * r, 1
    return Fraction(s, c.denominator), Fraction(rest if n > 0 else -rest)


class Scalar(Uncompared, Number):
    """A fraction of polynomials in lowest terms, and the numbers of the conditions under which it is defined."""

    __slots__ = ("conditions", "den", "field", "num")
    __array_ufunc__ = None  # numpy numbers leave the arithmetic to this class

    def __init__(self, field: Field, num: Any, den: Any, conditions: frozenset[int] = frozenset()) -> None:
        self.field, self.num, self.den, self.conditions = field, num, den, conditions

    def under(self, conditions: frozenset[int]) -> Scalar:
        """The same, defined only where these conditions hold as well."""
        if conditions <= self.conditions:
            return self
        return Scalar(self.field, self.num, self.den, self.conditions | conditions)

    def _own(self, x: Any) -> Scalar:
        return x if isinstance(x, Scalar) else self.field.constant(x)

    def _make(self, num: Any, den: Any, conditions: frozenset[int]) -> Scalar:
        if len(num) > _MAX_TERMS:
            raise OutsideVocabulary(
                f"an expression grew beyond {_MAX_TERMS} terms; use lower powers or fewer distinct quantities"
            )
        if max(num.total_degree(), den.total_degree()) > _MAX_DEGREE:
            raise OutsideVocabulary(f"an expression has a degree beyond {_MAX_DEGREE}; use lower powers")
        if num.is_zero():
            return Scalar(self.field, num, self.field.context.constant(1), conditions)
        if not den.is_constant():
            common = num.gcd(den)
            if not common.is_one():
                num, den = num / common, den / common
        lead = den.leading_coefficient()
        if lead != 1:
            num, den = num / lead, den / lead
        return Scalar(self.field, num, den, conditions)

    @between
    def __add__(self, other: Any) -> Scalar:
        conditions = self.conditions | other.conditions
        if self.den == other.den:
            return self._make(self.num + other.num, self.den, conditions)
        return self._make(self.num * other.den + other.num * self.den, self.den * other.den, conditions)

    def __neg__(self) -> Scalar:
        return Scalar(self.field, -self.num, self.den, self.conditions)

    @between
    def __mul__(self, other: Any) -> Scalar:
        if len(self.num) * len(other.num) > 50 * _MAX_TERMS:
            raise OutsideVocabulary("an expression grew too large; use lower powers or fewer distinct quantities")
        return self._make(self.num * other.num, self.den * other.den, self.conditions | other.conditions)

    @between
    def __truediv__(self, other: Any) -> Scalar:
        conditions = self.conditions | other.conditions | self.field.nonzero(other.num)
        if other.num.is_zero():
            return self.field.zero.under(conditions)  # undefined everywhere: one of them cannot be met
        return self._make(self.num * other.den, self.den * other.num, conditions)

    def __pow__(self, n: Any) -> Scalar:
        try:
            power = exact(n)
        except TypeError:
            raise OutsideVocabulary("a power with an exponent that is not a number") from None
        if power.denominator != 1:
            if power == Fraction(1, 2):
                return self.sqrt()
            raise OutsideVocabulary(f"the power {n}: only whole powers and sqrt are in the vocabulary")
        if abs(power) > 64:
            raise OutsideVocabulary(f"the power {n}: powers up to 64 are supported")
        k = int(power)
        if k < 0:
            return self.field.one / self**-k
        result = self.field.one.under(self.conditions)
        for _ in range(k):
            result = result * self
        return result

    def sqrt(self) -> Scalar:
        """The non-negative square root."""
        return self.field.root(self)

    def __repr__(self) -> str:
        top = readable(self.field, self.num)
        return top if self.den.is_one() else f"({top})/({readable(self.field, self.den)})"


def readable(field: Field, poly: Any) -> str:
    """A polynomial in the symbols' own names."""
    if poly.is_zero():
        return "0"
    words = []
    for exponents, coefficient in poly.terms():
        factors = [field.names[i] if e == 1 else f"{field.names[i]}^{e}" for i, e in enumerate(exponents) if e]
        if abs(coefficient) != 1 or not factors:
            factors.insert(0, str(abs(coefficient)))
        words.append(("-" if coefficient < 0 else "+") + " " + "*".join(factors))
    return " ".join(words).removeprefix("+ ")

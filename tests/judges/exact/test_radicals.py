"""Exact sums of square roots.

Oracles: sympy's simplification (another implementation of exact arithmetic) for zero tests and signs, and mpmath at 60 digits for
values. Neither shares code with the class, whose zero test rests on square classes and whose signs come from Arb.
"""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from bntheory.judges.exact.balls import Ball
from bntheory.judges.exact.radicals import Inexact, Radical

SMALL = st.fractions(min_value=-9, max_value=9, max_denominator=9)
POSITIVE = st.fractions(min_value=Fraction(1, 9), max_value=60, max_denominator=9)


def _both(c: Fraction, q: Fraction) -> tuple[Radical, sympy.Expr]:
    return c * Radical(q).sqrt(), sympy.Rational(c) * sympy.sqrt(sympy.Rational(q))


@pytest.mark.long
@settings(max_examples=60, database=None)
@given(
    st.lists(st.tuples(SMALL, POSITIVE), min_size=1, max_size=3),
    st.lists(st.tuples(SMALL, POSITIVE), min_size=1, max_size=3),
)
def test_sums_and_products_agree_with_sympy(a: list, b: list) -> None:
    ours = [sum((_both(*t)[0] for t in part), Radical(0)) for part in (a, b)]
    theirs = [sum((_both(*t)[1] for t in part), sympy.Integer(0)) for part in (a, b)]
    for mine, other in ((ours[0] * ours[1], theirs[0] * theirs[1]), (ours[0] - ours[1], theirs[0] - theirs[1])):
        expanded = sympy.expand(other)
        assert (not mine) == (expanded == 0)
        value = float(sympy.N(expanded, 30))
        assert float(mine) == pytest.approx(value, rel=1e-14, abs=1e-300)
        assert mine.sign() == int(sympy.sign(expanded))


@settings(max_examples=80, database=None)
@given(st.lists(st.tuples(SMALL, POSITIVE), min_size=1, max_size=4), SMALL)
def test_the_inverse_is_exact(terms: list, c: Fraction) -> None:
    x = sum((_both(*t)[0] for t in terms), Radical(c))
    if x:
        assert x * x.inverse() == 1
        assert (1 / x) * x == 1


def test_large_radicands_are_not_factored_and_still_cancel() -> None:
    n = (2**127 - 1) * (2**89 - 1)
    root = Radical(n).sqrt()
    other = Radical(4 * n).sqrt()
    assert other - 2 * root == 0
    assert root * root == n
    mixed = Radical(2**127 - 1).sqrt() * Radical(2**89 - 1).sqrt()
    assert mixed == root
    assert (1 + root).inverse() * (1 + root) == 1


def test_a_tiny_difference_has_the_sign_it_has() -> None:
    # sqrt(n^2 + 1) - n is about 1/(2n): 1e-40 for n = 5e39
    n = 5 * 10**39
    gap = Radical(n * n + 1).sqrt() - n
    assert gap > 0
    with mpmath.workdps(120):
        assert float(gap) == pytest.approx(float(mpmath.sqrt(mpmath.mpf(n) ** 2 + 1) - n), rel=1e-14)
    assert (gap - Fraction(1, 2 * n)).sign() == -1


def test_order_powers_and_floats() -> None:
    two = Radical(2).sqrt()
    assert two < 1.5 < two + 1
    assert abs(-two) == two
    assert max(Radical(1), two) is two
    assert two**4 == 4
    assert two**-2 == Fraction(1, 2)
    assert Radical(0.1) == Fraction(1, 10)
    assert (two * two).as_fraction() == 2


def test_what_has_no_value_goes_on_and_has_no_sign() -> None:
    nested = (1 + Radical(2).sqrt()).sqrt()
    quotient = 1 / (Radical(8).sqrt() - 2 * Radical(2).sqrt())
    negative = Radical(-1).sqrt()
    assert (nested.missing, quotient.missing, negative.missing) == ("unknown", "undefined", "undefined")
    for x in (nested, quotient, negative):
        assert (0 * x + 1).missing == (1 / x).missing == (x - x).missing == abs(x).missing == x.missing
        assert x.sign() is None
        assert not x.is_rational
        with pytest.raises(Inexact):
            _ = x < 1
        with pytest.raises(Inexact):
            bool(x)
    assert (nested + quotient).missing == "undefined"
    with pytest.raises(Inexact):
        Radical(2).sqrt().as_fraction()
    with pytest.raises(TypeError):
        Radical(2).sqrt() + "1"  # type: ignore[operator]


def test_six_independent_roots_have_a_reciprocal_and_seven_are_refused():
    six = sum(Radical(p).sqrt() for p in (2, 3, 5, 7, 11, 13))
    assert six * (1 / six) == 1
    assert (1 / (six + Radical(17).sqrt())).missing == "unknown"


def test_half_a_power_is_the_root_and_no_other_broken_power_is_anything() -> None:
    four = Radical(4)
    assert four**0.5 == Radical(2)
    assert four**2.0 == Radical(16)
    with pytest.raises(TypeError):
        _ = four**1.5


@pytest.mark.parametrize("number", [Radical, Ball])
def test_order_is_that_of_the_numbers(number):
    one, other = number(2), number(3)
    assert one < other > one <= one >= one != other
    assert not any((one < one, one > one, other <= one, one >= other))

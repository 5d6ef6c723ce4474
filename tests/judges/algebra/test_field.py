"""Exact scalars against Python's own fractions.

Why this is independent: the oracle evaluates the same random expression with ``fractions.Fraction`` at a random point, without
polynomials, factorisation or cancellation.
"""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.field import Field, exact

SIGNS = ("positive", "nonnegative", "nonzero", "any")
SMALL = st.fractions(min_value=-3, max_value=3, max_denominator=4)


def value(poly, point):
    total = Fraction(0)
    for exponents, c in poly.terms():
        term = Fraction(int(c.p), int(c.q))
        for i, e in enumerate(exponents):
            if e:
                term *= point[i] ** int(e)
        total += term
    return total


def points(draw):
    ranges = {
        "positive": st.fractions(min_value=Fraction(1, 4), max_value=3, max_denominator=4),
        "nonnegative": st.fractions(min_value=0, max_value=3, max_denominator=4),
        "nonzero": SMALL.filter(bool),
        "any": SMALL,
    }
    return [draw(ranges[s]) for s in SIGNS]


@st.composite
def expressions(draw):
    """A random expression twice: over a field, and as a number at a point where it is defined."""
    field = Field()
    symbols = [field.symbol(f"x{i}", s) for i, s in enumerate(SIGNS)]
    point = points(draw)

    def build(depth):
        kind = draw(st.sampled_from(["symbol", "number"] if depth == 0 else ["+", "-", "*", "/", "**", "symbol"]))
        if kind == "symbol":
            i = draw(st.integers(0, 3))
            return symbols[i], point[i]
        if kind == "number":
            c = draw(SMALL)
            return field.constant(c), c
        a, x = build(depth - 1)
        if kind == "**":
            n = draw(st.integers(0, 3))
            return a**n, x**n
        b, y = build(depth - 1)
        if kind == "/":
            assume(y != 0)
            return a / b, x / y
        return {"+": (a + b, x + y), "-": (a - b, x - y), "*": (a * b, x * y)}[kind]

    scalar, number = build(3)
    return field, scalar, number, point


@pytest.mark.long
@given(expressions())
def test_values_and_signs(case):
    field, scalar, number, point = case
    assert value(scalar.num, point) == number * value(scalar.den, point)
    cleared = value(field.cleared(scalar), point)
    assert (cleared > 0) == (number > 0)
    assert (cleared < 0) == (number < 0)


@pytest.mark.long
@given(expressions())
def test_conditions_hold_where_every_division_was_defined(case):
    field, _, _, point = case
    for kind, poly in field.conditions:
        assert kind == "nonzero"
        assert value(poly, point) != 0


@pytest.mark.long
@given(expressions())
def test_sign_of_a_polynomial_is_never_wrong(case):
    field, scalar, _, point = case
    here = value(scalar.num, point)
    promised = {"+": here > 0, "+0": here >= 0, "-": here < 0, "-0": here <= 0, "0": here == 0, "?": True}
    assert promised[field.sign(scalar.num)]


@pytest.mark.long
@given(expressions())
def test_a_root_squares_to_its_radicand(case):
    field, scalar, number, point = case
    assume(number >= 0)
    root = scalar.sqrt()
    values = [float(p) for p in point]
    for i in sorted(field.roots):
        inside = field.roots[i]
        top, bottom = (value(q, [Fraction(v) for v in values]) for q in (inside.num, inside.den))
        values.append(math.sqrt(max(0.0, float(top / bottom))))
    exact_values = [Fraction(v) for v in values]
    found = float(value(root.num, exact_values) / value(root.den, exact_values))
    assert found >= 0
    assert found**2 == pytest.approx(float(number), rel=1e-9, abs=1e-12)


def test_a_perfect_square_of_a_known_sign_has_no_new_symbol():
    field = Field()
    s, x = field.symbol("s", "positive"), field.symbol("x")
    assert (4 * s**2 / 9).sqrt().num == (2 * s / 3).num
    assert not field.roots
    assert (x**2).sqrt().num != x.num, "the root of a square is the absolute value, not the number"
    assert len(field.roots) == 1


def test_roots_are_shared_and_conditioned():
    field = Field()
    x, m = field.symbol("x"), field.symbol("m", "positive")
    assert (4 * m).sqrt().num == (2 * m.sqrt()).num
    assert field.conditions == []
    (x - 1).sqrt()
    assert [kind for kind, _ in field.conditions] == ["nonnegative"]


@pytest.mark.parametrize("order", [("b01", "b00", "b11"), ("b00", "b01", "b11"), ("b11", "b00", "b01")], ids="-".join)
def test_a_promise_is_of_one_sign_whatever_stands_first(order):
    field = Field()
    b = {name: field.symbol(name, "any" if name == "b01" else "nonnegative") for name in order}
    square = b["b00"] - b["b01"] * 2 + b["b11"]  # of u - v
    field.promise_nonnegative(square)
    assert square.sqrt().conditions == frozenset()
    assert (square * 3 / 7).sqrt().conditions == frozenset()
    assert len((-square).sqrt().conditions) == 1
    assert len((square * b["b01"]).sqrt().conditions) == 1


def test_dividing_by_zero_is_a_condition_that_cannot_be_met():
    field = Field()
    x = field.symbol("x")
    _ = 1 / (x - x)
    assert field.conditions[0][0] == "nonzero"
    assert field.conditions[0][1].is_zero()


@pytest.mark.parametrize(
    ("number", "meant"),
    [
        (0.1, Fraction(1, 10)),
        (1 / 3, Fraction(1, 3)),
        (2, Fraction(2)),
        (1e-3, Fraction(1, 1000)),
        (0.5, Fraction(1, 2)),
    ],
)
def test_a_float_is_the_rational_its_author_meant(number, meant):
    assert exact(number) == meant


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        exact(bad)


def test_growth_is_refused_not_endured():
    field = Field()
    x = sum((field.symbol(f"x{i}") for i in range(1, 8)), field.symbol("x0"))
    with pytest.raises(OutsideVocabulary, match=r"grew|degree"):
        _ = x**60


@pytest.mark.parametrize("compare", [lambda x: x < 1, lambda x: x >= 1, lambda x: bool(x)], ids=["lt", "ge", "bool"])
def test_comparisons_point_to_the_relations(compare):
    with pytest.raises(TypeError, match="le\\(a, b\\)"):
        compare(Field().symbol("x"))

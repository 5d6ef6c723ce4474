"""Rational points on quadrics, and hypotheses that only such points meet.

Oracles: the equation itself, in rationals; three squares cannot sum to 7 (Legendre), so four entries are needed; two squares cannot sum
to 3; the variance of two numbers is a square of a rational, so it is never 2.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bntheory import LayerDomain
from bntheory.claims.typed.expression import claim_of_expression
from bntheory.judges.decide import decide
from bntheory.judges.exact.certificate import certify
from bntheory.judges.exact.quadrics import Quadric
from bntheory.judges.exact.repair import repair
from bntheory.judges.exact.witness import Instance

SMALL = st.fractions(min_value=-4, max_value=4, max_denominator=6)


def sphere(n, square):
    return Quadric.through(lambda x: sum(v * v for v in x) - square, n)


@settings(max_examples=40)
@given(st.lists(SMALL, min_size=4, max_size=4), st.sampled_from([1, 2, 3, 5, 7, Fraction(1, 10)]))
def test_a_point_of_the_sphere_near_any_other(target, square):
    point = sphere(4, Fraction(square)).near(tuple(target))
    assert sum(v * v for v in point) == square
    length = float(sum(v * v for v in target)) ** 0.5
    if length > 1e-3:  # no farther from the target than the sphere is across
        distance = float(sum((p - t) ** 2 for p, t in zip(point, target, strict=True))) ** 0.5
        assert distance <= length + float(square) ** 0.5 + 1e-9


@pytest.mark.parametrize("place", range(3))
def test_every_coordinate_may_be_the_one_that_is_solved_for(place):
    """a^2 + b^2 + c/7 = 3: two squares never sum to 3, so c is other than zero; and c alone has a rational root wherever a and b are short."""

    def q(x):
        rest = [v for i, v in enumerate(x) if i != place]
        return sum(v * v for v in rest) + x[place] * 10007 - 3

    point = Quadric.through(q, 3).near((Fraction(1),) * 3)
    assert q(point) == 0


def test_what_is_no_quadric_and_what_has_no_rational_point():
    assert Quadric.through(lambda x: x[0] ** 3 - 1, 1) is None
    assert sphere(2, Fraction(3)).near((Fraction(1), Fraction(1))) is None
    assert sphere(3, Fraction(7)).near((Fraction(1),) * 3) is None


@settings(max_examples=25)
@given(st.lists(SMALL, min_size=6, max_size=6), st.lists(SMALL, min_size=3, max_size=3))
def test_a_quadric_is_known_by_its_values(square, point):
    a, b, c, d, e, f = square

    def q(x):
        return a * x[0] ** 2 + b * x[0] * x[1] + c * x[1] ** 2 + d * x[2] + e * x[0] * x[2] + f

    assert Quadric.through(q, 3)(point) == q(point)


F = Fraction
START = Instance(
    y=(F(1), F(3), F(0), F(-1)), grad=(F(1), F(1, 2), F(-1), F(2)), vectors={"u": (F(1), F(0), F(2), F(1))}
)
HYPOTHESES = {
    "a sphere": ["norm2(u) == 1"],
    "a sphere without a rational axis": ["norm2(u) == 7"],
    "a circle of a sphere": ["norm2(u) == 1", "dot(u, one) == 0"],
    "beside an irrational plane": ["norm2(grad) == 1", "dot(grad, y_hat) == 0"],
    "two spheres": ["norm2(u) == 1", "norm2(grad) == 3"],
    "a variance": ["var == 2"],
    "a variance and a sphere": ["var == 1/10", "norm2(u) == 5"],
}


@pytest.mark.parametrize("name", HYPOTHESES)
def test_hypotheses_are_met_exactly(name):
    claim = claim_of_expression("gamma > 1", HYPOTHESES[name], LayerDomain(vectors=("u",)))
    layer = repair(claim, claim.domain, START)
    assert layer is not None
    assert certify(claim, layer).refuted


CASES = {
    "a unit vector": ("input_grad == 0", ["norm2(u) == 1"], 2),
    "no two numbers have the variance 2": ("gamma <= 1", ["var == 2"], 3),
    "no two squares": ("norm2(input_grad) <= 2*gamma**2/3*norm2(grad)", ["norm2(grad) == 3"], 3),
    "no three squares": ("beta <= 1", ["norm2(grad) == 7"], 4),
    "two unit vectors": ("dot(u, grad) <= 1/2", ["norm2(u) == 1", "norm2(grad) == 1"], 2),
}


@pytest.mark.parametrize("name", CASES)
def test_false_claims_on_quadrics_are_refuted(name):
    text, assume, least = CASES[name]
    decided = decide(text, assume=assume, vectors=["u"], eps="positive")
    assert decided.verdict.status.value == "refuted"
    assert decided.witness["layer"]["m"] >= least

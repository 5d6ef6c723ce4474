"""Equality hypotheses are made true exactly, by moving the numbers that they speak of and no others.

Oracle: each hypothesis is evaluated again in plain rational arithmetic, and every hypothesis can be met by one kind of number only.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest

from bntheory.claims.typed.expression import claim_of_expression
from bntheory.judges.exact.repair import has_equality_hypotheses, rational_sigma, repair
from bntheory.judges.exact.witness import Instance
from bntheory.layer.domain import LayerDomain

Y, G, U = ((Fraction(1), Fraction(-1), Fraction(2), Fraction(1, 2)), (Fraction(1), Fraction(2), Fraction(-1), Fraction(1, 3)),
           (Fraction(1, 2), Fraction(0), Fraction(1), Fraction(-1)))  # fmt: skip
EYE = tuple(tuple(Fraction(i == j) for j in range(4)) for i in range(4))
NEAR = Instance(Y, G, EYE, Fraction(3, 4), Fraction(1, 3), Fraction(1, 5), {"a": Fraction(2)}, {"u": U}, {"K": EYE})
DOMAIN = LayerDomain(scalars={"a": "any"}, vectors=("u",), operators={"K": "any"})


def total(matrix):
    return sum(map(sum, matrix))


# hypothesis: (what may move, whether the moved layer meets it)
MOVED = {
    "gamma == 1/3": ("gamma", lambda x: x.gamma == Fraction(1, 3)),
    "a == 5": ("scalars", lambda x: x.scalars["a"] == 5),
    "dot(one, grad) == 0": ("grad", lambda x: sum(x.grad) == 0),
    "norm2(grad) == 7": ("grad", lambda x: sum(v * v for v in x.grad) == 7),
    "dot(one, u) == 1": ("vectors", lambda x: sum(x.vectors["u"]) == 1),
    "norm2(u) == 1": ("vectors", lambda x: sum(v * v for v in x.vectors["u"]) == 1),
    "dot(one, hess(one)) == 5": ("hess", lambda x: total(x.hess) == 5),
    "dot(one, K(one)) == 5": ("operators", lambda x: total(x.operators["K"]) == 5),
    "eps == 1/7": ("eps", lambda x: x.eps == Fraction(1, 7)),
    "beta == 2": ("beta", lambda x: x.beta == 2),
    "mu == 1/3": ("y", lambda x: sum(x.y) == Fraction(4, 3)),
    "norm2(y) == 7": ("y", lambda x: sum(v * v for v in x.y) == 7),
    "var == 2": ("y", lambda x: sum(v * v for v in x.y) - sum(x.y) ** 2 / 4 == 8),
}


@pytest.mark.parametrize("hypothesis", MOVED)
def test_an_equality_is_met_by_moving_what_it_speaks_of(hypothesis):
    block, meets = MOVED[hypothesis]
    assert not meets(NEAR)
    claim = claim_of_expression("norm2(grad) < 0", (hypothesis,), DOMAIN)
    assert has_equality_hypotheses(claim, DOMAIN, NEAR)
    solved = repair(claim, DOMAIN, NEAR)
    assert solved is not None
    assert meets(solved)
    assert replace(solved, **{block: getattr(NEAR, block)}) == NEAR


def test_the_hypothesis_of_an_implication_is_an_equality_to_meet():
    claim = claim_of_expression("dot(one, grad) != 0 or norm2(grad) < 0", (), DOMAIN)
    solved = repair(claim, DOMAIN, NEAR)
    assert solved is not None
    assert sum(solved.grad) == 0


def test_two_equalities_are_met_together():
    claim = claim_of_expression("norm2(grad) < 0", ("gamma == a", "dot(u, grad) == 1"), DOMAIN)
    solved = repair(claim, DOMAIN, NEAR)
    assert solved is not None
    assert solved.gamma == solved.scalars["a"]
    assert sum(a * b for a, b in zip(solved.vectors["u"], solved.grad, strict=True)) == 1


def test_what_no_rational_number_meets_is_not_repaired():
    assert repair(claim_of_expression("gamma < 0", ("gamma**2 == 2",), DOMAIN), DOMAIN, NEAR) is None


@pytest.mark.parametrize("eps", ["any", "positive", "zero"])
@pytest.mark.parametrize("y", [Y, (Fraction(1, 3), Fraction(7), Fraction(0), Fraction(2, 9)), Y[:3]])
def test_sigma_is_made_rational(eps, y):
    """The new var + eps is the square of a rational, by floats' roots and exact squares; eps stays where it may not be other than it is."""
    start = Instance(y=y, grad=G[: len(y)], eps=Fraction(1, 5) if eps != "zero" else Fraction(0))
    found = list(rational_sigma(LayerDomain(eps=eps), start))
    by_eps = [x for x in found if x.y == y]
    assert len(by_eps) == (eps != "zero")
    for x in found if eps != "positive" else by_eps:
        mean = sum(x.y) / Fraction(x.m)
        square = sum((v - mean) ** 2 for v in x.y) / x.m + x.eps
        root = Fraction(round(math.sqrt(square) * 10**4), 10**4).limit_denominator(1000)
        assert root**2 == square


def test_without_equalities_there_is_nothing_to_repair():
    assert not has_equality_hypotheses(claim_of_expression("gamma < 0", ("gamma <= 2",), DOMAIN), DOMAIN, NEAR)

"""How tight a bound is.

Oracles: constants known on paper. Cauchy and Schwarz give 1 for <1,g>^2 <= c m ||g||^2; Samuelson gives (m-1)/m for one squared entry
of y_hat over m; the factor 2 in a doubled bound leaves 1/2.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from bntheory import LayerDomain, all_of, eq, le
from bntheory.claims.claim import Claim, Source
from bntheory.judges.exact.tightness import best_constant, tightness


def _claim(check: Any, **domain: Any) -> Claim:
    return Claim("test.tight", "layer", Source("test", ""), "", check, LayerDomain(**domain))


def test_a_bound_that_is_attained_is_attained() -> None:
    found = tightness(_claim(lambda x: le(x.norm2(x.y_hat), x.m)))
    assert found.attained
    assert found.ratio == 1.0
    assert found.layer is not None
    assert found.layer.eps == 0


def test_a_bound_with_a_spare_factor_of_two_is_half_tight() -> None:
    found = tightness(_claim(lambda x: le(x.norm2(x.y_hat), 2 * x.m)), steps=8)
    assert not found.attained
    assert 0.5 - 2**-8 <= found.ratio <= 0.5


def test_the_best_constant_of_cauchy_and_schwarz_is_one() -> None:
    def family(c: Fraction) -> Claim:
        return _claim(lambda x: le(c.denominator * x.dot(x.one, x.grad) ** 2, c.numerator * x.m * x.norm2(x.grad)))

    found = best_constant(family, low=Fraction(0), high=Fraction(3), steps=7)
    assert found.below < 1 <= found.above
    assert found.above - found.below <= Fraction(3, 2**7)
    assert found.layer is not None


def test_samuelson_at_two_entries() -> None:
    def family(c: Fraction) -> Claim:
        def check(x: Any) -> Any:
            return le(c.denominator * x.dot(x.vector("e@case"), x.y_hat) ** 2, c.numerator * (x.m - 1))

        return _claim(check, eps="zero", vectors=("e@case",))

    found = best_constant(family, low=Fraction(0), high=Fraction(2), steps=6)
    assert found.below < 1 <= found.above


def test_what_has_no_tightness_is_refused() -> None:
    with pytest.raises(ValueError, match="2 relations"):
        tightness(_claim(lambda x: all_of(le(0, 1), le(1, 2))))
    with pytest.raises(ValueError, match="single inequality"):
        tightness(_claim(lambda x: eq(x.gamma, x.gamma)))
    with pytest.raises(ValueError, match="smaller"):
        best_constant(lambda c: _claim(lambda x: le(0, 1)), low=Fraction(1), high=Fraction(1))
    with pytest.raises(ValueError, match="refuted"):
        best_constant(lambda c: _claim(lambda x: le(1, 0)), low=Fraction(0), high=Fraction(1))

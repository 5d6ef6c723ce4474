"""A number in a claim is the decimal that was written, in every judge, in files as in typed claims.

The oracle is arithmetic in tenths: 1/10 + 9/10 = 1 holds of decimals and not of the binary numbers next to them. A root is
that real number: 2*3 = 6, and 1.4142135623730951^2 = 2.0000000000000001...
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from bntheory import LayerDomain, eq, le, lt, sqrt
from bntheory.claims.claim import Claim, Source
from bntheory.judges.algebra import judge as algebra
from bntheory.judges.decide import decide
from bntheory.judges.exact.balls import Ball
from bntheory.judges.exact.certificate import certify
from bntheory.judges.exact.radicals import Radical
from bntheory.judges.exact.witness import Instance
from bntheory.judges.search import judge as search
from bntheory.layer.constants import exact

CLAIMS = {
    "tenths": (lambda x: eq(0.1 * x.gamma + 0.9 * x.gamma, x.gamma), "0.1*gamma + 0.9*gamma == gamma", True),
    "momentum": (lambda x: le(0.9 * x.var + 0.1 * x.var, x.var), "0.9*var + 0.1*var <= var", True),
    "strictly": (lambda x: lt(0.7 * x.m, 0.3 * x.m + 0.4 * x.m), "0.7*m < 0.3*m + 0.4*m", False),
    "a thousandth": (lambda x: eq(1e-3 * x.m, x.m / 1000), "1e-3*m == m/1000", True),
    "a root": (lambda x: eq(sqrt(2) * sqrt(3) * x.m, sqrt(6) * x.m), "sqrt(2)*sqrt(3)*m == sqrt(6)*m", True),
    "the float next to a root": (lambda x: lt(1.4142135623730951, sqrt(2)), "1.4142135623730951 < sqrt(2)", False),
    "a fraction's root": (lambda x: eq(sqrt(Fraction(9, 4)) * x.m, 1.5 * x.m), "sqrt(9/4)*m == 1.5*m", True),
    "off by a digit": (lambda x: eq(0.1000000001 * x.m, x.m / 10), "0.1000000001*m == m/10", False),
}
HERE = Instance(y=(Fraction(0), Fraction(3)), grad=(Fraction(1), Fraction(2)), gamma=Fraction(3))


@pytest.mark.parametrize("name", CLAIMS)
def test_one_meaning_of_numbers(name):
    check, text, true = CLAIMS[name]
    claim = Claim("test.numbers", "layer", Source("test", ""), "", check, LayerDomain())
    assert algebra(claim).finding == ("proved" if true else "refuted")
    assert search(claim, "quick").finding == ("survives" if true else "refuted")
    assert certify(claim, HERE).refuted is not true
    assert decide(text, search=False).verdict.status.value == ("proved" if true else "refuted")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0.1, Fraction(1, 10)),
        (123456789.1, Fraction(1234567891, 10)),
        (-2.5e-7, Fraction(-1, 4_000_000)),
        (1e22, Fraction(10**22)),
        (1 / 3, Fraction(1, 3)),
    ],
)
def test_a_float_is_its_shortest_decimal_everywhere(written, meant):
    assert exact(written) == meant
    assert Radical(written) == meant
    assert Ball(written).value.contains(Ball(meant).value)

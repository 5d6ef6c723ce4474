"""A number in a claim is the decimal that was written, in every judge, in files as in typed claims.

The oracle is arithmetic in tenths: 1/10 + 9/10 = 1 holds of decimals and not of the binary numbers next to them. A root is
that real number: 2*3 = 6, and 1.4142135623730951^2 = 2.0000000000000001...
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction

import pytest

from bntheory import LayerDomain, eq, le, lt, sqrt
from bntheory.claims.claim import Claim, Source
from bntheory.errors import ClaimError, UserError
from bntheory.judges.algebra import judge as algebra
from bntheory.judges.check import contradicts_itself
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


# Python writes no whole number of more than 4300 digits unless it is told to
@pytest.mark.parametrize(
    "text", ["gamma <= 1e300**15", "1e300**14/1e-300**14*gamma > 1", "gamma**2 + (1e-300)**15 > 0"]
)
def test_a_number_that_is_too_long_is_refused(text):
    with pytest.raises(UserError, match="beyond 4200 digits"):
        decide(text)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("norm2(y_hat) <= m*1e300**13*1e300**13", "proved"),
        ("gamma*1e300**13*1e300**13 >= 1", "refuted"),
        ("sqrt(gamma**2*1e300**13*1e300**13) <= 1e300**13*sqrt(gamma**2)", "proved"),
    ],
)
def test_products_of_long_numbers_are_decided(text, status):
    before = sys.get_int_max_str_digits()
    decided = decide(text, search=False)
    assert decided.status.value == status
    assert decided.latex()
    assert decided.render()
    assert json.dumps(decided.as_json())
    assert sys.get_int_max_str_digits() == before


def test_a_claim_of_a_file_that_names_a_long_number_is_an_error_of_its_own():
    """Told by its line, before any judge; it ended the process that judged."""
    claim = Claim("test.long", "layer", Source("test", ""), "", lambda x: le(x.gamma, 10**5000), LayerDomain())
    with pytest.raises(ClaimError, match=r"beyond 4200 digits .*test_numbers_of_claims\.py"):
        algebra(claim)
    found = search(claim, "quick")
    assert (found.finding, "beyond 4200 digits" in found.summary) == ("error", True)
    assert not contradicts_itself(claim)


def test_what_no_world_has_is_no_contradiction():
    """A constant that grows within the claim is outside of every world, whenever the claim is called."""
    grows = lambda x: le(x.gamma, sqrt(10**4100) * 10**4100 * 10**4100)  # noqa: E731
    assert not contradicts_itself(Claim("test.grows", "layer", Source("test", ""), "", grows, LayerDomain()))

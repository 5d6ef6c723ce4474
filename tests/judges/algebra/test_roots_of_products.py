"""A root is taken of the whole product: sqrt(a^2 b) is 0 at a = 0 whatever the sign of b, so nothing is assumed about b there.

The oracle is the value of the claim at one layer that can be worked out in the head: a = 0, b = -1 or b = 1.
"""

from __future__ import annotations

import pytest

from bntheory.judges.decide import decide

FALSE = {
    "a squared norm": ("sqrt(gamma*norm2(grad)) > 0 or gamma >= 0", {}),
    "in an assumption": ("gamma >= 0", {"assume": ["sqrt(gamma*norm2(grad)) == 0"]}),
    "a variance": ("sqrt(beta*var) > 0 or beta >= 0", {"eps": "positive"}),
    "a square": ("sqrt(a**2*beta) > 0 or beta >= 0", {"scalars": ["a:nonnegative"]}),
    "a cube": ("sqrt(a**3*beta) > 0 or beta >= 0", {"scalars": ["a:nonnegative"]}),
    "minus a norm": ("sqrt(-norm2(grad)) == 1", {}),
    "beside an undefined root": ("sqrt(beta/norm2(y)) >= 0 and beta >= 0", {}),
    "minus the square of a difference": (
        "dot(u, v) >= 0 and (norm2(u - v) >= 0 or sqrt(2*dot(u, v) - norm2(u) - norm2(v)) <= norm2(hess(u)) + sqrt(a) + sqrt(b) + sqrt(c) + sqrt(d))",
        {"vectors": ["u", "v"], "scalars": [f"{x}:nonnegative" for x in "abcd"]},
    ),
}
TRUE = {
    "minus a norm": ("sqrt(-norm2(grad)) == 0", {}),
    "a positive factor": ("sqrt(beta/norm2(y)) >= 0", {}),
    "both signs known": ("sqrt(norm2(grad)*norm2(y))**2 == norm2(grad)*norm2(y)", {}),
    "a square comes out": ("sqrt(gamma**2*norm2(grad)) == gamma*sqrt(norm2(grad))", {"gamma": "positive"}),
}


@pytest.mark.parametrize("name", FALSE)
def test_what_fails_where_the_factor_vanishes_is_refuted(name):
    expression, options = FALSE[name]
    assert decide(expression, **options).verdict.status.value == "refuted"


@pytest.mark.parametrize("name", TRUE)
def test_what_holds_wherever_the_root_exists_is_proved(name):
    expression, options = TRUE[name]
    assert decide(expression, **options).verdict.status.value == "proved"


def test_a_constraint_that_is_false_as_a_number_is_not_dropped():
    """With m = 2 both entries of y - mu are largest: l_inf normalisation has no derivative there, so m >= 3."""
    assert decide("m > 2", eps="zero", normaliser="linf").verdict.status.value == "proved"

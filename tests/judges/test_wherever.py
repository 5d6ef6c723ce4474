"""A proof says under which conditions its claim has a meaning, in the words of the claim, and says nothing where none is needed.

Oracle: each condition is found by hand from Kleene's tables; a disjunction that is true by its other part needs none.
"""

from __future__ import annotations

import pytest

from bntheory.judges.decide import decide

WHEREVER = {
    "gamma != 0 or 1/gamma > 5": ["gamma != 0"],
    "1/gamma == 1/gamma": ["gamma != 0"],
    "gamma == 0 or gamma*(1/gamma) == 1": [],
    "not (1/gamma > 0 and beta > 0) or beta > 0": [],
    "gamma + 1/gamma >= 2 or gamma <= 0": [],
    "gamma + 1/gamma >= 2 or gamma < 0": ["gamma != 0"],
    "sqrt(gamma) >= 0 or gamma < 0": [],
    "sqrt(gamma) >= 0 or gamma < -1": ["gamma >= 0"],
    "sqrt(sqrt(gamma)) >= 0 and 1/beta == 1/beta": ["gamma >= 0", "beta != 0"],
    "0*(1/gamma) == 0 or beta <= 1": ["gamma != 0"],
    "y/gamma == y/gamma": ["gamma != 0"],
    "norm2(y_hat)/norm2(y_hat) == 1": ["norm2(y_hat) != 0"],
    "1/(m - 3) <= 1": ["m - 3 != 0"],
    "1/(gamma*beta)**2 >= 0": ["gamma != 0", "beta != 0"],
    "1/(sqrt(gamma**2)*sigma**3) > 0": ["gamma != 0"],
    "1/(gamma/beta) == beta/gamma": ["beta != 0", "gamma != 0"],
    "norm2(y_hat@2) <= m": ["sigma@2 != 0"],
    "norm2(y_hat@b) <= m": ["sigma@b != 0"],
    "norm2(z@2 - z@2)/(sigma*sigma@2) == 0": ["sigma@2 != 0"],
    "1/(2*m - 5) < 2": [],
    "sqrt(1/4)/(0 - 2) <= 0": [],
    "sqrt(-1) == 0 or beta <= 1": ["-1 >= 0"],
    "sqrt(0*gamma - 1) == 0 or beta <= 1": ["0 - 1 >= 0"],
    "sqrt(-1) == 0 or beta <= 1 or beta > 1": [],
}


@pytest.mark.parametrize("text", WHEREVER)
def test_a_proof_names_the_conditions_it_needs(text):
    found = decide(text)
    data = found.as_json()
    assert data["status"] == "proved"
    assert data["wherever"] == WHEREVER[text]
    assert all(condition in found.render() for condition in WHEREVER[text])


def test_a_hypothesis_takes_the_place_of_a_condition():
    for options in ({"assume": ["gamma != 0"]}, {"gamma": "nonzero"}, {"assume": ["1/gamma > 0"]}):
        data = decide("1/gamma == 1/gamma", **options).as_json()
        assert (data["status"], data["wherever"]) == ("proved", [])


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("norm2(grad)**2 >= 0", ()),
        ("dot(grad, one)**3*dot(grad, one) >= 0", ()),
        ("norm2(grad)**-1 >= 0", ("norm2(grad) != 0",)),
        ("norm2(grad)**2/norm2(input_grad) >= 0", ("norm2(input_grad) != 0",)),
    ],
)
def test_a_power_needs_a_base_other_than_zero_only_where_it_divides(text, needed):
    verdict = decide(text).verdict
    assert verdict.status.value == "proved"
    assert verdict.wherever == needed


@pytest.mark.parametrize("divided", [False, True])
def test_what_is_proved_of_any_vectors_is_proved_under_a_normaliser_without_inner_products(divided):
    """Cauchy and Schwarz, for vectors that real arithmetic does not reach."""
    by = "/dot(grad, y)" if divided else ""
    u, v = f"(input_hess(input_grad){by})", "hess(input_grad)"
    found = decide(f"dot({u}, {v})**2 <= norm2({u})*norm2({v})", normaliser="l1", hessian="psd", min_m=5, search=False)
    assert found.status.value == "proved"
    assert found.verdict.wherever == (("dot(grad, y) != 0",) if divided else ())

"""The claims on random networks: their verdicts follow from checks that can fail.

Each verdict is computed from the study's own checks. The same checks made for a wrong statement (another constant, a
broken identity, a slope on the other side) must change it: that is the second half of every test here.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from bntheory.claims import Study, registry
from bntheory.claims.sources.karakida2019 import _bound
from bntheory.claims.sources.yang2019 import against_networks, against_quadrature
from bntheory.evidence.identity import identity
from bntheory.evidence.slopes import fit_slope
from bntheory.judges.verdict import evidence_of_checks
from bntheory.models.mean_field_symbolic import relu_identity

QUICK = Study(effort="quick", seed=0)
FINDINGS = {
    "yang2019.linear-rate": "proved",
    "yang2019.relu-rate": "proved",
    "yang2019.always-explodes": "proved",
    "yang2019.always-explodes.any-activation": "refuted",
    "karakida2019.last-layer": "holds",
    "karakida2019.hidden-layer": "holds",
    "ioffe2015.singular-values.random-network": "fails",
}


@pytest.mark.long
@pytest.mark.parametrize("claim_id", FINDINGS)
def test_finding_at_quick_effort(claim_id: str) -> None:
    checks = registry()[claim_id].check(QUICK)
    found = evidence_of_checks(checks, seconds=0.0, seed=0)
    assert found.finding == FINDINGS[claim_id], found.summary
    assert all(check.scope and check.witness is not None for check in checks)


def test_measurements_overrule_a_proof_of_something_else() -> None:
    proof = identity("relu", relu_identity(), "every B")
    right = against_quadrature("linear", lambda b: (b - 2) / (b - 3), [5, 9])
    wrong = against_quadrature("linear", lambda b: (b - 1) / (b - 3), [5, 9])
    assert evidence_of_checks([proof, *right], seconds=0, seed=0).finding == "proved"
    assert evidence_of_checks([proof, *wrong], seconds=0, seed=0).finding == "fails"


@pytest.mark.long
def test_networks_refuse_a_wrong_rate() -> None:
    checks = against_networks(QUICK, "linear", lambda b: (b - 1) / (b - 3))
    assert (
        evidence_of_checks([identity("relu", relu_identity(), "every B"), *checks], seconds=0, seed=0).finding
        == "fails"
    )


def test_a_remainder_is_a_refutation() -> None:
    broken = relu_identity() + 1 / sympy.Symbol("B", positive=True)
    assert evidence_of_checks([identity("broken", broken, "every B")], seconds=0, seed=0).finding == "refuted"


@pytest.mark.parametrize(
    ("slope", "op", "expected"),
    [(0.2, "<=", "holds"), (0.8, "<=", "fails"), (0.8, ">=", "holds"), (0.5, "<=", "undecided")],
)
def test_bounds_on_exponents_can_go_either_way(slope: float, op: str, expected: str) -> None:
    x = np.linspace(0, 3, 12)
    fit = fit_slope(x, slope * x + 0.05 * np.random.default_rng(1).standard_normal(12), confidence=0.99)
    assert _bound("exponent", fit, op, 0.5, "here").outcome == expected


def test_same_seed_same_checks() -> None:
    check = registry()["ioffe2015.singular-values.random-network"].check
    assert list(check(QUICK)) == list(check(QUICK))

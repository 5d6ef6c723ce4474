"""The claims about dynamics: their verdicts, and that each would change if its statement were made wrong.

The verdicts are computed at quick effort from another seed than the recorded ones. Exact counterexamples
are replayed by code that did not find them (the vectorised float trajectories); symbolic proofs must fail
for a wrong sign or factor; and checks that only illustrate a proof must agree with it, though they decide
nothing.
"""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import sympy

from bntheory.claims import registry
from bntheory.claims.claim import Study
from bntheory.claims.sources import arora2019, kohler2019, li2020, lyu2022, vanlaarhoven2017, wan2021
from bntheory.claims.sources.cai2019 import dynamics as cai2019
from bntheory.claims.sources.cai2019 import proofs as _least_squares_proofs
from bntheory.claims.sources.ioffe2015 import dynamics as ioffe2015_dynamics
from bntheory.claims.sources.lesswrong2019 import slope as lesswrong2019_dynamics
from bntheory.evidence.rates import count_check
from bntheory.judges.verdict import evidence_of_checks, verdict_of
from bntheory.models.least_squares import LeastSquares
from bntheory.models.least_squares_dynamics import bngd

MODULES = (
    arora2019,
    cai2019,
    ioffe2015_dynamics,
    kohler2019,
    lesswrong2019_dynamics,
    li2020,
    lyu2022,
    vanlaarhoven2017,
    wan2021,
)
VERDICTS = {
    "cai2019.scaling-law": "proved",
    "cai2019.scaling-law.any-sign": "refuted",
    "cai2019.any-learning-rate": "survives",
    "cai2019.any-learning-rate.every-start": "refuted",
    "cai2019.norm-grows": "proved",
    "cai2019.effective-condition-number": "proved",
    "cai2019.contraction.s": "proved",
    "cai2019.contraction.s-star": "refuted",
    "bntheory2026.least-squares.contraction": "proved",
    "cai2019.rate.s-star": "supported",
    "cai2019.insensitivity": "supported",
    "kohler2019.rate": "proved",
    "kohler2019.rate.every-start": "refuted",
    "arora2019.any-learning-rate": "supported",
    "arora2019.any-learning-rate.exactly": "contradicted",
    "vanlaarhoven2017.no-regularisation": "proved",
    "vanlaarhoven2017.no-regularisation.eps-positive": "refuted",
    "vanlaarhoven2017.equilibrium": "supported",
    "vanlaarhoven2017.equilibrium.exact": "refuted",
    "bntheory2026.weight-decay.equilibrium": "proved",
    "li2020.exponential-lr": "proved",
    "li2020.exponential-lr.zero-buffer": "refuted",
    "li2020.exponential-lr.momentum-inside": "refuted",
    "li2020.exponential-lr.any-decay": "refuted",
    "li2020.blog-growth": "refuted",
    "li2020.blog-growth.per-epoch": "proved",
    "wan2021.angular-update": "supported",
    "wan2021.angular-update.mean-angle": "contradicted",
    "bntheory2026.angular-update": "proved",
    "lyu2022.spherical-sharpness": "supported",
    "lyu2022.spherical-sharpness.for-ever": "contradicted",
    "lyu2022.spherical-sharpness.every-start": "refuted",
    "ioffe2015.ignored-statistics.bias-grows": "proved",
    "ioffe2015.ignored-statistics.bias-grows.zero-gradient": "refuted",
    "ioffe2015.ignored-statistics.bias-grows.trained-shift": "refuted",
    "lesswrong2019.learning-rate.slope": "survives",
    "lesswrong2019.learning-rate.slope.every-rate": "contradicted",
    "lesswrong2019.learning-rate.slope.no-budget": "contradicted",
}
#: A check that illustrates a refutation fails, and is meant to.
ILLUSTRATES_A_FAILURE = {"cai2019.contraction.s-star"}


def test_the_table_is_complete():
    names = {m.__name__ for m in MODULES}
    mine = {c.id for c in registry() if c.kind == "dynamics" and c.check.__module__ in names}
    assert mine == set(VERDICTS)


@pytest.mark.parametrize("claim_id", VERDICTS)
def test_verdict(claim_id):
    claim = registry()[claim_id]
    checks = list(claim.check(Study(effort="quick", seed=11)))
    verdict = verdict_of(claim, [evidence_of_checks(checks, seconds=0.0, seed=11)])
    assert verdict.status.value == VERDICTS[claim_id], verdict.evidence[0].summary
    if claim_id not in ILLUSTRATES_A_FAILURE:
        assert [c.name for c in checks if not c.decisive and c.outcome != "holds"] == []
    if claim.source.seen == "recalled":
        assert claim.reading or claim.note or VERDICTS[claim_id] == "proved"


def _floats(values):
    return np.array([float(Fraction(v)) for v in values])


def test_the_orbit_into_the_saddle_by_the_vectorised_trajectories():
    orbit = cai2019.SADDLE_ORBIT
    problem = LeastSquares(np.diag(_floats(orbit["S"])), _floats(orbit["b"]))
    start = {k: float(Fraction(orbit[k])) for k in ("a0", "eps", "eps_a")}
    run = bngd(problem, _floats(orbit["w0"]), start["eps"], 2, a0=start["a0"], lr_a=start["eps_a"], points=None)
    assert start["a0"] * run["alignment"][0] > 0
    assert abs(run["a"][2]) < 1e-13
    assert abs(run["alignment"][2]) < 1e-13
    assert run["excess"][2] == pytest.approx(problem.signal, rel=1e-12)
    beside = bngd(
        problem, _floats(orbit["w0"]), start["eps"] * (1 + 1e-6), 4000, a0=start["a0"], lr_a=start["eps_a"], points=None
    )
    assert beside["excess"][-1] < 1e-12 * problem.signal  # a neighbour converges: the saddle attracts no open set


def test_a_wrong_orbit_is_noticed(monkeypatch):
    monkeypatch.setitem(cai2019.SADDLE_ORBIT, "eps_a", "1/2")
    outcomes = [c.outcome for c in cai2019.any_learning_rate_every_start(Study(effort="quick"))[:2]]
    assert outcomes == ["holds", "fails"]


def test_the_s_star_counterexample_by_the_vectorised_trajectories():
    check = cai2019.contraction_s_star(Study(effort="quick"))[0]
    S, u, w = (_floats(check.witness[k]) for k in ("S", "u", "w"))
    problem = LeastSquares(np.diag(S), S * u)
    run = bngd(problem, w, float(Fraction(check.witness["eps"])), 1, a0=1.0, points=None)
    assert run["effective_step"][0] == pytest.approx(1 / problem.effective_eigenvalues[0], rel=1e-12)
    assert run["excess"][1] == pytest.approx(check.left, rel=1e-10)
    assert check.left > check.right == 0


def test_the_scaling_proof_fails_without_the_sign():
    signs = [sympy.Symbol("r", positive=True), sympy.Symbol("r", negative=True)]
    outcomes = [{c.outcome for c in _least_squares_proofs.scaling(r)} for r in signs]
    assert outcomes[0] == {"holds"}
    assert "fails" in outcomes[1]


def test_counting_nothing_is_an_error():
    with pytest.raises(ValueError, match="cannot fail"):
        count_check("empty", 0, 0, "")


def test_claims_load_without_the_heavy_libraries():
    names = [m.__name__ for m in MODULES]
    code = "; ".join(f"import {n}" for n in names)
    code += (
        "; import sys; print([m for m in ('torch', 'matplotlib', 'sympy', 'z3', 'flint', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

"""The search judge on claims whose truth is known on paper.

Oracles: theorems and counterexamples worked out by hand; for every refutation, the certificate (exact arithmetic, another code
path than the torch layers that were searched) and a recomputation with mpmath straight from the definition of BN.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import pytest
import torch

from bntheory import LayerDomain, all_of, any_of, eq, ge, gt, iff, implies, le, lt, standardise
from bntheory.claims.claim import Claim, Source, registry
from bntheory.errors import OutsideVocabulary
from bntheory.judges.exact.certificate import certify
from bntheory.judges.exact.replay import replay
from bntheory.judges.exact.witness import Instance, Reference, Witness
from bntheory.judges.search import Budget, judge
from bntheory.judges.search.ascent import ascend, evaluate
from bntheory.judges.search.candidates import Candidates


def _claim(check: Any, assume: Any = None, **domain: Any) -> Claim:
    return Claim("test.search", "layer", Source("test", ""), "", check, LayerDomain(**domain), assume)


def _bound(x: Any, hat: Any = 1) -> Any:
    g = x.grad
    return x.gamma**2 / x.sigma**2 * (x.norm2(g) - x.dot(x.one, g) ** 2 / x.m - hat * x.dot(g, x.y_hat) ** 2 / x.m)


TRUE: dict[str, Claim] = {
    "theorem-4.1": _claim(lambda x: le(x.norm2(x.input_grad), _bound(x)), eps="zero"),
    "theorem-4.1-as-equality": _claim(lambda x: eq(x.norm2(x.input_grad), _bound(x)), eps="zero"),
    "theorem-4.1-eps": _claim(lambda x: le(x.norm2(x.input_grad), _bound(x)), eps="positive"),
    "input-gradient-sums-to-zero": _claim(lambda x: eq(x.dot(x.one, x.input_grad), 0)),
    "strict-where-strict": _claim(lambda x: lt(0, x.sigma)),
    "psd-hessian": _claim(lambda x: ge(x.dot(x.grad, x.hess(x.grad)), 0), hessian="psd"),
    "unit-interval": _claim(lambda x: le(x.scalar("a") ** 2, x.scalar("a")), scalars={"a": "unit"}),
    "hypothesis-needed": _claim(lambda x: le(x.gamma, 1), lambda x: [le(x.gamma, 1)]),
    "disjunction": _claim(lambda x: any_of(le(x.gamma, 0), ge(x.gamma, 0))),
    "implication": _claim(lambda x: implies(gt(x.gamma, 1), gt(x.gamma**2, 1))),
    "implication-from-an-equality": _claim(lambda x: implies(eq(x.gamma, 3), eq(x.gamma**2, 9))),
    "conjunction": _claim(lambda x: all_of(le(0, x.var), le(x.var, x.sigma**2))),
    "l1-shift": _claim(lambda x: eq(x.dot(x.one, x.input_grad), 0), eps="zero", normaliser="l1", min_m=3),
    "mean-only": _claim(lambda x: le(x.norm2(x.input_grad), x.gamma**2 * x.norm2(x.grad)), normaliser="mean-only"),
}

FALSE: dict[str, tuple[Claim, int]] = {  # with the least batch size at which it fails, by hand
    "sqrt-m-for-m": (_claim(lambda x: le(x.norm2(x.input_grad), _bound(x, x.m)), eps="zero"), 2),
    "strict-by-equality": (_claim(lambda x: lt(x.norm2(x.input_grad), _bound(x)), eps="zero"), 2),
    "scale-invariance-of-any-sign": (
        _claim(lambda x: eq(standardise(x, x.scalar("a") * x.y), x.y_hat), eps="zero", scalars={"a": "nonzero"}),
        2,
    ),
    "gradient-vanishes": (_claim(lambda x: eq(x.input_grad, 0 * x.one), eps="zero", gamma="nonzero"), 3),
    "indefinite-hessian": (_claim(lambda x: ge(x.dot(x.grad, x.hess(x.grad)), 0)), 2),
    "free-operator": (_claim(lambda x: ge(x.dot(x.grad, x.operator("K")(x.grad)), 0), operators={"K": "any"}), 2),
    "one-case-of-many": (_claim(lambda x: le(x.dot(x.vector("e@case"), x.y_hat) ** 2, 1), vectors=("e@case",)), 3),
    "half-line": (_claim(lambda x: le(x.scalar("a"), 1000), scalars={"a": "positive"}), 2),
    "iff": (_claim(lambda x: iff(gt(x.gamma, 0), gt(x.gamma**2, 0))), 2),
    "equality-hypothesis": (
        _claim(
            lambda x: eq(x.norm2(x.input_grad) * x.sigma**2, x.gamma**2 * x.norm2(x.grad)),
            lambda x: [eq(x.dot(x.y_hat, x.grad), 0)],
            eps="zero",
        ),
        2,
    ),
    "two-equality-hypotheses": (
        _claim(
            lambda x: le(x.dot(x.grad, x.hess(x.grad)), x.norm2(x.grad)),
            lambda x: [eq(x.dot(x.y_hat, x.grad), 0), eq(x.dot(x.one, x.grad), 0)],
            eps="zero",
        ),
        3,
    ),
    "sigma-must-be-rational": (_claim(lambda x: le(x.sigma, 1), lambda x: [eq(x.gamma, x.sigma)], eps="zero"), 2),
    "m-three-only-l1": (_claim(lambda x: le(x.norm2(x.y_hat), x.m), eps="zero", normaliser="l1", min_m=3), 3),
    "equality-far-from-the-starts": (_claim(lambda x: implies(eq(x.gamma, 3), le(x.gamma**2, 8))), 2),
    "hypothesis-by-a-product": (_claim(lambda x: le(x.gamma, 0), lambda x: [eq(x.gamma * x.dot(x.one, x.grad), 7)]), 2),
    "far-away": (_claim(lambda x: any_of(le(x.gamma, 50), le(x.sigma, 50))), 2),
}


@pytest.mark.parametrize("name", TRUE)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_theorem_survives(name: str, seed: int) -> None:
    evidence = judge(TRUE[name], "quick", seed)
    assert evidence.finding == "survives", evidence.summary
    assert evidence.details["layers_tried"] > 2000
    assert evidence.details.get("closest_margin", 0.0) >= 0


@pytest.mark.parametrize("name", FALSE)
def test_a_false_claim_is_refuted_at_the_least_batch_size(name: str) -> None:
    claim, least = FALSE[name]
    evidence = judge(claim, "quick", 0)
    assert evidence.finding == "refuted", evidence.summary
    instance = Instance.from_json(evidence.details["witness"]["layer"])
    assert instance.m == least
    assert certify(claim, instance).refuted


def test_the_witness_is_short() -> None:
    evidence = judge(FALSE["sqrt-m-for-m"][0], "quick", 0)
    x = Instance.from_json(evidence.details["witness"]["layer"])
    assert x.hess is None
    assert x.beta == 0
    assert x.gamma == 1
    assert sum(1 for v in (*x.y, *x.grad) if v) <= 3
    assert max(abs(v) for v in (*x.y, *x.grad)) <= 3


def test_the_violation_is_there_at_50_digits_from_the_definition_of_bn() -> None:
    claim = registry()["santurkar2018.theorem-4.1.neurips"]
    x = Instance.from_json(judge(claim, "quick", 0).details["witness"]["layer"])
    with mpmath.workdps(50):
        y, g = [[mpmath.mpf(v.numerator) / v.denominator for v in part] for part in (x.y, x.grad)]
        gamma, m = mpmath.mpf(x.gamma.numerator) / x.gamma.denominator, x.m

        def loss(t: list[Any]) -> Any:  # linear in z, with gradient g
            mu = sum(t) / m
            sigma = mpmath.sqrt(sum((v - mu) ** 2 for v in t) / m)
            return sum(c * gamma * (v - mu) / sigma for c, v in zip(g, t, strict=True))

        h = mpmath.mpf("1e-20")
        slopes = [
            (loss([v + h * (i == j) for j, v in enumerate(y)]) - loss([v - h * (i == j) for j, v in enumerate(y)]))
            / (2 * h)
            for i in range(m)
        ]
        mu = sum(y) / m
        sigma2 = sum((v - mu) ** 2 for v in y) / m
        along = sum(c * (v - mu) for c, v in zip(g, y, strict=True)) / mpmath.sqrt(sigma2)
        right = gamma**2 / sigma2 * (sum(c * c for c in g) - sum(g) ** 2 / m - along**2 / mpmath.sqrt(m))
        assert sum(s * s for s in slopes) > right + mpmath.mpf("1e-15") * abs(right)


def test_the_same_seed_gives_the_same_answer() -> None:
    claim = FALSE["indefinite-hessian"][0]
    one, other = judge(claim, "quick", 7), judge(claim, "quick", 7)
    assert one.details == other.details


def test_a_refutation_replays_from_its_file(tmp_path: Path) -> None:
    claim = registry()["santurkar2018.theorem-4.1.neurips"]
    witness = Witness.from_json(judge(claim, "quick", 0).details["witness"])
    assert witness.reference == Reference("registry", claim.id)
    assert replay(witness.save(tmp_path / "w.json")).refuted


def test_near_misses_are_near_misses() -> None:
    evidence = judge(_claim(lambda x: le(x.norm2(x.y_hat), x.m + Fraction(1, 10))), "quick", 0)
    assert evidence.finding == "survives"
    assert 0 < evidence.details["closest_margin"] <= 0.1 / 4.1 + 1e-9  # m = 2 and no eps: 0.1/(2 + 2.1)
    assert "closest relative margin" in evidence.summary
    tight = judge(TRUE["theorem-4.1-eps"], "quick", 0)
    assert tight.details["closest_margin"] == 0
    assert "met with equality" in tight.summary


def test_hypotheses_that_cannot_be_met_are_no_pass() -> None:
    evidence = judge(_claim(lambda x: lt(1, 0), lambda x: [lt(x.gamma, 0)], gamma="positive"), "quick", 0)
    assert evidence.finding == "unknown"
    assert "vacuous" in evidence.summary


def _outside(x: Any) -> Any:
    raise OutsideVocabulary("no such world")


@pytest.mark.parametrize(
    ("check", "finding", "words"),
    [
        (lambda x: le(x.weights, 1), "error", "AttributeError"),
        (lambda x: x.gamma < 1, "error", "le"),
        (lambda x: le(x.y, x.grad), "error", "vectors can only be equal"),
        (lambda x: le(x.scalar("a"), 1), "error", "'a'"),
        (lambda x: le(1 / 0, 1), "error", "ZeroDivisionError"),
        (_outside, "unknown", "vocabulary"),
    ],
    ids=["unknown-word", "comparison", "vectors", "undeclared", "division", "outside"],
)
def test_a_claim_that_cannot_be_evaluated_gets_a_message(check: Any, finding: str, words: str) -> None:
    evidence = judge(_claim(check), "quick", 0)
    assert evidence.finding == finding
    assert words in evidence.summary


def test_claims_of_other_kinds_and_unknown_efforts() -> None:
    other = Claim("test.other", "dynamics", Source("test", ""), "", lambda study: [])
    assert judge(other, "quick", 0).finding == "not-applicable"
    with pytest.raises(ValueError, match="effort is 'slow'"):
        judge(TRUE["disjunction"], "slow")  # type: ignore[arg-type]


def test_the_budget_bounds_the_work() -> None:
    budget = Budget((0,), 32, 5, 1, 2, 10, 5.0)
    evidence = judge(TRUE["theorem-4.1"], "quick", 0, budget=budget)
    assert evidence.details["layers_tried"] <= 32 * 6 + 4096


def test_search_runs_on_the_device(device: str) -> None:
    assert judge(FALSE["sqrt-m-for-m"][0], "quick", 0, device).finding == "refuted"
    assert judge(TRUE["psd-hessian"], "quick", 0, device).finding == "survives"


def test_ascent_climbs_and_keeps_what_it_passed() -> None:
    claim = _claim(lambda x: le(1, 1000 * (x.gamma - 7.3) ** 2))  # fails for gamma within 0.03 of 7.3 only
    generator = torch.Generator().manual_seed(0)
    domain = LayerDomain()
    start = evaluate(claim, domain, Candidates(domain, 128, 2, generator, "cpu"))
    assert not bool((start.merit > 0).any())
    end = ascend(claim, domain, start, 60, lambda attacked: False)
    assert bool((end.merit >= start.merit).all())
    assert bool((end.merit > 0).any())
    assert end.evaluations == 61 * 128

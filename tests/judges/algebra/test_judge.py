"""The algebra judge: true statements are proved, false ones refuted, and neither word is believed.

Independent oracles: every proof is attacked with random layers in the closed form (floats, no symbols) and its SMT-LIB script is
read back and decided anew; every refutation is rebuilt from its JSON and certified in exact arithmetic; for a family of inequalities
with five free coefficients the truth is known by hand from the three components of the gradient.
"""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import z3
from hypothesis import given, settings
from hypothesis import strategies as st

from bntheory.claims.core import Claim, Source
from bntheory.errors import RoutesDisagree
from bntheory.judges.algebra import judge
from bntheory.judges.certificate import certify
from bntheory.judges.witness import Witness
from bntheory.layer import LayerDomain, all_of, any_of, eq, ge, gt, implies, le, lt
from bntheory.layer.family import make_layer
from bntheory.layer.relations import AllOf, AnyOf, as_statement
from bntheory.layer.vocabulary import centre, sqrt, standardise


def claim_of(check, domain=None, assume=None):
    return Claim(
        "test.claim", "layer", Source("test", "", seen="own"), "", check, domain or LayerDomain(), assume
    )


ZERO, POSITIVE, ANY = (LayerDomain(eps=e) for e in ("zero", "positive", "any"))
GAMMA = LayerDomain(eps="zero", gamma="positive")


def theorem_41(last):
    def check(x):
        g = x.grad
        bracket = x.norm2(g) - x.dot(x.one, g) ** 2 / x.m - x.dot(g, x.y_hat) ** 2 / last(x)
        return le(x.norm2(x.input_grad), x.gamma**2 / x.sigma**2 * bracket)

    return check


def theorem_42_first(x):
    v = x.input_grad
    curved = x.gamma**2 / x.sigma**2 * x.dot(v, x.hess(v))
    return le(
        x.dot(v, x.input_hess(v)), curved - x.gamma / (x.m * x.sigma**2) * x.dot(x.grad, x.y_hat) * x.norm2(v)
    )


def theorem_42_second(x):
    v, g = x.input_grad, x.grad
    bracket = x.dot(g, x.hess(g)) - x.dot(g, x.y_hat) * x.norm2(v) / (x.m * x.gamma)
    return le(x.dot(v, x.input_hess(v)), x.gamma**2 / x.sigma**2 * bracket)


def forms_ordered(x):
    return le(x.dot(x.input_grad, x.hess(x.input_grad)), x.dot(x.grad, x.hess(x.grad)))


def isotropic(kind="isotropic"):
    return LayerDomain(eps="zero", gamma="positive", hessian=kind)


READINGS = {
    "4.1, 1/m": (theorem_41(lambda x: x.m), ZERO, None, "proved"),
    "4.1, 1/sqrt(m)": (theorem_41(lambda x: sqrt(x.m)), ZERO, None, "refuted"),
    "4.1, eps > 0": (theorem_41(lambda x: x.m), POSITIVE, None, "proved"),
    "4.2 first": (theorem_42_first, ZERO, None, "proved"),
    "4.2 first, eps > 0": (theorem_42_first, POSITIVE, None, "refuted"),
    "4.2 second": (theorem_42_second, GAMMA, None, "refuted"),
    "4.2 second, isotropic": (theorem_42_second, isotropic(), None, "refuted"),
    "4.2 second, identity": (theorem_42_second, isotropic("identity"), None, "refuted"),
    "4.2 second, forms ordered": (theorem_42_second, GAMMA, forms_ordered, "proved"),
}

MORE = {
    "4.2 second, psd": (theorem_42_second, isotropic("psd"), None, "refuted"),
    "4.2 second, H = 0": (theorem_42_second, isotropic("zero"), None, "proved"),
    "orthogonal to 1": (lambda x: eq(x.dot(x.one, x.input_grad), 0), ANY, None, "proved"),
    "orthogonal to y, eps = 0": (lambda x: eq(x.dot(x.y, x.input_grad), 0), ZERO, None, "proved"),
    "orthogonal to y, any eps": (lambda x: eq(x.dot(x.y, x.input_grad), 0), ANY, None, "refuted"),
    "H couples 1 with what is left of g": (
        lambda x: eq(x.dot(x.one, x.hess(x.input_grad)), 0), ZERO, None, "refuted",
    ),
    "H 1, formed before g is named": (
        lambda x: eq(x.dot(x.hess(x.one), x.input_grad), 0), ZERO, None, "refuted",
    ),
    "H g leaves the span, seen by a second product": (
        lambda x: le(x.dot(x.grad, x.hess(x.hess(x.grad))) * x.norm2(x.grad), x.dot(x.grad, x.hess(x.grad)) ** 2),
        ANY, None, "refuted",
    ),
    "H g leaves the span, seen by its norm": (
        lambda x: le(x.norm2(x.hess(x.grad)) * x.norm2(x.grad), x.dot(x.grad, x.hess(x.grad)) ** 2), ANY, None, "refuted",
    ),
    "H g leaves the span, seen by an equality": (
        lambda x: eq(x.norm2(x.grad) * x.hess(x.grad), x.dot(x.grad, x.hess(x.grad)) * x.grad), ANY, None, "refuted",
    ),
    "1 in the kernel": (lambda x: eq(x.input_hess(x.one), 0 * x.one), ANY, None, "proved"),
    "y in the kernel": (lambda x: eq(x.input_hess(x.y), 0 * x.one), ZERO, None, "refuted"),
    "symmetric": (lambda x: eq(x.dot(x.y, x.input_hess(x.grad)), x.dot(x.grad, x.input_hess(x.y))), ANY, None, "proved"),
    "strict fails by equality": (lambda x: lt(x.norm2(x.y_hat), x.m), ZERO, None, "refuted"),
    "strict where eps > 0": (lambda x: lt(x.norm2(x.y_hat), x.m), POSITIVE, None, "proved"),
    "m = 2 has no gradient": (lambda x: eq(x.input_grad, 0 * x.one), ZERO, lambda x: eq(x.m, 2), "proved"),
    "m = 3 has one": (lambda x: eq(x.input_grad, 0 * x.one), LayerDomain(eps="zero", min_m=3), None, "refuted"),
    "m is whole": (lambda x: ge((x.m - 3) * (x.m - 4), 0), ANY, None, "proved"),
    "m is not whole everywhere": (lambda x: ge((x.m - 3) * (x.m - 5), 0), ANY, None, "refuted"),
    "batches stop at 20": (lambda x: le(x.m, 20), ANY, None, "refuted"),
    "Cauchy-Schwarz for H": (
        lambda x: le(x.dot(x.grad, x.hess(x.grad)) ** 2, x.norm2(x.grad) * x.norm2(x.hess(x.grad))), ANY, None, "proved",
    ),
    "Cauchy-Schwarz in a psd form": (
        lambda x: le(
            x.dot(x.y, x.hess(x.grad)) ** 2, x.dot(x.grad, x.hess(x.grad)) * x.dot(x.y, x.hess(x.y))
        ),
        LayerDomain(hessian="psd"), None, "proved",
    ),
    "the same for any H": (
        lambda x: le(
            x.dot(x.y, x.hess(x.grad)) ** 2, x.dot(x.grad, x.hess(x.grad)) * x.dot(x.y, x.hess(x.y))
        ),
        ANY, None, "refuted",
    ),
    "triangle inequality": (
        lambda x: le(sqrt(x.norm2(x.grad + x.y)), sqrt(x.norm2(x.grad)) + sqrt(x.norm2(x.y))), ANY, None, "proved",
    ),
    "reverse triangle": (
        lambda x: ge(sqrt(x.norm2(x.grad + x.y)), sqrt(x.norm2(x.grad)) + sqrt(x.norm2(x.y))), ANY, None, "refuted",
    ),
    "scale invariance": (
        lambda x: eq(standardise(x, x.scalar("a") * x.y), x.y_hat),
        LayerDomain(eps="zero", scalars={"a": "positive"}), None, "proved",
    ),
    "scale invariance with eps": (
        lambda x: eq(standardise(x, x.scalar("a") * x.y), x.y_hat),
        LayerDomain(eps="positive", scalars={"a": "positive"}), None, "refuted",
    ),
    "undefined where the division is": (
        lambda x: ge(x.norm2(x.input_grad) / x.norm2(x.input_grad), 1), ZERO, None, "proved",
    ),
    "a psd form is not negative": (lambda x: ge(x.dot(x.grad, x.hess(x.grad)), 0), LayerDomain(hessian="psd"), None, "proved"),
    "either or": (lambda x: any_of(ge(x.dot(x.grad, x.y), 0), le(x.dot(x.grad, x.y), 0)), ANY, None, "proved"),
    "not both": (lambda x: all_of(ge(x.dot(x.grad, x.y), 0), le(x.dot(x.grad, x.y), 0)), ANY, None, "refuted"),
    "implication": (
        lambda x: implies(eq(x.norm2(x.grad), 0), eq(x.norm2(x.input_grad), 0)), ANY, None, "proved",
    ),
    "Samuelson": (
        lambda x: le(x.dot(x.vector("e@case"), x.y_hat) ** 2, x.m - 1),
        LayerDomain(eps="zero", vectors=("e@case",)), None, "proved",
    ),
    "Samuelson, m - 2": (
        lambda x: le(x.dot(x.vector("e@case"), x.y_hat) ** 2, x.m - 2),
        LayerDomain(eps="zero", vectors=("e@case",)), None, "refuted",
    ),
    "diagonal H, two examples": (
        lambda x: eq(x.dot(x.vector("a@case"), x.hess(x.y)), x.dot(x.vector("b@case"), x.hess(x.y))),
        LayerDomain(hessian="diagonal", vectors=("a@case", "b@case")), None, "refuted",
    ),
    "l1 amplifies": (
        lambda x: le(x.norm2(x.input_grad), x.gamma**2 / x.sigma**2 * x.norm2(centre(x, x.grad))),
        LayerDomain(eps="zero", normaliser="l1"), None, "refuted",
    ),
    "l1 at most so much": (
        lambda x: le(
            x.norm2(x.input_grad) * x.m**2,
            x.gamma**2 / x.sigma**2 * x.norm2(centre(x, x.grad)) * x.norm2(x.y_hat) * x.norm2(centre(x, x.dual)),
        ),
        LayerDomain(eps="zero", normaliser="l1"), None, "proved",
    ),
    "linf amplifies": (
        lambda x: le(x.norm2(x.input_grad), x.gamma**2 / x.sigma**2 * x.norm2(centre(x, x.grad))),
        LayerDomain(eps="zero", normaliser="linf"), None, "refuted",
    ),
    "rms keeps no mean": (
        lambda x: eq(x.dot(x.one, x.input_grad), 0), LayerDomain(eps="zero", normaliser="rms"), None, "refuted",
    ),
    "frozen scales": (
        lambda x: eq(x.input_hess(x.y), x.gamma**2 / x.sigma**2 * x.hess(x.y)), LayerDomain(normaliser="frozen"), None, "proved",
    ),
    "gamma = sigma": (
        lambda x: le(x.norm2(x.input_grad), 0.99 * x.norm2(x.grad)), ZERO, lambda x: eq(x.gamma, x.sigma), "refuted",
    ),
}  # fmt: skip

TABLE = [pytest.param(*row, id=name) for name, row in {**READINGS, **MORE}.items()]


def holds(statement, slack):
    if isinstance(statement, AllOf):
        return all(holds(p, slack) for p in statement.parts)
    if isinstance(statement, AnyOf):
        return any(holds(p, slack) for p in statement.parts)
    left, right = np.asarray(statement.left, dtype=float), np.asarray(statement.right, dtype=float)
    room = slack * (np.abs(left).max() + np.abs(right).max() + 1)
    gap = (right - left) * np.ones(1)
    if not np.isfinite(gap).all():
        return True  # nothing is asserted where something is undefined
    return bool((np.abs(gap) <= room).all() if statement.op == "eq" else (gap >= -room).all())


def random_layer(domain, rng):
    m = int(rng.integers(domain.min_m, domain.min_m + 4))
    y, g = rng.normal(size=(2, m)) * 10.0 ** rng.integers(-1, 2)
    a = rng.normal(size=(m, m))
    rank = rng.normal(size=(m, 1))
    hess = {
        "any": a + a.T, "psd": rank @ rank.T, "isotropic": rng.normal() * np.eye(m), "identity": np.eye(m),
        "zero": 0 * a, "diagonal": np.diag(rng.normal(size=m)),
    }[domain.hessian]  # fmt: skip
    positive = lambda: float(np.exp(rng.normal()))  # noqa: E731
    gamma = positive() if domain.gamma == "positive" else float(rng.normal())
    eps = 0.0 if domain.eps == "zero" else positive()
    free = {n: np.array([positive()]) for n in domain.scalars}
    for v in domain.vectors:
        free[v] = np.eye(m)[rng.integers(m)] if v.endswith("@case") else rng.normal(size=m)
    return make_layer(domain.normaliser, y, g, hess, gamma=gamma, eps=eps, free=free)


def attack(claim, seed=0, tries=150):
    """No random layer that meets the assumptions violates the claim."""
    rng = np.random.default_rng(seed)
    for _ in range(tries):
        layer = random_layer(claim.domain, rng)
        if claim.assume is not None and not holds(as_statement(claim.assume(layer)), 0.0):
            continue
        with np.errstate(all="ignore"):
            statement = as_statement(claim.check(layer))
        assert holds(statement, 1e-7), "a random layer violates what was proved"


def replay(claim, evidence):
    witness = Witness.from_json(json.loads(json.dumps(evidence.details["witness"])))
    assert certify(claim, witness.instance).refuted
    return witness.instance


@pytest.mark.parametrize(("check", "domain", "assume", "finding"), TABLE)
def test_verdicts(check, domain, assume, finding):
    claim = claim_of(check, domain, assume)
    evidence = judge(claim)
    assert evidence.finding == finding, evidence.summary
    if finding == "proved":
        attack(claim)
        for script in evidence.details["proof"]["smt_lib"]:
            solver = z3.Tactic("qfnra-nlsat").solver()
            solver.set("timeout", 20_000)
            solver.from_string(script)
            assert solver.check() == z3.unsat
    else:
        replay(claim, evidence)


COEFFICIENTS = st.sampled_from([0, 0.5, 1, 1.001, 2, -1])


@settings(max_examples=60)
@given(st.tuples(*[COEFFICIENTS] * 4), st.sampled_from(["le", "lt", "eq"]))
def test_a_family_whose_truth_is_known(c, op):
    """a |P g|^2 against b |g|^2 - c <1,g>^2/m - d <g,y_hat>^2/m at eps = 0, gamma != 0.

    With g = alpha 1 + beta y_hat + rest the difference is m (b - c) alpha^2 + m (b - d) beta^2 + (b - a) |rest|^2.
    """
    a, b, p, d = c
    relation = {"le": le, "lt": lt, "eq": eq}[op]

    def check(x):
        g, scale = x.grad, x.gamma**2 / x.sigma**2
        right = b * x.norm2(g) - p * x.dot(x.one, g) ** 2 / x.m - d * x.dot(g, x.y_hat) ** 2 / x.m
        return relation(a * x.norm2(x.input_grad), scale * right)

    weights = (b - p, b - d, b - a)
    truth = {"le": min(weights) >= 0, "eq": not any(weights), "lt": False}[
        op
    ]  # g = 0 breaks every strict one
    claim = claim_of(check, LayerDomain(eps="zero", gamma="nonzero"))
    evidence = judge(claim)
    assert evidence.finding == ("proved" if truth else "refuted")
    if not truth:
        replay(claim, evidence)


@pytest.mark.parametrize(
    "assume",
    [
        lambda x: lt(x.norm2(x.grad), 0),
        lambda x: [gt(4 * x.m, 9), lt(4 * x.m, 11)],
        lambda x: [eq(x.m, 2), gt(x.norm2(x.input_grad), 0)],
        lambda x: gt(x.norm2(x.y_hat), x.m),
    ],
    ids=["negative norm", "no whole number", "m = 2", "y_hat too long"],
)
def test_assumptions_that_cannot_be_met_are_vacuous(assume):
    evidence = judge(claim_of(lambda x: le(x.norm2(x.input_grad), 0), ZERO, assume))
    assert evidence.finding == "vacuous"


def test_the_smallest_batch_is_found():
    """|P g|^2 <= 0 holds at m = 2, so m = 3 is the least counterexample."""
    evidence = judge(
        claim_of(lambda x: le(x.norm2(x.input_grad), 0), LayerDomain(eps="zero", gamma="positive"))
    )
    assert evidence.details["witness"]["layer"]["m"] == 3


def test_constant_batches_are_part_of_eps_positive():
    """var = 0 is allowed where eps > 0, and the claim that it is not is refuted by such a batch."""
    evidence = judge(claim_of(lambda x: gt(x.var, 0), POSITIVE))
    assert evidence.finding == "refuted"
    assert len(set(evidence.details["witness"]["layer"]["y"])) == 1


def test_what_is_not_decided_is_unknown():
    """A counterexample exists only at m = 1000, too large to write down; the solver's solution alone refutes nothing."""
    evidence = judge(claim_of(lambda x: lt(x.m, 1000), ANY))
    assert evidence.finding == "unknown"
    assert "too large" in evidence.summary


def test_diagonal_is_taken_as_any_for_proofs_only():
    """<a, H b> = 0 for different examples is true of diagonal H and of no wider class, so real arithmetic leaves it open."""
    domain = LayerDomain(hessian="diagonal", vectors=("a@case", "b@case"))
    claim = claim_of(
        lambda x: eq(x.dot(x.vector("a@case"), x.hess(x.vector("b@case"))), 0),
        domain,
        lambda x: eq(x.dot(x.vector("a@case"), x.vector("b@case")), 0),
    )
    assert judge(claim).finding == "unknown"


def test_other_kinds_are_not_this_judges_business():
    claim = Claim("test.other", "network", Source("test", ""), "", lambda study: [])
    assert judge(claim).finding == "not-applicable"


def test_errors_of_the_claim_are_passed_on():
    with pytest.raises(ValueError, match="free scalar 'a'"):
        judge(claim_of(lambda x: le(x.scalar("a"), 1)))
    with pytest.raises(TypeError, match="vector is compared with a scalar"):
        judge(claim_of(lambda x: le(x.grad, 1)))


def test_normal_forms_are_shown():
    evidence = judge(claim_of(theorem_41(lambda x: x.m), POSITIVE))
    (form,) = evidence.details["calculus"]["relations"]
    assert form["how"] == "manifest"
    assert r"\varepsilon" in form["difference_latex"]
    assert evidence.details["calculus"]["compared_with_coordinates"] is True


@pytest.mark.parametrize("part", ["input_grad", "input_hess"])
def test_routes_that_disagree_are_an_internal_error(monkeypatch, part):
    """A wrong derivative in one route is noticed, whatever the claim says."""
    from bntheory.layer.symbolic import SymbolicLayer

    if part == "input_grad":
        monkeypatch.setattr(SymbolicLayer, "input_grad", property(lambda self: self.grad))
    else:
        monkeypatch.setattr(SymbolicLayer, "input_hess", lambda self, v: self.hess(v))
    with pytest.raises(RoutesDisagree, match="report it"):
        judge(claim_of(lambda x: le(x.dot(x.y_hat, x.input_hess(x.input_grad)), x.norm2(x.input_grad)), ANY))


def test_the_order_of_statements_does_not_matter():
    """<g, H y_hat> sees a direction that is named only after the product was formed."""
    first = claim_of(lambda x: eq(x.dot(x.hess(x.y_hat), x.grad), x.dot(x.y_hat, x.hess(x.grad))), ZERO)
    assert judge(first).finding == "proved"
    for order in itertools.permutations(("y_hat", "grad")):
        claim = claim_of(lambda x, o=order: eq(x.dot(x.hess(getattr(x, o[0])), getattr(x, o[1])), 0), ZERO)
        assert judge(claim).finding == "refuted"


@pytest.mark.parametrize(("power", "needed"), [(1, True), (2, False)], ids=["needed", "not needed"])
def test_whether_the_assumptions_were_needed_is_said(power, needed):
    """gamma >= 0 is needed for gamma |g|^2 >= 0 and not for gamma^2 |g|^2 >= 0."""
    claim = claim_of(lambda x: ge(x.gamma**power * x.norm2(x.grad), 0), ANY, lambda x: ge(x.gamma, 0))
    evidence = judge(claim)
    assert evidence.finding == "proved"
    assert evidence.details["proof"]["assumptions_needed"] is needed


def test_a_solver_that_gives_up_proves_nothing(monkeypatch):
    from bntheory.judges.algebra import procedure
    from bntheory.judges.algebra.solver import Reply

    monkeypatch.setattr(procedure, "ask", lambda *a, **k: Reply("unknown", None, 0.0, ()))
    evidence = judge(claim_of(theorem_42_second, isotropic("psd")))
    assert evidence.finding == "unknown"
    assert {q["answer"] for q in evidence.details["questions"]} == {"unknown"}


def test_a_counterexample_that_cannot_be_written_down_still_forbids_a_proof():
    """False only at m = 2 and gamma^3 = 2: no rational layer shows it, and no proof may step over it."""
    claim = claim_of(lambda x: any_of(gt(x.m, 2), lt(x.gamma**3, 2), gt(x.gamma**3, 2)))
    evidence = judge(claim)
    assert evidence.finding == "unknown"
    assert "rational" in evidence.summary

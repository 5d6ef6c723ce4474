"""Every word of the larger vocabulary: true claims are proved, false ones refuted, and an oracle of definitions agrees with both.

Independent: :mod:`definition_layer` has the definition of each normaliser and autograd. A proved claim must hold at random
layers of its domain; the layer that refutes a claim, read from its own JSON, must break it there as well.
"""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from definition_layer import DefinitionLayer, random_layer

from bntheory.claims.typed.expression import claim_of_expression
from bntheory.errors import ClaimError, UserError
from bntheory.judges.decide import decide
from bntheory.judges.exact.certificate import certify, outside_domain
from bntheory.judges.exact.witness import Instance
from bntheory.layer import LayerDomain
from bntheory.layer.domain import IN_PRACTICE
from bntheory.layer.relations import AllOf, Relation, as_statement
from bntheory.layer.view import state

U = {"vectors": ["u"]}
ZERO = {"eps": "zero"}
SMOOTH = {**U, "smoothness": "l", "scalars": ["l:nonnegative"]}
SHRUNK = "gamma**2/sigma**2*(trace(hess) - dot(one,hess(one))/m - dot(y_hat,hess(y_hat))/m)"
TRUE = [
    # the output
    ("z == gamma*y_hat + beta*one", {}),
    ("norm2(z) == gamma**2*norm2(y_hat) + m*beta**2", {}),
    ("norm2(z) <= m*(gamma**2 + beta**2)", {}),
    ("dot(z, input_grad) == gamma*dot(y_hat, input_grad)", {}),
    # the Jacobian
    ("jac(grad) == input_grad", {}),
    ("jac(one) == 0", {}),
    ("jac(y_hat) == gamma*eps/sigma**3*y_hat", {}),
    ("jac(jac(u)) == gamma/sigma*jac(u)", {**U, **ZERO}),
    ("dot(jac(u), grad) == dot(u, jac(grad))", U),
    ("norm2(jac(u)) <= jac_norm**2*norm2(u)", U),
    ("norm2(jac(u)) <= jac_norm**2*norm2(u)", {**U, "normaliser": "unbiased"}),
    ("norm2(jac(u)) <= jac_norm**2*norm2(u)", {**U, "normaliser": "rms-norm"}),
    ("norm2(jac(u)) <= jac_norm**2*norm2(u)", {**U, "normaliser": "mean-only"}),
    ("norm2(input_grad) <= jac_norm**2*norm2(grad)", {}),
    ("jac_norm == sqrt(gamma**2)/sigma", {"min_m": 3}),
    ("jac_norm == gamma/sigma", {"min_m": 3, "gamma": "positive"}),
    ("jac_norm == gamma/sigma", {"normaliser": "rms", "gamma": "positive"}),
    ("jac_norm == gamma", {"normaliser": "mean-only", "gamma": "positive"}),
    ("jac_norm <= sqrt(gamma**2)/sigma", {}),
    ("jac_norm == 0", {**ZERO, "assume": ["m == 2"]}),
    # traces
    ("trace(jac) == gamma/sigma*(m - 1 - norm2(y_hat)/m)", {}),
    ("trace(jac) == gamma/sigma*(m - 2)", ZERO),
    ("trace(jac) == gamma/sigma*(m - 1)", {**ZERO, "normaliser": "rms-norm"}),
    ("trace(input_hess) == -gamma*(m - 2)/(m*sigma**2)*gamma_grad", {**ZERO, "hessian": "zero"}),
    (f"trace(input_hess) == {SHRUNK} - gamma*(m - 2)/(m*sigma**2)*gamma_grad", ZERO),
    (
        "trace(input_hess) <= gamma**2/sigma**2*trace(hess)",
        {**ZERO, "hessian": "psd", "assume": ["gamma*gamma_grad >= 0"]},
    ),
    ("trace(hess) == m", {"hessian": "identity"}),
    ("trace(hess) >= 0", {"hessian": "psd"}),
    ("trace(hess) == dot(one, hess(one))", {"hessian": "diagonal"}),
    ("norm2(hess(u)) <= trace(hess)**2*norm2(u)", {**U, "hessian": "psd"}),
    ("trace(K) >= dot(e@case, K(e@case))", {"vectors": ["e@case"], "operators": ["K:psd"]}),
    # the unbiased variance
    ("sigma**2 == var*m/(m - 1) + eps", {"normaliser": "unbiased"}),
    ("norm2(y_hat) == m - 1", {**ZERO, "normaliser": "unbiased"}),
    ("dual == m/(m - 1)*y_hat", {"normaliser": "unbiased"}),
    ("dot(y, input_grad) == 0", {**ZERO, "normaliser": "unbiased"}),
    ("input_hess(y - mu*one) == -input_grad", {**ZERO, "normaliser": "unbiased"}),
    ("trace(jac) == gamma/sigma*(m - 2)", {**ZERO, "normaliser": "unbiased"}),
    (
        "norm2(input_grad) == gamma**2/sigma**2*(norm2(grad) - beta_grad**2/m - gamma_grad**2/(m - 1))",
        {**ZERO, "normaliser": "unbiased"},
    ),
    # a loss of given smoothness
    ("norm2(hess(u)) <= l**2*norm2(u)", SMOOTH),
    ("dot(u, hess(u)) <= l*norm2(u)", SMOOTH),
    ("norm2(hess(u)) <= l*dot(u, hess(u))", {**SMOOTH, "hessian": "psd"}),
    ("trace(hess) <= l*m", SMOOTH),
    ("norm2(hess(u)) <= norm2(u)/16", {**U, "smoothness": "1/4"}),
    (
        "dot(input_grad, input_hess(input_grad)) <= gamma**2/sigma**2*l*norm2(input_grad)",
        {**SMOOTH, **ZERO, "assume": ["gamma*gamma_grad >= 0"]},
    ),
    (
        "dot(u, input_hess(u)) <= gamma**2/sigma**2*l*norm2(u)",
        {**SMOOTH, **ZERO, "assume": ["gamma*gamma_grad >= 0", "dot(u, y_hat) == 0"]},
    ),
    # bounds for all directions
    ("max_eig(hess) <= l", SMOOTH),
    ("min_eig(hess) >= -l and max_eig(hess) <= l", SMOOTH),
    ("min_eig(hess) >= 0", {"hessian": "psd"}),
    ("max_eig(hess) <= trace(hess)", {"hessian": "psd"}),
    ("max_eig(hess) < 2", {"hessian": "identity"}),
    ("max_eig(jac) <= jac_norm", {}),
    ("gamma/sigma >= max_eig(jac)", {"gamma": "positive"}),
    ("max_eig(input_hess) <= gamma**2/sigma**2*l + sqrt(norm2(grad))*sqrt(gamma**2)/sigma**2", {**SMOOTH, **ZERO}),
    ("max_eig(input_hess) <= 0", {**ZERO, "hessian": "zero", "assume": ["input_grad == 0", "gamma*gamma_grad >= 0"]}),
    ("min_eig(input_hess) >= 0", {"hessian": "psd", "assume": ["grad == beta*one"]}),
    (
        "max_eig(input_hess) <= gamma**2/sigma**2",
        {**ZERO, "loss": "squared", "assume": ["grad == beta*one + gamma*y_hat"]},
    ),
    # given losses
    ("hess(u) == u", {**U, "loss": "squared"}),
    ("hess(u) == 0", {**U, "loss": "linear"}),
    ("dot(u, hess(u)) >= 0 and dot(u, hess(u)) <= norm2(u)/4", {**U, "loss": "logistic-bounds"}),
    ("norm2(grad) <= m", {"loss": "logistic-bounds"}),
    ("norm2(input_grad) <= m*gamma**2/sigma**2", {"loss": "logistic-bounds"}),
    ("dot(e@case, grad) <= 1", {"vectors": ["e@case"], "loss": "logistic-bounds"}),
    ("trace(hess) <= m/4", {"loss": "logistic-bounds"}),
    # names of practice
    ("dot(y, input_grad) == 0 and dot(one, input_grad) == 0", {**ZERO, "normaliser": "layer-norm"}),
    ("dot(y, input_grad) == 0", {**ZERO, "normaliser": "rms-norm"}),
    ("norm2(input_grad) <= gamma**2/sigma**2*norm2(grad)", {**ZERO, "normaliser": "instance-norm"}),
]
FALSE = [
    ("z == gamma*y_hat", {}),
    ("norm2(z) <= m*gamma**2", {}),
    ("jac(y_hat) == 0", {"eps": "positive"}),
    ("jac(u) == gamma/sigma*u", U),
    ("jac(jac(u)) == gamma/sigma*jac(u)", U),
    ("norm2(jac(u)) <= 0.99*jac_norm**2*norm2(u)", U),
    ("norm2(jac(u)) < jac_norm**2*norm2(u)", {**U, "min_m": 3}),
    ("jac_norm == sqrt(gamma**2)/sigma", {}),
    ("jac_norm == gamma/sigma", {"min_m": 3}),
    ("jac_norm >= 1", {"gamma": "positive"}),
    ("jac_norm == 0", ZERO),
    ("trace(jac) == gamma/sigma*(m - 1)", ZERO),
    ("trace(jac) == gamma/sigma*(m - 2)", {}),
    ("trace(input_hess) <= 0", {"hessian": "zero"}),
    (f"trace(input_hess) == {SHRUNK} - gamma*(m - 1)/(m*sigma**2)*gamma_grad", ZERO),
    ("trace(input_hess) <= gamma**2/sigma**2*trace(hess)", {**ZERO, "assume": ["gamma*gamma_grad >= 0"]}),
    ("trace(hess) >= 0", {}),
    ("trace(hess) == dot(one, hess(one))", {}),
    ("norm2(hess(u)) <= trace(hess)**2*norm2(u)", U),
    ("trace(K) > dot(e@case, K(e@case))", {"vectors": ["e@case"], "operators": ["K:psd"]}),
    ("sigma**2 == var + eps", {"normaliser": "unbiased"}),
    ("norm2(y_hat) == m", {**ZERO, "normaliser": "unbiased"}),
    (
        "norm2(input_grad) == gamma**2/sigma**2*(norm2(grad) - beta_grad**2/m - gamma_grad**2/m)",
        {**ZERO, "normaliser": "unbiased"},
    ),
    ("norm2(hess(u)) <= 0.99*l**2*norm2(u)", SMOOTH),
    ("dot(u, hess(u)) >= 0", SMOOTH),
    ("norm2(hess(u)) <= l*dot(u, hess(u))", SMOOTH),
    ("trace(hess) <= l*(m - 1)", SMOOTH),
    ("norm2(hess(u)) <= norm2(u)/17", {**U, "smoothness": "1/4"}),
    (
        "dot(input_grad, input_hess(input_grad)) <= 0.9*gamma**2/sigma**2*l*norm2(input_grad)",
        {**SMOOTH, **ZERO, "assume": ["gamma*gamma_grad >= 0"]},
    ),
    ("dot(u, input_hess(u)) <= gamma**2/sigma**2*l*norm2(u)", {**SMOOTH, **ZERO}),
    ("max_eig(hess) <= 0.9*l", SMOOTH),
    ("min_eig(hess) > 0", {"hessian": "psd"}),
    ("max_eig(hess) <= trace(hess)", {}),
    ("max_eig(hess) < 1", {"hessian": "identity"}),
    ("max_eig(jac) < gamma/sigma", {"gamma": "positive"}),
    ("max_eig(input_hess) <= gamma**2/sigma**2*l", {**SMOOTH, **ZERO}),
    ("gamma == 0 or max_eig(input_hess) <= 0", {"hessian": "zero"}),
    ("min_eig(input_hess) >= 0", {"hessian": "psd"}),
    ("b >= max_eig(K)", {"operators": ["K"], "scalars": ["b"]}),
    ("dot(u, hess(u)) <= norm2(u)/5", {**U, "loss": "logistic-bounds"}),
    ("norm2(grad) <= m - 1", {"loss": "logistic-bounds"}),
    ("dot(e@case, grad) < 1", {"vectors": ["e@case"], "loss": "logistic-bounds"}),
    ("trace(hess) <= m/5", {"loss": "logistic-bounds"}),
    ("hess(u) == u", {**U, "loss": "logistic-bounds"}),
    ("dot(one, input_grad) == 0", {**ZERO, "normaliser": "rms-norm"}),
    ("dot(y, input_grad) == 0", {"normaliser": "group-norm"}),
]


def holds(statement, slack=1e-8):
    """Whether a statement over torch scalars and vectors holds up to rounding."""
    if not isinstance(statement, Relation):
        return (all if isinstance(statement, AllOf) else any)(holds(p, slack) for p in statement.parts)
    gap = torch.as_tensor(statement.right - statement.left, dtype=torch.float64)
    size = slack * (1 + torch.as_tensor(abs(statement.left)).max() + torch.as_tensor(abs(statement.right)).max())
    return bool((abs(gap) <= size).all() if statement.op == "eq" else gap.min() >= -size)


def definition_of(witness, domain):
    layer = witness["layer"]

    def number(x):
        return float(Fraction(x)) if isinstance(x, str) else [number(v) for v in x]

    free = {k: number(v) for group in ("scalars", "vectors", "operators") for k, v in layer[group].items()}
    hess = np.zeros((layer["m"], layer["m"])) if layer["hess"] is None else number(layer["hess"])
    plain = {k: number(layer[k]) for k in ("y", "grad", "gamma", "beta", "eps")}
    return DefinitionLayer(domain.normaliser, hess=hess, free=free, **plain)


@pytest.mark.parametrize(("text", "options"), TRUE, ids=str)
def test_true_claims_are_proved_and_hold_by_definition(text, options):
    found = decide(text, **options)
    assert found.verdict.status.value == "proved", found.evidence.summary
    rng, claim = np.random.default_rng(len(text)), found.claim
    for _ in range(20):
        layer = random_layer(claim.domain, rng)
        if claim.assume is None or holds(as_statement(claim.assume(layer)), -1e-12):
            assert holds(as_statement(claim.check(layer)))


@pytest.mark.parametrize(("text", "options"), FALSE, ids=str)
def test_false_claims_are_refuted_at_a_layer_that_breaks_the_definition(text, options):
    found = decide(text, **options)
    assert found.verdict.status.value == "refuted", found.evidence.summary
    claim = found.claim
    layer = definition_of(found.witness, claim.domain)
    assert not holds(as_statement(claim.check(layer)), 1e-9 if "==" in text else -1e-12)
    assert claim.assume is None or holds(as_statement(claim.assume(layer)))


SEARCHED = [
    "norm2(jac(u)) <= jac_norm**2*norm2(u)",
    "trace(hess) <= l*m",
    "norm2(hess(u)) <= norm2(u)/16",
    "trace(hess) <= m/4",
]


@pytest.mark.parametrize("text", SEARCHED)
def test_the_search_finds_nothing_against_true_claims(text):
    from bntheory.judges.search import judge

    claim = decide(text, **next(o for t, o in TRUE if t == text)).claim
    assert judge(claim, "quick").finding == "survives"


FOUND = [
    "trace(hess) <= l*(m - 1)",
    "norm2(hess(u)) <= norm2(u)/17",
    "trace(hess) <= m/5",
    "dot(u, hess(u)) <= norm2(u)/5",
]


@pytest.mark.parametrize("text", FOUND)
def test_the_search_stays_in_the_domain_and_refutes_false_claims(text):
    from bntheory.judges.search import judge

    claim = decide(text, **next(o for t, o in FALSE if t == text)).claim
    found = judge(claim, "quick")
    assert found.finding == "refuted"
    assert not holds(as_statement(claim.check(definition_of(found.details["witness"], claim.domain))), -1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "logistic"}, "'logistic-bounds' is every loss"),
        ({"loss": "hinge"}, "it can be one of 'squared', 'linear', 'logistic-bounds'"),
        ({"loss": "squared", "hessian": "psd"}, "leave one out"),
        ({"smoothness": "l"}, "declared positive or nonnegative"),
        ({"hessian": "convex"}, "is 'psd'"),
        ({"hessian": "smooth"}, "--smoothness b"),
        ({"normaliser": "LayerNorm"}, "did you mean 'layer-norm'"),
        ({"normaliser": "group_norm"}, "did you mean 'group-norm'"),
        ({"eps": ["zero"]}, "it can be one of 'zero'"),
        ({"smoothness": True}, "not a number"),
        ({"smoothness": "l", "scalars": {"l": "any"}}, "declared positive or nonnegative"),
        ({"smoothness": "-1"}, "a positive number"),
        ({"smoothness": "1/2", "hessian": "identity"}, "nothing else is known"),
    ],
    ids=str,
)
def test_a_loss_that_cannot_be_had_is_refused_with_what_is_near(options, message):
    with pytest.raises(ValueError, match=message):
        LayerDomain(**options)


@pytest.mark.parametrize(
    ("options", "hess", "grad", "inside"),
    [
        ({"smoothness": "2"}, ((-2, 0), (0, 2)), (0, 9), True),
        ({"smoothness": "2"}, ((0, 2), (2, 0)), (0, 0), True),
        ({"smoothness": "2"}, ((3, 0), (0, 0)), (0, 0), False),
        ({"smoothness": "2"}, ((-3, 0), (0, 0)), (0, 0), False),
        ({"smoothness": "2"}, ((2, 1), (1, 2)), (0, 0), False),
        ({"loss": "logistic-bounds"}, ((Fraction(1, 4), 0), (0, 0)), (1, -1), True),
        ({"loss": "logistic-bounds"}, ((Fraction(1, 3), 0), (0, 0)), (1, -1), False),
        ({"loss": "logistic-bounds"}, ((Fraction(-1, 8), 0), (0, 0)), (1, -1), False),
        ({"loss": "logistic-bounds"}, ((Fraction(1, 8), Fraction(1, 8)), (Fraction(1, 8),) * 2), (1, -1), False),
        ({"loss": "logistic-bounds"}, ((0, 0), (0, 0)), (0, -2), False),
    ],
    ids=str,
)
def test_which_layers_a_bounded_domain_has(options, hess, grad, inside):
    def exact(x):
        return tuple(map(exact, x)) if isinstance(x, tuple) else Fraction(x)

    layer = Instance((Fraction(1), Fraction(-1)), exact(grad), exact(hess))
    assert (outside_domain(LayerDomain(**options), layer) is None) == inside


def test_a_bound_may_be_a_number_of_python():
    assert LayerDomain(smoothness=0.25) == LayerDomain(smoothness="1/4") == LayerDomain(smoothness=Fraction(1, 4))
    with pytest.raises(ValueError, match="not a number"):
        LayerDomain(smoothness=[1])


def test_a_name_of_practice_stays_in_the_words_of_a_verdict():
    found = decide("max_eig(jac) <= sqrt(gamma**2)/sigma", normaliser="layer-norm")
    assert "layer normalisation" in found.as_json()["domain"]
    assert found.verdict.status.value == "proved"


def test_a_witness_keeps_the_bound_of_its_domain():
    from bntheory.judges.exact.witness import Witness

    found = decide("trace(hess) <= l*(m - 1)", **SMOOTH)
    assert Witness.from_json(found.witness).domain == found.claim.domain
    assert "||H|| <= l" in found.claim.domain.describe()


@pytest.mark.parametrize("normaliser", ["l1", "linf"])
def test_a_bound_that_is_met_with_equality_is_not_refuted_by_rounding(normaliser):
    """At m = 3 some gradients are passed on by exactly the norm of the Jacobian, a nested root."""
    claim = claim_of_expression(
        "norm2(input_grad) <= jac_norm**2*norm2(grad)", (), LayerDomain(eps="zero", normaliser=normaliser)
    )
    for y, g in product([(-5, -6, 0), (1, 2, 4), (0, 1, -7)], [(-1, 1, 0), (1, 1, -2), (2, -1, -1), (0, 1, -1)]):
        found = certify(claim, Instance(tuple(map(Fraction, y)), tuple(map(Fraction, g))))
        assert not found.refuted, found.relations


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trace(grad) <= 0", "operator by its bare name: hess, jac, input_hess"),
        ("trace(hess(grad)) <= 0", "bare name"),
        ("jac <= 0", "applied to something"),
        ("jac_norm(grad) <= 0", "no function"),
        ("trace(hess) + z == 0", "cannot be added"),
        ("max_eig(hess) >= 1", "says that some direction exists"),
        ("1 > min_eig(hess)", "says that some direction exists"),
        ("max_eig(hess) == 1", "says that some direction exists"),
        ("not max_eig(hess) <= 1", "under 'not'"),
        ("2*max_eig(hess) <= 1", "the whole of one side"),
        ("max_eig(hess) <= max_eig(jac)", "the whole of one side"),
        ("0 <= max_eig(hess) <= 2", "one side of a comparison"),
        ("sqrt(max_eig(hess)) <= 2", "the whole of one side"),
        ("max_eig(grad) <= 1", "operator by its bare name"),
        ("max_eig(hess(grad)) <= 1", "operator by its bare name"),
        ("max_eig(hess, jac) <= 1", "operator by its bare name"),
        ("trace(jac@2) >= 0", "input_hess; the operators of a second batch or unit are not covered"),
        ("trace(cross) >= 0", "input_hess; the operators of a second batch or unit are not covered"),
        ("max_eig(jac@b) <= 1", "input_hess; the operators of a second batch or unit are not covered"),
        ("γ > 0", "write gamma"),
        ("m > 0 and β < 1", "write beta"),
        ("ε < 1", "write eps"),
        ("μ < 1", "write mu"),
        ("\u00b5 < 1", "write mu"),
        ("σ**2 > var", "write sigma"),
    ],
)
def test_misuse_is_pointed_at(text, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        decide(text)


def test_a_hypothesis_about_all_directions_is_refused_with_the_domain_that_says_it():
    with pytest.raises(UserError, match="--smoothness b bounds"):
        decide("m >= 2", assume=["max_eig(hess) <= 2"])
    with pytest.raises(UserError, match="max_eig of hess is bounded in no other way"):
        decide("m >= 2", assume=["max_eig(hess) <= 2"])
    with pytest.raises(UserError, match="min_eig of input_hess cannot be assumed"):
        decide("m >= 2", assume=["min_eig(input_hess) >= 2"])
    with pytest.raises(UserError, match="not symmetric"):
        decide("max_eig(jac) <= 1", normaliser="l1", min_m=3)


def test_a_bound_may_be_typed_as_a_power_of_ten():
    assert LayerDomain(smoothness="1e-3") == LayerDomain(smoothness=1e-3) == LayerDomain(smoothness="1/1000")
    assert LayerDomain(smoothness="2.5E2").smoothness == "250"
    assert LayerDomain(smoothness="0.001").with_free({}, ()).smoothness == "0.001"
    for text in ("0.0", "1e-300", "1e301", "1e", "e3", "1/2e3"):
        with pytest.raises(ValueError, match=f"smoothness is '{text}'"):
            LayerDomain(smoothness=text)


@pytest.mark.long
def test_the_direction_of_a_refutation_replays(tmp_path):
    from bntheory.judges.exact.replay import replay

    found = decide("max_eig(input_hess) <= gamma**2/sigma**2*l", **{**SMOOTH, **ZERO})
    vectors = found.witness["layer"]["vectors"]
    assert set(vectors) == {"u", "direction 1"}
    layer = definition_of(found.witness, found.claim.domain)
    largest = torch.linalg.eigvalsh(layer.hessian)[-1]
    assert largest > layer.gamma**2 / layer.sigma**2 * layer.scalar("l")
    path = tmp_path / "witness.json"
    path.write_text(json.dumps(found.witness))
    assert replay(path).refuted


def test_a_file_states_a_bound_for_all_directions_with_a_free_vector():
    with pytest.raises(ClaimError, match=r"le\(layer.dot\(u, A\(u\)\), b \* layer.norm2\(u\)\)"):
        state(lambda layer: [layer.max_eig(layer.hess)], random_layer(LayerDomain(), np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("normaliser", "outside"), [("l1", "no entry equals the mean"), ("linf", "one entry alone lies farthest")]
)
def test_a_domain_names_the_batches_where_sigma_has_no_derivative(normaliser, outside):
    """At these a typed claim is not asked: <q, q> = m of l1 is proved, though there q has an entry between -1 and 1."""
    found = decide("norm2(dual) >= m", eps="zero", normaliser=normaliser)
    assert found.verdict.status.value == "proved"
    assert outside in str(found)
    assert outside in found.as_json()["domain"]


def test_a_name_of_practice_is_what_it_is_on_one_unit():
    for name, (member, words) in IN_PRACTICE.items():
        domain = LayerDomain(normaliser=name)
        assert domain == LayerDomain(normaliser=member)
        assert words in domain.describe()
    with pytest.raises(ValueError, match="free scalar n:positive"):
        LayerDomain(normaliser="weight-norm")

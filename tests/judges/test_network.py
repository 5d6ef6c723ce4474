"""The network judge: it sees what is true and what is false, it says how close, and rounding alone convinces it of nothing.

Independent: the judged quantities are autograd's, on networks that train; the truth of the claims below is known from the algebra
judge, which never sees a number.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bntheory import LayerDomain, eq, le, registry
from bntheory.bridge import capture
from bntheory.claims.claim import Claim, Source
from bntheory.judges.network import judge, margins

SEED = 3


@pytest.fixture(scope="module")
def suite(device):
    """A small network with eps = 0 and one with eps = 0.1, gammas of both signs."""
    from bntheory.bridge import PrimitiveBatchNorm

    captured = []
    for eps in (0.0, 0.1):
        torch.manual_seed(SEED)
        model = nn.Sequential(
            nn.Linear(5, 6),
            PrimitiveBatchNorm(6, eps=eps),
            nn.Softplus(),
            nn.Linear(6, 4),
            PrimitiveBatchNorm(4, eps=eps),
            nn.Linear(4, 3),
        ).to(device, torch.float64)
        with torch.no_grad():
            for module in (model[1], model[4]):
                module.weight.copy_(torch.randn(module.weight.shape))
        x = torch.randn(9, 5, dtype=torch.float64).to(device)
        t = torch.randint(3, (9,)).to(device)
        captured += [(f"eps = {eps}", layer) for layer in capture(model, cross_entropy, (x, t))]
    return captured


TRUE = [
    "santurkar2018.theorem-4.1.arxiv",
    "santurkar2018.theorem-4.1.eps",
    "santurkar2018.theorem-4.1.affine-gradients",
    "santurkar2018.theorem-4.2.first",
    "bntheory2026.theorem-4.1.eps",
    "bntheory2026.theorem-4.2.eps",
    "bntheory2026.affine-share",
    "bntheory2026.scale-direction",
    "arora2019.orthogonal.eps-zero",
    "arora2019.orthogonal.eps-exact",
]
FALSE = [
    "santurkar2018.theorem-4.1.neurips",
    "santurkar2018.theorem-4.2.first.eps",
    "arora2019.orthogonal.eps-positive",
    "ioffe2015.scale-invariance.output.positive-eps",
    "shen2020.smaller-lipschitz",
]


@pytest.mark.parametrize("claim_id", TRUE)
def test_true_claims_hold(suite, claim_id):
    found = judge(registry()[claim_id], suite, units=6)
    assert found.finding == "holds", found.summary
    assert found.details["units_in_domain"] >= 10


@pytest.mark.parametrize("claim_id", FALSE)
def test_false_claims_fail(suite, claim_id):
    assert judge(registry()[claim_id], suite, units=6).finding == "fails"


@pytest.mark.parametrize("slip", [1e-3, -1e-3, 1e-6])
def test_a_small_slip_in_a_constant_is_seen(suite, slip):
    def slipped(layer):
        right = (
            layer.gamma**2
            / layer.sigma**2
            * (layer.norm2(layer.grad) - layer.beta_grad**2 / layer.m - (1 + slip) * layer.gamma_grad**2 / layer.m)
        )
        return eq(layer.norm2(layer.input_grad), right)

    claim = Claim("mine.slipped", "layer", Source("mine", ""), "x", slipped, LayerDomain(eps="zero"))
    assert judge(claim, suite, units=6).finding == "fails"


def test_a_relation_that_rounding_breaks_does_not_fail(suite):
    """<y - mu, input_grad> is zero at eps = 0 up to rounding: neither <= 0 nor >= 0 may fail."""
    for sign in (1, -1):
        claim = Claim(
            "mine.zero",
            "layer",
            Source("mine", ""),
            "x",
            lambda layer, sign=sign: le(sign * layer.dot(layer.y, layer.input_grad), 0),
            LayerDomain(eps="zero"),
        )
        assert judge(claim, suite, units=6).finding == "holds"


def test_hypotheses_and_domain_select_the_units(suite):
    everywhere = Claim(
        "mine.all", "layer", Source("mine", ""), "x", lambda layer: le(0, layer.norm2(layer.grad)), LayerDomain()
    )
    positive = Claim("mine.positive", "layer", Source("mine", ""), "x", everywhere.check, LayerDomain(gamma="positive"))
    assumed = Claim(
        "mine.assumed",
        "layer",
        Source("mine", ""),
        "x",
        everywhere.check,
        LayerDomain(),
        assume=lambda layer: [le(0, layer.gamma)],
    )
    counts = [judge(c, suite, units=6).details["units_in_domain"] for c in (everywhere, positive, assumed)]
    negative = sum(int((layer.gamma < 0).sum()) for _, layer in suite)
    assert counts == [20, 20 - negative, 20 - negative]
    assert negative > 0
    assert _counted(suite, gamma="nonnegative") == 20 - negative
    unit = sum(int(((layer.gamma >= 0) & (layer.gamma <= 1)).sum()) for _, layer in suite)
    assert _counted(suite, gamma="unit") == unit < 20 - negative


def _counted(suite, **domain):
    check = lambda layer: le(0, layer.norm2(layer.grad))  # noqa: E731
    claim = Claim("mine.counted", "layer", Source("mine", ""), "x", check, LayerDomain(**domain))
    return judge(claim, suite, units=6).details["units_in_domain"]


def test_what_is_proved_of_a_range_of_gamma_is_measured_there_alone(suite):
    """<g, J g> has the sign of gamma; units of the other sign once made a disagreement of a proof."""
    for gamma in ("nonnegative", "unit"):
        claim = Claim(
            "mine.range",
            "layer",
            Source("mine", ""),
            "x",
            lambda layer: le(0, layer.dot(layer.grad, layer.input_grad)),
            LayerDomain(gamma=gamma),
        )
        assert judge(claim, suite, units=6).finding == "holds"


def test_nothing_in_the_domain_is_not_applicable(suite):
    assert judge(registry()["bntheory2026.squared-loss.spectrum"], suite).finding == "not-applicable"


def test_margins_name_the_worst_unit(suite):
    network, layer = suite[0]
    found = margins(registry()["santurkar2018.theorem-4.1.neurips"], network, layer, range(layer.units))
    worst = int(found.margin.argmin())
    evidence = judge(registry()["santurkar2018.theorem-4.1.neurips"], [(network, layer)], units=layer.units)
    assert evidence.details["worst_at"] == {"network": network, "layer": layer.name, "unit": worst}


WORDS = {
    "the output": (lambda x: eq(x.z, x.gamma * x.y_hat + x.beta * x.one), "holds"),
    "no shift in the output": (lambda x: eq(x.z, x.gamma * x.y_hat + 1.001 * (x.beta + 1) * x.one), "fails"),
    "the Jacobian": (lambda x: eq(x.jac(x.grad), x.input_grad), "holds"),
    "half the Jacobian": (lambda x: eq(2 * x.jac(x.grad), x.input_grad), "fails"),
    "its norm": (lambda x: eq(x.jac_norm**2, x.gamma**2 / x.sigma**2), "holds"),
    "a bound on its norm": (lambda x: le(x.norm2(x.input_grad), x.jac_norm**2 * x.norm2(x.grad)), "holds"),
    "its norm, a little more": (lambda x: eq(x.jac_norm**2, 1.00001 * x.gamma**2 / x.sigma**2), "fails"),
    "trace": (lambda x: eq(x.trace(x.jac), x.gamma / x.sigma * (x.m - 1 - x.norm2(x.y_hat) / x.m)), "holds"),
    "trace, one too many": (lambda x: eq(x.trace(x.jac), x.gamma / x.sigma * (x.m - x.norm2(x.y_hat) / x.m)), "fails"),
}


@pytest.mark.parametrize(("check", "finding"), WORDS.values(), ids=WORDS)
def test_the_words_of_the_jacobian_are_measured(suite, check, finding):
    claim = Claim("mine.word", "layer", Source("mine", ""), "x", check, LayerDomain())
    assert judge(claim, suite, units=6).finding == finding


#: What cancels to rounding against a literal zero, and what does not: x - x + 1e-6 is no zero.
CANCELS = {
    "entries sum to m mu": (lambda x: eq(x.dot(x.y - x.mu * x.one, x.one), 0), "holds"),
    "the variance by its moments": (lambda x: eq(x.norm2(x.y) / x.m - x.mu**2 - x.var, 0), "holds"),
    "not below zero": (lambda x: le(0, x.norm2(x.y) / x.m - x.mu**2 - x.var), "holds"),
    "numbers alone": (lambda x: eq((x.gamma + 1) ** 2 - x.gamma**2 - 2 * x.gamma - 1, 0), "holds"),
    "a free vector": (
        lambda x: eq(x.norm2(x.vector("u") + x.y) - x.norm2(x.vector("u")) - x.norm2(x.y) - 2 * x.dot(x.vector("u"), x.y), 0),
        "holds",
    ),
    "a product that vanishes": (lambda x: eq(x.input_hess(x.one), 0), "holds"),
    "the Jacobian along y": (lambda x: eq(x.jac(x.y), x.gamma * x.eps / x.sigma**2 * x.y_hat), "holds"),
    "the Jacobian along y, and a little": (lambda x: eq(x.jac(x.y - x.mu * x.one), 1e-6 * x.gamma * x.y_hat), "fails"),
    "numbers alone, and a little": (lambda x: eq((x.gamma + 1) ** 2 - x.gamma**2 - 2 * x.gamma - 1 + 1e-6, 0), "fails"),
    "the variance, and a little": (lambda x: eq(x.norm2(x.y) / x.m - x.mu**2 - x.var * 1.000001, 0), "fails"),
}  # fmt: skip


@pytest.mark.parametrize(("check", "finding"), CANCELS.values(), ids=CANCELS)
def test_what_cancels_is_known_to_within_its_rounding(suite, check, finding):
    claim = Claim("mine.cancels", "layer", Source("mine", ""), "x", check, LayerDomain(vectors=("u",)))
    for seed in range(3):
        assert judge(claim, suite, units=6, seed=seed).finding == finding


def test_a_margin_of_no_width_is_written_without_a_sign(suite):
    claim = Claim("mine.zero", "layer", Source("mine", ""), "x", lambda layer: eq(layer.var, layer.var), LayerDomain())
    found = judge(claim, suite, seed=SEED)
    assert found.finding == "holds"
    assert "worst relative margin 0 " in found.summary

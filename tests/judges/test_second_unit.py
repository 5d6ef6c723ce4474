"""Two units of one layer: true claims are proved, false ones refuted, against a loss of both outputs that is written down.

Independent: the block between the units is autograd's, twice through the definition of both units and a quadratic loss of both outputs
whose block H_ab is not symmetric. The words of unit b are not used to make it.
"""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from definition_layer import DefinitionLayer, standardised

from bntheory import LayerDomain, Source, eq
from bntheory.claims.claim import Claim
from bntheory.errors import UserError
from bntheory.judges.algebra import judge
from bntheory.judges.decide import decide
from bntheory.judges.exact.replay import replay
from bntheory.layer import SecondUnit, cross_block
from bntheory.layer.relations import AllOf, Relation, as_statement

V, Q, ZERO = {"vectors": ["v"]}, {"vectors": ["q"]}, {"eps": "zero"}
SMOOTH = {**Q, "smoothness": "l", "scalars": ["l:positive"]}
TRUE = [
    ("z@b == gamma@b*y_hat@b + beta@b*one", {}),
    ("dot(one, input_cross(v)) == 0", V),
    ("dot(y, input_cross(v)) == 0", {**V, **ZERO}),
    ("input_cross(one) == 0", {}),
    ("input_cross(y@b) == 0", ZERO),
    ("norm2(input_cross(v)) <= jac_norm**2*norm2(cross(jac@b(v)))", V),
    ("input_cross(v) == jac(cross(jac@b(v)))", {**V, "normaliser": "unbiased"}),
    ("norm2(input_cross(v)) <= gamma**2*gamma@b**2/(sigma**2*sigma@b**2)*l**2*norm2(v)", {**SMOOTH, **V}),
    ("norm2(jac(cross(q))) <= gamma**2/sigma**2*l**2*norm2(q)", SMOOTH),
    ("norm2(jac(cross(q))) <= gamma**2/sigma**2*l**2*norm2(q)/4", {**SMOOTH, "hessian": "psd"}),
    ("norm2(input_grad@b) <= gamma@b**2/sigma@b**2*norm2(grad@b)", {}),
    ("sigma@b == sqrt(var@b*m/(m - 1) + eps)", {"normaliser": "unbiased"}),
    ("norm2(jac@b(v)) == gamma@b**2/sigma@b**2*norm2(v)", {**V, "normaliser": "frozen"}),
    ("gamma@b > 0", {"gamma": "positive"}),
]
FALSE = [
    ("dot(y, input_cross(v)) == 0", V),
    ("input_cross(y) == 0", ZERO),
    ("norm2(jac(cross(q))) <= 0.9*gamma**2/sigma**2*l**2*norm2(q)", SMOOTH),
    ("norm2(jac(cross(q))) <= gamma**2/sigma**2*l**2*norm2(q)/5", {**SMOOTH, "hessian": "psd"}),
    ("norm2(input_cross(v)) <= 0.9*gamma**2*gamma@b**2/(sigma**2*sigma@b**2)*l**2*norm2(v)", {**SMOOTH, **V}),
    ("cross(q) == q", Q),
    ("sigma == sigma@b", {}),
    ("gamma@b > 0", {}),
]


def holds(statement, slack):
    if not isinstance(statement, Relation):
        return (all if isinstance(statement, AllOf) else any)(holds(p, slack) for p in statement.parts)
    left, right = (torch.as_tensor(s, dtype=torch.float64) for s in (statement.left, statement.right))
    size = slack * (1 + left.abs().max() + right.abs().max())
    gap = right - left
    return bool((gap.abs() <= size).all() if statement.op == "eq" else gap.min() >= -size)


class TwoUnits:
    """Two units by definition, and the Hessian of a quadratic loss of both outputs with respect to both inputs."""

    def __init__(self, domain, ys, gammas, eps, cross):
        self.domain, self.ys, self.gammas, self.eps = domain, [torch.tensor(y) for y in ys], gammas, eps
        self.cross, self.m = torch.tensor(cross), len(ys[0])

    def output(self, k, y):
        return self.gammas[k] * standardised(self.domain.normaliser, y, torch.tensor(self.eps), self.ys[k])

    def block(self):
        """d2/dy_a dy_b of z_a' H_ab z_b: rows of unit a, columns of unit b."""

        def loss(both):
            za, zb = self.output(0, both[: self.m]), self.output(1, both[self.m :])
            return za @ self.cross @ zb

        return torch.autograd.functional.hessian(loss, torch.cat(self.ys))[: self.m, self.m :]

    def jacobian_b(self):
        return torch.autograd.functional.jacobian(lambda y: self.output(1, y), self.ys[1])


@pytest.mark.parametrize("normaliser", ["batch", "unbiased", "rms", "mean-only", "frozen"])
def test_the_block_between_the_units_is_that_of_the_two_jacobians(normaliser):
    rng = np.random.default_rng(2)
    y, yb, v = rng.normal(size=(3, 5))
    cross = rng.normal(size=(5, 5))
    two = TwoUnits(LayerDomain(normaliser=normaliser), (y, yb), (1.3, -0.7), 0.2, cross)
    q = two.jacobian_b() @ torch.tensor(v)
    free = {"y@b": yb, "gamma@b": -0.7, "beta@b": 0.5, "cross": cross @ q.numpy()}
    layer = DefinitionLayer(normaliser, y, 0 * y, np.zeros((5, 5)), 1.3, 0.0, 0.2, free)
    unit = SecondUnit(layer, normaliser)
    torch.testing.assert_close(unit.jac(torch.tensor(v)), q)
    torch.testing.assert_close(unit.input_cross(torch.tensor(v)), two.block() @ torch.tensor(v))


def random_pair(claim, rng):
    domain = claim.domain
    m = domain.min_m + int(rng.integers(3))
    y, yb, v, grad, grad_b = rng.normal(size=(5, m))
    gammas = np.abs(rng.normal(size=2)) if domain.gamma == "positive" else rng.normal(size=2)
    eps, bound = (0.0 if domain.eps == "zero" else rng.exponential()), rng.exponential()
    cross = rng.normal(size=(m, m))
    if domain.smoothness:
        cross *= bound / np.linalg.norm(cross, 2) / (2 if domain.hessian == "psd" else 1)
    argument = {"input_cross(one)": np.ones(m), "input_cross(y@b)": yb}
    applied = next((x for text, x in argument.items() if text in claim.check.text), v)
    two = TwoUnits(domain, (y, yb), gammas, eps, cross)
    q = v if "cross(q)" in claim.check.text else (two.jacobian_b() @ torch.tensor(applied)).numpy()
    free = {"y@b": yb, "gamma@b": gammas[1], "beta@b": rng.normal(), "grad@b": grad_b, "cross": cross @ q}
    free |= {"v": v, "q": v, "l": bound}
    return DefinitionLayer(domain.normaliser, y, grad, np.zeros((m, m)), gammas[0], rng.normal(), eps, free)


@pytest.mark.parametrize(("text", "options"), TRUE, ids=str)
def test_true_claims_are_proved_and_hold_for_blocks_that_are_not_symmetric(text, options):
    found = decide(text, **options)
    assert found.verdict.status.value == "proved", found.evidence.summary
    rng, claim = np.random.default_rng(len(text)), found.claim
    for _ in range(10):
        layer = random_pair(claim, rng)
        assert claim.assume is None or holds(as_statement(claim.assume(layer)), 1e-9)
        assert holds(as_statement(claim.check(layer)), 1e-8)


@pytest.mark.long
@pytest.mark.parametrize(("text", "options"), FALSE, ids=str)
def test_false_claims_fall_to_a_block_that_can_be_written_down(text, options, tmp_path):
    found = decide(text, **options)
    assert found.verdict.status.value == "refuted", found.evidence.summary
    path = tmp_path / "witness.json"
    path.write_text(json.dumps(found.witness))
    assert replay(path).refuted
    block, domain = found.witness["layer"], found.claim.domain
    if "cross" not in block["vectors"] or "q" not in block["vectors"] or not domain.smoothness:
        return
    w, q = (np.array([float(Fraction(x)) for x in block["vectors"][k]]) for k in ("cross", "q"))
    bound = float(Fraction(block["scalars"]["l"]))
    cross = np.outer(w, q) / (q @ q)
    own = bound / 2 * np.eye(len(q)) if domain.hessian == "psd" else 0 * np.eye(len(q))
    spectrum = np.linalg.eigvalsh(np.block([[own, cross], [cross.T, own]]))
    assert np.abs(spectrum).max() <= bound * (1 + 1e-9), "no loss of this smoothness has this block"
    assert domain.hessian != "psd" or spectrum[0] >= -1e-9 * bound


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("dot(input_cross(u), input_cross(v)) == 0", {"vectors": ["u", "v"]}, "more than one vector"),
        ("input_cross(input_cross(v)) == 0", V, "more than one vector"),
        ("dot(v, cross(v)) <= dot(v, hess(v))", {**V, "smoothness": "1"}, "apart"),
        ("dot(v, cross(v)) <= dot(v, hess(v))", {**V, "hessian": "psd"}, "apart"),
        ("cross(v) == 0", {**V, "loss": "squared"}, "leave the loss open"),
        ("norm2(grad@b) <= m", {"loss": "logistic-bounds"}, "leave the loss open"),
        ("norm2(input_grad@b) <= m", {"loss": "logistic-bounds"}, "leave the loss open"),
        ("sigma@2 == sigma@b", {}, "state the batches and the units apart"),
        ("gamma@b == 1", {"normaliser": "linf", "eps": "zero"}, "'batch' and 'l2' are inside"),
    ],
    ids=str,
)
def test_what_stays_outside_says_what_is_near(text, options, message):
    with pytest.raises(UserError, match=message):
        decide(text, **options)


@pytest.mark.parametrize(("what", "finding"), [("one", "proved"), ("y", "refuted")])
def test_a_file_states_the_same(what, finding):
    domain = LayerDomain(eps="zero", scalars={"gamma@b": "any", "beta@b": "any"}, vectors=("y@b", "cross", "v"))

    def check(layer):
        return eq(layer.dot(getattr(layer, what), SecondUnit(layer).input_cross(layer.vector("v"))), 0)

    def tied(layer):
        return cross_block(layer, domain, SecondUnit(layer).jac(layer.vector("v")))

    if what == "y":  # the scale direction survives where eps > 0
        domain = LayerDomain(scalars=domain.scalars, vectors=domain.vectors)
    claim = Claim("mine.cross", "layer", Source("mine", ""), "x", check, domain, tied)
    assert judge(claim).finding == finding

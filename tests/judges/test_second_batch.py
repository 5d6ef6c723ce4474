"""One layer at two batches: true claims are proved, false ones refuted, and every refutation has a loss that can be written down.

Independent: the second batch goes through :mod:`definition_layer`, and proved claims are tried with losses that are functions
(sums of log cosh along random directions, and random quadratics), so that nothing of the hypotheses is taken from the product.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from definition_layer import DefinitionLayer

from bntheory import LayerDomain, Source, le
from bntheory.claims.claim import Claim
from bntheory.errors import UserError
from bntheory.judges.algebra import judge
from bntheory.judges.decide import decide
from bntheory.judges.exact.repair import repair
from bntheory.judges.exact.replay import carrying
from bntheory.judges.exact.witness import Instance, Reference
from bntheory.layer import SecondBatch, one_loss
from bntheory.layer.relations import AllOf, Relation, as_statement

SMOOTH = {"smoothness": "l", "scalars": ["l:positive"]}
CONVEX = {**SMOOTH, "hessian": "psd"}
POSITIVE, ZERO = {"eps": "positive"}, {"eps": "zero"}
TRUE = [
    ("dot(one, z@2 - z) == 0", {}),
    ("norm2(z@2 - z) <= 4*m*gamma**2", {}),
    ("norm2(z@2 - z) <= gamma**2/eps*norm2(y@2 - y)", POSITIVE),
    ("norm2(z@2 - z) <= gamma**2/(sigma*sigma@2)*norm2(y@2 - y)", ZERO),
    ("norm2(z@2 - z) <= gamma**2/eps*norm2(y@2 - y)", {**POSITIVE, "normaliser": "rms-norm"}),
    ("norm2(z@2 - z) == gamma**2/sigma**2*norm2(y@2 - y)", {"normaliser": "frozen"}),
    ("sigma@2 == sqrt(var@2*m/(m - 1) + eps)", {"normaliser": "unbiased"}),
    ("z@2 == z", {**ZERO, "assume": ["y@2 == a*y + b*one", "a > 0"], "scalars": ["a", "b"]}),
    ("input_grad == a*input_grad@2", {**ZERO, "assume": ["y@2 == a*y", "a > 0"], "scalars": ["a"]}),
    ("norm2(input_grad@2) <= gamma**2/sigma@2**2*norm2(grad@2)", {}),
    ("dot(one, jac@2(grad)) == 0 and dot(y@2, jac@2(grad)) == 0", ZERO),
    ("norm2(grad@2 - grad) <= l**2*norm2(z@2 - z)", SMOOTH),
    ("norm2(grad@2 - grad) <= l*dot(grad@2 - grad, z@2 - z)", CONVEX),
    ("dot(grad@2 - grad, z@2 - z) >= 0", {"hessian": "psd"}),
    ("grad@2 - grad == z@2 - z", {"loss": "squared"}),
    ("grad@2 == grad", {"loss": "linear"}),
    ("rise == dot(grad, z@2 - z)", {"loss": "linear"}),
    ("2*rise == norm2(grad@2) - norm2(grad)", {"loss": "squared"}),
    ("rise <= dot(grad, z@2 - z) + l/2*norm2(z@2 - z)", SMOOTH),
    ("rise >= dot(grad, z@2 - z) - l/2*norm2(z@2 - z)", SMOOTH),
    ("4*l*rise <= 2*l*dot(grad + grad@2, z@2 - z) + l**2*norm2(z@2 - z) - norm2(grad@2 - grad)", SMOOTH),
    ("4*l*rise >= 2*l*dot(grad + grad@2, z@2 - z) - l**2*norm2(z@2 - z) + norm2(grad@2 - grad)", SMOOTH),
    ("rise <= dot(grad, z@2 - z) + l/2*norm2(z@2 - z)", CONVEX),
    ("rise >= dot(grad, z@2 - z)", {"hessian": "psd"}),
    ("rise <= dot(grad@2, z@2 - z)", {"hessian": "psd"}),
    ("rise >= dot(grad, z@2 - z) + norm2(grad@2 - grad)/(2*l)", CONVEX),
    ("rise == 0 and grad@2 == grad", {"assume": ["z@2 == z"]}),
    ("norm2(input_grad@2 - input_grad) <= gamma**4/sigma**4*l**2*norm2(y@2 - y)", {**SMOOTH, "normaliser": "frozen"}),
    ("norm2(input_grad@2 - input_grad) <= gamma**4*norm2(y@2 - y)", {"loss": "squared", "normaliser": "mean-only"}),
]
FALSE = [
    ("dot(one, y_hat@2 - y_hat) == 1", {}),
    ("norm2(z@2 - z) <= 3*m*gamma**2", {}),
    ("norm2(z@2 - z) <= gamma**2/sigma**2*norm2(y@2 - y)", {}),
    ("norm2(z@2 - z) <= 0.9*gamma**2/(sigma*sigma@2)*norm2(y@2 - y)", ZERO),
    ("input_grad == input_grad@2", {**ZERO, "assume": ["y@2 == a*y", "a > 0"], "scalars": ["a"]}),
    ("norm2(grad@2 - grad) <= 0.9*l**2*norm2(z@2 - z)", SMOOTH),
    ("norm2(grad@2 - grad) <= l*dot(grad@2 - grad, z@2 - z)", SMOOTH),
    ("norm2(grad@2 - grad) <= 0.9*l*dot(grad@2 - grad, z@2 - z)", CONVEX),
    ("dot(grad@2 - grad, z@2 - z) >= 0", {}),
    ("dot(grad@2 - grad, z@2 - z) > 0", {"hessian": "psd"}),
    ("grad@2 == grad", {"loss": "squared"}),
    ("rise <= dot(grad, z@2 - z) + 0.49*l*norm2(z@2 - z)", SMOOTH),
    ("rise >= dot(grad, z@2 - z) - 0.49*l*norm2(z@2 - z)", SMOOTH),
    ("rise >= dot(grad, z@2 - z)", SMOOTH),
    ("rise > dot(grad, z@2 - z)", {"hessian": "psd"}),
    ("rise <= 0", {"assume": ["dot(grad, z@2 - z) <= 0"]}),
    ("norm2(input_grad@2 - input_grad) <= gamma**2/sigma**2*norm2(grad@2 - grad)", {"loss": "linear"}),
    ("rise <= 0", {"loss": "linear", **ZERO, "assume": ["m == 5"]}),  # sigma@2 is seldom rational
]


def random_pair(domain, rng):
    """A layer at two batches with a loss that is a function; ``free`` has what the claim asks for."""
    m = domain.min_m + int(rng.integers(3))
    eps = {"zero": 0.0, "positive": rng.exponential() + 0.01, "any": rng.exponential()}[domain.eps]
    a, b, smooth = rng.exponential(), rng.normal(), rng.exponential()
    y = rng.normal(size=m)
    y2 = a * y + (b if "b" in domain.scalars else 0.0) if "a" in domain.scalars else rng.normal(size=m) * 3
    gamma, beta = rng.normal(size=2)
    where = [DefinitionLayer(domain.normaliser, at, 0 * y, np.zeros((m, m)), gamma, beta, eps) for at in (y, y2)]
    if domain.normaliser == "frozen":
        scale = where[0].sigma
        where[1].z = gamma * (torch.tensor(y2) - y.mean()) / scale + beta
    directions = torch.linalg.qr(torch.tensor(rng.normal(size=(m, m))))[0]
    signs = torch.tensor(rng.choice([-1.0, 1.0], size=m)) if domain.hessian != "psd" else torch.ones(m)
    shift, target = torch.tensor(rng.normal(size=m)), torch.tensor(rng.normal(size=m))

    def value(z):
        if domain.loss == "squared":
            return (z - target).square().sum() / 2
        if domain.loss == "linear":
            return target @ z
        return smooth * (signs * torch.log(torch.cosh(directions.T @ z - shift))).sum() + target @ z

    def gradient(z):
        if domain.loss == "squared":
            return z - target
        if domain.loss == "linear":
            return target
        return smooth * directions @ (signs * torch.tanh(directions.T @ z - shift)) + target

    free = {"y@2": y2, "grad@2": gradient(where[1].z).numpy(), "a": a, "b": b, "l": smooth}
    free["rise"] = value(where[1].z) - value(where[0].z)
    grad = gradient(where[0].z).numpy()
    layer = DefinitionLayer(domain.normaliser, y, grad, np.zeros((m, m)), gamma, beta, eps, free)
    return layer, where[1]


def holds(statement, slack):
    if not isinstance(statement, Relation):
        return (all if isinstance(statement, AllOf) else any)(holds(p, slack) for p in statement.parts)
    left, right = (torch.as_tensor(s, dtype=torch.float64) for s in (statement.left, statement.right))
    size = slack * (1 + left.abs().max() + right.abs().max())
    gap = right - left
    return bool((gap.abs() <= size).all() if statement.op == "eq" else gap.min() >= -size)


@pytest.mark.long
@pytest.mark.parametrize(("text", "options"), TRUE, ids=str)
def test_true_claims_are_proved_and_hold_for_losses_that_are_functions(text, options):
    found = decide(text, **options)
    assert found.verdict.status.value == "proved", found.evidence.summary
    rng, claim = np.random.default_rng(len(text)), found.claim
    for _ in range(10):
        layer, _ = random_pair(claim.domain, rng)
        assumed = claim.assume is None or holds(as_statement(claim.assume(layer)), 1e-9)
        if "z@2 == z" in options.get("assume", ()) and not assumed:
            continue
        assert assumed
        assert holds(as_statement(claim.check(layer)), 1e-8)


@pytest.mark.long
@pytest.mark.parametrize(("text", "options"), FALSE, ids=str)
def test_false_claims_fall_to_a_loss_that_can_be_written_down(text, options):
    found = decide(text, **options)
    assert found.verdict.status.value == "refuted", found.evidence.summary
    block, domain = found.witness["layer"], found.claim.domain

    def vector(x):
        return np.array([float(Fraction(v)) for v in x])

    numbers = {k: float(Fraction(block[k])) for k in ("gamma", "beta", "eps")}
    free = {k: vector(v) for k, v in block["vectors"].items()}
    free |= {k: float(Fraction(v)) for k, v in block["scalars"].items()}
    y, grad = vector(block["y"]), vector(block["grad"])
    layer = DefinitionLayer(domain.normaliser, y, grad, np.zeros((len(y),) * 2), free=free, **numbers)
    assert not holds(as_statement(found.claim.check(layer)), 1e-9 if "==" in text else -1e-12)
    if "grad@2" not in free:
        return
    second = DefinitionLayer(domain.normaliser, free["y@2"], grad, np.zeros((len(y),) * 2), **numbers)
    dz, dg = (second.z - layer.z).numpy(), free["grad@2"] - grad
    if np.linalg.norm(dg) < 1e-12:
        return
    assert np.linalg.norm(dz) > 1e-9, "two gradients at one output"
    if domain.hessian == "psd":
        curvature = np.outer(dg, dg) / (dg @ dz)
    else:  # the reflection that takes dz to where dg points, times the ratio of their lengths
        ratio = np.linalg.norm(dg) / np.linalg.norm(dz)
        across = dz * ratio - dg
        parallel = np.linalg.norm(across) < 1e-9 * np.linalg.norm(dg)
        flip = 0 * np.eye(len(dz)) if parallel else 2 * np.outer(across, across) / (across @ across)
        curvature = ratio * (np.eye(len(dz)) - flip)
    np.testing.assert_allclose(curvature @ dz, dg, atol=1e-8 * np.abs(dg).max())
    spectrum = np.linalg.eigvalsh(curvature)
    assert domain.hessian != "psd" or spectrum[0] >= -1e-9
    assert not domain.smoothness or np.abs(spectrum).max() <= free["l"] * (1 + 1e-9)
    assert domain.loss != "squared" or np.allclose(dg, dz)
    if "rise" in free and domain.hessian == "psd":  # 0 <= curvature of the loss along the way, of total |dg|
        assert grad @ dz < free["rise"] < free["grad@2"] @ dz
    elif "rise" in free and domain.smoothness:  # the derivative along the way turns at rates up to l
        room = free["l"] * (dz @ dz) / 4 - dg @ dg / (4 * free["l"])
        assert abs(free["rise"] - (grad + free["grad@2"]) @ dz / 2) <= room * (1 + 1e-9) + 1e-12


@pytest.mark.long
@pytest.mark.parametrize(("least", "status"), [("1/2", "proved"), ("0.500001", "refuted")])
def test_what_is_true_of_every_smooth_loss_is_proved_of_convex_ones(least, status):
    """A step of length 1/l gains ||g||^2/(2 l): r <= <g, dz> + l/2 ||dz||^2 at dz = -g/l. l ||z||^2/2 gains no more."""
    for options in (SMOOTH, CONVEX) if status == "proved" else (SMOOTH,):
        found = decide(f"-rise >= {least}*norm2(grad)/l/gamma**2*gamma**2", **options, assume=["z@2 == z - grad/l"])
        assert found.verdict.status.value == status
        assert [g["text"] for g in found.evidence.details.get("wherever", ())] == ["gamma != 0"] * (status == "proved")
    nothing = decide("-rise >= norm2(grad)/(2*l)", **CONVEX, assume=["z@2 == z - grad/l", "rise > 0"])
    assert nothing.verdict.status.value == "vacuous"


@pytest.mark.parametrize("normaliser", ["batch", "l2", "unbiased", "rms", "mean-only"])
def test_the_second_batch_goes_through_the_same_layer(normaliser):
    rng = np.random.default_rng(5)
    layer, second = random_pair(LayerDomain(normaliser=normaliser), rng)
    ours, v = SecondBatch(layer, normaliser), torch.tensor(rng.normal(size=layer.m))
    for name in ("y", "mu", "var", "sigma", "y_hat", "z"):
        torch.testing.assert_close(torch.as_tensor(getattr(ours, name)), torch.as_tensor(getattr(second, name)))
    torch.testing.assert_close(ours.jac(v), second.jac(v))
    torch.testing.assert_close(ours.input_grad, second.jac(layer.vector("grad@2")))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("norm2(grad@2) >= 0", {"loss": "logistic-bounds"}, "--loss squared"),
        ("norm2(grad@2) >= 0", {"hessian": "identity"}, "--loss squared"),
        ("norm2(z@2) >= 0", {"normaliser": "l1"}, "'batch' and 'l2' are inside"),
        ("norm2(hess(grad@2)) >= 0", {"smoothness": "1"}, "state the two apart"),
        ("trace(hess) >= dot(grad@2, grad)", {"hessian": "psd"}, "state the two apart"),
        ("gamma@2 == gamma", {}, "did you mean gamma"),
        ("rise <= 1", {"smoothness": "l", "scalars": ["l:nonnegative"]}, "declare l:positive"),
    ],
    ids=str,
)
def test_what_stays_outside_says_what_is_near(text, options, message):
    with pytest.raises(UserError, match=message):
        decide(text, **options)


@pytest.mark.long
def test_a_refutation_at_two_batches_replays(tmp_path):
    import json

    from bntheory.judges.exact.replay import replay

    path = tmp_path / "witness.json"
    for text, options in (
        FALSE[2],
        FALSE[5],
        ("grad@2 == grad", {"loss": "squared"}),
        ("rise <= 0", {"loss": "linear"}),
    ):
        path.write_text(json.dumps(decide(text, **options).witness))
        assert replay(path).refuted


def test_a_second_batch_that_is_constant_is_repaired_or_left():
    """At eps = 0 its output is undefined, and so is the equality that ties the gradients."""
    claim = decide("grad@2 == grad", eps="zero", loss="squared").claim
    y, g = (Fraction(1), Fraction(-1)), (Fraction(0), Fraction(2))
    vectors = {"y@2": (Fraction(3), Fraction(3)), "grad@2": g}
    identity = ((Fraction(1), Fraction(0)), (Fraction(0), Fraction(1)))
    found = repair(claim, claim.domain, Instance(y, g, identity, vectors=vectors))
    assert found is None or len(set(found.vectors["y@2"])) == 2


def test_a_witness_of_a_file_carries_the_two_batches():
    domain = LayerDomain(**{**SMOOTH, "scalars": {"l": "positive"}}, vectors=("y@2", "grad@2"))

    def check(layer):
        other = SecondBatch(layer)
        return le(layer.norm2(other.grad - layer.grad), layer.norm2(other.z - layer.z))

    claim = Claim("mine.two", "layer", Source("mine", ""), "x", check, domain, lambda layer: one_loss(layer, domain))
    carried = carrying(Reference("file", "mine.two", "mine.py"), claim)
    assert "grad@2 - grad" in carried.expression
    assert len(carried.assume) == 1


@pytest.mark.parametrize(("factor", "finding"), [(1, "proved"), (Fraction(9, 10), "refuted")])
def test_a_file_states_the_same(factor, finding):
    domain = LayerDomain(normaliser="frozen", smoothness="l", scalars={"l": "positive"}, vectors=("y@2", "grad@2"))

    def check(layer):
        other = SecondBatch(layer, "frozen")
        slope2 = layer.gamma**2 / layer.sigma**2
        bound = factor * slope2**2 * layer.scalar("l") ** 2 * layer.norm2(other.y - layer.y)
        return le(layer.norm2(other.input_grad - layer.input_grad), bound)

    claim = Claim(
        "mine.lipschitz", "layer", Source("mine", ""), "x", check, domain, lambda layer: one_loss(layer, domain)
    )
    assert judge(claim).finding == finding

"""Bounds made of bounds: sums and products over separate vectors, roots. True ones follow from ||J g|| <= |gamma|/sigma ||g||, unit by unit."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bntheory import LayerDomain
from bntheory.claims.typed.expression import claim_of_expression, parse_claim
from bntheory.claims.typed.syntax import parse
from bntheory.claims.typed.transcript import text_of, transcribe
from bntheory.judges.algebra.bounds import _curvatures, sufficient
from bntheory.judges.decide import decide
from bntheory.layer.family import make_layer

BOTH = "gamma**2/sigma**2*norm2(grad) + {c}gamma@b**2/sigma@b**2*norm2(grad@b)"
CASES = {
    "two units": ("norm2(input_grad) + norm2(input_grad@b) <= " + BOTH.format(c=""), {"eps": "zero"}, "proved"),
    "two units, one bound too small": (
        "norm2(input_grad) + norm2(input_grad@b) <= " + BOTH.format(c="0.9*"),
        {},
        "refuted",
    ),
    "two units, strictly": (
        "norm2(input_grad) + norm2(input_grad@b) < " + BOTH.format(c=""),
        {"eps": "zero"},
        "refuted",
    ),
    "two units under one bound": (
        "norm2(input_grad) + norm2(input_grad@b) <= s*(norm2(grad) + norm2(grad@b))",
        {"scalars": ["s"], "assume": ["gamma**2/sigma**2 <= s", "gamma@b**2/sigma@b**2 <= s"]},
        "proved",
    ),
    "two units, one of them under the bound": (
        "norm2(input_grad) + norm2(input_grad@b) <= s*(norm2(grad) + norm2(grad@b))",
        {"scalars": ["s"], "assume": ["gamma**2/sigma**2 <= s"]},
        "refuted",
    ),
    "two units multiplied": (
        "norm2(input_grad)*norm2(input_grad@b) <= gamma**2/sigma**2*norm2(grad)*gamma@b**2/sigma@b**2*norm2(grad@b)",
        {"eps": "zero"},
        "proved",
    ),
    # ||z(y') - z(y)||^2 <= gamma^2/eps ||y' - y||^2; with gamma > 0 its root is the usual form
    "Lipschitz": (
        "sqrt(norm2(z@2 - z)) <= gamma/sqrt(eps)*sqrt(norm2(y@2 - y))",
        {"eps": "positive", "gamma": "positive"},
        "proved",
    ),
    "Lipschitz, any sign": (
        "sqrt(norm2(z@2 - z)) <= gamma/sqrt(eps)*sqrt(norm2(y@2 - y))",
        {"eps": "positive"},
        "refuted",
    ),
    "a positive factor changes nothing": (
        "norm2(z@2 - z) <= gamma**2/eps*norm2(y@2 - y)",
        {"eps": "positive", "gamma": "positive"},
        "proved",
    ),
    # through a bound between: the loss's own, then the layer's
    "two gradients": (
        "norm2(grad@2 - grad) <= l**2*gamma**2/eps*norm2(y@2 - y)",
        {"eps": "positive", "scalars": ["l:positive"], "smoothness": "l"},
        "proved",
    ),
    "two gradients, strictly": (
        "norm2(grad@2 - grad) < l**2*gamma**2/eps*norm2(y@2 - y)",
        {"eps": "positive", "scalars": ["l:positive"], "smoothness": "l"},
        "refuted",
    ),
    "curvature along the Jacobian": (
        "dot(jac(u), hess(jac(u))) <= gamma**2/sigma**2*l*norm2(u)",
        {"scalars": ["l:positive"], "smoothness": "l", "vectors": ["u"]},
        "proved",
    ),
    "curvature along the Jacobian, a bound too small": (
        "dot(jac(u), hess(jac(u))) <= 0.99*gamma**2/sigma**2*l*norm2(u)",
        {"scalars": ["l:positive"], "smoothness": "l", "vectors": ["u"]},
        "refuted",
    ),
    "a smooth loss along the Jacobian": (
        "norm2(hess(jac(u))) <= l**2*gamma**2/sigma**2*norm2(u)",
        {"scalars": ["l:positive"], "smoothness": "l", "vectors": ["u"]},
        "proved",
    ),
    # where the gradient vanishes all curvature is the loss's own, along the Jacobian
    "smooth where the gradient vanishes": (
        "max_eig(input_hess) <= gamma**2/sigma**2*l",
        {"scalars": ["l:positive"], "smoothness": "l", "assume": ["grad == 0"]},
        "proved",
    ),
    "the same from below, where the layer's own gradients vanish": (
        "min_eig(input_hess) >= -gamma**2/sigma**2*l",
        {"scalars": ["l:positive"], "smoothness": "l", "assume": ["input_grad == 0", "gamma_grad == 0"]},
        "proved",
    ),
    "a bound too small where the gradient vanishes": (
        "max_eig(input_hess) <= 0.99*gamma**2/sigma**2*l",
        {"scalars": ["l:positive"], "smoothness": "l", "assume": ["grad == 0"], "eps": "zero"},
        "refuted",
    ),
    "the gradient of gamma bends": (
        "max_eig(input_hess) <= gamma**2/sigma**2*l",
        {"scalars": ["l:positive"], "smoothness": "l", "assume": ["input_grad == 0"]},
        "refuted",
    ),
    # c may be negative, and then the hypothesis says nothing of this kind
    "a factor that may be negative": (
        "norm2(u) <= norm2(v)/c",
        {"vectors": ["u", "v"], "scalars": ["c"], "assume": ["c*norm2(u) <= norm2(v)"]},
        "refuted",
    ),
    # ||H|| <= l: what k orthonormal directions leave of the trace is at most (m - k) l; of 1 and y_hat every batch has both
    "what two directions leave of a trace": (
        "trace(hess) - dot(one, hess(one))/m - dot(y_hat, hess(y_hat))/m <= l*(m - 2)",
        {"eps": "zero", "scalars": ["l:positive"], "smoothness": "l"},
        "proved",
    ),
    "what one direction leaves, below": (
        "trace(hess) - dot(one, hess(one))/m >= -l*(m - 1)",
        {"scalars": ["l:positive"], "smoothness": "l"},
        "proved",
    ),
    "what one direction leaves, a bound too small": (
        "trace(hess) - dot(one, hess(one))/m <= 0.99*l*(m - 1)",
        {"scalars": ["l:positive"], "smoothness": "l", "hessian": "psd"},
        "refuted",
    ),
    "a third direction is not there at m = 2": (
        "m >= 3 or trace(hess)*norm2(u) <= dot(u, hess(u))",
        {"scalars": ["l:positive"], "smoothness": "l", "vectors": ["u"]},
        "refuted",
    ),
    "the trace through the layer": (
        "trace(input_hess) <= l*gamma**2/sigma**2*(m - 2) + sqrt(gamma_grad**2)*sqrt(gamma**2)/sigma**2",
        {"eps": "zero", "scalars": ["l:positive"], "smoothness": "l"},
        "proved",
    ),
    # two negative factors make a large product: 0 <= a1 is needed
    "products of negative numbers": ("beta_grad*dot(u, one) <= norm2(grad)*norm2(u)", {"vectors": ["u"]}, "refuted"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("text", "options", "right"), CASES.values(), ids=CASES)
def test_bounds_made_of_bounds(text, options, right):
    assert decide(text, search=False, seconds=600, **options).status.value == right


@pytest.mark.parametrize("eps", ["zero", "positive"])
@pytest.mark.parametrize("normaliser", ["batch", "l2", "unbiased", "rms", "frozen", "mean-only"])
def test_the_curvature_along_a_direction_is_what_it_is_exchanged_for(normaliser, eps):
    """By the closed-form layer in arrays, which is held against 60-digit differences of the definition."""
    domain = LayerDomain(normaliser=normaliser, eps=eps, vectors=("u",))
    tree = parse("dot(u, input_hess(u)) + dot(grad, input_hess(u)) <= m")
    ((own, other),) = _curvatures(tree, domain).items()
    assert own == "dot(u, input_hess(u))"
    rng = np.random.default_rng(7)
    for m in (2, 3, 7):
        y, g, u, hess = *rng.normal(size=(3, m)), rng.normal(size=(m, m))
        free = {"u": u}
        layer = make_layer(normaliser, y, g, hess + hess.T, gamma=-1.7, eps=0.4 * (eps == "positive"), free=free)
        claim = parse_claim(f"{own} == {text_of(other)}", vectors=["u"])
        relation = claim(layer)
        assert relation.left == pytest.approx(relation.right, rel=1e-9, abs=1e-9)


def test_the_curvature_of_l_p_is_left_as_it_is():
    assert not _curvatures(parse("dot(y, input_hess(y)) <= m"), LayerDomain(normaliser="l1"))


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("norm2(u) + norm2(v) < m*norm2(u) + norm2(v)/2 + 1", [["norm2(u) < m*norm2(u) + 1", "norm2(v) < (1/2)*norm2(v)"]]),
        ("norm2(u) - dot(u, v) <= norm2(v)", []),
        (
            "norm2(u) + norm2(v) <= beta*(3*norm2(u) - (norm2(v) - m)/2)/gamma",
            [["norm2(u) <= 3*(beta*norm2(u)/gamma) + (1/2)*(beta*m/gamma)", "norm2(v) <= -((1/2)*(beta*norm2(v)/gamma))"]],
        ),
        ("dot(grad, input_grad) + 1 <= norm2(grad)", []),
        (
            "norm2(input_grad) + 1 <= norm2(grad)",
            [["gamma**2/sigma**2*norm2(grad) + 1 <= norm2(grad)", "norm2(input_grad) <= gamma**2/sigma**2*norm2(grad)"]],
        ),
        (
            "gamma*norm2(u)/norm2(v) <= norm2(u)*gamma/3/norm2(v)",
            [["0 <= norm2(u)*gamma", "0 <= 1/norm2(v)", "norm2(u)*gamma <= norm2(u)*gamma/3", "1/norm2(v) <= 1/norm2(v)"]],
        ),
        ("sqrt(norm2(u)) < gamma/sqrt(m)", [["0 <= gamma/sqrt(m)", "norm2(u) < gamma**2/m"]]),
        ("sqrt(norm2(u)) + 1 == gamma", []),
        ("norm2(u) <= norm2(v) or m > 2", []),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_enough(text, ways):
    claim = claim_of_expression(text, [], LayerDomain(vectors=("u", "v")))
    assert [[text_of(part.check.tree) for part in way] for way in sufficient(claim)] == ways


def test_what_is_enough_beside_a_bound_that_is_known():
    """Either side goes over into the middle; the second half is left without the hypothesis, and keeps the strictness."""
    hypotheses = ["gamma <= 1", "norm2(u) <= 3*norm2(v)", "norm2(u) == 1"]
    domain = LayerDomain(vectors=("u", "v"), smoothness="2")

    def ways(text):
        for way in sufficient(claim_of_expression(text, hypotheses, domain)):
            left = ["" if part.assume is None else text_of(transcribe(part.assume, domain)) for part in way]
            yield [(text_of(part.check.tree), given.count("norm2")) for part, given in zip(way, left, strict=True)]

    chained = [
        ("beta*norm2(u)*2 < m", "0 <= 2*beta", "2*(beta*(norm2(v)*3)) < m"),
        ("m < 3*beta*norm2(v)", "0 <= beta", "m < beta*norm2(u)"),
    ]
    for text, sign, rest in chained:
        (*_, way) = ways(text)
        assert way == [(rest, 1), (sign, 3)]
    assert list(ways("dot(grad, hess(grad)) <= m")) == [
        [("2*norm2(grad) <= m", 3), ("dot(grad, hess(grad)) <= 2*norm2(grad)", 0)]
    ]
    assert not list(ways("norm2(u) == m"))


@pytest.mark.slow
def test_a_question_that_squares_roots_away_stays_small():
    """Beyond a size one step of the solver takes minutes, and its limits count steps: 110 s of a processor before."""
    p, q = "z@2", "(u - 2*z@2)"
    text = f"(norm2({p}) + m)*(norm2({q}) + beta_grad**2/m) >= 1.1*(dot({p}, {q}) + sqrt(m)*sqrt(gamma_grad**2/m))**2"
    start = time.process_time()
    decide(text, eps="zero", gamma="positive", normaliser="unbiased", vectors=["u"], search=False)
    assert time.process_time() - start < 40


def _claim(text, *assume, **domain):
    return claim_of_expression(text, assume, LayerDomain(**domain))


def _texts(claims):
    return [text_of(transcribe(c.check, c.domain)) for c in claims]


def test_a_chain_asks_that_what_stands_before_is_not_negative():
    (found,) = sufficient(_claim("a*b <= 3", "b <= c", scalars={"a": "any", "b": "any", "c": "any"}))
    assert _texts(found) == ["a*c <= 3", "0 <= a"]


def test_a_chain_under_a_root_asks_that_the_root_exists():
    # with c < 5 a root of c - 5 says nothing, and what is true of it says nothing of the root of b - 5
    claim = _claim("3 <= sqrt(b - 5)", "c <= b", "c < 5", scalars={"b": "any", "c": "any"})
    assert "0 <= c - 5" in [text for found in sufficient(claim) for text in _texts(found)]
    assert decide("3 <= sqrt(b - 5)", assume=["c <= b", "c < 5"], scalars=["b", "c"]).status.value == "refuted"


def test_a_sum_of_too_many_terms_is_not_cut_short():
    text = " + ".join(f"{k}*a*b" for k in range(1, 41)) + " <= 3"
    assert list(sufficient(_claim(text, "b <= c", scalars={"a": "positive", "b": "any", "c": "any"}))) == []


@pytest.mark.parametrize("eps", ["zero", "any", "positive"])
def test_a_middle_has_a_value_wherever_the_claim_has(eps):
    """Where eps may be zero, 1/eps bounds nothing: what has no value is false nowhere, and either half would be proved."""
    claim = _claim("norm2(z@2 - z) <= norm2(y@2 - y)", eps=eps)
    assert any("/eps" in text for found in sufficient(claim) for text in _texts(found)) == (eps == "positive")


def test_what_the_layer_does_to_a_norm_is_shown_without_the_hypotheses():
    claim = _claim("norm2(input_grad) <= a", "norm2(grad) <= a", "gamma == 1", scalars={"a": "any"}, gamma="positive")
    steps = [c for found in sufficient(claim) for c in found if _texts([c])[0].startswith("norm2(input_grad) <= gamma")]
    assert len(steps) == 1
    assert all(c.assume is None and c.domain.gamma == "any" for c in steps)


CHAINS_WITH_ROOTS = {
    "two gradients by roots": (
        "sqrt(norm2(grad@2)) <= sqrt(norm2(grad)) + l*gamma/sqrt(eps)*sqrt(norm2(y@2 - y))",
        "proved",
    ),
    "the loss, by squares and roots": (
        "rise <= gamma/sqrt(eps)*sqrt(norm2(grad))*sqrt(norm2(y@2 - y)) + l*gamma**2/(2*eps)*norm2(y@2 - y)",
        "proved",
    ),
    "the loss, through the inputs": ("rise <= dot(grad, z@2 - z) + l*gamma**2/(2*eps)*norm2(y@2 - y)", "proved"),
}


@pytest.mark.long
@pytest.mark.parametrize(("text", "right"), CHAINS_WITH_ROOTS.values(), ids=CHAINS_WITH_ROOTS)
def test_chains_with_roots(text, right):
    options = {"eps": "positive", "gamma": "positive", "scalars": ["l:positive"], "smoothness": "l"}
    assert decide(text, **options, seconds=300).status.value == right

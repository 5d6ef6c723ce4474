"""Bounds made of bounds: sums and products over separate vectors, roots. True ones follow from ||J g|| <= |gamma|/sigma ||g||, unit by unit."""

from __future__ import annotations

import time

import pytest

from bntheory import LayerDomain
from bntheory.claims.typed.expression import claim_of_expression
from bntheory.claims.typed.transcript import text_of, transcribe
from bntheory.judges.algebra.bounds import sufficient
from bntheory.judges.decide import decide

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
    # c may be negative, and then the hypothesis says nothing of this kind
    "a factor that may be negative": (
        "norm2(u) <= norm2(v)/c",
        {"vectors": ["u", "v"], "scalars": ["c"], "assume": ["c*norm2(u) <= norm2(v)"]},
        "refuted",
    ),
    # two negative factors make a large product: 0 <= a1 is needed
    "products of negative numbers": ("beta_grad*dot(u, one) <= norm2(grad)*norm2(u)", {"vectors": ["u"]}, "refuted"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "options", "right"), CASES.values(), ids=CASES)
def test_bounds_made_of_bounds(text, options, right):
    assert decide(text, search=False, seconds=600, **options).status.value == right


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("norm2(u) + norm2(v) < m*norm2(u) + norm2(v)/2 + 1", [["norm2(u) < m*norm2(u) + 1", "norm2(v) < (1/2)*norm2(v)"]]),
        ("norm2(u) - dot(u, v) <= norm2(v)", []),
        ("dot(grad, input_grad) + 1 <= norm2(grad)", []),
        (
            "norm2(input_grad) + 1 <= norm2(grad)",
            [["norm2(input_grad) + 1 <= gamma**2/sigma**2*norm2(grad) + 1", "gamma**2/sigma**2*norm2(grad) + 1 <= norm2(grad)"]],
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
            yield [(text_of(part.check.tree), text_of(transcribe(part.assume, domain)).count("norm2")) for part in way]

    chained = [
        ("beta*norm2(u)*2 < m", "beta*norm2(u)*2 <= 2*(beta*(norm2(v)*3))", "2*(beta*(norm2(v)*3)) < m"),
        ("m < 3*beta*norm2(v)", "beta*norm2(u) <= beta*3*norm2(v)", "m < beta*norm2(u)"),
    ]
    for text, step, rest in chained:
        (*_, way) = ways(text)
        assert way == [(step, 3), (rest, 1)]
    assert [[t for t, _ in way] for way in ways("dot(grad, hess(grad)) <= m")] == [
        ["dot(grad, hess(grad)) <= 2*norm2(grad)", "2*norm2(grad) <= m"]
    ]
    assert not list(ways("norm2(u) == m"))


def test_a_question_that_squares_roots_away_stays_small():
    """Beyond a size one step of the solver takes minutes, and its limits count steps: 110 s of a processor before."""
    p, q = "z@2", "(u - 2*z@2)"
    text = f"(norm2({p}) + m)*(norm2({q}) + beta_grad**2/m) >= 1.1*(dot({p}, {q}) + sqrt(m)*sqrt(gamma_grad**2/m))**2"
    start = time.process_time()
    decide(text, eps="zero", gamma="positive", normaliser="unbiased", vectors=["u"], search=False)
    assert time.process_time() - start < 40

"""Hypotheses that say what a free quantity is. The right answers were worked out by hand; each is said beside its claim."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest

from bntheory import LayerDomain, Source, eq, le
from bntheory.claims.claim import Claim
from bntheory.claims.typed.expression import claim_of_expression
from bntheory.judges.algebra import judge
from bntheory.judges.algebra.definitions import definitions_of
from bntheory.judges.decide import decide
from bntheory.judges.exact.radicals import Radical, coefficients
from bntheory.judges.exact.repair import rational_sigma
from bntheory.judges.exact.witness import Instance

STEP = {"scalars": ["t:positive", "l:positive"], "smoothness": "l", "assume": ["y@2 == y - t*input_grad"]}
CASES = {
    # for an affine layer z moves by -t (gamma/sigma) input_grad, so this is the descent lemma
    "descent lemma along a step": (
        "rise <= -t*norm2(input_grad) + l*t**2/2*gamma**2/sigma**2*norm2(input_grad)",
        {**STEP, "normaliser": "frozen"},
        "proved",
    ),
    "half of its last term": (
        "rise <= -t*norm2(input_grad) + l*t**2/4*gamma**2/sigma**2*norm2(input_grad)",
        {**STEP, "normaliser": "frozen"},
        "refuted",
    ),
    # z changes with the scale of y where eps > 0, and both roots must be rational for a witness
    "another scale with eps": (
        "rise == 0",
        {"eps": "positive", "loss": "squared", "assume": ["y@2 == 2*y"]},
        "refuted",
    ),
    "another scale without": ("rise == 0", {"eps": "zero", "loss": "squared", "assume": ["y@2 == 2*y"]}, "proved"),
    "turned round, with a number": (
        "4*norm2(u) == norm2(grad)",
        {"vectors": ["u"], "assume": ["grad == 2*u"]},
        "proved",
    ),
    "zero": ("norm2(u) >= 1", {"vectors": ["u"], "assume": ["u == 0"]}, "refuted"),
    # two definitions that lead back to each other say one thing, not two
    "each by the other": ("norm2(u) == 1", {"vectors": ["u", "v"], "assume": ["u == v", "v == u"]}, "refuted"),
    "its own double": ("norm2(u) == 0", {"vectors": ["u"], "assume": ["u == 2*u"]}, "proved"),
    # a hypothesis without a value is not met: nothing is left open at gamma = 0
    "undefined somewhere": ("s*gamma == 1", {"scalars": ["s"], "assume": ["s == 1/gamma"]}, "proved"),
    "a range besides": ("gamma > 0", {"scalars": ["s:positive"], "assume": ["s == gamma"]}, "proved"),
    "nowhere": ("s < 1", {"scalars": ["s"], "assume": ["s == m", "s <= 1"]}, "vacuous"),
}


@pytest.mark.parametrize(("text", "options", "right"), CASES.values(), ids=CASES)
def test_what_a_hypothesis_defines_is_put_in(text, options, right):
    answer = decide(text, search=False, **options)
    assert (answer.status.value, answer.verdict.wherever) == (right, ())


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a == 1", {"scalars": ["a", "b"], "assume": ["a == b/0"]}),
        ("a == 1", {"scalars": ["a", "b"], "assume": ["a - b/0 == 2"]}),
        ("u == v/0", {"vectors": ["u", "v"], "assume": ["u == y/0"]}),
        ("sqrt(a) <= sqrt(b) + sqrt(m)/0", {"scalars": ["a", "b"]}),
    ],
)
def test_what_is_divided_by_zero_is_nothing(text, options):
    assert decide(text, **options).verdict.status.value == "vacuous"


def test_a_proof_does_not_claim_to_need_no_definition():
    answer = decide("4*norm2(u) == norm2(grad)", vectors=["u"], assume=["grad == 2*u"])
    assert answer.evidence.details["proof"]["assumptions_needed"] is None


@pytest.mark.parametrize(
    ("assume", "free", "names"),
    [
        (["u == grad", "v == hess(u)"], {"vectors": ("u", "v")}, {"u", "v"}),
        (["u == v", "v == u"], {"vectors": ("u", "v")}, {"u"}),
        (["u == 2*u"], {"vectors": ("u",)}, set()),
        (["norm2(u) == 1"], {"vectors": ("u",)}, set()),
        (["e@case == y"], {"vectors": ("e@case",)}, set()),
        (["s == gamma"], {"scalars": {"s": "positive"}}, set()),
        (["s == 2 or s == 3"], {"scalars": {"s": "any"}}, set()),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_which_hypotheses_define_something(assume, free, names):
    found = definitions_of(claim_of_expression("gamma <= 1", assume, LayerDomain(**free)))
    assert set(found.meaning if found else ()) == names


def test_a_sum_that_doubles_itself_is_not_followed():
    """2^60 terms, written in sixty lines: a claim of a file shares its parts."""

    def doubled(layer):
        x = layer.grad
        for _ in range(60):
            x = x + x
        return [eq(layer.vector("u"), x)]

    stated = Claim(
        id="test.doubled",
        kind="layer",
        source=Source("test", ""),
        statement="",
        check=lambda layer: le(0, layer.norm2(layer.vector("u"))),
        domain=LayerDomain(vectors=("u",)),
        assume=doubled,
    )
    start = time.process_time()
    assert judge(stated).finding == "proved"
    assert time.process_time() - start < 20


def test_a_free_name_that_is_a_word_is_not_taken_for_the_word():
    """A file may call a free vector "grad"; g = u says nothing of it."""
    stated = Claim(
        id="test.named",
        kind="layer",
        source=Source("test", ""),
        statement="",
        check=lambda layer: le(layer.norm2(layer.vector("grad")), layer.norm2(layer.vector("u"))),
        domain=LayerDomain(vectors=("u", "grad")),
        assume=lambda layer: [eq(layer.vector("u"), layer.grad)],
    )
    assert definitions_of(stated) is None
    assert judge(stated).finding == "refuted"


def test_roots_are_told_apart_over_several_numbers():
    """sqrt(8) is 2 sqrt(2), and the product of two large primes is not factored."""
    p, q = 2**89 - 1, 2**107 - 1
    large = Radical(p * q).sqrt()
    rows = coefficients([Radical(2).sqrt() + 1, Radical(8).sqrt(), large * 3, Radical(4 * p * q).sqrt()])
    assert sorted(rows) == [[0, 0, 3, 2], [1, 0, 0, 0], [1, 2, 0, 0]]


def test_a_layer_outside_the_domain_has_neighbours():
    """A witness that is being shrunk may have eps below zero for a moment."""
    x = Instance(y=(Fraction(1), Fraction(-1)), grad=(Fraction(0),) * 2, eps=Fraction(-3))
    assert all(near.eps >= 0 or near.y != x.y for near in rational_sigma(LayerDomain(), x))

"""What a user names: no spelling meets a name of ours, and what a claim never uses changes nothing.

The oracle is the same claim with neutral names, or on a domain that declares only what is used; its truth is known by hand.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bntheory import LayerDomain, eq, le
from bntheory.claims.claim import Claim, Source
from bntheory.errors import UserError
from bntheory.judges.algebra import judge
from bntheory.judges.decide import decide
from bntheory.judges.exact.certificate import certify
from bntheory.judges.exact.witness import Instance

OURS = [
    "g", "H", "h", "v", "k", "m", "q", "p", "s", "y", "grad", "hess", "gamma", "eps", "one", "e1", "case", "y_hat", "layer.grad",
    "layer.hess", "layer.dual", "free u", "root1", "g_1", "H_11", "tr H", "jac_norm", "sigma", "u'", r"\gamma", r"\langle g, g \rangle",
    "(direction)", "x0", "b_0_0", "|", "\\", "and", "None", "Ĥ", "ŷ", "γ", "", " ", "K(free 'u')",
]  # fmt: skip
NAMES = st.one_of(st.sampled_from(OURS), st.text(max_size=4))


def verdict(check, domain, assume=None):
    claim = Claim("test.names", "layer", Source("test", ""), "", check, domain, assume)
    found = judge(claim)
    if found.finding == "refuted":
        assert certify(claim, Instance.from_json(found.details["witness"]["layer"])).refuted
    return found.finding


CLAIMS = {
    "a vector is not the gradient": (
        lambda x, u, w, K, a: eq(x.norm2(x.vector(u)), x.norm2(x.grad)), "refuted",
    ),
    "two vectors": (lambda x, u, w, K, a: eq(x.dot(x.vector(u), x.vector(w)), x.norm2(x.vector(u))), "refuted"),
    "an operator is not the Hessian": (
        lambda x, u, w, K, a: eq(x.dot(x.vector(u), x.operator(K)(x.vector(u))), x.dot(x.vector(u), x.hess(x.vector(u)))),
        "refuted",
    ),
    "an operator is symmetric": (
        lambda x, u, w, K, a: eq(x.dot(x.operator(K)(x.vector(u)), x.vector(w)), x.dot(x.operator(K)(x.vector(w)), x.vector(u))),
        "proved",
    ),
    "a scalar is not gamma": (lambda x, u, w, K, a: eq(x.scalar(a), x.gamma), "refuted"),
    "a scalar scales": (lambda x, u, w, K, a: eq(x.norm2(x.scalar(a) * x.vector(u)), x.scalar(a) ** 2 * x.norm2(x.vector(u))), "proved"),
}  # fmt: skip


@pytest.mark.long
@settings(max_examples=8)
@given(st.lists(NAMES, min_size=4, max_size=4, unique=True), st.sampled_from(list(CLAIMS)))
@example(["g", "H", "h", "v"], "a vector is not the gradient")
@example(["g", "y", "H", "m"], "an operator is not the Hessian")
@example(["layer.grad", "free u", "layer.hess", "gamma"], "an operator is symmetric")
@example(["H", "g", "H'", r"\gamma"], "a scalar is not gamma")
@example(["g", "y@b", "H", "h"], "an operator is not the Hessian")
def test_names_change_no_verdict(names, which):
    check, expected = CLAIMS[which]
    u, w, K, a = names
    if u.endswith("@case") or w.endswith("@case"):
        return
    domain = LayerDomain(vectors=(u, w), operators={K: "any"}, scalars={a: "any"})
    assert verdict(lambda x: check(x, u, w, K, a), domain) == expected


@pytest.mark.long
@pytest.mark.parametrize("name", ["g", "H", "case"])
def test_one_example_beside_a_vector_of_the_same_name(name):
    text = f"dot({name}, hess({name}@case))**2 <= norm2(hess(grad)) + dot({name}@case, grad)**2"
    assert decide(text, vectors=[name, f"{name}@case"]).verdict.status.value == "refuted"


@pytest.mark.parametrize("what", ["scalars", "vectors", "operators"])
@pytest.mark.parametrize("name", ["rise", "cross", "input_cross", "gamma", "trace"])
def test_a_word_names_nothing_free(what, name):
    """Nor a word that only claims about two batches or two units know: it would change what such a claim says."""
    with pytest.raises(UserError, match=f"'{name}' has the name of a word of the vocabulary"):
        decide("rise == dot(grad, z@2 - z)", loss="linear", search=False, **{what: name})


SHARED = {"refuted": lambda x: le(x.gamma, 1), "proved": lambda x: le(x.norm2(x.y_hat), x.m)}


@pytest.mark.long
@settings(max_examples=25)
@given(
    st.sampled_from(list(SHARED)),
    st.dictionaries(st.sampled_from("abcg"), st.sampled_from(["positive", "nonzero", "nonnegative", "unit", "any"])),
    st.sets(st.sampled_from(["u", "H", "e@case", "f@case", "g@case"])),
    st.dictionaries(st.sampled_from(["K", "S"]), st.sampled_from(["any", "psd"])),
    st.sampled_from(["any", "psd", "identity", "isotropic", "diagonal", "zero", "psd-diagonal"]),
)
def test_what_is_declared_and_not_used_changes_no_verdict(expected, scalars, vectors, operators, hessian):
    domain = LayerDomain(scalars=scalars, vectors=tuple(sorted(vectors)), operators=operators, hessian=hessian, min_m=3)
    assert verdict(SHARED[expected], domain) == expected


def test_batches_beyond_what_is_tried_otherwise():
    for min_m in (7, 8, 11):
        decided = decide("norm2(input_grad) <= norm2(grad)", hessian="diagonal", min_m=min_m, search=False)
        assert decided.verdict.status.value == "refuted"


@pytest.mark.parametrize(
    ("text", "assume", "status"),
    [
        ("beta <= 3", "2*m == 41", "vacuous"),
        ("beta <= 3", "m**2 == 7", "vacuous"),
        ("beta <= 3", "m > 40 and m < 41", "vacuous"),
        ("beta <= 3", "2*m == 42", "refuted"),
        ("m >= 21", "2*m > 40", "proved"),
        ("(2*m - 41)**2 > 0", "m > 2", "proved"),
        ("m != 5", "m > 4", "refuted"),
    ],
)
def test_the_batch_size_is_a_whole_number(text, assume, status):
    assert decide(text, assume=[assume], search=False).verdict.status.value == status


def test_examples_that_contradict_a_hypothesis_are_told():
    """|e + f|^2 is 2 or 4."""
    for square, status in ((3, "vacuous"), (4, "refuted")):
        found = decide(
            "beta <= 3", vectors=["e@case", "f@case"], assume=[f"norm2(e@case + f@case) == {square}"], search=False
        )
        assert found.status.value == status

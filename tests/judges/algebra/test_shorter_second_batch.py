"""A second batch or unit alone, and its words as free quantities. True bounds follow from ||J g|| <= |gamma|/sigma ||g|| and triangles."""

from __future__ import annotations

import pytest

from bntheory import LayerDomain
from bntheory.claims.typed.expression import claim_of_expression
from bntheory.claims.typed.transcript import text_of, transcribe
from bntheory.errors import UserError
from bntheory.judges.algebra.second_batch import abstracted, of_the_first
from bntheory.judges.decide import decide

SMOOTH = {"scalars": ["l:positive"], "smoothness": "l", "gamma": "positive"}
ROOTS = "sqrt(norm2(input_grad@2)) <= {c}gamma/sigma@2*(sqrt(norm2(grad)) + l*sqrt(norm2(z@2 - z)))"
CASES = {
    "the second gradient": ("norm2(input_grad@2) <= gamma**2/eps*norm2(grad@2)", {"eps": "positive"}, "proved"),
    "by roots": ("sqrt(norm2(input_grad@2)) <= gamma/sigma@2*sqrt(norm2(grad@2))", {"gamma": "positive"}, "proved"),
    "by roots, any sign": ("sqrt(norm2(input_grad@2)) <= gamma/sigma@2*sqrt(norm2(grad@2))", {}, "refuted"),
    "the second Jacobian": ("norm2(jac@2(u)) <= gamma**2/eps*norm2(u)", {"vectors": ["u"]}, "proved"),
    "the second Jacobian, too small": (
        "norm2(jac@2(u)) <= 0.9*gamma**2/eps*norm2(u)",
        {"vectors": ["u"], "eps": "positive"},
        "refuted",
    ),
    "its own hypothesis": ("norm2(input_grad@2) <= gamma**2*norm2(grad@2)", {"assume": ["sigma@2 >= 1"]}, "proved"),
    "the first batch's hypothesis": (
        "norm2(input_grad@2) <= gamma**2*norm2(grad@2)",
        {"assume": ["sigma >= 1"]},
        "refuted",
    ),
    "another unit": ("norm2(input_grad@b) <= gamma@b**2/eps*norm2(grad@b)", {"eps": "positive"}, "proved"),
    "another unit's scale": ("gamma@b*norm2(y@b) >= 0", {"gamma": "positive"}, "proved"),
    "another unit's words, by Cauchy and Schwarz": (
        "dot(input_grad@b, grad)**2 <= norm2(input_grad@b)*norm2(grad)",
        {},
        "proved",
    ),
    "a scale of unit b that vanishes": ("sigma@b > 0", {"eps": "zero"}, "refuted"),
    # |J' g'| <= c |g'| and |g'| <= |g| + |g' - g|
    "through the second gradient": (ROOTS.format(c=""), SMOOTH, "proved"),
    "squares, (a + b)^2 <= 2 a^2 + 2 b^2": (
        "norm2(input_grad@2) <= 2*gamma**2/sigma@2**2*(norm2(grad) + l**2*norm2(z@2 - z))",
        SMOOTH,
        "proved",
    ),
    # a constant second batch has no scale where eps = 0, and sigma@2 is zero there
    "a batch without a scale": ("norm2(y@2 - mu@2*one) > 0 or gamma > 0", {"eps": "zero"}, "refuted"),
    "a scale that vanishes": ("sigma@2 > 0", {}, "refuted"),
}


@pytest.mark.long
@pytest.mark.parametrize(("text", "options", "right"), CASES.values(), ids=CASES)
def test_what_is_decided(text, options, right):
    assert decide(text, **options, search=False, seconds=300).status.value == right


def _claim(text, assume=(), **domain):
    return claim_of_expression(text, assume, LayerDomain(**domain))


@pytest.mark.parametrize(
    ("text", "domain", "parts"),
    [
        ("norm2(input_grad@2) >= 0", {"eps": "positive"}, 1),
        ("norm2(input_grad@2) >= 0", {}, 2),  # with the constant batches, where eps = 0
        ("norm2(input_grad@b)*gamma@b >= 0", {"eps": "positive"}, 1),
        ("norm2(input_grad@b)*gamma >= 0", {}, 0),  # gamma is the first unit's
        ("norm2(z@2 - z) >= 0", {}, 0),
        ("rise*norm2(grad@2) >= 0", {}, 0),
        ("norm2(input_grad@2) >= 0", {"normaliser": "mean-only"}, 0),  # whose sigma is the layer's
        ("norm2(input_grad) >= 0", {}, 0),
    ],
)
def test_which_claims_are_about_one_batch(text, domain, parts):
    assert len(of_the_first(_claim(text, **domain))) == parts


def test_a_bounded_gradient_of_the_first_says_nothing_of_another_unit():
    with pytest.raises(UserError, match="another unit of a loss that bounds its entries"):
        _claim("norm2(grad@b) <= norm2(y@b) + m", loss="logistic-bounds", eps="positive")


def test_a_word_of_a_second_batch_becomes_a_free_quantity():
    shorter = abstracted(_claim("norm2(z@2) <= sigma@2*var@2 + norm2(z@2 - z)", eps="positive"))
    assert text_of(transcribe(shorter.check, shorter.domain)) == "norm2(z@2) <= sigma@2*var@2 + norm2(z@2 - z)"
    assert text_of(transcribe(shorter.assume, shorter.domain)) == "eps <= sigma@2**2"
    # zero where the batch is constant and eps = 0: not positive, or a false claim would be proved
    assert shorter.domain.scalars == {"sigma@2": "nonnegative", "var@2": "nonnegative"}
    assert abstracted(_claim("norm2(z) >= 0")) is None


@pytest.mark.long
def test_a_proof_names_conditions_by_their_words_and_none_that_always_holds():
    found = decide("1/norm2(input_grad@2) > 0", search=False)
    assert found.verdict.wherever == ("norm2(input_grad@2) != 0",)
    assert decide("sqrt(norm2(grad) + m*gamma**2) >= 0", search=False).verdict.wherever == ()
    assert decide("sqrt(norm2(grad) - m) >= 0", search=False).verdict.wherever == ("norm2(grad) - m >= 0",)

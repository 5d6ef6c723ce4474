"""Claims of which a part has no value somewhere: one meaning in every judge.

The oracle is Kleene's logic at layers that can be worked out in the head: gamma = 0, grad = 0, m = 2 with eps = 0 (where the input
gradient vanishes), a negative beta under a root.
"""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from bntheory import LayerDomain, all_of, any_of, eq, gt, implies, le, lt, sqrt
from bntheory.claims.claim import Claim, Source
from bntheory.judges.algebra import judge as algebra
from bntheory.judges.decide import decide
from bntheory.judges.exact.certificate import certify
from bntheory.judges.exact.witness import Instance
from bntheory.judges.search import judge as search
from bntheory.testing import assert_claim

ZERO = {"eps": "zero"}
PROVED = {
    "a case that is left out": ("gamma != 0 or 1/gamma > 5", {}, ["gamma != 0"]),
    "true where the quotient is not": ("gamma == 0 or 1/gamma**2 > 0", {}, []),
    "a quotient of the claim's own": (
        "dot(grad, input_grad)/norm2(grad) <= gamma/sigma", {"gamma": "positive"}, ["norm2(grad) != 0"],
    ),
    "a vector over a scalar": ("input_grad/gamma == input_grad/gamma", {}, ["gamma != 0"]),
    "nested roots": ("sqrt(1 - sqrt(gamma)) <= 1", {}, ["gamma >= 0", "1 - sqrt(gamma) >= 0"]),
    "a negative power": ("gamma**-2 >= 0", {}, ["gamma != 0"]),
    "given by an assumption": ("1/gamma**2 > 0", {"assume": ["gamma != 0"]}, []),
    "given by the domain": ("1/gamma**2 > 0", {"gamma": "nonzero"}, []),
    "never zero": ("1/sigma > 0 and 1/(1 + norm2(grad)) > 0", {}, []),
    "a part that is nowhere defined": ("1/(m - m) > 0 or m >= 2", {}, []),
    "an undefined premise": ("not 1/gamma > 0 or 1/gamma > 0", {}, ["gamma != 0"]),
    "a norm under a root": ("sqrt(norm2(grad - y)) >= 0", {}, []),
}  # fmt: skip
REFUTED = {
    "false beside an undefined part": (
        "dot(grad, input_grad)**2/norm2(input_grad) <= norm2(grad)*gamma**2/sigma**2 and m >= 3", ZERO,
    ),
    "false beside an undefined root": ("sqrt(beta) >= 0 and beta >= 0", {}),
    "a defined part that fails": ("1/gamma > 0 or beta < 0", {"assume": ["1/beta > 1"]}),
    "the equality of what is undefined": ("1/gamma != 1/gamma", {}),
    "strictly positive and divided by": ("norm2(grad - 2*one) > 0 and 1/norm2(grad - 2*one) > 0", {}),
    "a hypothesis with a quotient": ("beta > 0", {"assume": ["gamma/gamma == 1"]}),
}  # fmt: skip
VACUOUS = {
    "nowhere defined": ("1/(m - m) <= 1", {}),
    "a hypothesis nowhere true": ("beta <= 3", {"assume": ["1/(gamma - gamma) == 1 or gamma < gamma"]}),
    "a root of what is negative": ("sqrt(-1 - norm2(grad)) >= 0", {}),
}


FORM = "dot(u, K(input_grad - 2*one))**2 <= dot(u, K(u))*dot(input_grad - 2*one, K(input_grad - 2*one))"
SHRINKS = "norm2(input_grad)*sigma**2 <= {c}*gamma**2*norm2(grad)"
CONJUNCTIONS = {
    "each proved": (f"{FORM} and {SHRINKS.format(c=1)} and dot(one, input_grad) == 0", "proved", []),
    "one is false": (f"{FORM} and {SHRINKS.format(c=0.9)} and dot(one, input_grad) == 0", "refuted", []),
    "below an alternative": (
        f"gamma > 0 or (dot(one, input_grad)/gamma == 0 and {FORM})", "proved", ["gamma != 0"],
    ),
    "one below it is false": (f"gamma > 0 or (1/gamma > 0 and {FORM})", "refuted", []),
    "denied alternatives": (f"not (norm2(input_grad) < 0 or not ({FORM}))", "proved", []),
    "nowhere defined together": (f"1/(m - 2)**2 > 0 and sqrt(2 - m) >= 0 and {FORM}", "vacuous", []),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", CONJUNCTIONS)
def test_a_conjunction_is_what_its_parts_are(name):
    text, status, wherever = CONJUNCTIONS[name]
    decided = decide(text, vectors=["u"], operators=["K:psd"], search=False)
    assert (decided.status.value, list(decided.verdict.wherever)) == (status, wherever), decided.render()


@pytest.mark.parametrize("name", PROVED)
def test_a_proof_says_where_it_holds(name):
    text, options, wherever = PROVED[name]
    decided = decide(text, search=False, **options)
    assert decided.verdict.status.value == "proved", decided.evidence.summary
    assert list(decided.verdict.wherever) == wherever
    data = json.loads(json.dumps(decided.as_json()))
    assert data["wherever"] == wherever
    assert [w["text"] for w in data["evidence"][0]["details"].get("wherever", [])] == wherever
    assert ("wherever" in decided.render()) == bool(wherever)
    assert search(decided.claim, "quick").finding in ("survives", "unknown")


@pytest.mark.parametrize("name", REFUTED)
def test_a_claim_is_refuted_where_it_is_false_whatever_else_is_undefined(name):
    text, options = REFUTED[name]
    decided = decide(text, search=False, **options)
    assert decided.verdict.status.value == "refuted", decided.evidence.summary
    instance = Instance.from_json(decided.witness["layer"])
    assert certify(decided.claim, instance).refuted
    assert search(decided.claim, "quick").finding == "refuted"


@pytest.mark.parametrize("name", VACUOUS)
def test_what_has_a_value_nowhere_is_vacuous(name):
    text, options = VACUOUS[name]
    assert decide(text, search=False, **options).verdict.status.value == "vacuous"


@pytest.mark.parametrize(
    ("text", "assume", "said"),
    [
        ("a/0 > 1", (), "The claim is defined nowhere: nothing gives it a value, so it says nothing."),
        ("sqrt(-1) == 0", (), "The claim is defined nowhere: nothing gives it a value, so it says nothing."),
        (
            "1/(a - 1) > 0",
            "a == 1",
            "Nothing satisfies the claim's hypotheses and gives it a value, so it says nothing.",
        ),
        ("a > 0", "m < 1", "Nothing satisfies the claim's hypotheses, so it says nothing."),
        ("1/a > 0", "m < 1 and gamma > 0", None),
    ],
)
def test_what_is_vacuous_says_for_want_of_what(text, assume, said):
    decided = decide(text, search=False, scalars="a", assume=assume)
    assert decided.status.value == "vacuous"
    assert said is None or decided.verdict.explanation == said
    assert "hypotheses" in decided.verdict.explanation or not assume
    with pytest.raises(ValueError, match="says nothing: no layer of the domain") as refused:
        assert_claim(text, domain=LayerDomain(scalars={"a": "any"}), assume=assume or None)
    assert ("its hypotheses cannot be met" in str(refused.value)) == (assume == "m < 1" and "/" not in text)


def test_the_condition_is_written_as_latex_too():
    (where,) = decide("gamma_grad/norm2(input_grad) == gamma_grad/norm2(input_grad)").evidence.details["wherever"]
    assert where == {"text": "norm2(input_grad) != 0", "latex": r"\left\|\nabla_y\hat L\right\|^2 \ne 0"}


HERE = Instance(y=(Fraction(1), Fraction(-1)), grad=(Fraction(0), Fraction(0)), gamma=Fraction(0), beta=Fraction(-1))
AT_ONE_LAYER = {
    "false and undefined": (lambda x: all_of(lt(1 / x.gamma, 0), gt(x.beta, 0)), None, True),
    "true or undefined": (lambda x: any_of(lt(1 / x.gamma, 0), lt(x.beta, 0)), None, False),
    "undefined or false": (lambda x: any_of(lt(sqrt(x.beta), 0), gt(x.beta, 0)), None, False),
    "undefined": (lambda x: le(1 / x.gamma, 0), None, False),
    "a vector": (lambda x: eq(x.grad / x.gamma, x.grad), None, False),
    "from an undefined premise": (lambda x: implies(eq(1 / x.gamma, 1), gt(x.beta, 0)), None, False),
    "an undefined hypothesis": (lambda x: gt(x.beta, 0), lambda x: [eq(1 / x.gamma, 1 / x.gamma)], False),
    "a true one beside it": (
        lambda x: gt(x.beta, 0), lambda x: [any_of(eq(1 / x.gamma, 1), lt(x.beta, 0))], True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AT_ONE_LAYER)
def test_one_layer(name):
    check, assume, refuted = AT_ONE_LAYER[name]
    claim = Claim("test.partial", "layer", Source("test", ""), "", check, LayerDomain(), assume)
    certificate = certify(claim, HERE)
    assert certificate.refuted is refuted
    if name == "undefined":
        assert certificate.why.startswith("undefined here")


def test_the_kind_of_leak_that_proved_a_false_claim():
    """norm2(input_grad) > 0 fails at m = 2; that the second part divides by it changes nothing."""

    def leak(layer):
        n = layer.norm2(layer.input_grad)
        return all_of(gt(n, 0), le(layer.dot(layer.grad, layer.input_grad) ** 2 / n, layer.norm2(layer.grad)))

    claim = Claim("test.leak", "layer", Source("test", ""), "", leak, LayerDomain(eps="zero"))
    assert algebra(claim).finding == "refuted"
    assert search(claim, "quick").finding == "refuted"

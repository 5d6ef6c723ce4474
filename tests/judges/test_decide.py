"""`decide`: a typed claim, a verdict, and evidence that replays from its own JSON alone."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from bntheory.claims.claim import Study
from bntheory.claims.typed.expression import claim_of_expression
from bntheory.cli import app
from bntheory.errors import UserError
from bntheory.judges.check import check
from bntheory.judges.decide import decide
from bntheory.judges.exact.certificate import certify
from bntheory.judges.exact.witness import load_witness
from bntheory.judges.verdict import Status

CASES = {
    "never longer": ("norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)", {"eps": "zero"}, Status.PROVED),
    "a little shorter": ("norm2(input_grad) <= 0.999*gamma**2/sigma**2 * norm2(grad)", {"eps": "zero"}, Status.REFUTED),
    "no scale part": ("dot(y, input_grad) == 0", {"eps": "zero"}, Status.PROVED),
    "some with eps": ("dot(y, input_grad) == 0", {"eps": "positive"}, Status.REFUTED),
    "no shift part": ("dot(one, input_grad) == 0 and input_hess(one) == 0", {}, Status.PROVED),
    "own parameters": ("dot(one, grad) == beta_grad and dot(y_hat, grad) == gamma_grad", {}, Status.PROVED),
    "with a free scalar": ("a*norm2(y_hat) <= m", {"scalars": ["a:unit"]}, Status.PROVED),
    "any scalar": ("a*norm2(y_hat) <= m", {"scalars": ["a"]}, Status.REFUTED),
    "a free operator": ("dot(K(s), y) == dot(s, K(y))", {"operators": ["K"], "vectors": ["s"]}, Status.PROVED),
    "psd": ("dot(s, K(s)) >= 0", {"operators": ["K:psd"], "vectors": ["s"]}, Status.PROVED),
    "one example": ("dot(e@case, y_hat)**2 <= m - 1", {"vectors": ["e@case"]}, Status.PROVED),
    "one example's share": (
        "dot(e@case, input_grad) <= gamma/sigma*sqrt(norm2(grad))",
        {"gamma": "positive", "vectors": ["e@case"]},
        Status.PROVED,
    ),
    "a ratio that is met somewhere": (
        "norm2(input_grad)/norm2(grad) != 0.9*gamma**2/eps",
        {"gamma": "positive"},
        Status.REFUTED,
    ),
    "met where eps is the variance": (
        "norm2(input_grad)/norm2(grad) != 1/2*gamma**2/var",
        {"gamma": "nonzero", "eps": "positive"},
        Status.REFUTED,
    ),
    "assumed": ("norm2(input_grad) > 0", {"eps": "zero", "assume": ["m > 2", "gamma != 0"]}, Status.REFUTED),
    "impossible": ("m <= 1", {"assume": ["m < 2"]}, Status.VACUOUS),
    "two": ("input_grad == 0", {"eps": "zero", "assume": ["m == 2"]}, Status.PROVED),
    "least batch": ("m >= 4", {"min_m": 4}, Status.PROVED),
    "identity Hessian": ("hess(grad) == grad", {"hessian": "identity"}, Status.PROVED),
    "other normaliser": ("dot(one, input_grad) == 0", {"normaliser": "rms", "eps": "zero"}, Status.REFUTED),
    "undefined": ("1/(m - m) <= 1", {}, Status.VACUOUS),
    "hundreds of entries": ("gamma <= 1", {"assume": ["m >= 300"]}, Status.REFUTED),
}


@pytest.mark.parametrize(("text", "options", "status"), CASES.values(), ids=CASES)
def test_decisions(text, options, status, tmp_path):
    result = decide(text, **options)
    assert result.verdict.status is status
    shown = result.render()
    assert shown.startswith(status.value.upper())
    assert text in shown
    data = json.loads(json.dumps(result.as_json()))
    assert {"id", "kind", "status", "evidence", "expression", "assume"} <= set(data)
    assert (result.witness is not None) == (status is Status.REFUTED)
    if result.witness:
        path = tmp_path / "witness.json"
        path.write_text(json.dumps(result.witness))
        witness = load_witness(path)
        reference = witness.reference
        claim = claim_of_expression(reference.expression, reference.assume, witness.domain)
        assert certify(claim, witness.instance).refuted
        assert "fails" in shown


@pytest.mark.parametrize(
    ("text", "least"),
    [("sqrt(m + 1) - sqrt(m) > 0.05", 100), ("norm2(y_hat) <= 400", 401), ("gamma > 1 or m < 150 or beta < 1", 150)],
)
def test_the_counterexample_is_the_smallest_batch(text, least):
    """Found by hand: 1/0.05 = sqrt(m + 1) + sqrt(m) just below m = 100; ||y_hat||^2 <= m."""
    witness = decide(text).witness
    assert witness is not None
    assert witness["layer"]["m"] == least


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": "small"}, "eps is 'small'"),
        ({"gamma": "big"}, "gamma is 'big'"),
        ({"hessian": "round"}, "hessian is 'round'"),
        ({"min_m": 1}, "min_m is 1"),
        ({"normaliser": "linf"}, "normaliser is 'linf' and eps is 'any'"),
        ({"smoothness": "1/0"}, "smoothness is '1/0'"),
        ({"scalars": ["a:large"]}, "'large' is not one of"),
        ({"scalars": ["a", "a:positive"]}, "declared twice"),
        ({"scalars": ["a b"]}, "a name is a letter"),
        ({"scalars": ["__a"]}, "a name is a letter"),
        ({"vectors": ["a"], "scalars": ["a"]}, "declared twice"),
        ({"vectors": ["grad"]}, "word of the vocabulary"),
        ({"assume": ["m <"]}, "column 4"),
        ({"assume": None}, "assume has None, a NoneType"),
        ({"vectors": [3]}, "vectors has 3, a int"),
    ],
    ids=str,
)
def test_bad_options_are_user_errors(options, message):
    with pytest.raises(UserError, match=message):
        decide("m <= 1", **options)


EXPLOSIVE = {
    "powers of sums": "((m + gamma + beta + mu + sigma + eps)**16)**16 <= 1",
    "nested powers": "((((m**16)**16)**16)**16)**16 <= 1",
    "big numbers": "((((9999**16)**16)**16)**16)**16 <= m",
    "norms of norms": "(norm2(input_hess(input_hess(input_grad))) + norm2(hess(hess(hess(grad)))))**8 <= 1",
    "roots of roots": "sqrt(sqrt(sqrt(sqrt(norm2(grad))))) + sqrt(norm2(hess(grad)) + sqrt(m)) <= sqrt(m*sigma + norm2(y))",
    "many quotients": " + ".join(f"1/(m + {k}*norm2(grad))" for k in range(1, 25)) + " <= 30",
}


@pytest.mark.long
@pytest.mark.parametrize("text", EXPLOSIVE.values(), ids=EXPLOSIVE)
def test_explosive_expressions_end(text):
    """Whatever is too large is unknown or refused; none takes the machine down."""
    if text.startswith("((((9999"):
        with pytest.raises(UserError, match="4200 digits"):
            decide(text)
    else:
        decide(text, eps="zero", milliseconds=300, seconds=5, search=False)


@pytest.mark.long
def test_start_up_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys; from bntheory.judges.decide import decide; assert 'sympy' not in sys.modules and 'z3' not in sys.modules;"
        "decide('dot(one, input_grad) == 0');"
        "bad = {'torch', 'matplotlib', 'scipy'} & set(sys.modules); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_routes_that_disagree_are_shown_as_an_internal_error(monkeypatch):
    """In `decide` and in `check`, and no other judge's evidence hides it."""
    from bntheory.judges.check import judge_claim
    from bntheory.layer.symbolic import SymbolicLayer

    monkeypatch.setattr(SymbolicLayer, "input_grad", property(lambda self: self.grad))
    text = "norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)"
    result = decide(text, eps="zero")
    assert result.verdict.status is Status.DISAGREEMENT
    assert "internal error" in result.render()
    verdict = judge_claim(result.claim, Study("quick"), judges=("algebra", "search"))
    assert verdict.status is Status.DISAGREEMENT


@pytest.mark.parametrize("text", ["centre(centre(grad)) == centre(grad)", "dot(one, centre(grad)) == 0"])
def test_the_difference_of_two_equal_sides_is_shown_as_zero(text):
    form = decide(text).evidence.details["calculus"]["relations"][0]
    assert (form["how"], form["difference"], form["difference_latex"]) == ("identity", "0", "0")


def test_free_names_are_set_as_they_are_spelt():
    relations = decide("dot(u, width) <= 1", vectors=["u", "width"]).evidence.details["calculus"]["relations"]
    assert r"\langle u, \mathit{width} \rangle" in relations[0]["difference_latex"]


def test_one_text_is_one_and_ranges_may_be_a_mapping():
    """a >= 0 is true of a positive a alone; a text is no list of its letters, and a mapping no list of its names."""
    for scalars in ("a:positive", ["a:positive"], {"a": "positive"}):
        assert decide("a >= 0", scalars=scalars).status is Status.PROVED
    assert decide("norm2(uv) >= 0", vectors="uv").status is Status.PROVED
    assert decide("dot(y, K(y)) >= 0", operators={"K": "psd"}).status is Status.PROVED
    assert decide("gamma <= 1", assume="gamma <= 0").status is Status.PROVED


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("norm2(z@2 - z) <= gamma**2/(sigma*sigma@2)*norm2(y@2 - y)/3", {"eps": "zero"}),
        ("rise <= dot(grad, z@2 - z) + l/2*norm2(z@2 - z)", {"smoothness": "l", "scalars": {"l": "positive"}}),
        ("dot(y, input_cross(v)) == 0", {"vectors": ["v"], "eps": "zero"}),
        ("dot(grad@b, cross(grad)) <= 1", {"gamma": "positive"}),
        ("max_eig(K) <= trace(hess)", {"operators": {"K": "psd"}}),
        ("dot(u_1@case, grad) <= a_b", {"vectors": "u_1@case", "scalars": "a_b", "assume": "a_b > 1"}),
    ],
)
def test_the_command_of_a_verdict_decides_it_again_and_its_difference_is_plain(text, options):
    """A paragraph for a review prints the command; it is typed here as a reader would."""
    decided = decide(text, search=False, **options)
    command = shlex.split(decided.command())
    again = CliRunner().invoke(app, [*command[1:], "--json"])
    assert again.exit_code == 0, again.output
    found = json.loads(again.output)
    assert (found["status"], found["domain"]) == (decided.status.value, decided.as_json()["domain"])
    assert not any(word in decided.render() for word in ("\\", "mathrm", "operatorname"))


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"milliseconds": "x"}, "milliseconds is 'x'"),
        ({"milliseconds": 0}, "milliseconds is 0"),
        ({"milliseconds": 1.5}, "milliseconds is 1.5"),
        ({"milliseconds": None}, "milliseconds is None"),
        ({"seconds": -1}, "seconds is -1"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seconds": True}, "seconds is True"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"seed": 1.5}, "seed is 1.5"),
    ],
)
def test_a_limit_that_is_none_is_refused(limit, said):
    with pytest.raises(UserError, match=said):
        decide("gamma > 0", **limit)


def test_a_limit_may_be_a_fraction_of_a_second():
    assert decide("gamma**2 >= 0", milliseconds=500, seconds=2.5).status is Status.PROVED


@pytest.mark.parametrize(
    ("judges", "said"),
    [
        ("algebra", r"judges is 'algebra'; give a tuple of their names, as judges=\('algebra',\)"),
        ("a", r"judges is 'a'; give a tuple"),
        ((), r"judges is \(\); give a tuple"),
        (None, r"judges is None; give a tuple"),
        (("algebra", "oracle"), "judge 'oracle' is not known; the judges are algebra"),
    ],
)
def test_what_are_no_judges_is_refused(judges, said):
    with pytest.raises(UserError, match=said):
        check("santurkar2018.theorem-4.1.neurips", judges=judges)

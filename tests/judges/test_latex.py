"""Verdicts as paragraphs: the mathematics is what was decided, braces close, nothing of LaTeX's alphabet is left bare, and it compiles."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from typer.testing import CliRunner

import bntheory
from bntheory.claims.typed.latex import _LETTERS, latex_of, legend
from bntheory.cli import app
from bntheory.judges.decide import decide
from bntheory.judges.latex import failures, latex_paragraph, latex_witness, told_apart
from bntheory.judges.verdict import verdict_of
from bntheory.layer.domain import LayerDomain, Normaliser
from bntheory.layer.family import make_layer
from bntheory.layer.words import SECOND, UNIT_B, WORDS

PREAMBLE = "\\documentclass{article}\n\\usepackage{amsmath,amssymb}\n\\begin{document}\n"

#: written by hand from the definitions of the words
BY_HAND = {
    "gamma**2/sigma**2 <= 0.1": r"\frac{\gamma^{2}}{\sigma^{2}} \le \tfrac{1}{10}",
    "norm2(y - mu*one) == m*var": r"\left\|y - \mu\,\mathbf{1}\right\|^2 = m\,v",
    "-(gamma + 1)**2 < 0": r"-\left(\gamma + 1\right)^{2} < 0",
    "gamma - (beta - 1) >= 2*-eps": r"\gamma - \left(\beta - 1\right) \ge 2\,-\varepsilon",
    "dot(u, hess(v)) != sqrt(norm2(u))": r"\left\langle u, H\,v\right\rangle \ne \left\|u\right\|",
    "max_eig(hess) <= trace(input_hess)": r"\lambda_{\max}(H) \le \operatorname{tr} \hat H",
    "dot(e@case, y@2) <= 3": r"\left\langle e_{\mathrm{e}}, {y}^{(2)}\right\rangle \le 3",
}


@pytest.mark.parametrize("expression", BY_HAND)
def test_the_mathematics_is_written_as_a_hand_would(expression: str) -> None:
    found = latex_of(expression).replace(r" \cdot ", r"\,")
    assert found == BY_HAND[expression]


def test_different_claims_are_written_differently() -> None:
    pairs = [
        ("gamma*(beta + 1) <= 0", "gamma*beta + 1 <= 0"),
        ("(gamma/beta)/eps <= 0", "gamma/(beta/eps) <= 0"),
        ("not (gamma > 0 and beta > 0)", "not (gamma > 0) and beta > 0"),
        ("gamma > 0 or beta > 0 and eps > 0", "(gamma > 0 or beta > 0) and eps > 0"),
        ("(-gamma)**2 > 0", "-gamma**2 > 0"),
        ("1/2*gamma > 0", "1/(2*gamma) > 0"),
    ]
    for left, right in pairs:
        assert latex_of(left) != latex_of(right), (left, right)


def test_the_legend_names_what_occurs() -> None:
    assert legend("norm2(input_grad) <= norm2(grad)") == [
        "$g$ is the gradient of the loss at the layer's output",
        r"$\nabla_y\hat L$ is the gradient through the layer",
    ]


#: what every reader knows, or reads off the formula
PLAIN = ("gamma", "beta", "eps", "dot", "norm2", "trace", "max_eig", "min_eig", "sqrt")


@pytest.mark.parametrize("word", [w for w in (*WORDS, *SECOND, *UNIT_B) if w not in PLAIN])
def test_every_letter_of_ours_is_explained(word: str) -> None:
    told = " and ".join(legend(f"{word} <= 1", LayerDomain()))
    head, _, mark = word.partition("@")
    if head in _LETTERS:
        assert head in PLAIN or _LETTERS[head] in told
    assert not mark or "${}" + {"2": "^{(2)}", "b": "_{b}"}[mark] + "$ is for" in told
    assert told


def test_the_legend_of_what_stands_beside_the_layer() -> None:
    assert legend("rise <= gamma_grad*jac_norm") == [
        r"$\partial_\gamma\hat L$ is the derivative of the loss by the scale $\gamma$",
        r"$\|J\|$ is the largest singular value of the layer's Jacobian",
        r"$\Delta L$ is the loss at the second batch minus the loss at the first",
        r"the mark ${}^{(2)}$ is for a second batch through the same layer, with the same loss",
    ]
    assert legend("dot(e@case, y_1) > 0", LayerDomain(vectors=("e@case", "y_1"))) == [
        r"$e_{\mathrm{e}}$ is the basis vector of one example"
    ]
    assert r"$\Delta L$ is the loss at the second" in decide("rise <= 5").latex()


#: worked out by hand from what each layer subtracts and divides by
SIGMA = {
    "batch": r"$\sigma = \sqrt{v + \varepsilon}$ with the biased variance $v$",
    "l2": r"$\sigma = \sqrt{v + \varepsilon}$ with the biased variance $v$",
    "unbiased": r"$\sigma = \sqrt{\tfrac{m}{m-1}\,v + \varepsilon}$ with the biased variance $v$",
    "rms": r"$\sigma = \sqrt{v + \varepsilon}$ with the mean square $v$",
    "frozen": r"$\sigma = \sqrt{v + \varepsilon}$ with the biased variance $v$, held constant",
    "mean-only": r"$\sigma = 1$",
    "l1": r"$\sigma = \tfrac1m\sum_i|y_i-\mu| + \varepsilon$",
    "linf": r"$\sigma = \max_i|y_i-\mu|$",
}


@pytest.mark.parametrize("normaliser", get_args(Normaliser))
def test_the_legend_is_of_the_normaliser(normaliser: Any) -> None:
    told = legend("sigma**2 == var", LayerDomain(normaliser=normaliser, eps="zero"))
    assert SIGMA[normaliser] in told
    variance = "the mean square" if normaliser == "rms" else "the biased variance"
    assert f"$v$ is {variance} of the batch" in told


@pytest.mark.parametrize("normaliser", get_args(Normaliser))
def test_sigma_is_what_the_legend_says(normaliser: Any) -> None:
    y = np.array([[3.0, -1.0, 0.5, 7.0, 0.25]])
    layer = make_layer(normaliser, y=y, eps=np.array([[0.0 if normaliser == "linf" else 0.5]]))
    formula = SIGMA[normaliser].split("$")[1].removeprefix(r"\sigma = ")
    mean = y.mean()
    v = (y**2).mean() if normaliser == "rms" else ((y - mean) ** 2).mean()
    meant = {
        r"\sqrt{v + \varepsilon}": np.sqrt(v + 0.5),
        r"\sqrt{\tfrac{m}{m-1}\,v + \varepsilon}": np.sqrt(5 / 4 * v + 0.5),
        "1": 1.0,
        r"\tfrac1m\sum_i|y_i-\mu| + \varepsilon": abs(y - mean).mean() + 0.5,
        r"\max_i|y_i-\mu|": abs(y - mean).max(),
    }[formula]
    assert float(layer.sigma[0, 0]) == pytest.approx(meant)
    assert float(layer.var[0, 0]) == pytest.approx(v)


def test_what_explains_a_letter_is_explained() -> None:
    assert legend("norm2(y_hat) <= m", LayerDomain(normaliser="unbiased")) == [
        "$m$ is the batch size",
        r"$\mu$ is the mean of the batch",
        SIGMA["unbiased"],
        r"$\hat y = (y-\mu)/\sigma$",
    ]
    assert legend("y_hat == z", LayerDomain(normaliser="rms"))[-2] == r"$\hat y = y/\sigma$"


#: a claim, what is free in it, how it is written, and what its counterexample must say of a letter
TWO_MEANINGS = [
    ("dot(g, grad) >= 0", {"vectors": ["g"]}, r"\left\langle g', g\right\rangle \ge 0", "$g' = "),
    ("H(u) == hess(u)", {"vectors": ["u"], "operators": ["H"]}, r"H'\,u = H\,u", "$H' = "),
    ("norm2(v) <= m*var", {"vectors": ["v"]}, r"\left\|v\right\|^2 \le m\,v'", "$v = "),
    ("norm2(v) <= sigma", {"vectors": ["v"]}, r"\left\|v\right\|^2 \le \sigma", r"\sigma = \sqrt{v' + \varepsilon}"),
    ("J*jac_norm <= -1", {"scalars": ["J:positive"]}, r"J\,\|J'\| \le -1", "$J = "),
    ("norm2(jac(J)) < 0", {"vectors": ["J"]}, r"\left\|J'\,J\right\|^2 < 0", "$J'$ is the layer's Jacobian"),
    ("q*norm2(dual) < 0", {"scalars": ["q:positive"]}, r"q\,\left\|q'\right\|^2 < 0", r"$q' = \hat y$"),
    ("norm2(grad) <= g", {"scalars": ["g:positive"], "smoothness": "g"}, r"\left\|g\right\|^2 \le g'", r"\|H\| \le g'$"),
    ("norm2(grad) <= g", {"scalars": ["g:positive"]}, r"\left\|g\right\|^2 \le g'", "$g'$ positive"),
    ("norm2(centre(C(u))) < 0", {"operators": ["C"], "vectors": ["u"]}, r"\left\|C'\,C\,u\right\|^2 < 0", "$C'$ is the map"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "options", "written", "said"), TWO_MEANINGS)
def test_a_letter_means_one_thing(expression: str, options: dict[str, Any], written: str, said: str) -> None:
    told = bntheory.decide(expression, **options).latex()
    assert f"\n  {written}\n" in told
    assert said in told
    assert len(re.findall(r"\$(\S+) = \\left", told)) == len(set(re.findall(r"\$(\S+) = \\left", told)))


@pytest.mark.parametrize(
    ("expression", "said"),
    [("rise <= 5", r"$\Delta L = "), ("dot(grad@b, cross(grad)) <= gamma@b", r"$\text{cross} = ")],
)
def test_words_of_a_second_batch_or_unit_are_no_free_names(expression: str, said: str) -> None:
    told = decide(expression).latex()
    assert said in told
    assert not re.search("'(?!s )", told)


@pytest.mark.parametrize(
    ("expression", "options", "condition"),
    [
        ("1/(2*gamma + eps) == 1/(eps + 2*gamma)", {}, r"$\gamma \cdot 2 + \varepsilon \ne 0$"),
        ("1/(y_s*gamma + g) == 1/(g + gamma*y_s)", {"scalars": ["y_s", "g"]}, r"$\mathit{y\_s}\,\gamma + g' \ne 0$"),
        ("1/(g - eps) == 1/(g - eps) + 0*dot(y, grad)", {"scalars": "g"}, r"$g' - \varepsilon \ne 0$"),
        ("sqrt(gamma) >= 0", {}, r"$\gamma \ge 0$"),
    ],
)
def test_conditions_are_formulas_and_each_is_said_once(expression, options, condition) -> None:
    told = decide(expression, **options).latex()
    assert f"It holds wherever {condition}.\n" in told
    assert re.search(rf"Proof: for every \$m \\ge 2\$ wherever {re.escape(condition)}: ", told)


def test_a_bound_on_the_hessian_is_one_formula() -> None:
    assert r"$\|H\| \le 0.25$" in decide("gamma > gamma", smoothness="0.25").latex()
    assert r"$\|H\| \le \mathit{b\_x}$" in decide("gamma > gamma", smoothness="b_x", scalars="b_x:positive").latex()


#: a claim, what is free in it, and its right side minus its left
DIFFERENCES = [
    ("rise <= a_b", {"scalars": "a_b"}, r"\mathit{a\_b} - \Delta L"),
    ("gamma@b <= h", {"scalars": "h"}, r"- {\gamma}_{b} + h"),
    ("dot(u_1, K_1(g)) <= -1", {"vectors": ["u_1", "g"], "operators": "K_1"},
     r"-1 - \langle g', \mathit{K\_1} \mathit{u\_1} \rangle"),
    ("dot(y@2, e@case) <= -1", {"vectors": "e@case"}, r"-1 - \langle e_{\mathrm{e}}, {y}^{(2)} \rangle"),
    ("trace(K_1) <= -1", {"operators": "K_1"}, r"-1 - \operatorname{tr} \mathit{K\_1}"),
    ("a_b*u_1 == 0", {"scalars": "a_b", "vectors": "u_1"}, r"\left(- \mathit{a\_b}\right) \mathit{u\_1}"),
    ("var <= v", {"scalars": "v", "normaliser": "mean-only"}, "v - v'"),
    ("trace(hess) <= h", {"scalars": "h", "hessian": "isotropic"}, "h - h' m"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "options", "difference"), DIFFERENCES)
def test_the_difference_has_the_letters_of_the_claim(expression, options, difference) -> None:
    details = decide(expression, search=False, **options).evidence.details
    (form,) = details["calculus"]["relations"]

    def terms(text: str) -> list[str]:
        return sorted(text.replace(" - ", " + - ").replace("- ", "-").split(" + "))

    assert terms(form["difference_latex"]) == terms(difference)


def test_an_assumption_and_a_replayed_layer_have_the_same_letters(tmp_path) -> None:
    done = bntheory.decide("norm2(g) <= 1", vectors=["g"], assume=["dot(g, grad) == 0"])
    assert r"where $\left\langle g', g\right\rangle = 0$" in done.latex()
    (witness,) = (e.details["witness"] for e in done.verdict.evidence if "witness" in e.details)
    assert "$g' = " in latex_witness(witness)


@pytest.fixture(scope="module")
def paragraphs() -> dict[str, str]:
    proved = bntheory.decide("norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)", eps="zero")
    refuted = bntheory.decide(
        "norm2(input_grad) <= norm2(grad) and 10000 > m", eps="positive", vectors=["a_b"], assume=["norm2(a_b) > 0"]
    )
    undefined = bntheory.decide("gamma != 0 or 1/gamma > 5")
    return {"proved": proved.latex(), "refuted": refuted.latex(), "wherever": undefined.latex()}


def test_a_paragraph_says_what_was_found(paragraphs: dict[str, str]) -> None:
    assert r"\emph{Proved.}" in paragraphs["proved"]
    assert r"\frac{\gamma^{2}" in paragraphs["proved"]
    assert r"\emph{Refuted.}" in paragraphs["refuted"]
    assert re.search(r"would need \$[\d.e-]+ \\le [\d.e-]+\$, which is false", paragraphs["refuted"])
    assert "wherever" in paragraphs["wherever"]
    for text in paragraphs.values():
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        prose = re.sub(r"\\\[.*?\\\]|\$.*?\$|\\\(.*?\\\)", "", text, flags=re.S)
        prose = re.sub(r"\\texttt\{.*?\}\.\)", lambda typed: re.sub("[<>|]", "", typed[0]), prose)  # its font has them
        assert not re.search(r"(?<!\\)[_^&%#<>]", prose), prose


def test_the_counterexamples_arithmetic_is_right(paragraphs: dict[str, str]) -> None:
    left, right = re.search(r"would need \$([\d.e-]+) \\le ([\d.e-]+)\$", paragraphs["refuted"]).groups()  # type: ignore[union-attr]
    assert float(left) > float(right)


@pytest.mark.long
def test_the_command_line_prints_them(tmp_path) -> None:
    run = CliRunner().invoke
    done = run(
        app,
        [
            "decide",
            "norm2(input_grad) <= norm2(grad)",
            "--eps",
            "positive",
            "--latex",
            "--witness",
            str(tmp_path / "w.json"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert done.output.startswith(r"\paragraph{Claim.}")
    again = run(app, ["replay", str(tmp_path / "w.json"), "--latex"])
    assert again.exit_code == 0, again.output
    assert again.output.startswith("Counterexample: $m = ")
    assert json.loads((tmp_path / "w.json").read_text())["layer"]["m"] == 2
    shown = run(app, ["show", "santurkar2018.theorem-4.1.arxiv", "--latex"])
    assert shown.exit_code == 0, shown.output
    assert r"\emph{Proved.}" in shown.output
    cited = run(app, ["show", "santurkar2018.theorem-4.1.arxiv", "--bibtex"])
    assert cited.output.startswith("@misc{bntheory-santurkar2018-theorem-4-1-arxiv,")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_they_compile(paragraphs: dict[str, str], tmp_path) -> None:
    formulas = "".join(f"\\[ {latex_of(e)} \\]\n" for e in BY_HAND)
    (tmp_path / "a.tex").write_text(
        PREAMBLE + formulas + "\n".join(paragraphs.values()) + "\\end{document}\n", encoding="utf-8"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize(
    ("text", "options", "shown"),
    [
        ("gamma != 1 and gamma < beta", {}, [("1", "!=", "1"), ("1", "<", "1")]),
        ("gamma == 1", {}, [("2", "=", "1")]),
        ("norm2(input_grad)/norm2(grad) != 0.9*gamma**2/eps", {}, [("9/10", "!=", "9/10")]),
    ],
)
def test_what_fails_is_shown_once_and_as_it_was_stated(text, options, shown):
    """A denied equality is two strict relations inside, of which a reader sees one sign."""
    answer = decide(text, **options)
    assert failures(answer.witness["certificate"]) == [(one,) for one in shown]
    assert answer.latex().count("would need") == len(shown)


#: a claim, what its counterexample fails in the terminal (None: one number is anybody's), and how many needs the paragraph has
JOINED = [
    ("(gamma > 100 or m >= 2) and beta > 5", {}, r"5 < \S+"),
    ("min_eig(hess) > -2*l and gamma > 0", {"scalars": ["l:positive"], "smoothness": "l"}, r"0 < \S+"),
    ("gamma > 5 or m == 7", {}, r"5 < \S+ or \S+ == 7"),
    ("gamma > 5 or (m == 7 and m >= 2)", {}, r"5 < \S+ or \S+ == 7"),
    ("not (gamma == beta) or m == 7", {}, r"(\S+) != \1 or \S+ == 7"),
]


@pytest.mark.parametrize(("text", "options", "fails"), JOINED)
def test_what_is_false_and_does_not_matter_is_not_called_a_failure(text, options, fails) -> None:
    answer = decide(text, **options)
    (line,) = (line for line in answer.render().splitlines() if line.startswith("  fails "))
    assert re.fullmatch(r"fails +" + fails, line.strip())
    told = answer.latex()
    assert told.count("would need") == 1
    assert (", and both are false." in told) == (" or " in fails) == (", which is false." not in told)


def test_a_certificate_of_an_older_file_lists_what_is_false() -> None:
    certificate = dict(decide("(gamma > 100 or m >= 2) and beta > 5").witness["certificate"])
    assert certificate.pop("structure") == {"and": [{"or": [0, 1]}, 2]}
    assert len(failures(certificate)) == 2
    told = latex_witness({"layer": {}, "certificate": certificate})
    assert told.count("which is false.") == 2


def test_a_disjunction_of_conjunctions_needs_one_of_every_choice() -> None:
    relations = [{"op": "le", "left": f"{i + 1}", "right": "0", "holds": False} for i in range(12)]
    pair = {"or": [{"and": [0, 1]}, {"and": [2, 3]}]}
    assert [[r[0] for r in need] for need in failures({"relations": relations, "structure": pair})] == [
        ["1", "3"], ["1", "4"], ["2", "3"], ["2", "4"],
    ]  # fmt: skip
    many = {"or": [{"and": [0, 1, 2, 3]}, {"and": [4, 5, 6, 7]}, {"and": [8, 9, 10, 11]}]}
    assert [[r[0] for r in need] for need in failures({"relations": relations, "structure": many})] == [["1", "5", "9"]]
    holds = [{**relations[0], "holds": True}, relations[1]]
    assert failures({"relations": holds, "structure": {"or": [0, 1]}}) == []


def test_a_counterexample_has_every_number_that_it_needs() -> None:
    """A reader has nothing else: what the paragraph says, put into the claim by hand, breaks it."""
    free = {"vectors": "u_1", "scalars": "a_b", "operators": "K"}
    found = bntheory.decide("dot(u_1, K(u_1)) <= a_b", assume="a_b >= 1", **free).latex()
    found = re.sub(r"\\tfrac\{(\d+)\}\{(\d+)\}", r"\1/\2", found)
    line = next(line for line in found.splitlines() if line.startswith("Counterexample: "))
    row = r"\\left\((.*?)\\right\)"
    (u,), (matrix,) = re.findall(rf"\$\\mathit{{u\\_1}} = {row}\$", line), re.findall(r"\$K = (.*?)\$", line)
    entries = [Fraction(x) for x in u.split(", ")]
    rows = [[Fraction(x) for x in r.split(", ")] for r in re.findall(r"\\left\(([^(]*?)\\right\)", matrix)]
    bound = Fraction(re.search(r"\$\\mathit{a\\_b} = (.*?)\$", line)[1])  # type: ignore[index]
    assert (
        sum(a * x * b for a, row in zip(entries, rows, strict=True) for x, b in zip(row, entries, strict=True)) > bound
    )
    second = bntheory.decide("norm2(y@2) <= 1", eps="zero").latex()
    assert re.search(r"\$\{y\}\^\{\(2\)\} = \\left\(", second)
    unit = bntheory.decide("dot(grad@b, cross(grad)) <= gamma@b").latex()
    assert re.search(r"\$\{\\gamma\}_\{b\} = -?\d.*\$\\text\{cross\} = ", unit)


def test_a_sentence_is_text_whose_lines_break_and_a_formula_stands_alone() -> None:
    """Set as one formula, a sentence runs off the page, and words without a command run together."""
    for claim in bntheory.registry():
        words = re.sub(r"\\text\{|\}", "", claim.statement)
        told = latex_paragraph(verdict_of(claim, []))
        shown = re.findall(r"\\\[\n(.*?)\n\\\]|\\begin\{quote\}\n(.*?)\n\\end\{quote\}", told, re.S)
        ((formula, sentence),) = shown
        assert not re.search(r"\\text\{[^{}]{60}", formula), claim.id
        assert "\\" in formula or not re.search("[a-z]{2} [a-z]{2}", formula), claim.id
        if sentence:  # every word of the statement is there, in its order
            assert re.findall("[a-z]{3,}", sentence.replace(r"\text", "")) == re.findall("[a-z]{3,}", words), claim.id
            assert sentence.count("$") % 2 == 0
    rank = latex_paragraph(verdict_of(bntheory.registry()["daneshmand2020.rank"], []))
    assert r"collapses to one; with BN it is $ \Omega(\sqrt{\text{width}}) $ at any depth" in rank


def test_long_names_may_break_and_options_may_not() -> None:
    told = latex_paragraph(verdict_of(bntheory.registry()["santurkar2018.lp-normalisation.gradient-bound.l1"], []))
    name = r"santurkar2018.\allowbreak{}lp-\allowbreak{}normalisation.\allowbreak{}gradient-\allowbreak{}bound.\allowbreak{}l1"
    assert f"bntheory check {name}" in told
    assert "allowbreak" not in bntheory.decide("norm2(y) <= 1", min_m=3, eps="zero").latex()


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("eps > 1e-300", r"\varepsilon > \tfrac{1}{10^{300}}"),
        ("m*3e8 <= 100000", r"m\,\left(3 \cdot 10^{8}\right) \le 100000"),
        ("-1e9 < 1e7**2", r"-10^{9} < \left(10^{7}\right)^{2}"),
        ("0 < 0.25", r"0 < \tfrac{1}{4}"),
    ],
)
def test_long_numbers_are_powers_of_ten(typed: str, written: str) -> None:
    assert latex_of(typed) == written


@pytest.mark.parametrize(
    ("left", "right", "op", "margin", "shown"),
    [
        ("2.0000000000000000", "[2.0000000000000000 +/- 3e-21]", "le", -5e-31, ("2", "2 - 2e-30")),
        ("[-4.0 +/- 1e-9]", "-4.0", "lt", -1e-12, ("-4", "-4 - 8e-12")),
        ("2.0000000000000000", "[1.9999999999999999 +/- 3e-21]", "le", -2.5e-17, None),
        ("[2.0 +/- 3e-21]", "2.0", "eq", -5e-31, None),
        ("3.0", "2.0", "le", -0.2, ("3", "2")),
    ],
)
def test_what_fails_by_little_is_seen_to_fail(left, right, op, margin, shown):
    found = told_apart({"left": left, "right": right, "op": op, "margin": margin})
    assert found == (shown or (left, right))

"""A verdict as a paragraph for a review: statement, verdict, proof or counterexample with its arithmetic, and how to replay it.

It compiles with amsmath alone. Every number comes from the evidence; nothing here is typed in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

from bntheory.claims.claim import Claim
from bntheory.errors import UserError
from bntheory.evidence.closure import own_version
from bntheory.evidence.counts import entries, listed
from bntheory.judges.failing import needs


class Reason(Protocol):
    """One judge's answer, as far as it is told (:class:`bntheory.judges.verdict.Evidence`)."""

    @property
    def judge(self) -> str: ...
    @property
    def finding(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def details(self) -> Mapping[str, Any]: ...


class Told(Protocol):
    """A verdict, as far as it is told (:class:`bntheory.judges.verdict.Verdict`)."""

    @property
    def claim(self) -> Claim: ...
    @property
    def status(self) -> Enum: ...
    @property
    def evidence(self) -> Sequence[Reason]: ...
    @property
    def explanation(self) -> str: ...
    @property
    def wherever(self) -> Sequence[str]: ...


_SIGN = {"le": "<=", "lt": "<", "eq": "="}
LONGEST_SHOWN = 400  #: characters of a difference of two sides; a longer one fits no line and nobody reads it


def latex_paragraph(verdict: Told, *, expression: str = "", assume: Sequence[str] = (), command: str = "") -> str:
    """The paragraph of a verdict; of a typed claim with its ``expression`` and what it assumes, of a registered one as it is printed.

    command: what a reader may run to see it again.
    """
    claim = verdict.claim
    letters: list[str] = []
    assumed: list[str] = []
    statement, name = claim.statement, f" {_words(claim.id)}"
    names: dict[str, str] = {}
    if expression:
        from bntheory.claims.typed.latex import free_names, latex_of, legend, primed

        names = primed(free_names(claim.domain)) if claim.domain is not None else {}
        statement, name = latex_of(expression, names), ""
        letters = legend(" ".join([expression, *assume]), claim.domain)
        assumed = [f"${latex_of(a, names)}$" for a in assume]
    again = command or f"bntheory check {claim.id}"
    domain = f" for all layers with {_signs(claim.domain.describe(), names)}" if claim.domain is not None else ""
    given = f", where {listed(assumed)}" if assumed else ""
    lines = [rf"\paragraph{{Claim{name}.}}", f"It is asserted{domain}{given} that", *_stated(statement)]
    if letters:
        lines.append(f"Here {listed(letters)}.")
    if claim.reading:
        lines.append(f"Read as: {_words(claim.reading)}.")
    lines.append(rf"\emph{{{verdict.status.value.capitalize()}.}} {_words(verdict.explanation)}.")
    if verdict.wherever:
        lines.append(f"It holds wherever {_conditions(verdict.wherever, names)}.")
    lines += _reasons(verdict, names)
    lines.append(rf"(Decided by \texttt{{{_code(again)}}}.)")
    return "\n".join(lines) + "\n"


def _stated(statement: str) -> list[str]:
    """A formula on a line of its own; a sentence, which such a line would not break, as text with its formulas in it."""
    pieces = re.split(r"\\text\{((?:[^{}]|\{[^{}]*\})*)\}", statement)
    if "\\" not in statement and re.search(r"[A-Za-z]{2,} [A-Za-z]{2,}", statement):
        text = _words(statement)
    elif sum(map(len, pieces[1::2])) > 50:
        text = formula = ""
        for i, piece in enumerate([*pieces, ""]):
            if i % 2 and formula.count("{") == formula.count("}"):
                text, formula = text + (f"${formula}$" if formula.strip() else formula) + piece, ""
            else:  # words within a root belong to the formula
                formula += rf"\text{{{piece}}}" if i % 2 else piece
    else:
        return [r"\[", f"  {statement}", r"\]"]
    return [r"\begin{quote}", f"  {text}", r"\end{quote}"]


def latex_witness(witness: Mapping[str, Any]) -> str:
    """A counterexample file as a paragraph: the numbers, and both sides of every relation that fails."""
    return "\n".join(_counterexample(witness)) + "\n"


def _conditions(texts: Sequence[str], names: Mapping[str, str]) -> str:
    """What must not vanish or not be negative, as formulas. names: those that have a prime."""
    from bntheory.claims.typed.latex import latex_of

    said = []
    for text in texts:
        try:
            said.append(f"${latex_of(text, names)}$")
        except UserError:  # it was cut, or has a name that cannot be typed
            said.append(_words(text))
    return " and ".join(said)


def _reasons(verdict: Told, names: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for evidence in verdict.evidence:
        if evidence.finding == "proved":
            lines += _proof(evidence, verdict.wherever, names)
        elif evidence.finding == "refuted" and verdict.status.value == "refuted" and not lines:
            witness = evidence.details.get("witness")
            lines += _counterexample(witness) if witness else [f"Found: {_words(evidence.summary)}."]
        elif evidence.finding in ("holds", "fails", "survives", "undecided"):
            lines.append(f"{evidence.judge.capitalize()}: {_words(evidence.summary)}.")
    return lines


def _proof(evidence: Reason, wherever: Sequence[str], names: Mapping[str, str]) -> list[str]:
    before, stated, after = evidence.summary.partition(" and ".join(wherever) or "\n")
    conditions = _conditions(wherever, names) if stated else ""
    lines = [f"Proof: {_signs(before)}{conditions}{_signs(after)}."]
    for form in evidence.details.get("calculus", {}).get("relations", ()):
        if form["difference"] != "0" and len(form["difference"]) <= LONGEST_SHOWN:
            said = f"  {form['difference_latex']}."
            lines += ["The difference of the two sides, right minus left, is", r"\[", said, r"\]"]
    return lines


def _counterexample(witness: Mapping[str, Any]) -> list[str]:
    from bntheory.claims.typed.latex import primed

    layer = dict(witness.get("layer", {}))
    free = {k: v for kind in ("scalars", "vectors", "operators") for k, v in layer.pop(kind, {}).items()}
    names = primed(free)
    layer |= {names.get(name, name): value for name, value in free.items()}
    numbers = [f"${_letter(name)} = {_number(value)}$" for name, value in layer.items() if _is_number(value)]
    lines = [f"Counterexample: {', '.join(numbers)}."] if numbers else []
    for need in failures(witness.get("certificate", {})):
        said = [f"${_words(left)} {_SIGNS.get(sign, sign)} {_words(right)}$" for left, sign, right in need]
        false = {1: "which is false", 2: "and both are false"}.get(len(said), "and all are false")
        lines.append(
            f"There the claim would need {', or '.join(said) if len(said) > 2 else ' or '.join(said)}, {false}."
        )
    return lines


def _letter(name: str) -> str:
    from bntheory.claims.typed.latex import letter

    written = (
        name.partition("@")[0].rstrip("'").isidentifier() and name != "cross"
    )  # the vector H_ab v, and not the block
    return letter(name) if written else rf"\text{{{_words(name)}}}"


def _is_number(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_is_number(v) for v in value)
    return isinstance(value, (int, float)) or (
        isinstance(value, str) and re.fullmatch(r"-?\d+(/\d+)?", value) is not None
    )


_REPEATED = r"{}\;({}\text{{ times}})"


def _number(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return r"\left(" + entries([_number(v) for v in value], _REPEATED) + r"\right)"
    top, _, bottom = str(value).partition("/")
    if not bottom:
        return top
    sign = "-" if top.startswith("-") else ""
    return rf"{sign}\tfrac{{{top.removeprefix('-')}}}{{{bottom}}}"


Shown = tuple[str, str, str]  #: left, sign, right


def failures(certificate: Mapping[str, Any]) -> list[tuple[Shown, ...]]:
    """What the claim would need, with short numbers: of each entry one relation, and all are false.

    a < b and b < a, which together deny a = b, are one relation: a != b.
    """
    wanted = needs(certificate)
    if certificate.get("structure") is None:  # which of the relations are alternatives is not known
        return [(shown,) for shown in _shown([r for (r,) in wanted])]
    return list(dict.fromkeys(_shown(need) for need in wanted if need))


def _shown(failing: Sequence[Mapping[str, Any]]) -> tuple[Shown, ...]:
    strict = [(r["left"], r["right"]) for r in failing if r["op"] == "lt"]
    found: list[Shown] = []
    for r in failing:
        left, right = sides = r["left"], r["right"]
        denied = r["op"] == "lt" and strict.count(sides[::-1]) > (left == right)
        one, other = (middle(left), middle(right)) if denied else told_apart(r)
        shown = one, "!=" if denied else _SIGN[r["op"]], other
        if not denied or (shown not in found and shown[::-1] not in found):
            found.append(shown)
    return tuple(found)


def middle(ball: str) -> str:
    """A ball's middle, short."""
    text = re.sub(r"[\[\]]", "", str(ball)).split("+/-")[0].strip()
    try:
        return f"{float(text or 0):.6g}"  # a ball around zero is printed by its radius alone
    except ValueError:
        return text


def told_apart(relation: Mapping[str, Any]) -> tuple[str, str]:
    """The two sides of a relation that fails: the middles of the balls, short; as they stand where these are the same and the balls are not,
    and where the balls' middles are the same too, the right side as the left one and what it lacks."""
    left, right = relation["left"], relation["right"]
    short = middle(left), middle(right)
    if short[0] != short[1] or left == right:
        return short
    margin, middles = relation.get("margin"), [re.split(r"\+/-|\]", str(ball))[0].strip("[ ") for ball in (left, right)]
    if middles[0] != middles[1] or relation["op"] == "eq" or not margin:
        return left, right
    lacks = -float(margin) * 2 * abs(float(middles[0]))
    return short[0], f"{short[0]} - {lacks:.2g}"


_SPECIAL = {"_": r"\_", "&": r"\&", "%": r"\%", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "<": r"\(<\)", ">": r"\(>\)", "|": r"\(|\)"}  # fmt: skip


def _words(text: str) -> str:
    """Plain text for LaTeX."""
    plain = "".join(_SPECIAL.get(c, c) for c in str(text)).rstrip(".")
    return plain.replace(r"\(>\)=", r"\(\ge\)").replace(r"\(<\)=", r"\(\le\)")


def _code(text: str) -> str:
    """What is typed, for a typewriter font, which has < and > of its own and breaks long names alone: it can be copied."""
    code = "".join(c if c in "<>|" else _SPECIAL.get(c, c) for c in text)
    return re.sub(r"\S{20,}", lambda word: re.sub(r"(?<=[a-z0-9])[.-](?=[a-z])", r"\g<0>\\allowbreak{}", word[0]), code)


#: a comparison of a word with a number or a name, and no piece of a longer one
_RANGE = re.compile(
    r"(?<![^\s(])(?<![-+*/] )(eps|gamma|m|H|\|\|H\|\||\|g_i\|) (=|!=|<=|>=|>) (\d+\.\d+|\w+(?:/\d+)?)\b(?! ?[-+*/(])(?!\.\d)"
)
_SIGNS = {"!=": r"\ne", "<=": r"\le", ">=": r"\ge"}


def _signs(domain: str, names: Mapping[str, str] | None = None) -> str:
    """A domain in words, its ranges as formulas. names: those that have a prime."""
    names, parts, end = names or {}, [], 0
    for found in _RANGE.finditer(domain):
        name = found[1].replace("||", r"\|") if "|" in found[1] else _letter(found[1])
        bound = found[3] if found[3][0].isdigit() else _letter(names.get(found[3], found[3]))
        parts += [_words(domain[end : found.start()]), f"${name} {_SIGNS.get(found[2], found[2])} {bound}$"]
        end = found.end()
    said = "".join([*parts, _words(domain[end:])])
    for name, other in names.items():
        formula = f"${_letter(other)}$".replace("\\", r"\\")
        said = re.sub(rf"(?<=, ){re.escape(_words(name))}(?= [a-z])", formula, said)
    return said


def bibtex(claim: Claim, *, verdict: Told | None = None, expression: str = "", assume: Sequence[str] = ()) -> str:
    """An entry that cites this project's verdict on a claim; the claim's own source is in ``papers/references.bib`` under its key.

    A typed claim is cited by its ``expression``, what it assumes and where it is asserted; the key is a digest of the three, so the same
    claim has the same key.
    """

    key, name = re.sub(r"[^a-z0-9]+", "-", claim.id.lower()).strip("-"), f"on \\texttt{{{_code(claim.id)}}}"
    if expression:
        where = claim.domain.describe() if claim.domain is not None else ""
        key = hashlib.sha256(repr((expression, tuple(assume), where)).encode()).hexdigest()[:10]
        taken = [rf"\texttt{{{_code(a)}}}" for a in assume]
        given = f", assuming {listed(taken)}" if taken else ""
        name = f"on \\texttt{{{_code(expression)}}} for all layers with {_signs(where)}{given}"
    found = f" \\emph{{{verdict.status.value}}}" if verdict is not None else ""
    return (
        f"@misc{{bntheory-{key},\n  title = {{bntheory: deciding what is true about batch normalisation}},\n"
        f"  note  = {{Verdict{found} {name}; version {own_version()}}}\n}}\n"
    )

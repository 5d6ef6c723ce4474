"""The inner-product route: both sides of a claim as scalars in finitely many inner products, in normal form.

An equality that reduces to zero is proved. An inequality is proved here where its difference is a sum of products of squares
and of quantities that are not negative, which everybody can check by eye; otherwise the difference is shown and left open.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bntheory.errors import OutsideVocabulary
from bntheory.layer.domain import FREE, LayerDomain
from bntheory.layer.relations import AllOf, AnyOf, Relation, Statement, atoms
from bntheory.layer.view import state

if TYPE_CHECKING:
    from bntheory.layer.symbolic import SymbolicLayer

How = Literal["identity", "manifest", "open"]
# beyond it a normal form takes longer than everything else, and nobody reads it
_MAX_OPERATIONS, _MOST_SYMBOLS = 600, 48


@dataclass(frozen=True)
class NormalForm:
    """One relation: ``difference`` is right - left (for vectors the coefficients, atom by atom), in lowest terms.

    how: ``"identity"``: the difference is zero. ``"manifest"``: its sign can be read off. ``"open"``: neither.
    """

    op: str
    label: str
    how: How
    latex: str
    text: str
    difference: Any

    def as_json(self) -> dict[str, Any]:
        """A JSON-ready object."""
        return {
            "op": self.op,
            "label": self.label,
            "how": self.how,
            "difference_latex": self.latex,
            "difference": self.text,
        }


@dataclass(frozen=True)
class Calculus:
    """The claim in normal form. proved: whether that alone proves it, assumptions unused."""

    forms: tuple[NormalForm, ...]
    proved: bool
    layer: Any
    claim: Statement
    assumptions: Statement
    seconds: float


def calculate(check: Callable[[Any], Any], assume: Callable[[Any], Any] | None, domain: LayerDomain) -> Calculus:
    """State a claim over a symbolic layer and reduce every relation. OutsideVocabulary where inner products do not suffice."""
    from bntheory.layer.symbolic import SymbolicLayer

    start = time.perf_counter()
    layer = SymbolicLayer(domain)
    claim = state(check, layer, domain)
    assumptions = AllOf(()) if assume is None else state(assume, layer, domain)
    forms = {id(atom): _normal_form(atom, layer) for atom in atoms(claim)}
    proved = _holds(claim, forms)
    return Calculus(tuple(forms.values()), proved, layer, claim, assumptions, time.perf_counter() - start)


def _holds(statement: Statement, forms: dict[int, NormalForm]) -> bool:
    if isinstance(statement, AllOf):
        return all(_holds(part, forms) for part in statement.parts)
    if isinstance(statement, AnyOf):
        return any(_holds(part, forms) for part in statement.parts)
    return forms[id(statement)].how != "open"


def _normal_form(relation: Relation, layer: SymbolicLayer) -> NormalForm:
    import sympy as sp

    from bntheory.judges.algebra.letters import letters_of
    from bntheory.layer.symbolic import Expression, FormalVector
    from bntheory.layer.symbolic.space import factored, refuse_large

    left, right = relation.left, relation.right
    if isinstance(left, FormalVector) or isinstance(right, FormalVector):
        if isinstance(left, FormalVector) and isinstance(right, FormalVector):
            vector = right - left
        else:  # against the number zero
            vector = left if isinstance(left, FormalVector) else right
        for c in vector.terms.values():
            refuse_large(c)
        _refuse_long(sum(c.count_ops() for c in vector.terms.values()))
        vector = vector.reduced()
        how: How = "open" if vector.terms else "identity"
        letters = letters_of(layer)
        parts = [
            rf"\left({letters.latex(factored(c))}\right) {' '.join(letters.atoms.get(n, n) for n in (*word, name))}"
            for (name, word), c in vector.terms.items()
        ]
        text = [
            f"({plain(c)}) {' '.join(n.removeprefix(FREE) for n in (*word, name))}"
            for (name, word), c in vector.terms.items()
        ]
        return NormalForm(relation.op, relation.label, how, " + ".join(parts) or "0", " + ".join(text) or "0", vector)
    raw = (Expression(0) + right - left).value
    _refuse_long(raw.count_ops(), len(raw.free_symbols))
    refuse_large(raw)
    difference = _tidy(factored(sp.cancel(sp.together(raw))))
    how = _how(relation.op, difference)
    latex = letters_of(layer).latex(difference)
    return NormalForm(relation.op, relation.label, how, latex, plain(difference), difference)


def _refuse_long(operations: int, symbols: int = 0) -> None:
    if operations > _MAX_OPERATIONS or symbols > _MOST_SYMBOLS:
        said = f"{operations} operations" + f" between {symbols} symbols" * (symbols > _MOST_SYMBOLS)
        raise OutsideVocabulary(f"a difference with {said} is too long for a normal form")


def _tidy(x: Any) -> Any:
    """-c (-a - b) as c (a + b)."""
    import sympy as sp

    coefficient, rest = x.as_coeff_Mul()
    if coefficient >= 0:
        return x
    factors = list(sp.Mul.make_args(rest))
    for i, factor in enumerate(factors):
        if factor.is_Add:
            factors[i] = sp.Add(*(-term for term in factor.args))
            return sp.Mul(-coefficient, *factors)
    return x


def _how(op: str, difference: Any) -> How:
    if difference == 0:
        return "open" if op == "lt" else "identity"
    if op == "eq":
        return "open"
    sign = _manifest_sign(difference)
    if sign == 2 or (sign == 1 and op == "le"):
        return "manifest"
    return "open"


def _manifest_sign(x: Any) -> int:
    """2: positive, 1: not negative, 0: cannot be read off, -1 and -2: the opposite."""
    import sympy as sp

    if x.is_positive:
        return 2
    if x.is_negative:
        return -2
    if x.is_nonnegative:
        return 1
    if x.is_nonpositive:
        return -1
    if isinstance(x, sp.Mul):
        signs = [_manifest_sign(factor) for factor in x.args]
        if 0 in signs:
            return 0
        strict = all(abs(s) == 2 for s in signs)
        negative = sum(s < 0 for s in signs) % 2
        return (2 if strict else 1) * (-1 if negative else 1)
    if isinstance(x, sp.Pow) and x.exp.is_Integer:
        base = _manifest_sign(x.base)
        if int(x.exp) % 2 == 0:
            return 2 if abs(base) == 2 else 1
        return base
    if isinstance(x, sp.Add):
        signs = [_manifest_sign(term) for term in x.args]
        if all(s > 0 for s in signs):
            return 2 if 2 in signs else 1
        if all(s < 0 for s in signs):
            return -2 if -2 in signs else -1
    return 0


def plain(x: Any) -> str:
    """An expression with <u, v> for inner products, for the terminal."""
    import sympy as sp

    words = {r"\langle ": "<", r" \rangle": ">", r"\hat y": "y_hat", r"\varepsilon": "eps", "\\": ""}
    renamed: dict[Any, Any] = {}
    for symbol in sorted(x.free_symbols, key=str):
        name = symbol.name
        name = re.sub(r"\\(?:mathrm|operatorname)\{([^}]*)\}", r"\1", name)
        for latex, word in words.items():
            name = name.replace(latex, word)
        while sp.Symbol(name) in renamed.values():
            name += "'"
        renamed[symbol] = sp.Symbol(name)
    return str(sp.sstr(x.xreplace(renamed), order="none")).replace("**", "^")

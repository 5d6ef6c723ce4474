"""From a claim to a formula of real arithmetic, and from the formula to z3 and to SMT-LIB.

A formula is a tree of ``("and", parts)``, ``("or", parts)`` and atoms ``(op, poly)`` meaning ``poly op 0`` with op one of
``gt ge eq ne``. The negation of a claim is satisfiable exactly if the claim is false somewhere on its domain.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bntheory.judges.algebra.field import Field, Scalar, exact_rational
from bntheory.judges.algebra.frame import Frame, needs_entries
from bntheory.judges.algebra.vectors import Coordinates, NeedsOutside
from bntheory.layer.domain import LayerDomain
from bntheory.layer.relations import AllOf, AnyOf, Relation, Statement, atoms, negate
from bntheory.layer.view import state

__all__ = ["Formula", "Problem", "evaluate", "evaluate_at", "formula_symbols", "to_z3", "z3_symbol"]

Formula = tuple[str, Any]


@dataclass(frozen=True)
class Problem:
    """A claim in one frame. ``claim`` and ``assumptions`` are statements over the frame's scalars."""

    frame: Frame
    claim: Statement
    assumptions: Statement
    claim_conditions: tuple[Formula, ...]

    @property
    def size(self) -> tuple[int, int]:
        """The number of terms, and the highest degree, of the sides of the claim's relations."""
        polys = [p for a in atoms(self.claim) for x in (a.left, a.right) for p in (x.num, x.den)]
        return max(map(len, polys), default=0), max((int(p.total_degree()) for p in polys), default=0)

    def hypotheses(self) -> list[Formula]:
        """The assumptions and what makes them, and the claim, defined."""
        return [self._formula(self.assumptions), *self.claim_conditions]

    def negation(self, *, assumed: bool = True) -> list[Formula]:
        """Formulas whose joint satisfiability means that the claim fails somewhere (``assumed=False``: assumptions aside)."""
        hypotheses = self.hypotheses() if assumed else self.claim_conditions
        return [*hypotheses, self._formula(negate(self.claim))]

    def _formula(self, statement: Statement) -> Formula:
        if isinstance(statement, AllOf):
            return ("and", tuple(self._formula(part) for part in statement.parts))
        if isinstance(statement, AnyOf):
            return ("or", tuple(self._formula(part) for part in statement.parts))
        difference = self.frame.field.cleared(statement.right - statement.left)
        return ({"le": "ge", "lt": "gt", "eq": "eq"}[statement.op], difference)

    def closed(self, formulas: Iterable[Formula], *, all_symbols: bool = False) -> list[Formula]:
        """The formulas with the domain's constraints on every symbol that occurs in them, or on all of the layer's."""
        formulas = list(formulas)
        frame, field = self.frame, self.frame.field
        used: set[int] = set()
        for f in formulas:
            used |= formula_symbols(f)
        if all_symbols:
            used |= set(range(len(field.names)))
        pending = [_cleared(field, constraint) for constraint in frame.constraints]
        minors = [("ge", field.cleared(x)) for o in frame.operators.values() for x in o.minors(used)]
        formulas += minors
        for f in minors:
            used |= formula_symbols(f)
        changed = True
        while changed:
            changed = False
            for i in sorted(used):
                if i in field.roots:
                    inside = field.roots[i]
                    symbol = Scalar(field, field.context.gens()[i], field.context.constant(1))
                    equation = (symbol * symbol - inside).num
                    if ("eq", equation) not in formulas:
                        formulas.append(("eq", equation))
                        used |= Field.variables(equation)
                        changed = True
            for f in list(pending):
                # A constraint that speaks of a used symbol matters, and so do the symbols it brings along.
                if formula_symbols(f) & used or not formula_symbols(f):  # a constant may be false
                    pending.remove(f)
                    formulas.append(f)
                    used |= formula_symbols(f)
                    changed = True
        for i in sorted(used):
            kind = field.signs[i]
            if kind != "any":
                op = {"positive": "gt", "nonnegative": "ge", "nonzero": "ne"}[kind]
                formulas.append((op, field.context.gens()[i]))
        return formulas


def _cleared(field: Field, constraint: tuple[str, Any]) -> Formula:
    op, body = constraint
    if op in ("and", "or"):
        return op, tuple(_cleared(field, part) for part in body)
    return op, field.cleared(body)


def formula_symbols(formula: Formula) -> set[int]:
    """The symbols that occur in a formula."""
    op, body = formula
    if op in ("and", "or"):
        return set().union(*(formula_symbols(part) for part in body)) if body else set()
    return Field.variables(body)


def _scalars_only(frame: Frame, statement: Statement) -> Statement:
    """The statement with equalities of vectors written coordinate by coordinate, and numbers as scalars."""
    if isinstance(statement, AllOf):
        return AllOf(tuple(_scalars_only(frame, part) for part in statement.parts))
    if isinstance(statement, AnyOf):
        return AnyOf(tuple(_scalars_only(frame, part) for part in statement.parts))
    left, right = statement.left, statement.right
    vectors = isinstance(left, Coordinates), isinstance(right, Coordinates)
    if all(vectors):
        if statement.op != "eq":
            raise TypeError("two vectors are compared with <= or <; only eq(u, v) is defined for vectors")
        gap = left - right
        if gap.outside:
            raise NeedsOutside
        zero = frame.field.zero
        return AllOf(tuple(Relation("eq", c, zero, statement.label) for c in gap.parts.values()))
    if any(vectors):
        other = right if vectors[0] else left
        if not isinstance(other, Scalar) and other == 0 and statement.op == "eq":
            return _scalars_only(
                frame, Relation("eq", left if vectors[0] else right, Coordinates(frame, {}), statement.label)
            )
        raise TypeError(
            "a vector is compared with a scalar; use dot(u, v) or norm2(v) to make a scalar of a vector"
        )
    return Relation(statement.op, _scalar(frame, left), _scalar(frame, right), statement.label)


def _scalar(frame: Frame, x: Any) -> Scalar:
    return x if isinstance(x, Scalar) else frame.field.constant(x)


def _state(check: Callable[[Any], Any], assume: Callable[[Any], Any] | None, frame: Frame) -> Problem:
    claim = _scalars_only(frame, state(check, frame, frame.domain))
    assumptions: Statement = AllOf(())
    if assume is not None:
        assumptions = _scalars_only(frame, state(assume, frame, frame.domain))
    conditions = tuple(("ne" if kind == "nonzero" else "ge", poly) for kind, poly in frame.field.conditions)
    return Problem(frame, claim, assumptions, conditions)


def _scout(check: Callable[[Any], Any], assume: Callable[[Any], Any] | None, domain: LayerDomain) -> Frame:
    """A first evaluation, only to see of which vectors the claim speaks."""
    frame = Frame(domain, with_outside=True)
    _state(check, assume, frame)
    return frame


def evaluate(
    check: Callable[[Any], Any], assume: Callable[[Any], Any] | None, domain: LayerDomain
) -> Problem:
    """State a claim for a symbolic batch size. Products with operators leave the span only if the claim looks there."""
    scout = _scout(check, assume, domain)
    bare = not scout.touched and domain.normaliser not in ("l1", "linf")
    try:
        return _state(check, assume, Frame(domain, vectors=scout.vectors_used, bare=bare))
    except NeedsOutside:
        frame = Frame(domain, vectors=scout.vectors_used, bare=bare, with_outside=True)
        return _state(check, assume, frame)


def evaluate_at(
    check: Callable[[Any], Any], assume: Callable[[Any], Any] | None, domain: LayerDomain, m: int, room: int
) -> list[Problem]:
    """State a claim for a concrete batch size, exactly: one problem, or one for each pattern of a standard frame.

    room: the directions that the claim needs where the batch has them.
    """
    vectors = _scout(check, assume, domain).vectors_used
    if not needs_entries(domain):
        return [_state(check, assume, Frame(domain, m, vectors=vectors, room=max(2, room)))]
    return [
        _state(check, assume, Frame(domain, m, vectors=vectors, pattern=pattern))
        for pattern in _patterns(domain, m)
    ]


def _patterns(domain: LayerDomain, m: int) -> list[tuple[int, ...]]:
    """Signs of the batch (l_p), and which examples the ``@case`` vectors single out; up to permutations elsewhere."""
    cases = sum(v.endswith("@case") for v in domain.vectors)
    first = {"l1": range(1, m), "linf": range(2)}.get(domain.normaliser, range(1))
    if domain.normaliser in ("l1", "linf"):
        return [(f, *rest) for f in first for rest in itertools.product(range(m), repeat=cases)]
    grown: list[tuple[int, ...]] = [(0,)]
    for _ in range(cases):  # the first example, then one already named or the next
        grown = [(*g, i) for g in grown for i in range(min(m, len(set(g[1:])) + 1))]
    return grown


def z3_symbol(field: Field, i: int) -> Any:
    """The z3 constant of a symbol."""
    import z3

    return z3.Real(field.names[i])


def to_z3(field: Field, formula: Formula) -> Any:
    """The formula as a z3 expression with integer coefficients."""
    import z3

    op, body = formula
    if op == "and":
        return z3.And(*(to_z3(field, part) for part in body)) if body else z3.BoolVal(True)
    if op == "or":
        return z3.Or(*(to_z3(field, part) for part in body)) if body else z3.BoolVal(False)
    if body.is_zero():
        return z3.BoolVal(op in ("ge", "eq"))
    coefficients = [exact_rational(c) for c in body.coeffs()]
    scale = 1
    for c in coefficients:
        scale = scale * c.denominator // _gcd(scale, c.denominator)
    terms = []
    for exponents, c in zip(body.monoms(), coefficients, strict=True):
        factors: list[Any] = []
        for i, e in enumerate(exponents):
            if e:
                factors += [z3_symbol(field, i)] * int(e)
        number = int(c * scale)
        if number != 1 or not factors:
            factors.insert(0, z3.RealVal(number))
        terms.append(z3.Product(*factors) if len(factors) > 1 else factors[0])
    total = z3.Sum(*terms) if len(terms) > 1 else terms[0]
    zero = z3.RealVal(0)
    return {"gt": total > zero, "ge": total >= zero, "eq": total == zero, "ne": total != zero}[op]


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a

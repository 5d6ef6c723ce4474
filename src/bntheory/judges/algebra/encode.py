"""From a claim to formulas of real arithmetic, and from a formula to z3 and to SMT-LIB.

A formula is a tree of ``("and", parts)``, ``("or", parts)`` and atoms ``(op, poly)`` meaning ``poly op 0`` with op one of
``gt ge eq ne``. Every relation of a claim brings the conditions under which it is defined, and what its roots are, into the
formulas that say where it is true and where it is false; so a condition binds nothing but the relation in which it stands.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from bntheory.judges.algebra.field import Field, Scalar, exact_rational
from bntheory.judges.algebra.frame import Frame, needs_entries
from bntheory.judges.algebra.vectors import Coordinates, NeedsOutside
from bntheory.layer.domain import FREE, LayerDomain
from bntheory.layer.relations import AllOf, Relation, Statement, atoms
from bntheory.layer.three_valued import false_where, map_atoms, true_where, undefined_where
from bntheory.layer.view import state

Formula = tuple[str, Any]


def both(parts: Sequence[Formula]) -> Formula:
    """The conjunction."""
    return parts[0] if len(parts) == 1 else ("and", tuple(parts))


def either(parts: Sequence[Formula]) -> Formula:
    """The disjunction."""
    return parts[0] if len(parts) == 1 else ("or", tuple(parts))


def root_equation(field: Field, i: int) -> Formula:
    """What the square of a root is."""
    symbol = Scalar(field, field.context.gens()[i], field.context.constant(1))
    return ("eq", (symbol * symbol - field.roots[i]).num)


def _with_roots(field: Field, op: str, poly: Any) -> list[Formula]:
    """poly op 0, with what those of its roots are that need not exist, the roots inside its roots among them."""
    equations: list[Formula] = []
    seen: set[int] = set()
    pending = Field.variables(poly) & set(field.roots)
    while pending:
        i = min(pending)
        seen.add(i)
        equation = root_equation(field, i)
        if i in field.partial:
            equations.append(equation)
        pending = (pending | Field.variables(equation[1]) & set(field.roots)) - seen
    return [*equations, (op, poly)]


Truth = Literal["true", "false", "undefined"]
_TRUE = {"le": "ge", "lt": "gt", "eq": "eq"}
_FALSE = {"le": "gt", "lt": "ge", "eq": "ne"}


def where(field: Field, relation: Relation, truth: Truth) -> Formula:
    """Where a relation between two scalars is true, false, or undefined."""
    difference = relation.right - relation.left
    conditions = [field.conditions[i] for i in sorted(difference.conditions)]
    if truth == "undefined":
        denied = {"nonzero": ("eq", 1), "nonnegative": ("gt", -1)}
        return either([both(_with_roots(field, denied[kind][0], poly * denied[kind][1])) for kind, poly in conditions])
    defined = {"nonzero": "ne", "nonnegative": "ge"}
    parts = [f for kind, poly in conditions for f in _with_roots(field, defined[kind], poly)]
    poly, op = field.cleared(difference), (_TRUE if truth == "true" else _FALSE)[relation.op]
    parts += _with_roots(field, op, poly if truth == "true" else -poly)
    return both([f for i, f in enumerate(parts) if f not in parts[:i]])


@dataclass(frozen=True)
class Problem:
    """A claim in one frame. ``claim`` and ``assumptions`` are statements over the frame's scalars, ``stated`` is the claim with its vectors."""

    frame: Frame
    stated: Statement
    claim: Statement
    assumptions: Statement
    multiplied: tuple[Coordinates, ...] = ()  # the vectors of which the claim takes a product

    @property
    def partial(self) -> bool:
        """Whether some relation of the claim may be undefined somewhere."""
        return any(a.left.conditions or a.right.conditions for a in atoms(self.claim))

    @property
    def size(self) -> tuple[int, int]:
        """The number of terms, and the highest degree, of the sides of the claim's relations."""
        polys = [p for a in atoms(self.claim) for x in (a.left, a.right) for p in (x.num, x.den)]
        return max(map(len, polys), default=0), max((int(p.total_degree()) for p in polys), default=0)

    def hypotheses(self) -> Formula:
        """Where the assumptions are true."""
        return self.true(self.assumptions)

    def negation(self, *, assumed: bool = True) -> list[Formula]:
        """Formulas whose joint satisfiability means that the claim is false somewhere (``assumed=False``: assumptions aside)."""
        failing = false_where(self.claim, lambda a: where(self.frame.field, a, "false"), both, either)
        return [self.hypotheses(), failing] if assumed else [failing]

    def true(self, statement: Statement) -> Formula:
        """Where a statement over the frame's scalars is true."""
        return true_where(statement, lambda a: where(self.frame.field, a, "true"), both, either)

    def undefined(self) -> Formula:
        """Where the claim is neither true nor false."""

        def atom(truth: Truth) -> Callable[[Any], Formula]:
            return lambda a: where(self.frame.field, a, truth)

        return undefined_where(self.claim, atom("true"), atom("false"), atom("undefined"), both, either)

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
        operators = frame.operators.values()
        equations = [("eq", field.cleared(x)) for o in operators for x in o.equations(used)]
        used = used.union(*map(formula_symbols, equations))
        minors = [("ge", field.cleared(x)) for o in operators for x in o.minors(used)]
        formulas += [*equations, *minors]
        used = used.union(*map(formula_symbols, minors))
        changed = True
        while changed:
            changed = False
            for i in sorted(used):
                if i in field.roots and i not in field.partial:
                    equation = root_equation(field, i)
                    if equation not in formulas:
                        formulas.append(equation)
                        used |= Field.variables(equation[1])
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


def _scalars_only(frame: Frame, statement: Statement) -> Any:
    """The statement with equalities of vectors written coordinate by coordinate, and numbers as scalars."""
    return map_atoms(statement, lambda relation: _scalar_relation(frame, relation))


def _scalar_relation(frame: Frame, relation: Relation) -> Statement:
    left, right = relation.left, relation.right
    vectors = isinstance(left, Coordinates), isinstance(right, Coordinates)
    if all(vectors):
        gap = left - right
        if gap.outside:
            raise NeedsOutside
        zero = frame.field.zero
        parts = [c.under(gap.conditions) for c in gap.parts.values()] or [zero.under(gap.conditions)]
        return AllOf(tuple(Relation("eq", c, zero, relation.label) for c in parts))
    if any(vectors):
        vector = left if vectors[0] else right  # the other side is the number zero
        return _scalar_relation(frame, Relation("eq", vector, Coordinates(frame, {}), relation.label))
    return Relation(relation.op, _scalar(frame, left), _scalar(frame, right), relation.label)


def _scalar(frame: Frame, x: Any) -> Scalar:
    return x if isinstance(x, Scalar) else frame.field.constant(x)


def _state(check: Callable[[Any], Any], assume: Callable[[Any], Any] | None, frame: Frame) -> Problem:
    watched = _Watched(frame)
    stated = state(check, watched, frame.domain)
    claim = _scalars_only(frame, stated)
    assumptions: Statement = AllOf(())
    if assume is not None:
        assumptions = _scalars_only(frame, state(assume, frame, frame.domain))
    return Problem(frame, stated, claim, assumptions, tuple(watched.multiplied))


class _Watched:
    """A frame that remembers of which vectors it was asked for a product."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.multiplied: list[Coordinates] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.frame, name)

    def dot(self, u: Coordinates, v: Coordinates) -> Scalar:
        self.multiplied += [u, v]
        return self.frame.dot(u, v)

    def norm2(self, v: Coordinates) -> Scalar:
        self.multiplied.append(v)
        return self.frame.norm2(v)


def _scout(check: Callable[[Any], Any], assume: Callable[[Any], Any] | None, domain: LayerDomain) -> Frame:
    """A first evaluation, only to see of which vectors the claim speaks."""
    frame = Frame(domain, with_outside=True)
    _state(check, assume, frame)
    return frame


def relevant(check: Callable[[Any], Any], assume: Callable[[Any], Any] | None, domain: LayerDomain) -> LayerDomain:
    """The domain without what the claim never looks at: free quantities, and the kind of a Hessian that plays no part."""
    scout = _scout(check, assume, domain)
    curved = "layer.hess" in scout.operators
    bound = domain.smoothness if curved else ""
    return replace(
        domain,
        loss="",  # what it sets stands in the rest
        hessian=domain.hessian if curved else "zero",
        smoothness=bound,
        scalars={k: v for k, v in domain.scalars.items() if k in scout.scalars_used or k == bound},
        vectors=tuple(v for v in domain.vectors if FREE + v in scout.vectors_used),
        operators={k: v for k, v in domain.operators.items() if FREE + k in scout.operators},
    )


def evaluate(check: Callable[[Any], Any], assume: Callable[[Any], Any] | None, domain: LayerDomain) -> Problem:
    """State a claim for a symbolic batch size. Products with operators leave the span only if the claim looks there."""
    scout = _scout(check, assume, domain)
    looks = 2 if domain.normaliser in ("l1", "linf") else scout.touched
    try:
        return _state(check, assume, Frame(domain, vectors=scout.vectors_used, looks=looks))
    except NeedsOutside:
        frame = Frame(domain, vectors=scout.vectors_used, looks=looks, with_outside=True)
        return _state(check, assume, frame)


def evaluate_at(
    check: Callable[[Any], Any],
    assume: Callable[[Any], Any] | None,
    domain: LayerDomain,
    m: int,
    room: int,
    *,
    rational_batch: bool = False,
) -> list[Problem]:
    """State a claim for a concrete batch size, exactly: one problem, or one for each pattern of a standard frame.

    room: the directions that the claim needs where the batch has them. rational_batch: as in :class:`.Frame`, which has a choice in a
    Gram-Schmidt frame alone.
    """
    vectors = _scout(check, assume, domain).vectors_used
    if not needs_entries(domain):
        frame = Frame(domain, m, vectors=vectors, room=max(2, room), rational_batch=rational_batch)
        return [_state(check, assume, frame)]
    return [
        _state(check, assume, Frame(domain, m, vectors=vectors, pattern=pattern)) for pattern in _patterns(domain, m)
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


def z3_symbol(field: Field, i: int, context: Any = None) -> Any:
    """The z3 constant of a symbol, in a context of z3's or in the one that z3 shares among all."""
    import z3

    return z3.Real(field.names[i], context)


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
    scale = math.lcm(*(c.denominator for c in coefficients))
    terms, symbols = [], cache(lambda i: z3_symbol(field, i))
    for exponents, c in zip(body.monoms(), coefficients, strict=True):
        factors: list[Any] = []
        for i, e in enumerate(exponents):
            if e:
                factors += [symbols(i)] * int(e)
        number = int(c * scale)
        if number != 1 or not factors:
            factors.insert(0, z3.RealVal(number))
        terms.append(_product(factors) if len(factors) > 1 else factors[0])
    total = z3.Sum(*terms) if len(terms) > 1 else terms[0]
    zero = z3.RealVal(0)
    return {"gt": total > zero, "ge": total >= zero, "eq": total == zero, "ne": total != zero}[op]


def _product(factors: list[Any]) -> Any:
    """z3.Product without its check of what the factors are, which takes most of its time."""
    import z3

    context = factors[0].ctx
    parts = (z3.Ast * len(factors))(*(f.as_ast() for f in factors))
    return z3.ArithRef(z3.Z3_mk_mul(context.ref(), len(factors), parts), context)

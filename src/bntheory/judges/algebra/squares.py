"""Easier forms of a question: roots squared away, and Cauchy-Schwarz for the vectors of the claim.

``a + b r > 0`` with a root r = sqrt(s) holds exactly if a and b are positive, or a is and a^2 > b^2 s, or b is and b^2 s > a^2. So a
bound between norms becomes one between polynomials; and what the solver then lacks is most often one inequality
<u, v>^2 <= |u|^2 |v|^2 between two vectors that the claim speaks of.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.encode import Formula, Problem, both, either
from bntheory.judges.algebra.field import Field

_MOST_TERMS, _MOST_VECTORS = 600, 6
_MOST_ROOTS = 4  # every root that is squared away makes six atoms of one
_TRUE: Formula = ("and", ())
_FALSE: Formula = ("or", ())


def cauchy_schwarz(problem: Problem) -> list[Formula]:
    """The inequality for every two vectors of which the claim takes a product, where both are always defined."""
    frame, field = problem.frame, problem.frame.field
    vectors: list[Any] = []
    for v in problem.multiplied:
        plain = v.parts and not v.outside and not v.conditions
        if plain and not any((v - u).parts == {} or (v + u).parts == {} for u in vectors):
            vectors.append(v)
    lemmas = []
    for u, v in itertools.combinations(vectors[:_MOST_VECTORS], 2):
        try:
            gap = frame.norm2(u) * frame.norm2(v) - frame.dot(u, v) ** 2
        except OutsideVocabulary:
            continue
        poly = field.cleared(gap)
        if not poly.is_constant() and len(poly) <= _MOST_TERMS:
            lemmas.append(without_roots(field, ("ge", poly)))
    return lemmas


def without_roots(field: Field, formula: Formula) -> Formula:
    """The formula in which no root occurs of what cannot be negative; one that grows too long is left as it is."""
    op, body = formula
    if op in ("and", "or"):
        return _joined(op, (without_roots(field, part) for part in body))
    signed = _decided(field, op, body)
    if signed is not None:
        return signed
    roots = [i for i in Field.variables(body) & set(field.roots) - field.partial if field.roots[i].den.is_one()]
    if not roots or len(_roots_within(field, body)) > _MOST_ROOTS:
        return formula
    r = max(roots)  # later roots may hold earlier ones
    a, b = _split(field, body, r)
    inside = field.roots[r].num
    if max(len(a), len(b)) ** 2 * len(inside) > _MOST_TERMS**2:
        return formula
    square = a * a - b * b * inside
    if op == "ne":
        return _joined("or", (without_roots(field, ("gt", sign * body)) for sign in (1, -1)))
    if op == "eq":
        parts: list[list[Formula]] = [[("eq", square), ("ge", -(a * b))]]
    else:
        parts = [[(op, a), (op, b)], [(op, a), (op, square)], [(op, b), (op, -square)]]
    return _joined("or", (_joined("and", (without_roots(field, part) for part in some)) for some in parts))


def _roots_within(field: Field, poly: Any) -> set[int]:
    """The roots of a polynomial, those inside its roots among them."""
    found: set[int] = set()
    waiting = Field.variables(poly) & set(field.roots)
    while waiting:
        r = waiting.pop()
        found.add(r)
        waiting |= (Field.variables(field.roots[r].num) & set(field.roots)) - found
    return found


def _split(field: Field, poly: Any, r: int) -> tuple[Any, Any]:
    """a, b with poly = a + b r, where r^2 is known."""
    inside = field.roots[r].num
    a = b = field.context.constant(0)
    for exponents, coefficient in poly.terms():
        power = int(exponents[r])
        rest = field.context.from_dict({tuple(0 if i == r else int(e) for i, e in enumerate(exponents)): coefficient})
        rest = rest * inside ** (power // 2)
        a, b = (a, b + rest) if power % 2 else (a + rest, b)
    return a, b


def _decided(field: Field, op: str, poly: Any) -> Formula | None:
    """What the signs of the symbols alone say of an atom."""
    sign = field.sign(poly)
    true = {"gt": ("+",), "ge": ("+", "+0", "0"), "eq": ("0",), "ne": ("+", "-")}[op]
    false = {"gt": ("-", "-0", "0"), "ge": ("-",), "eq": ("+", "-"), "ne": ("0",)}[op]
    return _TRUE if sign in true else _FALSE if sign in false else None


def _joined(op: str, parts: Iterable[Formula]) -> Formula:
    """The junction, without what is true or false in it."""
    neutral, decisive = (_TRUE, _FALSE) if op == "and" else (_FALSE, _TRUE)
    kept = [part for part in parts if part != neutral]
    if decisive in kept:
        return decisive
    return neutral if not kept else (both if op == "and" else either)(kept)

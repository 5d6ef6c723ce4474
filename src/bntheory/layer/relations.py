"""Statements about a layer: three relations and what can be built from them.

A claim function returns a :class:`Statement`. There are three atoms, ``left <= right``, ``left < right`` and
``left == right``; ``ge`` and ``gt`` are the first two turned round. Negation is pushed down to the atoms when
it is made, so a judge never meets it and has only five cases to treat.

Nothing here computes: operands are whatever the judge's world calls a scalar (or, for ``eq``, a vector).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "AllOf",
    "AnyOf",
    "Relation",
    "Statement",
    "all_of",
    "any_of",
    "as_statement",
    "atoms",
    "eq",
    "ge",
    "gt",
    "iff",
    "implies",
    "le",
    "lt",
    "negate",
]

Operator = Literal["le", "lt", "eq"]


@dataclass(frozen=True)
class Relation:
    """``left op right``. ``label`` names the relation where a claim consists of several."""

    op: Operator
    left: Any
    right: Any
    label: str = ""

    def __bool__(self) -> bool:
        raise TypeError(
            "a relation has no truth value of its own: a judge decides it. "
            "Combine relations with all_of(...), any_of(...) and implies(...), not with 'and', 'or' and 'if'."
        )


@dataclass(frozen=True)
class AllOf:
    """Every part holds; with no parts, true."""

    parts: tuple[Statement, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one part holds; with no parts, false."""

    parts: tuple[Statement, ...]


Statement = Relation | AllOf | AnyOf


def le(left: Any, right: Any, label: str = "") -> Relation:
    """``left <= right`` between scalars."""
    return Relation("le", left, right, label)


def lt(left: Any, right: Any, label: str = "") -> Relation:
    """``left < right`` between scalars."""
    return Relation("lt", left, right, label)


def ge(left: Any, right: Any, label: str = "") -> Relation:
    """``left >= right`` between scalars, stored as ``right <= left``."""
    return Relation("le", right, left, label)


def gt(left: Any, right: Any, label: str = "") -> Relation:
    """``left > right`` between scalars, stored as ``right < left``."""
    return Relation("lt", right, left, label)


def eq(left: Any, right: Any, label: str = "") -> Relation:
    """``left == right`` between two scalars, or between two vectors (every coordinate)."""
    return Relation("eq", left, right, label)


def all_of(*parts: Statement) -> AllOf:
    """The conjunction."""
    return AllOf(tuple(parts))


def any_of(*parts: Statement) -> AnyOf:
    """The disjunction."""
    return AnyOf(tuple(parts))


def negate(statement: Statement) -> Statement:
    """The negation, with atoms of the same three kinds (scalars are totally ordered)."""
    if isinstance(statement, AllOf):
        return AnyOf(tuple(negate(part) for part in statement.parts))
    if isinstance(statement, AnyOf):
        return AllOf(tuple(negate(part) for part in statement.parts))
    left, right, label = statement.left, statement.right, statement.label
    if statement.op == "le":
        return lt(right, left, label)
    if statement.op == "lt":
        return le(right, left, label)
    return AnyOf((lt(left, right, label), lt(right, left, label)))


def implies(hypothesis: Statement, conclusion: Statement) -> AnyOf:
    """Material implication. Both sides are scalars' relations where the hypothesis is an equality."""
    return AnyOf((negate(hypothesis), conclusion))


def iff(one: Statement, other: Statement) -> AllOf:
    """Both, or neither."""
    return AllOf((implies(one, other), implies(other, one)))


def as_statement(returned: Statement | Iterable[Statement]) -> Statement:
    """What a claim function returned: a statement, or several to be read as their conjunction."""
    if isinstance(returned, (Relation, AllOf, AnyOf)):
        return returned
    if isinstance(returned, Iterable) and not isinstance(returned, (str, bytes)):
        parts = tuple(returned)
        if parts and all(isinstance(part, (Relation, AllOf, AnyOf)) for part in parts):
            return AllOf(parts)
    raise TypeError(
        f"a claim returns le(a, b), lt(a, b), eq(a, b), ge(a, b) or a list of them; this one returned "
        f"{type(returned).__name__} ({returned!r:.80}). Comparisons with <, <= and == are not recorded: call le, lt, eq."
    )


def atoms(statement: Statement) -> Iterator[Relation]:
    """The relations of a statement, from left to right."""
    if isinstance(statement, Relation):
        yield statement
    else:
        for part in statement.parts:
            yield from atoms(part)

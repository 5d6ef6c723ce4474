"""Statements about a layer: three relations and what can be built from them.

A claim function returns a :class:`Statement`. There are three atoms, ``left <= right``, ``left < right`` and
``left == right``; ``ge`` and ``gt`` are the first two turned round. Negation is pushed down to the atoms when
it is made, so a judge never meets it and has only five cases to treat.

Nothing here computes: operands are whatever the judge's world calls a scalar (or, for ``eq``, a vector).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Operator = Literal["le", "lt", "eq"]


class Uncompared:
    """A symbolic scalar: Python's comparisons would have to say True or False."""

    __slots__ = ()

    def _no_comparison(self, *_: Any) -> bool:
        raise TypeError("a symbolic scalar cannot be compared: state relations with le(a, b), lt(a, b), eq(a, b)")

    __lt__ = __le__ = __gt__ = __ge__ = __bool__ = _no_comparison


@dataclass(frozen=True)
class Relation:
    """``left op right``. ``label`` names the relation where a claim consists of several.

    denies: the equality of vectors u = v, where this is its negation, written 0 < ||u - v||^2.
    """

    op: Operator
    left: Any
    right: Any
    label: str = ""
    denies: Relation | None = None

    def __post_init__(self) -> None:
        for side in (self.left, self.right):
            if isinstance(side, float) and not math.isfinite(side):
                raise ValueError(f"a side of {self.op}(a, b) is {side}; a relation compares finite numbers")

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
    """The conjunction of one or more."""
    return AllOf(_one_or_more("all_of", parts))


def any_of(*parts: Statement) -> AnyOf:
    """The disjunction of one or more."""
    return AnyOf(_one_or_more("any_of", parts))


def _one_or_more(name: str, parts: tuple[Statement, ...]) -> tuple[Statement, ...]:
    wrong = [part for part in parts if not isinstance(part, (Relation, AllOf, AnyOf))]
    if wrong or not parts:
        found = _said(wrong[0]) if wrong else "nothing"
        raise TypeError(f"{name} takes relations such as le(a, b), one or more; this one was given {found}")
    return parts


def negate(statement: Statement) -> Statement:
    """The negation, with atoms of the same three kinds.

    Scalars are totally ordered, so a = b is denied by a < b or b < a; vectors u = v by 0 < ||u - v||^2.
    """
    if isinstance(statement, AllOf):
        return AnyOf(tuple(negate(part) for part in statement.parts))
    if isinstance(statement, AnyOf):
        return AllOf(tuple(negate(part) for part in statement.parts))
    _one_or_more("negate", (statement,))
    left, right, label = statement.left, statement.right, statement.label
    if statement.denies is not None:
        return statement.denies
    if statement.op == "le":
        return lt(right, left, label)
    if statement.op == "lt":
        return le(right, left, label)
    distance2 = _distance2(left, right)
    if distance2 is not None:
        return Relation("lt", 0 * distance2, distance2, label, denies=statement)
    return AnyOf((lt(left, right, label), lt(right, left, label)))


def _is_vector(x: Any) -> bool:
    """Whether x is a vector: a symbolic one has ``norm2``; an array is one if its last axis, the batch, has more than
    one entry."""
    if kind := _kind_of(x):
        return kind == "vector"
    shape: tuple[int, ...] = tuple(getattr(x, "shape", ()))
    return hasattr(x, "norm2") or (bool(shape) and shape[-1] > 1)


def _distance2(left: Any, right: Any) -> Any:
    """||left - right||^2 for two vectors, or a vector and the number 0; None for two scalars. TypeError for a vector and
    any other scalar."""
    vectors = [x for x in (left, right) if _is_vector(x)]
    if not vectors:
        return None
    if len(vectors) == 2:
        gap = left - right
    else:
        gap, other = (left, right) if vectors[0] is left else (right, left)
        if not (isinstance(other, (int, float)) and other == 0):
            raise TypeError(
                "a vector is compared with a scalar; use dot(u, v) or norm2(v) to make a scalar of a vector"
            )
    if hasattr(gap, "norm2"):
        return gap.norm2()
    from bntheory.arrays import is_torch

    square = gap * gap
    return square.sum(-1, keepdim=True) if is_torch(square) else square.sum(-1, keepdims=True)


def implies(hypothesis: Statement, conclusion: Statement) -> AnyOf:
    """Material implication."""
    return any_of(negate(hypothesis), conclusion)


def iff(one: Statement, other: Statement) -> AllOf:
    """Both, or neither."""
    return AllOf((implies(one, other), implies(other, one)))


def as_statement(returned: Statement | Iterable[Statement]) -> Statement:
    """What a claim function returned: a statement, or several to be read as their conjunction."""
    if isinstance(returned, (Relation, AllOf, AnyOf)):
        return returned
    if isinstance(returned, Iterable) and not (isinstance(returned, (str, bytes, dict)) or _kind_of(returned)):
        parts = tuple(returned)
        wrong = [_said(part) for part in parts if not isinstance(part, (Relation, AllOf, AnyOf))]
        if parts and not wrong:
            return AllOf(parts)
        found = f"a list with {wrong[0]}" if wrong else "an empty list"
    else:
        found = _said(returned)
    raise TypeError(
        f"a claim returns le(a, b), lt(a, b), eq(a, b), ge(a, b) or a list of them; this one returned {found}"
    )


def _kind_of(x: Any) -> str | None:
    """What a part of a claim's layer is, as :mod:`bntheory.layer.view` hands it out: "scalar", "vector" or
    "function"."""
    return getattr(type(x), "kind", None)


def _said(returned: Any) -> str:
    if returned is None:
        return "None: is a 'return' missing?"
    if isinstance(returned, bool):
        return f"the truth value {returned}: comparisons with <, <= and == are not recorded, call le, lt, eq"
    kind = _kind_of(returned)
    return f"a {kind}" if kind else f"{type(returned).__name__} ({returned!r:.80})"


def atoms(statement: Any) -> Iterator[Any]:
    """The relations of a statement, or what a judge has put in their place, from left to right."""
    if isinstance(statement, (AllOf, AnyOf)):
        for part in statement.parts:
            yield from atoms(part)
    else:
        yield statement

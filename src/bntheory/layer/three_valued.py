"""What a statement says where a part of it has no value: strong Kleene logic over true, false and undefined.

An atom is undefined where one of its sides is: a quotient whose divisor vanishes, the root of a negative number. That
is its own affair and not the whole statement's: false and undefined is false, true or undefined is true, and everything
else with an undefined part that matters is undefined. Negation and implication come as conjunctions and disjunctions of
atoms (:func:`~bntheory.layer.relations.negate`), and a negated atom is undefined where the atom is.

A claim is refuted where it is false, and proved if it is false nowhere; hypotheses count where they are true.

Every world has its own values for "here" (a truth value, a formula, an array of numbers); what is common to all is
written here once, over a world's *both* (all of a list) and *either* (one of a list).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bntheory.layer.relations import AllOf, AnyOf

V = TypeVar("V")
Join = Callable[[Sequence[V]], V]


def map_atoms(statement: Any, change: Callable[[Any], Any]) -> Any:
    """The statement with every atom replaced; an atom may become a statement of several."""
    if isinstance(statement, (AllOf, AnyOf)):
        return type(statement)(tuple(map_atoms(part, change) for part in statement.parts))
    return change(statement)


def conjuncts(statement: Any, most: int) -> list[Any]:
    """The statement as a conjunction of parts as small as can be: it is false somewhere exactly if one of them is.

    The statement alone where there would be more than ``most``.

    a or (b and c) is (a or b) and (a or c) in strong Kleene logic too.
    """
    found = _conjuncts(statement, most)
    return [statement] if len(found) > most else found


def _conjuncts(statement: Any, most: int) -> list[Any]:
    if isinstance(statement, AllOf):
        return [each for part in statement.parts for each in _conjuncts(part, most)]
    if isinstance(statement, AnyOf):
        parts = [conjuncts(part, most) for part in statement.parts]
        if 1 < math.prod(map(len, parts)) <= most:
            return [AnyOf(chosen) for chosen in itertools.product(*parts)]
    return [statement]


def true_where(statement: Any, atom: Callable[[Any], V], both: Join[V], either: Join[V]) -> V:
    """Where the statement is true; ``atom`` says it of an atom."""
    if isinstance(statement, (AllOf, AnyOf)):
        parts = [true_where(part, atom, both, either) for part in statement.parts]
        return both(parts) if isinstance(statement, AllOf) else either(parts)
    return atom(statement)


def false_where(statement: Any, atom: Callable[[Any], V], both: Join[V], either: Join[V]) -> V:
    """Where the statement is false; ``atom`` says where an atom is."""
    return true_where(statement, atom, either, both)


def undefined_where(
    statement: Any,
    true: Callable[[Any], V],
    false: Callable[[Any], V],
    undefined: Callable[[Any], V],
    both: Join[V],
    either: Join[V],
) -> V:
    """Where the statement is neither true nor false: a part is undefined, and no other part decides.

    Written without "not", which some worlds do not have.
    """
    if not isinstance(statement, (AllOf, AnyOf)):
        return undefined(statement)
    unknown = [undefined_where(part, true, false, undefined, both, either) for part in statement.parts]
    where, atom = (true_where, true) if isinstance(statement, AllOf) else (false_where, false)
    idle = [where(part, atom, both, either) for part in statement.parts]
    return both([either(unknown), *(either([u, i]) for u, i in zip(unknown, idle, strict=True))])


def value_of(statement: Any, atom: Callable[[Any], bool | None]) -> bool | None:
    """The truth value at one place; None is undefined, or not known."""
    if true_where(statement, lambda a: atom(a) is True, all, any):
        return True
    if false_where(statement, lambda a: atom(a) is False, all, any):
        return False
    return None

"""``max_eig(A) <= b`` and ``min_eig(A) >= b``: one bound for all directions.

For a symmetric A the largest eigenvalue is at most b exactly if <u, A u> <= b <u, u> for every u, so such a comparison
is that inequality with one more free vector. Free vectors are universally quantified, and a comparison under ``and``
and ``or`` may be: what follows is proved for all directions, and a counterexample comes with its direction. In a
hypothesis, under ``not``, or turned round it would speak of *some* direction, which no free vector says; there it is
refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import NoReturn

from bntheory.claims.typed.syntax import Binary, Call, Compare, Junction, Name, Node, Not, Number, complain
from bntheory.claims.typed.trees import calls_of
from bntheory.layer.words import SECOND, UNIT_B, WORDS

_ALLOWED = {"max_eig": ("<=", "<"), "min_eig": (">=", ">")}
_TURNED = {"<=": ">=", "<": ">", ">=": "<=", ">": "<"}


def with_directions(
    text: str, tree: Node, operators: tuple[str, ...], *, assumed: bool = False
) -> tuple[Node, tuple[str, ...]]:
    """The tree with every such comparison spelt out, and the names of the directions: ``direction 1``, ``direction 2``,
    ...

    operators: what may stand in the parentheses. The names have a space, so that none that is typed can meet them.
    UserError, pointing at the word, where it says something else.
    """
    for call in calls_of(tree, _ALLOWED):
        if [a.name for a in call.arguments if isinstance(a, Name) and a.name in operators] == [] or len(
            call.arguments
        ) > 1:
            complain(text, call.column, bare_name_needed(call, operators))
    names: list[str] = []
    return _spelt(text, tree, names, assumed), tuple(names)


def bare_name_needed(call: Call, operators: Iterable[str]) -> str:
    """Why a function of an operator cannot be applied to what it is applied to."""
    said = f"{call.name} takes an operator by its bare name: {', '.join(operators)}"
    others = {name for name, word in (*SECOND.items(), *UNIT_B.items()) if word.is_operator}
    if any(isinstance(a, (Name, Call)) and a.name in others for a in call.arguments):
        said += "; the operators of a second batch or unit are not covered"
    return said


def _spelt(text: str, node: Node, names: list[str], assumed: bool) -> Node:
    call = next(calls_of(node, _ALLOWED), None)
    if call is None:
        return node
    if isinstance(node, Junction):
        return replace(node, parts=tuple(_spelt(text, part, names, assumed) for part in node.parts))
    word = call.name
    if assumed:
        _refuse_hypothesis(text, call)
    if not isinstance(node, Compare) or len(node.ops) != 1:
        where = "under 'not'" if isinstance(node, Not) else "here"
        complain(text, call.column, f"{word} cannot stand {where}; it is one side of a comparison: {_example(word)}")
    (op,), (right,), left = node.ops, node.rest, node.first
    if right is call:
        left, right, op = right, left, _TURNED.get(op, op)
    if left is not call or next(calls_of(right, _ALLOWED), None) is not None:
        complain(text, call.column, f"{word} is the whole of one side of a comparison: {_example(word)}")
    if op not in _ALLOWED[word]:
        _refuse_existence(text, call, op)
    names.append(f"direction {len(names) + 1}")
    return _bound(call, op, right, names[-1])


def _bound(call: Call, op: str, bound: Node, direction: str) -> Node:
    """<u, A u> op b <u, u>; a strict bound holds for all u but zero."""
    at, (operator,) = call.column, call.arguments
    assert isinstance(operator, Name)
    u = Name(direction, at)
    moved = Call(operator.name, (u,), at)
    square = Call("norm2", (u,), at)
    stated = Compare(Call("dot", (u, moved), at), (op,), (Binary("*", bound, square, at),), at)
    if op in ("<=", ">="):
        return stated
    return Junction("or", (Compare(square, ("<=",), (Number(Fraction(0), at),), at), stated), at)


def _example(word: str) -> str:
    return f"{word}(input_hess) {_ALLOWED[word][0]} b"


def _refuse_existence(text: str, call: Call, op: str) -> NoReturn:
    complain(
        text,
        call.column,
        f"{call.name}(A) {op} b says that some direction exists, and claims speak of all; inside are max_eig(A) <= b and "
        "min_eig(A) >= b, and dot(u, A(u)) >= b*norm2(u) for a direction u that the claim names",
    )


def _refuse_hypothesis(text: str, call: Call) -> NoReturn:
    (operator,) = call.arguments
    assert isinstance(operator, Name)
    other = "cannot be assumed" if operator.name in WORDS and operator.name != "hess" else "is bounded in no other way"
    complain(
        text,
        call.column,
        f"a hypothesis about all directions is a property of the domain: --smoothness b bounds the eigenvalues of hess by -b and b, "
        f"--hessian psd by 0, --operator K:psd those of K; {call.name} of {operator.name} {other}",
    )

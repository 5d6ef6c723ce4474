"""A Python claim written down in the typed grammar, by calling it once on a layer that only records.

So a claim of a file can be shown, compared with what it says when it is called again, and carried as data.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from fractions import Fraction
from typing import Any

from bntheory.claims.typed.syntax import Binary, Call, Compare, Junction, Name, Node, Not, Number, Sign
from bntheory.errors import ClaimError, OutsideVocabulary
from bntheory.layer.domain import LayerDomain
from bntheory.layer.number import BySign
from bntheory.layer.relations import AllOf, Relation, Statement
from bntheory.layer.view import state
from bntheory.layer.words import WORDS

_CALLS, _SECONDS = 16, 0.5
_SIGN = {"le": "<=", "lt": "<", "eq": "=="}


class _Written(BySign):
    """A scalar or a vector that knows only how it was made."""

    __slots__ = ("node", "record")

    def __init__(self, record: _Record, node: Node) -> None:
        self.record, self.node = record, node

    def _with(self, sign: str, x: Any, turned: bool = False) -> _Written:
        a, b = self.node, self.record.node_of(x)
        if turned:
            a, b = b, a
        zero = Number(Fraction(0), 0)
        if sign == "*" and b == zero and a == Name("gamma", 0):
            return _Written(self.record, zero)  # how a view makes a constant of the world
        if sign == "+" and a == zero:
            return _Written(self.record, b)
        return self.record.made(Binary, sign, a, b)

    def __pow__(self, n: int) -> _Written:
        return self._with("**", Fraction(n))

    def __neg__(self) -> _Written:
        return self.record.made(Sign, self.node, True)

    def sqrt(self) -> _Written:
        return self.record.made(Call, "sqrt", (self.node,))

    def __repr__(self) -> str:
        return text_of(self.node)


class _Function:
    """A word that is applied, or a free operator."""

    def __init__(self, record: _Record, name: str) -> None:
        self.record, self.name = record, name

    def __call__(self, *arguments: Any) -> _Written:
        return self.record.made(Call, self.name, tuple(self.record.node_of(x) for x in arguments))


class _Record:
    """The layer that only records. Equal parts are one object, so that two statements can be compared at once."""

    def __init__(self) -> None:
        self.nodes: dict[Any, Any] = {}

    def node_of(self, x: Any) -> Node:
        if isinstance(x, _Function):
            return self.made(Name, x.name).node
        return x.node if isinstance(x, _Written) else self.made(Number, Fraction(x)).node

    def made(self, kind: type[Any], *content: Any) -> _Written:
        key = (
            kind,
            *(
                tuple(map(id, c)) if isinstance(c, tuple) else c if isinstance(c, (str, bool, Fraction)) else id(c)
                for c in content
            ),
        )
        if key not in self.nodes:
            self.nodes[key] = kind(*content, 0)
        return _Written(self, self.nodes[key])

    def __getattr__(self, name: str) -> Any:
        word = WORDS[name]
        return self.made(Name, name) if word.takes is None else _Function(self, name)

    def scalar(self, name: str) -> _Written:
        return self.made(Name, name)

    vector = scalar

    def operator(self, name: str) -> _Function:
        return _Function(self, name)

    def statement(self, s: Statement) -> Node:
        """The statement as a node."""
        if isinstance(s, Relation):
            sides = [self.node_of(side) for side in (s.left, s.right)]
            return self.made(Compare, sides[0], (_SIGN[s.op],), (sides[1],)).node
        if not s.parts:
            zero = self.made(Number, Fraction(0)).node
            return self.made(Compare, zero, ("==" if isinstance(s, AllOf) else "<",), (zero,)).node
        parts = tuple(self.statement(part) for part in s.parts)
        return parts[0] if len(parts) == 1 else self.made(Junction, "and" if isinstance(s, AllOf) else "or", parts).node


def transcribe(function: Callable[[Any], Any], domain: LayerDomain, record: Any = None) -> Node:
    """What a claim's function states, as a tree of the typed grammar. ClaimError where it breaks."""
    record = _Record() if record is None else record
    node: Node = record.statement(state(function, record, domain))
    return node


def answers_differently(function: Callable[[Any], Any], domain: LayerDomain) -> str:
    """How a claim contradicts itself when it is called again, "" where it does not."""
    record = _Record()
    first: Any = None
    start = time.perf_counter()
    for call in range(_CALLS):
        heard = sys.stdout if call == 0 else io.StringIO()  # what it prints is shown once
        try:
            with redirect_stdout(heard):
                answer: Any = transcribe(function, domain, record)
        except (ClaimError, OutsideVocabulary) as error:
            answer = str(error)
        if call == 0:
            first = answer
        elif answer is not first and answer != first:
            shown = [a if isinstance(a, str) else text_of(a) for a in (first, answer)]
            return f"first {shown[0]:.200}, then {shown[1]:.200}"
        if call and time.perf_counter() - start > _SECONDS:
            break
    return ""


def text_of(node: Node, most: int = 4000) -> str:
    """The typed expression of a node; where it has more than ``most`` characters, its beginning and ``...``."""
    pieces: list[str] = []
    left = most
    pending: list[Node | str] = [node]
    while pending and left > 0:
        item = pending.pop()
        if isinstance(item, str):
            pieces.append(item)
            left -= len(item)
        else:
            pending += reversed(_pieces(item))
    return "".join(pieces) + (" ..." if pending else "")


def _pieces(node: Node) -> list[Node | str]:
    """The text of a node, its parts still nodes: so a tree that shares its parts is written no further than it is
    read."""
    if isinstance(node, Number):
        return [str(node.value)]
    if isinstance(node, Name):
        return [node.name]
    if isinstance(node, Call):
        inside: list[Node | str] = []
        for argument in node.arguments:
            inside += [", ", argument] if inside else [argument]
        return [node.name, "(", *inside, ")"]
    rank = _rank(node)
    if isinstance(node, Sign):
        return ["-" if node.negative else "+", *_bracketed(node.operand, rank)]
    if isinstance(node, Binary):
        # - and / group from the left; the right side of either needs brackets around its like
        right = _bracketed(node.right, rank + 1)
        spaced = node.op if node.op in ("**", "/", "*") else f" {node.op} "
        return [*_bracketed(node.left, rank + (node.op == "**")), spaced, *right]
    if isinstance(node, Compare):
        written = _bracketed(node.first, rank + 1)
        for op, side in zip(node.ops, node.rest, strict=True):
            written += [f" {op} ", *_bracketed(side, rank + 1)]
        return written
    if isinstance(node, Junction):
        joined: list[Node | str] = []
        for part in node.parts:
            joined += [f" {node.op} "] * bool(joined) + _bracketed(part, rank + 1)
        return joined
    return ["not ", *_bracketed(node.operand, rank)]


def _bracketed(node: Node, least: int) -> list[Node | str]:
    return [node] if _rank(node) >= least else ["(", node, ")"]


def _rank(node: Node) -> int:
    """How tightly a node binds: or, and, not, comparison, sum, product, sign, power, atom."""
    if isinstance(node, Junction):
        return 0 if node.op == "or" else 1
    if isinstance(node, Binary):
        return {"+": 4, "-": 4, "*": 5, "/": 5, "**": 7}[node.op]
    if isinstance(node, Number):
        return 8 if node.value.denominator == 1 and node.value >= 0 else 4
    return {Not: 2, Compare: 3, Sign: 6}.get(type(node), 8)

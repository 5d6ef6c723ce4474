"""The meaning of a typed claim's syntax tree over a layer of any world: symbols, arrays, balls."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal, Protocol

from bntheory.claims.typed.syntax import Binary, Call, Compare, Junction, Name, Node, Not, Number, Sign
from bntheory.errors import UserError
from bntheory.layer.constants import too_long
from bntheory.layer.domain import Normaliser
from bntheory.layer.number import OPERATIONS
from bntheory.layer.relations import Statement, all_of, any_of, eq, le, lt, negate
from bntheory.layer.second_batch import SecondBatch
from bntheory.layer.second_unit import SecondUnit
from bntheory.layer.vocabulary import batch_mean, centre, sqrt, standardise
from bntheory.layer.words import SECOND, UNIT_B

Kind = Literal["scalar", "vector", "operator", "relation"]


class Typed(Protocol):
    """A checked tree: its free names, and the type of each of its parts."""

    @property
    def scalars(self) -> tuple[str, ...]: ...
    @property
    def vectors(self) -> tuple[str, ...]: ...
    @property
    def operators(self) -> tuple[str, ...]: ...
    @property
    def normaliser(self) -> Normaliser: ...
    def kind_of(self, node: Node) -> Kind: ...


_OPPOSITE = {"<=": ">", ">": "<=", "<": ">=", ">=": "<", "==": "!=", "!=": "=="}


class Interpreter:
    """The value of a tree over the view of a layer, to which a Fraction is a constant."""

    def __init__(self, claim: Typed, layer: Any) -> None:
        self.claim, self.layer = claim, layer
        self.others = {"@2": SecondBatch(layer, claim.normaliser), "@b": SecondUnit(layer, claim.normaliser)}

    def statement(self, node: Node, holds: bool = True) -> Statement:
        """The statement, or its negation, which is pushed down to the comparisons."""
        if isinstance(node, Junction):
            parts = [self.statement(part, holds) for part in node.parts]
            return all_of(*parts) if (node.op == "and") == holds else any_of(*parts)
        if isinstance(node, Not):
            return self.statement(node.operand, not holds)
        if not isinstance(node, Compare):
            raise TypeError(f"{type(node).__name__} is no statement")
        sides = (node.first, *node.rest)
        values = [self.value(side) for side in sides]
        vectors = [self.claim.kind_of(side) == "vector" for side in sides]
        atoms = [
            self._compare(op if holds else _OPPOSITE[op], values[i], values[i + 1], any(vectors[i : i + 2]))
            for i, op in enumerate(node.ops)
        ]
        if len(atoms) == 1:
            return atoms[0]
        return all_of(*atoms) if holds else any_of(*atoms)

    def _compare(self, op: str, a: Any, b: Any, vectors: bool) -> Statement:
        if vectors:  # a scalar among them is the number zero
            a, b = (one * 0 if isinstance(other, Fraction) else other for other, one in ((a, b), (b, a)))
            return eq(a, b) if op == "==" else negate(eq(a, b))
        if op == "==":
            return eq(a, b)
        if op == "!=":
            return negate(eq(a, b))
        return {"<=": le(a, b), "<": lt(a, b), ">=": le(b, a), ">": lt(b, a)}[op]

    def value(self, node: Node) -> Any:
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Name):
            return self._name(node.name)
        if isinstance(node, Sign):
            value = self.value(node.operand)
            return -value if node.negative else value
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Binary):
            return self._binary(node.op, self.value(node.left), self.value(node.right))
        raise TypeError(f"{type(node).__name__} has no value")

    def _name(self, name: str) -> Any:
        if name in self.claim.scalars:
            return self.layer.scalar(name)
        if name in self.claim.vectors:
            return self.layer.vector(name)
        if name in SECOND or name in UNIT_B:
            return self._of_another(name)
        return getattr(self.layer, name)  # the checker admits the words of the vocabulary only

    def _call(self, node: Call) -> Any:
        layer = self.layer
        if node.name == "trace":
            return layer.trace(self._operator(node.arguments[0]))
        values = [self.value(argument) for argument in node.arguments]
        if node.name in self.claim.operators:
            return layer.operator(node.name)(*values)
        if node.name == "sqrt":
            return sqrt(values[0])
        helpers = {"batch_mean": batch_mean, "centre": centre, "standardise": standardise}
        if node.name in helpers:
            return helpers[node.name](layer, *values)
        if node.name in SECOND or node.name in UNIT_B:
            return self._of_another(node.name)(*values)
        return getattr(layer, node.name)(*values)

    def _of_another(self, word: str) -> Any:
        """A word of the layer at a second batch, or of its second unit."""
        suffix = "@2" if word in SECOND else "@b"
        return getattr(self.others[suffix], word.removesuffix(suffix))

    def _operator(self, node: Node) -> Any:
        assert isinstance(node, Name)  # the checker admits nothing else
        if node.name in self.claim.operators:
            return self.layer.operator(node.name)
        return getattr(self.layer, node.name)

    def _binary(self, op: str, a: Any, b: Any) -> Any:
        constants = [x for x in (a, b) if isinstance(x, Fraction)]
        try:
            value = OPERATIONS[op](a, b)
        except ZeroDivisionError:
            if len(constants) < 2:
                raise
            raise UserError("the expression divides by zero") from None
        if why := too_long(value):
            raise UserError(why)
        return value

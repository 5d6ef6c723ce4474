"""The meaning of a typed claim's syntax tree over a layer of any world: symbols, arrays, balls."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bntheory.claims.typed.syntax import Binary, Call, Compare, Junction, Name, Node, Not, Number, Sign
from bntheory.errors import UserError
from bntheory.layer.relations import Statement, all_of, any_of, eq, le, lt
from bntheory.layer.vocabulary import batch_mean, centre, sqrt, standardise

if TYPE_CHECKING:
    from bntheory.claims.typed.expression import TypedClaim

__all__ = ["Interpreter"]

_OPPOSITE = {"<=": ">", ">": "<=", "<": ">=", ">=": "<", "==": "!=", "!=": "=="}


class Interpreter:
    """The value of a tree over one layer. Rational constants stay Fractions until they meet the layer's own numbers."""

    def __init__(self, claim: TypedClaim, layer: Any) -> None:
        self.claim, self.layer = claim, layer

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
            a = b * 0 if isinstance(a, Fraction) else a
            b = a * 0 if isinstance(b, Fraction) else b
            return eq(a, b) if op == "==" else lt(self._own(Fraction(0)), self.layer.norm2(a - b))
        a, b = self._own(a), self._own(b)
        if op == "==":
            return eq(a, b)
        if op == "!=":
            return any_of(lt(a, b), lt(b, a))
        return {"<=": le(a, b), "<": lt(a, b), ">=": le(b, a), ">": lt(b, a)}[op]

    def _own(self, x: Any) -> Any:
        """A constant as a scalar of the layer's world."""
        if not isinstance(x, Fraction):
            return x
        return (self.layer.gamma * 0 + x.numerator) / x.denominator

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
        value = getattr(self.layer, name)  # the checker admits the words of the vocabulary only
        return Fraction(value) if isinstance(value, int) else value

    def _call(self, node: Call) -> Any:
        layer = self.layer
        if node.name == "trace":
            return layer.trace(self._operator(node.arguments[0]))
        values = [self.value(argument) for argument in node.arguments]
        if node.name in self.claim.operators:
            return layer.operator(node.name)(*values)
        if node.name == "sqrt":
            return sqrt(self._own(values[0]))
        helpers = {"batch_mean": batch_mean, "centre": centre, "standardise": standardise}
        if node.name in helpers:
            return helpers[node.name](layer, *values)
        return getattr(layer, node.name)(*values)

    def _operator(self, node: Node) -> Any:
        assert isinstance(node, Name)  # the checker admits nothing else
        if node.name in self.claim.operators:
            return self.layer.operator(node.name)
        return getattr(self.layer, node.name)

    def _binary(self, op: str, a: Any, b: Any) -> Any:
        constants = isinstance(a, Fraction), isinstance(b, Fraction)
        if op == "**":
            power = int(b)
            if constants[0] and a.numerator.bit_length() + a.denominator.bit_length() > 20_000:
                raise UserError("the numbers in the expression grow beyond 6000 digits")
            if constants[0] or power >= 0:
                return (self._own(a) if constants[0] and a == 0 and power < 0 else a) ** power
            return 1 / a**-power
        if all(constants):
            if max(a.numerator.bit_length(), b.numerator.bit_length(), a.denominator.bit_length()) > 20_000:
                raise UserError("the numbers in the expression grow beyond 6000 digits")
            if op == "/" and b == 0:
                raise UserError("the expression divides by zero")
            return {"+": a + b, "-": a - b, "*": a * b}[op] if op != "/" else a / b
        if op == "+":
            return self._own(a) + self._own(b)
        if op == "-":
            return self._own(a) - self._own(b)
        if op == "*":
            return _scaled(b, a) if constants[0] else _scaled(a, b) if constants[1] else a * b
        if constants[1]:
            if b == 0:
                raise UserError("the expression divides by zero")
            return _scaled(a, 1 / b)
        return self._own(a) / b


def _scaled(x: Any, c: Fraction) -> Any:
    """c x without leaving x's number type."""
    if c.denominator == 1:
        return x * c.numerator
    return x * c.numerator / c.denominator

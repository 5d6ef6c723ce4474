"""What a typed claim says at given layers: true, false or undefined, by a reading of its own.

Nothing of bntheory is used here. The text is handed to Python's own parser once its names and numbers have been replaced by
placeholders, and the tree is evaluated over :class:`~jet_layer.JetLayer`. Connectives follow Kleene: an atom in which something
is undefined is neither true nor false; ``and`` is false where one part is, ``or`` true where one part is.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from bounded_numbers import Bounded
from jet_layer import JetLayer

__all__ = ["Claimed", "Statement", "Truth"]

_TOKEN = re.compile(r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*(?:@case)?)|(?P<other>\s+|.)")
_KEPT = {"and", "or", "not"}


@dataclass(frozen=True)
class Statement:
    """A typed claim with its hypotheses and its domain. ``pins`` say how to draw layers that meet the hypotheses."""

    text: str
    assume: tuple[str, ...] = ()
    eps: str = "any"
    gamma: str = "any"
    hessian: str = "any"
    min_m: int = 2
    normaliser: str = "batch"
    scalars: dict[str, str] = field(default_factory=dict)
    vectors: tuple[str, ...] = ()
    operators: dict[str, str] = field(default_factory=dict)
    pins: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Truth:
    """At each layer, what may be the case: true, false, undefined. Exactly one is marked where rounding leaves nothing open."""

    true: Any
    false: Any
    undefined: Any

    def __and__(self, o: Truth) -> Truth:
        either = (self.undefined & (o.true | o.undefined)) | (o.undefined & (self.true | self.undefined))
        return Truth(self.true & o.true, self.false | o.false, either)

    def __invert__(self) -> Truth:
        return Truth(self.false, self.true, self.undefined)

    def __or__(self, o: Truth) -> Truth:
        return ~(~self & ~o)

    @property
    def surely_true(self) -> Any:
        return self.true & ~self.false & ~self.undefined

    @property
    def surely_false(self) -> Any:
        return self.false & ~self.true & ~self.undefined

    @property
    def surely_undefined(self) -> Any:
        return self.undefined & ~self.true & ~self.false


class Claimed:
    """A typed claim, read once and evaluated at many layers."""

    def __init__(self, text: str) -> None:
        self.names: list[str] = []
        self.numbers: list[Fraction] = []
        words = []
        for token in _TOKEN.finditer(text):
            word = token.group()
            if token["number"]:
                words.append(f"number_{len(self.numbers)}")
                self.numbers.append(Fraction(word))
            elif token["name"] and word not in _KEPT:
                words.append(f"name_{len(self.names)}")
                self.names.append(word)
            else:
                words.append(word)
        self.tree = ast.parse("".join(words).strip(), mode="eval").body

    def truth(self, layer: JetLayer) -> Truth:
        """What the claim says at every layer."""
        return self._truth(self.tree, layer)

    def _truth(self, node: ast.expr, layer: JetLayer) -> Truth:
        if isinstance(node, ast.BoolOp):
            parts = [self._truth(v, layer) for v in node.values]
            result = parts[0]
            for part in parts[1:]:
                result = result & part if isinstance(node.op, ast.And) else result | part
            return result
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self._truth(node.operand, layer)
        if not isinstance(node, ast.Compare):
            raise TypeError(ast.dump(node))
        sides = [self._value(side, layer) for side in (node.left, *node.comparators)]
        links = [_compare(op, a, b) for op, a, b in zip(node.ops, sides, sides[1:], strict=False)]
        result = links[0]
        for link in links[1:]:
            result = result & link
        return result

    def _value(self, node: ast.expr, layer: JetLayer) -> Bounded:
        if isinstance(node, ast.Name):
            kind, _, index = node.id.partition("_")
            return layer.constant(self.numbers[int(index)]) if kind == "number" else layer.named(self.names[int(index)])
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, layer)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp):
            left = self._value(node.left, layer)
            if isinstance(node.op, ast.Pow):
                return left ** self.exponent(node.right)
            right = self._value(node.right, layer)
            if isinstance(node.op, ast.Add):
                return left + right
            if isinstance(node.op, ast.Sub):
                return left - right
            return left * right if isinstance(node.op, ast.Mult) else left / right
        if isinstance(node, ast.Call):
            name = self.called(node.func)
            if name == "trace":
                return layer.trace(self.called(node.args[0]))
            if name in ("max_eig", "min_eig"):
                return layer.extreme(self.called(node.args[0]), name)
            return _call(name, [self._value(a, layer) for a in node.args], layer)
        raise TypeError(ast.dump(node))

    def called(self, node: ast.expr) -> str:
        assert isinstance(node, ast.Name)
        return self.names[int(node.id.partition("_")[2])]

    def exponent(self, node: ast.expr) -> int:
        if isinstance(node, ast.UnaryOp):
            return -self.exponent(node.operand) if isinstance(node.op, ast.USub) else self.exponent(node.operand)
        assert isinstance(node, ast.Name)
        return int(self.numbers[int(node.id.partition("_")[2])])


def _call(name: str, values: list[Bounded], layer: JetLayer) -> Bounded:
    first = values[0]
    if name in layer.data.operators or name in ("hess", "input_hess", "jac"):
        return layer.operator(name, first)
    if name == "dot":
        return first.dot(values[1])
    if name == "norm2":
        return first.dot(first)
    if name == "sqrt":
        return first.sqrt()
    mean = first.dot(layer.named("one")) / layer.constant(layer.data.m)
    if name == "batch_mean":
        return mean
    centred = first - mean * layer.named("one")
    if name == "centre":
        return centred
    if name == "standardise":
        variance = centred.dot(centred) / layer.constant(layer.data.m)
        return centred / (variance + layer.named("eps")).sqrt()
    raise TypeError(name)


def _compare(op: ast.cmpop, a: Bounded, b: Bounded) -> Truth:
    gap = a - b
    signs = gap.signs()
    if signs.ndim == 2:
        differs = (np.abs(signs) == 1).any(1)
        equal, open_ = (signs == 0).all(1), (signs == 2).any(1) & ~differs
        less = more = differs
    else:
        less, more, equal, open_ = signs == -1, signs == 1, signs == 0, signs == 2
    name = type(op).__name__
    yes = {"Lt": less, "LtE": less | equal, "Gt": more, "GtE": more | equal, "Eq": equal, "NotEq": less | more}[name]
    no = {"Lt": more | equal, "LtE": more, "Gt": less | equal, "GtE": less, "Eq": less | more, "NotEq": equal}[name]
    yes, no = yes | open_, no | open_
    maybe = gap.unsure
    return Truth((yes | maybe) & ~gap.bad, (no | maybe) & ~gap.bad, gap.bad | maybe)

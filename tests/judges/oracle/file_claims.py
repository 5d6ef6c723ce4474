"""The same claims as Python functions, as a user's file has them, with free names that no grammar would admit."""

from __future__ import annotations

import ast
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from read_claim import Claimed, Statement

from bntheory import LayerDomain, all_of, any_of, eq, ge, gt, le, lt, sqrt
from bntheory.claims.claim import Claim, Source
from bntheory.layer.relations import negate
from bntheory.layer.vocabulary import batch_mean, centre, standardise

__all__ = ["claim_in_python", "renamed"]

STRANGE = (
    "λ",
    "y hat",
    "<g, 1>",
    "H v",
    "'",
    "m",
    "grad",
    "σ²",
    "0",
    "",
    "k!1",
    "q|",
    "{a}",
    "\\gamma",
    "名",
    "e1 ",
    "True",
    "lambda",
)
_RELATIONS = {ast.LtE: le, ast.Lt: lt, ast.GtE: ge, ast.Gt: gt, ast.Eq: eq}
_HELPERS: dict[str, Callable[..., Any]] = {"batch_mean": batch_mean, "centre": centre, "standardise": standardise}


def renamed(s: Statement, rng: Any) -> dict[str, str]:
    """A strange name for every free name; the ending of a case stays."""
    names = [*s.scalars, *s.vectors, *s.operators]
    strange = [str(name) for name in rng.permutation(STRANGE)]
    return {name: strange.pop() + ("@case" if name.endswith("@case") else "") for name in names}


def claim_in_python(s: Statement, names: dict[str, str]) -> Claim:
    """The claim whose function and assumptions do what the text says, with the free names replaced."""
    text, hypotheses = Claimed(s.text), [Claimed(a) for a in s.assume]
    domain = LayerDomain(
        eps=s.eps,
        gamma=s.gamma,
        hessian=s.hessian,
        min_m=s.min_m,
        normaliser=s.normaliser,
        scalars={names[k]: v for k, v in s.scalars.items()},
        vectors=tuple(names[v] for v in s.vectors),
        operators={names[k]: v for k, v in s.operators.items()},
    )

    def check(layer: Any) -> Any:
        return _Spoken(text, s, names, layer).statement(text.tree)

    def assume(layer: Any) -> Any:
        return [_Spoken(h, s, names, layer).statement(h.tree) for h in hypotheses]

    return Claim("test.in-python", "layer", Source("test", ""), s.text, check, domain, assume if hypotheses else None)


class _Spoken:
    """A tree in the words of a layer: what a user would have written by hand."""

    def __init__(self, claim: Claimed, s: Statement, names: dict[str, str], layer: Any) -> None:
        self.claim, self.s, self.names, self.layer = claim, s, names, layer

    def statement(self, node: ast.expr) -> Any:
        if isinstance(node, ast.BoolOp):
            parts = [self.statement(v) for v in node.values]
            return all_of(*parts) if isinstance(node.op, ast.And) else any_of(*parts)
        if isinstance(node, ast.UnaryOp):
            return negate(self.statement(node.operand))
        assert isinstance(node, ast.Compare)
        sides = [self.value(side) for side in (node.left, *node.comparators)]
        links = []
        for op, a, b in zip(node.ops, sides, sides[1:], strict=False):
            links.append(negate(eq(a, b)) if isinstance(op, ast.NotEq) else _RELATIONS[type(op)](a, b))
        return links[0] if len(links) == 1 else all_of(*links)

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            kind, _, index = node.id.partition("_")
            if kind == "number":
                number = self.claim.numbers[int(index)]
                return int(number) if number.denominator == 1 else float(number)
            return self._named(self.claim.names[int(index)])
        if isinstance(node, ast.UnaryOp):
            value = self.value(node.operand)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp):
            return self._binary(node)
        assert isinstance(node, ast.Call)
        return self._call(self.claim.called(node.func), node.args)

    def _named(self, name: str) -> Any:
        if name in self.s.scalars:
            return self.layer.scalar(self.names[name])
        return self.layer.vector(self.names[name]) if name in self.s.vectors else getattr(self.layer, name)

    def _operator(self, name: str) -> Any:
        return self.layer.operator(self.names[name]) if name in self.s.operators else getattr(self.layer, name)

    def _binary(self, node: ast.BinOp) -> Any:
        if isinstance(node.op, ast.Pow):
            return self.value(node.left) ** self.claim.exponent(node.right)
        a, b = self.value(node.left), self.value(node.right)
        if isinstance(a, (int, float)) and isinstance(b, (int, float)):  # else Python rounds before a layer is met
            a, b = Fraction(str(a)), Fraction(str(b))
        if isinstance(node.op, ast.Div):
            return a / b
        return a + b if isinstance(node.op, ast.Add) else a - b if isinstance(node.op, ast.Sub) else a * b

    def _call(self, name: str, arguments: list[ast.expr]) -> Any:
        if name in ("trace", "max_eig", "min_eig"):
            return getattr(self.layer, name)(self._operator(self.claim.called(arguments[0])))
        values = [self.value(a) for a in arguments]
        if name == "sqrt":
            return sqrt(*values)
        return _HELPERS[name](self.layer, *values) if name in _HELPERS else self._operator(name)(*values)

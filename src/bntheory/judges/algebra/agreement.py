"""The two routes held against each other: the same relation, at the same layer, must have the same two sides.

The inner-product calculus derived its derivatives from the definition of the normaliser, the coordinates use closed formulas.
At a layer in short rationals every inner product is known from the coordinates; put into the normal form of the calculus it
must give what the coordinates give.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from bntheory.errors import RoutesDisagree
from bntheory.judges.algebra.calculus import Calculus
from bntheory.judges.algebra.field import Scalar, exact_rational
from bntheory.judges.algebra.frame import Frame
from bntheory.judges.algebra.vectors import Coordinates
from bntheory.layer.domain import FREE, LayerDomain
from bntheory.layer.relations import atoms
from bntheory.layer.view import state

_BATCH = 4
_DIGITS = 60


def compare_routes(check: Callable[[Any], Any], domain: LayerDomain, calculus: Calculus) -> bool:
    """Evaluate every relation of the claim both ways at one layer with m = 4.

    False where the comparison could not be made (a constraint that the chosen numbers do not meet, an undefined
    quotient or root). Raises RoutesDisagree.
    """
    import sympy as sp

    from bntheory.layer.symbolic import FormalVector

    frame = Frame(domain, _BATCH, vectors=_vectors(calculus, domain))
    relations = list(atoms(state(check, frame, domain)))
    number = _Evaluator(frame)
    for op, x in frame.constraints:
        value = number(x)
        if value is None or (value != 0 if op == "eq" else value <= 0 if op == "gt" else value < 0):
            return False
    sides: list[tuple[str, Any, Any]] = []
    for index, (ours, theirs) in enumerate(zip(relations, atoms(calculus.claim), strict=True)):
        for side in ("left", "right"):
            a, b = getattr(ours, side), getattr(theirs, side)
            where = f"relation {index + 1}, {side} side"
            if isinstance(a, Coordinates) != isinstance(b, FormalVector):
                raise RoutesDisagree(f"{where}: one route has a vector where the other has a scalar")
            if isinstance(a, Coordinates):
                a, b = frame.norm2(a), calculus.layer.norm2(b)
            sides.append((where, a, sp.sympify(getattr(b, "value", b))))
    substitution = _substitution(calculus, frame, number)
    if substitution is None:
        return False
    for where, a, b in sides:
        ours_value = number(a if isinstance(a, Scalar) else frame.field.constant(a))
        theirs_value = b.xreplace(substitution).evalf(_DIGITS)
        if ours_value is None or not (theirs_value.is_Float or theirs_value.is_Rational):
            return False
        if abs(theirs_value - ours_value) > sp.Float(10) ** (10 - _DIGITS) * (1 + abs(ours_value)):
            raise RoutesDisagree(
                f"{where}: the coordinates give {sp.N(ours_value, 15)}, the inner-product calculus "
                f"{sp.N(theirs_value, 15)}. Please report it"
            )
    return True


def _vectors(calculus: Calculus, domain: LayerDomain) -> tuple[str, ...]:
    return ("layer.grad", *(FREE + v for v in domain.vectors))


def _value(i: int, sign: str) -> Fraction:
    """Short rationals with the right signs; no two alike, so that nothing cancels by chance."""
    size = Fraction(2 * i + 3, 2 * i + 7)
    return -size if sign == "any" and i % 3 == 1 else size


class _Evaluator:
    """The value of a field scalar, in many digits; None where it is undefined."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.values: dict[int, Any] = {}

    def __call__(self, x: Scalar) -> Any:
        top, bottom = self._poly(x.num), self._poly(x.den)
        return None if top is None or bottom is None or bottom == 0 else top / bottom

    def _poly(self, poly: Any) -> Any:
        import sympy as sp

        total = sp.Integer(0)
        for exponents, coefficient in poly.terms():
            c = exact_rational(coefficient)
            term = sp.Rational(c.numerator, c.denominator)
            for i, e in enumerate(exponents):
                if e:
                    value = self._symbol(i)
                    if value is None:
                        return None
                    term = term * value ** int(e)
            total += term
        return total

    def _symbol(self, i: int) -> Any:
        import sympy as sp

        field = self.frame.field
        if i not in field.roots:
            value = _value(i, field.signs[i])
            self.values[i] = sp.Rational(value.numerator, value.denominator)
        elif i not in self.values:
            inside = self(field.roots[i])
            self.values[i] = None if inside is None or inside < 0 else sp.sqrt(inside).evalf(_DIGITS + 20)
        return self.values[i]


def _substitution(calculus: Calculus, frame: Frame, number: _Evaluator) -> dict[Any, Any] | None:
    """What the calculus's symbols are in the frame."""
    layer, domain = calculus.layer, frame.domain
    named = {"one": frame.one, "y_hat": frame.y_hat, "g": frame.grad}
    named |= {FREE + v: frame.vector(v) for v in domain.vectors}

    def applied(word: tuple[str, ...], v: Coordinates) -> Coordinates:
        for operator in reversed(word):
            v = frame.hess(v) if operator == "H" else frame.operator(operator.removeprefix(FREE))(v)
        return v

    pairs = [
        (layer._m, frame.m),
        (layer.var.value, frame.var),
        *((layer._symbols[k], getattr(frame, k)) for k in ("gamma", "beta", "sigma", "eps", "mu")),
        *((layer.scalar(name).value, frame.scalar(name)) for name in domain.scalars),
    ]
    if domain.hessian == "isotropic" and "layer.hess" in frame.operators:
        pairs.append((layer._isotropic, frame.operators["layer.hess"].factor))
    for (a, word, b), symbol in layer.space.table.items():
        if a in named and b in named:
            pairs.append((symbol, frame.dot(named[a], applied(word, named[b]))))
    for word, symbol in layer.space.traces.items():
        if len(word) > 1:
            return None  # the coordinates have no trace of a product
        if word and symbol.is_Symbol and symbol not in layer.space.table.values():
            operator = frame.hessian_operator if word == ("H",) else frame.operator(word[0].removeprefix(FREE))
            pairs.append((symbol, operator.trace()))
    substitution = {}
    for symbol, scalar in pairs:
        value = number(scalar)
        if value is None:
            return None
        if symbol.is_Symbol:
            substitution[symbol] = value
    return substitution

"""From coordinates to a layer: actual vectors and matrices in rational numbers."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.field import Scalar, exact_rational
from bntheory.judges.algebra.frame import Frame
from bntheory.judges.algebra.vectors import Coordinates, SymbolicOperator
from bntheory.judges.exact.witness import Instance

__all__ = ["lift"]


def lift(frame: Frame, values: Mapping[int, Fraction]) -> Instance:
    """The layer of a concrete frame at the given values; symbols without a value are 0, or 1 where they must not vanish.

    Raises OutsideVocabulary where a number of the layer would be irrational.
    """
    assert frame.basis is not None
    assert frame.m_value is not None
    basis, batch = frame.basis, frame.m_value
    field = frame.field
    filled = {
        i: values.get(i, Fraction(1 if sign in ("positive", "nonzero") or field.names[i] == "gamma" else 0))
        for i, sign in enumerate(field.signs)
    }

    def number(x: Scalar) -> Fraction:
        return _evaluate(x.num, filled, field.roots) / _evaluate(x.den, filled, field.roots)

    def vector(v: Coordinates) -> tuple[Fraction, ...]:
        total = [Fraction(0)] * batch
        for i, c in v.parts.items():
            factor = number(c)
            total = [t + factor * u for t, u in zip(total, basis[i], strict=True)]
        return tuple(total)

    def matrix(operator: SymbolicOperator) -> tuple[tuple[Fraction, ...], ...]:
        diagonal = {"identity": Fraction(1), "zero": Fraction(0)}.get(operator.kind)
        if operator.kind == "isotropic":
            diagonal = number(operator.factor)
        if diagonal is not None:
            return tuple(
                tuple(diagonal if i == j else Fraction(0) for j in range(batch)) for i in range(batch)
            )
        rows = [[Fraction(0)] * batch for _ in range(batch)]
        if operator.elsewhere is not None:  # the same in every direction outside the basis
            share = number(operator.elsewhere) / (batch - len(frame.norms))
            for a in range(batch):
                for b in range(batch):
                    inside = sum((Fraction(u[a] * u[b], sum(x * x for x in u)) for u in basis), Fraction(0))
                    rows[a][b] = share * (int(a == b) - inside)
        for (i, j), symbol in operator.entries.items():
            ui, uj = basis[i], basis[j]
            entry = number(symbol) * batch / (sum(x * x for x in ui) * sum(x * x for x in uj))
            for a in range(batch):
                for b in range(batch):
                    rows[a][b] += entry * ui[a] * uj[b]
                    if i != j:
                        rows[a][b] += entry * uj[a] * ui[b]
        return tuple(tuple(row) for row in rows)

    domain = frame.domain
    hess = matrix(frame.operators.get("layer.hess") or SymbolicOperator(frame, "H", domain.hessian))
    return Instance(
        y=vector(frame.y),
        grad=vector(frame.grad),
        hess=hess if any(any(row) for row in hess) else None,
        gamma=number(frame.gamma),
        beta=number(frame.beta),
        eps=number(frame.eps),
        scalars={name: number(frame.scalar(name)) for name in domain.scalars},
        vectors={name: vector(frame.vector(name)) for name in domain.vectors},
        operators={
            name: matrix(frame.operators.get(name) or SymbolicOperator(frame, name, kind))
            for name, kind in domain.operators.items()
        },
    )


def _evaluate(poly: Any, values: Mapping[int, Fraction], roots: Mapping[int, Scalar]) -> Fraction:
    total = Fraction(0)
    for exponents, coefficient in poly.terms():
        term = exact_rational(coefficient)
        for i, e in enumerate(exponents):
            if not e:
                continue
            if i in roots:
                if e % 2:
                    raise OutsideVocabulary("the counterexample has irrational entries")
                inside = roots[i]
                term *= (_evaluate(inside.num, values, roots) / _evaluate(inside.den, values, roots)) ** (
                    e // 2
                )
            else:
                term *= values.get(i, Fraction(0)) ** int(e)
        total += term
    return total

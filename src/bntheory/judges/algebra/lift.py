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
from bntheory.layer.domain import FREE, LayerDomain


def lift(frame: Frame, values: Mapping[int, Fraction], domain: LayerDomain | None = None) -> Instance:
    """The layer of a concrete frame at the given values; symbols without a value are 0, or 1 where they must not vanish.

    domain: the claim's own, where the frame left out what the claim does not use; that is 1, zero, or the first example.
    Raises OutsideVocabulary where a number of the layer would be irrational.
    """
    assert frame.basis is not None
    assert frame.m_value is not None
    basis, batch = frame.basis, frame.m_value
    field = frame.field
    known = frame.domain
    domain = domain or known
    vectors = {name: frame.vector(name) for name in known.vectors}  # whose symbols are needed from here on
    scalars = {name: frame.scalar(name) for name in known.scalars}
    grad, telling = frame.grad, {field.index(frame.gamma)}
    filled = {
        i: values.get(i, Fraction(1 if sign in ("positive", "nonzero") or i in telling else 0))
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
            return tuple(tuple(diagonal if i == j else Fraction(0) for j in range(batch)) for i in range(batch))
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

    def constant(x: int) -> tuple[tuple[Fraction, ...], ...]:
        return tuple(tuple(Fraction(x * (i == j)) for j in range(batch)) for i in range(batch))

    hess = matrix(frame.operators.get("layer.hess") or SymbolicOperator(frame, "H", known.hessian))
    if domain.hessian == "identity":
        hess = constant(1)
    operators = {k: o for k, o in frame.operators.items() if k.startswith(FREE)}
    return Instance(
        y=vector(frame.y),
        grad=vector(grad),
        hess=hess if any(any(row) for row in hess) else None,
        gamma=number(frame.gamma),
        beta=number(frame.beta),
        eps=number(frame.eps),
        scalars={name: number(scalars[name]) if name in scalars else Fraction(1) for name in domain.scalars},
        vectors={
            name: vector(vectors[name]) if name in vectors else constant(int(name.endswith("@case")))[0]
            for name in domain.vectors
        },
        operators={
            name: matrix(operators[FREE + name]) if FREE + name in operators else constant(0)
            for name in domain.operators
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
                term *= (_evaluate(inside.num, values, roots) / _evaluate(inside.den, values, roots)) ** (e // 2)
            else:
                term *= values.get(i, Fraction(0)) ** int(e)
        total += term
    return total

"""Jacobian and Hessian of a normaliser, derived from its definition for symbolic m and eps.

Move y along two directions at once, y + s d + t v, and compute with numbers a + b s + c t + e st (s^2 = t^2 = 0). The
mean is linear, the variance quadratic, sigma = sqrt(var + eps) is expanded, and z = gamma (y - mu)/sigma + beta
follows. The coefficient of s in L(z) is <g, z_s>, that of st is <g, z_st> + <z_s, H z_t>: linear in d, so as a vector
it is read off as what d is multiplied with. No formula for P, the Jacobian or the Hessian enters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from bntheory.errors import OutsideVocabulary
from bntheory.layer.domain import Normaliser
from bntheory.layer.symbolic.space import FormalVector, Space, refuse_large

_PRODUCTS = ((0, 0, 0), (0, 1, 1), (1, 0, 1), (0, 2, 2), (2, 0, 2), (0, 3, 3), (3, 0, 3), (1, 2, 3), (2, 1, 3))


class Jet:
    """a + b s + c t + e st, with coefficients that are all scalars or all formal vectors."""

    def __init__(self, value: Any, s: Any, t: Any, st: Any) -> None:
        self.parts = (value, s, t, st)

    def __add__(self, other: Jet) -> Jet:
        return Jet(*(a + b for a, b in zip(self.parts, other.parts, strict=True)))

    def __sub__(self, other: Jet) -> Jet:
        return Jet(*(a - b for a, b in zip(self.parts, other.parts, strict=True)))

    def combined(self, other: Jet, product: Callable[[Any, Any], Any]) -> Jet:
        """The bilinear product with another jet."""
        parts: list[Any] = [None] * 4
        for i, j, k in _PRODUCTS:
            term = product(self.parts[i], other.parts[j])
            parts[k] = term if parts[k] is None else parts[k] + term
        return Jet(*parts)

    def root(self, known: Any) -> Jet:
        """The square root of a scalar jet whose value has the root ``known``."""
        _, a, b, e = self.parts
        return Jet(known, a / (2 * known), b / (2 * known), e / (2 * known) - a * b / (4 * known**3))

    def inverse(self) -> Jet:
        """One over a scalar jet."""
        value, a, b, e = self.parts
        return Jet(1 / value, -a / value**2, -b / value**2, 2 * a * b / value**3 - e / value**2)


def moved_output(
    space: Space,
    normaliser: Normaliser,
    m: Any,
    symbols: dict[str, Any],
    y: FormalVector,
    d: FormalVector,
    v: FormalVector,
) -> Jet:
    """z = gamma (y - mu)/sigma + beta at y + s d + t v. ``symbols``: gamma, beta, sigma, eps, and the constant mu."""
    one, zero = space.vector("one"), space.zero()
    nil = sp.Integer(0)
    moved = Jet(y, d, v, zero)

    def times(a: Any, x: FormalVector) -> FormalVector:
        return x.scaled(a)

    centred, deviation = moved, None
    if normaliser in ("batch", "l2", "unbiased", "mean-only"):
        mean = Jet(*(space.dot(one, x) / m for x in moved.parts))
        centred = moved - mean.combined(Jet(one, zero, zero, zero), times)
    if normaliser in ("batch", "l2", "unbiased", "rms"):
        squares = centred.combined(centred, space.dot)
        variance = Jet(*(x / (m - 1 if normaliser == "unbiased" else m) for x in squares.parts))
        shifted = variance + Jet(symbols["eps"], nil, nil, nil)
        deviation = shifted.root(symbols["sigma"])
    elif normaliser == "frozen":
        centred = moved - Jet(one.scaled(symbols["mu"]), zero, zero, zero)
        deviation = Jet(symbols["sigma"], nil, nil, nil)
    elif normaliser == "mean-only":
        deviation = Jet(sp.Integer(1), nil, nil, nil)
    else:
        raise OutsideVocabulary(f"{normaliser}: its scale is no function of inner products")
    z = deviation.inverse().combined(centred, times)
    shift = Jet(one.scaled(symbols["beta"]), zero, zero, zero)
    return Jet(*(part.scaled(symbols["gamma"]) for part in z.parts)) + shift


def pulled_back(space: Space, functional: Any, direction: str) -> FormalVector:
    """The vector w with <w, d> = ``functional``, an expression that is linear in the table's entries with
    ``direction``."""
    refuse_large(functional)
    expanded = sp.expand(functional)
    w: dict[Any, Any] = {}
    rest = expanded
    for (a, word, b), symbol in list(space.table.items()):
        if direction not in (a, b):
            continue
        coefficient = expanded.coeff(symbol)
        if coefficient != 0:
            atom = (b, word) if a == direction else (a, tuple(reversed(word)))
            w[atom] = w.get(atom, sp.Integer(0)) + coefficient
            rest = rest - coefficient * symbol
    if sp.expand(rest) != 0:
        raise AssertionError("a derivative is not linear in its direction: a defect of bntheory, please report it")
    return FormalVector(space, {atom: sp.cancel(c) for atom, c in w.items()})

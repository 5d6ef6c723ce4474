"""Batch normalisation and least squares in exact rational arithmetic, for small data sets.

sigma is a square root and need not be rational; sigma^2, P v and anything that multiplies gamma/sigma twice are. Lists
of :class:`fractions.Fraction` throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

Q = Fraction
Vector = list[Fraction]


def vector(values: Sequence[int | Fraction]) -> Vector:
    """The values as fractions."""
    return [Fraction(v) for v in values]


def dot(u: Sequence[Fraction], v: Sequence[Fraction]) -> Fraction:
    """<u, v>."""
    return sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0))


def axpy(a: Fraction | int, u: Sequence[Fraction], v: Sequence[Fraction]) -> Vector:
    """a u + v."""
    return [a * x + y for x, y in zip(u, v, strict=True)]


def root(x: Fraction) -> Fraction | None:
    """The square root of the square of a rational, None of any other number."""
    if x < 0:
        return None
    top, bottom = isqrt(x.numerator), isqrt(x.denominator)
    return Fraction(top, bottom) if top * top == x.numerator and bottom * bottom == x.denominator else None


def matvec(rows: Sequence[Sequence[Fraction]], v: Sequence[Fraction]) -> Vector:
    """The matrix, given by its rows, times v."""
    return [dot(row, v) for row in rows]


def transposed(rows: Sequence[Sequence[Fraction]]) -> list[Vector]:
    """The transpose."""
    return [list(column) for column in zip(*rows, strict=True)]


def mean(v: Sequence[Fraction | int]) -> Fraction:
    """The mean."""
    return Fraction(sum(v)) / len(v)


def centred(v: Sequence[Fraction | int]) -> Vector:
    """v minus its mean."""
    middle = mean(v)
    return [a - middle for a in v]


def variance(v: Sequence[Fraction | int]) -> Fraction:
    """The biased variance."""
    c = centred(v)
    return dot(c, c) / len(v)


def project(y: Sequence[Fraction], v: Sequence[Fraction], eps: Fraction = Fraction(0)) -> Vector:
    """P v at the pre-activations y: C v - y_c <y_c, v>/(m (var + eps)), rational although y_hat is not."""
    yc, vc = centred(y), centred(v)
    factor = dot(yc, v) / (len(y) * (variance(y) + eps))
    return axpy(-factor, yc, vc)


def least_squares(rows: Sequence[Sequence[Fraction]], target: Sequence[Fraction]) -> Vector:
    """The unique minimiser of ||X w - t||^2 for one or two columns, by Cramer's rule.

    Raises ValueError where the columns are dependent: the minimiser is not unique then.
    """
    columns = transposed(rows)
    gram = [[dot(a, b) for b in columns] for a in columns]
    right = [dot(a, target) for a in columns]
    if len(columns) == 1:
        determinant = gram[0][0]
        numerators = right
    elif len(columns) == 2:
        (a, b), (c, d) = gram
        determinant = a * d - b * c
        numerators = [right[0] * d - b * right[1], a * right[1] - c * right[0]]
    else:
        raise ValueError(f"X has {len(columns)} columns; this exact solver takes one or two")
    if determinant == 0:
        raise ValueError("the columns of X are linearly dependent: the minimiser is not unique")
    return [n / determinant for n in numerators]


def as_text(values: Sequence[Fraction]) -> list[str]:
    """The fractions as "p/q" strings, for a witness."""
    return [str(v) for v in values]

"""Orthogonal bases of R^m in whole numbers, so that a counterexample's coordinates are vectors at once."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction


def standard_basis(m: int) -> list[list[int]]:
    """The unit vectors."""
    return [[int(i == j) for j in range(m)] for i in range(m)]


def rational_basis(m: int, room: int | None = None) -> list[list[int]]:
    """The first ``room`` vectors (default: all m) of an orthogonal basis of R^m.

    First 1, then a vector whose squared norm is m times a square, if there is one: then sigma is rational for rational
    multiples of it. For m = 3 there is none.
    """
    ones, second = [1] * m, [0] * m
    if m % 2 == 0:
        second = [1] * (m // 2) + [-1] * (m // 2)
    else:
        second[0], second[1] = 1, -1
        for scale in range(1, 8):
            # pairs x, -x sum to zero, and 2 sum x^2 = m (2 scale)^2
            squares = _sum_of_squares(2 * m * scale**2, min((m - 1) // 2, 4))
            if squares:
                second = [x for y in squares for x in (y, -y)]
                second += [0] * (m - len(second))
                break
    basis = [ones, second]
    for k in range(m):
        if len(basis) >= (room or m):
            break
        candidate = [Fraction(int(i == k)) for i in range(m)]
        for b in basis:
            along = Fraction(sum(x * y for x, y in zip(candidate, b, strict=True))) / sum(x * x for x in b)
            candidate = [x - along * y for x, y in zip(candidate, b, strict=True)]
        if any(candidate):
            scale = math.lcm(*(x.denominator for x in candidate))
            whole = [int(x * scale) for x in candidate]
            shrink = math.gcd(*whole)
            basis.append([x // shrink for x in whole])
    return basis


def _sum_of_squares(target: int, count: int) -> tuple[int, ...] | None:
    """``count`` whole numbers whose squares sum to ``target``."""
    for numbers in itertools.combinations_with_replacement(range(math.isqrt(target), -1, -1), count):
        if sum(x * x for x in numbers) == target:
            return numbers
    return None

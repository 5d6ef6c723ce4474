"""Rational points on a quadric: one by a small search, and from it one near any other.

A line through a rational point of q(x) = 0 with a rational direction meets the quadric once more, in a rational point. So the points
near a target are had from any first one, as the points of a circle are from its pole.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from bntheory.layer.rational import axpy, dot, root

Point = tuple[Fraction, ...]
_DENOMINATORS = (1, 2, 3, 5, 4, 10, 6)
_LARGEST = {1: 9, 2: 4, 3: 2}  # numerators, by how many entries are not zero


@dataclass(frozen=True)
class Quadric:
    """q(x) = constant + <linear, x> + <x, A x>; ``square`` holds the upper triangle of the symmetric A by rows."""

    constant: Fraction
    linear: Point
    square: Point

    @classmethod
    def through(cls, value: Callable[[Point], Fraction], n: int) -> Quadric | None:
        """The quadric with these values at the origin and its neighbours; None where q is no quadratic polynomial."""

        def at(*ones: int) -> Fraction:
            return value(tuple(Fraction(ones.count(i)) for i in range(n)))

        constant = at()
        first = [at(i) - constant for i in range(n)]
        diagonal = [(at(i, i) - constant) / 2 - first[i] for i in range(n)]
        linear = [f - d for f, d in zip(first, diagonal, strict=True)]
        square = [
            diagonal[i] if i == j else (at(i, j) - constant - first[i] - first[j]) / 2
            for i in range(n)
            for j in range(i, n)
        ]
        found = cls(constant, tuple(linear), tuple(square))
        probe = tuple(Fraction(3 * i + 7, i + 2) * (-1) ** i for i in range(n))
        return found if found(probe) == value(probe) else None

    def _times(self, x: Sequence[Fraction]) -> list[Fraction]:
        """A x."""
        n = len(self.linear)
        result = [Fraction(0)] * n
        for a, (i, j) in zip(self.square, itertools.combinations_with_replacement(range(n), 2), strict=True):
            if a:
                result[i] += a * x[j]
                if i != j:
                    result[j] += a * x[i]
        return result

    def __call__(self, x: Sequence[Fraction]) -> Fraction:
        return self.constant + dot(self.linear, x) + dot(self._times(x), x)

    def near(self, target: Point) -> Point | None:
        """A rational point of the quadric near ``target``, or None where the search finds none at all."""
        start = _some_point(self)
        if start is None or start == target:
            return start
        along = axpy(-1, start, target)
        bend, turned = dot(self._times(along), along), self._times(start)
        if not bend:
            return start
        step = -(dot(self.linear, along) + 2 * dot(turned, along)) / bend
        return tuple(axpy(step, along, start))


@lru_cache(maxsize=256)
def _some_point(q: Quadric) -> Point | None:
    """Short rationals for all coordinates but one, and that one from its quadratic equation."""
    n = len(q.linear)
    for last in range(n - 1, -1, -1):
        others = [i for i in range(n) if i != last]
        unit = [Fraction(i == last) for i in range(n)]
        bend = q._times(unit)
        for x in _short(others, n):
            a, b, c = bend[last], q.linear[last] + 2 * dot(bend, x), q(x)
            for solution in _roots(a, b, c):
                return tuple(solution if i == last else x[i] for i in range(n))
    return None


def _roots(a: Fraction, b: Fraction, c: Fraction) -> list[Fraction]:
    """The rational solutions of a t^2 + b t + c = 0; of the equation 0 = 0, zero."""
    if not a:
        return [-c / b] if b else ([] if c else [Fraction(0)])
    spread = root(b * b - 4 * a * c)
    return [] if spread is None else [(-b + spread) / (2 * a), (-b - spread) / (2 * a)]


def _short(places: Sequence[int], n: int) -> Iterator[Point]:
    """Points with few, short entries at the given places, the simplest first."""
    zero = (Fraction(0),) * n
    yield zero
    for count in range(1, min(3, len(places)) + 1):
        whole = [sign * k for k in range(1, _LARGEST[count] + 1) for sign in (1, -1)]
        for d, numbers in itertools.product(_DENOMINATORS, itertools.product(whole, repeat=count)):
            point = list(zero)
            for place, number in zip(places, numbers, strict=False):
                point[place] = Fraction(number, d)
            yield tuple(point)

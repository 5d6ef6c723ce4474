"""Where a supremum is taken: a ball, a box, a sphere, or all of R^n.

A region projects a point onto itself and draws starts; it knows nothing of the function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.smoothness.protocol import Vector


class Region(Protocol):
    """project: the nearest point of the region. sample: count points in it, (count, n). scale: a typical length."""

    @property
    def dimension(self) -> int: ...

    @property
    def scale(self) -> float: ...

    def project(self, x: Vector) -> Vector: ...

    def sample(self, rng: np.random.Generator, count: int) -> Floats: ...


def unit_directions(rng: np.random.Generator, count: int, dimension: int) -> Floats:
    """Directions drawn uniformly from the unit sphere, (count, dimension)."""
    drawn = rng.standard_normal((count, dimension))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def _centre(centre: ArrayLike) -> Vector:
    point = np.atleast_1d(np.asarray(centre, dtype=np.float64))
    if point.ndim != 1 or not np.isfinite(point).all():
        raise ValueError(f"the centre has shape {point.shape}; give a flat vector of finite numbers")
    return point


@dataclass(frozen=True)
class _Centred:
    centre: Vector

    def __post_init__(self) -> None:
        object.__setattr__(self, "centre", _centre(self.centre))

    @property
    def dimension(self) -> int:
        return int(self.centre.shape[0])


@dataclass(frozen=True)
class _Round(_Centred):
    radius: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.radius > 0 and np.isfinite(self.radius)):
            raise ValueError(f"radius is {self.radius}; it is positive and finite (Everywhere has none)")

    @property
    def scale(self) -> float:
        return self.radius


@dataclass(frozen=True)
class Ball(_Round):
    """{ x : ||x - centre|| <= radius }.

    Half of the draws are uniform; a quarter lies on the boundary, where suprema often sit, and a quarter at distances
    spread over four powers of ten, since a large ball may be flat but for a neighbourhood of its centre.
    """

    def project(self, x: Vector) -> Vector:
        away = x - self.centre
        length = float(np.linalg.norm(away))
        return x if length <= self.radius else np.asarray(self.centre + away * (self.radius / length))

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        n = self.dimension
        length = rng.random(count) ** (1 / n)
        kind = rng.random(count)
        length[kind < 0.25] = 1.0
        close = kind > 0.75
        length[close] = 10 ** (-4 * rng.random(int(close.sum())))
        return np.asarray(self.centre + self.radius * length[:, None] * unit_directions(rng, count, n))


@dataclass(frozen=True)
class Sphere(_Round):
    """{ x : ||x - centre|| = radius }."""

    def project(self, x: Vector) -> Vector:
        away = x - self.centre
        length = float(np.linalg.norm(away))
        if length == 0:
            raise ValueError("the centre of a sphere has no nearest point on it")
        return np.asarray(self.centre + away * (self.radius / length))

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        return np.asarray(self.centre + self.radius * unit_directions(rng, count, self.dimension))


@dataclass(frozen=True)
class Box:
    """{ x : lower <= x <= upper }, coordinate by coordinate; each may be a number or a vector of one length."""

    lower: Vector
    upper: Vector

    def __post_init__(self) -> None:
        lower, upper = np.broadcast_arrays(_centre(self.lower), _centre(self.upper))
        if bool((lower >= upper).any()):
            raise ValueError(f"a box needs lower < upper in every coordinate; got {self.lower} and {self.upper}")
        object.__setattr__(self, "lower", np.array(lower))
        object.__setattr__(self, "upper", np.array(upper))

    @property
    def dimension(self) -> int:
        return int(self.lower.shape[0])

    @property
    def scale(self) -> float:
        return float(np.max(self.upper - self.lower)) / 2

    def project(self, x: Vector) -> Vector:
        return np.asarray(np.clip(x, self.lower, self.upper))

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        return np.asarray(rng.uniform(self.lower, self.upper, size=(count, self.dimension)))


def interval(lower: float, upper: float) -> Box:
    """The box of dimension one."""
    return Box(np.array([lower]), np.array([upper]))


@dataclass(frozen=True)
class Everywhere(_Centred):
    """R^n. Starts are drawn round ``centre`` at distances spread over ``decades`` powers of ten about ``reach``."""

    reach: float = 1.0
    decades: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.reach > 0 and self.decades >= 0):
            raise ValueError(f"reach is {self.reach} and decades is {self.decades}; both say how far starts lie")

    @property
    def scale(self) -> float:
        return self.reach

    def project(self, x: Vector) -> Vector:
        return x

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        length = self.reach * 10 ** (self.decades * (rng.random(count) - 0.5))
        return np.asarray(self.centre + length[:, None] * unit_directions(rng, count, self.dimension))

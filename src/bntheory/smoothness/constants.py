"""Lipschitz and derivative-Lipschitz constants on a region.

A supremum of a smooth function over a region is at least what any point attains, so every value here is a lower bound
with a witness unless the landscape is known exactly. Kinks are looked for as well: halving a segment never lowers the
larger of the two halves' secant slopes (triangle inequality), so bisection either converges to a curvature or follows a
jump of the gradient, whose secant slope doubles with every halving. In the second case the constant is infinite and the
result says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bntheory.smoothness.ascent import maximise
from bntheory.smoothness.eigenpairs import hessian_norm_pair
from bntheory.smoothness.measure import Cost, Measure
from bntheory.smoothness.protocol import Counted, Landscape, Vector, as_point
from bntheory.smoothness.regions import Region


def same_dimension(landscape: Landscape, region: Region) -> None:
    """Raises ValueError where the region is not one of the landscape's points."""
    if landscape.dimension != region.dimension:
        raise ValueError(
            f"the region lives in dimension {region.dimension} but the landscape has dimension {landscape.dimension}"
        )


def lipschitz_constant(
    landscape: Landscape, region: Region, *, samples: int = 64, climbs: int = 4, max_steps: int = 60, seed: int = 0
) -> Measure:
    """sup of ||grad f|| over the region: Lip(f) there, where the region is convex. The gradient of ||grad f|| is H grad
    f/||grad f||."""
    same_dimension(landscape, region)
    counted = Counted(landscape)
    rng = np.random.default_rng(seed)

    def size(x: Vector) -> float:
        return float(np.linalg.norm(counted.grad(x)))

    def slope(x: Vector) -> Vector:
        g = counted.grad(x)
        length = float(np.linalg.norm(g))
        return counted.hvp(x, g / length) if length > 0 else np.zeros_like(x)

    best = maximise(
        size, slope, region.project, region.sample(rng, samples), scale=region.scale, climbs=climbs, max_steps=max_steps
    )
    return best.measure("Lipschitz constant", counted.cost, seed, {"x": best.point})


@dataclass(frozen=True)
class Secant:
    """The steepest secant found between x and y: slope = ||grad f(x) - grad f(y)||/||x - y||.

    doublings: by how many powers of two the slope grew over the last ``halvings`` halvings. A smooth gradient gives 0,
    a jump one a halving.
    """

    slope: float
    x: Vector
    y: Vector
    jump: float  # ||grad f(x) - grad f(y)||
    doublings: float
    halvings: int

    @property
    def diverges(self) -> bool:
        """Whether the slope kept doubling: the gradient jumps between x and y."""
        return self.halvings > 0 and self.doublings > 0.9 * self.halvings

    def infinite(self, name: str, cost: Cost, seed: int) -> Measure:
        """The measure of a constant that is infinite, because the gradient jumps between x and y."""
        note = (
            f"the secant slope doubled with each of the last {self.halvings} halvings, up to {self.slope:.3g}; the "
            f"gradient jumps by {self.jump:.3g} between x and y"
        )
        witness = {"x": self.x, "y": self.y, "secant": self.slope, "jump": self.jump}
        return Measure.infinite(name, cost, seed, witness, note)


def steepest_secant(landscape: Landscape, x: ArrayLike, y: ArrayLike, *, halvings: int = 30) -> Secant:
    """Follow the steeper half of the segment from x to y. The slope never falls; one gradient a halving."""
    a, b = as_point(x, landscape.dimension), as_point(y, landscape.dimension, "y")
    ga, gb = landscape.grad(a), landscape.grad(b)
    length = float(np.linalg.norm(b - a))
    if length == 0:
        raise ValueError("x and y are the same point; a secant needs two")
    slopes = [float(np.linalg.norm(gb - ga)) / length]
    noise = 8 * np.finfo(float).eps
    for _ in range(halvings):
        middle = (a + b) / 2
        half = length / 2
        if half < noise * 1e3 * max(1.0, float(np.linalg.norm(middle))):
            break
        gm = landscape.grad(middle)
        left, right = float(np.linalg.norm(gm - ga)), float(np.linalg.norm(gb - gm))
        size = float(max(np.linalg.norm(ga), np.linalg.norm(gb)))
        if max(left, right) < 1e3 * noise * size:  # below this the difference is rounding
            break
        if left >= right:
            b, gb = middle, gm
        else:
            a, ga = middle, gm
        length = half
        slopes.append(max(left, right) / half)
    count = min(10, len(slopes) - 1)
    grown = math.log2(slopes[-1] / slopes[-1 - count]) if count and slopes[-1 - count] > 0 else 0.0
    return Secant(slopes[-1], a, b, slopes[-1] * length, grown, count)


def largest_jump(landscape: Landscape, region: Region, rng: np.random.Generator, segments: int) -> Secant | None:
    """Of so many random chords of the region, bisected for kinks, the one on which the gradient jumps most, if any."""
    ends = [region.sample(rng, 2) for _ in range(segments)]
    chords = [steepest_secant(landscape, x, y) for x, y in ends if not np.array_equal(x, y)]
    return max((c for c in chords if c.diverges), key=lambda c: c.jump, default=None)


def derivative_lipschitz_constant(
    landscape: Landscape,
    region: Region,
    *,
    samples: int = 32,
    climbs: int = 4,
    max_steps: int = 40,
    segments: int = 8,
    seed: int = 0,
) -> Measure:
    """sup of the spectral norm of the Hessian over the region, or inf where the gradient jumps.

    The ascent direction on lambda(x) = v'H(x)v is the third derivative in (v, v, .), taken as a central difference of
    the product H v along v: two products, exact up to O(h^2) since third derivatives are symmetric. ``segments`` random
    chords of the region are bisected for kinks.
    """
    same_dimension(landscape, region)
    counted = Counted(landscape)
    rng = np.random.default_rng(seed)
    candidates = region.sample(rng, samples)
    if kink := largest_jump(counted, region, rng, segments):
        return kink.infinite("derivative-Lipschitz constant", counted.cost, seed)
    pairs: dict[bytes, tuple[float, Vector]] = {}

    def curvature(x: Vector) -> tuple[float, Vector]:
        key = x.tobytes()
        if key not in pairs:
            pair = hessian_norm_pair(counted, x, seed=seed)
            pairs[key] = (pair.value, pair.vector)
        return pairs[key]

    def slope(x: Vector) -> Vector:
        value, v = curvature(x)
        h = np.finfo(float).eps ** (1 / 3) * region.scale
        return np.asarray(math.copysign(1.0, value) * (counted.hvp(x + h * v, v) - counted.hvp(x - h * v, v)) / (2 * h))

    best = maximise(
        lambda x: abs(curvature(x)[0]),
        slope,
        region.project,
        candidates,
        scale=region.scale,
        climbs=climbs,
        max_steps=max_steps,
    )
    return best.measure(
        "derivative-Lipschitz constant", counted.cost, seed, {"x": best.point, "direction": curvature(best.point)[1]}
    )

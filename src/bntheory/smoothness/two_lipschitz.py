r"""The 2-Lipschitz constant: the best quadratic bound on the error of an affine prediction.

At x, within radius r:   inf { a2 : there are a0, a1 with |f(x+u) - a0 - a1.u| <= (1/2) a2 |u|^2 for all |u| <= r }.

u = 0 forces a0 = f(x), and where f is differentiable small u force a1 = grad f(x), so the constant is

    sup over 0 < |u| <= r of phi(u) = 2 |f(x+u) - f(x) - <grad f(x), u>| / |u|^2.

u is not small: the constant is at least the spectral norm of the Hessian at x (u -> 0) and may be larger, and it may be
far below the supremum of the Hessian's norm. Its supremum over a convex region, both ends in the region, is Lip(grad f)
there (Taylor's formula one way, u -> 0 the other). Whatever a1 is, adding the bounds at u and -u gives
a2 >= |f(x+u) + f(x-u) - 2 f(x)|/|u|^2: where this second difference grows like 1/|u|, as at a kink of ReLU, no a1 helps
and the constant is infinite.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from bntheory.smoothness.ascent import maximise
from bntheory.smoothness.constants import largest_jump, same_dimension
from bntheory.smoothness.eigenpairs import hessian_norm_pair
from bntheory.smoothness.measure import Measure, NumberKind
from bntheory.smoothness.protocol import Counted, Landscape, Vector, as_point
from bntheory.smoothness.regions import Region, unit_directions

_CLOSEST = 1e-4  # |u| relative to the scale; closer in, the norm of the Hessian says the same without cancellation


def _clear(remainder: float, *terms: float) -> float:
    """The part of |remainder| that stands above the rounding of the terms it is the difference of."""
    noise = 8 * np.finfo(float).eps * sum(abs(t) for t in terms)
    return max(abs(remainder) - noise, 0.0)


def second_difference_growth(
    landscape: Landscape, x: ArrayLike, direction: ArrayLike, *, scale: float = 1.0, halvings: int = 20
) -> tuple[float, float, float]:
    """(doublings a halving of |second difference|/r^2 as r -> 0, its last value, the last r); 1 is a kink, 0 a
    curvature.

    Only radii where the second difference stands above its rounding error are used; with fewer than four the growth is
    0.
    """
    point = as_point(x, landscape.dimension)
    v = as_point(direction, landscape.dimension, "direction")
    here = landscape.value(point)
    ratios: list[float] = []
    r, last = scale / 8, scale / 8
    for _ in range(halvings):
        ahead, behind = landscape.value(point + r * v), landscape.value(point - r * v)
        difference = abs(ahead + behind - 2 * here)
        if not math.isfinite(difference):
            break
        noise = 16 * np.finfo(float).eps * (abs(ahead) + abs(behind) + 2 * abs(here))
        if difference <= 16 * noise:
            break
        ratios.append(difference / r**2)
        last = r
        r /= 2
    if len(ratios) < 4:
        return 0.0, ratios[-1] if ratios else 0.0, last
    tail = min(8, len(ratios) - 1)
    return math.log2(ratios[-1] / ratios[-1 - tail]) / tail, ratios[-1], last


def two_lipschitz(
    landscape: Landscape,
    x: ArrayLike,
    *,
    radius: float = math.inf,
    reach: float | None = None,
    samples: int = 96,
    climbs: int = 6,
    max_steps: int = 80,
    seed: int = 0,
) -> Measure:
    """The 2-Lipschitz constant at x over |u| <= radius: a lower bound with witness u, or inf at a kink.

    reach: where the starts for u lie, when the radius is infinite (default: the larger of 1 and ||x||). Raises
    ValueError for a radius that is not positive.
    """
    if not radius > 0:
        raise ValueError(f"radius is {radius}; u ranges over a ball of positive radius (or inf)")
    counted = Counted(landscape)
    point = as_point(x, counted.dimension)
    scale = radius if math.isfinite(radius) else (reach or max(1.0, float(np.linalg.norm(point))))
    rng = np.random.default_rng(seed)
    here, g = counted.value(point), counted.grad(point)
    directions = unit_directions(rng, 4, counted.dimension)
    grown = [(*second_difference_growth(counted, point, v, scale=scale), v) for v in directions]
    worst = max(grown, key=lambda item: item[0])
    if worst[0] > 0.9:
        return Measure.infinite(
            "2-Lipschitz constant at a point",
            counted.cost,
            seed,
            {"x": point, "u": worst[2] * worst[3], "lower_bound": worst[1]},
            (
                f"the second difference over |u|^2 doubles with every halving of |u|, up to {worst[1]:.3g} at |u| = "
                f"{worst[2]:.2g}, whatever a1; a kink"
            ),
        )
    pair = hessian_norm_pair(counted, point, seed=seed)
    closest = _CLOSEST * min(scale, max(1.0, float(np.linalg.norm(point))))

    def project(u: Vector) -> Vector:
        length = float(np.linalg.norm(u))
        if length == 0:
            return np.asarray(closest * directions[0])
        return u if closest <= length <= radius else np.asarray(u * (min(max(length, closest), radius) / length))

    def phi(u: Vector) -> float:
        there, tangent = counted.value(point + u), float(g @ u)
        return 2 * _clear(there - here - tangent, there, here, tangent) / float(u @ u)

    def slope(u: Vector) -> Vector:
        d, length2 = counted.value(point + u) - here - float(g @ u), float(u @ u)
        ahead = math.copysign(2.0, d) * (counted.grad(point + u) - g)
        return np.asarray((ahead - 4 * abs(d) / length2 * u) / length2)

    top = scale if math.isfinite(radius) else scale * 1e2
    lengths = np.exp(rng.uniform(math.log(closest), math.log(top), size=samples))
    candidates = lengths[:, None] * unit_directions(rng, samples, counted.dimension)
    steered = [g, -g, pair.vector, -pair.vector]  # the directions that a step, or a curvature, would take
    extra = [t * s * scale / np.linalg.norm(s) for s in steered if np.linalg.norm(s) > 0 for t in (0.1, 0.5, 1.0)]
    best = maximise(
        phi,
        slope,
        project,
        np.concatenate([candidates, np.array(extra)]),
        scale=scale,
        climbs=climbs,
        max_steps=max_steps,
    )
    if abs(pair.value) >= best.value:
        return Measure(
            "2-Lipschitz constant at a point",
            abs(pair.value),
            NumberKind.LOWER_BOUND,
            counted.cost,
            error=pair.residual,
            seed=seed,
            witness={"x": point, "direction": pair.vector},
            note="approached as u -> 0 along `direction`: it equals the norm of the Hessian here",
        )
    return best.measure("2-Lipschitz constant at a point", counted.cost, seed, {"x": point, "u": best.point})


def two_lipschitz_constant(
    landscape: Landscape,
    region: Region,
    *,
    samples: int = 96,
    climbs: int = 6,
    max_steps: int = 80,
    segments: int = 8,
    seed: int = 0,
) -> Measure:
    """sup over x and x + u in a convex region: a lower bound with witness (x, u), found by ascent in both ends at
    once."""
    same_dimension(landscape, region)
    counted = Counted(landscape)
    n = counted.dimension
    rng = np.random.default_rng(seed)
    if kink := largest_jump(counted, region, rng, segments):
        return kink.infinite("2-Lipschitz constant", counted.cost, seed)
    closest = _CLOSEST * region.scale

    def split(pair: Vector) -> tuple[Vector, Vector, float]:
        x, y = pair[:n], pair[n:]
        return x, y, float(np.linalg.norm(y - x))

    def parts(x: Vector, y: Vector) -> tuple[float, float, float]:
        return counted.value(y), counted.value(x), float(counted.grad(x) @ (y - x))

    def phi(pair: Vector) -> float:
        x, y, length = split(pair)
        if length < closest:
            return -math.inf
        there, here, tangent = parts(x, y)
        return 2 * _clear(there - here - tangent, there, here, tangent) / length**2

    def slope(pair: Vector) -> Vector:
        x, y, length = split(pair)
        there, here, tangent = parts(x, y)
        d, u = there - here - tangent, y - x
        sign = math.copysign(2.0, d)
        shrink = 4 * abs(d) / length**2 * u
        at_y = sign * (counted.grad(y) - counted.grad(x)) - shrink
        at_x = -sign * counted.hvp(x, u) + shrink
        return np.concatenate([at_x, at_y]) / length**2

    def project(pair: Vector) -> Vector:
        return np.concatenate([region.project(pair[:n]), region.project(pair[n:])])

    starts = region.sample(rng, samples)
    lengths = region.scale * 10 ** rng.uniform(-2, 0, size=samples)
    ends = starts + lengths[:, None] * unit_directions(rng, samples, n)
    best = maximise(
        phi,
        slope,
        project,
        np.concatenate([starts, ends], axis=1),
        scale=region.scale,
        climbs=climbs,
        max_steps=max_steps,
    )
    x, y, _ = split(best.point)
    return best.measure("2-Lipschitz constant", counted.cost, seed, {"x": x, "u": y - x})

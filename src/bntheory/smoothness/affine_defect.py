r"""How far a function is from affine on a ball: a 2-Lipschitz constant that survives ReLU.

    E(x, r) = min over affine l of max over |u| <= r of |f(x+u) - l(u)|

is finite for every continuous f. The Taylor polynomial is one affine function, so 2 E(x, r)/r^2 <= the 2-Lipschitz
constant at x within r, with equality for a saddle, half of it for a one-dimensional parabola. As r -> 0 the ratio tends
to a constant where f has curvature and grows like 1/r at a kink: its exponent tells the two apart (0 and -1; +1 at an
inflection).

Relatives in analysis: Jones' beta numbers (distance of a set from its best line), Dorronsoro's coefficients (the L^p
version of E), and Zygmund's second difference f(x+u) + f(x-u) - 2 f(x), which affine functions do not feel and which is
at most 4 E.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.smoothness.ascent import maximise
from bntheory.smoothness.measure import Cost, Measure, NumberKind
from bntheory.smoothness.protocol import Counted, Landscape, Vector, as_point
from bntheory.smoothness.regions import Ball, unit_directions

_LARGEST_FIT = 32  # parameters: a linear programme with n + 2 unknowns is solved in every round


def affine_defect(
    landscape: Landscape,
    x: ArrayLike,
    radius: float,
    *,
    tolerance: float = 1e-3,
    rounds: int = 40,
    samples: int = 64,
    seed: int = 0,
) -> Measure:
    """E(x, radius) by exchange: fit on finitely many points (a linear programme), add the worst point found, repeat.

    The fit's value is a lower bound on E, since it sees fewer points; the largest deviation found by ascent is where
    the upper end would be, so ``error`` is the gap and the rounds end when it is below ``tolerance`` relatively.
    witness: ``a0``, ``a1`` of the fit, the worst ``u``, and ``scaled`` = 2 E/radius^2, to be compared with a
    2-Lipschitz constant.

    Raises ValueError for more than 32 parameters: restrict to a line or plane there, or use
    :func:`averaged_second_difference`.
    """
    n = landscape.dimension
    if n > _LARGEST_FIT:
        raise ValueError(
            f"the landscape has {n} parameters; the best affine fit is computed for at most {_LARGEST_FIT}. Restrict it to a line or "
            "plane (bntheory.smoothness.restriction), or use averaged_second_difference, which works in any dimension"
        )
    _positive(radius)
    counted = Counted(landscape)
    point = as_point(x, n)
    rng = np.random.default_rng(seed)
    axes = np.concatenate([np.eye(n), -np.eye(n), np.zeros((1, n))]) * radius
    spread = rng.random(samples) ** (1 / n)
    pool = radius * np.concatenate([spread[:, None] * unit_directions(rng, samples, n), axes / radius])
    points: Floats = np.concatenate([axes, pool[: 2 * n]])
    values = np.array([counted.value(point + u) for u in points])

    low, high, fit = 0.0, math.inf, np.zeros(n + 1)
    for _ in range(rounds):
        fit, low = best_affine_fit(points / radius, values)
        a0, a1 = float(fit[0]), fit[1:] / radius

        def deviation(u: Vector, a0: float = a0, a1: Vector = a1) -> float:
            return abs(counted.value(point + u) - a0 - float(a1 @ u))

        def slope(u: Vector, a0: float = a0, a1: Vector = a1) -> Vector:
            sign = math.copysign(1.0, counted.value(point + u) - a0 - float(a1 @ u))
            return sign * (counted.grad(point + u) - a1)

        worst = maximise(
            deviation, slope, Ball(np.zeros(n), radius).project, pool, scale=radius, climbs=3, max_steps=40
        )
        high = max(worst.value, low)
        noise = 16 * np.finfo(float).eps * float(np.max(np.abs(values)))
        if high - low <= tolerance * high + noise:
            break
        points = np.concatenate([points, worst.point[None]])
        values = np.append(values, counted.value(point + worst.point))
    return Measure(
        "affine defect",
        low,
        NumberKind.LOWER_BOUND,
        counted.cost,
        error=high - low,
        seed=seed,
        witness={
            "x": point,
            "radius": radius,
            "a0": float(fit[0]),
            "a1": fit[1:] / radius,
            "scaled": 2 * low / radius**2,
            "points": points,
        },
        note="the error is the gap to the largest deviation from this fit that an ascent over the ball found",
    )


def best_affine_fit(points: Floats, values: Floats) -> tuple[Floats, float]:
    """The affine function with the least largest deviation at the points: (coefficients (1 + n), that deviation)."""
    from scipy.optimize import linprog

    middle, size = float(values.mean()), float(np.ptp(values))
    if size == 0:
        return np.concatenate([[middle], np.zeros(points.shape[1])]), 0.0
    scaled = (values - middle) / size
    affine = np.concatenate([np.ones((len(points), 1)), points], axis=1)
    level = -np.ones((len(points), 1))
    solved = linprog(
        np.concatenate([np.zeros(affine.shape[1]), [1.0]]),
        A_ub=np.concatenate([np.concatenate([affine, level], axis=1), np.concatenate([-affine, level], axis=1)]),
        b_ub=np.concatenate([scaled, -scaled]),
        bounds=[(None, None)] * affine.shape[1] + [(0, None)],
        method="highs",
    )
    if not solved.success:
        raise RuntimeError(f"the linear programme of the affine fit failed: {solved.message}")
    coefficients = solved.x[:-1] * size
    coefficients[0] += middle
    return coefficients, float(solved.x[-1]) * size


def affine_defect_exponent(landscape: Landscape, x: ArrayLike, radii: Sequence[float], *, seed: int = 0) -> Measure:
    """The slope of log(2 E/r^2) against log r: -1 at a kink, 0 where f has curvature, +1 at an inflection.

    radii: at least three, positive. The error is the largest deviation of the slope between neighbouring radii from the
    mean slope. Raises ValueError where the defect vanishes at some radius (f is affine there: no exponent).
    """
    r = np.array(sorted(radii), dtype=np.float64)
    if r.size < 3 or r[0] <= 0 or bool((np.diff(r) == 0).any()):
        raise ValueError(f"radii are {list(radii)}; give at least three different positive ones")
    defects = [affine_defect(landscape, x, float(v), seed=seed) for v in r]
    values = np.array([d.value for d in defects])
    if bool((values <= 0).any()):
        raise ValueError(
            f"the affine defect is zero at radius {float(r[int(np.argmin(values))]):g}: the function is affine there and has no exponent"
        )
    scaled = np.log(2 * values / r**2)
    slopes = np.diff(scaled) / np.diff(np.log(r))
    slope = float(np.polyfit(np.log(r), scaled, 1)[0])
    cost = sum((d.cost for d in defects), Cost())
    return Measure(
        "exponent of the scaled affine defect",
        slope,
        NumberKind.ESTIMATE,
        cost,
        error=float(np.max(np.abs(slopes - slope))),
        seed=seed,
        witness={"radii": r, "scaled": np.exp(scaled)},
    )


def averaged_second_difference(
    landscape: Landscape, x: ArrayLike, radius: float, *, directions: int = 64, seed: int = 0
) -> Measure:
    """The mean over directions of |f(x+ru) + f(x-ru) - 2 f(x)|/r^2, with its standard error: a Zygmund-type average."""
    _positive(radius)
    if directions < 2:
        raise ValueError(f"directions is {directions}; a standard error needs at least 2")
    counted = Counted(landscape)
    point = as_point(x, counted.dimension)
    rng = np.random.default_rng(seed)
    here = counted.value(point)
    drawn = radius * unit_directions(rng, directions, counted.dimension)
    each = np.array([abs(counted.value(point + u) + counted.value(point - u) - 2 * here) for u in drawn])
    each /= radius**2
    return Measure(
        "averaged second difference",
        float(each.mean()),
        NumberKind.ESTIMATE,
        counted.cost,
        error=float(each.std(ddof=1) / math.sqrt(directions)),
        seed=seed,
        witness={"x": point, "radius": radius},
    )


def _positive(radius: float) -> None:
    if not (radius > 0 and math.isfinite(radius)):
        raise ValueError(f"radius is {radius}; a ball has a positive finite radius")

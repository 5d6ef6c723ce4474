r"""Measures that no rescaling can change: of the loss (f -> c f), of the unit of length (x -> a x), of the axes
(rotation).

A smaller gradient or a smaller curvature proves nothing, since multiplying the loss by 1/2 halves both. These ask
instead how curvature compares with slope and with what is left to gain, f - f*:

- relative curvature lambda_max (f - f*)/||grad f||^2,
- relative linearity error of the gradient step that would, by the linear model, remove a given fraction of f - f*,
- trust fraction: the largest fraction that such a step can be asked to remove before the linear prediction errs by
  half,
- cosine of the gradients before and after such a step,
- spectral ratio |lambda_1|/|lambda_k|.

They are not invariant under a change of coordinates that stretches directions differently; nothing with gradients is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import larger, length
from bntheory.smoothness.eigenpairs import extreme_eigenpairs
from bntheory.smoothness.measure import Cost, Measure, NumberKind
from bntheory.smoothness.protocol import Counted, Landscape, Vector, as_point


@dataclass(frozen=True)
class _Slope:
    """What every measure here starts from. fraction phi of the excess is removed by the step excess * phi / ||g||^2."""

    landscape: Counted
    x: Vector
    value: float
    grad: Vector  # times 2**-exponent, as what follows: 0 but where the squares of its entries leave the range
    excess: float  # f - f*
    squared: float  # ||grad f||^2, times 4**-exponent
    exponent: int

    def after(self, fraction: float) -> Vector:
        return np.asarray(self.x - (fraction * self._excess / self.squared) * self.grad)

    @property
    def _excess(self) -> float:
        return larger(self.excess, -self.exponent)

    @property
    def norm(self) -> float:
        return larger(math.sqrt(self.squared), self.exponent)

    def over_slope(self, value: float) -> float:
        """value * excess/||grad f||^2."""
        return larger(value, -self.exponent) * (self._excess / self.squared)

    def step(self, fraction: float) -> float:
        """By how much of its gradient a step removes this fraction."""
        return larger(fraction * self._excess / self.squared, -self.exponent)

    def error(self, fraction: float) -> float:
        predicted = fraction * self.excess
        return abs(self.landscape.value(self.after(fraction)) - (self.value - predicted)) / predicted


def _slope(landscape: Landscape, x: ArrayLike, infimum: float) -> _Slope:
    counted = landscape if isinstance(landscape, Counted) else Counted(landscape)
    point = as_point(x, counted.dimension)
    value, grad = counted.value(point), counted.grad(point)
    norm = length(grad)
    exponent = 0 if norm == 0 or 1e-130 < norm < 1e150 or not math.isfinite(norm) else math.frexp(norm)[1]
    grad = np.ldexp(grad, -exponent) if exponent else grad
    excess, squared = value - infimum, float(grad @ grad)
    if not excess > 0:
        raise ValueError(
            f"f - f* is {excess:.3g} at x (f = {value:.6g}, infimum = {infimum:.6g}); scale-free measures compare with what is left to "
            "gain, so it must be positive: give the right infimum, or another point"
        )
    if squared == 0:
        raise ValueError("the gradient is zero at x: no gradient step and no slope to compare with; give another point")
    return _Slope(counted, point, value, grad, excess, squared, exponent)


def _fraction(fraction: float) -> float:
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}; a step removes a share of f - f* between 0 and 1")
    return float(fraction)


def relative_curvature(landscape: Landscape, x: ArrayLike, *, infimum: float = 0.0, seed: int = 0) -> Measure:
    """lambda_max(H) (f - f*)/||grad f||^2. For a convex quadratic along its steepest axis it is 1/2."""
    at = _slope(landscape, x, infimum)
    pair = extreme_eigenpairs(at.landscape, at.x, which="top", seed=seed)[0]
    return Measure(
        "relative curvature",
        at.over_slope(pair.value),
        NumberKind.ESTIMATE,
        at.landscape.cost,
        error=at.over_slope(pair.residual),
        seed=seed,
        witness={"lambda_max": pair.value, "gradient_norm": at.norm, "excess": at.excess},
    )


def linearity_error(landscape: Landscape, x: ArrayLike, *, fraction: float = 0.1, infimum: float = 0.0) -> Measure:
    """|f(x') - predicted|/(predicted decrease) after the step that linearly removes ``fraction`` of f - f*."""
    at = _slope(landscape, x, infimum)
    error = at.error(_fraction(fraction))
    rounding = 8 * np.finfo(float).eps * abs(at.value) / (fraction * at.excess)
    return Measure(
        "relative linearity error",
        error,
        NumberKind.EXACT,
        at.landscape.cost,
        error=rounding,
        witness={"fraction": fraction, "step": at.step(fraction)},
    )


def trust_fraction(
    landscape: Landscape,
    x: ArrayLike,
    *,
    infimum: float = 0.0,
    allowed: float = 0.5,
    smallest: float = 2.0**-12,
    bisections: int = 12,
) -> Measure:
    """The largest fraction of f - f*, at most 1, up to which the linear prediction errs by at most ``allowed``.

    The scan doubles the fraction from ``smallest`` up, so a failure narrower than a factor of two can be missed: an
    estimate. Its error is the width of the last bracket.
    """
    at = _slope(landscape, x, infimum)
    if not 0 < smallest < 1:
        raise ValueError(f"smallest is {smallest}; the scan starts at a fraction between 0 and 1")
    good, bad, trial = 0.0, math.inf, smallest
    while good < 1.0 and math.isinf(bad):
        if at.error(trial) > allowed:
            bad = trial
        else:
            good, trial = trial, min(2 * trial, 1.0)
    if math.isfinite(bad):
        for _ in range(bisections):
            middle = (good + bad) / 2
            if at.error(middle) > allowed:
                bad = middle
            else:
                good = middle
    note = ""
    if good == 1.0:
        note = "capped: one step can be asked to remove all of f - f*"
    elif good == 0.0:
        note = f"below {bad:g}"
    return Measure(
        "trust fraction",
        good,
        NumberKind.ESTIMATE,
        at.landscape.cost,
        error=0.0 if math.isinf(bad) else bad - good,
        witness={"step": at.step(good)},
        note=note,
    )


def gradient_cosine(landscape: Landscape, x: ArrayLike, *, fraction: float = 0.1, infimum: float = 0.0) -> Measure:
    """The cosine of the gradients before and after the step that linearly removes ``fraction`` of f - f*."""
    at = _slope(landscape, x, infimum)
    after = at.landscape.grad(at.after(_fraction(fraction)))
    size = length(after)
    cosine = float(at.grad @ after) / (math.sqrt(at.squared) * size) if size > 0 else 0.0
    return Measure(
        "gradient cosine",
        cosine,
        NumberKind.EXACT,
        at.landscape.cost,
        error=8 * np.finfo(float).eps,
        witness={"fraction": fraction},
        note="" if size > 0 else "the gradient vanishes after the step; its cosine is taken as 0",
    )


def spectral_ratio(landscape: Landscape, x: ArrayLike, *, bulk: int = 10, seed: int = 0) -> Measure:
    """|lambda_1|/|lambda_bulk|, eigenvalues by size: how far the largest stands out. inf where lambda_bulk = 0."""
    n = landscape.dimension
    if not 2 <= bulk <= n:
        raise ValueError(
            f"bulk is {bulk}; the landscape has {n} eigenvalues, and the ratio is to one from the second on"
        )
    counted = Counted(landscape)
    pairs = extreme_eigenpairs(counted, x, which="norm", count=bulk, seed=seed)
    first, last = abs(pairs[0].value), abs(pairs[-1].value)
    noise = max(p.residual for p in pairs)
    if first == 0:
        raise ValueError("the Hessian is zero at x: it has no spectrum to compare")
    ratio = first / last if last > noise else math.inf
    error = ratio * (noise / first + noise / last) if math.isfinite(ratio) else math.inf
    return Measure(
        "spectral ratio",
        ratio,
        NumberKind.ESTIMATE,
        counted.cost,
        error=error,
        seed=seed,
        witness={"eigenvalues": np.array([p.value for p in pairs])},
    )


@dataclass(frozen=True)
class ScaleFree:
    """All scale-free measures at one point. Nothing in it changes under f -> c f, x -> a x or a rotation."""

    relative_curvature: Measure
    linearity_error: Measure
    trust_fraction: Measure
    gradient_cosine: Measure
    cost: Cost


def scale_free(
    landscape: Landscape, x: ArrayLike, *, fraction: float = 0.1, infimum: float = 0.0, seed: int = 0
) -> ScaleFree:
    """The scale-free measures at x; ``infimum`` is f* (0 for a loss that can be fitted). See the module for the
    definitions."""
    counted = Counted(landscape)
    return ScaleFree(
        relative_curvature(counted, x, infimum=infimum, seed=seed),
        linearity_error(counted, x, fraction=fraction, infimum=infimum),
        trust_fraction(counted, x, infimum=infimum),
        gradient_cosine(counted, x, fraction=fraction, infimum=infimum),
        counted.cost,
    )

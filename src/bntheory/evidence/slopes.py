"""Slopes with intervals: what a claim about a rate or an order is judged by.

A rate claim says that ``y`` grows like ``x**p``; its judge fits ``log y`` against ``log x`` by ordinary least
squares, puts a bootstrap interval round the slope, and decides by *equivalence* (:func:`.rates.slope_checks`): the
whole interval must lie within a stated margin of the claimed exponent. A wide interval therefore never passes.

Two sources of scatter, two resampling schemes (Efron and Tibshirani 1993, chapters 9 and 12):

* one curve (``y`` of shape ``(n,)``): studentised residual bootstrap, residuals rescaled by their leverage.
  A curve that is not quite a power law widens its own interval, since its curvature counts as scatter.
* replicates (``y`` of shape ``(k, n)``, e.g. k seeds): whole replicates are resampled, so scatter that the
  points of one seed share is not mistaken for many independent observations.

``local_slopes`` of the result (lower and upper half of the range) show drift, which an asymptotic statement
must look at: an exponent that is still moving at the end of the range has not been observed yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.evidence.intervals import student_quantile


@dataclass(frozen=True)
class SlopeFit:
    """An ordinary-least-squares slope and its bootstrap interval (an estimate with error, not a bound)."""

    slope: float
    intercept: float
    low: float  # ends of the interval for the slope
    high: float
    confidence: float
    residual: float  # root mean square distance of the (mean) data from the line, in units of y
    local_slopes: tuple[float, float]  # slopes over the lower and the upper half of the range
    x_range: tuple[float, float]  # in the units given by the caller (before any logarithm)
    points: int
    replicates: int
    resamples: int
    seed: int
    kind: str = "estimate with error"

    @property
    def drift(self) -> float:
        """Upper minus lower local slope: what the exponent still moves across the tested range."""
        return self.local_slopes[1] - self.local_slopes[0]

    def __str__(self) -> str:
        lo, hi = self.x_range
        return (
            f"slope {self.slope:.4g} ({self.confidence:.0%} interval {self.low:.4g} to {self.high:.4g}) "
            f"over [{lo:.3g}, {hi:.3g}], {self.points} points"
        )


@dataclass(frozen=True)
class Extrapolation:
    """A limit obtained by assuming an expansion in powers of ``h``, with the spread of its last refinements."""

    value: float
    error: float  # distance between the two last refinements: an estimate, no bound
    order: float  # observed order of the leading term (nan if it could not be observed)
    points: int
    kind: str = "estimate with error"


def fit_slope(
    x: ArrayLike, y: ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> SlopeFit:
    """Slope of ``y`` against ``x`` with a bootstrap interval.

    ``x`` has shape (n,) with n >= 3 and at least two distinct values; ``y`` has shape (n,) or (k, n), k >= 3 being
    replicates. Raises ``ValueError`` for other shapes, non-finite entries, or a confidence outside (0, 1).
    """
    X, Y = _checked(x, y)
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100 for an interval to mean anything, got {resamples}")
    rng = np.random.default_rng(seed)
    mean = Y.mean(axis=0)
    slope, intercept = _line(X, mean)
    residual = mean - (intercept + slope * X)
    if Y.shape[0] == 1:
        low, high = _residual_bootstrap(X, residual, slope, confidence, resamples, rng)
    else:
        low, high = _replicate_bootstrap(X, Y, slope, confidence, resamples, rng)
    order = np.argsort(X, kind="stable")
    half = max(2, (len(X) + 1) // 2)
    ends = order[:half], order[-half:]
    return SlopeFit(
        slope=slope,
        intercept=intercept,
        low=low,
        high=high,
        confidence=confidence,
        residual=float(np.sqrt(np.mean(residual**2))),
        local_slopes=(_slope_or_nan(X[ends[0]], mean[ends[0]]), _slope_or_nan(X[ends[1]], mean[ends[1]])),
        x_range=(float(X.min()), float(X.max())),
        points=len(X),
        replicates=Y.shape[0],
        resamples=resamples,
        seed=seed,
    )


def fit_power_law(x: ArrayLike, y: ArrayLike, **options: Any) -> SlopeFit:
    """The exponent p of ``y ~ x**p``: :func:`fit_slope` on logarithms; ``x_range`` is in the units of ``x``.

    Raises ``ValueError`` where an entry is not positive: a quantity that reached zero or changed sign
    follows no power law there, and dropping such points silently would bias the exponent.
    """
    X, Y = _checked(x, y)
    for name, values in (("x", X), ("y", Y)):
        if np.any(values <= 0):
            raise ValueError(
                f"{name} must be positive for a power law, its smallest entry is {values.min()}: restrict "
                "the range to where the quantity is above its rounding floor, and say so"
            )
    data = np.log(Y[0]) if Y.shape[0] == 1 else np.log(Y)
    fit = fit_slope(np.log(X), data, **options)
    return replace(fit, x_range=(float(X.min()), float(X.max())))


def extrapolate(h: ArrayLike, values: ArrayLike, *, order: float | None = None) -> Extrapolation:
    """The limit of ``values`` as ``h`` -> 0, by Richardson extrapolation in powers of a geometric sequence ``h``.

    ``h`` (n,), n >= 3, positive and strictly decreasing by one common factor; ``values`` (n,). With ``order`` = p the
    expansion v(h) = v0 + c1 h**p + c2 h**(2p) + ... is assumed; without it p is read off the last three values
    (Aitken). ``error`` is the change made by the last refinement. Raises ``ValueError`` otherwise.
    """
    H, V = np.asarray(h, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if H.ndim != 1 or H.shape != V.shape or len(H) < 3:
        raise ValueError(f"h and values must be 1-d, equally long, at least 3: got shapes {H.shape} and {V.shape}")
    ratios = H[:-1] / H[1:]
    if np.any(H <= 0) or np.any(ratios <= 1) or not np.allclose(ratios, ratios[0], rtol=1e-9):
        raise ValueError(f"h must be positive and fall by one constant factor, got {H.tolist()}")
    differences = np.diff(V[-3:])
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = float(np.log(differences[0] / differences[1]) / np.log(ratios[0]))
    p = order if order is not None else observed
    if not np.isfinite(p) or p <= 0:
        if np.all(differences == 0):
            return Extrapolation(float(V[-1]), 0.0, float("nan"), len(V))
        raise ValueError(
            f"the values show no order of convergence (last differences {differences.tolist()}): "
            "give `order`, or smaller h"
        )
    table, previous = V.copy(), V[-1]
    for level in range(1, len(V)):
        factor = ratios[0] ** (p * level)
        previous = table[-1]
        table = (factor * table[1:] - table[:-1]) / (factor - 1.0)
        if order is None:  # an observed order is good for one refinement, not for a ladder built on it
            break
    return Extrapolation(float(table[-1]), float(abs(table[-1] - previous)), observed, len(V))


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    X, Y = np.asarray(x, dtype=np.float64), np.atleast_2d(np.asarray(y, dtype=np.float64))
    if X.ndim != 1 or Y.ndim != 2 or Y.shape[1] != len(X) or len(X) < 3:
        raise ValueError(f"x must have shape (n,), n >= 3, and y (n,) or (k, n); got x {X.shape}, y {np.shape(y)}")
    if Y.shape[0] == 2:
        raise ValueError("two replicates carry no interval: give one curve of shape (n,), or at least 3 replicates")
    if not (np.isfinite(X).all() and np.isfinite(Y).all()):
        raise ValueError("x and y must be finite: leave out points that overflowed, and say over which range")
    if np.ptp(X) == 0:
        raise ValueError(f"x must take at least two different values, all are {X[0]}")
    return X, Y


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def _slope_or_nan(x: Floats, y: Floats) -> float:
    return _line(x, y)[0] if np.ptp(x) > 0 else float("nan")


def _residual_bootstrap(
    x: Floats, residual: Floats, slope: float, confidence: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    n, centred = len(x), x - x.mean()
    total = centred @ centred
    leverage = 1.0 / n + centred**2 / total
    scaled = residual / np.sqrt(np.maximum(1.0 - leverage, 1e-12))
    drawn = rng.choice(scaled - scaled.mean(), size=(resamples, n))
    shift = drawn @ centred / total  # slope of the resampled errors
    left = drawn - drawn.mean(axis=1, keepdims=True) - shift[:, None] * centred
    errors = np.sqrt((left**2).sum(axis=1) / max(n - 2, 1) / total)
    own = float(np.sqrt((residual @ residual) / max(n - 2, 1) / total))
    return _no_narrower(
        slope, own * student_quantile(n - 1, confidence), *_studentised(slope, own, shift, errors, confidence)
    )


def _replicate_bootstrap(
    x: Floats, y: Floats, slope: float, confidence: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    centred = x - x.mean()
    slopes = y @ centred / (centred @ centred)  # least squares is linear in y: slope of the mean = mean of slopes
    k = len(slopes)
    own = float(slopes.std(ddof=1) / np.sqrt(k))
    drawn = rng.choice(slopes, size=(resamples, k))
    errors = drawn.std(axis=1, ddof=1) / np.sqrt(k)
    found = _studentised(slope, own, drawn.mean(axis=1) - slope, errors, confidence)
    return _no_narrower(slope, own * student_quantile(k, confidence), *found)


def _no_narrower(slope: float, reach: float, low: float, high: float) -> tuple[float, float]:
    """Than Student's interval: three or four points, or replicates, have too few distinct resamples."""
    return min(low, slope - reach), max(high, slope + reach)


def _studentised(slope: float, own: float, shift: Floats, errors: Floats, confidence: float) -> tuple[float, float]:
    """Bootstrap-t interval; a resample without any scatter has no t and is left out."""
    usable = errors > 1e-9 * max(own, np.finfo(float).tiny)
    if own == 0.0 or not usable.any():
        return slope, slope
    t = shift[usable] / errors[usable]
    upper, lower = np.quantile(t, [0.5 + confidence / 2, 0.5 - confidence / 2])
    return float(slope - upper * own), float(slope - lower * own)

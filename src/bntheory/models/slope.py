"""A slope with a plateau and a cliff, and what smoothing it does to gradient descent (one dimension).

Seen from the left: a plateau falling gently (slope -plateau), a cliff of the given height between 0 and ``width``, then
a floor and a bowl of curvature ``bowl`` that starts at ``floor``. A learning rate large enough to cross the plateau
within the budget is thrown out of the valley by the cliff; one that survives the cliff does not get there.

``smoothing`` = tau convolves the whole function with a Gaussian of standard deviation tau, in closed form: a kink
(x - k)+ becomes d Phi(d/tau) + tau phi(d/tau), d = x - k, and (x - k)+^2/2 becomes ((d^2 + tau^2) Phi + d tau phi)/2.
The picture is that of the post "Rethinking Batch Normalization"; the numbers and the definitions below are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from bntheory.arrays import Floats
from bntheory.models.checks import at_least, checked, positive


@checked()
@dataclass(frozen=True)
class Slope:
    """value, grad and curvature at x (...), any shape; plateau, height, width, bowl > 0, smoothing >= 0."""

    plateau: float = 0.002
    height: float = 5.0
    width: float = 0.05
    floor: float = 1.0
    bowl: float = 1.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("plateau", "height", "width", "bowl"):
            positive(getattr(self, name), name)
        if self.floor < self.width:
            raise ValueError(f"floor = {self.floor} must not start before the cliff ends at {self.width}")
        if self.smoothing < 0:
            raise ValueError(f"smoothing is a standard deviation, so >= 0, got {self.smoothing}")

    @property
    def steepness(self) -> float:
        """Slope of the unsmoothed cliff: its height over its width, plateau included."""
        return self.height / self.width

    def value(self, x: ArrayLike) -> Floats:
        X = np.asarray(x, dtype=np.float64)
        d = X - self.floor
        bowl = (d * self._kink(d)[0] + self.smoothing**2 * self._kink(d)[1]) / 2
        return -self.plateau * X - self._drop(X, 0) + self.height + self.bowl * bowl

    def grad(self, x: ArrayLike) -> Floats:
        X = np.asarray(x, dtype=np.float64)
        return -self.plateau - self._drop(X, 1) + self.bowl * self._kink(X - self.floor)[0]

    def curvature(self, x: ArrayLike) -> Floats:
        """Second derivative; 0 at the kinks of the unsmoothed function, where there is none."""
        X = np.asarray(x, dtype=np.float64)
        return -self._drop(X, 2) + self.bowl * self._kink(X - self.floor)[1]

    def minimiser(self) -> float:
        """The lowest point, by bisection of the slope to the right of the cliff."""
        low, high = (self.width + 6 * self.smoothing, self.floor + 6 * self.smoothing + 2 * self.plateau / self.bowl)
        low = min(low, self.floor)
        while self.grad(low) > 0:  # the smoothed bowl may reach over the cliff
            low -= max(self.smoothing, self.width)
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if self.grad(middle) < 0 else (low, middle)
        return (low + high) / 2

    def _drop(self, x: Floats, order: int) -> Floats:
        """The cliff, or its derivative of that order."""
        return self.steepness * (self._kink(x)[order] - self._kink(x - self.width)[order])

    def _kink(self, d: Floats) -> tuple[Floats, Floats, Floats]:
        """(x - k)+ at d = x - k, smoothed, with its slope and its curvature; it is the slope of (x - k)+^2/2."""
        tau = self.smoothing
        if tau == 0:
            return np.maximum(d, 0.0), (d > 0).astype(np.float64), np.zeros_like(d)
        z = d / tau
        density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        return d * ndtr(z) + tau * density, ndtr(z), density / tau


class Fate(Enum):
    """What became of a run; the value is the definition."""

    SETTLED = "within the budget the loss fell to within `tolerance` of the drop, never rising above twice the start's"
    STALLED = "the budget ended before the loss had fallen that far"
    EXPLODED = "the loss rose above twice its starting height over the minimum"


@dataclass(frozen=True)
class SlopeRun:
    """Paths (runs, steps + 1) of gradient descent, their losses above the minimum, and their fates (runs,)."""

    lr: Floats
    path: Floats
    excess: Floats
    fate: NDArray[np.object_]
    tolerance: float

    def window(self) -> tuple[float, float] | None:
        """Smallest and largest learning rate that settled, None where none did."""
        good = self.lr[self.fate == Fate.SETTLED]
        return (float(good.min()), float(good.max())) if good.size else None


@checked()
def slope_descent(slope: Slope, lr: ArrayLike, *, steps: int = 1000, tolerance: float = 0.05) -> SlopeRun:
    """Gradient descent from x = -1 at learning rates ``lr`` (runs,). Heights are relative to the start's.

    Raises ``ValueError`` for non-positive rates or a tolerance outside (0, 1).
    """
    rates = np.atleast_1d(positive(lr, "lr"))
    at_least(0, steps=steps)
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie in (0, 1), got {tolerance}")
    bottom = float(slope.value(slope.minimiser()))
    x = np.full(rates.shape, -1.0)
    path = np.empty((len(rates), steps + 1))
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps + 1):
            path[:, t] = x
            x = x - rates * slope.grad(x)
            x = np.clip(x, -1e100, 1e100)  # far outside the picture: the fate is decided, keep squares finite
        excess = slope.value(path) - bottom
    height = float(slope.value(-1.0)) - bottom
    exploded = (excess > 2.0 * height).any(axis=1)
    settled = ~exploded & (excess[:, -1] <= tolerance * height)
    fate = np.full(rates.shape, Fate.STALLED, dtype=object)
    fate[settled], fate[exploded] = Fate.SETTLED, Fate.EXPLODED
    return SlopeRun(rates, path, excess, fate, tolerance)

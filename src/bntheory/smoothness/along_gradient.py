"""What a step along the gradient meets: variation of the loss, predictiveness of the gradient, effective smoothness.

The measurements of Santurkar et al. (2018, section 3.2 and figure 4): one gradient g at x, then a walk along x - s g for s between
multiples of a learning rate. All in absolute units: a rescaled loss changes every one of them, so compare them only between
losses of one scale, or use :mod:`bntheory.smoothness.scale_free`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bntheory.smoothness.measure import Cost
from bntheory.smoothness.protocol import Counted, Landscape, as_point

__all__ = ["AlongGradient", "along_gradient"]


@dataclass(frozen=True)
class AlongGradient:
    """steps: the s, (k,); losses: f(x - s g), (k,); gradient_changes: ||grad f(x) - grad f(x - s g)||, (k,).

    loss_range and gradient_range are (lowest, highest) over the walk; effective_beta is the largest change of the gradient over
    the distance moved, a lower bound on Lip(grad f) on the segment.
    """

    loss: float
    gradient_norm: float
    steps: NDArray[np.float64]
    losses: NDArray[np.float64]
    gradient_changes: NDArray[np.float64]
    cost: Cost

    @property
    def loss_range(self) -> tuple[float, float]:
        return float(self.losses.min()), float(self.losses.max())

    @property
    def gradient_range(self) -> tuple[float, float]:
        return float(self.gradient_changes.min()), float(self.gradient_changes.max())

    @property
    def effective_beta(self) -> float:
        return float(np.max(self.gradient_changes / (self.steps * self.gradient_norm)))


def along_gradient(
    landscape: Landscape, x: ArrayLike, learning_rate: float, *, multiples: Sequence[float] | None = None
) -> AlongGradient:
    """Walk from x along the negative gradient. multiples of the learning rate: eight from 1/2 to 4 unless given.

    Raises ValueError for a zero gradient, a learning rate that is not positive, or multiples that are not positive.
    """
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"learning_rate is {learning_rate}; steps are positive multiples of it")
    factors = np.linspace(0.5, 4.0, 8) if multiples is None else np.asarray(multiples, dtype=np.float64)
    if factors.ndim != 1 or factors.size == 0 or not bool((factors > 0).all()):
        raise ValueError(f"multiples are {multiples}; give at least one, all positive")
    counted = Counted(landscape)
    point = as_point(x, counted.dimension)
    loss, g = counted.value(point), counted.grad(point)
    size = float(np.linalg.norm(g))
    if size == 0:
        raise ValueError("the gradient is zero at x: there is no direction to walk along")
    steps = learning_rate * factors
    losses = np.array([counted.value(point - s * g) for s in steps])
    changes = np.array([float(np.linalg.norm(g - counted.grad(point - s * g))) for s in steps])
    return AlongGradient(loss, size, steps, losses, changes, counted.cost)

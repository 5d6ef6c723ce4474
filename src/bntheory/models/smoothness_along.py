"""How smooth a regressor's landscape is along its own training: with batch normalisation, for its twin, and without.

The measures are the scale-free ones of :mod:`bntheory.smoothness`, so a loss that is merely smaller changes none of
them. The frozen twin is taken at every point anew; the standard model is looked at where its loss is the same, not
where its step count is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bntheory.errors import UserError
from bntheory.models.gradient_descent import Descent, train
from bntheory.models.normalised_regressor import NormalisedRegressor
from bntheory.models.trajectory import Outcome
from bntheory.smoothness.eigenpairs import extreme_eigenpairs
from bntheory.smoothness.protocol import Landscape
from bntheory.smoothness.scale_free import gradient_cosine, trust_fraction

__all__ = ["Curvatures", "Smoothness", "best_run", "first_reached", "smoothness_along"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curvatures:
    """Loss, slope and curvature at chosen points of one run, each of shape (points,); f* is taken as 0."""

    losses: Floats
    gradient_norms: Floats
    top_eigenvalues: Floats

    @property
    def relative_curvatures(self) -> Floats:
        """``lambda_max f/||grad f||^2``."""
        return np.asarray(self.top_eigenvalues * self.losses / self.gradient_norms**2)

    def after_start(self) -> Self:
        """All but the first point."""
        return type(self)(**{field.name: getattr(self, field.name)[1:] for field in fields(self)})


@dataclass(frozen=True)
class Smoothness(Curvatures):
    """And what a gradient step meets at those points, each of shape (points,)."""

    trust_fractions: (
        Floats  # share of the loss that one gradient step can remove before the prediction errs by half
    )
    gradient_cosines: (
        Floats  # of the gradients before and after a step that linearly removes a tenth of the loss
    )


def first_reached(losses: Floats, points: int) -> list[int]:
    """Where a run first reaches each of up to ``points`` losses, even in the logarithm, in order; the first is its start."""
    logs = np.log(losses)
    goals = np.linspace(logs[0], logs.min(), points)
    return sorted({int(np.flatnonzero(logs <= goal + 1e-12)[0]) for goal in goals})


def smoothness_along(
    landscape_at: Callable[[Floats], Landscape], descent: Descent, *, points: int = 6, seed: int = 0
) -> Smoothness:
    """Measure where a run first reaches each of up to ``points`` losses, even in the logarithm.

    ``landscape_at(x)`` is the landscape to measure at ``x``: a constant function for a model itself, its
    ``frozen_twin`` for the twin. Points with a loss or gradient of zero are left out.
    """
    if points < 2:
        raise UserError(f"points={points}: needs at least 2")
    usable = np.flatnonzero((descent.losses > 0) & (descent.gradient_norms > 0))
    if usable.size < 2:
        raise UserError(
            "descent: fewer than two recorded points have a positive loss and a gradient; record more"
        )
    rows = []
    for index in usable[first_reached(descent.losses[usable], points)]:
        x = descent.points[index]
        landscape = landscape_at(x)
        # a relative tolerance of 1e-3 is far below the differences that matter here
        top = extreme_eigenpairs(landscape, x, which="top", tolerance=1e-3, seed=seed)[0].value
        rows.append(
            (
                landscape.value(x),
                float(np.linalg.norm(landscape.grad(x))),
                top,
                trust_fraction(landscape, x, bisections=6).value,
                gradient_cosine(landscape, x).value,
            )
        )
    return Smoothness(*(np.array(column) for column in zip(*rows, strict=True)))


def best_run(
    model: NormalisedRegressor,
    learning_rates: Sequence[float],
    *,
    steps: int,
    seed: int = 0,
    points: int = 120,
) -> Descent:
    """The run with the lowest mean loss over its second half, among learning rates; diverged runs do not count.

    Raises ValueError if all of them diverge.
    """
    if len(learning_rates) == 0:
        raise UserError("learning_rates is empty: give at least one")
    start = model.initial(seed)
    best: tuple[float, Descent] | None = None
    for rate in learning_rates:
        run = train(model, start, learning_rate=rate, steps=steps, points=points)
        if run.outcome is Outcome.DIVERGED:
            continue
        score = float(np.mean(run.all_losses[len(run.all_losses) // 2 :]))
        if best is None or score < best[0]:
            best = (score, run)
    if best is None:
        raise UserError(f"learning_rates={list(learning_rates)}: every run diverged; give smaller ones")
    return best[1]

"""Plain full-batch gradient descent on a landscape, and what its trajectory was like."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked
from bntheory.models.trajectory import Outcome, recording_steps
from bntheory.smoothness.protocol import Landscape, as_point


@dataclass(frozen=True)
class Descent:
    """A run of gradient descent: everything at the recorded steps, the loss at every step."""

    steps: NDArray[np.int64]  # (r,) recorded steps, 0 first
    points: Floats  # (r, dimension)
    losses: Floats  # (r,)
    gradient_norms: Floats  # (r,)
    all_losses: Floats  # (steps run + 1,)
    learning_rate: float
    outcome: Outcome

    @property
    def final(self) -> Floats:
        """The last recorded point."""
        return np.asarray(self.points[-1])


@checked("bound")
def train(
    landscape: Landscape,
    x0: ArrayLike,
    *,
    learning_rate: float,
    steps: int,
    points: int | None = 32,
    tolerance: float = 0.0,
    bound: float = 1e6,
    progress: Callable[[int, int], None] | None = None,
) -> Descent:
    """``x <- x - learning_rate grad f(x)`` for at most ``steps`` steps.

    ``points`` steps are recorded, evenly in the logarithm (None: all of them). The run ends early as CONVERGED when
    the loss is at most ``tolerance``, and as DIVERGED when it is not finite or above ``bound`` times its first value;
    the point where it ended is recorded if it is finite. A landscape with ``value_and_grad(x)`` is asked for both at
    once. Raises ValueError for a learning rate that is not positive and a start without a finite loss.
    """
    if not learning_rate > 0:
        raise UserError(f"learning_rate={learning_rate}: must be positive")
    if not bound > 1:
        raise UserError(f"bound={bound}: a run may pass its first loss, so the bound is a factor above 1")
    x = as_point(x0, landscape.dimension)
    value_and_grad = getattr(landscape, "value_and_grad", None) or (
        lambda at: (landscape.value(at), landscape.grad(at))
    )
    wanted = {int(s) for s in recording_steps(steps, points)}
    kept_steps: list[int] = []
    kept: list[Floats] = []
    norms: list[float] = []
    losses: list[float] = []
    outcome = Outcome.UNFINISHED
    for step in range(steps + 1):
        loss, gradient = value_and_grad(x)
        if step == 0 and not math.isfinite(loss):
            raise UserError(f"x0: the loss there is {loss}; start where it is finite")
        losses.append(loss)
        if not math.isfinite(loss) or loss > bound * max(losses[0], np.finfo(float).tiny):
            outcome = Outcome.DIVERGED
        elif loss <= tolerance:
            outcome = Outcome.CONVERGED
        ends = outcome is not Outcome.UNFINISHED or step == steps
        finite = math.isfinite(loss)
        if finite and (step in wanted or ends):
            kept_steps.append(step)
            kept.append(x.copy())
            norms.append(float(np.linalg.norm(gradient)))
        if progress is not None and (step in wanted or ends):
            progress(step, steps)
        if ends:
            break
        x = x - learning_rate * gradient
        if not np.all(np.isfinite(x)):
            outcome = Outcome.DIVERGED
            break
    recorded = np.array(kept_steps, dtype=np.int64)
    return Descent(
        steps=recorded,
        points=np.array(kept),
        losses=np.array(losses)[recorded],
        gradient_norms=np.array(norms),
        all_losses=np.array(losses),
        learning_rate=float(learning_rate),
        outcome=outcome,
    )

"""Weight decay drives gradient descent on scale-invariant weights to the edge of stability.

On the sphere, descent with weight decay, w <- (1 - lr decay) w - lr grad f(w), is descent with the effective rate
lr/((1 - lr decay)||w||^2), which is stable at a minimum while *normalised sharpness* lr/||w||^2 * (top curvature on the
sphere) is below 2 (1 - lr decay). Near a minimum the gradient is small, decay shrinks w, the ratio rises past 2; the
oscillation that sets in feeds the norm and pushes it back (Lyu, Li, Arora 2022, for t up to order 1/(lr decay)).

To leading order in the amplitude theta of the oscillation and the distance x of the ratio from 2 this is a
predator and its prey: (log theta^2)' = 2 x - c theta^2, x' = 4 lr decay - 8 theta^2. What happens in the
long run hangs on the next order, and so on the loss: this module measures it and assumes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.models.checks import checked, positive
from bntheory.models.scale_invariant import ScaleInvariantLoss, descend
from bntheory.models.trajectory import Trajectories


@dataclass(frozen=True)
class EdgeRun:
    """Normalised sharpness lr/||w||^2 * sharpness in consecutive windows of intrinsic time t * lr * decay."""

    intrinsic_time: Floats  # (windows,) start of each window
    mean: Floats  # (windows,)
    low: Floats  # smallest value in each window
    high: Floats
    sharpness: Floats  # at the start of each window: falls where minimisers of less sharpness are in reach
    lr: float
    decay: float
    trajectory: Trajectories
    kind: str = "exact recursion in float64"

    def ratio(self) -> Floats:
        """The whole series, one value a step."""
        return self.lr * self.trajectory["sharpness"] / self.trajectory["norm"] ** 2


@checked()
def edge_start(
    loss: ScaleInvariantLoss,
    minimiser: ArrayLike,
    direction: ArrayLike,
    lr: float,
    decay: float,
    *,
    ratio: float = 1.9,
    amplitude: float = 1.0,
) -> Floats:
    """A starting point at normalised sharpness ``ratio`` next to ``minimiser`` (d,), displaced along
    ``direction`` (d,).

    ``amplitude`` is in units of sqrt(lr decay/2), where oscillation and decay balance. Starting far below the edge
    gives the same approach, but the oscillation dies out on the way up, below what float64 can bring back: the passage
    is then delayed (a dynamic bifurcation) and ends in one large overshoot. Raises ``ValueError`` for a zero direction.
    """
    v = np.asarray(minimiser, dtype=np.float64)
    v = v / np.linalg.norm(v)
    p = np.asarray(direction, dtype=np.float64)
    p = p - (p @ v) * v
    if not np.linalg.norm(p) > 1e-12:
        raise ValueError("direction must not be parallel to the minimiser: displacing along it changes nothing")
    p = p / np.linalg.norm(p)
    sharpness = float(loss.spherical_sharpness(v[None])[0])
    if not sharpness > 0:
        raise ValueError(f"minimiser has sharpness {sharpness}: there is no edge where curvature is not positive")
    angle = amplitude * np.sqrt(lr * decay / 2)
    return np.asarray(np.sqrt(lr * sharpness / ratio) * (np.cos(angle) * v + np.sin(angle) * p))


@checked()
def edge_run(
    loss: ScaleInvariantLoss, w0: Floats, lr: float, decay: float, *, intrinsic_time: float = 10.0, windows: int = 10
) -> EdgeRun:
    """Descend from ``w0`` (d,) for ``intrinsic_time``/(lr decay) steps and look at every one of them."""
    if windows < 1 or not intrinsic_time > 0:
        raise ValueError(f"need windows >= 1 and intrinsic_time > 0, got {windows} and {intrinsic_time}")
    positive(lr, "lr")
    positive(decay, "decay")
    steps = int(np.ceil(intrinsic_time / (lr * decay)))
    if steps < 2 * windows:
        raise ValueError(f"{steps} steps do not fill {windows} windows: lower lr * decay or the number of windows")
    run = descend(loss, w0, lr, steps, weight_decay=decay, points=None, sharpness=True)
    ratio = lr * run["sharpness"] / run["norm"] ** 2
    edges = np.linspace(0, steps, windows + 1).astype(int)
    pieces = [ratio[a:b] for a, b in pairwise(edges.tolist())]
    return EdgeRun(
        intrinsic_time=edges[:-1] * lr * decay,
        mean=np.array([p.mean() for p in pieces]),
        low=np.array([p.min() for p in pieces]),
        high=np.array([p.max() for p in pieces]),
        sharpness=run["sharpness"][edges[:-1]],
        lr=lr,
        decay=decay,
        trajectory=run,
    )

r"""Descent at the edge of stability, and descent that is kept below it by projection (Damian, Nichani, Lee 2022).

Two losses with progressive sharpening, each with the projected descent that the theory puts in place of the oscillating
one:

*Without normalisation*, f(x, y, z) = y x^2/2 + a (y - Y)^2/2 + a (z - y)^2/2. The sharp direction is x and its
curvature is y, which the rest of the loss pulls to Y > 2/lr. Where y exceeds 2/lr, x oscillates and grows, and x^2/2
pushes y back.

*With normalisation*, a scale-invariant loss with a circle of minima
(:class:`~bntheory.models.scale_invariant.CircleOfMinima`) under weight decay: decay shrinks w, which raises the
sharpness S = (1 + tilt cos phi)/||w||^2. Projected descent on {S <= 2/lr} has a closed form as an equation for (||w||,
phi): decay's flow, minus its component along the gradient of S where S has reached 2/lr. It slides along the circle
towards less sharpness, although the loss is constant there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked, positive


@dataclass(frozen=True)
class SharpeningRun:
    """(steps + 1, 3) iterates of descent, (steps + 1, 2) of projected and of free descent in (y, z); means over a
    sliding window.

    distance: of the averaged descent to the averaged projected one, over the distance of the free one to it, at the end
    and halfway.
    """

    descent: Floats
    projected: Floats
    free: Floats
    window: int
    distance_halfway: float
    distance_end: float
    kind: str = "exact recursion in float64"


@checked()
def sharpening_run(*, lr: float = 0.1, pull: float = 0.01, goal: float = 30.0) -> SharpeningRun:
    """Run all three from (x, y, z) = (0.05, 18, 10) for 6/(lr pull) steps. Raises ``ValueError`` where there is no edge
    to reach."""
    positive(lr, "lr")
    edge, start = 2 / lr, (0.05, 18.0, 10.0)
    if not (start[1] < edge < goal and pull > 0):
        raise ValueError(
            f"need y0 < 2/lr < goal and pull > 0, got y0 = {start[1]}, 2/lr = {edge}, goal = {goal}, pull = {pull}"
        )
    steps = int(np.ceil(6.0 / (lr * pull)))
    descent = np.empty((steps + 1, 3))
    projected, free = np.empty((steps + 1, 2)), np.empty((steps + 1, 2))
    x, y, z = descent[0] = start
    projected[0] = free[0] = start[1:]
    for t in range(steps):
        x, y, z = (x - lr * y * x, y - lr * (x * x / 2 + pull * (y - goal) - pull * (z - y)), z - lr * pull * (z - y))
        descent[t + 1] = x, y, z
        for series, cap in ((projected, edge), (free, np.inf)):
            v, u = series[t]
            series[t + 1] = min(v - lr * pull * ((v - goal) - (u - v)), cap), u - lr * pull * (u - v)
    window = max(10, steps // 20)
    near = np.linalg.norm(_averaged(descent[:, 1:], window) - _averaged(projected, window), axis=1)
    far = np.linalg.norm(_averaged(free, window) - _averaged(projected, window), axis=1)
    half = len(near) // 2
    return SharpeningRun(descent, projected, free, window, float(near[half] / far[half]), float(near[-1] / far[-1]))


def _averaged(series: Floats, window: int) -> Floats:
    kernel = np.ones(window) / window
    return np.stack([np.convolve(column, kernel, "valid") for column in series.T], axis=1)


@checked()
def projected_angle(norm0: float, phi0: float, tilt: float, lr: float, times: Floats) -> Floats:
    """phi at intrinsic times lr decay t (increasing, from 0 up) of projected descent on the circle of minima,
    (len(times),).

    Weight decay alone until S = 2/lr, then along {S = 2/lr}. |tilt| < 1: beyond it the curvature is not positive all round
    the circle. Raises UserError for that, a start beyond the edge, a rate or a norm that is not positive, and times that are
    none or do not increase from 0 up.
    """
    from scipy.integrate import solve_ivp

    positive(lr, "lr")
    positive(norm0, "norm0")
    if not -1 < tilt < 1:
        raise UserError(
            f"tilt={tilt}: need -1 < tilt < 1, else the sharpness (1 + tilt cos phi)/||w||^2 is not positive everywhere"
        )
    if (
        np.ndim(times) != 1
        or np.size(times) == 0
        or not np.isfinite(times).all()
        or np.min(times) < 0
        or np.any(np.diff(times) < 0)
    ):
        raise UserError(f"times={times!r:.60}: need at least one time, in increasing order from 0 up")
    edge = 2 / lr
    sharp = (1 + tilt * np.cos(phi0)) / norm0**2
    if sharp > edge * (1 + 1e-9):
        raise ValueError(f"the start has sharpness {sharp:.4g}, beyond the edge 2/lr = {edge:.4g}")
    free = np.log(edge / sharp) / 2  # intrinsic time until the edge: the norm falls like exp(-time)

    def slide(_: float, phi: Floats) -> Floats:
        # along the surface r^2 = lr (1 + tilt cos phi)/2, decay's flow (-r, 0) minus its part along grad S
        slope = -tilt * np.sin(phi) / (2 * (1 + tilt * np.cos(phi)))  # (dr/dphi)/r on the surface
        return -slope / (1 + slope**2)

    late = np.maximum(np.asarray(times, dtype=np.float64) - free, 0.0)
    solved = solve_ivp(slide, (0.0, max(float(late[-1]), 1e-12)), [phi0], t_eval=np.unique(late), rtol=1e-9, atol=1e-12)
    return np.asarray(np.interp(late, solved.t, solved.y[0]))


@dataclass(frozen=True)
class Bursts:
    """When a loss rose by ``factor`` over its last minimum, after having fallen as far; one entry a burst, in steps."""

    times: Floats
    factor: float

    @property
    def periods(self) -> Floats:
        """Distances of consecutive bursts, in steps."""
        return np.diff(self.times)


@checked()
def bursts(values: Floats, factor: float = 1e3) -> Bursts:
    """The bursts of a series of losses (steps + 1,), positive. Raises ``ValueError`` for a factor that is not above
    1."""
    if np.ndim(values) != 1 or np.size(values) == 0:
        raise UserError(f"values: of shape {np.shape(values)}; need the losses of a run, one a step, at least one")
    if not factor > 1:
        raise ValueError(f"factor must exceed 1, got {factor}")
    times: list[int] = []
    extreme, rising = float(values[0]), False
    for t, value in enumerate(values.tolist()):
        if rising:
            extreme = max(extreme, value)
            if value * factor < extreme:
                rising, extreme = False, value
        else:
            extreme = min(extreme, value)
            if value > factor * extreme:
                rising, extreme = True, value
                times.append(t)
    return Bursts(np.array(times, dtype=float), factor)

"""Weight decay as an exponentially growing learning rate (Li and Arora 2019).

For a scale-invariant loss, momentum gradient descent with learning rate lr and decay,

    w_{t+1} = (1 + mu - lr decay) w_t - mu w_{t-1} - lr grad f(w_t),

becomes, in u_t = alpha^-t w_t and with grad f(alpha^t u) = alpha^-t grad f(u),

    u_{t+1} = ((1 + mu - lr decay)/alpha) u_t - (mu/alpha^2) u_{t-1} - lr alpha^(-2t-1) grad f(u_t),

which is momentum descent *without* decay and with lr_t = lr alpha^(-2t-1) exactly when the first two
coefficients differ by one: alpha^2 - (1 + mu - lr decay) alpha + mu = 0. Both roots serve. What the
derivation needs (found here, to be said beside the statement): the roots real and positive, lr decay <= (1
- sqrt mu)^2; the learning rate *outside* the buffer (v <- mu v + g, w <- w - lr_t v), otherwise the
momentum must become mu/alpha^2; and a first buffer that carries u_{-1} = alpha w_{-1}, that of
:func:`matching_buffer`, which is not zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bntheory.arrays import Floats
from bntheory.models.checks import checked
from bntheory.models.scale_invariant import ScaleInvariantLoss


@dataclass(frozen=True)
class ExponentialSchedule:
    """Both roots of x^2 - (1 + momentum - lr decay) x + momentum, and the growth of the learning rate they give."""

    lr: float
    decay: float
    momentum: float
    slow: float  # the root next to 1 (the larger one)
    fast: float  # the root next to momentum; 0 for momentum = 0, where it gives no schedule

    def growth(self) -> float:
        """lr_{t+1}/lr_t = alpha^-2, of the slow root."""
        return float(self.slow**-2)

    def growth_after(self, steps: int) -> float:
        """lr_{t+steps}/lr_t."""
        return float(self.growth() ** steps)

    def first_rate(self) -> float:
        """lr_0 = lr/alpha."""
        return float(self.lr / self.slow)


@checked()
def largest_decay(momentum: float) -> float:
    """(1 - sqrt(momentum))^2, the largest lr * decay with real positive roots: beyond it there is no schedule."""
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
    return float((1 - np.sqrt(momentum)) ** 2)


@checked()
def exponential_schedule(lr: float, decay: float, momentum: float) -> ExponentialSchedule:
    """Raises ``ValueError`` where the roots are not real and positive, and says how far outside the arguments are."""
    if not (lr > 0 and decay >= 0):
        raise ValueError(f"need lr > 0 and decay >= 0, got {lr} and {decay}")
    limit = largest_decay(momentum)
    total = 1 + momentum - lr * decay
    if lr * decay > limit:
        raise ValueError(
            f"lr * decay = {lr * decay:.4g} exceeds (1 - sqrt(momentum))^2 = {limit:.4g}: the roots of "
            f"x^2 - {total:.4g} x + {momentum:.4g} are not real and positive, so no learning rate corresponds to them"
        )
    root = np.sqrt(max(total**2 - 4 * momentum, 0.0))
    slow = (total + root) / 2
    return ExponentialSchedule(lr, decay, momentum, float(slow), float(momentum / slow))


@checked()
def matching_buffer(w0: Floats, lr: float, alpha: float, momentum: float) -> Floats:
    """The buffer before the first step of the run without decay that matches an empty one of the run with decay.

    The decayed run, in the form v <- momentum v + (g + decay w), has w_{-1} = w_0; the other needs u_{-1} = alpha w_0
    and u_0 - u_{-1} = -lr_{-1} v, lr_{-1} = lr alpha, which gives v = (alpha - 1) w_0/(lr alpha).
    """
    if momentum == 0:
        return np.zeros_like(w0)  # the buffer is never read
    return (alpha * w0 - w0) / (lr * alpha)


@dataclass(frozen=True)
class IdentityCheck:
    """How well the two runs agree: max over steps of ||w_t - alpha^t u_t||/||w_t||.

    ``rounding_floor`` is the same distance between the decayed run and itself with every step perturbed by
    a relative random 1 ulp: what rounding alone makes of the run, chaos at the edge of stability included.
    """

    alpha: float
    discrepancy: float
    rounding_floor: float
    steps: int
    final_rate: float  # lr_T, to show how far the schedule went
    seed: int
    kind: str = "exact identity, evaluated in float64"


@checked()
def compare_runs(
    loss: ScaleInvariantLoss,
    w0: Floats,
    schedule: ExponentialSchedule,
    steps: int,
    *,
    alpha: float | None = None,
    buffer: str = "matching",
    seed: int = 0,
) -> IdentityCheck:
    """Run both forms from the same state and compare all their directions and norms.

    ``buffer`` "matching" uses :func:`matching_buffer`, "zero" the initialisation that frameworks use. Raises
    ``ValueError`` if alpha^-2t would overflow within the steps, since the comparison would then be of infinities.
    """
    root = schedule.slow if alpha is None else alpha
    if root <= 0:
        raise ValueError(f"alpha must be positive, got {root}: momentum 0 has one root only")
    if 2 * (steps + 1) * abs(np.log(root)) > 650:
        raise ValueError(f"alpha^-2t overflows float64 within {steps} steps for alpha = {root:.4g}; take fewer")
    if buffer not in ("matching", "zero"):
        raise ValueError(f"buffer must be 'matching' or 'zero', got {buffer!r}")
    mu, lr = schedule.momentum, schedule.lr
    start = np.asarray(w0, dtype=np.float64)
    first = matching_buffer(start, lr, root, mu) if buffer == "matching" else np.zeros_like(start)
    w, u = start.copy(), start.copy()
    v, z = np.zeros_like(start), first
    shaken, shaken_v = start.copy(), np.zeros_like(start)
    unit, rng = float(np.finfo(float).eps), np.random.default_rng(seed)
    worst, floor, rate = 0.0, 0.0, lr
    for t in range(steps):
        v = mu * v + loss.grad(w) + schedule.decay * w
        w = w - lr * v
        rate = lr * root ** (-2 * t - 1)
        z = mu * z + loss.grad(u)
        u = u - rate * z
        shaken_v = mu * shaken_v + loss.grad(shaken) + schedule.decay * shaken
        shaken = (shaken - lr * shaken_v) * (1 + unit * rng.choice([-1.0, 1.0], size=w.shape))
        norm = np.linalg.norm(w, axis=-1)
        worst = max(worst, float(np.max(np.linalg.norm(w - root ** (t + 1) * u, axis=-1) / norm)))
        floor = max(floor, float(np.max(np.linalg.norm(w - shaken, axis=-1) / norm)))
    return IdentityCheck(float(root), worst, floor, steps, float(rate), seed)

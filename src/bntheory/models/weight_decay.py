"""Weight decay on scale-invariant weights: the equilibrium of the norm, and how far the direction turns in a step.

Momentum gradient descent in the usual framework's form (decay inside the buffer, penalty (decay/2)||w||^2) is

    w_{t+1} = (1 + momentum - lr decay) w_t - momentum w_{t-1} - lr g_t,       g_t orthogonal to w_t.

**Noise model, stated**: g_t = n_t/||w_t||, n_t Gaussian with covariance (noise^2/(d-1)) (I - v v'), v = w_t/||w_t||:
independent in time, isotropic in the tangent space, of the same size in every direction. There is no signal.

*Norm.* Without momentum ||w||^2 <- (1 - lr decay)^2 ||w||^2 + lr^2 ||n||^2/||w||^2; where ||n|| is
constant the fixed point is ||w||^4 = lr noise^2 / (decay (2 - lr decay)). With penalty lambda ||w||^2
(decay = 2 lambda) that is van Laarhoven's lr noise^2/(4 lambda), up to a factor 1/(1 - lr lambda).

*Angle.* Take the inner product of the recursion with w_t; the gradient drops out. In any stationary state,
E<w_{t+1}, w_t> = (1 - lr decay/(1 + momentum)) E||w||^2 exactly, whatever the noise (derived here); Wan et
al. (2021), theorem 1, is its leading order: angle sqrt(2 lr decay/(1 + momentum)). That is the root mean
square angle: where the size of a gradient fluctuates, as it does for Gaussian noise in d - 1 dimensions,
the mean angle is smaller by the factor 1 - 1/(4(d - 1)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bntheory.arrays import Floats
from bntheory.models.checks import at_least, checked, positive


@dataclass(frozen=True)
class Equilibrium:
    """Averages over the stationary part of many runs, one number a run (leading axis), so that they give
    an interval."""

    norm4: Floats  # (seeds,) time averages of ||w||^4
    norm2: Floats  # of ||w||^2
    inner: Floats  # of <w_{t+1}, w_t>
    angle: Floats  # of the angle between w_{t+1} and w_t, radians
    angle2: Floats  # of its square
    steps: int
    seed: int
    kind: str = "estimate with error"


@checked()
def van_laarhoven_norm4(lr: float, penalty: float, noise: float) -> float:
    """lr E||g~||^2/(4 lambda) for penalty lambda ||w||^2: the printed equilibrium of ||w||^4."""
    _check(lr, 2 * penalty, 0.0, noise)
    return lr * noise**2 / (4 * penalty)


@checked()
def fixed_norm4(lr: float, decay: float, noise: float) -> float:
    """The exact fixed point of ||w||^4 without momentum, for gradients of constant size ``noise`` on the sphere."""
    _check(lr, decay, 0.0, noise)
    return lr * noise**2 / (decay * (2 - lr * decay))


@checked()
def momentum_norm4(lr: float, decay: float, momentum: float, noise: float) -> float:
    """Leading order in lr decay of the equilibrium ||w||^4 with momentum: lr noise^2/(2 decay (1 - momentum)).

    A gradient's whole contribution to w is lr g/(1 - momentum), spread over time; uncorrelated contributions add up to
    lr^2 noise^2/(1 - momentum)^2 a step, against a decay of 2 lr decay/(1 - momentum).
    """
    _check(lr, decay, momentum, noise)
    return lr * noise**2 / (2 * decay * (1 - momentum))


@checked()
def wan_angle(lr: float, decay: float, momentum: float) -> float:
    """sqrt(2 lr decay/(1 + momentum)), the printed angular update at equilibrium (radians)."""
    _check(lr, decay, momentum, 1.0)
    return float(np.sqrt(2 * lr * decay / (1 + momentum)))


@checked()
def exact_cosine(lr: float, decay: float, momentum: float) -> float:
    """E<w_{t+1}, w_t>/E||w||^2 = 1 - lr decay/(1 + momentum) in any stationary state, exactly."""
    _check(lr, decay, momentum, 1.0)
    return 1.0 - lr * decay / (1 + momentum)


@checked()
def norm_recursion(norm0: float, lr: float, decay: float, noise: float, steps: int, *, clipped: bool = False) -> Floats:
    """||w_t||, t = 0..steps, without momentum and for gradients of constant size: two terms, no randomness, exact.

    clipped: gradients are cut to the length sqrt(2 decay/lr) ||w|| (Li et al. 2022), so that no step is longer than
    sqrt(2 lr decay) ||w||. Raises ``ValueError`` for a norm that is not positive.
    """
    _check(lr, decay, 0.0, noise)
    positive(norm0, "norm0")
    at_least(0, steps=steps)
    squares = np.empty(steps + 1)
    squares[0] = norm0**2
    for t in range(steps):
        squares[t + 1] = _next_square(float(squares[t]), lr, decay, noise, clipped)
    return np.sqrt(squares)


@checked()
def steps_to_equilibrium(
    norm0: float, lr: float, decay: float, *, clipped: bool = False, factor: float = 1.05, most: int = 10_000_000
) -> int:
    """How many steps :func:`norm_recursion` takes, for gradients of length 1, until ||w||^2 is within ``factor`` of its
    fixed point, either way.

    Raises ``ValueError`` for a norm that is not positive, ``ArithmeticError`` where that takes more than ``most`` steps.
    """
    positive(norm0, "norm0")
    goal, square = np.sqrt(fixed_norm4(lr, decay, 1.0)), norm0**2
    for t in range(most):
        if goal / factor <= square <= goal * factor:
            return t
        square = _next_square(square, lr, decay, 1.0, clipped)
    raise ArithmeticError(f"||w||^2 = {square:.3g} is not within {factor} of {goal:.3g} after {most} steps")


def _next_square(square: float, lr: float, decay: float, noise: float, clipped: bool) -> float:
    step2 = lr**2 * noise**2 / square
    if clipped:
        step2 = min(step2, 2 * lr * decay * square)
    return (1 - lr * decay) ** 2 * square + step2


@checked()
def simulate_equilibrium(
    *,
    dimension: int,
    lr: float,
    decay: float,
    momentum: float = 0.0,
    noise: float = 1.0,
    seeds: int = 16,
    steps: int | None = None,
    seed: int = 0,
) -> Equilibrium:
    """Run the noise model of this module; ``seeds`` independent runs, each averaged over ``steps`` after a burn-in.

    Runs start at the leading-order equilibrium norm, so the burn-in (10 relaxation times) only has to
    remove what that misses; ``steps`` defaults to 200 relaxation times (1 - momentum)/(lr decay). Raises
    ``ValueError`` for dimension < 2.
    """
    _check(lr, decay, momentum, noise)
    if dimension < 2:
        raise ValueError(f"dimension must be at least 2 for a direction to turn, got {dimension}")
    if seeds < 3:
        raise ValueError(f"seeds must be at least 3 for an interval, got {seeds}")
    if steps is not None:
        at_least(1, steps=steps)
    relaxation = (1 - momentum) / (lr * decay)
    warm = int(np.ceil(10 * relaxation))
    total = int(np.ceil(200 * relaxation)) if steps is None else steps
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(seeds, dimension))
    w *= momentum_norm4(lr, decay, momentum, noise) ** 0.25 / np.linalg.norm(w, axis=1, keepdims=True)
    buffer = np.zeros_like(w)
    sums = np.zeros((5, seeds))
    scale = noise / np.sqrt(dimension - 1)
    for t in range(warm + total):
        norm2 = np.einsum("ij,ij->i", w, w)
        n = rng.normal(size=w.shape)
        n -= (np.einsum("ij,ij->i", n, w) / norm2)[:, None] * w
        buffer = momentum * buffer + decay * w + (scale / np.sqrt(norm2))[:, None] * n
        new = w - lr * buffer
        if t >= warm:
            inner, new2 = np.einsum("ij,ij->i", new, w), np.einsum("ij,ij->i", new, new)
            # atan2 of the cross product's size, since arccos loses half its digits at small angles
            sine2 = np.maximum(new2 * norm2 - inner**2, 0.0)
            angle = np.arctan2(np.sqrt(sine2), inner)
            sums += np.stack([norm2**2, norm2, inner, angle, angle**2])
        w = new
    norm4, squares, inner_mean, angle_mean, angle2 = sums / total
    return Equilibrium(norm4, squares, inner_mean, angle_mean, angle2, total, seed)


def _check(lr: float, decay: float, momentum: float, noise: float) -> None:
    for name, value in (("lr", lr), ("decay", decay), ("noise", noise)):
        positive(value, name)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
    if lr * decay >= 1:
        raise ValueError(f"lr * decay must be below 1, got {lr * decay}: a step would wipe out the weights")

r"""AdamW on scale-invariant weights: how far the direction turns in a step once the norm has settled.

    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,  w <- (1 - lr decay) w - lr m_hat/sqrt(v_hat)      (no epsilon)

with g = n/||w||, n standard normal in the tangent space at w, independent in time: a random walk, no signal. Every
entry of m_hat/sqrt(v_hat) then has mean square (1 - b1)/(1 + b1) for b2 near 1, while a gradient's contributions over
all later steps add up to an entry of size one. Uncorrelated contributions of squared length lr^2 d a step balance the
decay 2 lr decay ||w||^2, so

    ||w||^2 = lr d/(2 decay),      angle of a step = sqrt(2 lr decay (1 - b1)/(1 + b1))      (derived here)

Kosson et al. (2023) give sqrt(2 lr decay), which is the angle without momentum, and the angle by which one gradient
turns w in the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bntheory.arrays import Floats
from bntheory.models.checks import at_least, checked


@dataclass(frozen=True)
class Rotation:
    """Stationary averages, one number a run: root mean square angle of a step (radians) and norm over its
    prediction."""

    angle: Floats  # (seeds,)
    norm_ratio: Floats  # (seeds,)
    steps: int
    seed: int
    kind: str = "estimate with error"


@checked()
def predicted_angle(lr: float, decay: float, b1: float) -> float:
    """sqrt(2 lr decay (1 - b1)/(1 + b1)), radians: leading order in lr decay, b2 near 1. Raises ``ValueError`` as :func:`adamw_rotation`."""
    _check_rates(lr, decay, b1)
    return float(np.sqrt(2 * lr * decay * (1 - b1) / (1 + b1)))


def _check_rates(lr: float, decay: float, b1: float, b2: float = 0.5) -> None:
    if not (lr > 0 and decay > 0 and lr * decay < 1 and 0 <= b1 < 1 and 0 < b2 < 1):
        raise ValueError(f"need lr, decay > 0, lr decay < 1, 0 <= b1 < 1, 0 < b2 < 1; got {lr}, {decay}, {b1}, {b2}")


@checked()
def adamw_rotation(
    *,
    dimension: int = 64,
    lr: float = 0.01,
    decay: float = 0.5,
    b1: float = 0.9,
    b2: float = 0.99,
    seeds: int = 8,
    relaxations: int = 20,
    seed: int = 0,
) -> Rotation:
    """Run AdamW on the noise model of this module from its equilibrium norm; averages over ``relaxations``/(2 lr decay)
    steps.

    Raises ``ValueError`` for rates outside their range or a dimension below 2.
    """
    if dimension < 2 or seeds < 3:
        raise ValueError(f"need dimension >= 2 and seeds >= 3, got {dimension} and {seeds}")
    at_least(1, relaxations=relaxations)
    _check_rates(lr, decay, b1, b2)
    rng = np.random.default_rng(seed)
    relaxation = 1 / (2 * lr * decay)
    warm, total = int(6 * relaxation + 10 / (1 - b2)), int(relaxations * relaxation)
    expected = np.sqrt(lr * dimension / (2 * decay))
    w = rng.normal(size=(seeds, dimension))
    w *= expected / np.linalg.norm(w, axis=1, keepdims=True)
    m, v = np.zeros_like(w), np.zeros_like(w)
    angle2, norm2 = np.zeros(seeds), np.zeros(seeds)
    for t in range(1, warm + total + 1):
        square = np.einsum("ij,ij->i", w, w)
        n = rng.normal(size=w.shape)
        g = (n - (np.einsum("ij,ij->i", n, w) / square)[:, None] * w) / np.sqrt(square)[:, None]
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        new = (1 - lr * decay) * w - lr * (m / (1 - b1**t)) / np.sqrt(v / (1 - b2**t))
        if t > warm:
            inner, new2 = np.einsum("ij,ij->i", new, w), np.einsum("ij,ij->i", new, new)
            angle2 += np.arctan2(np.sqrt(np.maximum(new2 * square - inner**2, 0.0)), inner) ** 2
            norm2 += square
        w = new
    return Rotation(np.sqrt(angle2 / total), np.sqrt(norm2 / total) / expected, total, seed)

"""Separable losses L(z) = sum_i l(z_i, t_i) with their first and second derivatives, elementwise and vectorised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from bntheory.arrays import Floats

Elementwise = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class SeparableLoss:
    """value, first and second derivative of l in its first argument z; t is the target.

    target_for: the t at which l'(z, t) = g, nan where there is none; None where t is a label and cannot be chosen.
    """

    name: str
    value: Elementwise
    first: Elementwise
    second: Elementwise
    target_for: Elementwise | None = None

    def total(self, z: Floats, t: Floats) -> float:
        """The sum over the batch."""
        return float(np.sum(self.value(z, t)))


def sigmoid(x: Floats) -> Floats:
    """1/(1 + exp(-x))."""
    from scipy.special import expit

    return np.asarray(expit(x))


def sigmoid_slope(x: Floats) -> Floats:
    """The derivative of the sigmoid, without cancellation in the tails."""
    return sigmoid(x) * sigmoid(-x)


def cosine_loss(amplitude: float, frequency: float) -> SeparableLoss:
    """l(z) = amplitude (1 - cos(frequency (z - t))): as contorted as one likes, |l'| <= A k and |l''| <= A k^2, both
    attained."""
    a, k = float(amplitude), float(frequency)
    return SeparableLoss(
        name=f"cosine (amplitude {a:g}, frequency {k:g})",
        value=lambda z, t: a * (1 - np.cos(k * (z - t))),
        first=lambda z, t: a * k * np.sin(k * (z - t)),
        second=lambda z, t: a * k**2 * np.cos(k * (z - t)),
        target_for=lambda z, g: z - np.arcsin(np.where(np.abs(g) < a * k, g, np.nan) / (a * k)) / k,
    )


LOSSES = MappingProxyType(
    {
        loss.name: loss
        for loss in (
            SeparableLoss(
                "squared",
                lambda z, t: 0.5 * (z - t) ** 2,
                lambda z, t: z - t,
                lambda z, t: np.ones_like(z),
                lambda z, g: z - g,
            ),
            SeparableLoss(  # targets are labels -1 and 1
                "logistic",
                lambda z, t: np.logaddexp(0.0, -t * z),
                lambda z, t: -t * sigmoid(-t * z),
                lambda z, t: t**2 * sigmoid_slope(t * z),
            ),
            SeparableLoss(  # targets are probabilities; other numbers only tilt the loss
                "cross-entropy",
                lambda z, t: np.logaddexp(0.0, z) - t * z,
                lambda z, t: sigmoid(z) - t,
                lambda z, t: sigmoid_slope(z),
                lambda z, g: sigmoid(z) - g,
            ),
            SeparableLoss(  # a smooth Huber loss
                "log-cosh",
                lambda z, t: np.logaddexp(z - t, t - z) - np.log(2.0),
                lambda z, t: np.tanh(z - t),
                lambda z, t: 4 * sigmoid_slope(2 * (z - t)),
                lambda z, g: z - np.arctanh(np.where(np.abs(g) < 1, g, np.nan)),
            ),
            SeparableLoss("linear", lambda z, t: -t * z, lambda z, t: -t + 0 * z, lambda z, t: np.zeros_like(z)),
            SeparableLoss(
                "quartic",
                lambda z, t: 0.25 * (z - t) ** 4,
                lambda z, t: (z - t) ** 3,
                lambda z, t: 3 * (z - t) ** 2,
                lambda z, g: z - np.cbrt(g),
            ),
            cosine_loss(1.0, 1.0),
        )
    }
)


def loss_named(loss: str | SeparableLoss) -> SeparableLoss:
    """The loss itself, or the one of that name. Raises ValueError for an unknown name."""
    if isinstance(loss, SeparableLoss):
        return loss
    if loss not in LOSSES:
        raise ValueError(
            f"no loss is called {loss!r}; there are {', '.join(LOSSES)}. A SeparableLoss of your own works too"
        )
    return LOSSES[loss]

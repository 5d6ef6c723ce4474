"""Santurkar's three measures along the gradient: how the loss and its gradient change on the way of one step.

What lives here: the measurement at one point. What does not: training, plots, or any comparison between networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.evaluation import flat
from bntheory.bridge.objective import Objective
from bntheory.bridge.ranges import in_range, length, norm_is_plain
from bntheory.errors import UserError
from bntheory.evidence.record import plain

_SQUARE_FITS = 1e150


@dataclass(frozen=True)
class AlongGradient:
    """The loss L and gradient g at theta, and both at theta - s g for each step size s (the same batch).

    Tuples run over ``step_sizes``. What cannot be computed because the loss overflowed there is infinite or NaN, as
    it came out.
    """

    loss: float
    gradient_norm: float
    step_sizes: tuple[float, ...]
    losses: tuple[float, ...]
    gradient_changes: tuple[float, ...]  # ||g(theta) - g(theta - s g)||
    cosines: tuple[float, ...]  # of g(theta) and g(theta - s g)
    distances: tuple[float, ...]  # ||s g||

    @property
    def loss_range(self) -> tuple[float, float]:
        """Least and largest loss over the step sizes (Santurkar et al. 2018, figure 4a); NaN if any is."""
        return _range(self.losses)

    @property
    def gradient_change_range(self) -> tuple[float, float]:
        """Range of the gradient's change over the step sizes ("gradient predictiveness", figure 4b)."""
        return _range(self.gradient_changes)

    @property
    def betas(self) -> tuple[float, ...]:
        """Change of the gradient over distance moved, for each step size; NaN where nothing moved."""
        pairs = zip(self.gradient_changes, self.distances, strict=True)
        return tuple(change / moved if moved > 0 else math.nan for change, moved in pairs)

    @property
    def effective_beta(self) -> float:
        """The largest of ``betas`` ("effective beta-smoothness", figure 4c)."""
        return _range(self.betas)[1]

    @property
    def linear_errors(self) -> tuple[float, ...]:
        """|L(theta - s g) - (L - s ||g||^2)| / (s ||g||^2): the error of the linear prediction, relative; scale-free
        under L -> c L with s -> s/c."""
        # of a norm whose square leaves the range the step takes one factor first
        norm = self.gradient_norm
        plain = norm_is_plain(norm, torch.float64) and norm < _SQUARE_FITS
        decreases = [s * norm**2 if plain else s * norm * norm for s in self.step_sizes]
        return tuple(
            abs(value - self.loss + decrease) / decrease if decrease > 0 else math.nan
            for decrease, value in zip(decreases, self.losses, strict=True)
        )

    def as_json(self, multiples: Sequence[float]) -> dict[str, Any]:
        """JSON-ready, as records hold it: the step sizes as multiples of the learning rate, None for what is not finite."""
        (loss_low, loss_high), (low, high) = self.loss_range, self.gradient_change_range
        along = {
            "multiples": multiples,
            "losses": self.losses,
            "gradient_changes": self.gradient_changes,
            "cosines": self.cosines,
            "linear_errors": self.linear_errors,
            "loss_low": loss_low,
            "loss_high": loss_high,
            "loss_range": loss_high - loss_low,
            "gradient_low": low,
            "gradient_high": high,
            "gradient_range": high - low,
            "effective_beta": self.effective_beta,
        }
        found: dict[str, Any] = plain({"loss": self.loss, "gradient_norm": self.gradient_norm, "along": along})
        return found


@checked
def along_gradient(
    model: Any, loss: Any = None, batch: Any = None, step_sizes: Sequence[float] = (), **options: Any
) -> AlongGradient:
    """Measure loss and gradient at theta and at theta - s g for every s, on one batch (or the average over several) and over all parameters.

    The paper takes s in [1/2, 4] times the learning rate (for deep linear networks [1/100, 30] times). In training mode each point
    has the batch statistics of its own activations. Every evaluation starts from the same random state and the same buffers, and
    the model is left bit for bit as it was.

    Args:
        model, loss, batch: as of :class:`bntheory.bridge.Objective`, which may be given itself, as may a triple.
        step_sizes: positive and finite; kept in the given order.
        options: of the objective.

    Raises:
        ValueError: no or bad step sizes, a model without trainable parameters, and as the objective.
    """
    sizes = tuple(float(s) for s in step_sizes)
    if not sizes or not all(0 < s < math.inf for s in sizes):
        raise UserError(f"step_sizes: {sizes} must be positive and finite, and at least one")
    # parameters of its own are moved: a graph that is open over the model's stays good
    objective = Objective.of(model, loss, batch, private=True, **options)
    parameters = list(objective.parameters.values())
    with objective.movable():
        start = [p.detach().clone() for p in parameters]
        value, gradients = objective.loss_and_gradients()
        g = flat(gradients)
        norm = length(g)
        losses, changes, cosines, distances = [], [], [], []
        for s in sizes:
            with torch.no_grad():
                for p, origin, direction in zip(parameters, start, gradients, strict=True):
                    p.copy_(origin).sub_(direction, alpha=s)
            moved = length(flat(parameters) - flat(start))
            there, other = objective.loss_and_gradients()
            h = flat(other)
            losses.append(float(there))
            changes.append(length(g - h))
            cosines.append(_cosine(g, h))
            distances.append(moved)
    return AlongGradient(float(value), norm, sizes, tuple(losses), tuple(changes), tuple(cosines), tuple(distances))


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    (a, _), (b, _) = in_range(a), in_range(b)  # a cosine does not depend on lengths
    product = float(torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))
    return float(torch.dot(a, b)) / product if product > 0 else math.nan


def _range(values: Sequence[float]) -> tuple[float, float]:
    if any(math.isnan(v) for v in values):
        return math.nan, math.nan
    return min(values), max(values)

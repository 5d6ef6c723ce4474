"""A linear network with an arbitrarily rough loss, and both definitions of internal covariate shift.

With one layer both shifts are zero whatever the loss does: the layer's input is the data, and no earlier layer exists.
So a network can be as contorted as one likes without any internal covariate shift. More layers are there to show that
the same measurement is not zero by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bntheory.arrays import Floats
from bntheory.smoothness.unit.losses import cosine_loss


@dataclass(frozen=True)
class RoughRun:
    """What a run saw, all maxima over its steps, for the last layer (of one or more).

    input_shift: largest change between successive steps of the mean or standard deviation of any of the layer's inputs
    (Ioffe and Szegedy 2015). gradient_shift: largest ||G - G'||, G the gradient of the layer's weights, G' the same
    with all earlier layers at their next weights (Santurkar et al. 2018, definition 2.1). distance: how far the weights
    moved in all.
    """

    input_shift: float
    gradient_shift: float
    distance: float
    losses: Floats
    seed: int


class RoughLayer:
    """``depth`` linear layers of ``width`` units and one output, loss mean_i A (1 - cos(k (z_i - t_i))) with A
    k^2 = roughness.

    frequency: k; the slope A k is then roughness/k. Raises ValueError for a depth below one or a roughness that is not
    positive.
    """

    def __init__(
        self,
        roughness: float,
        *,
        frequency: float = 10.0,
        depth: int = 1,
        width: int = 3,
        batch: int = 16,
        seed: int = 0,
    ) -> None:
        if depth < 1:
            raise ValueError(f"depth is {depth}; a network has at least one layer")
        if not (roughness > 0 and np.isfinite(roughness)):
            raise ValueError(f"roughness is {roughness}; the curvature A k^2 is positive and finite")
        rng = np.random.default_rng(seed)
        self.seed = seed
        self.loss = cosine_loss(roughness / frequency**2, frequency)
        self.inputs: Floats = rng.normal(size=(width, batch))
        self.targets: Floats = rng.normal(size=batch)
        sizes = [width] * depth + [1]
        self.weights: list[Floats] = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(sizes)]

    def layer_input(self, weights: Sequence[Floats], layer: int) -> Floats:
        """What layer number ``layer`` (0 is the first) receives, (units, batch)."""
        h = self.inputs
        for w in weights[:layer]:
            h = w @ h
        return h

    def value(self, weights: Sequence[Floats]) -> float:
        """The loss."""
        z = self.layer_input(weights, len(weights))[0]
        return float(self.loss.total(z, self.targets) / z.size)

    def gradient(self, weights: Sequence[Floats], layer: int) -> Floats:
        """The gradient of the loss in the weights of one layer."""
        z = self.layer_input(weights, len(weights))
        back: Floats = self.loss.first(z, self.targets) / z.size
        for w in reversed(weights[layer + 1 :]):
            back = w.T @ back
        return np.asarray(back @ self.layer_input(weights, layer).T)

    def train(self, *, steps: int, learning_rate: float) -> RoughRun:
        """Gradient descent; both shifts of the last layer are measured at every step."""
        last = len(self.weights) - 1
        now = [w.copy() for w in self.weights]
        input_shift = gradient_shift = distance = 0.0
        losses = [self.value(now)]
        for _ in range(steps):
            gradients = [self.gradient(now, i) for i in range(len(now))]
            then = [w - learning_rate * g for w, g in zip(now, gradients, strict=True)]
            mixed = [*then[:last], *now[last:]]  # earlier layers updated, this one not
            gradient_shift = max(
                gradient_shift, float(np.linalg.norm(self.gradient(now, last) - self.gradient(mixed, last)))
            )
            before, after = self.layer_input(now, last), self.layer_input(then, last)
            for moment in (np.mean, np.std):
                input_shift = max(input_shift, float(np.max(np.abs(moment(before, axis=1) - moment(after, axis=1)))))
            distance += float(sum(np.linalg.norm(a - b) for a, b in zip(then, now, strict=True)))
            now = then
            losses.append(self.value(now))
        return RoughRun(input_shift, gradient_shift, distance, np.array(losses), self.seed)

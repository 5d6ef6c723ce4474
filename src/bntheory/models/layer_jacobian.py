r"""Singular values of the Jacobian of one layer between normalised activations, in random networks (Ioffe and Szegedy).

The argument of the source: if normalised inputs ``x`` and outputs ``z`` of a layer are Gaussian and *uncorrelated*, and
the layer is linear there, ``z = J x``, then ``I = Cov z = J Cov(x) J' = J J'``, so all singular values are 1. Batch
normalisation gives each unit variance one; it does not decorrelate units. For a linear layer and white ``x``

    J J' = the correlation matrix of z,

so the mean *square* of the singular values is 1 exactly, and they are all 1 only if ``z`` is uncorrelated. For Gaussian
square weights they follow the quarter-circle law on [0, 2], with or without normalisation, up to a scale that only BN
fixes by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.activations import Activation
from bntheory.models.checks import at_least, checked, positive
from bntheory.models.standardisation import standardise


@dataclass(frozen=True)
class LayerJacobian:
    """Singular values of per-sample layer Jacobians, statistics held fixed: shape (samples looked at, width)."""

    singular_values: Floats
    width: int
    batch_size: int
    depth: int  # layers below the one that was differentiated
    normalise: bool
    weight_scale: float
    activation: str
    seed: int

    def share_within(self, factor: float) -> float:
        """Share of the singular values within ``factor`` > 1 of 1 on either side."""
        return float(np.mean((self.singular_values >= 1 / factor) & (self.singular_values <= factor)))

    @property
    def root_mean_square(self) -> float:
        """Square root of the mean squared singular value: the size of the layer as a whole."""
        return float(np.sqrt(np.mean(self.singular_values**2)))


@checked()
def layer_jacobian(
    act: Activation,
    *,
    width: int = 128,
    batch_size: int = 512,
    depth: int = 4,
    weight_scale: float = 1.0,
    normalise: bool = True,
    samples: int = 4,
    seed: int = 0,
) -> LayerJacobian:
    """Jacobian ``d z/d x`` of the layer ``z = BN(W phi(x))`` on top of ``depth`` such layers, at a few samples.

    Weights have variance ``weight_scale^2/width``, the inputs are standard Gaussian. Without ``normalise`` the layer is
    ``z = W phi(x)``. Raises ValueError for sizes below 2 and a scale that is not positive.
    """
    at_least(2, width=width)
    at_least(3, batch_size=batch_size)
    at_least(0, depth=depth)
    at_least(1, samples=samples)
    positive(weight_scale, "weight_scale")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch_size, width))
    if normalise:
        x = standardise(x, 0)[0]
    for _ in range(depth):
        h = act.value(x) @ _weights(rng, width, weight_scale).T
        x = standardise(h, 0)[0] if normalise else h
    w = _weights(rng, width, weight_scale)
    scaled = w / standardise(act.value(x) @ w.T, 0)[1].T if normalise else w
    values = [
        np.linalg.svd(scaled * act.derivative(x[row]), compute_uv=False) for row in range(min(samples, batch_size))
    ]
    return LayerJacobian(np.array(values), width, batch_size, depth, normalise, weight_scale, act.name, seed)


@checked("factor")
def quarter_circle_share(factor: float) -> float:
    """Share of the quarter-circle law (density ``sqrt(4 - s^2)/pi`` on [0, 2]) within ``factor`` >= 1 of 1."""
    if not factor >= 1:
        raise UserError(f"factor={factor}: must be at least 1")

    def below(s: float) -> float:
        s = min(s, 2.0)
        return (s * math.sqrt(4 - s * s) / 2 + 2 * math.asin(s / 2)) / math.pi

    return below(factor) - below(1 / factor)


def _weights(rng: np.random.Generator, width: int, scale: float) -> Floats:
    return np.asarray(rng.standard_normal((width, width)) * (scale / math.sqrt(width)))

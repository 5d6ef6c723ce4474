r"""A deep linear network with optional batch normalisation (Santurkar et al. 2018, section 3: 25 layers of 10 x 10).

``prediction = BN(... BN(BN(X W_1) W_2) ...) W_L``: every layer but the last is normalised, no activation, no bias of
its own (beta plays that part). The target is a linear function of the inputs, so without normalisation the model can
fit it exactly, and what makes training hard is depth alone. Initial weights are Glorot's, variance ``2/(in + out)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked
from bntheory.models.normalised_regressor import Normalise, NormalisedRegressor


@checked()
class DeepLinear(NormalisedRegressor):
    """``inputs`` (samples, d), ``target`` (samples, c), ``layers`` weight matrices with ``width`` units between them.

    ``width`` defaults to d. Raises ValueError for fewer than two samples or layers, or shapes that disagree.
    """

    def __init__(
        self,
        inputs: ArrayLike,
        target: ArrayLike,
        *,
        layers: int = 25,
        width: int | None = None,
        normalise: bool = False,
        eps: float = 1e-5,
        device: str = "cpu",
    ) -> None:
        self.inputs = np.asarray(inputs, dtype=np.float64)
        goal = np.asarray(target, dtype=np.float64)
        if self.inputs.ndim != 2 or goal.ndim != 2 or len(self.inputs) != len(goal) or len(goal) < 2:
            raise UserError(
                f"inputs of shape {self.inputs.shape}, target of shape {goal.shape}: both must be (samples, units) with "
                "the same number of samples, at least 2"
            )
        if layers < 2:
            raise UserError(f"layers={layers}: a deep linear network has at least 2 weight matrices")
        inner = self.inputs.shape[1] if width is None else width
        if inner < 1:
            raise UserError(f"width={inner}: must be at least 1")
        self.layers = layers
        self.sizes = (self.inputs.shape[1], *[inner] * (layers - 1), goal.shape[1])
        super().__init__(goal, normalise=normalise, eps=eps, device=device)

    def weight_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """``W0 .. W(L-1)``, each (units in, units out)."""
        return {f"W{level}": shape for level, shape in enumerate(pairwise(self.sizes))}

    def stage_units(self) -> Sequence[int]:
        """The hidden layers."""
        return self.sizes[1:-1]

    def forward(self, weights: Mapping[str, Any], normalise: Normalise) -> Any:
        """The prediction (samples, c)."""
        import torch

        h = torch.as_tensor(self.inputs, device=weights["W0"].device, dtype=weights["W0"].dtype)
        for level in range(self.layers - 1):
            h = normalise(h @ weights[f"W{level}"])
        return h @ weights[f"W{self.layers - 1}"]

    def initial_weights(self, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Gaussian weights of variance ``2/(in + out)``."""
        return {
            name: rng.standard_normal(shape) * np.sqrt(2.0 / sum(shape)) for name, shape in self.weight_shapes().items()
        }


@checked()
def linear_data(
    samples: int = 1000, dimension: int = 10, *, condition: float = 1.0, noise: float = 0.0, seed: int = 0
) -> tuple[Floats, Floats]:
    """Gaussian inputs (samples, d) and targets ``X A``, ``A`` square with geometric singular values, largest 1.

    ``condition`` is the condition number of ``A``; ``noise`` the standard deviation of Gaussian noise on the target.
    """
    if samples < 2 or dimension < 1 or not condition >= 1 or not noise >= 0:
        raise UserError(
            f"samples={samples}, dimension={dimension}, condition={condition}, noise={noise}: need samples >= 2, "
            "dimension >= 1, condition >= 1, noise >= 0"
        )
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((dimension, dimension)))[0] for _ in range(2))
    singular = np.geomspace(1.0, 1.0 / condition, dimension)
    inputs = rng.standard_normal((samples, dimension))
    return inputs, inputs @ ((left * singular) @ right) + noise * rng.standard_normal((samples, dimension))

r"""A tensor-train (matrix product state) regressor with optional batch normalisation on its bonds.

The prediction is a multilinear function of the features: with local vectors ``(1, x_j)`` and cores
``A_j`` of shape (r, 2, r),

    h_0 = 1,   h_j = h_{j-1} (A_j[:, 0, :] + x_j A_j[:, 1, :]),   prediction = h_F a,

contracted from left to right. The vector ``h_j`` on the bond after site ``j`` plays the part of a layer's
pre-activations; normalising it over the batch is the analogue of BN, in a model that is no neural network: no
activation, weights that multiply the inputs themselves. Exponentially many coefficients, ``F r^2`` parameters
(Oseledets 2011; Stoudenmire and Schwab 2016 for regression).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked
from bntheory.models.normalised_regressor import Normalise, NormalisedRegressor


@checked()
class TensorTrain(NormalisedRegressor):
    """``inputs`` (samples, features), ``target`` (samples,), bond dimension ``rank``.

    ``spread`` scales the random part of the initial cores around ``A[:, 0, :] = I``. Raises ValueError for shapes
    that disagree, fewer than two features or samples, entries that are not finite.
    """

    def __init__(
        self,
        inputs: ArrayLike,
        target: ArrayLike,
        *,
        rank: int = 4,
        spread: float = 0.3,
        normalise: bool = False,
        eps: float = 1e-5,
        device: str = "cpu",
    ) -> None:
        self.inputs = np.asarray(inputs, dtype=np.float64)
        goal = np.asarray(target, dtype=np.float64)
        if self.inputs.ndim != 2 or goal.shape != self.inputs.shape[:1] or min(self.inputs.shape) < 2:
            raise UserError(
                f"inputs of shape {self.inputs.shape}, target of shape {goal.shape}: needs (samples, features) and "
                "(samples,), at least two of each"
            )
        if not np.all(np.isfinite(self.inputs)):
            raise UserError("inputs: every entry has to be a finite number")
        if rank < 1 or not spread > 0:
            raise UserError(f"rank={rank}, spread={spread}: need rank >= 1 and spread > 0")
        self.rank, self.spread, self.features = rank, spread, self.inputs.shape[1]
        super().__init__(goal, normalise=normalise, eps=eps, device=device)

    def weight_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """``A0`` (1, 2, r), ``A1 .. A(F-1)`` (r, 2, r), ``a`` (r,)."""
        r = self.rank
        cores = {f"A{site}": (1 if site == 0 else r, 2, r) for site in range(self.features)}
        return {**cores, "a": (r,)}

    def stage_units(self) -> Sequence[int]:
        """Every bond."""
        return [self.rank] * self.features

    def forward(self, weights: Mapping[str, Any], normalise: Normalise) -> Any:
        """The prediction (samples,)."""
        import torch

        x = torch.as_tensor(self.inputs, device=weights["a"].device, dtype=weights["a"].dtype)
        h = torch.ones((len(x), 1), device=x.device, dtype=x.dtype)
        for site in range(self.features):
            core = weights[f"A{site}"]
            h = normalise(h @ core[:, 0, :] + x[:, site : site + 1] * (h @ core[:, 1, :]))
        return h @ weights["a"]

    def initial_weights(self, rng: np.random.Generator) -> Mapping[str, Floats]:
        """The identity plus Gaussian cores of deviation ``spread/sqrt(r)``; the read-out has deviation
        ``1/sqrt(r)``."""
        drawn: dict[str, Floats] = {}
        for name, shape in self.weight_shapes().items():
            drawn[name] = rng.standard_normal(shape) / np.sqrt(self.rank)
            if name != "a":
                drawn[name] *= self.spread
                drawn[name][:, 0, :] += np.eye(shape[0], shape[2])
        return drawn


@checked()
def tensor_train_data(
    samples: int = 256, features: int = 6, *, rank: int = 2, noise: float = 0.0, seed: int = 0
) -> tuple[Floats, Floats]:
    """Inputs uniform on [-1, 1] and a random tensor train of bond dimension ``rank`` as target, of mean 0, variance
    1."""
    if samples < 3 or features < 2 or rank < 1 or not noise >= 0:
        raise UserError(
            f"samples={samples}, features={features}, rank={rank}, noise={noise}: need samples >= 3, features >= 2, "
            "rank >= 1, noise >= 0"
        )
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.0, 1.0, size=(samples, features))
    h = np.ones((samples, rank))
    for site in range(features):
        constant, linear = rng.standard_normal((2, rank, rank)) / np.sqrt(rank)
        h = h @ constant + x[:, site : site + 1] * (h @ linear)
    y = h @ rng.standard_normal(rank)
    y = (y - y.mean()) / y.std()
    return x, y + noise * rng.standard_normal(samples)

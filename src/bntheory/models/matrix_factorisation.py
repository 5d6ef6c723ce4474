r"""A matrix factorisation regressor with optional batch normalisation of its row factors.

Observed entries ``(i, j, y)`` of a matrix are predicted by ``<u_i, v_j>``. The rows ``u_i`` that occur in the batch,
one for every observed entry, form an array (entries, rank): what a first layer on one-hot inputs computes.
Normalising it over the entries is the analogue of BN,

    prediction = <BN(u)_e, v_{j(e)}>,    BN(u)_e = gamma (u_{i(e)} - mean)/deviation + beta,

in a bilinear model without activations; the observed pattern decides how often each row counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked
from bntheory.models.normalised_regressor import Normalise, NormalisedRegressor

Integers = NDArray[np.int64]


@checked()
class MatrixFactorisation(NormalisedRegressor):
    """``rows`` and ``columns`` (entries,) are indices of the observed entries, ``target`` (entries,) their values.

    ``shape`` is that of the matrix. ``scale`` is the deviation of the initial factors. Raises ValueError for indices
    out of range or arrays of different length.
    """

    def __init__(
        self,
        rows: ArrayLike,
        columns: ArrayLike,
        target: ArrayLike,
        *,
        shape: tuple[int, int],
        rank: int = 3,
        scale: float = 0.3,
        normalise: bool = False,
        eps: float = 1e-5,
        device: str = "cpu",
    ) -> None:
        goal = np.asarray(target, dtype=np.float64)
        for name, index, size in [("rows", np.asarray(rows), shape[0]), ("columns", np.asarray(columns), shape[1])]:
            if index.shape != goal.shape or goal.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
                raise UserError(
                    f"{name} of shape {index.shape}: needs whole numbers, one for each of {goal.shape} values"
                )
            if index.size and not (index.min() >= 0 and index.max() < size):
                raise UserError(f"{name}: indices must lie in 0..{size - 1}, found {index.min()}..{index.max()}")
        if rank < 1 or not scale > 0:
            raise UserError(f"rank={rank}, scale={scale}: need rank >= 1 and scale > 0")
        self.rows: Integers = np.asarray(rows, dtype=np.int64)
        self.columns: Integers = np.asarray(columns, dtype=np.int64)
        self.shape, self.rank, self.scale = shape, rank, scale
        super().__init__(goal, normalise=normalise, eps=eps, device=device)

    def weight_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """``U`` (matrix rows, rank) and ``V`` (matrix columns, rank)."""
        return {"U": (self.shape[0], self.rank), "V": (self.shape[1], self.rank)}

    def stage_units(self) -> Sequence[int]:
        """One stage: the row factors."""
        return [self.rank]

    def forward(self, weights: Mapping[str, Any], normalise: Normalise) -> Any:
        """The prediction (entries,)."""
        import torch

        device = weights["U"].device
        rows, columns = (torch.as_tensor(index, device=device) for index in (self.rows, self.columns))
        return (normalise(weights["U"][rows]) * weights["V"][columns]).sum(dim=1)

    def stage_of(self, name: str) -> int:
        """The row factors and their normalisation come first, then the column factors."""
        return 1 if name == "V" else 0

    def initial_weights(self, rng: np.random.Generator) -> Mapping[str, Floats]:
        """Gaussian factors of deviation ``scale``."""
        return {name: self.scale * rng.standard_normal(size) for name, size in self.weight_shapes().items()}


@checked()
def low_rank_data(
    shape: tuple[int, int] = (20, 15), *, rank: int = 2, observed: float = 0.6, noise: float = 0.0, seed: int = 0
) -> tuple[Integers, Integers, Floats]:
    """Rows, columns and values of the observed entries of a random matrix of that rank, variance about 1."""
    if min(shape) < 2 or not 1 <= rank <= min(shape) or not 0 < observed <= 1 or not noise >= 0:
        raise UserError(
            f"shape={shape}, rank={rank}, observed={observed}, noise={noise}: need both sides >= 2, rank between 1 and "
            "the smaller side, observed in (0, 1], noise >= 0"
        )
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1])) / np.sqrt(rank)
    count = max(2, round(observed * matrix.size))
    chosen = np.sort(rng.permutation(matrix.size)[:count])
    rows, columns = np.unravel_index(chosen, shape)
    values = matrix[rows, columns] + noise * rng.standard_normal(count)
    return rows.astype(np.int64), columns.astype(np.int64), values

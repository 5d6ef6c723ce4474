"""What a measurement hands on to the next one nearby: a low-rank model without its operator.

Lives here: fitting it to another operator, and cutting it to a rank. Not here: how it was learned (``low_rank_model.py``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bntheory.bridge.curvature.linear import SymmetricOperator

Array = np.ndarray[Any, Any]


class Carried(NamedTuple):
    """A model without its operator: basis (rank, size) with orthonormal rows, and matrix (rank, rank), symmetric.

    overlap: by how much two rows may fail to be orthogonal beyond rounding.
    """

    basis: Tensor
    matrix: Array
    overlap: float = 0.0

    def fitted(self, op: SymmetricOperator, rank: int) -> Carried:
        """For an operator of another precision or on another device; of at most this rank, orthonormal to rounding."""
        basis, matrix = self.basis.to(op.device, op.dtype), self.matrix
        if basis.dtype != self.basis.dtype:  # orthonormal to the other precision only
            q, r = torch.linalg.qr(basis.T)
            triangle = r.cpu().numpy().astype(np.float64)
            return Carried(q.T, triangle @ matrix @ triangle.T).cut(rank)
        return Carried(basis, matrix, self.overlap).cut(rank)

    def cut(self, rank: int) -> Carried:
        """What is left with the ``rank`` eigenvalues of largest magnitude, orthonormal to rounding."""
        if len(self.matrix) <= rank and self.overlap == 0:
            return self
        values, coordinates = np.linalg.eigh(self.matrix)
        largest = np.argsort(-np.abs(values), kind="stable")[:rank]
        # rounding adds up along a run of many checkpoints: one step of Newton and Schulz makes the rows orthonormal again
        gram = (self.basis @ self.basis.T).cpu().numpy().astype(np.float64)
        mixed = coordinates[:, largest].T @ (1.5 * np.eye(len(gram)) - 0.5 * gram)
        rotated: Tensor = (
            torch.as_tensor(mixed, dtype=self.basis.dtype, device=self.basis.device) @ self.basis
        )
        return Carried(rotated, np.diag(values[largest]))

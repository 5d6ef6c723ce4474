"""What a search in float32 hands on to the one in float64: a low-rank model without its operator.

Lives here: fitting it to another operator, and cutting it to a rank. Not here: how it was learned (``low_rank_model.py``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bntheory.bridge.curvature.accumulation import Rows
from bntheory.bridge.curvature.linear import SymmetricOperator

Array = np.ndarray[Any, Any]


class Carried(NamedTuple):
    """A model without its operator: orthonormal rows, and matrix (rank, rank), symmetric.

    overlap: by how much two rows may fail to be orthogonal beyond rounding. most: to how many rows it is cut when it is used; None where
    it was cut already. Cutting waits until then because few measurements start from another one, and where vectors cost as much as
    products it takes a third of the time.
    """

    rows: Rows
    matrix: Array
    overlap: float = 0.0
    most: int | None = None

    @property
    def basis(self) -> Tensor:
        """The rows as one matrix (rank, size)."""
        return self._settled().rows.tensor()

    def _settled(self) -> Carried:
        if self.most is None:
            return self
        return Carried(self.rows.copy(self.rows.device), self.matrix, self.overlap).cut(self.most)

    def fitted(self, op: SymmetricOperator, rank: int) -> Carried:
        """A copy for an operator of another precision or device; of at most this rank, orthonormal to rounding."""
        if self.most is not None:
            return self._settled().fitted(op, rank)
        if self.rows.dtype != op.dtype:  # orthonormal to the other precision only
            q, r = torch.linalg.qr(self.basis.to(op.device, op.dtype).T)
            triangle = r.cpu().numpy().astype(np.float64)
            return Carried(Rows.of(q.T.contiguous()), triangle @ self.matrix @ triangle.T).cut(rank)
        return Carried(self.rows.copy(op.device), self.matrix, self.overlap).cut(rank)

    def cut(self, rank: int) -> Carried:
        """What is left with the ``rank`` eigenvalues of largest magnitude, orthonormal to rounding; in the same memory."""
        if len(self.matrix) <= rank and self.overlap == 0:
            return self
        values, coordinates = np.linalg.eigh(self.matrix)
        largest = np.argsort(-np.abs(values), kind="stable")[:rank]
        # rounding adds up along a run of many checkpoints: one step of Newton and Schulz makes the rows orthonormal again
        gram = self.rows.gram(self.rows.count)
        self.rows.rotate((1.5 * np.eye(len(gram)) - 0.5 * gram) @ coordinates[:, largest])
        return Carried(self.rows, np.diag(values[largest]))

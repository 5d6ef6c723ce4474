"""Thick-restart Lanczos with full reorthogonalisation, stopped as soon as the wanted eigenvalues are accurate.

At every step the relation A V = V T + v b' holds, with V orthonormal, v the next basis vector and b its coupling to
the basis. A Ritz pair (theta, V s) has the residual |b's| without a further product, and an eigenvalue lies within
min(|r|, |r|^2/gap) of theta (Parlett, The Symmetric Eigenvalue Problem, 1998, sections 4.5 and 11.7). Testing after
every product, where ARPACK tests after a cycle, is what makes a good start vector pay.

The measured columns V'A v also have to agree with the rows that symmetry predicts. The largest disagreement is a
symmetry probe that costs nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bntheory.bridge.curvature.linear import SymmetricOperator

_CAPACITY = 12


class LanczosBasis:
    """The growing basis V, the projection T = V'AV and the coupling b of a symmetric operator.

    ``order`` is the number of columns for which products were taken. ``defect`` is the largest entry of the
    antisymmetric part of V'AV seen so far, relative to the largest entry of T.
    """

    def __init__(self, op: SymmetricOperator, start: Tensor, generator: torch.Generator) -> None:
        self._op, self._generator = op, generator
        self._basis = torch.empty((_CAPACITY, op.size), dtype=op.dtype, device=op.device)
        self._basis[0] = start / start.norm()
        self.order = 0
        self.projection = np.zeros((0, 0))
        self.coupling = np.zeros(0)
        self.steps_since_breakdown = 0
        self.breakdowns = 0
        self._asymmetry = 0.0

    @property
    def scale(self) -> float:
        """A lower estimate of the operator's norm: the largest column of T and b."""
        if self.order == 0:
            return 0.0
        columns = np.vstack([self.projection, self.coupling])
        return float(np.linalg.norm(columns, axis=0).max())

    @property
    def defect(self) -> float:
        return self._asymmetry / self.scale if self.scale > 0 else 0.0

    @property
    def complete(self) -> bool:
        """Whether the basis spans the whole space, so that its Ritz values are the spectrum."""
        return self.order == self._op.size

    def expand(self) -> None:
        """One product with the next basis vector, and the direction that it adds."""
        j = self.order
        image = self._op.apply(self._basis[j])
        basis = self._basis[: j + 1]
        overlap = basis @ image
        image = torch.addmv(image, basis.T, overlap, alpha=-1)
        second = basis @ image  # once more, or rounding would let the basis turn back to found vectors
        image = torch.addmv(image, basis.T, second, alpha=-1)
        overlap, length = overlap + second, float(image.norm())
        column = overlap.cpu().numpy().astype(np.float64)
        projection = np.zeros((j + 1, j + 1))
        projection[:j, :j] = self.projection
        # what was measured from the other side earlier is kept; the difference measures the asymmetry
        projection[:j, j] = projection[j, :j] = self.coupling
        projection[j, j] = column[j]
        if j:
            self._asymmetry = max(self._asymmetry, float(np.abs(column[:j] - self.coupling).max()))
        self.projection, self.order = projection, j + 1
        self.coupling = np.zeros(j + 1)
        self.coupling[j] = length
        self.steps_since_breakdown += 1
        if self.complete:
            self.coupling[j] = 0.0
            return
        if length <= self._floor():
            # the basis is invariant: go on in a random direction, or copies and missed parts would stay unseen
            self.coupling[j] = 0.0
            self.breakdowns += 1
            self.steps_since_breakdown = 0
            image = self._fresh()
            length = float(image.norm())
        self._store(j + 1, image / length)

    def _floor(self) -> float:
        return 10 * float(torch.finfo(self._op.dtype).eps) * self.scale

    def _fresh(self) -> Tensor:
        vector = self._op.random_vector(self._generator)
        for _ in range(2):
            basis = self._basis[: self.order]
            vector = vector - basis.T @ (basis @ vector)
        return vector

    def _store(self, row: int, vector: Tensor) -> None:
        if row >= self._basis.shape[0]:
            larger = torch.empty((2 * row, self._op.size), dtype=self._op.dtype, device=self._op.device)
            larger[:row] = self._basis[:row]
            self._basis = larger
        self._basis[row] = vector

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values in ascending order, their coordinates (columns), and the norms of their residuals."""
        values, coordinates = np.linalg.eigh(self.projection)
        return values, coordinates, np.abs(self.coupling @ coordinates)

    def vectors(self, coordinates: np.ndarray) -> Tensor:
        """Combinations V s of the basis as unit columns, of shape (size, number of columns)."""
        weights = torch.as_tensor(coordinates, dtype=self._op.dtype, device=self._op.device)
        combined: Tensor = self._basis[: self.order].T @ weights
        lengths: Tensor = combined.norm(dim=0, keepdim=True)
        return combined / lengths

    def restart(self, coordinates: np.ndarray, values: np.ndarray) -> None:
        """Keep the Ritz vectors of these coordinates, and the next basis vector (Wu and Simon, 2000)."""
        kept = len(values)
        following = self._basis[self.order].clone()
        weights = torch.as_tensor(coordinates.T.copy(), dtype=self._op.dtype, device=self._op.device)
        self._basis[:kept] = weights @ self._basis[: self.order]
        self._basis[kept] = following
        self.coupling = self.coupling @ coordinates
        self.projection = np.diag(values)
        self.order = kept

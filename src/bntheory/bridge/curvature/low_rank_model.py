"""What a run of products has taught about a symmetric operator A: a low-rank model M with M v = A v for all v searched.

Each product changes the model as little as possible (in the Frobenius norm) such that M v = A v holds for the new
direction v, still holds for the earlier ones, and M stays symmetric. With e = A v - M v and |v| = 1 that is Powell's
symmetric form of Broyden's update,

    M <- M + e v' + v e' - <v, e> v v'.

*From nothing* (M = 0) there is, after every product, exactly one direction in the model's range that was not searched.
Taking it next is Lanczos' iteration, and M = V T V' + b w v' + b v w' holds its tridiagonal T, the next vector w and the
coupling b. Each vector is made orthogonal to the two before it for as long as that is enough (``orthogonality.py``), and
from then on to all.

*From the model of an operator nearby* (the same one in float32) the eigenvectors of M are the old ones, corrected to
first order by all that was measured since: the direction that Davidson's method finds with the model as its
preconditioner, and by how much an eigenvalue of M exceeds the Ritz value is the error that the model expects to remain.

A Ritz pair (theta, V s) has a residual that is known without a further product, and an eigenvalue lies within
min(|r|, |r|^2/gap) of theta (Parlett, The Symmetric Eigenvalue Problem, 1998, sections 4.5 and 11.7). Testing after
every product, where ARPACK tests after a cycle, is what makes a good start pay.

The measured <u, A v> has to agree with <A u, v> from an earlier product. The largest disagreement is a symmetry probe
that costs nothing: for all earlier u, or in the three-term recurrence for the one before v.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, finfo

from bntheory.arrays import length as size_of
from bntheory.bridge.curvature.accumulation import Rows, dot, norm
from bntheory.bridge.curvature.carried import Carried
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.orthogonality import Orthogonality
from bntheory.errors import UserError

Array = np.ndarray[Any, Any]

# One pass of Gram-Schmidt is enough where it takes off little, as it does once the expected part is gone (Daniel, Gragg,
# Kaufman and Stewart, 1976). Where it cancels more, rounding is magnified, and by the same factor again in every step.
_CANCELLED, _PASSES = 0.7, 4
# Vectors that are not quite orthogonal look like an operator that is not quite symmetric: by twice their overlap, or a
# little more.
_EXPLAINED = 4.0
# A direction of which less than this is new has been searched, as far as its coordinates can say.
_LEAST_NEW = 1e-10
# Bytes of a basis that may be kept whole until it is used again.
_SMALL = 1 << 26
# Of what another operator was asked for, the part of a unit direction that counts as known.
_KNOWN = 0.1


class Ritz(NamedTuple):
    """Ritz values (ascending), their coordinates in the model's basis (columns), the norms of their residuals."""

    values: Array
    coordinates: Array
    residuals: Array


class LowRankModel:
    """The model M = B S B' of ``op``, with B orthonormal, and the coordinates of the directions that were searched.

    op: the operator. start: where to look first. known: the model of a measurement nearby, from :meth:`carried`.

    ``order`` is the number of directions searched, one product each; ``rank`` the number of vectors kept. ``scale`` is a
    lower estimate of the operator's norm, ``defect`` the largest disagreement with symmetry seen so far, relative to it, less
    what overlaps of the basis explain.
    ``surprise`` is |A v - M v| for the first direction searched: how far off the model was where it was sure.
    """

    def __init__(
        self, op: SymmetricOperator, start: Tensor | None, generator: torch.Generator, *, known: Carried | None = None
    ) -> None:
        self._op, self._generator = op, generator
        # fitted() has made the rows our own
        self._basis = Rows(op.size, op.dtype, op.device) if known is None else known.rows
        self.matrix = np.zeros((0, 0)) if known is None else known.matrix.copy()
        self._searched = np.zeros((len(self.matrix), 0))
        self._taken = np.zeros((len(self.matrix), 0))  # directions of :meth:`take`
        self._share: Array | None = None
        if start is not None:
            self._append(start, 1 / norm(start))
            self._share = np.ones(1)
        self.steps_since_breakdown = 0
        self.breakdowns = 0
        self.restarts = 0
        self.least_new = _LEAST_NEW
        self.scale = 0.0
        self.surprise = 0.0
        self._asymmetry, self._overlap = 0.0, 0.0
        # from nothing, until rounding has cost too much; None: every image is made orthogonal to the whole basis
        self._three_term = Orthogonality(float(finfo(op.dtype).eps)) if known is None else None

    @property
    def rank(self) -> int:
        return len(self.matrix)

    @property
    def order(self) -> int:
        return int(self._searched.shape[1])

    @property
    def defect(self) -> float:
        measured = self._asymmetry / self.scale if self.scale > 0 else 0.0
        return max(0.0, measured - _EXPLAINED * self._overlap)

    @property
    def complete(self) -> bool:
        """Whether the whole space was searched, so that the Ritz values are the spectrum."""
        return self.order == self._op.size

    def expand(self, direction: Array | None = None) -> None:
        """One product, with the part of ``direction`` (coordinates) that was not searched yet; by default with the newest."""
        chosen = self._unsearched(direction)
        vector = self._vector(chosen)
        chosen, found = self._placed(vector, self._op.apply(vector), chosen)
        disagreement = self._searched.T @ (found - self.matrix @ chosen)
        if len(disagreement):
            self._asymmetry = max(self._asymmetry, float(np.abs(disagreement).max()))
        if self.order == 0:
            self.surprise = size_of(found - self.matrix @ chosen)
        self._learn(chosen, found)
        self._searched = np.column_stack([self._searched, chosen])
        self.steps_since_breakdown += 1
        if self.order == self.rank < self._op.size:
            # what was searched is invariant: go on in a random direction, or copies and missed parts stay unseen
            self.breakdowns += 1
            self.steps_since_breakdown = 0
            self._append(self._fresh())

    def _placed(self, vector: Tensor, image: Tensor, chosen: Array) -> tuple[Array, Array]:
        """The coordinates of a direction and of its image, whose new part becomes a row of the basis."""
        found = self.matrix @ chosen  # what the model expects is taken off first, and then the part along v
        # a tensor of our own, changed in place from here on
        image = self._basis.add(image.clone(), -found)
        along = dot(vector, image)
        image.add_(vector, alpha=-along)
        found += along * chosen
        if self._three_term is not None:
            # of the two vectors of the recurrence v is done; the other one is a probe of symmetry too
            length = self._orthogonalise(image, found, max(0, self.rank - 2), self.rank - 1)
            if not self._keeps_orthogonal(self._three_term, found, length):
                self._end_recurrence()
        if self._three_term is None:
            length = self._orthogonalise(image, found, 0, self.rank)
        if length > self.floor() and self.rank < self._op.size:
            self._append(image, 1 / length)
            found, chosen = np.append(found, length), np.append(chosen, 0.0)
        return chosen, found

    def take(self, op: SymmetricOperator, direction: Array, least: float) -> float:
        """Teach the model, but not the search, another operator's product with the part of a unit ``direction`` that is new to both.

        Returns the length of that part; where it is at most ``least``, nothing is done.
        """
        beyond = self._taken - self._searched @ (self._searched.T @ self._taken)
        # what is left of two nearly equal directions is known to no more than the difference of their images
        frame, sizes, _ = np.linalg.svd(beyond, full_matrices=False)
        known = np.column_stack([self._searched, frame[:, sizes > _KNOWN]])
        rest = direction - known @ (known.T @ direction)
        length = float(np.linalg.norm(rest))
        if length > least:
            rest = rest - known @ (known.T @ rest)
            chosen = rest / np.linalg.norm(rest)
            vector = self._vector(chosen)
            image = op.apply(vector.to(op.dtype)).to(vector.dtype)
            chosen, found = self._placed(vector, image, chosen)
            self._learn(chosen, found)
            self._taken = np.column_stack([self._taken, chosen])
        return length

    def _orthogonalise(self, image: Tensor, found: Array, start: int, stop: int) -> float:
        """Move the part of ``image`` along these rows of the basis into ``found``; the length of what is left."""
        for _ in range(_PASSES):
            taken = self._basis.dots(image, start, stop)
            self._basis.add(image, -taken, start)
            length = norm(image)
            if not np.isfinite(length):
                raise UserError(
                    f"the norm of a product overflows {self._op.dtype}; scale the loss down{self._op.or_float64()}"
                )
            found[start:stop] += taken
            if length > _CANCELLED * float(np.hypot(length, size_of(taken))):
                break
        self.scale = max(self.scale, float(np.hypot(length, size_of(found))))
        return length

    def _keeps_orthogonal(self, estimate: Orthogonality, found: Array, length: float) -> bool:
        """Whether an image of this length, orthogonal to the last two vectors, is orthogonal to the others too."""
        if not length > self.floor():
            return False
        overlap = estimate.append(self.matrix, found, length, self.scale, self._asymmetry)
        if overlap > estimate.limit:
            return False
        self._overlap = max(self._overlap, overlap)
        return True

    def _end_recurrence(self) -> None:
        """Leave the recurrence: from here on symmetry is checked against all rows. The overlaps that explain a disagreement are measured once, here."""
        if self._three_term is not None:
            self._three_term = None
            gram = self._basis.gram(3)  # overlaps grow along the recurrence: the largest are among the newest
            self._overlap = float(np.abs(gram - np.eye(self.rank)[:, -3:]).max())

    def _learn(self, v: Array, image: Array) -> None:
        """The update for the unit direction v, both in coordinates."""
        change = image - self.matrix @ v
        change -= self._searched @ (self._searched.T @ change)  # what was measured from the other side earlier is kept
        crossed = np.outer(change, v)
        self.matrix += crossed + crossed.T - (change @ v) * np.outer(v, v)

    def _unsearched(self, direction: Array | None) -> Array:
        newest = np.zeros(self.rank)
        newest[-1] = 1.0
        if direction is None and self.rank == self.order + 1 and not self._searched[-1].any():
            return newest
        candidates = [newest, *np.eye(self.rank)] if direction is None else [direction, newest, *np.eye(self.rank)]
        for candidate in candidates:
            rest = candidate / np.linalg.norm(candidate)
            for _ in range(2):
                rest = rest - self._searched @ (self._searched.T @ rest)
            if (length := float(np.linalg.norm(rest))) > self.least_new:
                return np.asarray(rest / length)
        raise AssertionError("every direction of the model was searched")  # expand() appends one before this

    def _vector(self, coordinates: Array) -> Tensor:
        """The unit vector of these coordinates."""
        (places,) = np.nonzero(coordinates)
        if len(places) == 1 and coordinates[places[0]] == 1.0:
            return self._basis[int(places[0])]
        combined = self._basis.combined(coordinates)
        return combined.mul_(1 / norm(combined))

    def floor(self) -> float:
        """The length below which what is left of an image counts as rounding."""
        return 10 * float(finfo(self._op.dtype).eps) * self.scale

    def _fresh(self) -> Tensor:
        vector = self._op.random_vector(self._generator)
        for _ in range(2):
            self._basis.add(vector, -self._basis.dots(vector))
        return vector.mul_(1 / norm(vector))

    def _append(self, vector: Tensor, factor: float = 1.0) -> None:
        self._basis.append(vector, factor)
        size = self.rank
        larger = np.zeros((size + 1, size + 1))
        larger[:size, :size] = self.matrix
        self.matrix = larger
        self._searched = np.vstack([self._searched, np.zeros(self.order)])
        self._taken = np.vstack([self._taken, np.zeros(self._taken.shape[1])])
        if self._share is not None:
            self._share = np.append(self._share, 0.0)

    def ritz(self) -> Ritz:
        """Of A on the searched directions, from the products alone: the model's guesses do not enter."""
        images = self.matrix @ self._searched
        projection = self._searched.T @ images
        values, weights = np.linalg.eigh((projection + projection.T) / 2)
        coordinates = self._searched @ weights
        residuals = np.linalg.norm(images @ weights - coordinates * values, axis=0)
        return Ritz(values, coordinates, residuals)

    def eigen(self) -> tuple[Array, Array]:
        """Eigenvalues of the model (ascending) and their coordinates: products where there were any, guesses elsewhere."""
        values, coordinates = np.linalg.eigh(self.matrix)
        return values, coordinates

    def new_part(self, coordinates: Array) -> float:
        """The length of what was not searched of a unit direction."""
        return float(np.linalg.norm(coordinates - self._searched @ (self._searched.T @ coordinates)))

    def start_share(self, coordinates: Array) -> Array:
        """By how much more of the random start lies along each of these unit directions (columns) than along a random one.

        One random direction has 1; a mixture of many eigenvectors has up to sqrt(size). Without a random start: 1.
        """
        if self._share is None:
            return np.ones(coordinates.shape[1])
        return np.asarray(np.maximum(1.0, self._op.size**0.5 * np.abs(self._share @ coordinates)))

    def vectors(self, coordinates: Array) -> Tensor:
        """Combinations of the basis as unit columns, of shape (size, number of columns)."""
        return self._basis.columns(coordinates)

    def restart(self, kept: Array, guesses: Array) -> None:
        """Keep the Ritz vectors ``kept`` and their images exactly, and what the model says about ``guesses`` (coordinates).

        From nothing and without guesses this is the thick restart of Wu and Simon (2000).
        """
        self._end_recurrence()
        self.restarts += 1
        count = kept.shape[1]
        rest = np.column_stack([self.matrix @ kept, guesses])
        for _ in range(2):
            rest = rest - kept @ (kept.T @ rest)
        directions, sizes, _ = np.linalg.svd(rest, full_matrices=False)
        directions = directions[:, sizes > self.floor()]
        for _ in range(2):  # the direction of a small singular value is not orthogonal to what is kept
            directions = np.linalg.qr(directions - kept @ (kept.T @ directions))[0]
        frame = np.column_stack([kept, directions])
        self._basis.rotate(frame)
        self._basis.normalise()
        self.matrix = frame.T @ self.matrix @ frame
        if self._share is not None:
            self._share = self._share @ frame
        self._searched, self._taken = np.eye(frame.shape[1], count), np.zeros((frame.shape[1], 0))
        if self.order == self.rank < self._op.size:
            self._append(self._fresh())

    def carried(self, rank: int) -> Carried:
        """The model for a search on an operator nearby, cut to this rank. Ends the search: the basis is handed on, not copied."""
        known = Carried(self._basis, self.matrix, self._overlap)
        if self.rank <= rank:
            return known
        small = self.rank * self._op.size * self._op.dtype.itemsize <= _SMALL
        return known._replace(most=rank) if small else known.cut(rank)

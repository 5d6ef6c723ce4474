"""Inner products of long vectors, taken in float64, and rows of vectors that grow without being copied.

A sum of 1e7 products in float32 is off by 1e-4 to 1e-3 of its size, whatever the vectors, and one of a thousand with one
large term by 1e-5: enough to make a unit vector one of norm 1.001 and an eigenvalue wrong in its fifth digit. Here pieces
that fit a processor's cache are converted and summed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bntheory.arrays import larger
from bntheory.bridge.ranges import exponent_of, norm_is_plain, times_power

Array = np.ndarray[Any, Any]

_PIECE, _LONG, _LARGER = 1 << 13, 1 << 21, 1 << 16  # entries converted at a time; of vectors so long, more
_BLOCK = 8  # rows in an allocation: what a basis may hold without need
_COLUMNS = 1 << 18  # entries of each row that a rotation in place takes at a time


def dots(rows: Tensor, vector: Tensor) -> Array:
    """<row, vector> for rows of shape (k, n) and a vector (n,), in float64."""
    return _dots([rows], vector)


def _dots(blocks: list[Tensor], vector: Tensor) -> Array:
    if vector.dtype == torch.float64:
        return np.concatenate([(rows @ vector).cpu().numpy() for rows in blocks])
    found = torch.zeros(sum(len(rows) for rows in blocks), dtype=torch.float64, device=vector.device)
    count = _piece(vector)
    for low in range(0, vector.numel(), count):
        window = slice(low, low + count)
        piece, first = vector[window].double(), 0
        for rows in blocks:
            found[first : first + len(rows)].addmv_(rows[:, window].double(), piece)
            first += len(rows)
    return found.cpu().numpy()


def dot(a: Tensor, b: Tensor) -> float:
    """<a, b> of flat vectors, in float64."""
    if a.dtype == torch.float64:
        return float(torch.dot(a, b))
    found = torch.zeros((), dtype=torch.float64, device=a.device)
    count = _piece(a)
    for low in range(0, a.numel(), count):
        piece = a[low : low + count].double()
        found += torch.dot(piece, piece if a is b else b[low : low + count].double())
    return float(found)


def _piece(vector: Tensor) -> int:
    return _PIECE if vector.numel() < _LONG else _LARGER


def norm(vector: Tensor) -> float:
    """The Euclidean norm of a flat vector, in float64; infinite or nan where it overflows itself, or an entry is."""
    plain = math.sqrt(dot(vector, vector))
    if norm_is_plain(plain, torch.float64):
        return plain
    exponent = exponent_of(vector)
    scaled = times_power(vector.double(), -exponent) if exponent else vector
    return larger(math.sqrt(dot(scaled, scaled)), exponent)


class Rows:
    """Vectors of ``size`` entries, kept in blocks: one more never copies those before.

    Coefficients and inner products are float64 arrays, whatever the precision of the vectors.
    """

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        self.size, self.dtype, self.device = size, dtype, device
        self._blocks: list[Tensor] = []
        self.count = 0

    @classmethod
    def of(cls, matrix: Tensor) -> Rows:
        """The rows of a matrix (count, size), which is shared and not copied."""
        found = cls(matrix.shape[1], matrix.dtype, matrix.device)
        found._blocks, found.count = [matrix] if len(matrix) else [], len(matrix)
        return found

    def tensor(self) -> Tensor:
        """All rows as one matrix (count, size); a copy where they lie in several blocks."""
        parts = [block for _, block in self._parts(0, self.count)]
        if not parts:
            return torch.empty((0, self.size), dtype=self.dtype, device=self.device)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def copy(self, device: torch.device) -> Rows:
        """The same rows in memory of their own."""
        found = Rows(self.size, self.dtype, device)
        found._blocks = [block.to(device, copy=True) for _, block in self._parts(0, self.count)]
        found.count = self.count
        return found

    def append(self, vector: Tensor, factor: float = 1.0) -> None:
        """One more row, factor * vector."""
        if self.count == sum(len(block) for block in self._blocks):
            self._blocks.append(torch.empty((_BLOCK, self.size), dtype=self.dtype, device=self.device))
        self.count += 1
        torch.mul(vector, factor, out=self[self.count - 1])

    def __getitem__(self, row: int) -> Tensor:
        _, block = next(self._parts(row, row + 1))
        return block[0]

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        """(first row, block) of the blocks that hold these rows, cut to them."""
        first = 0
        for block in self._blocks:
            low, high = max(start, first), min(stop, first + len(block))
            if low < high:
                yield low, block[low - first : high - first]
            first += len(block)

    def dots(self, vector: Tensor, start: int = 0, stop: int | None = None) -> Array:
        """<row, vector> for the rows from start to stop."""
        blocks = [block for _, block in self._parts(start, self.count if stop is None else stop)]
        return _dots(blocks, vector) if blocks else np.zeros(0)

    def add(self, target: Tensor, coefficients: Array, start: int = 0) -> Tensor:
        """``target`` plus the sum of coefficient * row for the rows from start on, in place."""
        for low, block in self._parts(start, start + len(coefficients)):
            part = coefficients[low - start : low - start + len(block)]
            if np.any(part):
                target.addmv_(block.T, torch.as_tensor(part, dtype=self.dtype, device=self.device))
        return target

    def combined(self, coefficients: Array) -> Tensor:
        """The sum of coefficient * row, as a new vector."""
        return self.add(torch.zeros(self.size, dtype=self.dtype, device=self.device), coefficients)

    def columns(self, coefficients: Array) -> Tensor:
        """(size, k): the sums for coefficients (count, k), made unit columns."""
        found = torch.empty((coefficients.shape[1], self.size), dtype=self.dtype, device=self.device)
        for row, weights in zip(found, coefficients.T, strict=True):
            row.zero_()
            self.add(row, weights)
            row.mul_(1 / norm(row))
        return found.T

    def gram(self, newest: int) -> Array:
        """(count, newest): inner products of all rows with the last ones."""
        chosen = range(max(0, self.count - newest), self.count)
        return np.stack([self.dots(self[row]) for row in chosen], axis=1)

    def rotate(self, coefficients: Array) -> None:
        """Replace the rows by their combinations, coefficients (count, k) with k <= count, without a second basis."""
        weights = torch.as_tensor(coefficients.T.copy(), dtype=self.dtype, device=self.device)
        kept = coefficients.shape[1]
        for low in range(0, self.size, _COLUMNS):
            window = slice(low, low + _COLUMNS)
            old = torch.cat([block[:, window] for _, block in self._parts(0, self.count)])
            new = weights @ old
            for first, block in self._parts(0, kept):
                block[:, window] = new[first : first + len(block)]
        self.count = kept
        held, blocks = 0, []
        for block in self._blocks:
            if held < kept:
                blocks.append(block)
            held += len(block)
        self._blocks = blocks

    def normalise(self) -> None:
        """Make each row one of norm 1, in place."""
        for row in range(self.count):
            self[row].mul_(1 / norm(self[row]))

"""Norms of vectors whose squares leave the range of their dtype: those are brought into it by a power of two, which is exact.

Ratios of gradients do not depend on the loss's scale, and no norm is zero because squares are. Where squares stay in the range nothing is
scaled, and every bit is that of the plain computation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, finfo

from bntheory.arrays import larger


def norm_is_plain(norm: float, dtype: torch.dtype) -> bool:
    """Whether a norm that was taken by squares in this dtype is right: neither they nor their sum left its range."""
    info = finfo(dtype)
    return math.sqrt(info.tiny / info.eps) <= norm < math.inf


def times_power(values: Tensor, exponent: int) -> Tensor:
    """values * 2**exponent, in steps that are numbers of a dtype of 8 or more bits of exponent themselves."""
    while exponent:
        step = max(-100, min(100, exponent)) if values.dtype == torch.float32 else max(-1000, min(1000, exponent))
        values, exponent = values * 2.0**step, exponent - step
    return values


def exponent_of(values: Tensor) -> int:
    """The power of two to which the largest entry belongs; 0 where all are zero, or one is not finite."""
    largest = float(values.abs().max()) if values.numel() else 0.0
    return math.frexp(largest)[1] if 0 < largest < math.inf else 0


def in_range(vector: Tensor) -> tuple[Tensor, int]:
    """(v, k) with the vector v * 2**k, so that v has squares in the range; v is the vector itself, and k 0, where it has such squares."""
    if norm_is_plain(float(torch.linalg.vector_norm(vector)), vector.dtype):
        return vector, 0
    exponent = exponent_of(vector)
    return times_power(vector, -exponent), exponent


def length(vector: Tensor) -> float:
    """The Euclidean norm of a flat vector, taken in its dtype."""
    scaled, exponent = in_range(vector)
    return larger(float(torch.linalg.vector_norm(scaled)), exponent)


def lengths(rows: Tensor) -> Tensor:
    """(...,): the Euclidean norms of rows (..., m), taken in their dtype."""
    plain: Tensor = rows.norm(dim=-1)
    info = finfo(rows.dtype)
    strange = ((plain < math.sqrt(info.tiny / info.eps)) | plain.isinf()) & (rows != 0).any(-1)
    if bool(strange.any()):
        plain = plain.clone()
        plain[strange] = torch.tensor([length(row) for row in rows[strange]], dtype=torch.float64).to(plain)
    return plain


def root_of_squares(norms: list[float]) -> float:
    """The norm of vectors together, by their norms."""
    largest = max(norms, default=0.0)
    if norm_is_plain(largest, torch.float64) and largest < 1e150:
        return math.sqrt(sum(norm**2 for norm in norms))
    return math.hypot(*norms)

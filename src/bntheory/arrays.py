"""One spelling for numpy, torch and object arrays of balls.

Only what the closed-form layer needs, and without importing torch: a tensor brings its own module along.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Of any of these kinds; ``Floats`` is numpy's, of float64.
Array = Any
Floats = NDArray[np.float64]


def is_torch(x: Any) -> bool:
    """Whether x is a torch tensor (without importing torch)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def is_object(x: Any) -> bool:
    """Whether x is a numpy array of Python objects (exact rationals, Arb balls, mpmath numbers)."""
    return isinstance(x, np.ndarray) and x.dtype == object


def namespace(x: Any) -> Any:
    """The module, numpy or torch, that x belongs to."""
    return sys.modules["torch"] if is_torch(x) else np


def is_floating(x: Any) -> bool:
    """Whether x has a floating dtype, or holds objects that do their own arithmetic."""
    if is_torch(x):
        return bool(x.is_floating_point())
    return x.dtype == object or np.issubdtype(x.dtype, np.floating)


def as_float_array(x: Any, name: str) -> Array:
    """x as an array or tensor of floats; a list of Python floats becomes float64.

    Raises ValueError for integers, booleans and complex numbers: a silent conversion would hide the precision
    in which everything downstream is computed.
    """
    if is_torch(x):
        array: Any = x
    else:
        array = np.asarray(x)
        if not isinstance(x, np.ndarray) and np.issubdtype(array.dtype, np.integer):
            array = array.astype(float)  # a literal such as [1, 2, 4]
    if not is_floating(array):
        raise ValueError(
            f"{name} has dtype {array.dtype}; normalisation divides, so it needs floats. "
            f"Convert it: {name}.astype(float) or {name}.double()"
        )
    return array


def outer_dot(u: Array, v: Array) -> Array:
    """<u, v> over the last axis, which is kept: (..., m), (..., m) -> (..., 1)."""
    if is_torch(u):
        return (u.unsqueeze(-2) @ v.unsqueeze(-1)).squeeze(-1)  # faster than vecdot by a third
    if is_object(u) or is_object(v):
        return np.sum(u * v, axis=-1, keepdims=True)
    return np.vecdot(u, v)[..., None]


def larger(value: float, exponent: int) -> float:
    """value * 2**exponent, infinite where that overflows."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


def length(x: Floats) -> float:
    """The Euclidean norm of a float64 vector, scaled by a power of two where squares leave the range."""
    with np.errstate(over="ignore"):
        plain = float(np.linalg.norm(x))
    if 1e-145 < plain < np.inf or not np.size(x):
        return plain
    exponent = int(np.frexp(np.max(np.abs(x)))[1])  # 0 where the largest is 0, or is not finite
    return larger(float(np.linalg.norm(np.ldexp(x, -exponent))), exponent) if exponent else plain


def standard_error(values: Floats | Sequence[float]) -> float:
    """Of the mean of independent values; scaled by a power of two where squares leave the range."""
    x = np.asarray(values, dtype=np.float64)
    largest = float(np.max(np.abs(x)))
    exponent = 0 if largest == 0 or 1e-130 < largest < 1e150 else int(np.frexp(largest)[1])
    return float(np.ldexp(np.std(np.ldexp(x, -exponent), ddof=1), exponent) / np.sqrt(len(x)))


def combine(terms: Sequence[tuple[Array, Array]], constant: Array) -> Array:
    """constant + sum of c x over (x, c), with vectors x (..., m) and scalars c (..., 1), in one pass a term and without temporaries."""
    (first, scale), *rest = terms
    if is_torch(first):
        module = namespace(first)
        total = module.addcmul(constant, first, scale)
        for x, c in rest:
            fits = np.broadcast_shapes(x.shape, c.shape, total.shape) == tuple(total.shape)
            total = total.addcmul_(x, c) if fits else module.addcmul(total, x, c)
        return total
    if is_object(first):
        return sum((x * c for x, c in rest), first * scale) + constant
    shape = np.broadcast_shapes(*(np.shape(a) for term in terms for a in term), np.shape(constant))
    total = np.empty(shape, dtype=np.result_type(first, scale))
    if total.ndim < 2 or total.size <= _BLOCK:
        return _accumulate(terms, constant, total, np.empty_like(total))
    # Block by block, so that partial sums stay in the cache.
    rows = max(1, _BLOCK * shape[0] // total.size)
    scratch = np.empty_like(total[:rows])

    def block(x: Array, start: int) -> Array:
        whole = x.ndim == total.ndim and x.shape[0] == shape[0]
        return x[start : start + rows] if whole else x

    for start in range(0, shape[0], rows):
        part = total[start : start + rows]
        pieces = [(block(x, start), block(c, start)) for x, c in terms]
        _accumulate(pieces, block(constant, start), part, scratch[: len(part)])
    return total


_BLOCK = 1 << 14  # entries


def _accumulate(terms: Sequence[tuple[Array, Array]], constant: Array, total: Array, scratch: Array) -> Array:
    (first, scale), *rest = terms
    np.multiply(first, scale, out=total)
    for x, c in rest:
        np.multiply(x, c, out=scratch)
        total += scratch
    total += constant
    return total


def unit_roundoff(x: Array) -> float:
    """Half the distance from 1 to the next float of x's dtype; 0 for exact objects."""
    if is_object(x):
        return 0.0
    module = namespace(x)
    return float(module.finfo(x.dtype).eps) / 2

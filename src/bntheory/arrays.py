"""One spelling for numpy, torch and object arrays of balls.

Only what the closed-form layer needs, and without importing torch: a tensor brings its own module along.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

__all__ = [
    "Array",
    "as_float_array",
    "is_floating",
    "is_object",
    "is_torch",
    "namespace",
    "outer_dot",
    "unit_roundoff",
]

Array = Any


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
        return (u * v).sum(-1, keepdim=True)
    return np.sum(u * v, axis=-1, keepdims=True)  # pairwise: the error grows like log m, not m


def unit_roundoff(x: Array) -> float:
    """Half the distance from 1 to the next float of x's dtype; 0 for exact objects."""
    if is_object(x):
        return 0.0
    module = namespace(x)
    return float(module.finfo(x.dtype).eps) / 2

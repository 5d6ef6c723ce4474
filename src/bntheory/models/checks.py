"""What a model refuses, with the name of what was given."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.errors import UserError


def at_least(least: int, **sizes: int) -> None:
    """Raises UserError for the first size below ``least`` or no whole number."""
    for name, size in sizes.items():
        if not (isinstance(size, Integral) and size >= least):
            raise UserError(f"{name}={size!r}: must be a whole number of at least {least}")


def positive(value: ArrayLike, name: str) -> Floats:
    """``value`` as a float64 array of positive finite numbers; raises ``ValueError`` with the offender's name."""
    array = np.asarray(value, dtype=np.float64)
    if array.size == 0 or not np.isfinite(array).all() or np.any(array <= 0):
        raise ValueError(f"{name} must be positive and finite, got {np.array2string(array, threshold=8)}")
    return array

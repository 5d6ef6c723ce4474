"""Standardisation along an axis, with eps = 0, and its derivative."""

from __future__ import annotations

import numpy as np

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked


@checked()
def standardise(x: Floats, axis: int, *, centred: bool = True) -> tuple[Floats, Floats]:
    """x less its mean along the axis (if centred) over its root mean square there, and the latter with the axis kept.

    Raises UserError where it is zero.
    """
    rest = x - x.mean(axis=axis, keepdims=True) if centred else x
    scale = np.sqrt(np.mean(rest**2, axis=axis, keepdims=True))
    if np.any(scale == 0):
        raise UserError("a normalised unit or sample is constant, so its normalisation with eps = 0 does not exist")
    return rest / scale, scale


@checked()
def standardise_derivative(d: Floats, t: Floats, scale: Floats, axis: int, *, centred: bool = True) -> Floats:
    """The Jacobian of :func:`standardise` where it gave (t, scale), applied to d: (d - mean d - t mean(t d))/scale.

    It is symmetric, so it is its own adjoint.
    """
    if centred:
        d = d - d.mean(axis=axis, keepdims=True)
    return np.asarray((d - t * (t * d).mean(axis=axis, keepdims=True)) / scale)

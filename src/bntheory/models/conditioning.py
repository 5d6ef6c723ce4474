r"""What centring and scaling the inputs do to the condition number of least squares (Lange et al. 2022).

For data ``X`` of shape (samples, columns) the model ``[1, X]`` (a bias column first) has condition number
``kappa = sigma_max/sigma_min`` in the 2-norm; ``[1, X_c]`` has centred columns and ``[1, X_c D]`` unit variances.

*Centring never hurts*, for any number of columns. With ``m`` the mean, ``A = [1, X]`` maps ``(-m'w, w)`` to ``X_c w``
and ``(1, 0)`` to ``1``. So ``sigma_min(A)^2 <= ||X_c w||^2/(|w|^2 + (m'w)^2)`` for every ``w``, hence at most
``min(n, lambda_min(X_c' X_c))``; and ``(0, w)`` gives ``||A (0, w)||^2 = ||X_c w||^2 + n (m'w)^2``, so
``sigma_max(A)^2 >= max(n, lambda_max(X_c' X_c))``. The right sides are the extreme squared singular values of
``[1, X_c]``, whose first column is orthogonal to the rest.

*Scaling does not hurt for one or two columns*: for one, the scaled matrix has kappa 1; for two, ``kappa + 1/kappa + 2``
of a 2 x 2 Gram matrix is ``trace^2/det``, and ``(a + c)^2/(ac - b^2) >= 4ac/(ac - b^2)``. *For three it can hurt*:
``SMALLEST_COUNTEREXAMPLE`` has entries -1, 0, 1 only, and the claim ``lange2022.scaling`` is refuted by a matrix in
exact arithmetic.

*Within sqrt(columns) of the best* (van der Sluis 1969): let ``A`` have unit columns and ``E`` be diagonal. Then
``sigma_max(AE) >= max e_i`` and ``sigma_min(AE) <= sigma_min(A) max e_i``, so ``kappa(AE) >= 1/sigma_min(A)``, while
``sigma_max(A) <= ||A||_F = sqrt(columns)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked

SMALLEST_COUNTEREXAMPLE: tuple[tuple[int, ...], ...] = ((0, 0, 1), (0, -1, -1), (-1, 0, -1), (1, 1, 1))
"""Centred data (4 samples, 3 columns): ``kappa^2`` of [1, X] is (7 + sqrt 33)/(7 - sqrt 33) = 10.15, scaled to unit
variance it is (5 + sqrt 17)/(5 - sqrt 17) = 10.40."""


@checked()
def condition_number(matrix: ArrayLike) -> float:
    """``sigma_max/sigma_min`` in the 2-norm; ``inf`` where the columns are dependent to working precision."""
    a = np.asarray(matrix, dtype=np.float64)
    if a.ndim != 2 or a.size == 0 or not np.all(np.isfinite(a)):
        raise UserError(f"matrix of shape {a.shape}: must be two-dimensional, not empty, and finite")
    if a.shape[0] < a.shape[1]:
        return math.inf
    values = np.linalg.svd(a, compute_uv=False)
    floor = values[0] * max(a.shape) * np.finfo(np.float64).eps
    return float(values[0] / values[-1]) if values[-1] > floor else math.inf


@dataclass(frozen=True)
class Conditioning:
    """Condition numbers of the extended data matrix at each stage."""

    raw: float  # kappa([1, X])
    centred: float  # kappa([1, X_c])
    scaled: float  # kappa([1, X_c D]), D to unit variance
    columns: int  # of the extended matrix


@checked()
def conditioning(data: ArrayLike) -> Conditioning:
    """``kappa`` of ``[1, X]``, ``[1, X_c]`` and ``[1, X_c D]`` for ``data`` of shape (samples, columns).

    Raises ValueError for fewer than two samples and for a constant column, which has no unit-variance scaling.
    """
    x = np.asarray(data, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1 or not np.all(np.isfinite(x)):
        raise UserError(f"data of shape {x.shape}: needs (samples >= 2, columns >= 1), all finite")
    mean = x.mean(axis=0)
    centred = x - mean
    deviation = np.sqrt(np.mean(centred**2, axis=0))
    rounding = 4 * np.finfo(np.float64).eps * np.max(np.abs(x), axis=0)
    if np.any(deviation <= rounding):
        column = int(np.argmax(deviation <= rounding))
        raise UserError(f"data: column {column} is constant, so it cannot be scaled to unit variance; leave it out")
    one = np.ones((x.shape[0], 1))
    raw, moved, unit = (
        condition_number(np.concatenate([one, part], axis=1)) for part in (x, centred, centred / deviation)
    )
    return Conditioning(raw, moved, unit, x.shape[1] + 1)


@checked()
def best_diagonal_scaling(matrix: ArrayLike, *, starts: int = 4, seed: int = 0) -> tuple[float, Floats]:
    """Upper bound, with witness, on the least ``kappa(A D)`` over positive diagonal ``D``: (kappa, diagonal of D).

    Nelder-Mead on the logarithms from unit columns and from random starts; the first start is van der Sluis's
    scaling, so the result is never worse than it. Raises ValueError for dependent columns.
    """
    from scipy.optimize import minimize

    a = np.asarray(matrix, dtype=np.float64)
    if not math.isfinite(condition_number(a)):
        raise UserError("matrix: its columns are dependent, so every diagonal scaling has an infinite condition number")
    unit = 1.0 / np.linalg.norm(a, axis=0)
    # kappa(A D) depends on the triangular factor only; the first entry of D is fixed, scale being free
    factor = np.linalg.qr(a * unit, mode="r")

    def log_condition(x: Floats) -> float:
        values = np.linalg.svd(factor * np.exp(np.concatenate([[0.0], x])), compute_uv=False)
        return float(np.log(values[0] / values[-1]))

    rng = np.random.default_rng(seed)
    best, where = log_condition(np.zeros(a.shape[1] - 1)), np.zeros(a.shape[1] - 1)
    for start in range(starts if a.shape[1] > 1 else 0):
        x0 = np.zeros(a.shape[1] - 1) if start == 0 else 0.5 * rng.standard_normal(a.shape[1] - 1)
        found = minimize(
            log_condition, x0, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000}
        )
        if found.fun < best:
            best, where = float(found.fun), found.x
    return math.exp(best), np.asarray(unit * np.exp(np.concatenate([[0.0], where])))

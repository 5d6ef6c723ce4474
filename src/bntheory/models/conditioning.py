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
:func:`certify_scaling_counterexample` proves it for a given integer matrix in rational arithmetic, and
``SMALLEST_COUNTEREXAMPLE`` has entries -1, 0, 1 only.

*Within sqrt(columns) of the best* (van der Sluis 1969): let ``A`` have unit columns and ``E`` be diagonal. Then
``sigma_max(AE) >= max e_i`` and ``sigma_min(AE) <= sigma_min(A) max e_i``, so ``kappa(AE) >= 1/sigma_min(A)``, while
``sigma_max(A) <= ||A||_F = sqrt(columns)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bntheory.errors import UserError

__all__ = [
    "SMALLEST_COUNTEREXAMPLE",
    "Conditioning",
    "ScalingCertificate",
    "best_diagonal_scaling",
    "certify_scaling_counterexample",
    "condition_number",
    "conditioning",
    "search_scaling",
]

Floats = NDArray[np.float64]

SMALLEST_COUNTEREXAMPLE: tuple[tuple[int, ...], ...] = ((0, 0, 1), (0, -1, -1), (-1, 0, -1), (1, 1, 1))
"""Centred data (4 samples, 3 columns): ``kappa^2`` of [1, X] is (7 + sqrt 33)/(7 - sqrt 33) = 10.15, scaled to unit
variance it is (5 + sqrt 17)/(5 - sqrt 17) = 10.40."""


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


@dataclass(frozen=True)
class ScalingCertificate:
    """Exact proof that scaling the columns of ``data`` to unit variance raises ``kappa([1, X])``.

    With ``S = X' X``: ``S - low`` and ``high - S`` are positive definite and ``low <= n <= high``, so
    ``kappa^2 <= high/low`` before; the Rayleigh quotients of ``S`` relative to its diagonal at ``top`` and ``bottom``
    have a ratio above ``high/low``, so ``kappa^2`` is larger after. All numbers rational.
    """

    data: tuple[tuple[int, ...], ...]
    low: Fraction
    high: Fraction
    top: tuple[Fraction, ...]
    bottom: tuple[Fraction, ...]

    @property
    def before_at_most(self) -> Fraction:
        """Upper bound on ``kappa^2`` before scaling."""
        return self.high / self.low

    @property
    def after_at_least(self) -> Fraction:
        """Lower bound on ``kappa^2`` after scaling."""
        gram = _gram(self.data)
        return _relative_quotient(gram, self.top) / _relative_quotient(gram, self.bottom)

    def verify(self) -> bool:
        """Check every inequality in rational arithmetic; shares no code with what found the numbers."""
        if any(sum(column) != 0 for column in zip(*self.data, strict=True)):
            return False
        gram, size = _gram(self.data), len(self.data[0])
        if any(gram[i][i] == 0 for i in range(size)) or not self.low <= len(self.data) <= self.high:
            return False
        below = [[gram[i][j] - (self.low if i == j else 0) for j in range(size)] for i in range(size)]
        above = [[(self.high if i == j else 0) - gram[i][j] for j in range(size)] for i in range(size)]
        if not (self.low > 0 and _positive_definite(below) and _positive_definite(above)):
            return False
        return self.after_at_least > self.before_at_most


def certify_scaling_counterexample(data: Sequence[Sequence[int]]) -> ScalingCertificate | None:
    """A verified certificate that unit-variance scaling raises ``kappa([1, X])`` of integer centred data, or None.

    None says that floats see no increase, or one too small to separate by rationals of denominator 10^6. Raises
    ValueError for columns that do not sum to zero.
    """
    rows = tuple(tuple(int(v) for v in row) for row in data)
    x = np.array(rows, dtype=np.float64)
    if x.ndim != 2 or np.any(x.sum(axis=0) != 0):
        raise UserError("data: every column of the integer matrix must sum to zero (it is to be centred)")
    gram = x.T @ x
    diagonal = np.diag(gram)
    if np.any(diagonal == 0) or np.linalg.matrix_rank(x) < x.shape[1]:
        return None
    values = np.linalg.eigvalsh(gram)
    low, high = min(values[0], len(rows)), max(values[-1], len(rows))
    root = np.sqrt(diagonal)
    relative, vectors = np.linalg.eigh(gram / np.outer(root, root))
    gain = (relative[-1] / relative[0]) / (high / low)
    if gain <= 1 + 1e-5:
        return None
    slack = gain**0.25  # a quarter of the gap, in logarithms, for each side of the spectrum
    certificate = ScalingCertificate(
        data=rows,
        low=_short(low / slack, low),
        high=_short(high, high * slack),
        top=tuple(Fraction(v).limit_denominator(1000) for v in vectors[:, -1] / root),
        bottom=tuple(Fraction(v).limit_denominator(1000) for v in vectors[:, 0] / root),
    )
    return certificate if certificate.verify() else None


def search_scaling(
    columns: int, *, samples: int | None = None, amplitude: int = 3, trials: int = 20_000, seed: int = 0
) -> tuple[float, tuple[tuple[int, ...], ...]]:
    """The largest ratio ``kappa(scaled)/kappa(centred)`` among random centred integer matrices, and the matrix.

    Entries but those of the last row lie in ``[-amplitude, amplitude]``. A ratio above 1 is a counterexample, to be
    certified; for one or two columns there is none.
    """
    rows = columns + 1 if samples is None else samples
    if columns < 1 or rows <= columns or amplitude < 1 or trials < 1:
        raise UserError(
            f"columns={columns}, samples={rows}, amplitude={amplitude}, trials={trials}: need columns >= 1, more "
            "samples than columns, amplitude >= 1 and trials >= 1"
        )
    rng = np.random.default_rng(seed)
    x = rng.integers(-amplitude, amplitude + 1, size=(trials, rows, columns)).astype(np.float64)
    x[:, -1] = -x[:, :-1].sum(axis=1)
    gram = np.einsum("kni,knj->kij", x, x)
    diagonal = np.einsum("kii->ki", gram)
    # the determinant of an integer matrix is an integer: half separates singular from regular
    usable = np.all(diagonal > 0, axis=1) & (np.linalg.det(gram) > 0.5)
    if not np.any(usable):
        raise UserError("no draw had full rank; take more trials or a larger amplitude")
    x, gram, root = x[usable], gram[usable], np.sqrt(diagonal[usable])
    values = np.linalg.eigvalsh(gram)
    before = np.maximum(values[:, -1], rows) / np.minimum(values[:, 0], rows)
    relative = np.linalg.eigvalsh(gram / (root[:, :, None] * root[:, None, :]))
    ratio = np.sqrt(relative[:, -1] / relative[:, 0] / before)
    best = int(np.argmax(ratio))
    return float(ratio[best]), tuple(tuple(int(v) for v in row) for row in x[best])


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


def _short(low: float, high: float) -> Fraction:
    """A rational of small denominator strictly between two floats."""
    middle = Fraction((low + high) / 2)
    for bound in (10, 100, 1000, 10**4, 10**5, 10**6):
        candidate = middle.limit_denominator(bound)
        if low < candidate < high:
            return candidate
    return middle


def _gram(rows: tuple[tuple[int, ...], ...]) -> list[list[Fraction]]:
    columns = list(zip(*rows, strict=True))
    return [[Fraction(sum(a * b for a, b in zip(u, v, strict=True))) for v in columns] for u in columns]


def _relative_quotient(gram: list[list[Fraction]], v: tuple[Fraction, ...]) -> Fraction:
    """``v' S v / v' diag(S) v``: an eigenvalue bound of the correlation matrix, without square roots."""
    numerator = sum((v[i] * gram[i][j] * v[j] for i in range(len(v)) for j in range(len(v))), Fraction(0))
    return numerator / sum((gram[i][i] * v[i] ** 2 for i in range(len(v))), Fraction(0))


def _positive_definite(matrix: list[list[Fraction]]) -> bool:
    """Sylvester's criterion by exact elimination."""
    rows = [row[:] for row in matrix]
    for k in range(len(rows)):
        if rows[k][k] <= 0:
            return False
        for i in range(k + 1, len(rows)):
            ratio = rows[i][k] / rows[k][k]
            rows[i] = [a - ratio * b for a, b in zip(rows[i], rows[k], strict=True)]
    return True

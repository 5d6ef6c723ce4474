"""Least squares with a batch-normalised linear unit: the problem, its loss, and its two condition numbers.

Inputs x have mean zero and covariance S, labels y have b = E[xy], and u = S^-1 b solves ordinary least
squares. With batch normalisation the prediction is a x'w / s, s = sqrt(w'Sw + eps), so that

    J(a, w) = E[y^2]/2 - a w'b/s + a^2 w'Sw / (2 s^2).

A finite batch (X, y) is the same problem with the batch's biased covariance, S = Xc'Xc/m and b = Xc'yc/m
(Xc, yc centred), which is what :meth:`LeastSquares.from_batch` builds; so every result here holds for both.

With c = w'b/s^2 the best multiple of w, e = u - c w is S-orthogonal to w, and at eps = 0
J(a, w) - J* = (a - w'b/s)^2 / 2 + ||e||_S^2 / 2. Near the minimisers only directions S-orthogonal to u
matter: the effective curvature is S* = S - S u u'S/(u'Su), whose non-zero eigenvalues interlace those of S.

Sources: Cai, Li, Shen (ICML 2019), sections 3.1 to 3.3, for population, effective step and S*; Kohler et al. (AISTATS
2019), section 4, for the same loss with a minimised out. The finite-batch and eps > 0 forms are derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.models.checks import checked


@checked()
@dataclass(frozen=True)
class LeastSquares:
    """S (d, d) symmetric positive definite, b (d,) not zero, eps >= 0, label_power = E[y^2] >= b'S^-1 b.

    Arguments named ``w`` below have shape (..., d), ``a`` and every scalar result (...).
    """

    covariance: Floats
    correlation: Floats
    eps: float = 0.0
    label_power: float | None = None  # None: noiseless labels, E[y^2] = u'Su

    def __post_init__(self) -> None:
        S = np.array(self.covariance, dtype=np.float64)
        b = np.array(self.correlation, dtype=np.float64)
        if S.ndim != 2 or S.shape[0] != S.shape[1] or b.shape != (S.shape[0],):
            raise ValueError(f"covariance must be (d, d) and correlation (d,), got {S.shape} and {b.shape}")
        if not (np.isfinite(S).all() and np.isfinite(b).all()):
            raise ValueError("covariance and correlation must be finite")
        if not np.allclose(S, S.T, rtol=1e-12, atol=1e-14 * np.abs(S).max()):
            raise ValueError(f"covariance must be symmetric; |S - S'| is {np.abs(S - S.T).max():.3g} at its largest")
        if not np.any(b):
            raise ValueError("correlation is zero: labels that do not depend on the inputs leave no direction to learn")
        if self.eps < 0:
            raise ValueError(f"eps is added to a variance, so it must be >= 0, got {self.eps}")
        S.setflags(write=False)
        b.setflags(write=False)
        object.__setattr__(self, "covariance", S)
        object.__setattr__(self, "correlation", b)
        smallest = float(self.eigenvalues[0])
        if smallest <= 1e-13 * self.eigenvalues[-1]:
            raise ValueError(
                f"covariance must be positive definite; its smallest eigenvalue is {smallest:.3g} (largest "
                f"{self.eigenvalues[-1]:.3g}). With fewer samples than inputs, reduce the inputs to "
                "the span of the data"
            )
        if self.label_power is not None and self.label_power < self.signal * (1 - 1e-12):
            raise ValueError(f"label_power E[y^2] cannot be below the explained part u'Su = {self.signal}")

    @classmethod
    @checked()
    def from_batch(cls, X: ArrayLike, y: ArrayLike, *, eps: float = 0.0) -> LeastSquares:
        """The problem that a full batch X (m, d), y (m,) poses to BN: statistics are those of the batch."""
        data, labels = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if data.ndim != 2 or labels.shape != data.shape[:1] or len(labels) < 2:
            raise ValueError(f"X must be (m, d) with m >= 2 and y (m,), got {data.shape} and {labels.shape}")
        centred, target = data - data.mean(axis=0), labels - labels.mean()
        m = len(labels)
        return cls(centred.T @ centred / m, centred.T @ target / m, eps, float(target @ target / m))

    @classmethod
    @checked()
    def random(cls, dimension: int, condition: float, *, seed: int, eps: float = 0.0) -> LeastSquares:
        """Eigenvalues evenly spread in the logarithm from 1/condition to 1, random eigenbasis, Gaussian u."""
        if dimension < 2 or condition < 1:
            raise ValueError(f"dimension must be >= 2 and condition >= 1, got {dimension} and {condition}")
        rng = np.random.default_rng(seed)
        basis = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
        S = (basis * np.geomspace(1.0 / condition, 1.0, dimension)) @ basis.T
        S = (S + S.T) / 2
        return cls(S, S @ rng.normal(size=dimension), eps)

    @cached_property
    def _eigh(self) -> tuple[Floats, Floats]:
        values, vectors = np.linalg.eigh(self.covariance)
        return values, vectors

    @property
    def eigenvalues(self) -> Floats:
        """Of S, ascending."""
        return self._eigh[0]

    @property
    def eigenvectors(self) -> Floats:
        return self._eigh[1]

    @property
    def dimension(self) -> int:
        return len(self.correlation)

    @cached_property
    def solution(self) -> Floats:
        """u = S^-1 b."""
        return np.asarray(np.linalg.solve(self.covariance, self.correlation), dtype=np.float64)

    @property
    def signal(self) -> float:
        """u'Su, twice what the best linear prediction takes off the loss."""
        return float(self.solution @ self.correlation)

    @property
    def gradient_descent_limit(self) -> float:
        """2/lambda_max: plain gradient descent on the same problem diverges at any larger learning rate."""
        return float(2.0 / self.eigenvalues[-1])

    @property
    def condition_number(self) -> float:
        return float(self.eigenvalues[-1] / self.eigenvalues[0])

    @cached_property
    def effective_eigenvalues(self) -> Floats:
        """The d - 1 non-zero eigenvalues of S*, ascending, by compression of S to the complement of S^(1/2) u."""
        direction = self.eigenvectors.T @ self.solution * np.sqrt(self.eigenvalues)
        direction = direction / float(np.linalg.norm(direction))
        complement = np.linalg.svd(direction[None, :])[2][1:]  # rows: orthonormal, orthogonal to the direction
        compressed = complement * self.eigenvalues @ complement.T
        return np.linalg.eigvalsh((compressed + compressed.T) / 2)

    @property
    def effective_condition_number(self) -> float:
        """kappa* of S* on its range; nan in dimension 1, where the range is empty."""
        values = self.effective_eigenvalues
        return float(values[-1] / values[0]) if len(values) else float("nan")

    def scale(self, w: Floats) -> Floats:
        """s = sqrt(w'Sw + eps)."""
        return np.asarray(np.sqrt(np.einsum("...i,...i->...", w @ self.covariance, w) + self.eps))

    def error(self, w: Floats) -> Floats:
        """e = u - (w'b/w'Sw) w: what the direction of w misses, (..., d). S-orthogonal to w."""
        Sw = w @ self.covariance
        multiple = (w @ self.correlation) / np.einsum("...i,...i->...", Sw, w)
        return np.asarray(self.solution - multiple[..., None] * w)

    def excess(self, w: Floats) -> Floats:
        """||e||_S^2, twice the loss above its minimum when a is optimal (at eps = 0)."""
        e = self.error(w)
        return np.asarray(np.einsum("...i,...i->...", e @ self.covariance, e))

    def loss(self, a: ArrayLike, w: Floats) -> Floats:
        """J(a, w), also for eps > 0."""
        s = self.scale(w)
        power = self.signal if self.label_power is None else self.label_power
        A = np.asarray(a, dtype=np.float64)
        share = 1.0 - self.eps / s**2  # w'Sw/s^2
        return power / 2 - A * (w @ self.correlation) / s + A**2 * share / 2

    def gradient(self, a: ArrayLike, w: Floats) -> tuple[Floats, Floats]:
        """(dJ/da, dJ/dw), shapes (...) and (..., d), for eps >= 0.

        dJ/dw = -(a/s)(b - (w'b/s^2) S w) + a^2 (eps/s^4) S w, and therefore w'dJ/dw = (eps/s^2) a dJ/da: the
        gradient is orthogonal to w at eps = 0 and off by order eps otherwise.
        """
        A = np.asarray(a, dtype=np.float64)
        s, wb, Sw = self.scale(w), w @ self.correlation, w @ self.covariance
        share = 1.0 - self.eps / s**2
        da: Floats = A * share - wb / s
        dw: Floats = (
            -(A / s)[..., None] * (self.correlation - (wb / s**2)[..., None] * Sw)
            + (A**2 * self.eps / s**4)[..., None] * Sw
        )
        return da, dw

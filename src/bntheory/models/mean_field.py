r"""Gradient growth through random batch-normalised networks in the limit of infinite width: closed forms.

Setting (Yang et al. 2019, arXiv 1902.08129): ``h = W x`` with independent Gaussian weights, then batch
normalisation with eps = 0, gamma = 1, beta = 0, then an activation; ``B`` samples a batch. At the fixed point of
the batch covariance the *rate* is the factor by which ``E ||dL/dh||^2`` grows from one layer to the one below it.

Derivation. Let ``n = B - 1`` and let ``u`` be the direction of the centred pre-activations of one unit. At a fixed
point that all samples enter alike, ``u`` is uniform on the unit sphere of the centred subspace and independent of
the radius ``R``; ``R^2/s`` is chi-squared with ``n`` degrees of freedom, ``s = Sigma_11 - Sigma_12``. The layer's
Jacobian is ``(sqrt(B)/R)(G - u u') D`` with ``G`` the centring matrix and ``D = diag(phi'(t))``, ``t = sqrt(B) u``.
Gradients stay in the centred subspace, where permutation symmetry leaves one number, their variance, which is
multiplied by ``E[B/R^2] E||(G - u u') D G||^2/n``. With ``E[1/R^2] = 1/(s (B - 3))`` the trace collapses to

    rate = E[ (B - 1 - t_1^2) d_1^2 + (1 + t_1 t_2) d_1 d_2 ] / ((B - 3)(Sigma_11 - Sigma_12)),     d = phi'(t).

``mean_field_quadrature`` evaluates it for any activation, ``mean_field_monte_carlo`` measures it in networks.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked


@checked()
def check_batch_size(batch_size: ArrayLike, *, minimum: int = 4) -> Floats:
    """The batch sizes as floats; raises where a rate does not exist.

    ``B = 2`` has input gradient exactly zero, and at ``B = 3`` the mean of ``1/R^2`` (chi-squared, two degrees of
    freedom) is infinite, so a rate is defined from ``B = 4`` on.
    """
    sizes = np.asarray(batch_size, dtype=np.float64)
    wrong = ~(np.isfinite(sizes) & (sizes >= minimum) & (sizes == np.floor(sizes)))
    if np.any(wrong):
        raise UserError(
            f"batch_size={sizes[wrong].ravel()[0]:g}: a mean-field rate needs a whole number of at least {minimum} "
            "samples (at 3 the expected squared gradient is infinite, at 2 it is zero); use a larger batch"
        )
    return sizes


@checked()
def arc_cosine_kernel(correlation: ArrayLike) -> Floats:
    """``J(c) = 2 E[relu(a) relu(b)]`` for standard Gaussians ``a, b`` of correlation ``c`` (Cho and Saul 2009)."""
    c = _check_correlation(correlation)
    return np.asarray((np.sqrt((1 - c) * (1 + c)) + (math.pi - np.arccos(c)) * c) / math.pi)


@checked()
def arc_cosine_kernel_derivative(correlation: ArrayLike) -> Floats:
    """``J'(c) = 2 P(a > 0, b > 0)``, the derivative of :func:`arc_cosine_kernel`."""
    c = _check_correlation(correlation)
    return np.asarray((math.pi - np.arccos(c)) / math.pi)


@checked()
def fixed_point_correlation(batch_size: ArrayLike) -> Floats:
    """Correlation ``-1/(B - 1)`` of two samples of one normalised unit at the symmetric fixed point."""
    return np.asarray(-1.0 / (check_batch_size(batch_size, minimum=2) - 1.0))


@checked()
def linear_rate(batch_size: ArrayLike) -> Floats:
    """Rate ``(B - 2)/(B - 3)`` of the identity activation, elementwise in ``batch_size`` (whole numbers > 3)."""
    b = check_batch_size(batch_size)
    return np.asarray((b - 2.0) / (b - 3.0))


@checked()
def relu_rate_as_printed(batch_size: ArrayLike) -> Floats:
    """The ReLU rate in the form of the source: ``((B - 1 + J')/(1 - J) - 1)/(B - 3)`` at ``c = -1/(B - 1)``."""
    b = check_batch_size(batch_size)
    c = fixed_point_correlation(b)
    j, dj = arc_cosine_kernel(c), arc_cosine_kernel_derivative(c)
    return np.asarray(((b - 1.0 + dj) / (1.0 - j) - 1.0) / (b - 3.0))


@checked()
def leaky_relu_fixed_point(batch_size: ArrayLike, negative_slope: float = 0.0) -> tuple[Floats, Floats]:
    """Variance and covariance ``(Sigma_11, Sigma_12)`` of leaky-ReLU activations at the symmetric fixed point.

    ``phi(t) = max(t, 0) + a min(t, 0)`` is homogeneous, so the mean over the sphere is the Gaussian one at
    correlation ``c = -1/(B - 1)``: ``Sigma_12 = (1 + a^2) J/2 - a (J - c)``, using ``J(c) - J(-c) = c``.
    """
    slope = float(negative_slope)
    c = fixed_point_correlation(batch_size)
    j = arc_cosine_kernel(c)
    square = (1.0 + slope**2) / 2.0
    return np.full_like(j, square), np.asarray(square * j - slope * (j - c))


@checked()
def leaky_relu_rate(batch_size: ArrayLike, negative_slope: float = 0.0) -> Floats:
    """Rate of the leaky ReLU with any finite ``negative_slope`` (0: ReLU, 1: linear, -1: absolute value).

    From the trace formula in the module's docstring with, for slope ``a`` and ``q = (1 + a^2)/2``,
    ``E d^2 = E d^2 t^2 = q``, ``E d_1 d_2 = q J' + a (1 - J')`` and ``E d_1 t_1 d_2 t_2 = Sigma_12``.
    """
    slope = float(negative_slope)
    b = check_batch_size(batch_size)
    variance, covariance = leaky_relu_fixed_point(b, slope)
    dj = arc_cosine_kernel_derivative(fixed_point_correlation(b))
    numerator = (b - 2.0) * variance + variance * dj + slope * (1.0 - dj) + covariance
    return np.asarray(numerator / ((b - 3.0) * (variance - covariance)))


@checked()
def relu_rate(batch_size: ArrayLike) -> Floats:
    """Rate of the ReLU, ``(B - 2 + J + J')/((B - 3)(1 - J))``; algebraically the printed form, derived afresh."""
    return leaky_relu_rate(batch_size, 0.0)


def relu_limit() -> float:
    """The limit ``pi/(pi - 1)`` of the ReLU rate as the batch grows."""
    return math.pi / (math.pi - 1.0)


@checked()
def overflow_depth(rate: float, dtype: str = "float32", *, squared: bool = False) -> float:
    """Depth ``L``, not rounded, with ``rate^(L/2)`` (or ``rate^L`` for ``squared``) equal to the largest ``dtype``.

    The gradient at the top has norm one; inf where gradients do not grow. ``squared`` asks when the sum of squares
    overflows, which is what a naive norm computes. Raises ValueError for a rate that is not positive and for types
    other than float16, float32, float64.
    """
    growth = math.log(_check_rate(rate)) * (1.0 if squared else 0.5)
    return _log_limit(dtype) / growth if growth > 0 else math.inf


@checked()
def residual_growth(rate: float, offset: float, depth: ArrayLike) -> Floats:
    r"""The logarithm of the growth of ``E||dL/dy||^2`` down ``depth`` layers of a residual stream.

    With ``y <- y + tau W phi(BN(y))`` it is a power of the depth instead of an exponential. The stream is Gaussian with
    centred variance ``s_l = s_0 + l tau^2 s_phi``, ``s_phi = Sigma_11 - Sigma_12``, so the branch's Jacobian shrinks
    like ``1/s_l`` and, the cross terms having mean zero,

        E||dL/dy_l||^2 = (1 + rate/(a + l)) E||dL/dy_{l+1}||^2,      a = s_0/(tau^2 s_phi) > 0.

    Over layers ``0..L-1`` that is ``Gamma(a + L + rate) Gamma(a)/(Gamma(a + L) Gamma(a + rate))``, about
    ``L^rate``. ``rate`` is the one of the network without residual connections; ``depth`` counts from 0.
    Asymptotic in the width; holds for a loss that sees the stream centred over the batch (a final BN).
    """
    from scipy.special import gammaln

    layers = np.asarray(depth, dtype=np.float64)
    _check_rate(rate)
    if not offset > 0:
        raise UserError(f"offset={offset}: s_0/(tau^2 s_phi) must be positive; a stream of variance 0 has no BN")
    if np.any(layers < 0) or not np.all(np.isfinite(layers)):
        raise UserError("depth must be finite and not negative")
    grown = gammaln(offset + layers + rate) - gammaln(offset + layers)
    return np.asarray(grown - gammaln(offset + rate) + gammaln(offset))


def _check_correlation(correlation: ArrayLike) -> Floats:
    c = np.asarray(correlation, dtype=np.float64)
    if np.any(~(np.abs(c) <= 1)):
        raise UserError("correlation must lie in [-1, 1]; divide the covariance by the standard deviations")
    return c


def _check_rate(rate: float) -> float:
    if not rate > 0:
        raise UserError(f"rate={rate}: must be a positive number, as linear_rate or relu_rate return it")
    return rate


def _log_limit(dtype: str) -> float:
    if dtype not in ("float16", "float32", "float64"):
        raise UserError(f"dtype={dtype!r}: must be 'float16', 'float32' or 'float64'")
    return math.log(float(np.finfo(np.dtype(dtype)).max))

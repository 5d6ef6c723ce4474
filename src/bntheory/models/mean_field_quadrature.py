r"""The gradient rate of a random batch-normalised network for any activation, by quadrature over the sphere.

At the symmetric fixed point the ``B`` normalised pre-activations of a unit are ``t_i = sqrt(n) <e_i, x>`` with
``n = B - 1``, ``x`` uniform on the unit sphere of ``R^n`` and ``e_i`` the corners of a regular simplex,
``<e_i, e_j> = -1/n``. Two routes that share only the activation's values:

*Plane.* Only the projection of ``x`` on the span of ``e_1, e_2`` matters; its radius ``r`` has density
``(n - 2) r (1 - r^2)^((n - 4)/2)`` and its angle is uniform. Gauss-Legendre rules, split at every kink.

*Gegenbauer series.* With ``a_l`` the coefficients of ``phi(sqrt(n) s)`` in the orthonormal ultraspherical
polynomials and ``P_l`` the polynomials normalised at 1, Funk-Hecke and integration by parts on the sphere give

    rate = sum_l w_l l (l + n - 2)/(n - 2),     w_l proportional to a_l^2 (1 - P_l(-1/n)),  l >= 1:

a weighted mean of the Laplacian's eigenvalues, in units of ``n - 2 = B - 3``. As ``|P_l(-1/n)| < 1``, all weights
are non-negative, so the rate is at least the first term ``(n - 1)/(n - 2) = (B - 2)/(B - 3)``, and equal to it only
if ``phi`` is affine on ``[-sqrt(n), sqrt(n)]``. That proves the lower bound for every activation that has a square
integrable weak derivative and is not constant there. A jump breaks the integration by parts: autograd's derivative
of a sign function is 0 almost everywhere, and the formula with that derivative gives 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.activations import Activation
from bntheory.models.checks import checked
from bntheory.models.mean_field import check_batch_size


@dataclass(frozen=True)
class SphereAverages:
    """Averages over the sphere of centred batches, in the notation of the module's docstring."""

    variance: float  # E phi(t_1)^2
    covariance: float  # E phi(t_1) phi(t_2)
    numerator: float  # E[(n - t_1^2) d_1^2 + (1 + t_1 t_2) d_1 d_2], d the derivative almost everywhere


@dataclass(frozen=True)
class QuadratureRate:
    """A rate with two independent error estimates."""

    rate: float  # plane route
    series_rate: float  # Gegenbauer route; math.inf if the activation jumps (it has no weak derivative)
    refinement: float  # |rate - rate with half the nodes|: estimate of the error of `rate`
    variance: float  # Sigma_11 at the fixed point
    covariance: float  # Sigma_12 at the fixed point
    linear_weight: float  # w_1, the share of degree 1: 1 exactly where the activation is affine
    batch_size: int
    activation: str

    @property
    def disagreement(self) -> float:
        """Distance between the two routes."""
        return abs(self.rate - self.series_rate)


@checked()
def rate_by_quadrature(act: Activation, batch_size: int, *, nodes: int = 48, degrees: int = 300) -> QuadratureRate:
    """Gradient rate of an activation at batch size ``batch_size > 3`` (see the module's docstring).

    ``nodes`` is the number of Gauss-Legendre nodes of each piece, ``degrees`` the length of the series. Raises
    ValueError for a batch size without a rate and for an activation that is constant on ``[-sqrt(n), sqrt(n)]``.
    """
    b = int(check_batch_size(batch_size))
    fine, coarse = (sphere_averages(act, b, nodes=k) for k in (nodes, nodes // 2))
    spread = fine.variance - fine.covariance
    if not spread > 1e-14 * max(fine.variance, 1e-300):
        raise UserError(
            f"activation={act.name!r}: constant on [-{math.sqrt(b - 1):.3g}, {math.sqrt(b - 1):.3g}], so the next "
            "layer's batch has variance zero and no batch normalisation; take an activation that varies there"
        )
    rate = fine.numerator / ((b - 3) * spread)
    half = coarse.numerator / ((b - 3) * (coarse.variance - coarse.covariance))
    weights = degree_weights(act, b, degrees=degrees)
    level = np.arange(degrees + 1)
    series = float(np.sum(weights * level * (level + b - 3))) / (b - 3)
    # the tail of the diagonal part is known exactly from a one-dimensional integral
    series += _series_tail(act, b, degrees)
    return QuadratureRate(
        rate=rate,
        series_rate=math.inf if act.jumps else series,
        refinement=abs(rate - half),
        variance=fine.variance,
        covariance=fine.covariance,
        linear_weight=float(weights[1]),
        batch_size=b,
        activation=act.name,
    )


@checked()
def fixed_point_scale(act: Activation, batch_size: int, *, nodes: int = 48) -> tuple[float, float]:
    """``(Sigma_11, Sigma_12)``: the batch covariance of the activations at the symmetric fixed point."""
    averages = sphere_averages(act, int(check_batch_size(batch_size)), nodes=nodes)
    return averages.variance, averages.covariance


@checked()
def sphere_averages(act: Activation, batch_size: int, *, nodes: int = 48) -> SphereAverages:
    """The averages that a rate needs, by the plane route; ``nodes`` per piece in radius and in angle."""
    n = batch_size - 1
    root, tilt = math.sqrt(n), math.acos(-1.0 / n)
    x, w = np.polynomial.legendre.leggauss(nodes)
    x, w = (x + 1) / 2, w / 2
    # x^2 (3 - 2 x) flattens both ends: the density at r = 1 (n = 3) and kinks entering the disc are square roots
    smooth, slope = x**2 * (3 - 2 * x), 6 * x * (1 - x)
    top = min(1.0, math.sqrt(80.0 / n))
    inner = _radii_of_breaks([k / root for k in act.breaks], -1.0 / n, top)
    scale = [s for s in (2.0 / root, 5.0 / root) if s < 0.9 * top]
    edges = np.array(sorted({0.0, *inner, *scale, top}))
    radius = (edges[:-1, None] + np.diff(edges)[:, None] * smooth).ravel()
    weight = (np.diff(edges)[:, None] * slope * w).ravel()
    weight = weight * (n - 2) * radius * _power_one_minus_square(radius, (n - 4) / 2)

    # breaks in the angle: t_1 = k at +-acos(k/(sqrt(n) r)), t_2 the same, turned by the tilt
    fixed = np.broadcast_to(np.linspace(0.0, 2 * math.pi, 9), (radius.size, 9))
    cuts = [fixed]
    for k in act.breaks:
        opening = np.arccos(np.clip(k / (root * radius), -1.0, 1.0))
        cuts += [np.mod(sign * opening + shift, 2 * math.pi)[:, None] for sign in (1, -1) for shift in (0.0, tilt)]
    cut = np.sort(np.concatenate(cuts, axis=1), axis=1)
    angle = cut[:, :-1, None] + np.diff(cut, axis=1)[:, :, None] * x
    measure = weight[:, None, None] * np.diff(cut, axis=1)[:, :, None] * w / (2 * math.pi)
    measure = measure / np.sum(measure)  # removes the truncation of the radius, at most exp(-40)
    t1 = root * radius[:, None, None] * np.cos(angle)
    t2 = root * radius[:, None, None] * np.cos(angle - tilt)
    f1, f2, d1, d2 = act.value(t1), act.value(t2), act.derivative(t1), act.derivative(t2)
    # centring first keeps Sigma_11 - Sigma_12 accurate for activations with a large mean
    mean = float(np.sum(measure * f1))
    variance = float(np.sum(measure * (f1 - mean) ** 2))
    covariance = float(np.sum(measure * (f1 - mean) * (f2 - mean)))
    numerator = float(np.sum(measure * ((n - t1**2) * d1**2 + (1 + t1 * t2) * d1 * d2)))
    return SphereAverages(variance + mean**2, covariance + mean**2, numerator)


@checked()
def degree_weights(act: Activation, batch_size: int, *, degrees: int = 300) -> Floats:
    """Weights ``w_l`` of the degrees ``l = 0..degrees`` (``w_0 = 0``), relative to ``Sigma_11 - Sigma_12``.

    They sum to one up to the tail beyond ``degrees``.
    """
    n = batch_size - 1
    energy, off = _series_energies(act, n, degrees)
    total = _diagonal_variance(act, n, degrees) - float(np.sum(energy * off))
    weights = energy * (1 - off) / total
    weights[0] = 0.0
    return np.asarray(weights)


def _series_tail(act: Activation, batch_size: int, degrees: int) -> float:
    """What the degrees beyond the series add to the rate, their ``P_l(-1/n)`` taken as zero."""
    n = batch_size - 1
    energy, off = _series_energies(act, n, degrees)
    level = np.arange(degrees + 1)
    s, weight = _line_rule(act, n, degrees)
    dirichlet = float(np.sum(weight * n * (1 - s**2) * act.derivative(math.sqrt(n) * s) ** 2))
    spread = _diagonal_variance(act, n, degrees) - float(np.sum(energy * off))
    return (dirichlet - float(np.sum(energy * level * (level + n - 2)))) / (spread * (n - 2))


def _series_energies(act: Activation, n: int, degrees: int) -> tuple[Floats, Floats]:
    """``a_l^2`` (``a_0`` replaced by 0: a constant does not matter) and ``P_l(-1/n)``."""
    s, weight = _line_rule(act, n, degrees)
    values = act.value(math.sqrt(n) * s)
    values = values - float(np.sum(weight * values))
    half = (n - 2) / 2
    # sqrt(weight) rides along, so that no polynomial overflows where the measure is negligible
    previous, current = np.zeros_like(s), np.sqrt(weight)
    scaled = values * np.sqrt(weight)
    coefficients = np.zeros(degrees + 1)
    beta = 0.0
    for level in range(1, degrees + 1):
        following = math.sqrt(level * (level + 2 * half - 1) / (4 * (level + half) * (level + half - 1)))
        previous, current = current, (s * current - beta * previous) / following
        beta = following
        coefficients[level] = float(np.sum(scaled * current))
    off = np.ones(degrees + 1)
    if degrees >= 1:
        off[1] = -1.0 / n
    for level in range(1, degrees):
        off[level + 1] = ((2 * level + n - 2) * (-1.0 / n) * off[level] - level * off[level - 1]) / (level + n - 2)
    return coefficients**2, off


def _diagonal_variance(act: Activation, n: int, degrees: int) -> float:
    s, weight = _line_rule(act, n, degrees)
    values = act.value(math.sqrt(n) * s)
    return float(np.sum(weight * (values - float(np.sum(weight * values))) ** 2))


def _line_rule(act: Activation, n: int, degrees: int) -> tuple[Floats, Floats]:
    """Nodes in (-1, 1) and weights for the law of one coordinate of the sphere, split at the breaks."""
    x, w = np.polynomial.legendre.leggauss(degrees + 40)
    root = math.sqrt(n)
    reach = 12.0 / root
    near = [math.pi / 2 + side * reach for side in (-1, 1) if reach < 1.5]
    breaks = [math.acos(-k / root) for k in act.breaks if abs(k) < root]
    edges = np.array(sorted({0.0, *near, *breaks, math.pi}))
    mid, half = (edges[:-1] + edges[1:]) / 2, np.diff(edges) / 2
    psi = (mid[:, None] + half[:, None] * x).ravel()
    with np.errstate(under="ignore"):
        weight = (half[:, None] * w).ravel() * np.exp((n - 2) * np.log(np.sin(psi)))
    return -np.cos(psi), weight / np.sum(weight)


def _radii_of_breaks(cuts: list[float], cosine: float, top: float) -> list[float]:
    """Radii at which a line ``<e_i, x> = k`` enters the disc, or crosses a line of the other corner."""
    squares = [a * a for a in cuts]
    squares += [(a * a + b * b - 2 * a * b * cosine) / (1 - cosine**2) for a in cuts for b in cuts]
    return [r for r in (math.sqrt(q) for q in squares) if 1e-12 < r < top]


def _power_one_minus_square(radius: Floats, power: float) -> Floats:
    with np.errstate(under="ignore", divide="ignore"):
        return np.asarray(np.exp(power * (np.log1p(-radius) + np.log1p(radius))))

"""Gradient growth measured in real random batch-normalised networks: forward and backward passes in arrays.

The network has two hidden layers of the given width: ``A1 = phi(BN(W1 X))``, ``A2 = phi(BN(W2 A1))``, loss
``<V, A2>`` with Gaussian ``V``. The input has exactly the batch covariance of the mean-field fixed point, so the
first layer sits at it and ``||dL/dh_1||^2 / ||dL/dh_2||^2`` estimates the rate.

Plain ratios have infinite variance for ``B <= 5``: ``1/R^2`` of a unit's centred radius has tail index
``(B - 1)/2``. The *conditional* estimate replaces ``1/R_i^2`` by its exact mean given everything else: BN hides the
radius from the rest of the network, and given the direction ``u``, ``R^2 u' S^+ u`` is chi-squared with ``n = B - 1``
degrees of freedom (``S`` the batch covariance of the layer's input), so ``E[1/R^2 | u] = u' S^+ u/(n - 2)``, at any
width. Its variance is finite for every ``B > 3``.

The weights that carry the gradient down are the ones that carried the activations up. Conditioned on the activations,
a row of ``W2`` loses its variance along them, ``-q/width`` in the squared gradient, and gets ``(n - 2)/n q/width``
back through its mean, with ``q = n`` on average for the identity: the ratio is low by ``2/width``, which is well
above the standard error of a long run. :func:`monte_carlo_limit` removes it with a second, smaller width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.evidence.study import APART
from bntheory.models.activations import Activation
from bntheory.models.checks import at_least, checked
from bntheory.models.mean_field import check_batch_size
from bntheory.models.mean_field_quadrature import fixed_point_scale


@dataclass(frozen=True)
class _Measured:
    rate: float
    standard_error: float

    def deviation(self, expected: float) -> float:
        """Distance from an expected rate in standard errors, with its sign."""
        return (self.rate - expected) / self.standard_error


@dataclass(frozen=True)
class MonteCarloRate(_Measured):
    """A measured rate with standard errors over independent networks. rate: the conditional estimate, of finite
    variance at every B > 3."""

    plain_rate: float  # mean of the plain ratios
    plain_standard_error: float  # meaningless where plain_has_variance is False
    plain_has_variance: bool  # B >= 6
    networks: int
    width: int
    batch_size: int


@checked()
def monte_carlo_rate(
    act: Activation, batch_size: int, *, width: int = 1024, networks: int = 64, seed: int = 0
) -> MonteCarloRate:
    """Measure the gradient rate of one layer at the fixed point in ``networks`` random networks.

    Each network costs two products of a (width, width) matrix with a (width, B) one and the drawing of the former.
    Raises ValueError for ``batch_size <= 3``, ``width < 2`` or fewer than 2 networks.
    """
    b = int(check_batch_size(batch_size))
    at_least(2, width=width, networks=networks)
    variance, covariance = fixed_point_scale(act, b)
    spread = variance - covariance
    n = b - 1
    inputs = math.sqrt(n * spread) * _simplex(b)
    plain, conditional = np.empty(networks), np.empty(networks)
    for index in range(networks):
        rng = np.random.default_rng([seed, index])
        h1 = rng.standard_normal((width, n)) @ inputs / math.sqrt(n)
        u1, radius1 = _direction(h1)
        w2 = rng.standard_normal((width, width)) / math.sqrt(width)
        u2, radius2 = _direction(w2 @ act.value(math.sqrt(b) * u1))
        top = act.derivative(math.sqrt(b) * u2) * rng.standard_normal((width, b))
        g2 = _through_batch_norm(u2, top) * (math.sqrt(b) / radius2)
        down = _through_batch_norm(u1, act.derivative(math.sqrt(b) * u1) * (w2.T @ g2))
        squares, above = np.sum(down**2, axis=1), float(np.sum(g2**2))
        if above == 0:
            raise UserError(f"activation={act.name!r}: its derivative lets no gradient through, so there is no ratio")
        plain[index] = b * float(np.sum(squares / radius1[:, 0] ** 2)) / above
        # S is spread * G here, so u' S^+ u = 1/spread for every unit
        conditional[index] = b * float(np.sum(squares)) / (spread * (n - 2)) / above
    root = math.sqrt(networks)
    return MonteCarloRate(
        rate=float(conditional.mean()),
        standard_error=float(conditional.std(ddof=1)) / root,
        plain_rate=float(plain.mean()),
        plain_standard_error=float(plain.std(ddof=1)) / root,
        plain_has_variance=b >= 6,
        networks=networks,
        width=width,
        batch_size=b,
    )


@dataclass(frozen=True)
class MonteCarloLimit(_Measured):
    """A rate with the bias of order 1/width removed: twice the one at ``width`` minus the one at half of it."""

    fine: MonteCarloRate  # at the full width
    coarse: MonteCarloRate  # at half the width


@checked()
def monte_carlo_limit(
    act: Activation, batch_size: int, *, width: int = 1024, networks: int = 64, seed: int = 0
) -> MonteCarloLimit:
    """Rate extrapolated to infinite width from ``networks`` networks at ``width`` and twice as many at half of it.

    The networks are independent, so the standard errors add in quadrature. Raises ValueError as
    :func:`monte_carlo_rate` does.
    """
    fine = monte_carlo_rate(act, batch_size, width=width, networks=networks, seed=seed)
    coarse = monte_carlo_rate(act, batch_size, width=width // 2, networks=2 * networks, seed=seed + APART)
    error = math.hypot(2 * fine.standard_error, coarse.standard_error)
    return MonteCarloLimit(2 * fine.rate - coarse.rate, error, fine, coarse)


@dataclass(frozen=True)
class DepthProfile:
    """``||dL/dh||^2`` layer by layer, from the bottom (index 0) to the top."""

    log_gradient: Floats  # (networks, depth): natural logarithm, relative to the top layer


@checked()
def depth_profile(
    act: Activation, batch_size: int, *, depth: int = 32, width: int = 256, networks: int = 4, seed: int = 0
) -> DepthProfile:
    """Propagate a random gradient down ``depth`` plain layers of networks whose input sits at the fixed point."""
    b, variance, covariance = _prepare(act, batch_size, depth, width, networks)
    logs = np.empty((networks, depth))
    for index in range(networks):
        rng = np.random.default_rng([seed, index])
        h = rng.standard_normal((width, b - 1)) @ _simplex(b) * math.sqrt(variance - covariance)
        layers = _upwards(act, h, depth, rng, stream=False)
        gradient, log_scale = rng.standard_normal((width, b)), 0.0
        for level, (u, radius, weights) in reversed(list(enumerate(layers))):
            if level < depth - 1:
                gradient = weights.T @ gradient
            gradient = _through_batch_norm(u, act.derivative(math.sqrt(b) * u) * gradient) * (math.sqrt(b) / radius)
            size = float(np.linalg.norm(gradient))
            gradient, log_scale = gradient / size, log_scale + 2 * math.log(size)
            logs[index, level] = log_scale
    return DepthProfile(logs - logs[:, -1:])


@checked()
def residual_profile(
    act: Activation,
    batch_size: int,
    *,
    offset: float = 1.0,
    depth: int = 32,
    width: int = 256,
    networks: int = 4,
    seed: int = 0,
) -> DepthProfile:
    """The same down a residual stream ``y <- y + W phi(BN(y))``, ``offset`` as in ``residual_growth``.

    The stream starts Gaussian with centred variance ``offset`` times that of a branch; the gradient at the top is
    Gaussian and centred over the batch. Index ``l`` is ``dL/dy_l``; the last index is the gradient at the top.
    """
    b, variance, covariance = _prepare(act, batch_size, depth, width, networks)
    if not offset > 0:
        raise UserError(f"offset={offset}: must be positive; a stream of variance 0 has no batch normalisation")
    logs = np.empty((networks, depth + 1))
    for index in range(networks):
        rng = np.random.default_rng([seed, index])
        y = rng.standard_normal((width, b - 1)) @ _simplex(b) * math.sqrt(offset * (variance - covariance))
        layers = _upwards(act, y, depth, rng, stream=True)
        gradient = rng.standard_normal((width, b))
        gradient -= gradient.mean(axis=1, keepdims=True)
        logs[index, depth] = math.log(float(np.sum(gradient**2)))
        for level, (u, radius, weights) in reversed(list(enumerate(layers))):
            branch = act.derivative(math.sqrt(b) * u) * (weights.T @ gradient)
            gradient = gradient + _through_batch_norm(u, branch) * (math.sqrt(b) / radius)
            logs[index, level] = math.log(float(np.sum(gradient**2)))
    return DepthProfile(logs - logs[:, -1:])


def _upwards(
    act: Activation, h: Floats, depth: int, rng: np.random.Generator, *, stream: bool
) -> list[tuple[Floats, Floats, Floats]]:
    """The directions, radii and weights of every layer on the way up from h, (width, B).

    stream: what a layer gives is added to its input.
    """
    width, b = h.shape
    layers = []
    for _ in range(depth):
        u, radius = _direction(h)
        weights = rng.standard_normal((width, width)) / math.sqrt(width)
        given = weights @ act.value(math.sqrt(b) * u)
        h = h + given if stream else given
        layers.append((u, radius, weights))
    return layers


def _prepare(act: Activation, batch_size: int, depth: int, width: int, networks: int) -> tuple[int, float, float]:
    b = int(check_batch_size(batch_size))
    at_least(2, depth=depth, width=width)
    at_least(1, networks=networks)
    return (b, *fixed_point_scale(act, b))


def _simplex(batch_size: int) -> Floats:
    """An orthonormal basis of the centred subspace, shape (B - 1, B): rows centred, ``E' E`` the centring matrix."""
    rows = np.eye(batch_size) - 1.0 / batch_size
    return np.asarray(np.linalg.svd(rows)[2][: batch_size - 1])


def _direction(h: Floats) -> tuple[Floats, Floats]:
    """Unit directions (units, B) and radii (units, 1) of the centred rows: BN with eps = 0 is ``sqrt(B)`` times u."""
    centred = h - h.mean(axis=1, keepdims=True)
    radius = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / radius, radius


def _through_batch_norm(u: Floats, gradient: Floats) -> Floats:
    """``(G - u u') g`` for every row: BN's backward pass without its factor ``sqrt(B)/R``."""
    centred = gradient - gradient.mean(axis=1, keepdims=True)
    return np.asarray(centred - u * np.sum(u * centred, axis=1, keepdims=True))

"""The spectral density by stochastic Lanczos quadrature, with full reorthogonalisation and its sampling error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from bntheory.arrays import standard_error
from bntheory.bridge.arguments import checked
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.low_rank_model import LowRankModel
from bntheory.bridge.curvature.memory import require_room
from bntheory.bridge.curvature.rescaled import rescaled
from bntheory.bridge.curvature.spectrum import Spectrum
from bntheory.errors import UserError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class SpectralDensity:
    """Quadrature nodes and weights of a spectral density, one row for each random probe.

    nodes, weights: (probes, steps); each row of weights sums to the share of the spectrum that was sampled.
    known: (k,) eigenvalues that enter exactly, each with the mass 1/size.
    size: the number of eigenvalues.
    """

    nodes: Array
    weights: Array
    known: Array
    size: int
    products: int
    seed: int
    symmetry_defect: float

    def integral(self, function: Any) -> tuple[float, float]:
        """The mean of ``function`` over the eigenvalues, and its standard error over the probes."""
        exact = float(np.sum(function(self.known))) / self.size if len(self.known) else 0.0
        rows = np.sum(self.weights * function(self.nodes), axis=1)
        return exact + float(rows.mean()), standard_error(rows)

    def trace(self) -> tuple[float, float]:
        """The sum of the eigenvalues and its standard error."""
        mean, error = self.integral(lambda t: t)
        return self.size * mean, self.size * error

    def on(self, grid: Any, width: float | None = None) -> tuple[Array, Array]:
        """The density on ``grid``, each node widened to a Gaussian, and its standard error; both as long as grid.

        ``width`` is the Gaussian's standard deviation, one hundredth of the grid's extent by default.
        """
        t = np.asarray(grid, dtype=float)
        if t.ndim != 1 or len(t) < 2 or not np.all(np.diff(t) > 0):
            raise UserError("grid has to be a one-dimensional ascending array of at least two points")
        sigma = width if width is not None else float(t[-1] - t[0]) / 100
        if not sigma > 0:
            raise UserError(f"width is {width}; the standard deviation of a Gaussian is positive")

        def kernel(nodes: Array) -> Array:
            bells = np.exp(-0.5 * ((t - nodes[..., None]) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
            return np.asarray(bells)

        rows = np.einsum("ps,pst->pt", self.weights, kernel(self.nodes))
        exact = kernel(self.known).sum(axis=0) / self.size if len(self.known) else np.zeros_like(t)
        # plain: in a Gaussian's tails the squares of what is nothing may be zero
        errors = np.array([float(np.std(column, ddof=1) / np.sqrt(len(column))) for column in rows.T])
        return exact + rows.mean(axis=0), errors

    def cumulative(self, at: Any) -> tuple[Array, Array]:
        """The share of eigenvalues that are at most ``at`` (any array), with its standard error."""
        points = np.atleast_1d(np.asarray(at, dtype=float))
        found = [self.integral(lambda nodes, x=x: (nodes <= x).astype(float)) for x in points]
        return np.array([f[0] for f in found]), np.array([f[1] for f in found])


@checked
def spectral_density(
    op: SymmetricOperator, *, steps: int = 60, probes: int = 6, deflate: Spectrum | None = None, seed: int = 0
) -> SpectralDensity:
    """Stochastic Lanczos quadrature (Golub and Welsch; Ghorbani, Krishnan and Xiao, 2019): ``probes * steps`` products.

    ``steps`` sets the resolution (a rule of ``steps`` nodes is exact for polynomials of degree 2 steps - 1), ``probes``
    the sampling error. Eigenpairs in ``deflate`` enter exactly and are removed from the probes, so that a few outliers
    do not swamp the bulk's error.

    Raises ValueError for counts that cannot be, and for an operator that is not symmetric.
    """
    if probes < 2:
        raise UserError(f"probes is {probes}; an error estimate needs at least 2")
    if steps < 2:
        raise UserError(f"steps is {steps}; a quadrature rule needs at least 2 nodes")
    if deflate is not None and deflate.vectors.shape[0] != op.size:
        raise UserError(f"deflate has vectors of length {deflate.vectors.shape[0]}, the operator acts on {op.size}")
    removed = 0 if deflate is None else deflate.vectors.shape[1]
    asked, steps = steps, min(steps, op.size - removed)
    if steps < 1:
        raise UserError("deflate holds every eigenvalue of the operator; there is nothing left to sample")
    require_room(steps, op.size, op.dtype, op.device, "lower steps")
    generator = torch.Generator().manual_seed(seed)
    before, defect = op.products, 0.0
    nodes, weights = np.empty((probes, steps)), np.empty((probes, steps))
    for row in range(probes):
        start = op.random_vector(generator)
        if deflate is not None:
            start = start - deflate.vectors @ (deflate.vectors.T @ start)
        basis = LowRankModel(op, start, generator)
        for _ in range(steps):
            basis.expand()
            other = rescaled(op, basis.scale)
            if other is not None:
                found = spectral_density(other, steps=asked, probes=probes, deflate=deflate, seed=seed)
                nodes = np.ldexp(found.nodes, other.exponent)
                return replace(found, nodes=nodes, products=op.products - before)
        values, coordinates, _ = basis.ritz()
        nodes[row] = values
        weights[row] = coordinates[0] ** 2 * (1 - removed / op.size)
        defect = max(defect, basis.defect)
    op.require_symmetry(defect)
    known = np.zeros(0) if deflate is None else deflate.values
    return SpectralDensity(nodes, weights, known, op.size, op.products - before, seed, defect)

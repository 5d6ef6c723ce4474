"""Extreme eigenvalues of the Hessian at a point, by products only, with residuals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.smoothness.measure import Cost
from bntheory.smoothness.protocol import Counted, Landscape, Vector, as_point

DENSE_BELOW = 48  # up to here n products and LAPACK are cheaper than a Lanczos run


@dataclass(frozen=True)
class Eigenpair:
    """value; vector (n,), of length one; residual ||Hv - value v||, which bounds the distance to an eigenvalue."""

    value: float
    vector: Vector
    residual: float
    cost: Cost


def dense_hessian(landscape: Landscape, x: ArrayLike) -> Floats:
    """The Hessian at x as a matrix (n, n), symmetrised; n products."""
    point = as_point(x, landscape.dimension)
    rows = np.stack([landscape.hvp(point, e) for e in np.eye(landscape.dimension)])
    return (rows + rows.T) / 2


def extreme_eigenpairs(
    landscape: Landscape,
    x: ArrayLike,
    *,
    which: str = "norm",
    count: int = 1,
    tolerance: float = 1e-8,
    seed: int = 0,
    max_products: int = 2000,
) -> tuple[Eigenpair, ...]:
    """The ``count`` extreme eigenpairs at x: ``which`` is "norm" (largest |value|), "top" or "bottom"; most extreme
    first.

    Dense for fewer than 48 parameters, otherwise implicitly restarted Lanczos with a seeded start. ``tolerance`` is
    relative to the eigenvalue. Raises RuntimeError where Lanczos did not converge within ``max_products``.
    """
    codes = {"norm": "LM", "top": "LA", "bottom": "SA"}
    if which not in codes:
        raise ValueError(f"which is {which!r}; it is one of {', '.join(map(repr, codes))}")
    n = landscape.dimension
    point = as_point(x, n)
    if not 1 <= count <= n:
        raise ValueError(f"count is {count}; the landscape has {n} eigenvalues")
    counted = Counted(landscape)
    if n < DENSE_BELOW or count >= n - 1:
        values, vectors = np.linalg.eigh(dense_hessian(counted, point))
        residual = 8 * np.finfo(float).eps * float(np.max(np.abs(values))) * n
        residuals = np.full(n, residual)
    else:
        from scipy.sparse.linalg import ArpackNoConvergence

        ends: dict[str, Any] = {"code": codes[which], "count": count, "tolerance": tolerance, "seed": seed}
        try:
            values, vectors = lanczos(lambda v: counted.hvp(point, v), n, **ends, max_products=max_products)
        except ArpackNoConvergence as stop:
            raise RuntimeError(
                f"Lanczos did not reach relative tolerance {tolerance} in {counted.products} products; allow more with "
                "max_products, or loosen the tolerance"
            ) from stop
        images = np.stack([counted.hvp(point, v) for v in vectors.T], axis=1)
        residuals = np.linalg.norm(images - values * vectors, axis=0)
    keys = {"norm": -np.abs(values), "top": -values, "bottom": values}[which]
    order = np.argsort(keys, kind="stable")[:count]
    return tuple(Eigenpair(float(values[i]), vectors[:, i], float(residuals[i]), counted.cost) for i in order)


def lanczos(
    product: Callable[[Vector], Vector],
    size: int,
    *,
    code: str = "LA",
    count: int = 1,
    tolerance: float,
    seed: int,
    max_products: int = 2000,
) -> tuple[Floats, Floats]:
    """(values, vectors (size, count)) of a symmetric operator at an end of its spectrum that has ARPACK's code.

    Raises ValueError for a product that is not finite, and ARPACK's own error where it did not converge within
    ``max_products``.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    first = np.random.default_rng(seed).standard_normal(size)
    image = product(first)
    if not np.isfinite(image).all():
        raise ValueError("the landscape returned a non-finite Hessian product; move the point to where it is smooth")
    if float(np.linalg.norm(image)) == 0.0:
        # Lanczos cannot start in the kernel; a random vector is there only if H = 0
        second = product(np.random.default_rng(seed + 1).standard_normal(size))
        if float(np.linalg.norm(second)) == 0.0:
            return np.zeros(size), np.eye(size, count)
    ncv = min(size - 1, max(2 * count + 1, 20))
    operator = LinearOperator((size, size), matvec=lambda v: product(np.ravel(v)), dtype=np.float64)
    values, vectors = eigsh(
        operator, k=count, which=code, v0=first, tol=tolerance, ncv=ncv, maxiter=max(1, max_products // ncv)
    )
    return np.asarray(values), np.asarray(vectors)


def hessian_norm_pair(landscape: Landscape, x: ArrayLike, *, seed: int = 0, tolerance: float = 1e-6) -> Eigenpair:
    """The eigenpair of largest |value|: |value| is the local spectral norm of the Hessian."""
    return extreme_eigenpairs(landscape, x, which="norm", seed=seed, tolerance=tolerance)[0]

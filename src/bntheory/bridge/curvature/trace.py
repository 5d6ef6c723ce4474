"""The trace from products: Hutchinson's estimator, Hutch++, and deflation by eigenpairs that are known already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bntheory.arrays import standard_error
from bntheory.bridge.arguments import checked
from bntheory.bridge.curvature.accumulation import dot, norm
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.spectrum import Spectrum
from bntheory.bridge.ranges import in_range
from bntheory.errors import UserError

_FEWEST = 4  # samples below which a standard error says nothing


@dataclass(frozen=True)
class TraceEstimate:
    """An estimate of the trace. ``error`` is its standard error: of the random part, the rest is exact.

    ``exact_part`` is the trace on the subspace that was handled exactly (Hutch++, deflation), 0 without one.
    """

    value: float
    error: float
    exact_part: float
    samples: int
    products: int
    method: str
    seed: int
    symmetry_defect: float


@checked
def trace(
    op: SymmetricOperator,
    samples: int = 30,
    *,
    method: Literal["hutchinson", "hutch++"] = "hutchinson",
    tol: float | None = None,
    deflate: Spectrum | None = None,
    seed: int = 0,
) -> TraceEstimate:
    """Estimate the trace with ``samples`` products.

    ``"hutchinson"``: the mean of z'Az over random signs z (Hutchinson, 1990). ``"hutch++"``: a third of the products
    finds a subspace with much of A in it, a third takes the trace there, a third samples its complement (Meyer, Musco,
    Musco and Woodruff, 2021): better where few eigenvalues dominate. ``deflate``: eigenpairs from
    :func:`top_eigenvalues` take that role at no product at all.

    Stops early once the standard error is below ``tol`` times the estimate (Hutchinson only).
    Raises ValueError for too few samples, or an operator that is not symmetric.
    """
    least = 3 * _FEWEST if method == "hutch++" else _FEWEST
    if samples < least:
        raise UserError(f"samples is {samples}; a standard error for {method} needs at least {least}")
    if tol is not None and not tol > 0:
        raise UserError(f"tol is {tol}; a relative accuracy is positive")
    generator = torch.Generator().manual_seed(seed)
    before = op.products
    basis: Tensor | None = None
    # growth: the largest of a vector's length, a lower estimate of the operator's norm
    exact, growth = 0.0, 0.0
    if deflate is not None:
        if deflate.vectors.shape[0] != op.size:
            raise UserError(f"deflate has vectors of length {deflate.vectors.shape[0]}, the operator acts on {op.size}")
        basis = deflate.vectors
        exact = float(deflate.values.sum())
        growth = float(np.abs(deflate.values).max())
    if method == "hutch++":
        part = min(samples // 3, op.size)
        sketch = torch.stack([_outside(_signs(op, generator), basis) for _ in range(part)], dim=1)
        images = torch.stack([op.apply(sketch[:, i]) for i in range(part)], dim=1)
        growth = max(growth, *(norm(image) / norm(z) for image, z in zip(images.T, sketch.T, strict=True)))
        fresh = _orthonormal_outside(in_range(images)[0], basis)
        kept = fresh.shape[1]
        exact += sum(dot(fresh[:, i], op.apply(fresh[:, i])) for i in range(kept))
        basis = fresh if basis is None else torch.linalg.qr(torch.cat([basis, fresh], dim=1))[0]
        samples -= part + kept
    values: list[float] = []
    previous: tuple[Tensor, Tensor] | None = None
    defect = 0.0
    if basis is None or basis.shape[1] < op.size:
        for _ in range(samples):
            z = _outside(_signs(op, generator), basis)
            image = op.apply(z)
            values.append(dot(z, image))
            growth = max(growth, norm(image) / norm(z))
            if previous is not None:
                defect = max(defect, _defect(previous, (z, image), growth, op.size))
            previous = (z, image)
            if tol is not None and len(values) >= 2 * _FEWEST:
                mean, error = _mean(values)
                if error <= tol * abs(exact + mean):
                    break
    mean, error = _mean(values) if values else (0.0, 0.0)
    op.require_symmetry(defect)
    name = method + (" with deflation" if deflate is not None else "")
    return TraceEstimate(exact + mean, error, exact, len(values), op.products - before, name, seed, defect)


def _signs(op: SymmetricOperator, generator: torch.Generator) -> Tensor:
    return op.random_vector(generator, signs=True)


def _outside(vectors: Tensor, basis: Tensor | None) -> Tensor:
    """The part of the vectors orthogonal to the orthonormal columns of ``basis``."""
    if basis is None:
        return vectors
    rest: Tensor = vectors - basis @ (basis.T @ vectors)
    return rest


def _orthonormal_outside(vectors: Tensor, basis: Tensor | None) -> Tensor:
    """Orthonormal vectors for the part of these that is orthogonal to ``basis``, and themselves orthogonal to it.

    Where little is left of them, some are rounding and may point anywhere, also to where the trace is known already: what of those lies
    outside is taken, and those that lie within are left out.
    """
    q: Tensor = torch.linalg.qr(_outside(vectors, basis))[0]
    if basis is None:
        return q
    rest = _outside(q, basis)
    lengths, turned = torch.linalg.eigh(
        rest.T @ rest
    )  # squared ones; not a second QR, which turns later vectors by those left out
    kept = lengths > 0.01
    found: Tensor = rest @ (turned[:, kept] / lengths[kept].sqrt())
    return found


def _mean(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), standard_error(values)


def _defect(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], growth: float, size: int) -> float:
    """|u'Av - v'Au| for two samples, against the length of a typical inner product, since u and Av are nearly orthogonal."""
    (u, au), (v, av) = first, second
    scale = 2 * growth * norm(u) * norm(v)
    return abs(dot(u, av) - dot(v, au)) / scale * size**0.5 if scale > 0 else 0.0

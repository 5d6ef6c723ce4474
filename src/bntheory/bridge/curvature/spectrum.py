"""Top and bottom eigenvalues of an operator, with residuals; and the gradient's share in the space they span."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bntheory.bridge.curvature.lanczos import LanczosBasis
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.memory import require_room
from bntheory.bridge.curvature.selection import as_vector
from bntheory.errors import UserError

Which = Literal["LA", "SA", "LM"]

# Steps that have to follow when the Krylov space closed early, before copies of an eigenvalue count as excluded.
_AFTER_BREAKDOWN = 10
# The error estimate has to be half of tol. From a random start it also has to be 1e-4 of the value: a Ritz value that
# rests inside a cluster of eigenvalues looks converged early. Over 192 measurements on trained networks the plain rule
# missed tol = 1e-3 in 7 % of them, this one never.
_MARGIN, _COARSEST_RANDOM_START = 2.0, 1e-4
# Runners-up join a warm start, the more the closer they were: one of them may have overtaken since.
_RUNNERS_UP, _RUNNER_UP_PART, _RUNNER_UP_RANGE = 3, 0.1, 0.25
# Part of a start that is random: without it a direction absent from the given vectors would stay absent. A spectrum
# brings its runners-up along, a bare vector may be an eigenvector of any eigenvalue.
_RANDOM_PART_SPECTRUM, _RANDOM_PART_VECTOR = 1e-3, 1.0


@dataclass(frozen=True)
class Spectrum:
    """The k eigenvalues at one end of a spectrum.

    values: (k,), LA descending, SA ascending, LM by descending magnitude.
    vectors: (size, k), unit columns on the operator's device.
    residuals: (k,) norms of A v - value v: an eigenvalue lies within each of them, certainly.
    errors: (k,) estimated absolute errors of the values, min(residual, residual^2/gap), the gap estimated; rounding
        of the products (about symmetry_defect times the norm) comes on top.
    converged: whether every error is at most tol times its value or the rounding of the products: more of them
        would gain nothing.
    symmetry_defect: relative asymmetry met on the way; an operator beyond rounding is refused.
    next_value: the (k+1)-th Ritz value, a lower estimate of the next eigenvalue.
    continuation: (size,) the start vector for a measurement nearby; see ``start`` of :func:`top_eigenvalues`.
    """

    values: np.ndarray[Any, Any]
    vectors: Tensor
    residuals: np.ndarray[Any, Any]
    errors: np.ndarray[Any, Any]
    converged: bool
    products: int
    which: Which
    tol: float
    seed: int
    symmetry_defect: float
    next_value: float
    continuation: Tensor

    @property
    def top(self) -> float:
        """The first value."""
        return float(self.values[0])


def top_eigenvalues(
    op: SymmetricOperator,
    k: int = 1,
    which: Which = "LA",
    *,
    tol: float = 1e-6,
    seed: int = 0,
    start: Spectrum | Tensor | np.ndarray[Any, Any] | None = None,
    max_products: int | None = None,
    max_basis: int | None = None,
    callback: Callable[[int, np.ndarray[Any, Any]], None] | None = None,
) -> Spectrum:
    """The k largest (``"LA"``), smallest (``"SA"``) or largest-in-magnitude (``"LM"``) eigenvalues of ``op``.

    Args:
        tol: relative accuracy of the eigenvalues. Their vectors are accurate to about its square root.
        start: a spectrum measured nearby (an earlier checkpoint of the same network): a warm start, which saves the
            more the less has changed. An eigenvalue that was not among the k + 3 first there may be missed, so
            measure cold now and then. Or a vector, to which as much of a random one is added.
        max_products: give up after so many; the result then says ``converged=False``.
        max_basis: vectors kept at most; memory is ``max_basis * size`` entries.
        callback: called after each product with the number of products and the current wanted Ritz values.

    An eigenvalue of multiplicity larger than one may be returned once only, as by every Lanczos method.
    Raises ValueError for a k or tol that cannot be, and for an operator that is not symmetric.
    """
    if not 1 <= k <= op.size:
        raise UserError(
            f"k is {k}; the operator has {op.size} eigenvalues, so k lies between 1 and {op.size}"
        )
    if which not in ("LA", "SA", "LM"):
        raise UserError(f"which is {which!r}; it must be 'LA', 'SA' or 'LM'")
    if not tol > 0:
        raise UserError(f"tol is {tol}; a relative accuracy is positive")
    limit = max_products if max_products is not None else 300 + 40 * k
    width = min(op.size, max(max_basis if max_basis is not None else 60, 2 * k + 8))
    require_room(width, op.size, op.dtype, op.device, f"lower max_basis (at least {2 * k + 8})")
    generator = torch.Generator().manual_seed(seed)
    before = op.products
    basis = LanczosBasis(op, _start_vector(op, start, generator), generator)
    known_next = start.next_value if isinstance(start, Spectrum) and start.which == which else None
    goal = tol / _MARGIN
    if known_next is None:
        goal = min(goal, _COARSEST_RANDOM_START)
    # a first random vector alone knows no gap; a warm start brings the gap along
    least = min(op.size, k if known_next is not None else k + 1)
    while True:
        basis.expand()
        early = known_next is None and basis.order <= least and not basis.complete
        if early and callback is None and op.products - before < limit:
            continue  # nothing from a random start can be settled yet: spare the small eigenproblem
        values, coordinates, residuals = basis.ritz()
        chosen = _order(values, which)[:k]
        if callback is not None:
            callback(op.products - before, values[chosen])
        errors = _errors(values, residuals, chosen, which, known_next)
        # what the products themselves are not sure of: their rounding, and their disagreement with symmetry
        floor = max(8 * float(torch.finfo(op.dtype).eps), basis.defect) * basis.scale
        settled = basis.breakdowns == 0 or basis.steps_since_breakdown >= _AFTER_BREAKDOWN
        accurate = len(chosen) == k and bool(
            np.all(errors <= np.maximum(goal * np.abs(values[chosen]), floor))
        )
        converged = basis.complete or (accurate and settled and basis.order >= least)
        if converged or op.products - before >= limit:
            break
        if basis.order >= width:
            keep = _order(values, which)[: max(k + 2, width // 2)]
            basis.restart(coordinates[:, keep], values[keep])
    op.require_symmetry(basis.defect)
    ranked = _order(values, which)
    following = float(values[ranked[k]]) if len(ranked) > k else float(values[ranked[-1]])
    return Spectrum(
        values[chosen],
        basis.vectors(coordinates[:, chosen]),
        residuals[chosen],
        errors,
        converged and len(chosen) == k,
        op.products - before,
        which,
        tol,
        seed,
        basis.defect,
        following,
        basis.vectors(_continuation(values, coordinates, ranked, k)[:, None])[:, 0],
    )


def _continuation(
    values: np.ndarray[Any, Any], coordinates: np.ndarray[Any, Any], ranked: np.ndarray[Any, Any], k: int
) -> np.ndarray[Any, Any]:
    """Coordinates of the wanted Ritz vectors' sum, with the runners-up that are close to the last of them."""
    last = float(values[ranked[k - 1]]) if len(ranked) >= k else 0.0
    reach = _RUNNER_UP_RANGE * max(abs(last), float(np.finfo(float).tiny))
    combined = coordinates[:, ranked[:k]].sum(axis=1)
    for i in ranked[k : k + _RUNNERS_UP]:
        closeness = max(0.0, 1.0 - abs(float(values[i]) - last) / reach)
        combined = combined + _RUNNER_UP_PART * closeness * coordinates[:, i]
    return np.asarray(combined)


def _order(values: np.ndarray[Any, Any], which: Which) -> np.ndarray[Any, Any]:
    key = {"LA": -values, "SA": values, "LM": -np.abs(values)}[which]
    return np.argsort(key, kind="stable")


def _errors(
    values: np.ndarray[Any, Any],
    residuals: np.ndarray[Any, Any],
    chosen: np.ndarray[Any, Any],
    which: Which,
    known_next: float | None,
) -> np.ndarray[Any, Any]:
    """min(r, r^2/gap); the gap is to the nearest other Ritz value, or to the next value known from before."""
    errors = np.empty(len(chosen))
    for position, i in enumerate(chosen):
        others = np.delete(values, i)
        if known_next is not None:
            others = np.append(others, known_next)
        gap = float(np.abs(others - values[i]).min()) if len(others) else 0.0
        r = float(residuals[i])
        errors[position] = min(r, r * r / gap) if gap > 0 else r
    return errors


def _start_vector(
    op: SymmetricOperator,
    start: Spectrum | Tensor | np.ndarray[Any, Any] | None,
    generator: torch.Generator,
) -> Tensor:
    noise = op.random_vector(generator)
    noise /= float(noise.norm())
    if start is None:
        return noise
    if isinstance(start, Spectrum):
        if start.vectors.shape[0] != op.size:
            raise UserError(
                f"start has vectors of length {start.vectors.shape[0]}, the operator acts on {op.size}: it was measured "
                "with respect to other parameters"
            )
        combined = start.continuation.to(op.device, op.dtype)
    else:
        combined = as_vector(start, op.size, op.dtype, op.device)
    length = float(combined.norm())
    if not (np.isfinite(length) and length > 0):
        raise UserError(f"start has norm {length}; a start vector is finite and not zero")
    part = _RANDOM_PART_SPECTRUM if isinstance(start, Spectrum) else _RANDOM_PART_VECTOR
    return combined / length + part * noise


@dataclass(frozen=True)
class GradientShare:
    """|P g|^2/|g|^2 for the projection P onto the span of the top eigenvectors, in all and for each of them."""

    share: float
    shares: np.ndarray[Any, Any]
    gradient_norm: float


def gradient_share(
    op: SymmetricOperator, spectrum: Spectrum, gradient: Tensor | None = None
) -> GradientShare:
    """The share of the squared gradient in the space of ``spectrum``; ``op.gradient`` unless one is given.

    Raises ValueError where the gradient is zero, since its direction is undefined there.
    """
    given = gradient if gradient is not None else getattr(op, "gradient", None)
    if given is None:
        raise UserError("gradient is None and the operator has none; pass the gradient")
    g = as_vector(given, op.size, op.dtype, op.device)
    norm = float(g.norm())
    if not norm > 0:
        raise UserError("the gradient is zero at this point; its share in an eigenspace is undefined")
    basis, _ = torch.linalg.qr(spectrum.vectors)
    shares = ((spectrum.vectors.T @ g) / norm).square().cpu().numpy().astype(np.float64)
    return GradientShare(float((basis.T @ g).square().sum() / norm**2), shares, norm)

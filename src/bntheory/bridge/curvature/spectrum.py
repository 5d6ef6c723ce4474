"""Top and bottom eigenvalues of an operator, with residuals; and the gradient's share in the space they span."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bntheory.bridge.curvature.carried import Carried
from bntheory.bridge.curvature.eigen_search import ColdSearch, Search, WarmSearch, Which, order
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.low_rank_model import LowRankModel
from bntheory.bridge.curvature.memory import require_room
from bntheory.bridge.curvature.selection import as_vector
from bntheory.errors import UserError

# Length of the random vector that is added to a start vector: without it a direction absent from the start would stay
# absent. The gradient is no start by default, though it leans towards the top eigenvectors and saves a product in ten: on
# a network whose gradient leaned towards the second one it led there, at tol = 1e-6.
_RANDOM_PART = 1.0


@dataclass(frozen=True)
class Spectrum:
    """The k eigenvalues at one end of a spectrum.

    values: (k,), LA descending, SA ascending, LM by descending magnitude.
    vectors: (size, k), unit columns on the operator's device.
    residuals: (k,) norms of A v - value v: an eigenvalue lies within each of them, certainly.
    errors: (k,) estimated absolute errors of the values: min(residual, residual^2/gap) with the gap estimated, and where
        that is below 1e-5 of the value what further products are expected to add; after a warm start min(residual,
        what the model expects to be missing). Rounding of the products comes on top. Eigenvalues closer to each other
        than about the residual are not told apart: the value may lie between them.
    converged: whether every error is at most tol times its value or the rounding of the products: more of them
        would gain nothing.
    symmetry_defect: relative asymmetry met on the way; an operator beyond rounding is refused.
    model: what the products have taught about the operator, at most ``carry`` vectors; see ``start`` of
        :func:`top_eigenvalues`.
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
    model: Carried

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
    carry: int | None = None,
    callback: Callable[[int, np.ndarray[Any, Any]], None] | None = None,
) -> Spectrum:
    """The k largest (``"LA"``), smallest (``"SA"``) or largest-in-magnitude (``"LM"``) eigenvalues of ``op``.

    Args:
        tol: relative accuracy of the eigenvalues. Their vectors are accurate to about its square root.
        start: a spectrum measured nearby (an earlier checkpoint of the same network): a warm start, which saves the
            more the less has changed. An eigenvalue that the earlier measurements never came near may be missed, so
            measure cold now and then. Or a vector, to which as much of a random one is added; where that vector leans
            towards another eigenvector, a coarse tol may end there. ``None``: a random vector.
        max_products: give up after so many; the result then says ``converged=False``.
        max_basis: vectors kept at most; memory is ``max_basis * size`` entries.
        carry: vectors kept in the result for a warm start from it, ``2 k + 14`` unless given; memory is
            ``carry * size`` entries for as long as the result lives. At least k.
        callback: called after each product with the number of products and the current wanted Ritz values.

    An eigenvalue of multiplicity larger than one may be returned once only, as by every Lanczos method. And like every
    method that stops after a few products it may, seldom, stop at the eigenvalue next to the wanted one: where much
    hangs on a single number, measure it again with another ``seed``, or to tol = 1e-10.
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
    carry = 2 * k + 14 if carry is None else carry
    if carry < k:
        raise UserError(f"carry is {carry}; a warm start needs at least the k = {k} vectors themselves")
    limit = max_products if max_products is not None else 300 + 40 * k
    width = min(op.size, max(max_basis if max_basis is not None else 60, 2 * k + 8))
    require_room(width, op.size, op.dtype, op.device, f"lower max_basis (at least {2 * k + 8})")
    before = op.products
    generator = torch.Generator().manual_seed(seed)
    model = _start(op, start, generator, width)
    search: Search = (WarmSearch if isinstance(start, Spectrum) else ColdSearch)(model, k, which)
    while True:
        model.expand(search.direction())
        spent = op.products - before
        if search.lost and spent < limit:
            model = _start(op, None, generator, width)
            search = ColdSearch(model, k, which)
            continue
        if search.early and callback is None and spent < limit:
            continue  # nothing can be settled yet: spare the small eigenproblem
        ritz = model.ritz()
        chosen = order(ritz.values, which)[:k]
        if callback is not None:
            callback(spent, ritz.values[chosen])
        errors = search.errors(ritz, chosen)
        # what the products themselves are not sure of: their rounding, and their disagreement with symmetry
        floor = max(8 * float(torch.finfo(op.dtype).eps), model.defect) * model.scale
        fine = errors <= np.maximum(search.goal(tol) * np.abs(ritz.values[chosen]), floor)
        converged = len(chosen) == k and (model.complete or search.done(ritz, chosen, fine))
        if converged or spent >= limit:
            break
        if width <= model.rank < op.size:
            keep, guesses = search.kept(width)
            model.restart(ritz.coordinates[:, order(ritz.values, which)[:keep]], search.guesses(guesses))
    op.require_symmetry(model.defect)
    return Spectrum(
        ritz.values[chosen],
        model.vectors(ritz.coordinates[:, chosen]),
        ritz.residuals[chosen],
        errors,
        converged,
        spent,
        which,
        tol,
        seed,
        model.defect,
        model.carried(carry),
    )


def _start(
    op: SymmetricOperator,
    start: Spectrum | Tensor | np.ndarray[Any, Any] | None,
    generator: torch.Generator,
    width: int,
) -> LowRankModel:
    if isinstance(start, Spectrum):
        if start.vectors.shape[0] != op.size:
            raise UserError(
                f"start has vectors of length {start.vectors.shape[0]}, the operator acts on {op.size}: it was measured "
                "with respect to other parameters"
            )
        return LowRankModel(
            op, None, generator, known=start.model.fitted(op, max(len(start.values), width // 2))
        )
    noise = op.random_vector(generator)
    noise /= float(noise.norm())
    if start is None:
        return LowRankModel(op, noise, generator)
    given = as_vector(start, op.size, op.dtype, op.device)
    length = float(given.norm())
    if not (np.isfinite(length) and length > 0):
        raise UserError(f"start has norm {length}; a start vector is finite and not zero")
    mixed = given / length + _RANDOM_PART * noise
    # in one dimension they may cancel
    return LowRankModel(op, mixed if float(mixed.norm()) > 0 else noise, generator)


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

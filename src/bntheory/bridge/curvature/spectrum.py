"""Top and bottom eigenvalues of an operator, with residuals; and the gradient's share in the space they span."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bntheory.bridge.arguments import checked
from bntheory.bridge.curvature.accumulation import dots, norm
from bntheory.bridge.curvature.carried import Carried
from bntheory.bridge.curvature.eigen_search import ColdSearch, Search, Which, order, wanted
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.low_rank_model import LowRankModel
from bntheory.bridge.curvature.memory import require_room
from bntheory.bridge.curvature.mixed_precision import DRAFT, RIVALS, RefiningSearch
from bntheory.bridge.curvature.rescaled import rescaled
from bntheory.bridge.curvature.selection import as_vector
from bntheory.errors import UserError

# Length of the random vector that is added to a start vector: without it a direction absent from the start would stay
# absent. The gradient is no start by default, though it leans towards the top eigenvectors and saves a product in ten: on
# a network whose gradient leaned towards the second one it led there, at tol = 1e-6.
_RANDOM_PART = 1.0


@dataclass(frozen=True)
class Spectrum:
    """The k eigenvalues at one end of a spectrum, or at each of both.

    values: (k,), LA descending, SA ascending, LM by descending magnitude; (2 k,) for both ends, the top ones before the
        bottom ones.
    vectors: (size, number of values), unit columns on the operator's device.
    residuals: norms of A v - value v: an eigenvalue lies within each of them, certainly.
    errors: bounds on the absolute errors of the values, ``rounding`` included. They allow for another eigenvalue so close that the
        basis cannot tell the two apart; where there is such a pair, at most about 1 random start in 100 exceeds them.
    rounding: by how much the dtype's rounding may move each value.
    hidden: how far beyond each value another eigenvalue may lie of which nothing was seen, but for 1 start in 1000.
    converged: whether the search ended by itself: every error (or estimate of it, where that was asked for) is at most tol
        times its value, or what rounding allows. ``accurate`` asks for the tolerance.
    symmetry_defect: relative asymmetry met on the way; an operator beyond rounding is refused.
    single_products: those in float32 on the way, of ``mixed_precision``, which ``products`` does not count.
    model: of a search in float32, what its products have taught about the operator, to go on from in float64.
    """

    values: np.ndarray[Any, Any]
    vectors: Tensor
    residuals: np.ndarray[Any, Any]
    errors: np.ndarray[Any, Any]
    rounding: np.ndarray[Any, Any]
    hidden: np.ndarray[Any, Any]
    converged: bool
    products: int
    which: Which
    tol: float
    seed: int
    symmetry_defect: float
    model: Carried | None = None
    single_products: int = 0

    @property
    def top(self) -> float:
        """The first value."""
        return float(self.values[0])

    @property
    def bottom(self) -> float:
        """The lowest value, of a spectrum measured with which="both" or "SA"."""
        if self.which not in ("both", "SA"):
            raise UserError(f"which is {self.which!r}: the lower end was not measured; ask for which='both'")
        return float(self.values[len(self.values) // 2 if self.which == "both" else 0])

    @property
    def accurate(self) -> bool:
        """Whether every error, rounding included, is at most tol times its value."""
        return bool(np.all(self.errors <= self.tol * np.abs(self.values)))

    @property
    def note(self) -> str:
        """Why the tolerance is not reached, and what to do; empty where it is."""
        if self.accurate:
            return ""
        if not self.converged:
            return f"stopped after {self.products} products, before tol = {self.tol:g} was reached: allow more"
        worst = int(np.argmax(self.errors - self.tol * np.abs(self.values)))
        if self.rounding[worst] < self.errors[worst] / 2:
            return (
                f"the value {self.values[worst]:.6g} is known to {self.errors[worst]:.2g}, beyond tol = {self.tol:g} of it: another "
                "eigenvalue that close to it may not be told apart yet"
            )
        return (
            f"rounding moves the value {self.values[worst]:.6g} by up to {self.rounding[worst]:.2g}, beyond "
            f"tol = {self.tol:g} of it: "
            + (
                "read it with that error"
                if self.vectors.dtype == torch.float64
                else "measure in float64, or read it with that error"
            )
        )


@checked
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
    stop: Literal["error", "estimate"] = "error",
    mixed_precision: bool = False,
) -> Spectrum:
    """The k largest (``"LA"``), smallest (``"SA"``) or largest-in-magnitude (``"LM"``) eigenvalues of ``op``.

    ``"both"``: k at each end from the same products, which is cheaper than two runs.

    Args:
        tol: relative accuracy of the eigenvalues. Their vectors are accurate to about its square root.
        start: a vector, or a spectrum measured nearby (an earlier checkpoint of the same network), for the sum of its vectors. As much
            of a random vector is added, by which an eigenvalue that has risen elsewhere is seen. ``None``: a random vector alone.
        max_products: give up after so many; the result then says ``converged=False``.
        max_basis: vectors kept at most; memory is ``max_basis * size`` entries.
        callback: called after each product with the number of products and the current wanted Ritz values.
        stop: ``"error"``: where ``errors`` of the result are at most tol. ``"estimate"``: where they are estimated to be, if no
            other eigenvalue lies close by, which saves some products and leaves ``errors`` larger than tol.
        mixed_precision: without a start, on an operator in float64: search on the same one in float32, whose products cost half or less
            (and its graph half the memory again), and end on this one, with the error that a search on it alone has. That search is
            made where float32 is too coarse, or vectors cost as much as products. ``max_products`` limits each of the two.

    An eigenvalue of multiplicity larger than one may be returned once only, as by every Lanczos method. And like every
    method that stops after a few products it may, seldom, stop at the eigenvalue next to the wanted one: where much
    hangs on a single number, measure it again with another ``seed``, or to tol = 1e-10.
    Raises ValueError for a k or tol that cannot be, and for an operator that is not symmetric.
    """
    _refuse_impossible(op, k, which, tol)
    count = wanted(k, which)
    limit = max_products if max_products is not None else 300 + 40 * count
    width = min(op.size, max(max_basis if max_basis is not None else 60, 2 * count + 8))
    require_room(width, op.size, op.dtype, op.device, f"lower max_basis (at least {2 * count + 8})")
    if mixed_precision and start is None and op.dtype == torch.float64:
        single = op.in_single_precision()
        if single is not None:
            with closing(single):
                draft = _draft(single, k, which, max(tol, DRAFT), seed, limit, width, callback)
                found = _searched(op, k, which, tol, seed, draft, limit, width, callback, stop)
                return replace(found, single_products=single.products)
    if isinstance(start, Spectrum):
        _require_size(op, start)
        # what was measured at another end says nothing about what lies at this one
        start = start.vectors.sum(1) if start.which in (which, "both") else None
    return _searched(op, k, which, tol, seed, start, limit, width, callback, stop)


def _searched(
    op: SymmetricOperator,
    k: int,
    which: Which,
    tol: float,
    seed: int,
    start: Draft | Tensor | np.ndarray[Any, Any] | None,
    limit: int,
    width: int,
    callback: Callable[[int, np.ndarray[Any, Any]], None] | None,
    stop: Literal["error", "estimate"],
    carry: int = 0,
) -> Spectrum:
    """As :func:`top_eigenvalues`; carry: vectors of the model that the result keeps."""
    before, count = op.products, wanted(k, which)
    generator = torch.Generator().manual_seed(seed)
    model = _start(op, start, generator, width)
    search: Search = ColdSearch(model, k, which)
    if isinstance(start, Draft):
        search = RefiningSearch(model, k, which, start.single, start.factor, tol)
    while True:
        model.expand(search.direction())
        spent = op.products - before
        other = rescaled(op, model.scale)
        if other is not None and not isinstance(start, Draft):
            told = callback and _scaled_back(callback, other.exponent, spent)
            found = _searched(other, k, which, tol, seed, start, max(1, limit - spent), width, told, stop, carry)
            return _times_power(found, other.exponent, op.products - before)
        if search.lost and spent < limit:
            model = _start(op, None, generator, width)
            search = ColdSearch(model, k, which)
            continue
        if search.early and callback is None and spent < limit:
            continue  # nothing can be settled yet: spare the small eigenproblem
        ritz = model.ritz()
        chosen = order(ritz.values, which)[:count]
        if callback is not None:
            callback(spent, ritz.values[chosen])
        errors, estimates = search.errors(ritz, chosen), search.estimates(ritz, chosen)
        # what the products themselves are not sure of: their rounding, and their disagreement with symmetry
        floor = max(op.unit_rounding(), model.defect) * model.scale
        size = np.abs(ritz.values[chosen])
        seen = search.hidden(ritz, chosen) <= np.maximum(size, floor)
        fine = seen & (estimates <= np.maximum(search.goal(tol) * size, floor))
        if stop == "error":
            fine &= errors <= np.maximum(tol * size - floor, floor)
        converged = len(chosen) == count and (model.complete or search.done(ritz, chosen, fine))
        if converged or spent >= limit:
            break
        if width <= model.rank < op.size:
            keep, guesses = search.kept(width)
            model.restart(ritz.coordinates[:, order(ritz.values, which)[:keep]], search.guesses(guesses))
    op.require_symmetry(model.defect)
    if which == "both":
        chosen = np.concatenate([chosen[0::2], chosen[1::2]])
        errors = np.concatenate([errors[0::2], errors[1::2]])
    vectors = model.vectors(ritz.coordinates[:, chosen])
    # of a direction that was only seen to lead back into the searched space less is known: its length was cut off
    lost = model.floor() * op.size**0.5 if model.breakdowns and not model.complete else 0.0
    largest = max(model.scale, float(size.max()))
    needed = tol * float(size.min()) / largest if largest > 0 else 1.0
    rounding = np.full(len(chosen), max(floor, lost, op.rounding(vectors[:, 0], needed) * largest))
    return Spectrum(
        ritz.values[chosen],
        vectors,
        ritz.residuals[chosen],
        errors + rounding,
        rounding,
        search.hidden(ritz, chosen),
        converged,
        spent,
        which,
        tol,
        seed,
        model.defect,
        model.carried(carry) if carry else None,
    )


def _scaled_back(
    callback: Callable[[int, np.ndarray[Any, Any]], None], exponent: int, spent: int
) -> Callable[[int, np.ndarray[Any, Any]], None]:
    return lambda products, values: callback(spent + products, np.ldexp(values, exponent))


def _times_power(found: Spectrum, exponent: int, products: int) -> Spectrum:
    """The spectrum of the operator times 2**exponent."""
    scaled: dict[str, Any] = {
        name: np.ldexp(getattr(found, name), exponent)
        for name in ("values", "residuals", "errors", "rounding", "hidden")
    }
    if found.model is not None:
        scaled["model"] = found.model._replace(matrix=np.ldexp(found.model.matrix, exponent))
    return replace(found, products=products, **scaled)


def _refuse_impossible(op: SymmetricOperator, k: int, which: Which, tol: float) -> None:
    if k < 1:
        raise UserError(f"k is {k}; at least one eigenvalue is asked for")
    count = wanted(k, which)
    if count > op.size:
        most, end = op.size * k // count, " at each end" if which == "both" else ""
        raise UserError(f"k is {k}; the operator has {op.size} eigenvalues, so k lies between 1 and {most}{end}")
    if not tol > 0:
        raise UserError(f"tol is {tol}; a relative accuracy is positive")


class Draft(NamedTuple):
    """What a search in float32 found of the same operator, from which one in float64 goes on. factor: the error is this times the residual."""

    spectrum: Spectrum
    single: SymmetricOperator
    factor: float


def _draft(
    single: SymmetricOperator, k: int, which: Which, tol: float, seed: int, limit: int, width: int, callback: Any
) -> Draft | None:
    """None where float32 is too coarse, or leaves nothing to go on from."""
    try:
        carry = wanted(k, which) + RIVALS
        found = _searched(single, k, which, tol, seed, None, limit, width, callback, "error", carry)
    except UserError:
        return None
    if not found.converged or not np.all(found.residuals > 0):
        return None
    return Draft(found, single, float(np.max((found.errors - found.rounding) / found.residuals, initial=1.0)))


def _require_size(op: SymmetricOperator, start: Spectrum) -> None:
    if start.vectors.shape[0] != op.size:
        raise UserError(
            f"start has vectors of length {start.vectors.shape[0]}, the operator acts on {op.size}: it was measured "
            "with respect to other parameters"
        )


def _start(
    op: SymmetricOperator, start: Draft | Tensor | np.ndarray[Any, Any] | None, generator: torch.Generator, width: int
) -> LowRankModel:
    if isinstance(start, Draft):
        found = start.spectrum
        assert found.model is not None
        return LowRankModel(op, None, generator, known=found.model.fitted(op, max(len(found.values), width // 2)))
    noise = op.random_vector(generator)
    noise *= 1 / norm(noise)
    if start is None:
        return LowRankModel(op, noise, generator)
    given = as_vector(start, op.size, op.dtype, op.device)
    length = norm(given)
    if not (np.isfinite(length) and length > 0):
        raise UserError(f"start has norm {length}; a start vector is finite and not zero")
    mixed = given / length + _RANDOM_PART * noise
    # in one dimension they may cancel
    return LowRankModel(op, mixed if norm(mixed) > 0 else noise, generator)


@dataclass(frozen=True)
class GradientShare:
    """|P g|^2/|g|^2 for the projection P onto the span of the top eigenvectors, in all and for each of them."""

    share: float
    shares: np.ndarray[Any, Any]
    gradient_norm: float


@checked
def gradient_share(op: SymmetricOperator, spectrum: Spectrum, gradient: Tensor | None = None) -> GradientShare:
    """The share of the squared gradient in the space of ``spectrum``; ``op.gradient`` unless one is given.

    Raises ValueError where the gradient is zero, since its direction is undefined there.
    """
    given = gradient if gradient is not None else getattr(op, "gradient", None)
    if given is None:
        raise UserError("gradient is None and the operator has none; pass the gradient")
    g = as_vector(given, op.size, op.dtype, op.device)
    length = norm(g)
    if not length > 0:
        raise UserError("the gradient is zero at this point; its share in an eigenspace is undefined")
    along = dots(spectrum.vectors.T, g) / length
    gram = np.stack([dots(spectrum.vectors.T, v) for v in spectrum.vectors.T])
    return GradientShare(float(along @ np.linalg.solve(gram, along)), along**2, length)

"""A search that ends on an operator in float64 what was begun on the same operator in float32, where products cost half or less.

*Its error.* A search in float32 from a random start left a Ritz vector y that has at least the part c/share along every eigenvector
of a larger eigenvalue, for all but 1 start in 100 (:class:`~bntheory.bridge.curvature.eigen_search.ColdSearch`): the start does not
know the matrix, and rounding moves y by about 1e-5, far less than that part. Then lambda - theta = <u, r>/<u, y> is at most
|r| share/c, with the residual r of y in float64. That float32 cannot tell a pair apart does not matter: along its plane y stays as it
was drawn, and the residual shows the mixture.

*Its products.* The first one in float64 shows the residual of y, about 1e-5 of the value. Where to go from there is asked of the
operator in float32, as in iterative refinement with mixed precision (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
chapter 12): what it says is good to about 1e-5 again, so that each further product in float64 takes as much off the residual.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bntheory.bridge.curvature.eigen_search import SELDOM, UNLIKELY, ModelSearch, Which
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.low_rank_model import LowRankModel, Ritz
from bntheory.errors import UserError

Array = np.ndarray[Any, Any]

#: The tolerance in float32; and vectors kept beside the wanted ones, which may turn out to be these.
DRAFT, RIVALS = 1e-3, 4
# The operator in float32 is another one where the first product differs by more than this part: networks differ by 1e-5 at most, and
# nearer to DRAFT a search in float32 may end before it has told apart what float32 has put in another order.
_SAME = 1e-4
# What the operator in float32 does not know about a correction, relative to its length; and products in a row at most.
_ROUNDED, _MOST = 1e-4, 12
# Products in float64, in units of k + 1, after which the search is made in float64 alone.
_TIRED = 4
# A correction so small is still one: its coordinates are exact to rounding.
_LEAST_NEW = 1e-14


class RefiningSearch(ModelSearch):
    """A search in float64 that asks float32 (``single``) where to look: before each product, products there teach the model, while they improve it.

    factor: by how much a residual is multiplied for the error, share/c.
    """

    _reach = 32.0  # float32 may move another value more than the one that the first product shows

    def __init__(
        self, model: LowRankModel, k: int, which: Which, single: SymmetricOperator, factor: float, tol: float
    ) -> None:
        super().__init__(model, k, which)
        self._single, self._factor, self._tol = single, factor, tol
        self._overflown = False
        model.least_new = _LEAST_NEW

    @property
    def lost(self) -> bool:
        """Also where float32 has another operator, or more products than it should take have not led to the end."""
        if self._overflown or self._model.order > _TIRED * (self._k + 1):
            return True
        return super().lost or (self._model.order == 1 and self._model.surprise > _SAME * self._model.scale)

    def direction(self) -> Array:
        if self._model.order < self._k:
            self._next = self._model.order
        found = super().direction()
        if self._model.order < self._k:
            return found
        value = abs(float(found @ self._model.matrix @ found))
        needed = self._tol * value / (4 * self._factor * self._model.scale)
        least, before = needed, np.inf
        for number in range(_MOST):
            try:
                unknown = self._model.take(self._single, found, least)
            except UserError:
                self._overflown = True
                break
            if number == 0:
                least = max(needed, _ROUNDED * unknown)
            if unknown <= least:
                break
            found = super().direction()  # of more coordinates than before
            if unknown > before:
                break
            before = unknown
        return found

    def errors(self, ritz: Ritz, chosen: Array) -> Array:
        return np.asarray(ritz.residuals[chosen] * self._factor)

    def hidden(self, ritz: Ritz, chosen: Array) -> Array:
        return self.errors(ritz, chosen) * (SELDOM / UNLIKELY)

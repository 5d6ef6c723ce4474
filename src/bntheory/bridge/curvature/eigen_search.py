"""The decisions of a search for eigenvalues: where to look next, how wrong the values still are, when to stop.

There are two kinds, on a :class:`~bntheory.bridge.curvature.low_rank_model.LowRankModel` both: a cold search knows nothing, the other one
has a model of the operator, from float32. What lives here: these decisions. What does not: products, and the loop (``spectrum.py``).
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

from bntheory.bridge.curvature.low_rank_model import LowRankModel, Ritz

Which = Literal["LA", "SA", "LM", "both"]
Array = np.ndarray[Any, Any]

# How many random directions in a row have to stay within the searched space before it counts as the whole; and how many steps have to
# follow after it closed early before copies of an eigenvalue count as excluded.
_AFTER_BREAKDOWN = 10
# What a model from nearby expects to be missing has to be half of tol. Without one r^2/gap has to be 1e-5 of the value at
# the coarsest: a Ritz value that rests inside a cluster of eigenvalues looks converged early.
_MARGIN, _COARSEST_COLD = 2.0, 1e-5
# Of a random start at least this part of the expected length lies along any given eigenvector, but for 1 start in 1000, or in 100.
UNLIKELY, SELDOM = 1e-3, 1.25e-2
_STEPS = 3  # over which a residual's rate of convergence is taken
# A start from nearby is given up where the first product misses the model by this part of itself, and after so many restarts.
_LOST, _TIRED = 0.5, 2
# A rival counts as looked at where less than this part of its unit vector is left.
_LOOKED_AT = 0.5


def order(values: Array, which: Which) -> Array:
    """Indices of the values in the order in which they are wanted; for both ends these take turns, the top first."""
    if which != "both":
        return np.argsort({"LA": -values, "SA": values, "LM": -np.abs(values)}[which], kind="stable")
    ascending = np.argsort(values, kind="stable")
    turns = np.stack([ascending[::-1], ascending], axis=1).ravel()
    return turns[: len(values)]


def wanted(k: int, which: Which) -> int:
    """The number of eigenvalues: k, or k at each of both ends."""
    return 2 * k if which == "both" else k


def _sides(values: Array, which: Which) -> Array:
    """For values in the order in which they are wanted: 1 for each of the upper end of the spectrum, -1 of the lower."""
    if which == "both":
        return np.where(np.arange(len(values)) % 2 == 0, 1.0, -1.0)
    return {"LA": np.ones(len(values)), "SA": -np.ones(len(values)), "LM": np.where(values < 0, -1.0, 1.0)}[which]


class Search(Protocol):
    """The decisions of one search for k eigenvalues."""

    @property
    def lost(self) -> bool:
        """Whether to begin anew, cold."""
        ...

    @property
    def early(self) -> bool:
        """Whether nothing can be settled yet."""
        ...

    def goal(self, tol: float) -> float:
        """The relative error to be estimated at most."""
        ...

    def direction(self) -> Array | None:
        """Coordinates of where to look next; None for the newest direction."""
        ...

    def estimates(self, ritz: Ritz, chosen: Array) -> Array:
        """Estimated absolute errors of the chosen Ritz values, but for rounding, if no eigenvalue hides beside them."""
        ...

    def errors(self, ritz: Ritz, chosen: Array) -> Array:
        """The same with eigenvalues that the basis cannot tell from the chosen ones, but for 1 start in 100."""
        ...

    def hidden(self, ritz: Ritz, chosen: Array) -> Array:
        """How far beyond each chosen Ritz value an eigenvalue may lie of which the basis has seen nothing."""
        ...

    def done(self, ritz: Ritz, chosen: Array, fine: Array) -> bool:
        """Whether k values are found; ``fine`` says which of the chosen ones reach the goal."""
        ...

    def kept(self, width: int) -> tuple[int, int]:
        """How many Ritz vectors and how many guesses a restart keeps, for a basis of at most ``width`` vectors."""
        ...

    def guesses(self, count: int) -> Array:
        """Coordinates of directions that a restart has to keep beside the Ritz vectors."""
        ...


class _Common:
    def __init__(self, model: LowRankModel, k: int, which: Which) -> None:
        self._model, self._k, self._which = model, wanted(k, which), which

    def _closed(self) -> bool:
        """Whether the searched space closed a short while ago, so that parts of the spectrum may be unseen."""
        return 0 < self._model.breakdowns < _AFTER_BREAKDOWN > self._model.steps_since_breakdown


class ColdSearch(_Common):
    """Nothing is known: look in the newest direction, and judge a value by its residual and the gap to the others."""

    lost = False
    _residuals: tuple[Array, ...] | list[Array] = ()

    @property
    def early(self) -> bool:
        return self._model.order <= self._k and not self._model.complete  # k values and the next one make a gap

    def goal(self, tol: float) -> float:
        return min(tol, _COARSEST_COLD)

    def direction(self) -> None:
        return None

    def hidden(self, ritz: Ritz, chosen: Array) -> Array:
        """residual * (share of the start in the Ritz vector) / (least share that an eigenvector has).

        With the start v = sum_i s_i y_i over Ritz vectors, whose residuals r_i all lie along the next vector w, an eigenvector
        u of eigenvalue lambda has <u, v> = <u, w> sum_i s_i r_i/(lambda - theta_i), and |<u, w>| <= 1: lambda - theta_i is at
        most about s_i r_i/<u, v> (van Dorsselaer, Hochstenbach and van der Vorst, Computing probabilistic bounds for
        extreme eigenvalues of symmetric matrices with the Lanczos method, 2000).
        """
        return self._beyond(ritz, chosen, UNLIKELY)

    def errors(self, ritz: Ritz, chosen: Array) -> Array:
        """As :meth:`hidden`: the gap in r^2/gap is that to an eigenvalue which the basis may not have told apart yet.

        Of a pair in which the start has parts a, b along the two, the basis knows one vector until its residual is as small
        as their distance: the residual shows a b of that distance, and the upper one is missed by b^2 of it.
        """
        return self._beyond(ritz, chosen, SELDOM)

    def _beyond(self, ritz: Ritz, chosen: Array, least: float) -> Array:
        if self._model.breakdowns >= _AFTER_BREAKDOWN:
            return ritz.residuals[chosen]  # so many random directions were the starts
        shares = self._model.start_share(ritz.coordinates[:, chosen])
        return np.asarray(ritz.residuals[chosen] * shares / least)

    def estimates(self, ritz: Ritz, chosen: Array) -> Array:
        """min(r, r^2/gap).

        The gap is that to the nearest other Ritz value, and no larger than the rate at which the residual shrinks can show.
        """
        errors = np.empty(len(chosen))
        rates = self._rates(ritz.residuals[chosen])
        for position, i in enumerate(chosen):
            others = np.delete(ritz.values, i)
            r = float(ritz.residuals[i])
            distances = np.abs(others - ritz.values[i])
            spread = float(distances[np.delete(ritz.residuals, i) > r].max(initial=0.0))
            # Lanczos converges by the factor exp(-2 x) a step, x^2 = gap/spread
            gap = min(float(distances.min(initial=np.inf)), spread * float(np.square(rates[position])))
            errors[position] = min(r, r * r / gap) if 0 < gap < np.inf else r
        return errors

    def _rates(self, residuals: Array) -> Array:
        """(1 - q)/(1 + q) = tanh x for the factors q = exp(-2 x) by which the residuals shrank a step; 0 where they did not."""
        self._residuals = [*self._residuals[-_STEPS:], residuals]
        earlier = [r for r in self._residuals[:-1] if len(r) == len(residuals)]
        if not earlier:
            return np.ones(len(residuals))
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where(residuals == 0, 0.0, residuals / earlier[0]) ** (1 / len(earlier))
        factor = np.clip(np.nan_to_num(factor, nan=1.0, posinf=1.0), 0.0, 1.0)
        return np.asarray((1 - factor) / (1 + factor))

    def done(self, ritz: Ritz, chosen: Array, fine: Array) -> bool:
        return bool(fine.all()) and not self.early and not self._closed()

    def kept(self, width: int) -> tuple[int, int]:
        return max(self._k + 2, width // 2), 0  # with one direction more, in which all their residuals lie

    def guesses(self, count: int) -> Array:
        return np.zeros((self._model.rank, 0))


class ModelSearch(_Common):
    """A search from a known model: it looks where the model has its eigenvectors, and takes the error that the model expects.

    That is too small where directions that the model has never met, and takes for ones of eigenvalue 0, have a larger
    one. With half of the wanted value they make the error twice what is expected, which the stopping rule allows for.
    The next Ritz value shows what they have: where it is above that half, the expectation is raised in proportion. The
    model's other eigenvalues may be off by as much as the first product surprised it, so those that could have
    overtaken a wanted one are looked at before the end.
    """

    _next = 0
    _reach = 1.0  # in units of the surprise, within which others are looked at

    @property
    def lost(self) -> bool:
        """Whether the first product showed another operator than the model's, or a value of the sign that is not wanted.

        Or whether the basis was full so often that the model no longer leads anywhere, as at the dense edge of a bulk.
        """
        if self._model.restarts > _TIRED:
            return True
        if self._model.order != 1 or self._model.restarts > 0:
            return False
        value = self._model.ritz().values
        height = float(value[0] * _sides(value, self._which)[0])
        return (height <= 0 and self._which != "both") or self._model.surprise > _LOST * self._model.scale

    @property
    def early(self) -> bool:
        return self._model.order < self._k

    def goal(self, tol: float) -> float:
        return tol / _MARGIN

    def direction(self) -> Array:
        values, coordinates = self._model.eigen()
        ranked = order(values, self._which)
        return np.asarray(coordinates[:, ranked[min(self._next, len(ranked) - 1)]])

    def estimates(self, ritz: Ritz, chosen: Array) -> Array:
        """min(r, how far the model's own eigenvalue lies beyond the Ritz value, raised as above)."""
        values, _ = self._model.eigen()
        expected = np.abs(values[order(values, self._which)][: len(chosen)] - ritz.values[chosen])
        errors = np.empty(len(chosen))
        others = np.delete(ritz.values, chosen)
        for place, side in enumerate(_sides(ritz.values[chosen], self._which)):
            height = side * ritz.values[chosen[place]]
            rivals = np.abs(others) if self._which == "LM" else side * others
            distance = height - max(float(rivals.max(initial=0.0)), 0.0)
            raised = max(1.0, abs(height) / (2 * distance)) if distance > 0 else np.inf
            r = float(ritz.residuals[chosen[place]])
            errors[place] = r if np.isinf(raised) else min(r, expected[place] * raised)
        return errors

    def errors(self, ritz: Ritz, chosen: Array) -> Array:
        """The residual, as in :meth:`hidden`."""
        return ritz.residuals[chosen]

    def hidden(self, ritz: Ritz, chosen: Array) -> Array:
        """The residual. That nothing lies beyond it rests on the model here, and not on the chance of a random start."""
        return ritz.residuals[chosen]

    def done(self, ritz: Ritz, chosen: Array, fine: Array) -> bool:
        """Whether all are accurate and no rival is left; otherwise the place to look at next is noted."""
        if not fine.all():
            self._next = int(np.argmin(fine))
            return False
        if self.early or self._closed():
            self._next = len(fine)
            return False
        values, coordinates = self._model.eigen()
        ranked = order(values, self._which)
        sides = _sides(values[ranked], self._which)
        found = _sides(ritz.values[chosen], self._which)
        for place in range(self._k, len(ranked)):
            side, i = sides[place], ranked[place]
            # of the largest magnitudes either sign may overtake any other
            rivals = np.abs(ritz.values[chosen]) if self._which == "LM" else (side * ritz.values[chosen])[found == side]
            if float(rivals.min()) - side * values[i] > self._reach * self._model.surprise:
                continue
            if self._model.new_part(coordinates[:, i]) > _LOOKED_AT:
                self._next = place
                return False
        return True

    def kept(self, width: int) -> tuple[int, int]:
        room = 3 * width // 4 - 2 * self._k  # each Ritz vector has a residual of its own
        extra = max(0, min(2, room // 2))
        return self._k + extra, max(0, min(self._k + 2, room - 2 * extra))

    def guesses(self, count: int) -> Array:
        values, coordinates = self._model.eigen()
        return np.asarray(coordinates[:, order(values, self._which)[:count]])

"""Where to look for the wanted eigenvalues next, how wrong they still are, and when to stop: cold and from nearby.

Both rules work on a :class:`~bntheory.bridge.curvature.low_rank_model.LowRankModel`. What lives here are its decisions; what does
not: products, and the loop (``spectrum.py``).
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

from bntheory.bridge.curvature.low_rank_model import LowRankModel, Ritz

__all__ = ["ColdSearch", "Search", "WarmSearch", "Which", "order"]

Which = Literal["LA", "SA", "LM"]
Array = np.ndarray[Any, Any]

# Steps that have to follow when the searched space closed early, before copies of an eigenvalue count as excluded.
_AFTER_BREAKDOWN = 10
# The error estimate has to be half of tol. Without a model from nearby r^2/gap also has to be 1e-5 of the value: a Ritz
# value that rests inside a cluster of eigenvalues looks converged early. Of 256 cold measurements on small networks 1
# ended at the second eigenvalue so at tol = 1e-3; at 1e-6 none did, and 1 was off by 3 tol
# (validation/benchmarks/curvature_eigenvalues.py --size tiny --kinds mlp,vgg --seeds 16 --checkpoints 4).
_MARGIN, _COARSEST_COLD = 2.0, 1e-5
# The next Rayleigh quotient of a cold start is expected to be the mean of so many before it. What this promises is believed
# where the value's steps shrink to a fifth or less, and down to an eighth of r^2/gap: at the edge of a bulk, where there
# is always a nearer eigenvalue still unseen, it promises too much.
_RECENT, _SHRINKING, _SHARPER = 3, 0.2, 8.0
# A start from nearby is given up where the first product misses the model by this part of itself, and after so many restarts.
_LOST, _TIRED = 0.5, 10
# A rival counts as looked at where less than this part of its unit vector is left.
_LOOKED_AT = 0.5


def order(values: Array, which: Which) -> Array:
    """Indices of the values from the first wanted to the last."""
    return np.argsort(-_height(values, which), kind="stable")


def _height(values: Array, which: Which) -> Array:
    """The larger the more wanted."""
    return {"LA": values, "SA": -values, "LM": np.abs(values)}[which]


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

    def errors(self, ritz: Ritz, chosen: Array) -> Array:
        """Estimated absolute errors of the chosen Ritz values."""
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
        self._model, self._k, self._which = model, k, which

    def _closed(self) -> bool:
        """Whether the searched space closed a short while ago, so that parts of the spectrum may be unseen."""
        return self._model.breakdowns > 0 and self._model.steps_since_breakdown < _AFTER_BREAKDOWN


class ColdSearch(_Common):
    """Nothing is known: look in the newest direction, and judge a value by its residual and the gap to the others."""

    lost = False
    _before: Array = np.empty(0)

    @property
    def early(self) -> bool:
        return (
            self._model.order <= self._k and not self._model.complete
        )  # k values and the next one make a gap

    def goal(self, tol: float) -> float:
        return min(tol / _MARGIN, _COARSEST_COLD)

    def direction(self) -> None:
        return None

    def errors(self, ritz: Ritz, chosen: Array) -> Array:
        """min(r, r^2/gap), the gap to the nearest other Ritz value; where that is small, what further products would add."""
        errors = np.empty(len(chosen))
        for position, i in enumerate(chosen):
            others = np.delete(ritz.values, i)
            gap = float(np.abs(others - ritz.values[i]).min()) if len(others) else 0.0
            r = float(ritz.residuals[i])
            errors[position] = min(r, r * r / gap) if gap > 0 else r
        small = errors <= _COARSEST_COLD * np.abs(ritz.values[chosen])
        if small.any() and self._model.rank == self._model.order + 1:
            remaining = np.maximum(self._remaining(ritz, chosen), errors / _SHARPER)
            errors[small] = np.minimum(errors, remaining)[small]
        self._before = ritz.values[chosen]
        return errors

    def _remaining(self, ritz: Ritz, chosen: Array) -> Array:
        """By how much the chosen values will still move: by the next step if its Rayleigh quotient is like the last ones,
        and then by steps that shrink as this one against the last. The gap that counts is the one to the bulk: of the
        nearest Ritz vector the next direction has little. Infinite where the steps do not shrink fast: that is no outlier.
        """
        if self._before.shape != chosen.shape:
            return np.full(len(chosen), np.inf)
        matrix = self._model.matrix.copy()
        matrix[-1, -1] = np.diag(matrix)[-1 - _RECENT : -1].mean()
        # they interlace: a value moves up at the upper end, and down at the lower
        values = np.linalg.eigvalsh(matrix)
        below = (self._which == "SA") | ((self._which == "LM") & (ritz.values[chosen] < 0))
        step = np.abs(values[np.where(below, chosen, chosen + 1)] - ritz.values[chosen])
        last = np.abs(ritz.values[chosen] - self._before)
        ratio = np.divide(step, last, out=np.ones_like(step), where=last > 0)
        return np.where(ratio < _SHRINKING, step / (1 - np.minimum(ratio, _SHRINKING)), np.inf)

    def done(self, ritz: Ritz, chosen: Array, fine: Array) -> bool:
        return bool(fine.all()) and not self.early and not self._closed()

    def kept(self, width: int) -> tuple[int, int]:
        return max(self._k + 2, width // 2), 0  # with one direction more, in which all their residuals lie

    def guesses(self, count: int) -> Array:
        return np.zeros((self._model.rank, 0))


class WarmSearch(_Common):
    """A model is known: look where it has its eigenvectors, and expect the error that it expects.

    The model takes directions that it has never met for ones of eigenvalue 0, and expects too small an error where they
    have more: half as large as it is where they have half of the wanted value, which the stopping rule allows for. The
    next Ritz value shows what they have; where it is above that half, the expectation is raised in proportion. By as
    much as the first product surprised the model, its other eigenvalues may be off too: those that could have overtaken
    are looked at before the end.
    """

    _next = 0

    @property
    def lost(self) -> bool:
        """Whether the first product showed another operator than the model's, or a value on the side of what it never met.

        Or whether the basis was full so often that the model no longer leads anywhere: at the dense edge of a bulk.
        """
        if self._model.restarts > _TIRED:
            return True
        if self._model.order != 1 or self._model.restarts > 0:
            return False
        height = float(_height(self._model.ritz().values, self._which)[0])
        return height <= 0 or self._model.surprise > _LOST * self._model.scale

    @property
    def early(self) -> bool:
        return self._model.order < self._k

    def goal(self, tol: float) -> float:
        return tol / _MARGIN

    def direction(self) -> Array:
        values, coordinates = self._model.eigen()
        ranked = order(values, self._which)
        return np.asarray(coordinates[:, ranked[min(self._next, len(ranked) - 1)]])

    def errors(self, ritz: Ritz, chosen: Array) -> Array:
        """min(r, how far the model's own eigenvalue lies beyond the Ritz value, raised as above)."""
        values, _ = self._model.eigen()
        expected = np.abs(values[order(values, self._which)][: len(chosen)] - ritz.values[chosen])
        heights = _height(ritz.values, self._which)
        others = np.delete(heights, chosen)
        distance = heights[chosen] - max(float(others.max(initial=0.0)), 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            raised = expected * np.maximum(1.0, np.abs(heights[chosen]) / (2 * np.maximum(distance, 0.0)))
        return np.asarray(np.fmin(ritz.residuals[chosen], raised))  # 0 times infinity: the residual decides

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
        last = float(_height(ritz.values[chosen], self._which).min())
        for place in range(self._k, len(ranked)):
            i = ranked[place]
            if last - float(_height(values, self._which)[i]) > self._model.surprise:
                break
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

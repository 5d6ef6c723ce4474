"""How many seeds would let the rule of :mod:`.decision` decide, by Student's interval of their mean."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np

from bntheory.arrays import Floats
from bntheory.evidence.decision import LEAST_SEEDS
from bntheory.evidence.intervals import least_equal, student_quantile

#: Beyond this many seeds "how many" is answered by "the effect is at the threshold".
MOST_SEEDS = 100_000
#: The share of each tail of the standard deviation that the integral over it leaves out.
_TAIL = 1e-10
#: So many standard deviations are certain, with any number of seeds.
_CERTAIN = 1e9


def seeds_needed(
    mean: float,
    deviation: float,
    threshold: float = 0.0,
    *,
    margin: float | None = None,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """The least number of seeds with which an interval at ``confidence`` decides rightly in ``power`` of all experiments.

    mean, deviation: of one number a seed, taken for the truth. Rightly decided is the side of the threshold or, of an
    effect within the margin, that it lies there; an experiment that decides either is one. None where the effect sits
    on the threshold and no margin was stated, or so close to it that more than ``MOST_SEEDS`` would be needed.
    """
    if not (math.isfinite(mean) and math.isfinite(deviation) and deviation >= 0):
        return None
    away = abs(mean - threshold)
    within = margin if margin is not None and away < margin else 0.0
    if away == 0 and within == 0:
        return None
    if deviation == 0:
        return least_equal(confidence)
    effect, room = min(away / deviation, _CERTAIN), min(within / deviation, _CERTAIN)
    return _least(lambda n: _power(n, effect, room, confidence), power)


def _least(power_of: Callable[[int], float], power: float) -> int | None:
    if power_of(LEAST_SEEDS) >= power:
        return LEAST_SEEDS
    high = 2 * LEAST_SEEDS  # the power of a far larger number costs more, and may be outside what can be evaluated
    while power_of(high) < power:
        high *= 2
        if high > MOST_SEEDS:
            return None
    enough = range(high // 2, high + 1)
    return enough[bisect_left(enough, power, key=power_of)]


def _power(n: int, effect: float, room: float, confidence: float) -> float:
    """P(the interval of n values decides rightly) for an effect and a margin of so many standard deviations; room 0: none."""
    from scipy import stats

    edge = student_quantile(n, confidence)
    shift, end = effect * math.sqrt(n), room * math.sqrt(n)
    if effect > 0 and shift > edge + 30:  # certain, and outside the range in which the noncentral t is evaluated
        return 1.0
    side = float(stats.nct.sf(edge, n - 1, shift)) if effect > 0 else 0.0
    return side + (_only_within(n - 1, edge, shift, end) if room > 0 else 0.0)


def _only_within(freedom: int, edge: float, shift: float, end: float) -> float:
    """P(the interval lies within the margin, and not on the effect's side of the threshold), in standard errors.

    Given the standard deviation, chi-distributed and apart from the mean, the interval reaches h to each side, and the
    mean has to lie between h - end and the smaller of h and end - h.
    """
    from scipy.special import gammainccinv, gammaincinv, gammaln, ndtr

    half, root = freedom / 2, math.sqrt(freedom)
    low, high = (math.sqrt(2 * float(inverse(half, _TAIL))) for inverse in (gammaincinv, gammainccinv))
    last = end * root / edge  # where h is the whole margin; at half of it the smaller of the two changes over
    cuts = sorted({low, *(min(max(x, low), high) for x in (last / 2, last))})
    nodes, weights = _panels()
    total = 0.0
    for begin, stop in pairwise(cuts):
        chi = begin + (stop - begin) * nodes
        h = edge * chi / root
        density = np.exp((1 - half) * math.log(2) + (freedom - 1) * np.log(chi) - chi**2 / 2 - gammaln(half))
        upper = np.minimum(h, end - h) if shift > 0 else end - h  # without an effect no side is right
        inside = ndtr(upper - shift) - ndtr(h - end - shift)
        total += (stop - begin) * float(weights @ (density * inside))
    return total


@lru_cache(maxsize=1)
def _panels(panels: int = 16, points: int = 24) -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss and Legendre's rule on the unit interval, panel by panel."""
    from numpy.polynomial.legendre import leggauss

    x, w = leggauss(points)
    nodes = (np.arange(panels)[:, None] + (x + 1) / 2) / panels
    return nodes.ravel(), np.tile(w / (2 * panels), panels)

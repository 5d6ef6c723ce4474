"""How many seeds would let the rule of :mod:`.decision` decide, by Student's interval of their mean."""

from __future__ import annotations

import math
from bisect import bisect_left

from bntheory.evidence.decision import LEAST_SEEDS
from bntheory.evidence.intervals import least_equal, student_quantile

#: Beyond this many seeds "how many" is answered by "the effect is at the threshold".
MOST_SEEDS = 100_000


def seeds_needed(
    mean: float,
    deviation: float,
    threshold: float = 0.0,
    *,
    margin: float | None = None,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """The least number of seeds with which an interval at ``confidence`` decides in ``power`` of all experiments.

    mean, deviation: of one number a seed, taken for the truth. Decided is the side of the threshold (noncentral t) or,
    with a margin, that the effect lies within it (each of its two sides then in half of what ``power`` leaves); the
    cheaper of the two counts. None where the effect sits on the threshold, or on the edge of the margin, so that no
    number would do.
    """
    if not (math.isfinite(mean) and math.isfinite(deviation) and deviation >= 0):
        return None
    away = abs(mean - threshold)
    found = [_least(away, deviation, confidence, power)]
    if margin is not None and away < margin:
        found.append(_least(margin - away, deviation, confidence, (1 + power) / 2))
    known = [n for n in found if n is not None]
    return min(known) if known else None


def _least(distance: float, deviation: float, confidence: float, power: float) -> int | None:
    if distance <= 0:
        return None
    if deviation == 0:
        return least_equal(confidence)
    if _power(LEAST_SEEDS, distance / deviation, confidence) >= power:
        return LEAST_SEEDS
    high = 2 * LEAST_SEEDS  # the power of a far larger number costs more, and may be outside what can be evaluated
    while _power(high, distance / deviation, confidence) < power:
        high *= 2
        if high > MOST_SEEDS:
            return None
    enough = range(high // 2, high + 1)
    return enough[bisect_left(enough, power, key=lambda n: _power(n, distance / deviation, confidence))]


def _power(n: int, standardised: float, confidence: float) -> float:
    """P(the interval of n values lies on the right side), for an effect of so many standard deviations."""
    from scipy import stats

    edge = student_quantile(n, confidence)
    shift = standardised * math.sqrt(n)
    if shift > edge + 30:  # certain, and outside the range in which the noncentral t is evaluated
        return 1.0
    return float(stats.nct.sf(edge, n - 1, shift))

"""What an interval says about a claim: the one rule, and how many seeds would let it decide.

A claim is that an effect lies ``above`` (or ``below``) a threshold. The interval of the effect lies strictly on the claim's side
(*supported*), strictly on the other (*contradicted*), wholly within a margin of the threshold that was stated beforehand
(*equivalent*: whatever the effect is, it is too small to matter), or none of these (*inconclusive*: too noisy). Equivalence comes
first: with enough seeds any effect is told from zero. Non-inferiority needs no rule of its own: it is the same claim with the
threshold moved by the margin.

No scipy on import: a check is made in every study, seeds are counted in few.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

__all__ = ["LEAST_SEEDS", "Interval", "Outcome", "Side", "outcome", "position", "seeds_needed"]

Side = Literal["above", "below"]
Outcome = Literal["supported", "contradicted", "equivalent", "inconclusive"]
#: With fewer numbers Student's interval is so wide, and normality so unchecked, that nothing is decided.
LEAST_SEEDS = 3
#: Beyond this many seeds "how many" is answered by "the effect is at the threshold".
MOST_SEEDS = 100_000


class Interval(Protocol):
    """What has two ends."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def position(
    low: float, high: float, threshold: float, margin: float | None = None
) -> Literal["above", "below", "equivalent", "open"]:
    """Where the interval from low to high lies with respect to the threshold and, if there is one, to its margin.

    Raises ValueError for a margin that is not above 0. NaN bounds leave everything open.
    """
    if margin is not None:
        if not margin > 0:
            raise ValueError(
                f"margin: {margin!r} is not above 0; no interval of positive length fits into a point"
            )
        if threshold - margin < low and high < threshold + margin:
            return "equivalent"
    if low > threshold:
        return "above"
    if high < threshold:
        return "below"
    return "open"


def outcome(interval: Interval, *, claim: Side, threshold: float, margin: float | None = None) -> Outcome:
    """What the interval says about "the effect lies ``claim`` the threshold". Raises as :func:`position`."""
    place = position(interval.low, interval.high, threshold, margin)
    if place == "open":
        return "inconclusive"
    if place == "equivalent":
        return "equivalent"
    return "supported" if place == claim else "contradicted"


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

    mean, deviation: of one number a seed, taken for the truth. Decided is the side of the threshold (noncentral t) or, with a margin,
    that the effect lies within it (each of its two sides then in half of what ``power`` leaves); the cheaper of the two counts.
    None where the effect sits on the threshold, or on the edge of the margin, so that no number would do.
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
    if deviation == 0 or _power(LEAST_SEEDS, distance / deviation, confidence) >= power:
        return LEAST_SEEDS
    low, high = LEAST_SEEDS, 2 * LEAST_SEEDS
    while _power(high, distance / deviation, confidence) < power:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if _power(middle, distance / deviation, confidence) < power:
            low = middle
        else:
            high = middle
    return high


def _power(n: int, standardised: float, confidence: float) -> float:
    """P(the interval of n values lies on the right side), for an effect of so many standard deviations."""
    from scipy import stats

    edge = float(stats.t.ppf((1 + confidence) / 2, n - 1))
    shift = standardised * math.sqrt(n)
    if shift > edge + 30:  # certain, and outside the range in which the noncentral t is evaluated
        return 1.0
    return float(stats.nct.sf(edge, n - 1, shift))

"""Two runs compared along training: at equal losses, at the start, at the end; and whether the effect changes sign on
the way.

A curve is (losses, values) in the order of training. What lives here: the one rule that reads a curve at a loss, the
log-ratios that it gives, and the course of an effect over seeds. What does not: what was measured, and on which
network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bntheory.evidence.decision import position
from bntheory.evidence.intervals import Estimate, estimate, simultaneous


def at_loss(losses: Sequence[float], values: Sequence[float | None], loss: float) -> float:
    """The value of a run where its loss first falls through ``loss``: linear in the logarithms of both; NaN where it
    never does.

    Points whose loss or value is not positive and finite are passed over. An arithmetic mean would lie above the
    geometric one, and a comparison of ratios would favour the run that is not interpolated. A loss that rises again is
    not read twice: the first time counts.
    """
    if not (loss > 0 and math.isfinite(loss)):
        return math.nan
    known = [
        (math.log(x), math.log(v))
        for x, v in zip(losses, values, strict=True)
        if v is not None and 0 < x < math.inf and 0 < v < math.inf
    ]
    goal = math.log(loss)
    for x, v in known[:1]:
        if x == goal:
            return math.exp(v)
    for (high, before), (low, after) in pairwise(known):
        if high >= goal >= low and high > low:
            weight = (high - goal) / (high - low)
            return math.exp((1 - weight) * before + weight * after)
    return math.nan


def log_ratio(left: float | None, right: float | None) -> float | None:
    """log10(left/right); None where one of them is missing, not positive or not finite."""
    if left is None or right is None or not (0 < left < math.inf and 0 < right < math.inf):
        return None
    return math.log10(left / right)


def mean_log_ratio_at_equal_loss(
    losses: Sequence[float],
    values: Sequence[float | None],
    other_losses: Sequence[float],
    other_values: Sequence[float | None],
) -> float | None:
    """The mean over a run's points of log10(value/the other run's at the same loss); None where no point has both."""
    return mean_of_known(
        log_ratio(value, at_loss(other_losses, other_values, loss)) for loss, value in zip(losses, values, strict=True)
    )


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """The mean of the numbers that are there; None where there is none."""
    known = [x for x in values if x is not None]
    return sum(known) / len(known) if known else None


def common_losses(runs: Sequence[Sequence[float]], count: int) -> tuple[float, ...]:
    """``count`` losses, even in the logarithm, strictly inside the range that every one of the runs went through,
    falling.

    Empty where the runs have no range in common.
    """
    high = min(max((x for x in run if math.isfinite(x)), default=0.0) for run in runs)
    low = max(min((x for x in run if x > 0), default=math.inf) for run in runs)
    if not high > low > 0:
        return ()
    step = math.log(low / high) / (count + 1)
    return tuple(high * math.exp(step * (i + 1)) for i in range(count))


@dataclass(frozen=True)
class Course:
    """An effect along training: the estimate of log10 of a ratio at each place ("start", "loss 0.9", "end"), in
    order."""

    estimates: Mapping[str, Estimate]

    @property
    def crossing(self) -> tuple[str, str] | None:
        """Two places, the earlier first, at which the effect has opposite signs beyond its intervals; None where it has
        not.

        An effect with a crossing is not averaged: one mean would mix both sides.
        """
        seen: dict[str, str] = {}
        for place, e in self.estimates.items():
            side = position(e.low, e.high, 0.0)
            other = {"above": "below", "below": "above"}.get(side)
            if other in seen:
                return seen[other], place
            if other is not None:
                seen.setdefault(side, place)
        return None


def course(effects: Mapping[str, Sequence[float | None]], confidence: float | None = None) -> Course:
    """The estimates over seeds at every place; places with fewer than two numbers are left out.

    confidence: of each interval; where left out they hold together at 95 %, as two that are picked out by what they say
    have to.
    """
    known = {place: [x for x in values if x is not None] for place, values in effects.items()}
    confidence = confidence or simultaneous(0.95, max(len(known), 1))
    return Course({place: estimate(values, confidence) for place, values in known.items() if len(values) > 1})

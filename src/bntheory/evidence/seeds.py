"""One number a seed, many seeds, one check: how every trained network of a claim ends as evidence.

Everything within a seed is paired or averaged first, so the numbers are independent over seeds. What lives here: the
check that their interval makes. What does not: the interval (:mod:`.intervals`), training, and what the number is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bntheory.evidence.checks import Check
from bntheory.evidence.comparable import has_diverged
from bntheory.evidence.compared import statistical
from bntheory.evidence.counts import counted
from bntheory.evidence.decision import LEAST_SEEDS, Side, in_order
from bntheory.evidence.intervals import estimate
from bntheory.evidence.power import seeds_needed

_WHY = "Student's interval of the mean over seeds; everything within a seed is paired or averaged first"
#: Exactly so for three values that lie evenly, at 95 % and up to 24 seeds: no interval that errs less keeps its power.
_ON_A_GRID = (
    "; some are equal, as on a grid, where of a symmetric law it errs in up to an eighth of all cases instead of a twentieth; of another "
    "one a rare value that no seed has met moves the mean, and this is about the median"
)

#: At this level of the Shapiro-Wilk test: of normal numbers one sample in a hundred.
_ABNORMAL = 0.01
_NOT_NORMAL = (
    "; they are further from normal than 99 % of normal samples are (a skewed one, or an outlier), where it may err often: "
    "take logarithms, or more seeds"
)


def over_seeds(
    name: str,
    values: Sequence[float],
    side: Side,
    bound: float,
    scope: str,
    *,
    confidence: float = 0.95,
    margin: float | None = None,
    witness: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Check:
    """The mean over seeds lies ``side`` the bound, with Student's t interval.

    values: one number a seed. A seed that gave none is left out by the caller, who says so in ``scope``; a value that
    is not finite, or fewer than ``LEAST_SEEDS`` values, leave the check undecided. margin, rest: as in :class:`Check`.
    The values go into the witness, and where noise leaves it open, how many seeds would decide it in 80 % of all
    experiments.
    """
    mean, half, needed = math.nan, math.inf, None
    if len(values) >= LEAST_SEEDS and not has_diverged(values):
        e = estimate(values, confidence)
        mean, half = e.mean, e.high - e.mean
        needed = seeds_needed(e.mean, e.deviation, bound, margin=margin, confidence=confidence)
    left, right = in_order(name, mean, side, bound)
    check = statistical(
        name,
        f"{counted(len(values), 'seed')}, {scope}",
        uncertainty=half,
        confidence=confidence,
        why=_WHY + _doubts(values),
        witness={**(witness or {}), "values": [round(float(v), 6) for v in values]},
        margin=margin,
        **rest,
    ).le(left, right)
    if check.outcome == "undecided" and math.isfinite(half):
        return replace(check, witness={**check.witness, "seeds_for_80_percent_power": needed})
    return check


def _doubts(values: Sequence[float]) -> str:
    """Why the interval may err more often than it says, as far as the sample shows it."""
    from scipy import stats

    if len(set(values)) < len(values):
        return _ON_A_GRID
    tested = len(values) >= LEAST_SEEDS and not has_diverged(values)
    return _NOT_NORMAL if tested and float(stats.shapiro(values).pvalue) < _ABNORMAL else ""

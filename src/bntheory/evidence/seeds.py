"""One number a seed, many seeds, one check: how every trained network of a claim ends as evidence.

Everything within a seed is paired or averaged first, so the numbers are independent over seeds. What lives here: the
check that their interval makes. What does not: the interval (:mod:`.intervals`), training, and what the number is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bntheory.errors import UserError
from bntheory.evidence.checks import Check
from bntheory.evidence.comparable import has_diverged
from bntheory.evidence.compared import statistical
from bntheory.evidence.counts import counted
from bntheory.evidence.decision import LEAST_SEEDS, Side, in_order, is_number
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
    is not finite, or fewer than ``LEAST_SEEDS`` values, leave the check undecided, and so do equal values that are too
    few for an interval; the scope then says so. margin, rest: as in :class:`Check`. The values go into the witness, and
    where noise leaves it open, how many seeds would decide it in 80 % of all experiments.

    Raises UserError for what are no numbers, a bound, a margin or a confidence that is none, or numbers too large for a
    mean and a spread.
    """
    refuse_other_than_numbers(name, values)
    in_order(name, math.nan, side, bound)  # refuses before anything is computed with the bound
    for what, given in (("margin", margin), ("confidence", confidence)):
        if not (is_number(given) or (given is None and what == "margin")):
            raise UserError(f"check {name!r:.60}: the {what} is {given!r:.40}; give a number")
    mean, half, needed = math.nan, math.inf, None
    if len(values) >= LEAST_SEEDS and not has_diverged(values):
        with np.errstate(over="ignore", invalid="ignore"):
            e = estimate(values, confidence)
        if not (math.isfinite(e.mean) and math.isfinite(e.deviation)):
            worst = max(values, key=abs)
            raise UserError(
                f"check {name!r:.60}: {worst!r:.40} is too large for a mean and a spread over seeds; give logarithms, or None for a seed "
                "whose run has diverged"
            )
        mean, half = e.mean, e.high - e.mean
        needed = seeds_needed(e.mean, e.deviation, bound, margin=margin, confidence=confidence)
    left, right = in_order(name, mean, side, bound)
    check = statistical(
        name,
        f"{counted(len(values), 'seed')}, {scope}{_without_interval(values, half)}",
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


def refuse_other_than_numbers(name: str, values: Any) -> None:
    """UserError for a name that is no text, for what is no list, and for its first entry that is neither a number nor None."""
    if not isinstance(name, str):
        raise UserError(
            f"a check: its name is {name!r:.60}; give words, and in this order: the name, the numbers, the side, the bound, the scope"
        )
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
        raise UserError(f"check {name!r:.60}: its numbers are {values!r:.60}; give a list, one number a seed")
    for place, value in enumerate(values):
        if value is not None and not is_number(value):
            raise UserError(
                f"check {name!r:.60}: entry {place} of its numbers is {value!r:.40}; give one number a seed, None for a seed that gave none"
            )


def _without_interval(values: Sequence[float], half: float) -> str:
    """Why there is no interval, where it is not for want of seeds."""
    lost = sum(not math.isfinite(value) for value in values)
    if lost:
        return f"; {lost} of {len(values)} numbers {'is' if lost == 1 else 'are'} not finite, as of an arm that has diverged"
    if len(values) >= LEAST_SEEDS and not math.isfinite(half):
        return "; all seeds gave the same number, so there is no spread and no interval"
    return ""


def _doubts(values: Sequence[float]) -> str:
    """Why the interval may err more often than it says, as far as the sample shows it."""
    from scipy import stats

    if len(set(values)) < len(values):
        return _ON_A_GRID
    tested = len(values) >= LEAST_SEEDS and not has_diverged(values)
    return _NOT_NORMAL if tested and float(stats.shapiro(values).pvalue) < _ABNORMAL else ""

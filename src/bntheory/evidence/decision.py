"""What an interval says about a claim: the one rule.

A claim is that an effect lies ``above`` (or ``below``) a threshold. The interval of the effect lies strictly on the
claim's side (*supported*), strictly on the other (*contradicted*), wholly within a margin of the threshold that was
stated beforehand (*equivalent*: whatever the effect is, it is too small to matter), or none of these (*inconclusive*:
too noisy). Equivalence comes first: with enough seeds any effect is told from zero. Non-inferiority needs no rule of
its own: it is the same claim with the threshold moved by the margin.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

from bntheory.errors import UserError

Side = Literal["above", "below"]
Outcome = Literal["supported", "contradicted", "equivalent", "inconclusive"]
#: With fewer numbers Student's interval is so wide, and normality so unchecked, that nothing is decided.
LEAST_SEEDS = 3


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
            raise ValueError(f"margin: {margin!r} is not above 0; no interval of positive length fits into a point")
        if threshold - margin < low and high < threshold + margin:
            return "equivalent"
    if low > threshold:
        return "above"
    if high < threshold:
        return "below"
    return "open"


def checked_side(what: str, side: str) -> Side:
    """The side, where it is one. UserError says what it can be: another word would be taken for one of the two."""
    if side == "above":
        return "above"
    if side == "below":
        return "below"
    raise UserError(
        f"{what}: the side {side!r} is not known, and which way the claim goes hangs on it; write 'above' or 'below'"
    )


def is_number(value: Any) -> bool:
    """Whether it is one real number, NaN and infinities among them; text that reads like one is none."""
    if isinstance(value, (str, bytes, bytearray)) or getattr(value, "ndim", None):
        return False
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def in_order(name: str, number: float, side: Side, bound: float) -> tuple[float, float]:
    """(left, right) of the comparison left <= right that says "the number lies ``side`` the bound". UserError for another side, or a
    bound that is no number, or NaN."""
    if not is_number(bound):
        raise UserError(
            f"check {name!r:.60}: the bound is {bound!r:.40}; give a number, that on whose side the mean is asked to lie"
        )
    if math.isnan(bound):
        raise UserError(
            f"check {name!r}: the bound is NaN, so nothing lies on either side of it; give a number, or no check"
        )
    return (number, bound) if checked_side(f"check {name!r}", side) == "below" else (bound, number)


def outcome(interval: Interval, *, claim: Side, threshold: float, margin: float | None = None) -> Outcome:
    """What the interval says about "the effect lies ``claim`` the threshold". Raises as :func:`position`, and UserError for another
    claim."""
    claim = checked_side("claim", claim)
    place = position(interval.low, interval.high, threshold, margin)
    if place == "open":
        return "inconclusive"
    if place == "equivalent":
        return "equivalent"
    return "supported" if place == claim else "contradicted"

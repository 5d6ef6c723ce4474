"""How studies turn counts, medians and fitted exponents into checks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical, statistical
from bntheory.evidence.decision import Side, in_order
from bntheory.evidence.intervals import summarise

if TYPE_CHECKING:
    from bntheory.evidence.slopes import SlopeFit


def slope_bound(
    name: str,
    fit: SlopeFit,
    side: Side,
    bound: float,
    scope: str,
    *,
    half: float | None = None,
    why: str = "",
    **rest: Any,
) -> Check:
    """The fitted exponent lies ``side`` the bound. half: of its interval; the longer one, where left out. rest: as of
    :class:`Check`."""
    left, right = in_order(name, fit.slope, side, bound)
    reach = max(fit.high - fit.slope, fit.slope - fit.low, 0.0) if half is None else half
    checked = statistical(name, scope, uncertainty=reach, confidence=fit.confidence, why=why or str(fit), **rest)
    return checked.le(left, right)


def slope_checks(name: str, fit: SlopeFit, claimed: float, margin: float, scope: str) -> tuple[Check, Check]:
    """The fitted exponent lies within ``margin`` of the claimed one: two one-sided comparisons (an
    equivalence test)."""
    why = f"{fit}; drift over the range {fit.drift:.3g}; claimed is {claimed:g}, within {margin:g}"
    witness = {"seed": fit.seed, "points": fit.points, "replicates": fit.replicates}
    low, high = claimed - margin, claimed + margin
    said: dict[str, Any] = {"why": why, "witness": witness}
    least = slope_bound(f"{name}: exponent at least {low:g}", fit, "above", low, scope, **said)
    return least, slope_bound(f"{name}: exponent at most {high:g}", fit, "below", high, scope, **said)


def median_bound(name: str, values: Iterable[float], side: Side, bound: float, scope: str, **rest: Any) -> Check:
    """The median of independent numbers lies ``side`` the bound, by the longer side of its distribution-free interval.

    Undecided with so few numbers (five) that even the smallest and the largest do not enclose it at 95 %. rest: as of :class:`Check`. Raises ValueError for no values, or one that is not finite.
    """
    found = summarise(values)
    left, right = in_order(name, found.median, side, bound)
    reach = max(found.median - found.low, found.high - found.median) if found.coverage >= 0.95 else math.inf
    return statistical(name, scope, uncertainty=reach, confidence=found.coverage, **rest).le(left, right)


def count_check(name: str, failures: int, cases: int, scope: str, **rest: Any) -> Check:
    """None of the cases fails. ``cases`` = 0 would say nothing, so it is an error. rest: as of :class:`Check`."""
    if cases < 1:
        raise ValueError(f"check {name!r} ran over no case at all: it cannot fail, so it must not be made")
    return numerical(f"{name} (failures among {cases} cases)", scope, **rest).eq(failures, 0)

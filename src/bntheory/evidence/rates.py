"""How studies of dynamics turn counts and fitted exponents into checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bntheory.evidence.checks import Check

if TYPE_CHECKING:
    from bntheory.evidence.slopes import SlopeFit

__all__ = ["count_check", "slope_checks"]


def slope_checks(
    name: str, fit: SlopeFit, claimed: float, margin: float, scope: str, *, decisive: bool = True
) -> tuple[Check, Check]:
    """The fitted exponent lies within ``margin`` of the claimed one: two one-sided comparisons (an
    equivalence test)."""
    half = max(fit.high - fit.slope, fit.slope - fit.low, 0.0)
    why = f"{fit}; drift over the range {fit.drift:.3g}; claimed is {claimed:g}, within {margin:g}"
    low, high = claimed - margin, claimed + margin
    common: dict[str, Any] = {
        "exactness": "statistical",
        "uncertainty": half,
        "confidence": fit.confidence,
        "why": why,
        "witness": {"seed": fit.seed, "points": fit.points, "replicates": fit.replicates},
        "decisive": decisive,
    }
    return (
        Check(f"{name}: exponent at least {low:g}", low, "le", fit.slope, scope=scope, **common),
        Check(f"{name}: exponent at most {high:g}", fit.slope, "le", high, scope=scope, **common),
    )


def count_check(
    name: str,
    failures: int,
    cases: int,
    scope: str,
    *,
    why: str = "",
    witness: Mapping[str, Any] | None = None,
    decisive: bool = True,
) -> Check:
    """None of the cases fails. ``cases`` = 0 would say nothing, so it is an error."""
    if cases < 1:
        raise ValueError(f"check {name!r} ran over no case at all: it cannot fail, so it must not be made")
    return Check(
        f"{name} (failures among {cases} cases)",
        float(failures),
        "eq",
        0.0,
        "numerical",
        scope,
        why=why,
        witness=dict(witness or {}),
        decisive=decisive,
    )

"""How studies of dynamics turn identities, counts and fitted exponents into checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bntheory.claims.evidence import Check

if TYPE_CHECKING:
    from bntheory.models.fit import SlopeFit

__all__ = ["at_most_checks", "count_check", "identity", "slope_checks"]


def identity(name: str, difference: Any, scope: str, why: str = "") -> Check:
    """A symbolic identity: ``difference`` (sympy) must vanish identically as a rational function of its
    symbols.

    The number compared with 0 is how many terms its numerator keeps after expansion; a numerator that
    keeps one is not zero on the whole scope, so a failure refutes.
    """
    import sympy

    expression = sympy.together(sympy.sympify(difference))
    numerator = sympy.expand(sympy.numer(expression))
    if numerator != 0:
        numerator = sympy.expand(sympy.simplify(numerator))
    terms = 0 if numerator == 0 else len(sympy.Add.make_args(numerator))
    return Check(
        name=name,
        left=float(terms),
        op="eq",
        right=0.0,
        exactness="proof",
        scope=scope,
        why=why,
        decisive=True,
    )


def slope_checks(
    name: str, fit: SlopeFit, claimed: float, margin: float, scope: str, *, decisive: bool = True
) -> tuple[Check, Check]:
    """The fitted exponent lies within ``margin`` of the claimed one: two one-sided comparisons (an
    equivalence test)."""
    half = max(fit.high - fit.slope, fit.slope - fit.low, 0.0)
    why = f"{fit}; drift over the range {fit.drift:.3g}; margin {margin:g}"
    common: dict[str, Any] = {
        "exactness": "statistical",
        "uncertainty": half,
        "confidence": fit.confidence,
        "why": why,
        "witness": {"seed": fit.seed, "points": fit.points, "replicates": fit.replicates},
        "decisive": decisive,
    }
    return (
        Check(
            f"{name}: exponent at least {claimed:g}", claimed - margin, "le", fit.slope, scope=scope, **common
        ),
        Check(
            f"{name}: exponent at most {claimed:g}", fit.slope, "le", claimed + margin, scope=scope, **common
        ),
    )


def at_most_checks(
    name: str, fit: SlopeFit, claimed: float, margin: float, scope: str, *, decisive: bool = True
) -> Check:
    """The fitted exponent is at most the claimed one, up to ``margin``: a bound on a rate."""
    return slope_checks(name, fit, claimed, margin, scope, decisive=decisive)[1]


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

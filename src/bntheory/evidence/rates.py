"""How studies of dynamics turn identities, counts and fitted exponents into checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bntheory.evidence.checks import Check

if TYPE_CHECKING:
    from bntheory.evidence.slopes import SlopeFit

__all__ = ["count_check", "identity", "slope_checks"]


def identity(name: str, difference: Any, scope: str, why: str = "") -> Check:
    """A symbolic identity: ``difference`` (sympy) must vanish identically on the whole scope.

    The number compared with 0 is how many terms its numerator keeps after expansion. A rational function
    of commuting symbols that keeps one is not zero, so a failure refutes. Anything else (roots,
    non-commuting symbols) that does not simplify to 0 fails only if it is far from 0 at some positive
    rational point, and is undecided otherwise.
    """
    import sympy

    expression = sympy.together(sympy.sympify(difference))
    numerator = sympy.expand(sympy.numer(expression))
    if numerator != 0:
        numerator = sympy.expand(sympy.simplify(numerator))
    left = 0.0 if numerator == 0 else float(len(sympy.Add.make_args(numerator)))
    if numerator != 0 and not (numerator.is_commutative and numerator.is_polynomial()):
        left = left if _far_from_zero(numerator) else float("nan")
    return Check(
        name=name,
        left=left,
        op="eq",
        right=0.0,
        exactness="proof",
        scope=scope,
        why=why,
        decisive=True,
    )


def _far_from_zero(expression: Any) -> bool:
    import sympy

    if not expression.is_commutative:
        return False
    symbols = sorted(expression.free_symbols, key=str)
    for shift in (2, 5, 11):
        point = {s: sympy.Rational(shift + 3 * k, 7 + k) for k, s in enumerate(symbols)}
        point = {s: -v if s.is_negative else v for s, v in point.items()}
        value = expression.subs(point).evalf(40)
        if value.is_number and value.is_finite and abs(value) > 1e-20:
            return True
    return False


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

"""A symbolic identity as a check."""

from __future__ import annotations

import math
from typing import Any

from bntheory.evidence.checks import Check


def identity(name: str, difference: Any, scope: str, why: str = "sympy", *, decisive: bool = True) -> Check:
    """A check that a sympy expression vanishes identically on the whole scope.

    What sympy cannot reduce to 0 is evaluated to 50 digits at a few rational points: a value that is not zero there
    shows that the identity fails; zeros alone prove nothing, and the check is undecided. So is one of non-commuting
    symbols.
    """
    import sympy as sp

    rest = sp.expand(sp.numer(sp.together(sp.sympify(difference))))
    if rest != 0:
        rest = sp.expand(sp.simplify(rest))
    value = 0.0 if rest == 0 else _largest_value(sp.sympify(difference))
    witness = {"simplified": str(rest)[:500]}
    return Check(name, value, "eq", 0.0, "proof", scope, why=why, witness=witness, decisive=decisive)


def _largest_value(expression: Any) -> float:
    """The largest |value| over some rational points, NaN if all are zero to 40 digits or none could be evaluated."""
    import sympy as sp

    names = sorted(expression.free_symbols, key=str) if expression.is_commutative else []
    largest = 0.0
    for shift in range(4):
        point = {v: sp.Rational(2 * i + 3 + shift, 17 + 3 * i + shift) for i, v in enumerate(names)}
        point = {v: -number if v.is_negative else number for v, number in point.items()}
        value = sp.N(expression.subs(point), 50)
        if value.is_number and value.is_finite:
            largest = max(largest, abs(complex(value)))
    return largest if largest > 1e-40 else math.nan

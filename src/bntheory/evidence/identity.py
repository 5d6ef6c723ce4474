"""A symbolic identity as a check."""

from __future__ import annotations

import math
from typing import Any

from bntheory.evidence.checks import Check

__all__ = ["identity"]


def identity(name: str, expression: Any, scope: str, *, decisive: bool = True) -> Check:
    """A check that a sympy expression vanishes identically.

    What sympy cannot reduce to a number is evaluated to 50 digits at a few rational points: a value that is not zero there shows
    that the identity fails; zeros alone prove nothing, and the check is undecided.
    """
    import sympy as sp

    rest = sp.simplify(expression)
    value = abs(float(rest)) if rest.is_number else _largest_value(rest)
    return Check(
        name,
        value,
        "eq",
        0.0,
        "proof",
        scope,
        why="sympy",
        witness={"simplified": str(rest)[:500]},
        decisive=decisive,
    )


def _largest_value(expression: Any) -> float:
    """The largest |value| over some rational points, nan if all are zero to 40 digits or none could be evaluated."""
    import sympy as sp

    names = sorted(expression.free_symbols, key=str)
    largest = 0.0
    for shift in range(4):
        point = {v: sp.Rational(2 * i + 3 + shift, 17 + 3 * i + shift) for i, v in enumerate(names)}
        value = sp.N(expression.subs(point), 50)
        if value.is_number and value.is_finite:
            largest = max(largest, abs(complex(value)))
    return largest if largest > 1e-40 else math.nan

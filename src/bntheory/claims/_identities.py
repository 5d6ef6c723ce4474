"""A symbolic identity as a check."""

from __future__ import annotations

from typing import Any

from bntheory.claims.evidence import Check

__all__ = ["identity"]


def identity(name: str, expression: Any, scope: str, *, decisive: bool = True) -> Check:
    """A check that a sympy expression vanishes identically; a remainder that is not a number counts as infinite."""
    import sympy as sp

    rest = sp.simplify(expression)
    value = abs(float(rest)) if rest.is_number else float("inf")
    return Check(
        name,
        value,
        "eq",
        0.0,
        "proof",
        scope,
        why="sympy",
        witness={"simplified": str(rest)},
        decisive=decisive,
    )

"""Identities that hold, that fail, and that sympy cannot tell: the expressions are chosen so that the answer is known."""

from __future__ import annotations

import sympy

from bntheory.evidence.identity import identity


def test_identity_sees_a_wrong_sign_and_a_wrong_factor():
    x, y = sympy.symbols("x y", positive=True)
    right = (x + y) ** 2 - x**2 - 2 * x * y - y**2
    assert identity("right", right, "").outcome == "holds"
    for wrong in (right + 2 * y**2, right - x * y, sympy.sqrt(x**2) - y, x / y - y / x):
        assert identity("wrong", wrong, "").outcome == "fails"
    # a root that sympy does not simplify: never a refutation where the difference is in fact zero
    hidden = sympy.sqrt(x**2 + 2 * x * y + y**2) - x - y
    assert identity("roots", hidden, "").outcome in ("holds", "undecided")
    assert identity("roots", hidden + y / 10**6, "").outcome == "fails"
    S, T = sympy.symbols("S T", commutative=False)
    assert identity("operators", S * T - T * S, "").outcome == "undecided"


def test_an_identity_that_sympy_cannot_reduce_is_not_called_false():
    x = sympy.symbols("x")
    assert identity("true", sympy.sin(x) ** 2 + sympy.cos(x) ** 2 - 1, "every x").outcome == "holds"
    assert identity("false", sympy.sin(x) - x, "every x").outcome == "fails"
    hidden = sympy.Function("f")(x)
    assert identity("unknown", hidden - hidden.subs(x, x + 1), "no f is given").outcome == "undecided"

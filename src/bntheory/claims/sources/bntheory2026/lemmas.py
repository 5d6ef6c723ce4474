"""The scalar inequalities that the exact results on the single unit end in, as z3 formulas.

Each lemma is a domain and what would violate it when its right-hand side is multiplied by a factor c: c = 1 must have
no model, and the tests require that c = 1/2 has one, so that no lemma holds vacuously. The derivations stand in
:mod:`bntheory.smoothness.unit.squared_loss` and :mod:`bntheory.smoothness.unit.suprema`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bntheory.evidence.checks import Check
from bntheory.evidence.compared import proof


@dataclass(frozen=True)
class Lemma:
    """name: the inequality in words. domain: z3 constraints. violated: factor -> z3 constraint; scope: over what it is
    decided."""

    name: str
    domain: tuple[Any, ...]
    violated: Callable[[Any], Any]
    scope: str


def decide(lemma: Lemma, *, factor: Any = 1, seconds: float = 60.0) -> str:
    """ "unsat" (the lemma holds), "sat" (it fails) or "unknown"."""
    import z3

    solver = z3.Solver()
    solver.set("timeout", int(1000 * seconds))
    solver.add(*lemma.domain, lemma.violated(factor))
    return str(solver.check())


def as_check(lemma: Lemma) -> Check:
    """The lemma as a check: the number of violating models that were found, nan where z3 ran out of time."""
    models = {"unsat": 0.0, "sat": 1.0}.get(decide(lemma), float("nan"))
    return proof(f"violations of: {lemma.name}", lemma.scope, why="z3, real arithmetic: no model of the negation").eq(
        models, 0.0
    )


def two_lipschitz_lemmas() -> tuple[Lemma, ...]:
    """2|f(y+u) - f(y) - f'(y)u|/|u|^2 <= 2(1+c) kappa after the supremum over directions."""
    import z3

    s, c, root = z3.Reals("s c root")
    squared = (2 * s * (1 + c) - c) ** 2 + (1 - c**2) * (1 - s) ** 2
    return (
        Lemma(
            "sqrt((2s(1+c)-c)^2 + (1-c^2)(1-s)^2) <= 1 + s^2 (1+c)",
            (s >= 0, c >= 0, c <= 1, root >= 0, root**2 == squared),
            lambda f: root > f * (1 + s**2 * (1 + c)),
            "every s = |x| >= 0 and c = |corr(y,t)| in [0,1]",
        ),
    )


def global_lemmas() -> tuple[Lemma, ...]:
    """What the suprema over all y need, in pi = 1/(1+|p|^2) in [0,1] and x, y >= 0."""
    import z3

    x, y, pi = z3.Reals("x y pi")

    def a(u: Any) -> Any:
        return (1 - 3 * u) * (1 + u) ** 2

    unit = (x >= 0, pi >= 0, pi <= 1)
    room = (1 - 3 * x) * (1 + y) ** 3 - (1 - 3 * y) * (1 + x) ** 3  # (1 - pi^2) (1-3x)(1+y)^3
    g2 = pi**2 * (9 * x + (1 - pi) * (1 - 2 * x) ** 2)  # G^2 (1+x)^5
    top, low = z3.Q(9, 4) * z3.Q(4**5, 5**5), z3.Q(19, 100)  # h(1/4), and the y of the third case
    return (
        Lemma(
            "h(y) >= G^2 where D(y) = pi^2 D(x)",
            (x >= 0, y >= x, y <= z3.Q(1, 4)),
            lambda f: 9 * f * (y * a(x) - x * a(y)) * (1 - 3 * x) * (1 + y) < (1 - 3 * y) * (1 - 2 * x) ** 2 * room,
            "0 <= x <= y <= 1/4, with 1 - pi <= 1 - pi^2",
        ),
        Lemma("G^2 <= h(1/4)", unit, lambda f: g2 > f * top * (1 + x) ** 5, "every x >= 0 and pi in [0,1]"),
        Lemma("-D(x) <= 1/4", (x >= 0,), lambda f: (3 * x - 1) > f * z3.Q(1, 4) * (1 + x) ** 3, "every x >= 0"),
        Lemma("1/4 <= D(19/100)", (), lambda f: f * (1 - 3 * low) / (1 + low) ** 3 < z3.Q(1, 4), "one number"),
        Lemma(
            "G^2 <= h(19/100)",
            (x >= z3.Q(1, 3), *unit),
            lambda f: g2 * (1 + low) ** 5 > f * 9 * low * (1 + x) ** 5,
            "every x >= 1/3 and pi in [0,1]",
        ),
        Lemma(
            "F^2 <= 1/(1+y)^3 where E(y)^2 = pi^3 E(x)^2",
            (*unit, y >= 0, y <= z3.Q(1, 3), y * (1 + x) ** 4 == pi**3 * x * (1 + y) ** 4),
            lambda f: f * (1 + x) ** 3 < pi * (1 + y) ** 3 * (1 + (1 - pi) * x),
            "every x >= 0, pi in [0,1] and the y in [0, 1/3] so defined",
        ),
    )

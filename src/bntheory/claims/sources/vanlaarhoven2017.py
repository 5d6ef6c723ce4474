"""Van Laarhoven: L2 regularization versus batch and weight normalization, 2017, arXiv 1706.05350 (second hand)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact
from bntheory.evidence.identity import identity
from bntheory.evidence.rates import slope_checks
from bntheory.evidence.seeds import over_seeds
from bntheory.layer.rational import root

KEY = "vanlaarhoven2017"
_SECOND_HAND = Source(KEY, "section 2", "arXiv 1706.05350", seen="second hand")
_NO_EFFECT = (
    r"\inf_w\, L(w)+\lambda\|w\|^2=\inf_w L(w)\ \text{for every}\ \lambda\ge0:\ L_2\ \text{regularises no function}"
)
_EQUILIBRIUM = r"\|w\|^4\to\frac{\eta\,E\|\tilde g\|^2}{4\lambda},\qquad \frac{\eta}{\|w\|^2}\sim\sqrt{\eta\lambda}"


@claim(
    "vanlaarhoven2017.no-regularisation",
    kind="dynamics",
    source=_SECOND_HAND,
    statement=_NO_EFFECT,
    reading="scale-invariant L (eps = 0): every function stays reachable at any price",
)
def no_regularisation(study: Study) -> list[Check]:
    import sympy as sp

    c, size, penalty, x = sp.symbols("c size penalty x", positive=True)
    y, z = sp.symbols("y z", real=True)
    w = sp.Matrix([x, y, z])
    n = sp.sqrt(x**2 + y**2 + z**2)
    scope = "every scale-invariant L, penalty >= 0"
    moved = sp.Matrix([sp.simplify(c * e / sp.sqrt(c**2 * (x**2 + y**2 + z**2))) for e in w])
    checks = [identity(f"direction of c w, coordinate {i}", moved[i] - w[i] / n, scope) for i in range(3)]
    limit = sp.limit(penalty * c**2 * size**2, c, 0, "+")
    why = "L(cw) + penalty ||cw||^2 = L(w) + penalty c^2 ||w||^2, and c > 0 is free; L + penalty >= L gives the other side"
    return [*checks, identity("the price of a function, penalty c^2 ||w||^2, vanishes with c", limit, scope, why)]


@claim(
    "vanlaarhoven2017.no-regularisation.eps-positive",
    kind="dynamics",
    source=_SECOND_HAND,
    statement=_NO_EFFECT,
    reading="eps > 0 in the normalisation, as in practice",
    note="For one unit the penalised infimum is 2 sqrt(penalty eps) - penalty eps: the effect is of order sqrt(eps).",
)
def no_regularisation_eps(study: Study) -> list[Check]:
    penalty, eps = Fraction(1), Fraction(1, 4)
    # L(w) = 1 - w^2/(w^2 + eps) -> inf L = 0. With x = w^2 + eps: eps/x + penalty (x - eps) >= 2
    # sqrt(penalty eps) - penalty eps
    least = root(penalty * eps) or Fraction(0)
    infimum = 2 * least - penalty * eps
    attained = eps / (least / penalty) + penalty * (least / penalty - eps)
    if attained != infimum:
        raise ArithmeticError("the arithmetic-geometric bound is not attained: the witness is wrong")
    return [
        exact(
            "inf of L + penalty w^2 equals inf of L, for L(w) = eps/(w^2 + eps)",
            "one weight, unit input variance, penalty 1, eps 1/4",
            why="least value by the inequality of arithmetic and geometric means, attained at w^2 = 1/4",
            witness={"penalty": "1", "eps": "1/4", "infimum": str(infimum), "w^2": "1/4"},
        ).eq(infimum, 0.0)
    ]


@claim(
    "vanlaarhoven2017.equilibrium",
    kind="dynamics",
    source=Source(KEY, "section 3", "arXiv 1706.05350", seen="second hand"),
    statement=_EQUILIBRIUM,
    reading="leading order in eta lambda, plain SGD, E||g~||^2 the same in every direction",
    note="Gradients whose size depends on the direction, or on time, have no such constant: the hypothesis is needed.",
)
def equilibrium(study: Study) -> Iterator[Check]:
    from bntheory.evidence.slopes import fit_power_law
    from bntheory.models.weight_decay import fixed_norm4, simulate_equilibrium, van_laarhoven_norm4

    products = np.geomspace(1e-3, 1e-1, 7)  # eta lambda
    gaps = [fixed_norm4(0.1, 2 * p / 0.1, 1.0) / van_laarhoven_norm4(0.1, p / 0.1, 1.0) - 1 for p in products]
    yield from _fixed_point()
    yield from slope_checks(
        "relative distance of the fixed point from the printed value, in eta lambda",
        fit_power_law(products, gaps),
        1.0,
        0.1,
        "gradients of constant size, eta lambda from 1e-3 to 1e-1",
    )
    product = study.choose(quick=4e-3, normal=1e-3, thorough=2.5e-4)
    seeds = study.choose(quick=8, normal=16, thorough=32)
    run = simulate_equilibrium(dimension=30, lr=0.1, decay=2 * product / 0.1, seeds=seeds, seed=study.seed)
    share = list(run.norm4 / van_laarhoven_norm4(0.1, product / 0.1, 1.0))
    scope = f"Gaussian tangent noise in R^30, eta lambda = {product:g}, {run.steps} steps; 5 eta lambda allows for the next order"
    name = "E||w||^4 over the printed value is at {} 1 up to 5 eta lambda"
    yield over_seeds(name.format("least"), share, "above", 1 - 5 * product, scope, witness={"seed": study.seed})
    yield over_seeds(name.format("most"), share, "below", 1 + 5 * product, scope, witness={"seed": study.seed})


@claim(
    "vanlaarhoven2017.equilibrium.exact",
    kind="dynamics",
    source=Source(KEY, "section 3", "arXiv 1706.05350", seen="second hand"),
    statement=r"\|w\|^4\to\frac{\eta\,E\|\tilde g\|^2}{4\lambda}",
    reading="as an equality at finite eta lambda, gradients of constant size",
)
def equilibrium_exact(study: Study) -> list[Check]:
    eta, penalty, noise2 = Fraction(1), Fraction(1, 4), Fraction(1)
    shrink = (1 - 2 * eta * penalty) ** 2
    fixed = eta**2 * noise2 / (1 - shrink)  # x = shrink x + eta^2 noise2/x, x = ||w||^2
    printed = eta * noise2 / (4 * penalty)
    return [
        exact(
            "||w||^4 at the fixed point",
            "eta = 1, lambda = 1/4, ||g~|| = 1",
            witness={"eta": "1", "lambda": "1/4", "fixed point": str(fixed), "printed": str(printed)},
        ).eq(fixed, printed)
    ]


@claim(
    "bntheory2026.weight-decay.equilibrium",
    kind="dynamics",
    source=Source("bntheory2026", "weight decay", seen="own"),
    statement=r"\|w\|^4\to\frac{\eta\,\|\tilde g\|^2}{4\lambda(1-\eta\lambda)}\quad(\|\tilde g\|\ \text{constant},\ 0<\eta\lambda<1,\ \eta\lambda\ne\tfrac12)",
    repairs="vanlaarhoven2017.equilibrium.exact",
)
def equilibrium_repaired(study: Study) -> list[Check]:
    return _fixed_point()


def _fixed_point() -> list[Check]:
    import sympy as sp

    eta, penalty, noise2 = sp.symbols("eta lambda G2", positive=True)
    norm4 = eta * noise2 / (4 * penalty * (1 - eta * penalty))
    scope = "plain descent, gradients of constant size, 0 < eta lambda < 1, eta lambda != 1/2"
    shrink = (1 - 2 * eta * penalty) ** 2
    y = sp.Symbol("y", positive=True)  # ||w||^2 over its fixed value
    moved = (shrink * y * sp.sqrt(norm4) + eta**2 * noise2 / (y * sp.sqrt(norm4))) / sp.sqrt(norm4)
    return [
        identity(
            "fixed point of ||w||^2 <- (1 - 2 eta lambda)^2 ||w||^2 + eta^2 ||g~||^2/||w||^2",
            shrink + eta**2 * noise2 / norm4 - 1,
            scope,
        ),
        identity(
            "||w||^2 over its fixed value: y <- q y + (1 - q)/y with q = (1 - 2 eta lambda)^2",
            moved - (shrink * y + (1 - shrink) / y),
            scope,
            "a mean of y and 1/y, so |log y| never grows, and shrinks to 0 for 0 < q < 1; at eta "
            "lambda = 1/2, q = 0, y and 1/y alternate for ever and nothing converges",
        ),
        identity(
            "ratio to the printed value tends to 1", sp.limit(norm4 / (eta * noise2 / (4 * penalty)) - 1, eta, 0), scope
        ),
        identity(
            "effective rate squared is 4 eta lambda (1 - eta lambda)/G^2",
            eta**2 / norm4 - 4 * eta * penalty * (1 - eta * penalty) / noise2,
            scope,
        ),
    ]

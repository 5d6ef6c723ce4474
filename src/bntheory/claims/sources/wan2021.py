"""Wan et al.: Spherical motion dynamics, NeurIPS 2021, arXiv 2006.08419 (seen)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.identity import identity
from bntheory.evidence.rates import slope_checks
from bntheory.evidence.seeds import over_seeds

KEY = "wan2021"
_SOURCE = Source(KEY, "Theorem 1", "arXiv 2006.08419")
_STATEMENT = r"\Delta=\angle(w_{t+1},w_t)\to\sqrt{\frac{2\eta\lambda}{1+\mu}}"
_STATES = "every stationary state of momentum descent with decay in the buffer, gradients orthogonal to w; any noise"


@claim(
    "wan2021.angular-update",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="root mean square angle, leading order in eta lambda, penalty (lambda/2)||w||^2 inside the momentum buffer",
    note="The derivation needs no model of the noise, only orthogonality and a stationary norm.",
)
def angular_update(study: Study) -> Iterator[Check]:
    yield from _cosine()
    yield from _order(study)
    product = study.choose(quick=1e-2, normal=4e-3, thorough=5e-4)
    for momentum in study.choose(quick=(0.0, 0.9), normal=(0.0, 0.5, 0.9), thorough=(0.0, 0.5, 0.9, 0.97)):
        shares, scope = _simulated(study, product, momentum, dimension=30, mean=False)
        name = f"root mean square angle over the printed one is at {{}} 1 up to 2 %, mu = {momentum:g}"
        yield over_seeds(name.format("least"), shares, "above", 0.98, scope, witness={"seed": study.seed})
        yield over_seeds(name.format("most"), shares, "below", 1.02, scope, witness={"seed": study.seed})


@claim(
    "wan2021.angular-update.mean-angle",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="mean angle, gradients whose size fluctuates: Gaussian in the 4 tangent directions of R^5",
    note="The mean of a fluctuating angle is below its root mean square: by 1 - 1/(4(d-1)) for Gaussian noise in R^d.",
)
def angular_update_mean(study: Study) -> list[Check]:
    shares, scope = _simulated(study, 1e-2, 0.0, dimension=5, mean=True)
    scope = f"{scope}; 1 - 1/(4(d-1)) = {1 - 1 / 16:.4f}"
    return [
        over_seeds(
            "mean angle over the printed one is at least 0.98",
            shares,
            "above",
            0.98,
            scope,
            witness={"seed": study.seed},
        )
    ]


@claim(
    "bntheory2026.angular-update",
    kind="dynamics",
    source=Source("bntheory2026", "weight decay", seen="own"),
    statement=r"E\langle w_{t+1},w_t\rangle=\Big(1-\frac{\eta\lambda}{1+\mu}\Big)E\|w_t\|^2\ "
    r"\text{in every stationary state, at every } \eta\lambda",
)
def angular_update_exact(study: Study) -> list[Check]:
    return _cosine()


def _cosine() -> list[Check]:
    """<w_{t+1}, w_t> from the recursion, with E<w_{t+1}, w_t> = E<w_t, w_{t-1}> = rho E||w||^2 and <g_t, w_t> = 0."""
    import sympy as sp

    mu, product, rho = sp.symbols("mu p rho", positive=True)
    solved = sp.solve((1 + mu - product) - mu * rho - rho, rho)
    if len(solved) != 1:
        raise ArithmeticError(f"the stationarity equation must have one solution, it has {solved}")
    angle2 = sp.acos(1 - product / (1 + mu)) ** 2
    first = sp.limit(angle2 / product, product, 0, "+")
    return [
        identity("E<w_{t+1}, w_t>/E||w||^2 = 1 - eta lambda/(1 + mu)", solved[0] - (1 - product / (1 + mu)), _STATES),
        identity("squared angle of that cosine over eta lambda tends to 2/(1 + mu)", first - 2 / (1 + mu), _STATES),
    ]


def _order(study: Study) -> tuple[Check, Check]:
    from bntheory.evidence.slopes import fit_power_law
    from bntheory.models.weight_decay import exact_cosine, wan_angle

    products = np.geomspace(1e-4, 1e-1, 7)
    exact = np.array([np.arccos(exact_cosine(0.1, p / 0.1, 0.9)) for p in products])
    printed = np.array([wan_angle(0.1, p / 0.1, 0.9) for p in products])
    return slope_checks(
        "relative distance of the exact angle from the printed one, in eta lambda",
        fit_power_law(products, exact / printed - 1),
        1.0,
        0.1,
        "mu = 0.9, eta lambda from 1e-4 to 1e-1",
    )


def _simulated(study: Study, product: float, momentum: float, *, dimension: int, mean: bool) -> tuple[list[float], str]:
    """One number a seed: the angle over the printed one."""
    from bntheory.models.weight_decay import simulate_equilibrium, wan_angle

    seeds = study.choose(quick=8, normal=12, thorough=32)
    run = simulate_equilibrium(
        dimension=dimension, lr=0.1, decay=product / 0.1, momentum=momentum, seeds=seeds, seed=study.seed
    )
    angles = run.angle if mean else np.sqrt(run.angle2)
    share = angles / wan_angle(0.1, product / 0.1, momentum)
    scope = f"Gaussian tangent noise in R^{dimension}, eta lambda = {product:g}, {run.steps} steps"
    return [float(x) for x in share], scope

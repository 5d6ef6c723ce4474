"""Candidates of this project about the landscape of a single normalised unit with squared loss. No source states
them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.bntheory2026.lemmas import as_check, global_lemmas, two_lipschitz_lemmas
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical
from bntheory.evidence.identity import identity

KEY = "bntheory2026"


@claim(
    "bntheory2026.single-unit.two-lipschitz",
    kind="landscape",
    source=Source(KEY, "the unit's 2-Lipschitz constant", seen="own"),
    statement=r"\sup_u \frac{2|\hat L(y+u)-\hat L(y)-\langle\nabla\hat L(y),u\rangle|}{\|u\|^2} = 2(1+|\phi|)\frac{|\gamma|T}{\sigma^2}\qquad(L=\tfrac12\|z-t\|^2,\ \varepsilon=0)",
    reading="T the standard deviation of the targets, phi their correlation with y; u not small. The frozen twin has gamma^2/sigma^2",
    note=(
        "So BN is below its twin where |gamma| > 2T(1+|phi|), twice to four times the targets' standard deviation: the jump at constant batches "
        "dictates the bound, not the local curvature, which is smaller everywhere."
    ),
)
def pointwise_two_lipschitz_of_the_unit(study: Study) -> Iterator[Check]:
    import numpy as np
    import sympy as sp

    from bntheory.smoothness import BatchNormUnit, squared_loss_spectrum, two_lipschitz

    c, s, psi = sp.symbols("c s psi", real=True)
    # |D| on the plane of y and t at its worst, in units of kappa; psi is the angle between x and y,
    # 1 + s^2 - 2 s cos(psi) = |x - y|^2
    worst = c * (1 - sp.cos(psi)) + sp.sqrt(1 - c**2) * (1 - s) * sp.sin(psi)
    room = (1 + c) * (1 + s**2 - 2 * s * sp.cos(psi)) - worst
    along = 2 * s * (1 + c) - c
    yield identity(
        "the bound as a wave in psi: constant minus amplitude times cosine",
        sp.expand(room - (1 + s**2 * (1 + c) - along * sp.cos(psi) - sp.sqrt(1 - c**2) * (1 - s) * sp.sin(psi))),
        "every s, psi and c in [0,1]; its least value over psi is 1 + s^2(1+c) minus the amplitude",
    )
    yield identity(
        "squared lemma minus s (1+c)^2 (s-1)^2 (s+2)",
        sp.expand(
            (1 + s**2 * (1 + c)) ** 2 - along**2 - (1 - c**2) * (1 - s) ** 2 - s * (1 + c) ** 2 * (s - 1) ** 2 * (s + 2)
        ),
        "a second proof of the lemma: the difference is a product of non-negative factors for s >= 0",
    )
    yield identity(
        "the bound is approached: room at s = 0 in the direction psi = pi - arccos(c) of the targets",
        room.subs({s: 0}).subs(psi, sp.pi - sp.acos(c)),
        "every c in [0,1]: x tends to the constant batch",
    )
    yield from (as_check(lemma) for lemma in two_lipschitz_lemmas())
    rng = np.random.default_rng(study.seed)
    for m in study.choose(quick=(3,), normal=(3, 6), thorough=(3, 6, 12)):
        y, t = rng.normal(size=(2, m))
        exact = squared_loss_spectrum(y, t, gamma=0.8).two_lipschitz
        measured = two_lipschitz(BatchNormUnit(t, gamma=0.8), y, samples=200, climbs=8, seed=study.seed)
        yield numerical(
            f"measured constant of a random unit against the formula, m = {m}",
            "an ascent over u with values and gradients only; it attains what it reports",
            uncertainty=1e-6 * exact,
            why="rounding near the constant batch",
            witness={"y": y.tolist(), "t": t.tolist(), "share of the formula": measured.value / exact},
            decisive=False,
        ).le(measured.value, exact)


@claim(
    "bntheory2026.single-unit.global-constant",
    kind="landscape",
    source=Source(KEY, "the unit's global constant", seen="own"),
    statement=r"\mathrm{Lip}(\nabla\hat L) = \frac{\gamma^2}{\varepsilon}\max_{0\le r\le1}(1-r^2)^2\Big(1-4r^2+\frac{3T}{|\gamma|}r\Big) \ge \frac{\gamma^2}{\varepsilon}\qquad(L=\tfrac12\|z-t\|^2,\ \varepsilon>0)",
    reading="as a function of y in R^m: the global 2-Lipschitz constant. A frozen twin has gamma^2/sigma^2 <= gamma^2/eps",
    note=(
        "Globally BN never reduces the constant of a unit with squared loss against any frozen twin, and raises it strictly unless the targets are "
        "constant. Derivation: bntheory.smoothness.unit.suprema."
    ),
)
def global_constant_of_the_unit(study: Study) -> Iterator[Check]:
    import numpy as np
    import sympy as sp

    from bntheory.smoothness import BatchNormUnit, Everywhere, derivative_lipschitz_constant
    from bntheory.smoothness.unit.suprema import unit_suprema

    k, eta, tau, sigma = sp.symbols("k eta tau sigma", real=True)
    pi, s, r = sp.symbols("pi s r", positive=True)
    length = sp.sqrt(1 / pi - 1)  # |p|
    square = length**2 + s**2
    f = -1 / (2 * (1 + square)) - k * (eta * length + tau * s) / sp.sqrt(1 + square)
    x = sigma**2
    expected = pi**2 * (1 - 3 * x) / (1 + x) ** 3 + k * pi * (1 + x) ** sp.Rational(-5, 2) * (
        3 * tau * sigma + eta * sp.sqrt(1 - pi) * (1 - 2 * x)
    )
    second = sp.diff(f, s, 2).subs(s, sigma / sp.sqrt(pi))
    radial = expected.subs({pi: 1, tau: 1, eta: 0})
    polynomial = (1 - r**2) ** 2 * (1 - 4 * r**2 + 3 * k * r)
    yield identity(
        "second derivative along a line minus its form in the proof",
        second - expected,
        "every line, direction of t, and k = T/|gamma|",
    )
    yield identity(
        "the radial line minus the polynomial of the statement",
        radial - polynomial.subs(r, sigma / sp.sqrt(1 + x)),
        "r = sigma/sqrt(1+sigma^2) = sqrt(var/(var+eps))",
    )
    yield identity(
        "value of the polynomial at r = 0, minus 1", polynomial.subs(r, 0) - 1, "so the maximum is at least gamma^2/eps"
    )
    yield identity(
        "slope of the polynomial at r = 0, minus 3k",
        sp.diff(polynomial, r).subs(r, 0) - 3 * k,
        "positive for k > 0: strictly above",
    )
    yield from (as_check(lemma) for lemma in global_lemmas()[:5])
    t = np.random.default_rng(study.seed).normal(size=5)
    exact = unit_suprema(5, 1.4, float(t.std()), 0.25).derivative_lipschitz
    samples = study.choose(quick=96, normal=200, thorough=400)
    measured = derivative_lipschitz_constant(
        BatchNormUnit(t, gamma=1.4, eps=0.25),
        Everywhere(np.zeros(5), 0.5, decades=2.0),
        samples=samples,
        seed=study.seed,
    )
    yield numerical(
        "measured global constant of a random unit against the formula",
        "m = 5, eps = 1/4, ascent on the Hessian's norm",
        uncertainty=1e-5 * exact,
        why="the ascent stops within 1e-5",
        decisive=False,
    ).eq(measured.value, exact)


@claim(
    "bntheory2026.single-unit.trajectory",
    kind="landscape",
    source=Source(KEY, "the unit's weights along gradient descent", seen="own"),
    statement=r"\|w_t - s\nabla\hat L(w_t)\| \ge \|w_t\| \ge \|w_0\|,\qquad \nabla^2\hat L(w)=\|w\|^{-2}\,\nabla^2\hat L(w/\|w\|)\qquad(\varepsilon=0)",
    reading=(
        "y = X w, any twice differentiable loss, gradient descent without weight decay, any step sizes: the loss along the whole trajectory is "
        "M/|w_0|^2-smooth, M the supremum of the Hessian's norm over the unit sphere, although the global constant is infinite"
    ),
    note=(
        "M is finite where X'CX is positive definite and the loss's derivatives are bounded on the range of z, a compact set. For whitened X and squared "
        "loss M = (2/sqrt 3) m |gamma| T_X. Weight decay breaks it: it lets w shrink."
    ),
)
def trajectory_of_the_unit(study: Study) -> list[Check]:
    import sympy as sp

    c, var, gamma = sp.symbols("c var gamma", positive=True)
    y, mean, beta, s = sp.symbols("y mean beta s", real=True)
    norm2, g2, cross = sp.symbols("norm2 g2 cross", nonnegative=True)

    def z(y: Any, mean: Any, var: Any) -> Any:
        return gamma * (y - mean) / sp.sqrt(var) + beta

    moved = norm2 - 2 * s * cross + s**2 * g2
    return [
        identity(
            "z of the batch c y minus z of y, c > 0 (its mean is c mean, its variance c^2 var)",
            z(c * y, c * mean, c**2 * var) - z(y, mean, var),
            "every example, batch size, X and w: f(c w) = f(w), whence <w, grad f> = 0 (d/dc at 1) and c^2 Hess f(c w) = Hess f(w) (twice d/dw)",
        ),
        identity(
            "|w - s grad|^2 - |w|^2 - s^2 |grad|^2 where <w, grad> = 0",
            moved.subs(cross, 0) - norm2 - s**2 * g2,
            "every s, so every step size and every point of a step",
        ),
        *_instance(),
    ]


def _instance() -> list[Check]:
    """Both consequences differentiated out for three examples with two weights: beside the proof, not part of it."""
    import sympy as sp

    a, b, x1, x2, gamma, beta = sp.symbols("a b x1 x2 gamma beta", positive=True)
    y = [a, x1 * a + b, x2 * b]
    mean = sum(y) / 3
    sigma = sp.sqrt(sum((v - mean) ** 2 for v in y) / 3)
    z = [gamma * (v - mean) / sigma + beta for v in y]
    euler = sum(w * sp.diff(z[0], w) for w in (a, b))
    numbers = {x1: 2, x2: 3, gamma: 2, beta: 1}
    loss = (z[0] - 1) ** 2 + sp.exp(z[1]) + (z[2] - 3) ** 4
    bend = sp.diff(loss.subs(numbers), a, 2)
    here, there = bend.subs({a: sp.Rational(3, 2), b: 1}), bend.subs({a: sp.Rational(9, 2), b: 3})
    return [
        identity("<w, dz/dw> for one example", euler, "three examples, two weights, symbols", decisive=False),
        numerical(
            "9 (d2f/da2)(3w) against (d2f/da2)(w)",
            "three examples, two weights, a loss with an exponential and a fourth power",
            uncertainty=1e-12 * abs(float(here)),
            why="30 digits, compared as floats",
            decisive=False,
        ).eq(sp.N(9 * there, 30), sp.N(here, 30)),
    ]

"""Li and Arora: An exponential learning rate schedule for deep learning, ICLR 2020, arXiv 1910.07454
(authors' text seen)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact, numerical, proof
from bntheory.evidence.identity import identity

KEY = "li2020"
_SOURCE = Source(KEY, "Theorem 2.12", "arXiv 1910.07454")
_STATEMENT = (
    r"\text{SGD}(\eta,\lambda,\mu)\ \equiv\ \text{SGD}(\eta_t=\alpha^{-2t-1}\eta,\,0,\,\mu),\quad "
    r"\alpha^2-(1+\mu-\lambda\eta)\alpha+\mu=0"
)


@claim(
    "li2020.exponential-lr",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="w_t = alpha^t u_t with matched first buffers, 0 < lambda eta <= (1 - sqrt mu)^2, eps = 0, learning rate outside"
    " the momentum buffer; either root",
)
def exponential_lr(study: Study) -> list[Check]:
    return [*_equivalence(), *_region(), *_exact_instances(), *_float_instances(study)]


@claim(
    "li2020.exponential-lr.zero-buffer",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="both runs start with an empty momentum buffer, as frameworks do",
    note="For mu = 0 the buffer is never read and the reading holds.",
)
def exponential_lr_zero_buffer(study: Study) -> list[Check]:
    gap = _rational_run(Fraction(1, 2), Fraction(4, 5), steps=1, matched=False)
    return [_run_check("||w_1 - alpha u_1||^2, exact", gap, "mu = 1/2, alpha = 4/5, one step")]


@claim(
    "li2020.exponential-lr.momentum-inside",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="learning rate inside the buffer, v <- mu v - eta_t g, w <- w + v, with the same mu",
    note="In this form the momentum must become mu/alpha^2.",
)
def exponential_lr_momentum_inside(study: Study) -> list[Check]:
    gap = _rational_run(Fraction(1, 2), Fraction(4, 5), steps=2, matched=True, inside=True)
    return [_run_check("||w_2 - alpha^2 u_2||^2, exact", gap, "mu = 1/2, alpha = 4/5, two steps")]


@claim(
    "li2020.exponential-lr.any-decay",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="for every lambda eta in (0, 1)",
    note="Between (1 - sqrt mu)^2 and (1 + sqrt mu)^2 the roots are complex: no schedule of learning rates exists.",
)
def exponential_lr_any_decay(study: Study) -> list[Check]:
    mu, product = Fraction(9, 10), Fraction(1, 100)
    discriminant = (1 + mu - product) ** 2 - 4 * mu
    return [
        exact(
            "the discriminant (1 + mu - lambda eta)^2 - 4 mu is not negative",
            "mu = 9/10, lambda eta = 1/100",
            witness={"mu": "9/10", "lambda eta": "1/100", "discriminant": str(discriminant)},
        ).le(0.0, discriminant)
    ]


@claim(
    "li2020.blog-growth",
    kind="dynamics",
    source=Source(KEY, "authors' blog post"),
    statement=r"\eta=0.1,\ \lambda=5\cdot10^{-4},\ \mu=0.9:\ \text{learning rate at iteration } t \text{ is } 0.1\times1.481^t",
    reading="a step t is one iteration, as printed",
)
def blog_growth(study: Study) -> list[Check]:
    growth, text = _growth(1)
    return [
        exact(
            "growth of the learning rate in one iteration, against 1.481 less half a unit of its last digit",
            "eta = 0.1, lambda = 5e-4, mu = 0.9, the slow root",
            why=f"alpha^-2 = {text} in ball arithmetic",
            witness={"alpha^-2": text, "iterations for a factor 1.481": _iterations_for(1.481)},
        ).le(1.4805, growth)
    ]


@claim(
    "li2020.blog-growth.per-epoch",
    kind="dynamics",
    source=Source(KEY, "authors' blog post", seen="own"),
    statement=r"\text{the learning rate grows by } 1.481 \text{ in an epoch of } \lceil 50000/128\rceil = 391 \text{ iterations}",
    reading="to the three decimals printed",
    repairs="li2020.blog-growth",
)
def blog_growth_per_epoch(study: Study) -> list[Check]:
    growth, text = _growth(391)
    why = f"the claim is one number: alpha^-782 = {text} in ball arithmetic"
    scope = "391 iterations, the slow root"
    return [
        proof("growth in an epoch is at least 1.4805", scope, why=why).le(1.4805, growth),
        proof("growth in an epoch is at most 1.4815", scope, why=why).le(growth, 1.4815),
    ]


def _growth(iterations: int) -> tuple[float, str]:
    """alpha^(-2 iterations) for the slow root, by Arb; the ball is far smaller than any comparison made with it."""
    from flint import arb, fmpq

    total = arb(fmpq(19, 10)) - arb(fmpq(1, 20000))
    alpha = (total + (total**2 - 4 * arb(fmpq(9, 10))).sqrt()) / 2
    ball = alpha ** (-2 * iterations)
    if not float(ball.rad()) < 1e-9:
        raise ArithmeticError(f"the ball {ball} is too wide for a comparison to three decimals")
    return float(ball.mid()), ball.str(12)


def _iterations_for(factor: float) -> float:
    return float(np.log(factor) / np.log(_growth(1)[0]))


def _equivalence() -> Iterator[Check]:
    """One step of the decayed run, written for u = alpha^-t w, is one step of the other, coefficient by coefficient."""
    import sympy as sp

    alpha, mu, lr, t = sp.symbols("alpha mu eta t", positive=True)
    product = 1 + mu - alpha - mu / alpha  # lambda eta, from the quadratic: alpha arbitrary, either root
    now, before, grad = sp.symbols("u_t u_before g_u")
    # grad f(alpha^t u) = alpha^-t grad f(u)
    stepped = (1 + mu - product) * alpha**t * now - mu * alpha ** (t - 1) * before - lr * alpha ** (-t) * grad
    left = sp.expand(sp.powsimp(sp.expand(stepped / alpha ** (t + 1))))
    rate, rate_before = lr * alpha ** (-2 * t - 1), lr * alpha ** (-2 * t + 1)
    buffer = (before - now) / rate_before  # from the previous step, u_t = u_{t-1} - rate_before buffer
    right = now - rate * (mu * buffer + grad)
    difference = sp.expand(sp.powsimp(sp.expand(left - right)))
    scope = "every scale-invariant loss with eps = 0, every alpha > 0 that solves the quadratic, every t >= 1"
    for name, symbol in (("u_t", now), ("u_{t-1}", before), ("the gradient", grad)):
        yield identity(f"coefficient of {name}", sp.simplify(difference.coeff(symbol, 1)), scope)


def _region() -> list[Check]:
    """Where the roots are real: sympy solves the discriminant for lambda eta; the smaller solution is the edge."""
    import sympy as sp

    mu, x = sp.symbols("mu x", positive=True)
    roots = sp.solve((1 + mu - x) ** 2 - 4 * mu, x)
    edge = (1 - sp.sqrt(mu)) ** 2
    product = sp.Mul(*[sp.expand(edge - r) for r in roots])
    scope = "0 < mu < 1"
    return [
        identity("(1 - sqrt mu)^2 solves the discriminant", sp.expand(product), scope),
        identity(
            "product of the roots is mu > 0, so both have the sign of their sum",
            sp.expand(sp.Mul(*sp.solve(x**2 - (1 + mu - sp.Symbol("p")) * x + mu, x))) - mu,
            scope,
        ),
    ]


def _rational_run(mu: Fraction, alpha: Fraction, *, steps: int, matched: bool, inside: bool = False) -> Fraction:
    """||w_T - alpha^T u_T||^2 in fractions, for a Rayleigh quotient in R^3; lambda eta follows from alpha and mu."""
    lr = Fraction(1, 3)
    decay = (1 + mu - alpha - mu / alpha) / lr
    w = [Fraction(1), Fraction(-2), Fraction(3)]
    u, v = list(w), [Fraction(0)] * 3
    z = [(alpha - 1) * x / (lr * alpha) for x in w] if matched else [Fraction(0)] * 3
    if inside:
        z = [-lr * alpha * x for x in z]  # the buffer that makes u_0 - u_{-1} the same
    for t in range(steps):
        v = [mu * a + g + decay * x for a, g, x in zip(v, _gradient(w), w, strict=True)]
        w = [x - lr * a for x, a in zip(w, v, strict=True)]
        rate = lr * alpha ** (-2 * t - 1)
        if inside:
            z = [mu * a - rate * g for a, g in zip(z, _gradient(u), strict=True)]
            u = [x + a for x, a in zip(u, z, strict=True)]
        else:
            z = [mu * a + g for a, g in zip(z, _gradient(u), strict=True)]
            u = [x - rate * a for x, a in zip(u, z, strict=True)]
    return sum(((a - alpha**steps * b) ** 2 for a, b in zip(w, u, strict=True)), Fraction(0))


def _gradient(w: list[Fraction]) -> list[Fraction]:
    spectrum = (Fraction(0), Fraction(1), Fraction(3))
    n = sum((x * x for x in w), Fraction(0))
    quotient = sum((a * x * x for a, x in zip(spectrum, w, strict=True)), Fraction(0)) / n
    return [(a - quotient) * x / n for a, x in zip(spectrum, w, strict=True)]


def _run_check(name: str, gap: Fraction, scope: str) -> Check:
    witness: dict[str, Any] = {"loss": "Rayleigh quotient, A = diag(0, 1, 3)", "w0": ["1", "-2", "3"], "eta": "1/3"}
    return exact(name, scope, witness=witness).eq(gap, 0.0)


def _exact_instances() -> list[Check]:
    """Both roots of one quadratic: alpha = 4/5 and mu/alpha = 5/8 for mu = 1/2 share lambda eta."""
    mu = Fraction(1, 2)
    return [
        _run_check(
            f"||w_3 - alpha^3 u_3||^2, alpha = {alpha}",
            _rational_run(mu, alpha, steps=3, matched=True),
            "mu = 1/2, three steps",
        )
        for alpha in (Fraction(4, 5), mu / Fraction(4, 5))
    ]


def _float_instances(study: Study) -> Iterator[Check]:
    """Long runs in floats; the tolerance is what rounding makes of the decayed run itself."""
    from bntheory.models.exponential_lr import compare_runs, exponential_schedule
    from bntheory.models.scale_invariant import RayleighPower

    loss, w0 = RayleighPower((0.0, 1.0, 2.0, 5.0)), np.random.default_rng(study.seed).normal(size=4)
    for mu, product in ((0.0, 1e-3), (0.5, 1e-4), (0.9, 1e-4)):
        schedule = exponential_schedule(0.1, product / 0.1, mu)
        for root in (schedule.slow, schedule.fast)[: 1 if mu == 0 else 2]:
            steps = min(study.choose(quick=300, normal=2000, thorough=20000), int(300 / abs(np.log(root))))
            found = compare_runs(loss, w0, schedule, steps, alpha=root, seed=study.seed)
            yield numerical(
                f"largest ||w_t - alpha^t u_t||/||w_t||, mu = {mu:g}, alpha = {root:.4f}",
                f"{steps} steps, learning rate grown to {found.final_rate:.3g}",
                uncertainty=200 * (found.rounding_floor + steps * np.finfo(float).eps),
                why="200 times what a perturbation of 1 ulp a step makes of the decayed run",
                decisive=False,
            ).le(found.discrepancy, 0.0)

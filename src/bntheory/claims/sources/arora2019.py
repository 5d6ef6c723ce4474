"""Arora, Li and Lyu: Theoretical analysis of auto rate-tuning by batch normalization, ICLR 2019, arXiv 1812.03981.

The weights w enter through y = Xw, so their gradient is X' input_grad: <w, grad_w> = <y, input_grad> and
||grad_w|| is a number of its own (the free scalar ``grad_w``), since X may be anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bntheory.claims.claim import Source, Study, claim, readings
from bntheory.evidence.checks import Check
from bntheory.evidence.rates import count_check, median_bound
from bntheory.layer import LayerDomain, Statement, eq
from bntheory.layer.domain import ScalarRange
from bntheory.layer.vocabulary import Layer

KEY = "arora2019"
_SOURCE = Source(KEY, "Lemma 2.4", seen="second hand")
_STEP: dict[str, ScalarRange] = {"w": "nonnegative", "grad_w": "nonnegative", "eta": "positive"}


@readings(
    claim(
        "arora2019.orthogonal.eps-zero",
        source=_SOURCE,
        statement=r"\langle w, \nabla_w\hat L\rangle = 0",
        domain=LayerDomain(eps="zero"),
        reading="eps = 0",
    ),
    claim(
        "arora2019.orthogonal.eps-positive",
        source=_SOURCE,
        statement=r"\langle w, \nabla_w\hat L\rangle = 0",
        domain=LayerDomain(eps="positive"),
        reading="eps > 0, as in practice",
    ),
)
def orthogonal(layer: Layer) -> Statement:
    return eq(layer.dot(layer.y, layer.input_grad), 0)


@claim(
    "arora2019.orthogonal.eps-exact",
    source=Source(KEY, "Lemma 2.4, with eps", seen="own"),
    statement=r"\langle w, \nabla_w\hat L\rangle = \frac{\varepsilon}{\sigma^2}\,\gamma\,\frac{\partial\hat L}{\partial\gamma}",
    domain=LayerDomain(eps="any"),
    repairs="arora2019.orthogonal.eps-positive",
)
def orthogonal_exact(layer: Layer) -> Statement:
    right = layer.eps / layer.sigma**2 * layer.gamma * layer.gamma_grad
    return eq(layer.dot(layer.y, layer.input_grad), right)


@readings(
    claim(
        "arora2019.pythagoras.eps-zero",
        source=_SOURCE,
        statement=r"\|w_{t+1}\|^2 = \|w_t\|^2 + \eta^2\|\nabla_w\hat L\|^2",
        domain=LayerDomain(eps="zero", scalars=_STEP),
        reading="eps = 0",
    ),
    claim(
        "arora2019.pythagoras.eps-positive",
        source=_SOURCE,
        statement=r"\|w_{t+1}\|^2 = \|w_t\|^2 + \eta^2\|\nabla_w\hat L\|^2",
        domain=LayerDomain(eps="positive", scalars=_STEP),
        reading="eps > 0, as in practice",
    ),
)
def pythagoras(layer: Layer) -> Statement:
    w2, size2, eta = layer.scalar("w") ** 2, layer.scalar("grad_w") ** 2, layer.scalar("eta")
    after = w2 - 2 * eta * layer.dot(layer.y, layer.input_grad) + eta**2 * size2
    return eq(after, w2 + eta**2 * size2)


_SPECTRUM = (0.0, 0.3, 0.6, 1.0)


def _runs(study: Study, power: int) -> tuple[Any, Any, Any, Any]:
    from bntheory.models.scale_invariant import RayleighPower, descend

    loss = RayleighPower(_SPECTRUM, power)
    rates = np.geomspace(1e-3, 1e3, 7)
    starts = np.random.default_rng(study.seed).normal(size=(study.choose(quick=12, normal=12, thorough=24), 1, 4))
    starts = starts / np.linalg.norm(starts, axis=-1, keepdims=True)
    steps = study.choose(quick=20_000, normal=50_000, thorough=500_000)
    return loss, rates, starts, descend(loss, starts, rates, steps, points=40)


def _late_exponents(run: Any) -> tuple[Any, int]:
    """Exponents over the last decade and a half, one a run, of the runs whose gradient has fallen tenfold by then."""
    from bntheory.evidence.slopes import fit_power_law

    late = run.steps >= run.total_steps / 30
    least = run["least_sphere_grad"].reshape(-1, len(run.steps))
    begun = least[:, np.argmax(late)] <= 0.1 * least[:, 0]
    slopes = [fit_power_law(run.steps[late], row[late], resamples=100).slope for row in least[begun]]
    return np.array(slopes), len(least)


_RATE = r"\min_{t<T}\|\nabla_{w/\|w\|}L(w_t)\|\ \text{falls like}\ T^{-1/2}\ \text{for } \eta \text{ over six orders of magnitude}"


@claim(
    "arora2019.any-learning-rate",
    kind="dynamics",
    source=Source(KEY, "Theorem 3.1", seen="second hand"),
    statement=_RATE,
    reading="at least as fast as T^-1/2, plain gradient descent on a smooth scale-invariant loss, eps = 0; the constant may"
    " depend on eta",
)
def any_learning_rate(study: Study) -> Iterator[Check]:
    """The proved bound at every step, and the median of the fitted exponents over the last decade and a half."""
    from bntheory.models.scale_invariant import any_rate_bound

    for power in (2, 4):
        loss, rates, starts, run = _runs(study, power)
        study.progress(power / 4, f"R^{power}")
        bound = any_rate_bound(loss, starts, rates)
        share = run["least_sphere_grad"] * np.sqrt(run.steps + 1.0) / bound.constant[..., None]
        scope = (
            f"loss R^{power}/2, R a Rayleigh quotient in R^4, {starts.shape[0]} starts on the unit "
            f"sphere, eta from 1e-3 to 1e3, T up to {run.total_steps:g}"
        )
        yield count_check(
            "running minimum above its bound C(eta)/sqrt(T)",
            int(np.sum(share > 1 + 1e-9)),
            share.size,
            scope,
            why=f"C(eta) is derived (AnyRateBound); closest call {float(share.max()):.3g} of it",
        )
        slopes, runs = _late_exponents(run)
        why = f"{len(slopes)} of {runs} runs have fallen tenfold by T/30; the others are covered by the bound alone"
        name = "median exponent of the running minimum is at most -1/2"
        yield median_bound(name, slopes, "below", -0.5, scope, why=why, witness={"seed": study.seed})


@claim(
    "arora2019.any-learning-rate.exactly",
    kind="dynamics",
    source=Source(KEY, "Theorem 3.1", seen="second hand"),
    statement=_RATE,
    reading="the exponent is -1/2 and not a smaller one",
    note="For one fixed trajectory it never is: the squares of the gradients are summable, so T min^2 -> 0. T^-1/2 is the"
    " best bound that holds for all losses together.",
)
def any_learning_rate_exactly(study: Study) -> Iterator[Check]:
    """The same exponents, against exactly -1/2 with a margin of 0.1."""
    for power in (2, 4):
        _, _, starts, run = _runs(study, power)
        slopes, runs = _late_exponents(run)
        yield median_bound(
            "median exponent of the running minimum is at least -0.6",
            slopes,
            "above",
            -0.6,
            f"loss R^{power}/2, {starts.shape[0]} starts, eta from 1e-3 to 1e3, T up to {run.total_steps:g}",
            why=f"{len(slopes)} of {runs} runs have fallen tenfold by T/30",
            witness={"seed": study.seed},
        )

"""Suprema of the single unit over whole regions, against ascents and dense grids that know nothing of the reduction to one radius."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bntheory.claims.sources.bntheory2026.lemmas import Lemma, decide, global_lemmas, two_lipschitz_lemmas
from bntheory.smoothness import (
    AffinePullback,
    BatchNormUnit,
    Everywhere,
    Sphere,
    dense_hessian,
    derivative_lipschitz_constant,
    lipschitz_constant,
    squared_loss_spectrum,
    two_lipschitz_constant,
)
from bntheory.smoothness.unit.suprema import unit_suprema, whitened_suprema


def whitened(m: int, n: int, seed: int) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(size=(m, n))
    return np.linalg.qr(raw - raw.mean(axis=0))[0] * math.sqrt(m)


@pytest.mark.parametrize("k", [0.0, 0.05, 0.7, 3.0, 40.0], ids=lambda k: f"T/gamma={k}")
@pytest.mark.parametrize("m", [2, 3, 6])
def test_against_a_grid_of_radius_and_angle(m: int, k: float) -> None:
    """Spectra of explicit layers on a grid of (r, angle): no ascent, no reduction."""
    gamma, eps = -1.5, 0.4
    T = k * abs(gamma)
    rng = np.random.default_rng(m)
    raw = rng.normal(size=(m, 2))
    if m == 2:
        t_hat = np.array([1.0, -1.0])
        angles = [0.0, np.pi]
        other = np.zeros(2)
    else:
        t_hat, other = (np.linalg.qr(raw - raw.mean(axis=0))[0] * math.sqrt(m)).T
        angles = list(np.linspace(0, np.pi, 13))
    exact = unit_suprema(m, gamma, T, eps)
    bend = slope = 0.0
    radii = np.append(np.linspace(1e-3, 0.999, 100), exact.attained_at)
    unit = BatchNormUnit(T * t_hat, gamma=gamma, eps=eps)
    for r in radii[radii > 0]:
        std = math.sqrt(eps * r**2 / (1 - r**2))
        for angle in angles:
            y = std * (math.cos(angle) * t_hat + math.sin(angle) * other)
            bend = max(bend, squared_loss_spectrum(y, T * t_hat, gamma=gamma, eps=eps).norm)
            slope = max(slope, float(np.linalg.norm(unit.grad(y))))
    assert bend <= exact.derivative_lipschitz * (1 + 1e-12)
    assert bend == pytest.approx(exact.derivative_lipschitz, rel=1e-5)
    assert slope <= exact.lipschitz * (1 + 1e-12)
    assert slope == pytest.approx(exact.lipschitz, rel=2e-3)


@pytest.mark.long
def test_against_ascent() -> None:
    t = np.random.default_rng(3).normal(size=4) * 2
    unit = BatchNormUnit(t, gamma=0.7, eps=0.09)
    exact = unit_suprema(4, 0.7, float(t.std()), 0.09)
    region = Everywhere(np.zeros(4), 0.3, decades=2.0)
    assert derivative_lipschitz_constant(unit, region, samples=200).value == pytest.approx(
        exact.derivative_lipschitz, rel=1e-6
    )
    assert lipschitz_constant(unit, region, samples=200).value == pytest.approx(exact.lipschitz, rel=1e-6)
    assert two_lipschitz_constant(unit, region, samples=400, climbs=12).value == pytest.approx(
        exact.derivative_lipschitz, rel=2e-3
    )


@pytest.mark.parametrize("k", [1e-3, 0.1, 1.0, 30.0, 1e4])
def test_never_below_any_frozen_twin_and_of_order_one_over_eps(k: float) -> None:
    for eps in (1e-8, 1e-5, 1.0):
        found = unit_suprema(5, 2.0, 2.0 * k, eps)
        assert found.derivative_lipschitz > 2.0**2 / eps  # the most that a frozen twin has
        assert found.derivative_lipschitz * eps == pytest.approx(
            unit_suprema(5, 2.0, 2.0 * k, 1.0).derivative_lipschitz, rel=1e-12
        )
    if k == 1e4:
        assert found.derivative_lipschitz == pytest.approx(4.0 * k * 48 / (25 * math.sqrt(5)), rel=1e-3)


@pytest.mark.parametrize("lemma", [*global_lemmas(), *two_lipschitz_lemmas()], ids=lambda lemma: lemma.name)
def test_lemmas_of_the_proofs_by_real_arithmetic(lemma: Lemma) -> None:
    """z3: no lemma has a counterexample, and a sharpened version of each has one, so that none holds vacuously."""
    import z3

    assert decide(lemma) == "unsat"
    assert decide(lemma, factor=z3.Q(1, 2)) == "sat"


def test_derivative_along_a_line_by_differences() -> None:
    """The two forms of the proof against central differences of f on a line, at random numbers."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        k, sigma, pi = rng.exponential(2), rng.normal(), rng.random()
        angle = rng.uniform(0, 2 * np.pi)
        eta, tau = np.cos(angle), np.sin(angle)
        length, x, h = math.sqrt(1 / pi - 1), sigma**2, 1e-4

        def f(s: float, k: float = k, eta: float = eta, tau: float = tau, length: float = length) -> float:
            square = length**2 + s**2
            return -1 / (2 * (1 + square)) - k * (eta * length + tau * s) / math.sqrt(1 + square)

        s = sigma / math.sqrt(pi)
        bend = pi**2 * (1 - 3 * x) / (1 + x) ** 3 + k * pi * (1 + x) ** -2.5 * (
            3 * tau * sigma + eta * math.sqrt(1 - pi) * (1 - 2 * x)
        )
        slope = pi**1.5 * sigma / (1 + x) ** 2 - k * math.sqrt(pi) * (1 + x) ** -1.5 * (
            tau - eta * math.sqrt(1 - pi) * sigma
        )
        assert (f(s + h) - 2 * f(s) + f(s - h)) / h**2 == pytest.approx(bend, abs=1e-5 * (1 + k))
        assert (f(s + h) - f(s - h)) / (2 * h) == pytest.approx(slope, abs=1e-6 * (1 + k))


def test_degenerate_cases() -> None:
    assert math.isinf(unit_suprema(5, 1.0, 1.0, 0.0).derivative_lipschitz)
    assert unit_suprema(5, 0.0, 1.0, 0.0).derivative_lipschitz == 0
    assert unit_suprema(5, 1.0, 0.0, 0.0).derivative_lipschitz == 0
    assert unit_suprema(5, 3.0, 0.0, 0.5).derivative_lipschitz == pytest.approx(18.0)
    with pytest.raises(ValueError, match="eps"):
        unit_suprema(5, 1.0, 1.0, -1.0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_whitened_weights(n: int) -> None:
    m = 7
    x, t = whitened(m, n, n), np.random.default_rng(9).normal(size=7)
    exact = whitened_suprema(x, t, gamma=1.3, eps=0.25)
    weights = AffinePullback(BatchNormUnit(t, gamma=1.3, eps=0.25), x)
    found = derivative_lipschitz_constant(weights, Everywhere(np.zeros(n), 0.5, decades=2.0), samples=200)
    assert found.value == pytest.approx(exact.everywhere, rel=1e-6)
    zero = whitened_suprema(x, t, gamma=1.3)
    assert math.isinf(zero.everywhere)
    if n == 1:
        assert zero.on_unit_sphere == 0
    else:
        flat = AffinePullback(BatchNormUnit(t, gamma=1.3), x)
        sphere = derivative_lipschitz_constant(flat, Sphere(np.zeros(n)), samples=200, segments=0)
        assert sphere.value == pytest.approx(zero.on_unit_sphere, rel=1e-6)
        assert zero.at_most(0.5) == 4 * zero.on_unit_sphere


def test_trajectory_bound() -> None:
    """At a learning rate far too large for the frozen twin the bound still holds at every point of every step."""
    x, t = whitened(8, 3, 1), np.random.default_rng(2).normal(size=8)
    exact = whitened_suprema(x, t, gamma=1.0)
    weights = AffinePullback(BatchNormUnit(t), x)
    w = np.array([0.3, -0.2, 0.1])
    bound = exact.at_most(float(np.linalg.norm(w)))
    for _ in range(20):
        g = weights.grad(w)
        for share in (0.0, 0.3, 1.0):
            assert np.linalg.norm(dense_hessian(weights, w - share * 0.05 * g), 2) <= bound * (1 + 1e-12)
        w = w - 0.05 * g
    assert exact.twin(1.0) == pytest.approx(8.0)


def test_inputs_that_are_not_whitened_are_refused() -> None:
    x = whitened(8, 3, 1)
    for wrong in (2 * x, x + 0.1, np.ones((3, 3))):
        with pytest.raises(ValueError, match=r"whitened|shape"):
            whitened_suprema(wrong, np.arange(len(wrong), dtype=float))

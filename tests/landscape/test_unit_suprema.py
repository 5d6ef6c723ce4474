"""Suprema of the single unit over whole regions, against ascents and dense grids that know nothing of the reduction to one radius."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bntheory.landscape import (
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
from bntheory.landscape.unit_suprema import unit_suprema, whitened_suprema


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
        assert found.derivative_lipschitz > found.twin_at_most
        assert found.derivative_lipschitz * eps == pytest.approx(
            unit_suprema(5, 2.0, 2.0 * k, 1.0).derivative_lipschitz, rel=1e-12
        )
    if k == 1e4:
        assert found.derivative_lipschitz == pytest.approx(4.0 * k * 48 / (25 * math.sqrt(5)), rel=1e-3)


def test_derivatives_along_a_line_symbolically() -> None:
    """sympy: f on the line v = p + s d of the proof, with <t',p> and <t',d> given, against D, G and E, F before the maximum."""
    import sympy as sp

    k, eta, tau, sigma = sp.symbols(
        "k eta tau sigma", real=True
    )  # t' = eta p/|p| + tau d + something orthogonal
    pi = sp.symbols("pi", positive=True)
    p_length = sp.sqrt(1 / pi - 1)
    s = sp.symbols("s", real=True)
    square = p_length**2 + s**2
    f = -1 / (2 * (1 + square)) - k * (eta * p_length + tau * s) / sp.sqrt(1 + square)
    x = sigma**2
    at = {s: sigma / sp.sqrt(pi)}
    second = pi**2 * (1 - 3 * x) / (1 + x) ** 3 + k * pi * (1 + x) ** sp.Rational(-5, 2) * (
        3 * tau * sigma + eta * sp.sqrt(1 - pi) * (1 - 2 * x)
    )
    first = pi ** sp.Rational(3, 2) * sigma / (1 + x) ** 2 - k * sp.sqrt(pi) * (1 + x) ** sp.Rational(
        -3, 2
    ) * (tau - eta * sp.sqrt(1 - pi) * sigma)
    for symbolic, expected in ((sp.diff(f, s, 2), second), (sp.diff(f, s), first)):
        difference = symbolic.subs(at) - expected
        for numbers in ((0.3, 0.7, -0.4, 1.1, 0.6), (2.0, -0.2, 0.9, -0.3, 0.15), (5.0, 0.5, 0.5, 2.5, 0.99)):
            point = dict(zip((k, eta, tau, sigma, pi), map(sp.Rational, map(str, numbers)), strict=True))
            assert abs(sp.N(difference.subs(point), 40)) < 1e-30


def test_the_scalar_inequalities_of_the_proof_by_real_arithmetic() -> None:
    """z3: each lemma has no counterexample, and a sharpened version of each has one, so that none holds vacuously."""
    import z3

    x, y, pi = z3.Reals("x y pi")

    def a(u: z3.ArithRef) -> z3.ArithRef:
        return (1 - 3 * u) * (1 + u) ** 2

    unit = [x >= 0, pi >= 0, pi <= 1]
    room = (1 - 3 * x) * (1 + y) ** 3 - (1 - 3 * y) * (1 + x) ** 3  # 1 - pi^2, times (1-3x)(1+y)^3
    g2 = pi**2 * (9 * x + (1 - pi) * (1 - 2 * x) ** 2)  # G^2 (1+x)^5
    top = z3.Q(9, 4) * z3.Q(4**5, 5**5)  # h(1/4)
    low = z3.Q(19, 100)
    lemmas = {
        "D(y) = pi^2 D(x)": (
            [x >= 0, y >= x, y <= z3.Q(1, 4)],
            lambda c: (
                9 * c * (y * a(x) - x * a(y)) * (1 - 3 * x) * (1 + y) < (1 - 3 * y) * (1 - 2 * x) ** 2 * room
            ),
        ),
        "G^2 <= h(1/4)": (unit, lambda c: g2 > c * top * (1 + x) ** 5),
        "-D <= 1/4": ([x >= 0], lambda c: (3 * x - 1) > c * z3.Q(1, 4) * (1 + x) ** 3),
        "1/4 <= D(19/100)": ([], lambda c: c * (1 - 3 * low) / (1 + low) ** 3 < z3.Q(1, 4)),
        "G^2 <= h(19/100) for x >= 1/3": (
            [x >= z3.Q(1, 3), *unit],
            lambda c: g2 * (1 + low) ** 5 > c * 9 * low * (1 + x) ** 5,
        ),
        "F^2 <= 1/(1+y)^3": (
            [*unit, y >= 0, y <= z3.Q(1, 3), y * (1 + x) ** 4 == pi**3 * x * (1 + y) ** 4],
            lambda c: c * (1 + x) ** 3 < pi * (1 + y) ** 3 * (1 + (1 - pi) * x),
        ),
    }
    for name, (domain, violated) in lemmas.items():
        for sharpened, expected in ((z3.Q(1, 1), z3.unsat), (z3.Q(1, 2), z3.sat)):
            solver = z3.Solver()
            solver.add(*domain, violated(sharpened))
            assert solver.check() == expected, name


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
    bound = exact.along_trajectory(float(np.linalg.norm(w)))
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

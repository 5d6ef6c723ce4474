"""Scale-free measures: exact values on quadratics, and invariance as a property.

For a quadratic every measure has a closed form (written in the test). The invariances f -> c f, x -> a x and rotation are stated
without reference to how a measure is computed: the same measure is taken of a transformed landscape at the transformed point.
The raw constants are shown to change under the same transformations, so that the property could fail.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bntheory.smoothness import (
    AffinePullback,
    BatchNormUnit,
    FunctionLandscape,
    Landscape,
    Scaled,
    extreme_eigenpairs,
    gradient_cosine,
    linearity_error,
    relative_curvature,
    scale_free,
    spectral_ratio,
    trust_fraction,
)
from bntheory.smoothness.eigenpairs import hessian_norm_pair
from bntheory.smoothness.functions import logistic_regression, quadratic

EIGENVALUES = np.array([4.0, 1.0, 0.25])
BOWL = quadratic(np.diag(EIGENVALUES)).landscape


def landscapes() -> list[tuple[Landscape, np.ndarray, float]]:
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(12, 4))
    logistic = logistic_regression(inputs, np.where(rng.random(12) < 0.5, -1.0, 1.0)).landscape
    unit = BatchNormUnit(rng.normal(size=9), gamma=0.7, beta=0.1, eps=1e-3)
    weights = AffinePullback(unit, rng.normal(size=(9, 4)))
    return [(logistic, rng.normal(size=4), 0.0), (weights, rng.normal(size=4), 0.0), (BOWL, rng.normal(size=3), -0.5)]


def numbers(landscape: Landscape, x: np.ndarray, infimum: float) -> np.ndarray:
    s = scale_free(landscape, x, infimum=infimum, fraction=0.2)
    return np.array(
        [
            float(s.relative_curvature),
            float(s.linearity_error),
            float(s.trust_fraction),
            float(s.gradient_cosine),
            float(spectral_ratio(landscape, x, bulk=3)),
        ]
    )


@given(which=st.integers(0, 2), log_c=st.floats(-6, 6), log_a=st.floats(-3, 3), seed=st.integers(0, 100))
def test_invariance(which: int, log_c: float, log_a: float, seed: int) -> None:
    landscape, x, infimum = landscapes()[which]
    c, a, n = 10**log_c, 10**log_a, landscape.dimension
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    # y = a R x, g(y) = c f(R'y/a)
    changed = Scaled(AffinePullback(landscape, rotation.T / a), c)
    at = a * rotation @ x
    np.testing.assert_allclose(numbers(changed, at, c * infimum), numbers(landscape, x, infimum), rtol=1e-6, atol=1e-9)
    raw, raw_changed = (abs(hessian_norm_pair(f, p, tolerance=1e-8).value) for f, p in ((landscape, x), (changed, at)))
    assert raw_changed == pytest.approx(raw * c / a**2, rel=1e-8)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.9])
def test_closed_forms_on_a_quadratic(fraction: float) -> None:
    x = np.array([0.3, -1.2, 2.0])
    g = EIGENVALUES * x
    excess, squared = 0.5 * float(g @ x), float(g @ g)
    step = fraction * excess / squared
    bend = float(g @ (EIGENVALUES * g)) / squared
    assert relative_curvature(BOWL, x).value == pytest.approx(4.0 * excess / squared)
    # f(x - s g) = f - s |g|^2 + s^2 g'Ag/2: relative error s bend/2
    assert linearity_error(BOWL, x, fraction=fraction).value == pytest.approx(step * bend / 2)
    after = g - step * EIGENVALUES * g
    cosine = float(g @ after) / math.sqrt(squared * float(after @ after))
    assert gradient_cosine(BOWL, x, fraction=fraction).value == pytest.approx(cosine)
    trust = trust_fraction(BOWL, x)
    assert trust.value == pytest.approx(min(1.0, squared / (bend * excess)), abs=trust.error + 1e-12)
    assert spectral_ratio(BOWL, x, bulk=3).value == pytest.approx(16.0)


def test_relative_curvature_along_the_steepest_axis_is_a_half() -> None:
    assert relative_curvature(BOWL, [3.0, 0.0, 0.0]).value == pytest.approx(0.5)


def test_a_straight_slope_is_trusted_completely() -> None:
    ramp = quadratic(np.zeros((2, 2)), [1.0, -2.0]).landscape
    trust = trust_fraction(ramp, [1.0, 0.0], infimum=-5.0)
    assert trust.value == 1.0
    assert "capped" in trust.note


def test_trust_fraction_stops_at_the_first_failure() -> None:
    """A cliff on the way: beyond it the prediction is hopeless, and the fraction ends there."""
    ramp = FunctionLandscape(
        1, lambda x: float(1 + x[0] + (10.0 if x[0] < -0.25 else 0.0)), lambda x: np.ones(1), lambda x, v: np.zeros(1)
    )
    trust = trust_fraction(ramp, 0.0)
    assert trust.value == pytest.approx(0.25, abs=2 * trust.error + 1e-12)


def test_spectral_ratio_of_a_large_landscape_against_dense() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(80, 80))
    a = a + a.T
    values = np.sort(np.abs(np.linalg.eigvalsh(a)))[::-1]
    found = spectral_ratio(quadratic(a).landscape, np.zeros(80), bulk=5)
    assert found.value == pytest.approx(values[0] / values[4], rel=1e-5)


@pytest.mark.parametrize("which", ["norm", "top", "bottom"])
def test_lanczos_against_dense(which: str) -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(90, 90))
    a = a + a.T
    pair = extreme_eigenpairs(quadratic(a).landscape, np.zeros(90), which=which, tolerance=1e-10)[0]
    values = np.linalg.eigvalsh(a)
    expected = {"top": values[-1], "bottom": values[0], "norm": max(values, key=abs)}[which]
    assert pair.value == pytest.approx(expected, rel=1e-9)
    assert pair.residual < 1e-6
    assert pair.cost.products > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relative_curvature(BOWL, np.zeros(3)), "positive"),
        (lambda: relative_curvature(BOWL, np.zeros(3), infimum=-1.0), "gradient is zero"),
        (lambda: linearity_error(BOWL, np.ones(3), fraction=0.0), "fraction"),
        (lambda: linearity_error(BOWL, np.ones(3), infimum=100.0), "infimum"),
        (lambda: spectral_ratio(BOWL, np.ones(3), bulk=1), "bulk"),
        (lambda: extreme_eigenpairs(BOWL, np.ones(3), which="largest"), "which"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

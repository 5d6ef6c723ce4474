"""The slope: closed forms against quadrature, and the fates of gradient descent on it.

Oracles: Gauss-Hermite quadrature of the unsmoothed function for the convolution (it knows no error
function), central differences for derivatives, a plain loop for the descent.
"""

from __future__ import annotations

import numpy as np
import pytest

from bntheory.models.slope import Fate, Slope, slope_descent


@pytest.mark.parametrize("tau", [0.05, 0.4, 1.5])
def test_smoothing_is_convolution_with_a_gaussian(tau):
    sharp, smooth = Slope(), Slope(smoothing=tau)
    grid = np.linspace(-8 * tau, 8 * tau, 400001)
    weights = np.exp(-(grid**2) / (2 * tau**2))
    weights /= weights.sum()
    for x in (-1.2, -0.02, 0.01, 0.3, 1.0, 2.0):
        assert smooth.value(x) == pytest.approx(float(weights @ sharp.value(x + grid)), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_derivatives_by_central_differences(tau):
    slope, h = Slope(smoothing=tau), 1e-5
    x = np.array([-0.7, -0.01, 0.02, 0.4, 1.3])
    np.testing.assert_allclose(slope.grad(x), (slope.value(x + h) - slope.value(x - h)) / (2 * h), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        slope.curvature(x), (slope.grad(x + h) - slope.grad(x - h)) / (2 * h), rtol=1e-5, atol=1e-5
    )


def test_unsmoothed_shape():
    slope = Slope(plateau=0.01, height=5, width=0.05, floor=1.0, bowl=2.0)
    assert slope.grad(-1.0) == pytest.approx(-0.01)
    assert slope.grad(0.02) == pytest.approx(-0.01 - 100)
    assert slope.value(0.0) - slope.value(0.05) == pytest.approx(5 + 0.01 * 0.05)
    assert slope.minimiser() == pytest.approx(1.0 + 0.01 / 2.0)


@pytest.mark.parametrize("tau", [0.0, 0.1, 0.5, 2.0])
def test_minimiser_is_lowest_on_a_grid(tau):
    slope = Slope(smoothing=tau)
    x = np.linspace(-4, 8, 24001)
    assert slope.value(slope.minimiser()) <= slope.value(x).min() + 1e-9


def test_paths_are_gradient_descent():
    slope, rates = Slope(smoothing=0.4), np.array([0.01, 0.3])
    run = slope_descent(slope, rates, steps=20)
    for i, lr in enumerate(rates):
        x = -1.0
        for t in range(20):
            assert run.path[i, t] == pytest.approx(x, rel=1e-12)
            x -= lr * float(slope.grad(x))


def test_fates():
    rates = np.geomspace(1e-4, 10, 51)
    sharp, smooth = slope_descent(Slope(), rates), slope_descent(Slope(smoothing=0.5), rates)
    assert sharp.window() is None
    low, high = smooth.window()
    assert high / low > 100
    assert smooth.fate[0] is Fate.STALLED
    assert smooth.fate[-1] is not Fate.SETTLED
    assert Fate.EXPLODED in smooth.fate
    assert np.all(np.isfinite(smooth.path))


@pytest.mark.long
def test_enough_steps_save_the_unsmoothed_slope():
    """The picture holds for a budget of steps only: a small rate crosses the plateau in the end."""
    assert slope_descent(Slope(), [0.02], steps=1000).window() is None
    assert slope_descent(Slope(), [0.02], steps=40000).window() is not None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Slope(plateau=0.0), "plateau"),
        (lambda: Slope(floor=0.01), "floor"),
        (lambda: Slope(smoothing=-1.0), "smoothing"),
        (lambda: slope_descent(Slope(), [0.0]), "lr"),
        (lambda: slope_descent(Slope(), [0.1], tolerance=2.0), "tolerance"),
    ],
)
def test_bad_input_says_what_and_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Every estimate of a constant against the exact value, on functions where that is known from the formula.

Oracles: the constants stated beside each function are derived by hand from its formula, and are themselves held against a dense
scan of values (pairs of points on a grid, no gradient), so neither the ascent nor the derivative code is trusted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from bntheory.smoothness import (
    Ball,
    Box,
    Everywhere,
    FunctionLandscape,
    NumberKind,
    Region,
    derivative_lipschitz_constant,
    interval,
    lipschitz_constant,
    steepest_secant,
    two_lipschitz,
    two_lipschitz_constant,
)
from bntheory.smoothness.eigenpairs import hessian_norm_pair
from bntheory.smoothness.functions import (
    KnownFunction,
    gaussian_bump,
    logistic_regression,
    quadratic,
    relu,
    sine,
    softplus,
)

RNG = np.random.default_rng(11)
INPUTS = RNG.normal(size=(20, 4))
LABELS = np.where(INPUTS @ np.array([1.0, -2.0, 0.5, 0.0]) > 0, 1.0, -1.0)
FIXED = np.diag([3.0, -5.0, 1.0, 0.0])
ROTATION = np.linalg.qr(RNG.normal(size=(4, 4)))[0]

SMOOTH: dict[str, tuple[KnownFunction, Region]] = {
    "quadratic": (quadratic(FIXED), Ball(np.zeros(4), 2.0)),
    "rotated quadratic": (quadratic(ROTATION @ FIXED @ ROTATION.T), Ball(np.ones(4), 0.5)),
    "sine": (sine(2.0, 3.0), interval(-4.0, 4.0)),
    "fast sine": (sine(1.0, 40.0), interval(-0.3, 0.4)),
    "softplus(x)": (softplus(1.0), interval(-3.0, 3.0)),
    "softplus(10x)": (softplus(10.0), interval(-3.0, 3.0)),
    "softplus(100x)": (softplus(100.0), interval(-1.0, 1.0)),
    "softplus, all of R": (softplus(10.0), Everywhere(np.zeros(1), 0.3)),
    "gaussian bump": (gaussian_bump(0.5), interval(-3.0, 3.0)),
    "logistic regression": (logistic_regression(INPUTS, LABELS), Ball(np.zeros(4), 3.0)),
}
ABSOLUTE = KnownFunction(
    "absolute value", FunctionLandscape(1, lambda x: abs(float(x[0])), np.sign, lambda x, v: 0 * v), 1.0, math.inf, 0.0
)
KINKED = {"relu": relu(), "steep relu": relu(50.0), "absolute value": ABSOLUTE}


@pytest.mark.parametrize("name", list(SMOOTH))
def test_derivative_lipschitz_and_global_two_lipschitz_are_one_number(name: str) -> None:
    known, region = SMOOTH[name]
    exact = known.derivative_lipschitz
    measured = derivative_lipschitz_constant(known.landscape, region, samples=96)
    assert measured.value == pytest.approx(exact, rel=1e-6)
    assert measured.value <= exact * (1 + 1e-10)
    assert measured.kind is NumberKind.LOWER_BOUND
    both = two_lipschitz_constant(known.landscape, region, samples=300, climbs=10)
    assert both.value == pytest.approx(exact, rel=1e-3)
    assert both.value <= exact * (1 + 1e-6) + both.error


@pytest.mark.parametrize("name", ["sine", "fast sine", "softplus(10x)", "gaussian bump"])
def test_lipschitz_constant(name: str) -> None:
    known, region = SMOOTH[name]
    measured = lipschitz_constant(known.landscape, region)
    assert measured.value == pytest.approx(known.lipschitz, rel=1e-6)
    x = measured.witness["x"]
    assert float(np.linalg.norm(known.landscape.grad(x))) == measured.value  # the witness attains it
    assert measured.cost.gradients > 0


def test_lipschitz_of_separable_logistic_regression_is_approached_far_out() -> None:
    # labels that the direction X'l separates, so that all examples' slopes can be reached at once
    inputs = np.array([[1.0, 0.2], [2.0, -0.3], [-1.5, 0.1]])
    known = logistic_regression(inputs, [1.0, 1.0, -1.0])
    assert known.lipschitz == pytest.approx(np.hypot(4.5, -0.2) / 3)
    near = lipschitz_constant(known.landscape, Ball(np.zeros(2), 1.0)).value
    far = lipschitz_constant(known.landscape, Ball(np.zeros(2), 50.0)).value
    assert near < far <= known.lipschitz
    assert far == pytest.approx(known.lipschitz, rel=1e-6)


@pytest.mark.parametrize(("radius", "slope", "curvature"), [(0.5, 4 * 0.5**3, 3.0), (2.0, 32.0, 48.0)])
def test_suprema_on_the_boundary(radius: float, slope: float, curvature: float) -> None:
    """x^4 has no global constant; on |x| <= r both suprema sit at the ends."""
    f = FunctionLandscape(1, lambda x: float(x[0] ** 4), lambda x: 4 * x**3, lambda x, v: 12 * x**2 * v)
    assert lipschitz_constant(f, Ball(np.zeros(1), radius)).value == pytest.approx(slope)
    assert derivative_lipschitz_constant(f, Ball(np.zeros(1), radius)).value == pytest.approx(curvature)
    both = two_lipschitz_constant(f, interval(-radius, radius), samples=300)
    assert both.value == pytest.approx(curvature, rel=1e-3)


@pytest.mark.parametrize("name", list(KINKED))
def test_kinks_are_infinite_and_said_so(name: str) -> None:
    known = KINKED[name]
    for measured in (
        derivative_lipschitz_constant(known.landscape, interval(-1.0, 2.0)),
        two_lipschitz_constant(known.landscape, interval(-1.0, 2.0)),
        two_lipschitz(known.landscape, 0.0),
    ):
        assert measured.diverges
        assert "infinite" in measured.note
    assert not two_lipschitz(known.landscape, 0.7, radius=0.5).diverges  # the kink is out of reach
    away = two_lipschitz(known.landscape, 0.7)
    assert math.isfinite(away.value)


def test_relu_away_from_its_kink() -> None:
    """At x > 0 the remainder is max(0, -(x+u)): 2 phi = 2(-x-u)/u^2, largest at u = -2x, where it is 1/(2x)."""
    for x in (0.1, 0.7, 3.0):
        assert two_lipschitz(relu().landscape, x).value == pytest.approx(1 / (2 * x), rel=1e-8)


def scan_two_lipschitz(f: Callable[[np.ndarray], np.ndarray], x: float, reach: float) -> float:
    """2|f(x+u) - f(x) - f'(x) u|/u^2 on a dense grid; the derivative by a symmetric difference of f alone."""
    slope = (f(np.array(x + 1e-5)) - f(np.array(x - 1e-5))) / 2e-5
    u = np.concatenate([-np.geomspace(1e-2, reach, 40_000), np.geomspace(1e-2, reach, 40_000)])
    return float(np.max(2 * np.abs(f(x + u) - f(np.array(x)) - slope * u) / u**2))


@pytest.mark.parametrize("x", [0.0, 0.3, 0.7, 1.2, math.pi / 2, 2.0])
@pytest.mark.parametrize(
    ("known", "plain"),
    [
        (sine(), np.sin),
        (softplus(4.0), lambda x: np.logaddexp(0, 4 * x)),
        (gaussian_bump(), lambda x: np.exp(-(x**2) / 2)),
    ],
    ids=["sine", "softplus(4x)", "gaussian bump"],
)
def test_pointwise_two_lipschitz_against_a_scan(
    known: KnownFunction, plain: Callable[[np.ndarray], np.ndarray], x: float
) -> None:
    measured = two_lipschitz(known.landscape, x)
    local = abs(hessian_norm_pair(known.landscape, x).value)
    scanned = scan_two_lipschitz(plain, x, 60.0)
    assert measured.value == pytest.approx(max(scanned, local), rel=2e-4)
    assert local - 1e-9 <= measured.value <= known.derivative_lipschitz * (1 + 1e-9)


def test_pointwise_inequality_is_strict_where_it_should_be() -> None:
    """sin at 0: |f''| = 0 < 2-Lip(f, 0) < Lip(f') = 1; the maximum of 2(u - sin u)/u^2 solves u(1 - cos u) = 2(u - sin u)."""
    from scipy.optimize import brentq

    u = brentq(lambda u: u * (1 - math.cos(u)) - 2 * (u - math.sin(u)), 3.0, 6.0)
    exact = 2 * (u - math.sin(u)) / u**2
    measured = two_lipschitz(sine().landscape, 0.0)
    assert measured.value == pytest.approx(exact, rel=1e-9)
    assert hessian_norm_pair(sine().landscape, 0.0).value == 0 < measured.value < 1
    at_top = two_lipschitz(sine().landscape, math.pi / 2)
    assert at_top.value == pytest.approx(1.0, rel=1e-9)  # equality where the curvature is largest


def test_two_lipschitz_grows_with_the_radius() -> None:
    values = [two_lipschitz(sine().landscape, 0.0, radius=r).value for r in (0.1, 1.0, 3.0, math.inf)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(2 * (0.1 - math.sin(0.1)) / 0.01, rel=1e-6)


def test_bisection_never_loses_slope() -> None:
    """The slope of the returned secant is at least that of the whole chord, and it converges to a curvature when smooth."""
    f = sine(1.0, 3.0).landscape
    chord = abs(f.grad(np.array([1.0]))[0] - f.grad(np.array([-0.5]))[0]) / 1.5
    found = steepest_secant(f, [-0.5], [1.0])
    assert found.slope >= chord
    assert not found.diverges
    assert found.slope == pytest.approx(abs(9 * math.sin(3 * found.x[0])), rel=1e-3)
    kink = steepest_secant(relu(2.0).landscape, [-0.4], [1.0])
    assert kink.diverges
    assert kink.jump == 2.0


@pytest.mark.parametrize("offset", [1e6, 1e10], ids=lambda v: f"offset={v:g}")
@pytest.mark.parametrize("slope", [0.0, 1e6], ids=lambda v: f"slope={v:g}")
def test_rounding_is_neither_curvature_nor_kink(offset: float, slope: float) -> None:
    """sin + slope x + offset: the constants are those of sin, though its values drown; never more, never infinite."""
    f = FunctionLandscape(
        1,
        lambda x: float(np.sin(x[0]) + slope * x[0] + offset),
        lambda x: np.cos(x) + slope,
        lambda x, v: -np.sin(x) * v,
    )
    for measured in (
        two_lipschitz(f, 0.0),
        two_lipschitz(f, math.pi / 2),
        two_lipschitz_constant(f, interval(-3.0, 3.0), samples=300),
        derivative_lipschitz_constant(f, interval(-3.0, 3.0)),
    ):
        assert 0.6 < measured.value <= 1 + 1e-9 or (offset == 1e10 and 0.3 < measured.value <= 1 + 1e-9)
    assert not steepest_secant(f, [-2.0], [2.1]).diverges


def test_a_quantised_gradient_is_not_a_kink() -> None:
    """cos(x) + 1e9 moves in steps of 1e-7, which look like jumps once the chord is shorter than that."""
    steep = FunctionLandscape(1, lambda x: 0.0, lambda x: np.cos(x) + 1e9)
    found = steepest_secant(steep, [-2.0], [2.1])
    assert not found.diverges
    assert found.slope == pytest.approx(1.0, abs=0.3)


def test_a_region_that_is_partly_undefined_is_survived() -> None:
    """log on an interval that reaches below zero: non-finite values are never the maximum."""
    f = FunctionLandscape(
        1,
        lambda x: math.log(x[0]) if x[0] > 0 else math.nan,
        lambda x: 1 / x if x[0] > 0 else x * math.nan,
        lambda x, v: -v / x**2,
    )
    assert math.isfinite(two_lipschitz(f, 1.0, radius=3.0).value)


def test_same_seed_same_number() -> None:
    known, region = SMOOTH["logistic regression"]
    first, second = (two_lipschitz_constant(known.landscape, region, seed=3) for _ in range(2))
    assert first.value == second.value
    assert first.cost == second.cost


def test_a_difference_quotient_stands_in_for_a_missing_product() -> None:
    f = FunctionLandscape(2, lambda x: float(np.sin(x).sum()), np.cos)
    assert derivative_lipschitz_constant(f, Box(np.full(2, -3.0), np.full(2, 3.0))).value == pytest.approx(
        1.0, rel=1e-6
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lipschitz_constant(sine().landscape, Ball(np.zeros(2), 1.0)), "dimension 2"),
        (lambda: two_lipschitz(sine().landscape, [0.0, 1.0]), "dimension 1"),
        (lambda: two_lipschitz(sine().landscape, math.nan), "non-finite"),
        (lambda: two_lipschitz(sine().landscape, 0.0, radius=0.0), "radius"),
        (lambda: Ball(np.zeros(1), -1.0), "radius"),
        (lambda: interval(1.0, 1.0), "lower < upper"),
        (lambda: quadratic([[0.0, 1.0], [0.0, 0.0]]), "symmetric"),
        (lambda: logistic_regression([[1.0]], [0.0]), "-1 and 1"),
        (lambda: steepest_secant(sine().landscape, 0.0, 0.0), "same point"),
        (
            lambda: lipschitz_constant(
                FunctionLandscape(1, lambda x: math.nan, lambda x: x * math.nan), interval(0.0, 1.0)
            ),
            "non-finite",
        ),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

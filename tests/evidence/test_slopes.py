"""Slopes, their intervals, and the checks that are made of them.

Oracles: scipy's Student interval for ordinary least squares (another formula, by another author) on Gaussian
data, where it is exact; simulated coverage, which does not look at the formula at all; and expansions whose
limit is known.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bntheory.evidence.rates import median_bound, slope_checks
from bntheory.evidence.slopes import SlopeFit, extrapolate, fit_power_law, fit_slope


def test_slope_equals_scipys():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=20), rng.normal(size=20)
    other = stats.linregress(x, y)
    fit = fit_slope(x, y)
    assert fit.slope == pytest.approx(other.slope, rel=1e-12)
    assert fit.intercept == pytest.approx(other.intercept, rel=1e-12)


@pytest.mark.parametrize("points", [3, 4, 8, 20])
def test_interval_covers_as_often_as_it_says_and_is_hardly_wider_than_students(points):
    rng = np.random.default_rng(points)
    x, runs = np.linspace(0, 1, points), 300
    covered, width, students = 0, 0.0, 0.0
    for seed in range(runs):
        y = 2 * x + 0.1 * rng.normal(size=points)
        fit = fit_slope(x, y, resamples=400, seed=seed)
        covered += fit.low <= 2 <= fit.high
        width += fit.high - fit.low
        students += 2 * stats.linregress(x, y).stderr * stats.t.ppf(0.975, points - 2)
    assert covered / runs > 0.95 - 4 * np.sqrt(0.95 * 0.05 / runs)
    assert 0.6 < width / students < 1.5


@pytest.mark.parametrize("replicates", [3, 4, 10])
def test_interval_of_replicates_covers_scatter_shared_by_a_seed(replicates):
    rng = np.random.default_rng(replicates)
    x, runs = np.linspace(0, 1, 8), 300
    covered = 0
    for seed in range(runs):
        y = (2 + rng.normal(size=(replicates, 1))) * x + 0.01 * rng.normal(size=(replicates, 8))
        fit = fit_slope(x, y, resamples=400, seed=seed)
        covered += fit.low <= 2 <= fit.high
    assert covered / runs > 0.95 - 4 * np.sqrt(0.95 * 0.05 / runs)


def test_treating_replicates_as_points_would_have_been_too_narrow():
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 50)
    y = (2 + rng.normal(size=(5, 1))) * x
    one_curve = fit_slope(x, y.mean(axis=0))
    assert one_curve.high - one_curve.low < 1e-6 < fit_slope(x, y).high - fit_slope(x, y).low


@pytest.mark.parametrize("exponent", [-0.5, 1.0, 2.0])
def test_exact_power_law(exponent):
    x = np.geomspace(1e-3, 10, 9)
    fit = fit_power_law(x, 7 * x**exponent)
    assert fit.slope == pytest.approx(exponent, abs=1e-12)
    assert fit.high - fit.low < 1e-10
    assert fit.x_range == pytest.approx((1e-3, 10))
    assert abs(fit.drift) < 1e-12


def test_drift_reveals_a_law_that_is_no_power():
    x = np.geomspace(1, 1e4, 20)
    assert fit_power_law(x, x + 100).drift > 0.5


def _fit(low: float, high: float) -> SlopeFit:
    return SlopeFit((low + high) / 2, 0.0, low, high, 0.95, 0.0, (1, 1), (1, 2), 5, 1, 100, 0)


@pytest.mark.parametrize(
    ("low", "high", "outcomes"),
    [
        (0.97, 1.02, {"holds"}),
        (0.90, 1.02, {"holds", "undecided"}),
        (0.2, 1.8, {"undecided"}),
        (1.2, 1.3, {"holds", "fails"}),
        (0.1, 0.3, {"holds", "fails"}),
    ],
)
def test_a_wide_interval_never_passes(low, high, outcomes):
    assert {c.outcome for c in slope_checks("s", _fit(low, high), 1.0, 0.05, "")} == outcomes


def test_a_median_of_few_numbers_is_undecided():
    """All six of a continuous distribution lie on one side of its median in 1 of 32 cases, all five in 1 of 16."""
    five, six = ([1.0 + i / 10 for i in range(n)] for n in (5, 6))
    assert median_bound("m", six, "above", 0.5, "").outcome == "holds"
    assert median_bound("m", six, "below", 0.5, "").outcome == "fails"
    for few in (five, five[:1]):
        assert {median_bound("m", few, side, 0.5, "").outcome for side in ("above", "below")} == {"undecided"}


def test_slope_checks_need_the_whole_interval():
    x = np.geomspace(1, 100, 10)
    exact = fit_power_law(x, x**1.0)
    assert {c.outcome for c in slope_checks("s", exact, 1.0, 0.1, "")} == {"holds"}
    assert "fails" in {c.outcome for c in slope_checks("s", exact, 1.5, 0.1, "")}
    named = [
        (c.name.split()[-1], c.left if "least" in c.name else c.right) for c in slope_checks("s", exact, 1, 0.25, "")
    ]
    assert named == [("0.75", 0.75), ("1.25", 1.25)]  # a check is called by the bound that it compares with
    noisy = fit_power_law(x, x * np.exp(np.random.default_rng(0).normal(size=10)))
    assert "undecided" in {c.outcome for c in slope_checks("s", noisy, 1.0, 0.01, "")}


def test_extrapolation_finds_the_limit_of_a_known_expansion():
    h = 2.0 ** -np.arange(10)
    values = 3 + h - 2 * h**2 + h**3
    known = extrapolate(h, values, order=1.0)
    assert known.value == pytest.approx(3, abs=1e-12)
    observed = extrapolate(h, values)
    assert abs(observed.value - 3) <= observed.error < 2 * abs(values[-1] - 3)
    assert observed.order == pytest.approx(1, abs=0.2)


def test_extrapolation_error_of_a_second_order_method_is_honest():
    h = 0.5 ** np.arange(1, 7)
    values = np.sin(h) / h  # limit 1, even powers
    result = extrapolate(h, values, order=2.0)
    assert abs(result.value - 1) <= max(result.error, 1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_slope([1, 2], [1, 2]), "n >= 3"),
        (lambda: fit_slope([1, 2, 3], [1, np.inf, 2]), "finite"),
        (lambda: fit_slope([1, 1, 1], [1, 2, 3]), "different values"),
        (lambda: fit_slope([1, 2, 3], [[1, 2, 3]] * 2), "two replicates"),
        (lambda: fit_slope([1, 2, 3], [1, 2, 3], confidence=1.0), "confidence"),
        (lambda: fit_slope([1, 2, 3], [1, 2, 3], resamples=3), "resamples"),
        (lambda: fit_power_law([1, 2, 3], [1, 0, 2]), "power law"),
        (lambda: extrapolate([1, 0.5, 0.3], [1, 1, 1]), "constant factor"),
        (lambda: extrapolate([1, 0.5, 0.25], [1, 2, 1]), "no order"),
    ],
)
def test_bad_input_says_what_and_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()

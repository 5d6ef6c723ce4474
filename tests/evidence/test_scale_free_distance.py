"""One two-sided check from several measures: against Student's interval where it is one, and its errors over simulated seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bntheory.evidence.distance import _seeds_needed, differs, distance_interval
from bntheory.evidence.seeds import over_seeds


def test_one_measure_without_alternatives_is_students_interval() -> None:
    values = np.random.default_rng(1).normal(-0.5, 0.1, 7)
    low, high = distance_interval(values.reshape(1, 1, -1))
    test = stats.ttest_1samp(values, 0.0)
    # the sign of the mean is not known beforehand, so that both tails count for the lower end
    inner, outer = test.confidence_interval(0.975), test.confidence_interval(0.95)
    assert (low, high) == pytest.approx((-inner.high, -outer.low), rel=1e-12)
    check = differs("x", values.reshape(1, 1, -1), 0.0, "made up")
    one_sided = over_seeds("x", values, "below", 0.0, "made up")
    assert check.right + check.uncertainty == pytest.approx(one_sided.uncertainty - one_sided.left)
    assert check.witness["estimate"] == pytest.approx(-one_sided.left, abs=1e-6)


@pytest.mark.parametrize("candidates", [1, 5])
def test_errors_of_the_two_sided_check_stay_below_their_level(candidates: int) -> None:
    """At the margin exactly, neither a wrong 'holds' nor a wrong 'fails' more often than in 2.5 % (4 standard errors above)."""
    rng, margin, repeats = np.random.default_rng(5), 0.04, 600
    counts = {"holds": 0, "fails": 0, "undecided": 0}
    for _ in range(repeats):
        truth = np.full((candidates, 2), margin) * rng.choice([-1, 1], size=(candidates, 2))
        samples = truth[:, :, None] + 0.05 * rng.normal(size=(candidates, 2, 6))
        counts[differs("x", samples, margin, "simulated").outcome] += 1
    allowed = repeats * 0.025 + 4 * np.sqrt(repeats * 0.025 * 0.975)
    assert counts["holds"] <= allowed
    assert counts["fails"] <= allowed


def test_the_two_sided_check_finds_what_is_there() -> None:
    rng = np.random.default_rng(6)
    noise = 0.02 * rng.normal(size=(3, 2, 6))
    assert differs("x", noise, 0.1, "none").outcome == "fails"
    assert differs("x", noise + np.array([0.0, -0.5])[None, :, None], 0.1, "one measure").outcome == "holds"
    one = noise.copy()
    one[:2] += 0.5
    assert differs("x", one, 0.1, "explained by the third parametrisation").outcome == "fails"
    lost = noise + 0.5
    lost[0, 0, :4] = np.nan
    check = differs("x", lost, 0.1, "four seeds lost")
    assert check.outcome == "undecided"
    assert check.scope.startswith("2 seeds")
    assert "4 seeds gave no number" in check.scope
    with pytest.raises(ValueError, match="2 seeds"):
        distance_interval(noise[:, :, :2])


@pytest.mark.parametrize("measures", [1, 2, 6])
def test_equal_values_need_as_many_seeds_as_the_interval_asks_for(measures: int) -> None:
    def decided(n: int) -> bool:
        low, high = distance_interval(np.ones((1, measures, n)))
        return low > 0.5 or high < 0.5

    assert _seeds_needed(np.ones((1, measures, 4)), 0.5, 0.95) == next(n for n in (4, 5, 6, 7, 8, 10) if decided(n))


def test_an_open_question_says_how_many_seeds_would_decide_it() -> None:
    """So many seeds, drawn anew with the same mean and spread, decide in about four of five trials, and a quarter of them seldom."""
    rng = np.random.default_rng(5)
    base = rng.normal(size=(1, 2, 8))
    base = (base - base.mean(axis=2, keepdims=True)) / base.std(axis=2, ddof=1, keepdims=True)
    samples = np.array([[[0.1], [0.0]]]) + 0.15 * base
    check = differs("it", samples, 0.04, "made up")
    assert check.outcome == "undecided"
    needed = check.witness["seeds_for_80_percent_power"]

    def share(n: int) -> float:
        drawn = np.array([[[0.1], [0.0]]]) + 0.15 * rng.normal(size=(200, 1, 2, n))
        return float(np.mean([differs("it", d, 0.04, "made up").outcome == "holds" for d in drawn]))

    assert 0.7 <= share(needed) <= 0.97
    assert share(needed // 4) < 0.5
    flat = differs("it", 0.04 + np.zeros((1, 1, 1)) + 0.15 * base[:, :1], 0.04, "made up")
    assert flat.witness["seeds_for_80_percent_power"] is None  # the effect sits on the margin

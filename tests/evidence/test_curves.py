"""Runs compared at equal loss, against power laws whose value at a loss is known in closed form; guards against made-up arms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bntheory.evidence.comparable import UNTRAINED, guessing_loss, has_diverged, why_not_comparable
from bntheory.evidence.curves import at_loss, common_losses, course, log_ratio, mean_log_ratio_at_equal_loss

LOSSES = [2.0, 1.3, 0.7, 0.2]


def _power(losses: list[float], factor: float, exponent: float) -> list[float]:
    return [factor * x**exponent for x in losses]


@pytest.mark.parametrize("loss", [2.0, 1.9, 1.3, 1.0, 0.21, 0.2])
def test_a_power_law_is_read_exactly(loss: float) -> None:
    """The interpolation is linear in both logarithms, and a power law is a line there."""
    assert at_loss(LOSSES, _power(LOSSES, 5.0, -1.7), loss) == pytest.approx(5.0 * loss**-1.7, rel=1e-12)


def test_outside_of_what_a_run_went_through_nothing_is_read() -> None:
    values = _power(LOSSES, 1.0, 1.0)
    assert math.isnan(at_loss(LOSSES, values, 2.1))
    assert math.isnan(at_loss(LOSSES, values, 0.19))
    assert math.isnan(at_loss(LOSSES, values, -1.0))
    assert math.isnan(at_loss(LOSSES, values, math.inf))
    assert math.isnan(at_loss([], [], 1.0))


def test_a_loss_that_rises_again_counts_where_it_is_first_reached() -> None:
    assert at_loss([2.0, 1.0, 1.9, 0.5], [1.0, 1.0, 9.0, 9.0], 1.5) == pytest.approx(1.0)


def test_points_that_have_no_logarithm_are_passed_over() -> None:
    losses, values = [2.0, 1.5, 1.2, 1.0], [4.0, -3.0, None, 1.0]
    assert at_loss(losses, values, math.sqrt(2.0)) == pytest.approx(2.0)
    assert at_loss([2.0, math.inf, 1.0], [4.0, 1.0, 1.0], math.sqrt(2.0)) == pytest.approx(2.0)


def test_the_ratio_of_two_power_laws_at_equal_loss_is_that_of_their_factors() -> None:
    """At equal steps the two runs are at different losses, so a comparison by steps would be off."""
    other = [1.8, 0.9, 0.15]
    found = mean_log_ratio_at_equal_loss(LOSSES, _power(LOSSES, 3.0, -1.0), other, _power(other, 6.0, -1.0))
    assert found == pytest.approx(math.log10(0.5), rel=1e-12)  # the loss 2.0 the other never had
    assert mean_log_ratio_at_equal_loss([5.0], [1.0], other, [1.0, 1.0, 1.0]) is None
    scaled = [3 * x for x in LOSSES]  # units of the loss do not matter
    assert at_loss(scaled, _power(LOSSES, 5.0, -1.7), 3.0) == pytest.approx(5.0, rel=1e-12)


def test_log_ratios() -> None:
    assert log_ratio(100.0, 1.0) == 2.0
    for left, right in ((None, 1.0), (1.0, None), (0.0, 1.0), (1.0, -1.0), (math.inf, 1.0), (math.nan, 1.0)):
        assert log_ratio(left, right) is None


def test_losses_that_all_runs_went_through() -> None:
    found = common_losses([[2.3, 1.0, 0.1], [2.0, 0.5]], 3)
    assert len(found) == 3
    assert 2.0 > found[0] > found[1] > found[2] > 0.5
    steps = np.diff(np.log([2.0, *found, 0.5]))
    assert steps == pytest.approx([steps[0]] * 4)
    assert common_losses([[2.3, 2.0], [1.0, 0.5]], 3) == ()
    assert common_losses([[0.0, 0.0], [1.0, 0.5]], 3) == ()  # an arm that fits its batch to the last digit
    assert common_losses([[math.inf, math.nan], [1.0, 0.5]], 3) == ()


def test_a_crossing_is_a_finding_and_no_average() -> None:
    high, low, noisy = [0.5, 0.6, 0.55, 0.52], [-0.4, -0.5, -0.45, -0.42], [0.5, -0.5, 0.4, -0.45]
    found = course({"start": high, "loss 1": noisy, "end": low})
    assert found.crossing == ("start", "end")
    assert course({"start": low, "end": high}).crossing == ("start", "end")
    assert course({"start": high, "end": noisy}).crossing is None
    assert course({"start": high, "middle": high, "end": high}).crossing is None
    assert list(course({"start": high, "end": []}).estimates) == ["start"]


def test_a_crossing_that_is_none_is_told_in_at_most_a_twentieth_of_all_runs() -> None:
    """An effect at the start and none at nine later places: any of these that errs to the other side would be told as one.

    Each at 95 % by itself does so in 1 - 0.975^9 = 20 % of all runs.
    """
    drawn, runs = np.random.default_rng(5), 400
    told = 0
    for values in drawn.standard_normal((runs, 10, 6)):
        values[0] += 20
        told += course({str(place): x for place, x in enumerate(values.tolist())}).crossing is not None
    assert told / runs < 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_arms_that_say_nothing_are_not_compared() -> None:
    guess = guessing_loss(10)
    assert guess == pytest.approx(2.302585)
    assert why_not_comparable({"batchnorm": 0.4, "standard": 0.7}, guess) == ""
    assert "standard has not trained" in why_not_comparable({"batchnorm": 0.4, "standard": 2.268}, guess)
    assert "standard has diverged" in why_not_comparable({"batchnorm": 0.4, "standard": None}, guess)
    assert "standard has diverged" in why_not_comparable({"standard": math.nan}, guess)
    assert why_not_comparable({"standard": UNTRAINED * guess}, guess) == ""
    assert why_not_comparable({"standard": 400.0}, None) == ""  # a loss without a guess
    assert has_diverged([1.0, math.nan])
    assert has_diverged([math.inf])
    assert not has_diverged([1.0, -3.0])

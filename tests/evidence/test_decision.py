"""The verdict rule and the number of seeds, against a t test of scipy's own and against simulated experiments.

Oracles: ``scipy.stats.ttest_1samp`` decides from its statistic, not from an interval; the number of seeds is held against the share of
simulated experiments that decide, which shares nothing with the noncentral t distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bntheory.errors import UserError
from bntheory.evidence.checks import Check
from bntheory.evidence.decision import LEAST_SEEDS, outcome, position
from bntheory.evidence.intervals import Estimate, estimate, half_width, simultaneous, summarise
from bntheory.evidence.looks import Looks
from bntheory.evidence.power import seeds_needed
from bntheory.evidence.rates import median_bound
from bntheory.evidence.seeds import over_seeds


def test_a_side_is_taken_exactly_where_the_t_test_rejects() -> None:
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(300):
        values = rng.normal(rng.choice([-0.6, 0.0, 0.6]), 1.0, 8)
        test = stats.ttest_1samp(values, 0.1)
        expected = "inconclusive"
        if test.pvalue < 0.05:
            expected = "supported" if test.statistic < 0 else "contradicted"
        found = outcome(estimate(values), claim="below", threshold=0.1)
        assert found == expected
        seen.add(found)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("low", "high", "margin", "place"),
    [
        (0.01, 0.04, None, "above"),
        (0.01, 0.04, 0.05, "equivalent"),  # told from zero, and too small to matter
        (-0.04, 0.04, 0.05, "equivalent"),
        (-0.05, 0.04, 0.05, "open"),  # an end on the margin is not within it
        (-0.06, -0.01, 0.05, "below"),
        (0.0, 0.04, None, "open"),
        (-math.inf, math.inf, 0.05, "open"),
        (math.nan, math.nan, 0.05, "open"),
    ],
)
def test_where_an_interval_lies(low: float, high: float, margin: float | None, place: str) -> None:
    assert position(low, high, 0.0, margin) == place
    assert position(low + 3, high + 3, 3.0, margin) == place
    half = (high - low) / 2 if low == low else math.inf
    check = Check("x", 0.0, "le", (low + high) / 2, "statistical", "", half, 0.95, margin=margin)
    word = {"above": "holds", "below": "fails", "open": "undecided"}.get(place, place)
    assert check.outcome == word  # the same rule


def test_a_margin_is_positive() -> None:
    with pytest.raises(ValueError, match="margin"):
        position(-1, 1, 0.0, 0.0)


def test_non_inferiority_is_the_claim_with_its_threshold_moved() -> None:
    values = [0.03, 0.02, 0.04, 0.01, 0.03]  # a little worse, by less than 0.1
    assert outcome(estimate(values), claim="below", threshold=0.0) == "contradicted"
    assert outcome(estimate(values), claim="below", threshold=0.1) == "supported"


@pytest.mark.parametrize(
    ("mean", "margin", "confidence"),
    [
        (0.8, None, 0.95),
        (0.3, None, 0.95),
        (0.0, 0.5, 0.95),
        (0.1, 0.6, 0.95),
        (0.5, 1.0, 0.95),  # as far from the threshold as from the margin's edge: either decides
        (0.7, 1.0, 0.99),
        (-0.3, 0.5, 0.9),
        (0.9, 0.5, 0.95),  # beyond the margin: only its side
    ],
)
def test_that_many_seeds_and_no_fewer_decide_in_four_of_five_experiments(
    mean: float, margin: float | None, confidence: float
) -> None:
    n = seeds_needed(mean, 1.0, margin=margin, confidence=confidence)
    assert n is not None
    rng = np.random.default_rng(2)
    right = {"above" if mean > 0 else "below"} if mean else set()
    if margin is not None and abs(mean) < margin:
        right.add("equivalent")

    def decided(size: int) -> float:
        values = rng.normal(mean, 1.0, (20_000, size))
        half = stats.t.ppf((1 + confidence) / 2, size - 1) * values.std(axis=1, ddof=1) / math.sqrt(size)
        ends = zip(values.mean(axis=1) - half, values.mean(axis=1) + half, strict=True)
        return float(np.mean([position(low, high, 0.0, margin) in right for low, high in ends]))

    slack = 4 * math.sqrt(0.8 * 0.2 / 20_000)
    assert decided(n) > 0.8 - slack
    assert decided(n - 1) < 0.8 + slack


def test_the_number_of_seeds_grows_as_the_margin_shrinks_to_none() -> None:
    needed = [seeds_needed(0.5, 1.0, margin=m) for m in (4.0, 2.0, 1.0, 0.8, 0.6, 0.5, None)]
    assert needed == sorted(n for n in needed if n is not None)
    assert seeds_needed(0.05, 0.1, margin=0.1) == seeds_needed(
        -0.5, 1.0, margin=1.0
    )  # of the scale and the sign: nothing


def test_where_no_number_of_seeds_would_do() -> None:
    assert seeds_needed(0.5, 1.0, 0.5) is None
    assert seeds_needed(math.nan, 1.0) is None
    assert seeds_needed(1.0, math.inf) is None
    assert seeds_needed(1.0, 0.0) == 6  # 2^(1 - 6) is the first level below 5 %
    assert seeds_needed(50.0, 1.0) == LEAST_SEEDS
    assert seeds_needed(1e-6, 1.0) is None  # millions
    assert seeds_needed(1e-6, 1.0, margin=0.5) is not None  # but it is soon shown to be too small to matter


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 1.1])
def test_equal_values_need_as_many_seeds_as_their_interval(value: float) -> None:
    """Also where the mean of three of them is rounded to another number, so that they seem to have a spread."""
    e = estimate([value] * 3)
    needed = seeds_needed(e.mean, e.deviation)
    assert needed == next(n for n in range(3, 20) if estimate([value] * n).low > 0)


def test_fewer_than_three_decide_nothing() -> None:
    e = estimate([-1.0, -1.0])
    assert (e.low, e.high) == (-math.inf, math.inf)
    assert outcome(e, claim="below", threshold=0.0) == "inconclusive"
    for n, end in ((3, math.inf), (5, math.inf), (6, 0.0)):  # a sign test's level, 2^(1 - n), is below 5 % from 6 on
        equal = estimate([-1.0] * n)
        assert (equal.low, equal.high) == (-1.0 - end, -1.0 + end)
    assert math.isinf(estimate([-1.0] * 6, 0.99).low)
    assert not math.isinf(estimate([-1.0] * 8, 0.99).low)


def test_several_intervals_hold_together() -> None:
    assert simultaneous(0.95, 5) == pytest.approx(0.99)
    with pytest.raises(ValueError, match="checks"):
        simultaneous(0.95, 0)


def test_an_open_check_says_how_many_seeds_would_decide_it() -> None:
    values = [0.4, -0.2, 0.5, -0.1]
    open_check = over_seeds("x", values, "below", 0.0, "")
    e = estimate(values)
    assert open_check.witness["seeds_for_80_percent_power"] == seeds_needed(e.mean, e.deviation)
    assert "seeds_for_80_percent_power" not in over_seeds("x", [-1.0, -1.1, -0.9], "below", 0.0, "").witness


def test_equivalent_and_not_comparable_checks() -> None:
    small = [0.01, -0.01, 0.005, 0.0]
    assert over_seeds("x", small, "below", 0.0, "", margin=0.1).outcome == "equivalent"
    assert over_seeds("x", small, "below", 0.0, "").outcome == "undecided"
    barred = over_seeds("x", [-1.0, -1.1, -0.9], "below", 0.0, "", not_comparable="one arm has not trained")
    assert barred.outcome == "not comparable"


def test_the_deviation_is_that_of_one_value() -> None:
    assert estimate([1.0, 2.0, 3.0]).deviation == 1.0
    assert math.isnan(Estimate(1, 0.0, 0.0, 0.0, 0.95, (0.0,)).deviation)


def test_a_side_that_is_none_is_refused_wherever_one_is_given() -> None:
    """Another word was taken for one of the two, which turned the verdict round."""
    values = [1.0, 1.1, 1.2, 1.05]
    for side in ("Below", "ABOVE", "under", "", None):
        word: Any = side
        with pytest.raises(UserError, match="'above' or 'below'"):
            over_seeds("x", values, word, 0.0, "")
        with pytest.raises(UserError, match="'above' or 'below'"):
            median_bound("x", values, word, 0.0, "")
        with pytest.raises(UserError, match="'above' or 'below'"):
            outcome(estimate(values), claim=word, threshold=0.0)


def test_a_bound_that_is_no_number_is_refused() -> None:
    for make in (over_seeds, median_bound):
        with pytest.raises(UserError, match="the bound is NaN"):
            make("x", [1.0, 2.0, 3.0], "above", math.nan, "")


@pytest.mark.parametrize(("op", "instead"), [("ge", "'le'"), (">=", "'le'"), ("gt", "'lt'"), ("==", "one of these")])
def test_a_comparison_that_is_not_known_is_refused(op: Any, instead: str) -> None:
    with pytest.raises(UserError, match=rf"{op}.*'le', 'lt', 'eq'.*{instead}"):
        Check("x", 3.0, op, 1.0, "exact", "")
    kind: Any = "Exact"
    with pytest.raises(UserError, match="'proof', 'exact', 'numerical', 'statistical'"):
        Check("x", 3.0, "le", 1.0, kind, "")


@pytest.mark.parametrize("seeds", [6, 9, 12, 24, 100])
def test_equal_values_have_themselves_for_a_mean_and_no_spread(seeds: int) -> None:
    """Exactly at the bound they lie on neither side, which the rounding of their sum must not decide."""
    for value in (0.001, 0.007, 0.1, 0.7, 1 / 3):
        e = estimate([value] * seeds)
        assert (e.low, e.mean, e.high) == (value, value, value)
        check = over_seeds("x", [value] * seeds, "below", value, "")
        assert (check.outcome, check.gap, check.uncertainty) == ("undecided", 0.0, 0.0)


def test_values_that_differ_have_the_mean_that_they_had() -> None:
    rng = np.random.default_rng(3)
    for size in range(3, 40):
        values = rng.normal(size=size)
        assert estimate(values).mean == float(np.mean(values))


@pytest.mark.parametrize("confidence", [-0.5, 0.0, 1.0, 1.5, 2.0, 95.0, math.nan])
def test_what_is_no_confidence_is_refused(confidence: float) -> None:
    """Of -0.5 the interval was turned inside out, and 95 gave NaN."""
    calls: list[Callable[[], Any]] = [
        lambda: estimate([1.0, 2.0, 3.0], confidence),
        lambda: summarise([1.0, 2.0, 3.0], confidence),
        lambda: half_width(np.ones((2, 4)), confidence),
        lambda: simultaneous(confidence, 2),
    ]
    for call in calls:
        with pytest.raises(UserError, match=r"between 0 and 1; 95 % is written 0\.95"):
            call()


@pytest.mark.parametrize("first", [-1, 0, 2])
def test_looks_that_would_never_end_are_refused(first: int) -> None:
    with pytest.raises(UserError, match="below 3"):
        Looks.doubling(first, 8)

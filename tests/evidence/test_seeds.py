"""One check from many seeds: against scipy's own t test, and the cases in which nothing may be decided."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bntheory.errors import UserError
from bntheory.evidence.decision import LEAST_SEEDS
from bntheory.evidence.seeds import over_seeds


def test_the_interval_is_that_of_scipys_one_sample_t_test() -> None:
    """``ttest_1samp`` computes its interval from the statistic, not from this formula."""
    values = np.random.default_rng(3).normal(-0.4, 0.3, 11)
    check = over_seeds("x", values, "below", 0.0, "made up", confidence=0.9)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    assert check.left - check.uncertainty == pytest.approx(expected.low, rel=1e-12)
    assert check.left + check.uncertainty == pytest.approx(expected.high, rel=1e-12)
    assert check.witness["values"] == [round(float(v), 6) for v in values]


@pytest.mark.parametrize(
    ("values", "side", "outcome"),
    [
        ([-1.0, -1.1, -0.9], "below", "holds"),
        ([1.0, 1.1, 0.9], "below", "fails"),
        ([1.0, 1.1, 0.9], "above", "holds"),
        ([-1.0, -1.1, -0.9], "above", "fails"),
        ([-1.0, 1.0, 0.1], "below", "undecided"),
        ([-1.0] * (LEAST_SEEDS - 1), "below", "undecided"),
        ([-1.0, -1.1, -0.9, math.inf], "below", "undecided"),
        ([-1.0, -1.1, -0.9, math.nan], "above", "undecided"),
        ([], "below", "undecided"),
    ],
)
def test_a_side_is_taken_only_by_a_whole_interval(values: list[float], side: str, outcome: str) -> None:
    assert over_seeds("x", values, side, 0.0, "made up").outcome == outcome  # type: ignore[arg-type]


def test_the_bound_is_where_it_was_put() -> None:
    assert over_seeds("x", [1.0, 1.1, 0.9], "above", 0.5, "made up").outcome == "holds"
    assert over_seeds("x", [1.0, 1.1, 0.9], "above", 1.5, "made up").outcome == "fails"


@pytest.mark.long
def test_a_sample_that_is_far_from_normal_is_told() -> None:
    rng = np.random.default_rng(0)

    def told(draw: str, *shape: float) -> float:
        samples = getattr(rng, draw)(*shape, size=(300, 12))
        return float(
            np.mean(["further from normal" in (over_seeds("x", s, "below", 0.0, "made up").why or "") for s in samples])
        )

    assert told("normal") < 0.03
    assert told("uniform") < 0.03
    assert told("lognormal", 0.0, 1.5) > 0.7
    assert told("standard_cauchy") > 0.5
    # a single run that went another way
    assert "further from normal" in over_seeds("x", [0.1, 0.12, 0.09, 0.11, 0.1001, 9.0], "below", 0.0, "made up").why


def refused(words: str, *given: Any, **options: Any) -> None:
    with pytest.raises(UserError, match=words):
        over_seeds(*given, **options)


@pytest.mark.filterwarnings("error")
def test_what_is_no_number_is_refused_with_the_name_of_the_check() -> None:
    good = [1.0, 1.1, 0.9]
    refused("check 'd': entry 0 of its numbers is 'a'", "d", ["a", "b", "c"], "below", 0.0, "u")
    refused("check 'd': entry 1 of its numbers is 2j", "d", [1.0, 2j, 3.0], "below", 0.0, "u")
    refused(r"check 'd': entry 0 of its numbers is \[1.0\]", "d", [[1.0]] * 3, "below", 0.0, "u")
    refused("check 'd': its numbers are 3.0; give a list", "d", 3.0, "below", 0.0, "u")
    refused("check 'd': its numbers are '123'; give a list", "d", "123", "below", 0.0, "u")
    refused("check 'd': the bound is '0'; give a number", "d", good, "below", "0", "u")
    refused("check 'd': the margin is '0'", "d", good, "below", 0.0, "u", margin="0")
    refused("check 'd': the confidence is None", "d", good, "below", 0.0, "u", confidence=None)
    refused(r"its name is \[1.0, 1.1, 0.9\]; give words, and in this order", good, "d", "below", 0.0, "u")
    refused("check 'd': 1e\\+308 is too large for a mean and a spread", "d", [1e308, 1e308, -1e308], "below", 0.0, "u")
    assert over_seeds("d", np.array(good, np.float32), "above", Fraction(0), "u").outcome == "holds"  # type: ignore[arg-type]


def test_a_check_without_an_interval_says_why() -> None:
    """Equal numbers, and numbers that are not finite; the rule that decides is as it was."""

    def scope(*values: float) -> str:
        check = over_seeds("d", values, "below", 0.0, "u")
        assert check.outcome == "undecided"
        return check.scope

    assert scope(0.0, 0.0, 0.0) == "3 seeds, u; all seeds gave the same number, so there is no spread and no interval"
    assert scope(math.inf, 1, 2) == "3 seeds, u; 1 of 3 numbers is not finite, as of an arm that has diverged"
    assert scope(*[math.nan] * 3) == "3 seeds, u; 3 of 3 numbers are not finite, as of an arm that has diverged"
    assert scope(1.0, 1.0) == "2 seeds, u"
    assert over_seeds("d", [-1.0] * 6, "below", 0.0, "u").scope == "6 seeds, u"

"""One check from many seeds: against scipy's own t test, and the cases in which nothing may be decided."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

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

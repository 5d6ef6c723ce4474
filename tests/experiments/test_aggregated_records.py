"""Intervals and outcomes, against independent answers.

Oracles: order-statistics coverage is checked by simulation (drawing samples, counting how often the interval holds the true
median), which shares nothing with the binomial sum in the code; Student's interval against scipy's own ``t.interval`` and against
a textbook example computed by hand; comparisons against records that were made with known ratios.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_up import LAYERS, NETWORKS, SEEDS, STANDARD_RATIO, TWIN_RATIO, make_records
from scipy import stats

from bntheory.evidence.decision import outcome
from bntheory.evidence.intervals import estimate, summarise
from bntheory.experiments.comparisons import COMPARISONS, compare_all
from bntheory.experiments.quantities import quantity


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 9, 20])
def test_the_median_interval_covers_as_often_as_it_says(n: int) -> None:
    rng = np.random.default_rng(n)
    draws = rng.exponential(size=(4000, n))  # skewed, so that nothing normal helps
    hits, said = 0, 0.0
    for row in draws:
        s = summarise(row)
        hits += s.low <= math.log(2) <= s.high  # the median of the exponential distribution
        said = s.coverage
    assert abs(hits / len(draws) - said) < 4 * math.sqrt(0.25 / len(draws)) + 1e-12
    assert said >= 0.95 or n < 6  # from six values on, 95 % can be had


def test_three_values_give_smallest_to_largest_and_say_75_per_cent() -> None:
    s = summarise([3.0, 1.0, 2.0])
    assert (s.n, s.median, s.low, s.high, s.coverage) == (3, 2.0, 1.0, 3.0, 0.75)


def test_the_mean_interval_is_students() -> None:
    values = [4.0, 5.0, 9.0]  # mean 6, standard deviation sqrt(7), t = 4.3027
    e = estimate(values)
    assert e.mean == pytest.approx(6)
    assert e.high - e.mean == pytest.approx(4.302653 * math.sqrt(7 / 3), rel=1e-6)
    low, high = stats.t.interval(0.95, 2, loc=6, scale=stats.sem(values))
    assert (e.low, e.high) == pytest.approx((low, high))


def test_one_seed_has_no_interval_and_decides_nothing() -> None:
    e = estimate([-100.0])
    assert (e.low, e.high) == (-math.inf, math.inf)
    assert outcome(e, claim="below", threshold=0.0) == "inconclusive"
    assert e.as_json()["low"] is None


@pytest.mark.parametrize(
    ("values", "claim", "answer"),
    [
        ([-1.0, -1.1, -0.9], "below", "supported"),
        ([-1.0, -1.1, -0.9], "above", "contradicted"),
        ([1.0, 1.1, 0.9], "below", "contradicted"),
        ([1.0, 1.1, 0.9], "above", "supported"),
        ([-1.0, 1.0, 0.2], "below", "inconclusive"),
        ([0.0, 0.0, 0.0], "below", "inconclusive"),  # exactly no effect supports neither side
        ([-1.0, -0.1, 0.05], "below", "inconclusive"),
    ],
)
def test_outcomes(values: list[float], claim: str, answer: str) -> None:
    assert outcome(estimate(values), claim=claim, threshold=0.0) == answer  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [math.inf]])
def test_values_that_cannot_be_summarised(bad: list[float]) -> None:
    for function in (summarise, estimate):
        with pytest.raises(ValueError, match="values"):
            function(bad)


# -- comparisons ------------------------------------------------------------------------------------------------------


def _effects() -> dict[tuple[str, str], object]:
    return {(e.comparison.name, e.network): e for e in compare_all(make_records(), NETWORKS, SEEDS)}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("name", "ratio", "answer"),
    [
        ("top-eigenvalue.twin", TWIN_RATIO, "supported"),
        ("gradient-norm.twin", TWIN_RATIO, "supported"),
        ("relative-curvature.twin", 1 / TWIN_RATIO, "contradicted"),  # k/k^2: a pure scaling is unmasked
        ("top-eigenvalue.standard", STANDARD_RATIO, "supported"),
        ("top-eigenvalue.standard-at-matched-loss", STANDARD_RATIO, "supported"),
        ("effective-beta.standard", STANDARD_RATIO, "supported"),
        ("linearity-error.twin", TWIN_RATIO, "supported"),
        ("trust-fraction.standard", 1 / STANDARD_RATIO, "supported"),
        ("gradient-turn.twin", TWIN_RATIO, "supported"),
        ("covariate-shift.l2", 2.0, "supported"),
        ("covariate-shift.angle", 2.0, "supported"),
    ],
)
def test_planted_effects_are_found(network: str, name: str, ratio: float, answer: str) -> None:
    effect = _effects()[name, network]
    assert 10**effect.estimate.mean == pytest.approx(ratio, rel=0.1)  # type: ignore[attr-defined]
    assert effect.outcome == answer  # type: ignore[attr-defined]


def test_a_rescaled_loss_changes_no_scale_free_quantity() -> None:
    """The rescaled arm is made with factor c: quantities scale as they must, and relative curvature not at all."""
    point = make_records()[0]
    c = 0.3
    scaled = {**point, "curvature": dict(point["curvature"])}
    for key in ("loss", "gradient_norm", "top"):
        scaled["curvature"][key] *= c
    before, after = quantity(point, "relative_curvature"), quantity(scaled, "relative_curvature")
    assert after == pytest.approx(before, rel=1e-14)
    assert quantity(scaled, "top") == pytest.approx(c * quantity(point, "top"))  # type: ignore[operator]


def test_what_was_not_measured_is_inconclusive_and_never_counts() -> None:
    records = make_records()
    for r in records:
        r["curvature"] = None
        if r["twin"]:
            r["twin"]["curvature"] = None
    answers = {e.comparison.name: e for e in compare_all(records, NETWORKS, SEEDS)}
    assert answers["top-eigenvalue.twin"].estimate is None
    assert answers["top-eigenvalue.twin"].outcome == "inconclusive"
    assert answers["gradient-norm.twin"].outcome == "supported"


def test_a_diverged_arm_leaves_the_others() -> None:
    records = make_records()
    gone = [r if r["arm"] != "standard" else {**r, "diverged": True} for r in records]
    answers = {e.comparison.name: e for e in compare_all(gone, NETWORKS, SEEDS)}
    assert answers["top-eigenvalue.standard"].outcome == "not comparable"
    assert answers["top-eigenvalue.standard"].why == "seed 0: standard has diverged"
    assert answers["top-eigenvalue.twin"].estimate is not None


def test_a_network_that_has_not_trained_is_compared_with_nothing() -> None:
    """Except in how it trains, which is a comparison of its own; and the twin is no trained arm."""
    records = make_records()
    for r in records:
        r["guessing_loss"] = math.log(10)
        if r["arm"] == "standard" and r["network"] == NETWORKS[0]:
            r["loss"] = 2.29
    found = compare_all(records, NETWORKS, SEEDS)
    barred = {e.comparison.name for e in found if e.outcome == "not comparable"}
    assert barred == {
        c.name for c in COMPARISONS if "standard" in c.control and c.name != "training-loss.standard"
    }
    assert {e.network for e in found if e.outcome == "not comparable"} == {NETWORKS[0]}
    assert all("has not trained" in e.why for e in found if e.outcome == "not comparable")


def test_matched_loss_leaves_out_losses_that_the_other_arm_never_had() -> None:
    records = make_records()
    for r in records:
        if r["arm"] == "batchnorm":
            r["loss"] -= 10  # far below anything that the standard arm reached
    answers = {e.comparison.name: e for e in compare_all(records, NETWORKS, SEEDS)}
    assert answers["top-eigenvalue.standard-at-matched-loss"].estimate is None


def test_every_comparison_names_a_claim_and_a_control() -> None:
    names = [c.name for c in COMPARISONS]
    assert len(set(names)) == len(names)
    for c in COMPARISONS:
        assert c.claims
        assert c.control
        assert c.question


def test_the_first_layer_has_no_say_in_covariate_shift() -> None:
    point = make_records()[0]
    point["shift"]["l2"][0] = 1e9
    assert quantity(point, "shift_l2") < 1  # type: ignore[operator]
    assert len(LAYERS) == 3

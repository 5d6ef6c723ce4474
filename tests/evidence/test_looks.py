"""The judge of many seeds under the null and under planted effects, with one look and with several.

400 pairs of identical arms: each pair is two independent draws of a noisy, skewed measure, one a seed, so that nothing but chance
differs. At most 5 % may be told apart; the count is held against 5 % by an exact binomial test, since 400 pairs at a true rate of 5 %
give more than 20 in half of all repetitions. What is certain is the bound over all looks, checked on ten times as many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bntheory.evidence.checks import Check
from bntheory.evidence.decision import outcome
from bntheory.evidence.distance import distance_interval
from bntheory.evidence.intervals import estimate, simultaneous
from bntheory.evidence.looks import Looks
from bntheory.evidence.power import seeds_needed
from bntheory.evidence.seeds import over_seeds
from bntheory.evidence.study import Study
from bntheory.experiments.runs import until_decided

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
NOISE: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(0.0, 0.3, shape),
    "skewed": lambda rng, shape: 0.3 * rng.exponential(size=shape),
    "heavy tails": lambda rng, shape: 0.2 * rng.standard_t(3, shape),
}
LOOKS = Looks.doubling(8, 32)


def _pairs(draw: Draw, pairs: int, seeds: int, effect: float = 0.0, seed: int = 7) -> NDArray[np.float64]:
    """log10 of a measure of one arm minus that of the other, (pairs, seeds)."""
    rng = np.random.default_rng(seed)
    return effect + draw(rng, (pairs, seeds)) - draw(rng, (pairs, seeds))


def _told_apart(values: NDArray[np.float64]) -> bool:
    return outcome(estimate(map(float, values)), claim="below", threshold=0.0) in ("supported", "contradicted")


def _look(values: Sequence[float], looks: Looks, margin: float | None = None) -> tuple[int, str] | None:
    """(seeds, outcome) at the first look that decides, or at the last one that there are seeds for."""
    found = None
    for size in looks.sizes:
        if size > len(values):
            break
        e = estimate(values[:size], looks.confidence(size))
        found = size, outcome(e, claim="below", threshold=0.0, margin=margin)
        if found[1] != "inconclusive":
            break
    return found


def _told_apart_by_looking(values: NDArray[np.float64], looks: Looks) -> bool:
    found = _look(list(values), looks)
    return found is not None and found[1] in ("supported", "contradicted")


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("seeds", [3, 8])
def test_identical_arms_are_told_apart_in_at_most_one_of_twenty(noise: str, seeds: int) -> None:
    count = sum(map(_told_apart, _pairs(NOISE[noise], 400, seeds)))
    assert stats.binomtest(count, 400, 0.05, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize("seeds", [3, 4, 5])
def test_numbers_that_tie_are_told_apart_no_more_often(seeds: int) -> None:
    """A number with two values, as a best rate on a grid has: a few seeds are often all equal, and have no spread."""
    values = np.random.default_rng(seeds).choice([-1.0, 1.0], (4000, seeds))
    assert sum(map(_told_apart, values)) <= 200
    assert sum(distance_interval(v.reshape(1, 1, seeds))[0] > 0 for v in values) <= 200
    by_looking = np.random.default_rng(seeds).choice([-1.0, 1.0], (4000, 24))
    assert sum(_told_apart_by_looking(v, Looks((seeds, 24))) for v in by_looking) <= 1.4 * 200  # Student's own excess


def test_how_often_three_values_on_a_grid_err_is_what_their_checks_say() -> None:
    """Every sample is counted, with its multinomial weight, for 25 symmetric distributions and up to 24 seeds."""
    worst = 0.0
    for n in range(3, 25):
        samples = [(low, n - low - high, high) for low in range(n + 1) for high in range(n + 1 - low)]
        apart = [s for s in samples if _told_apart(np.repeat([-1.0, 0.0, 1.0], s))]
        for p in np.linspace(0.02, 0.5, 25):
            worst = max(worst, float(stats.multinomial.pmf(apart, n, [p, 1 - 2 * p, p]).sum()) if apart else 0.0)
    assert worst == pytest.approx(1 / 8)
    assert "up to an eighth" in over_seeds("x", [1.0, 0.0, 1.0], "above", 0.0, "made up").why
    assert "eighth" not in over_seeds("x", [1.0, 0.5, 1.5], "above", 0.0, "made up").why


@pytest.mark.parametrize("noise", NOISE)
def test_looking_again_and_again_tells_identical_arms_apart_no_more_often(noise: str) -> None:
    many = _pairs(NOISE[noise], 4000, 32)
    apart = [_told_apart_by_looking(v, LOOKS) for v in many]
    assert sum(apart) <= 200  # 5 % of 4000, over all looks
    assert stats.binomtest(sum(apart[:400]), 400, 0.05, alternative="greater").pvalue > 0.001
    # what it is for: the same looks at 95 % each go wrong more often
    naive = sum(any(_told_apart(v[:n]) for n in LOOKS.sizes) for v in many)
    assert naive > 1.3 * sum(apart)


@pytest.mark.parametrize("noise", ["normal", "skewed"])
def test_a_planted_effect_of_the_stated_size_is_found_in_four_of_five(noise: str) -> None:
    """The stated size: that for which so many seeds have 80 % power."""
    effect = -0.35
    deviation = float(_pairs(NOISE[noise], 100_000, 1).std())
    n = seeds_needed(effect, deviation)
    assert n is not None
    found = [
        outcome(estimate(map(float, v)), claim="below", threshold=0.0) == "supported"
        for v in _pairs(NOISE[noise], 400, n, effect)
    ]
    assert stats.binomtest(sum(found), 400, 0.8, alternative="less").pvalue > 0.001
    looks = Looks.doubling(8, -(-n * 5 // 4))  # looking costs a quarter more seeds at the most
    by_looking = [_look(list(v), looks) for v in _pairs(NOISE[noise], 400, looks.sizes[-1], effect)]
    right = sum(one is not None and one[1] == "supported" for one in by_looking)
    assert stats.binomtest(right, 400, 0.8, alternative="less").pvalue > 0.001
    assert not any(one is not None and one[1] == "contradicted" for one in by_looking)


def test_several_checks_of_one_claim_share_the_error() -> None:
    """Five checks of a claim under the null: any wrong side counts."""
    draws = np.random.default_rng(11).normal(size=(2000, 5, 8))
    confidence = simultaneous(0.95, 5)
    wrong = sum(
        any(outcome(estimate(map(float, c), confidence), claim="below", threshold=0.0) != "inconclusive" for c in claim)
        for claim in draws
    )
    assert wrong <= 0.05 * 2000 + 3 * np.sqrt(2000 * 0.05 * 0.95)
    uncorrected = sum(any(map(_told_apart, claim)) for claim in draws)
    assert uncorrected > 2 * wrong


def test_the_looks_spend_what_was_stated() -> None:
    for looks in (LOOKS, Looks((3, 4, 5, 40)), Looks((6,)), Looks.doubling(8, 64, alpha=0.02, checks=3)):
        spent = sum(1 - looks.confidence(n) for n in looks.sizes)
        assert spent == pytest.approx(looks.alpha / looks.checks)
    assert LOOKS.sizes == (8, 16, 32)
    assert LOOKS.confidence(8) > LOOKS.confidence(16) > LOOKS.confidence(32) > 0.95
    with pytest.raises(ValueError, match="none of the looks"):
        LOOKS.confidence(9)
    for sizes in ((), (2, 4), (4, 4), (8, 4)):
        with pytest.raises(ValueError, match="looks"):
            Looks(sizes)


def test_what_comes_after_the_deciding_look_changes_nothing() -> None:
    """The laboratory's own rule, which asks for the seeds of one look after another."""

    def decided(values: Sequence[float], margin: float | None = None) -> Check:
        def read(size: int, confidence: float) -> list[Check]:
            return [over_seeds("effect", values[:size], "below", 0.0, "", confidence=confidence, margin=margin)]

        (check,) = until_decided(Study(), LOOKS, read)
        return check

    first = decided([-1.0, -1.1, -0.9, -1.05, -1.0, -0.95, -1.0, -1.0, *[50.0] * 24])
    assert (first.outcome, first.witness["look"]) == ("holds", 8)
    assert decided([0.001 * (-1) ** i for i in range(8)], 0.05).outcome == "equivalent"

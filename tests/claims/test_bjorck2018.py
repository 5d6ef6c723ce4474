"""Largest stable learning rates: the search on made-up stability, and arms that are exchanged or equal."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from bntheory.bridge import NetworkSpec
from bntheory.claims.claim import Study
from bntheory.claims.sources.bjorck2018 import GRID, Numbers, Setting, checks, largest_stable, measure, search
from bntheory.experiments.short_runs import choose_images

TINY = Setting(((4, 1),), images=96, search_steps=12, halvings=1, steps=12)
STUDY = Study(effort="quick", seed=5)


@pytest.mark.parametrize("limit", [0.3, 0.06, 1.1e-3, 4.0])
@pytest.mark.parametrize("halvings", [0, 1, 3])
def test_the_search_brackets_the_limit(limit: float, halvings: int) -> None:
    calls: list[float] = []

    def stable(rate: float) -> bool:
        calls.append(rate)
        return rate <= limit

    rate, above = largest_stable(stable, halvings)
    resolution = Setting((), 0, 0, halvings, 0).resolution
    assert not above
    assert rate in calls
    assert 0 <= math.log10(limit / rate) <= resolution + 1e-12
    assert len(calls) == len(set(calls))


def test_the_search_where_it_has_no_bracket() -> None:
    assert largest_stable(lambda rate: True, 2) == (GRID[0], True)
    rate, above = largest_stable(lambda rate: False, 2)
    assert math.isnan(rate)
    assert not above
    # an unstable island below a stable rate does not end the search
    assert largest_stable(lambda rate: rate not in (GRID[0], GRID[2]), 0)[0] == GRID[1]


def test_stability_is_what_the_reading_says() -> None:
    images = choose_images(96, side=7, seed=1, device="cpu")
    spec = NetworkSpec("resnet", norm="none", layout=((4, 1),), input_shape=(1, 7, 7))
    rate, bounded, above = search(spec, images, 1, TINY)
    assert not above
    assert rate < 4
    assert bounded >= max(r for r in GRID if r <= rate)  # what learns has not diverged


def numbers(gap: float, gain: float, spread: float = 0.01) -> Numbers:
    wobble = [-spread, 0.0, spread]
    return Numbers(
        {"normalised": [gap + w for w in wobble], "standard": [0.0] * 3},
        {"normalised": [gap + w for w in wobble], "standard": [0.0] * 3},
        {"normalised": [0.5 + gain + w for w in wobble], "standard": [0.5] * 3},
        [0.6] * 3,
        3,
        0,
    )


def exchanged(x: Numbers) -> Numbers:
    def turn(arms: dict[str, list[float]]) -> dict[str, list[float]]:
        return {"normalised": arms["standard"], "standard": arms["normalised"]}

    return replace(x, largest=turn(x.largest), bounded=turn(x.bounded), small=turn(x.small))


def test_both_parts_of_the_statement_are_asked() -> None:
    def outcomes(x: Numbers) -> list[str]:
        return [c.outcome for c in checks(x, TINY) if c.decisive]

    assert outcomes(numbers(1.6, 0.0)) == ["holds", "holds"]
    assert outcomes(numbers(0.5, 0.2)) == ["fails", "fails"]
    assert outcomes(exchanged(numbers(1.6, 0.2))) == ["fails", "holds"]
    # nearer to 10 than the search can tell: equal numbers on the grid are no certainty
    assert outcomes(numbers(1.2, 0.0, spread=0.0)) == ["undecided", "holds"]


def test_what_is_left_out_is_counted() -> None:
    x = numbers(1.6, 0.0)
    x.small["standard"][1] = math.nan
    found = checks(replace(x, seeds=5, above_grid=2), TINY)
    assert found[0].outcome == "undecided"  # the largest stable rate may lie above the grid
    assert "2 seeds without a stable rate" in found[0].scope
    assert "2 searches stable at the top" in found[0].scope
    assert "1 differences left out" in found[1].scope
    assert found[1].outcome == "undecided"  # two seeds decide nothing


def test_exchanged_arms_give_exchanged_numbers_and_equal_arms_none() -> None:
    state = torch.get_rng_state()
    there, back, same = (
        measure(STUDY, TINY, 1, arms) for arms in (("batch", "none"), ("none", "batch"), ("none", "none"))
    )  # fmt: skip
    assert torch.equal(state, torch.get_rng_state())
    assert there.largest["normalised"] == back.largest["standard"]
    assert there.largest["standard"] == back.largest["normalised"]
    assert same.largest["normalised"] == same.largest["standard"] == there.largest["standard"]
    assert same.small["normalised"] == same.small["standard"]

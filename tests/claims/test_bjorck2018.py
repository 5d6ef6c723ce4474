"""Largest stable learning rates: the search on made-up stability, and the study on made-up records with known limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from planted import plant_points

from bntheory.claims.claim import Study
from bntheory.claims.sources import bjorck2018
from bntheory.claims.sources.bjorck2018 import GRID, RESOLUTION, Found, Setting, checks, search
from bntheory.evidence.decision import LEAST_SEEDS
from bntheory.experiments.runs import FIRST_JUDGED

QUICK = Study("quick", seed=5)
TINY = Setting(((4, 1),), 160, 24, 12)


def answered(stable: Callable[[float], bool]) -> tuple[tuple[float, bool], list[float]]:
    """What the search returns, and what it asked on the way."""
    of, asked = search(), []
    rate = next(of)
    while True:
        asked.append(rate)
        try:
            rate = of.send(stable(rate))
        except StopIteration as end:
            return end.value, asked


@pytest.mark.parametrize("limit", [0.3, 0.06, 1.1e-3, 4.0])
def test_the_search_brackets_the_limit(limit: float) -> None:
    (rate, above), asked = answered(lambda rate: rate <= limit)
    assert not above
    assert rate in asked
    assert 0 <= math.log10(limit / rate) <= RESOLUTION + 1e-12
    assert len(asked) == len(set(asked))


def test_the_search_where_it_has_no_bracket() -> None:
    assert answered(lambda rate: True)[0] == (GRID[0], True)
    (rate, above), asked = answered(lambda rate: False)
    assert math.isnan(rate)
    assert not above
    assert asked == list(GRID)
    # an unstable island below a stable rate does not end the search
    assert answered(lambda rate: rate not in (GRID[0], GRID[2]))[0][0] >= GRID[1]


# -- the study on made-up records --------------------------------------------------------------------------------------


def records(
    limits: dict[str, float], accuracies: dict[str, float], fails: str = "diverges"
) -> Callable[[str, int, int], dict[str, Any] | None]:
    """Training learns up to the limit times 1.02 to 1.06 by seed; beyond it, it diverges, explodes or stays at guessing."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any] | None:
        norm, _, rate = arm.partition(" at ")
        wobble = 1 + 0.02 * (seed % 10 % 3 + 1)
        if float(rate) <= limits[norm] * wobble:
            held_out = accuracies[norm] + 0.001 * (seed % 10)
            return {"progress": {"loss": 1.0}, "training": {"loss": 1.0, "accuracy": 0.5}, "held_out": held_out}
        return {"diverges": None, "explodes": {"progress": {"loss": 1e6}}, "guesses": {"progress": {"loss": 2.3}}}[
            fails
        ]

    return values


@pytest.mark.parametrize(
    ("limit", "gain", "outcomes"),
    [(4.0, 0.0, ["holds", "holds"]), (0.5, 0.2, ["fails", "fails"]), (4.0, 0.2, ["holds", "fails"])],
)
def test_both_parts_of_the_statement_are_asked(
    limit: float, gain: float, outcomes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = {"batch": 0.5 + gain, "none": 0.5}
    asked = plant_points(monkeypatch, records({"batch": limit, "none": 0.1}, accuracies))
    both, ratio, gained = (
        [c for c in claim(QUICK) if c.decisive]
        for claim in (bjorck2018.learning_rate, bjorck2018.stable_rates, bjorck2018.gain_at_equal_rate)
    )
    assert [c.outcome for c in both] == outcomes
    assert [c.outcome for c in ratio + gained] == outcomes
    assert sum(both[0].witness["values"]) / 3 == pytest.approx(math.log10(limit / 0.1), abs=RESOLUTION)
    assert both[1].witness["values"] == pytest.approx([gain] * 3, abs=1e-9)
    # a search costs an experiment a step, whatever the number of seeds; the two comparisons are one more
    assert len(asked) <= 3 * (len(GRID) + bjorck2018.HALVINGS + 1)
    seeds = {seed for e in asked for m in e.measures for seed in m.seeds}
    assert seeds == {5000 + FIRST_JUDGED + i for i in range(3)}


@pytest.mark.parametrize(("fails", "exploded"), [("diverges", True), ("explodes", True), ("guesses", False)])
def test_what_guesses_is_unstable_and_has_not_exploded(
    fails: str, exploded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_points(monkeypatch, records({"batch": 1.0, "none": 0.1}, {"batch": 0.5, "none": 0.5}, fails))
    found = bjorck2018.measured(QUICK, TINY, 3)
    assert [math.log10(f.largest["batch"]) for f in found] == pytest.approx([0.0] * 3, abs=2 * RESOLUTION)
    assert {f.bounded["none"] for f in found} == {GRID[4] if exploded else GRID[0]}


def test_a_network_that_is_stable_nowhere_gives_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_points(monkeypatch, records({"batch": 1.0, "none": 1e-9}, {"batch": 0.5, "none": 0.5}))
    found = bjorck2018.learning_rate(QUICK)
    assert {c.outcome for c in found if c.decisive} == {"undecided"}
    assert "3 of 3 seeds gave no number" in found[0].scope


def made(gap: float, spread: float, above: bool = False) -> list[Found]:
    return [
        Found({"batch": 10 ** (gap + w), "none": 1.0}, {"batch": 1.0, "none": 1.0}, above, {"batch": 0.5, "none": 0.5}, 0.6)
        for w in (-spread, 0.0, spread)
    ]  # fmt: skip


def test_the_resolution_and_the_top_of_the_grid_leave_the_ratio_open() -> None:
    assert len(made(1, 0)) == LEAST_SEEDS
    study = Study("quick")

    def outcome(found: list[Found]) -> str:
        return checks(study, found, TINY, 0.95, ("ratio",))[0].outcome

    assert outcome(made(1.2, 0.001)) == "holds"
    # nearer to 10 than the search can tell: equal numbers are no certainty
    assert outcome(made(1 + 0.9 * RESOLUTION, 0.0)) == "undecided"
    assert outcome(made(2.0, 0.001, above=True)) == "undecided"
    lost = [*made(1.2, 0.001), replace(made(1.2, 0.0)[0], largest={"batch": math.nan, "none": 1.0})]
    check = checks(study, lost, TINY, 0.95, ("ratio",))[0]
    assert "1 of 4 seeds gave no number" in check.scope
    assert check.outcome == "holds"


@pytest.mark.slow
def test_one_search_on_trained_networks_finds_a_rate_at_which_they_learn() -> None:
    study = Study("quick", seed=1)
    (found,) = bjorck2018.measured(study, TINY, 1)
    assert all(0 < rate < 16 for rate in found.largest.values())
    assert found.small["batch"] is not None

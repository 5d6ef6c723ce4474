"""Arms at equal learning rates: planted curves give back the ratios that were planted, and what did not train does not count.

Oracle: runs made up in closed form, value = level * loss**power, whose ratio at any loss is known.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from bntheory.evidence.study import Study
from bntheory.experiments.equal_rates import (
    along,
    along_training,
    beside,
    common_rates,
    end_of,
    from_the_edge,
    means_over,
    over_the_edge,
)
from bntheory.experiments.experiment import Arm
from bntheory.experiments.runs import Protocol, Run

STEPS = (1, 5, 20, 60, 120)
PROTOCOL = Protocol(120, STEPS)
STUDY = Study()


def loss(point: Any) -> float | None:
    return point["loss"]  # type: ignore[no-any-return]


def value(point: Any) -> float | None:
    return point["value"]  # type: ignore[no-any-return]


def run(rate: float, seed: int, losses: list[float | None], level: float, power: float = 0.0) -> Run:
    """value = level * loss**power at every point; a loss of None: diverged from there on."""
    points = {
        step: {"loss": x, "value": level * x**power} for step, x in zip(STEPS, losses, strict=True) if x is not None
    }
    return Run(Arm("net", "arm", "mlp", {}, rate), PROTOCOL, seed, points, 0.1)


TRAINS: list[float | None] = [2.2, 1.8, 1.2, 0.8, 0.5]
ALSO: list[float | None] = [2.3, 2.0, 1.5, 1.0, 0.6]
STUCK: list[float | None] = [2.3, 2.3, 2.3, 2.3, 2.29]
BREAKS: list[float | None] = [2.3, 9.0, None, None, None]
OWN, OTHER = {0.1: "own 0.1", 1.0: "own 1"}, {0.1: "other 0.1", 1.0: "other 1"}


def seeds(
    own: tuple[float, float],
    other: tuple[float, float],
    count: int = 6,
    powers: tuple[float, float] = (0.0, 0.0),
    at_one: list[float | None] = ALSO,
) -> list[dict[str, Run]]:
    """own, other: levels at the rates 0.1 and 1, with a little noise; at_one: losses of the other arm at rate 1."""
    found = []
    for seed in range(count):
        noise = 1 + 0.02 * math.sin(7 * seed)
        found.append(
            {
                "own 0.1": run(0.1, seed, TRAINS, own[0] * noise, powers[0]),
                "own 1": run(1.0, seed, TRAINS, own[1] * noise, powers[0]),
                "other 0.1": run(0.1, seed, ALSO, other[0], powers[1]),
                "other 1": run(1.0, seed, at_one, other[1], powers[1]),
            }
        )
    return found


def test_the_number_of_a_seed_is_the_mean_over_the_rates() -> None:
    runs = seeds((4.0, 1.0), (1.0, 1.0), count=1)
    rates = common_rates(runs, [OWN, OTHER], loss)
    assert (rates.used, rates.left_out) == ((0.1, 1.0), {})
    found = along_training(runs, OWN, OTHER, rates.used, loss, value)
    assert list(found) == ["the start", "loss 1 of 3", "loss 2 of 3", "loss 3 of 3", "the end"]
    for numbers in found.values():
        assert numbers == pytest.approx([(math.log10(4) + 0) / 2])


def test_equal_losses_are_read_where_both_arms_have_them() -> None:
    """value = loss in one arm and loss**3 in the other: the ratio at a loss x is x**-2, at the start and end that of what each has there."""
    runs = seeds((1.0, 1.0), (1.0, 1.0), count=1, powers=(1.0, 3.0))
    found = along_training(runs, OWN, OTHER, (0.1,), loss, value)
    assert found["the start"] == pytest.approx([math.log10(2.2 / 2.3**3)])
    assert found["the end"] == pytest.approx([math.log10(0.5 / 0.6**3)])
    for i in range(3):
        x = 2.2 * (0.6 / 2.2) ** ((i + 1) / 4)  # even in the logarithm inside (0.6, 2.2), which both went through
        assert found[f"loss {i + 1} of 3"] == pytest.approx([-2 * math.log10(x)], abs=1e-9)


def refuse(run: Run, steps: tuple[int, ...], names: tuple[str, ...] = ("loss", "value")) -> Run:
    """The same run, whose measurement was refused after these steps."""
    points = {step: {**point, **dict.fromkeys(names)} if step in steps else point for step, point in run.points.items()}
    return replace(run, points=points)


@pytest.mark.parametrize("names", [("loss", "value"), ("value",)])
@pytest.mark.parametrize("whose", ["own 0.1", "other 0.1"])
def test_the_start_and_the_end_are_of_one_step_in_both_arms(whose: str, names: tuple[str, ...]) -> None:
    runs = seeds((1.0, 1.0), (1.0, 1.0), count=1, powers=(1.0, 3.0))
    whole = along_training(runs, OWN, OTHER, (0.1,), loss, value)
    for steps, lost in (((120,), {"the end"}), ((60, 120), {"the end"}), ((1,), {"the start"}), ((20,), set())):
        at_hand = [{**seed, whose: refuse(seed[whose], steps, names)} for seed in runs]
        found = along_training(at_hand, OWN, OTHER, (0.1,), loss, value)
        assert {place for place in ("the start", "the end") if found[place] == [None]} == lost
        assert all(found[place] == whole[place] for place in {"the start", "the end"} - lost)


def test_every_seed_has_the_mean_over_the_same_rates() -> None:
    """The two rates have ratios of 4 and 1."""
    runs = seeds((4.0, 1.0), (1.0, 1.0), count=4)
    rates = common_rates(runs, [OWN, OTHER], loss)
    runs[2]["other 1"] = refuse(runs[2]["other 1"], (120,))
    found = along_training(runs, OWN, OTHER, rates.used, loss, value)
    alone = along_training(runs, OWN, OTHER, (0.1,), loss, value)
    assert found["the end"] == alone["the end"]  # at rate 1 one seed has none
    assert found["the start"] == pytest.approx([x - math.log10(2) for x in alone["the start"]], abs=0.01)
    edge = over_the_edge([{**s, "own 1": s["other 1"]} for s in runs], OWN, rates, value)
    assert edge == over_the_edge(runs, OWN, replace(rates, used=(0.1,)), value)
    runs[0]["other 0.1"] = refuse(runs[0]["other 0.1"], (120,))  # now neither rate has all seeds
    found = along_training(runs, OWN, OTHER, rates.used, loss, value)
    assert [x is None for x in found["the end"]] == [True, False, True, False]
    assert means_over([], 3) == [None] * 3


@pytest.mark.parametrize(("losses", "why"), [(STUCK, "has not trained"), (BREAKS, "has diverged")])
def test_a_rate_that_only_one_arm_survives_is_left_out_and_named(losses: list[float | None], why: str) -> None:
    runs = seeds((0.5, 100.0), (1.0, 1.0))
    for seed in (2, 4):
        runs[seed]["other 1"] = run(1.0, seed, losses, 1.0)
    rates = common_rates(runs, [OWN, OTHER], loss)
    assert rates.used == (0.1,)
    assert rates.left_out.keys() == {1.0}
    assert rates.left_out[1.0].startswith(f"in 2 of 6 seeds: arm other {why}")
    found = along_training(runs, OWN, OTHER, rates.used, loss, value)
    checks = along(STUDY, "the value over the other's", found, rates, "made up", confidence=0.95, margin=0.097)
    assert checks[0].outcome == "holds"
    assert checks[0].left == pytest.approx(math.log10(0.5), abs=0.02)  # the 100 at rate 1 has no part in it
    assert "left out: 1 (in 2 of 6 seeds" in checks[0].scope


def test_an_arm_that_trains_nowhere_is_not_comparable() -> None:
    runs = seeds((0.5, 0.5), (1.0, 1.0), at_one=STUCK)
    for seed in runs:
        seed["other 0.1"] = run(0.1, 0, STUCK, 1.0)
    rates = common_rates(runs, [OWN, OTHER], loss)
    assert rates.used == ()
    found = along_training(runs, OWN, OTHER, rates.used, loss, value)
    checks = along(STUDY, "the value over the other's", found, rates, "made up", confidence=0.95, margin=0.097)
    assert {c.outcome for c in checks} == {"not comparable"}
    assert from_the_edge(STUDY, "own", runs, OWN, rates, value, "").outcome == "not comparable"


def test_a_rate_that_one_arm_was_not_run_at_is_left_out() -> None:
    runs = seeds((1.0, 1.0), (1.0, 1.0), count=3)
    rates = common_rates(runs, [OWN, {0.1: "other 0.1"}], loss)
    assert (rates.used, rates.left_out) == ((0.1,), {1.0: "not run in every arm"})


def test_the_guessing_of_a_regression_may_be_given() -> None:
    runs = seeds((1.0, 1.0), (1.0, 1.0), count=3)
    assert common_rates(runs, [OWN, OTHER], loss, guessing=0.5).used == ()
    assert "above 0.98 of guessing's 0.5" in common_rates(runs, [OWN, OTHER], loss, guessing=0.5).left_out[0.1]


def crossing_runs() -> list[dict[str, Run]]:
    """own/other = 3 x**2: above 1 at high losses, below 1 at low ones."""
    return seeds((3.0, 3.0), (1.0, 1.0), powers=(2.0, 0.0), count=6)


def test_a_crossing_is_found_and_not_averaged() -> None:
    runs = crossing_runs()
    rates = common_rates(runs, [OWN, OTHER], loss)
    found = along_training(runs, OWN, OTHER, rates.used, loss, value)
    first, second, *rest = along(STUDY, "it", found, rates, "made up", confidence=0.95, margin=0.097)
    assert [first.outcome, second.outcome] == ["fails", "holds"]
    assert first.decisive
    assert second.decisive
    assert not any(c.decisive for c in rest)
    assert first.name == "log10 of it, at loss 1 of 3"
    assert "changes sign between loss 1 of 3 and" in first.scope
    assert all("crossing: opposite signs at the start" in c.scope for c in rest)


def test_without_a_crossing_one_check_decides() -> None:
    runs = seeds((0.5, 0.5), (1.0, 1.0))
    rates = common_rates(runs, [OWN, OTHER], loss)
    found = along_training(runs, OWN, OTHER, rates.used, loss, value)
    checks = along(STUDY, "it", found, rates, "made up", confidence=0.99, margin=0.097)
    assert [c.name for c in checks if c.decisive] == ["log10 of it, mean along training"]
    assert checks[0].confidence == 0.99
    # the start is shown and no part of the mean
    found["the start"] = [5.0] * 6
    again = along(STUDY, "it", found, rates, "made up", confidence=0.99, margin=0.097)
    assert again[0].left == checks[0].left
    # a seed without a number at some place gives none to the mean
    found["the end"] = [None, *found["the end"][1:]]
    (missing, *_) = along(STUDY, "it", found, rates, "made up", confidence=0.99, margin=0.097)
    assert "1 of 6 seeds gave no number" in missing.scope


def test_no_difference_is_equivalent() -> None:
    runs = seeds((1.05, 1.0), (1.0, 1.0))
    rates = common_rates(runs, [OWN, OTHER], loss)
    found = along_training(runs, OWN, OTHER, rates.used, loss, value)
    assert along(STUDY, "it", found, rates, "", confidence=0.95, margin=0.097)[0].outcome == "equivalent"
    assert {c.outcome for c in beside(STUDY, "it", found, rates, "", margin=0.097)} == {"equivalent"}


def test_distance_from_the_edge_of_stability() -> None:
    """eta lambda/2 is 1 at rate 0.1 with lambda = 20, and 0.5 at rate 1 with lambda = 1."""
    runs = [
        {"own 0.1": run(0.1, s, TRAINS, 20.0 + 0.01 * (s - 1)), "own 1": run(1.0, s, TRAINS, 1.0)} for s in range(3)
    ]
    rates = common_rates(runs, [OWN], loss)
    found = from_the_edge(STUDY, "own", runs, OWN, rates, value, "")
    assert found.left == pytest.approx(math.log10(0.5) / 2, abs=1e-4)
    assert (found.outcome, found.decisive) == ("holds", False)


def test_the_end_of_a_diverged_run_is_none() -> None:
    assert end_of(run(0.1, 0, BREAKS, 1.0), value) is None
    assert end_of(run(0.1, 0, TRAINS, 3.0), value) == 3.0

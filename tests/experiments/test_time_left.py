"""How long a run takes yet is said from what its parts have cost, and nothing is said while that is not known.

The oracle is a simulation that knows the true cost of every part, which the meter is not told.
"""

from __future__ import annotations

import pytest

from bntheory.commands import progress
from bntheory.evidence.record import Record
from bntheory.experiments.experiment import Arm, Conditions, Experiment, Measure, Needed, Protocol, needed
from bntheory.experiments.meter import Meter
from bntheory.experiments.plan import costs_of

MEASURES = (Measure("sharpness"), Measure("unheard of"))
EXPERIMENT = Experiment(
    "x",
    (Arm("small", "a", "mlp", {}, 0.1), Arm("small", "b", "mlp", {}, 0.2), Arm("large", "c", "vgg", {}, 0.1)),
    Protocol(100, (0, 20, 100), 8, 16),
    MEASURES,
    (0, 1),
)
ASKED = list(needed(EXPERIMENT, Conditions({"name": "d"}, "cpu", {})))
#: Seconds of a step, and of each measure.
TRUE = {"small": (0.01, {"sharpness": 0.5, "unheard of": 3.0}), "large": (0.4, {"sharpness": 30.0, "unheard of": 5.0})}


def tasks(left: list[Needed]) -> list[list[Needed]]:
    states = dict.fromkeys(n.state for n in left)
    return [[n for n in left if n.state == state] for state in states]


def seconds_of(left: list[Needed]) -> float:
    total = 0.0
    for of in tasks(left):
        step, measures = TRUE[of[0].task.arm.network]
        total += step * (100 - (0 if of[0].step == 0 else 20 if of[0].step == 100 else 0))
        total += sum(measures[n.measure.name] for n in of)
    return total


def worked_off(left: list[Needed], diverges: str = "", costs: bool = False) -> list[tuple[float, float]]:
    """(fraction said, seconds that it took so far) whenever the meter says something."""
    clock, said = 0.0, []
    known = [timing(n, 100, 100) for n in ASKED] if costs else []
    meter = Meter(ASKED, left, lambda fraction, text: said.append((fraction, clock)), costs_of(known))
    for of in tasks(left):
        step_cost, measures = TRUE[of[0].task.arm.network]
        for step in sorted({n.step for n in of}):
            before = meter.steps[of[0].state]
            for at in range(before + 10, step + 1, 10):
                clock += 10 * step_cost
                meter.at(of[0], "trained", at)
            meter.at(of[0], "measuring", step)
            here = [n for n in of if n.step == step]
            clock += sum(measures[n.measure.name] for n in here)
            gone = of[0].task.arm.name == diverges
            records = [Record("", "", 0, step, n.measure.name, {}, {}, gone) for n in here]
            meter.measured(of, records, timing(of[0], step, step - before))
            if gone:
                break
    said.append((meter.fraction, clock))
    return said


def timing(n: Needed, step: int, trained: int) -> dict[str, object]:
    step_cost, measures = TRUE[n.task.arm.network]
    seconds = {"train": step_cost * trained, **measures}
    return {"network": n.task.arm.network, "seed": n.task.seed, "step": step, "recipe": n.recipe, "seconds": seconds}


def test_the_share_that_is_done_is_that_of_the_seconds_once_every_part_is_known() -> None:
    whole = seconds_of(ASKED)
    said = worked_off(ASKED)
    assert said[0][0] < 0.01
    assert list(said[-1]) == pytest.approx([1.0, whole])
    second_seed = [(f, t) for f, t in said if t > whole / 2]
    assert len(second_seed) > 10
    for fraction, seconds in second_seed:
        assert fraction == pytest.approx(seconds / whole, rel=0.05)


def test_what_a_store_knows_of_the_costs_is_used_from_the_first_moment() -> None:
    whole = seconds_of(ASKED)
    for fraction, seconds in worked_off(ASKED, costs=True):
        assert fraction == pytest.approx(seconds / whole, rel=1e-6, abs=1e-9)


def test_what_is_there_counts_as_nothing_and_what_diverged_is_not_waited_for() -> None:
    left = [n for n in ASKED if n.step == 100 or n.task.seed == 1]
    said = worked_off(left, costs=True)
    assert said[0][0] < 0.1
    assert list(said[-1]) == pytest.approx([1.0, seconds_of(left)])
    assert worked_off(left, diverges="c", costs=True)[-1][0] == pytest.approx(1.0)


def test_nothing_left_is_all_done() -> None:
    assert Meter(ASKED, [], lambda fraction, text: None).fraction == 1.0


def test_timings_that_are_none_are_left_out() -> None:
    good = timing(ASKED[0], 100, 100)
    bad = [{k: v for k, v in good.items() if k != key} for key in good] + [{**good, "seconds": {}}]
    assert costs_of([*bad, good]) == costs_of([good])


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_time_left_is_that_of_a_round_and_said_once_it_is_known(
    monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    left = progress._TimeLeft()
    for _ in range(rounds):
        assert left(0.0) == ""
        now[0] += 50.0  # until the first number
        assert left(1e-4) == ""
        for second in range(1, 100):
            now[0] += 1.0
            said = left(1e-4 + second / 100)
            if second < 5:
                assert said == ""
            else:
                assert float(said.removesuffix(" s")) == pytest.approx(100 - second, abs=1.5)
    now[0] += 1.0
    assert left(0.999) != ""


def test_little_that_is_done_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of a thousand, a minute later: any number would be a guess."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    left = progress._TimeLeft()
    left(0.0)
    left(0.001)
    now[0] = 60.0
    assert left(0.002) == ""
    assert left(0.5) == "60 s"


def test_durations_are_said_in_words() -> None:
    assert [progress.duration(s) for s in (3.4, 119.0, 120.0, 7199.0, 7200.0)] == [
        "3 s",
        "119 s",
        "2 min",
        "120 min",
        "2.0 h",
    ]

"""When measures are made, on a clock that the test holds: seconds of a step and of each measure are given."""

from __future__ import annotations

import pytest

from bntheory.bridge.monitor.schedule import Cost, Schedule


def follow(prices: dict[str, float], *, steps: int, every: int = 10, share: float | None = 0.2, second: float = 1.0):
    """The steps at which each measure is made, and the schedule; a measure's guess is twice its price."""
    schedule = Schedule(every, share, {name: 2 * price / second for name, price in prices.items()})
    made: dict[str, list[int]] = {name: [] for name in prices}
    overdrawn = 0.0
    for step in range(1, steps + 1):
        schedule.trained(second)
        for name in schedule.due(step):
            made[name].append(step)
            schedule.paid(prices[name], name)
            if share is not None:
                overdrawn = max(overdrawn, schedule.measuring / schedule.training - share)
    return made, schedule, overdrawn


@pytest.mark.parametrize(
    "prices", [{"a": 0.01}, {"a": 50.0}, {"a": 0.5, "b": 3.0, "c": 80.0}, {"a": 1.5, "b": 1.5, "c": 1.5}]
)
@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
def test_the_share_is_kept_at_every_moment(prices, share):
    made, schedule, overdrawn = follow(prices, steps=20_000, share=share)
    assert overdrawn <= 0
    assert all(made.values()), "nobody is starved"
    assert all(step % 10 == 0 for steps in made.values() for step in steps)
    dear = sum(prices.values()) / 10 > share
    if dear:  # and used, where it is asked for
        assert schedule.cost.share > 0.85 * share


def test_what_is_cheap_is_made_every_time():
    made, schedule, _ = follow({"cheap": 0.1, "dear": 100.0}, steps=5000)
    assert len(made["cheap"]) >= 499
    assert 8 <= len(made["dear"]) <= 9  # (0.2 - 0.01) x 5000 s / 100 s, the first at twice the price
    assert schedule.cost.measures["cheap"] == (len(made["cheap"]), pytest.approx(0.1 * len(made["cheap"])))


def test_without_a_limit_the_clock_decides_nothing():
    made, _, _ = follow({"a": 100.0}, steps=50, share=None)
    assert made["a"] == [10, 20, 30, 40, 50]


def test_what_stands_before_the_first_step_is_paid_for():
    schedule = Schedule(1, 0.2, {"a": 1.0})
    schedule.paid(10.0)
    for step in range(1, 54):
        schedule.trained(1.0)
        assert not schedule.due(step)
    for step in range(54, 60):
        schedule.trained(1.0)
        if schedule.due(step):
            break
    assert schedule.account >= 1.0


def test_the_cost_in_words():
    _, schedule, _ = follow({"a": 0.5}, steps=100)
    assert str(schedule.cost) == "5 s of measuring to 100 s of training, 5.0 % on top (a 10 x 0.5 s)"


def test_a_cost_above_the_training_is_a_factor_with_a_way_out():
    assert "250 times the training itself; to pay less, follow with a larger every" in str(Cost(1, 0.1, 25.0))
    assert str(Cost(1, 10.0, 10.0)).endswith("100.0 % on top")

"""Where a measure is made: arms, steps and seeds are chosen by it, and none of them is part of a record's address."""

from __future__ import annotations

import pytest

from bntheory.experiments.experiment import Arm, Conditions, Experiment, Measure, Protocol, needed

CONDITIONS = Conditions({"name": "x"}, "cpu", {})


def asked(measure: Measure) -> dict[tuple[str, int, int], str]:
    """address by (arm, seed, step)"""
    arms = tuple(Arm("mlp", norm, "mlp", {"norm": norm}, 0.1) for norm in ("batch", "none"))
    experiment = Experiment("e", arms, Protocol(9, (0, 5, 9), 8, 16), (measure,), (3, 4))
    return {(n.task.arm.name, n.task.seed, n.step): n.address for n in needed(experiment, CONDITIONS)}


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({}, lambda arm, seed, step: True),
        ({"arms": ("none",)}, lambda arm, seed, step: arm == "none"),
        ({"at": (5, 9)}, lambda arm, seed, step: step in (5, 9)),
        ({"seeds": (4,)}, lambda arm, seed, step: seed == 4),
        ({"arms": ("batch",), "at": (0,), "seeds": (3,)}, lambda arm, seed, step: (arm, seed, step) == ("batch", 3, 0)),
        ({"arms": ("none",), "on": "batch normalised"}, lambda arm, seed, step: False),
    ],
)
def test_a_measure_is_made_where_it_says_and_its_records_are_the_same_ones(where, kept) -> None:  # type: ignore[no-untyped-def]
    everywhere, chosen = asked(Measure("curvature")), asked(Measure("curvature", **where))
    assert chosen == {at: address for at, address in everywhere.items() if kept(*at)}

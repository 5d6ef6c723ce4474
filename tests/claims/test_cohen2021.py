"""The edge of stability, read off made-up records: both sides of the band, runs that diverge, rates at which it is not reached.

That the recorded sharpness is the Hessian's is tested with the measure, that descent is plain full-batch descent with the protocol.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from planted import plant_points

from bntheory.claims.claim import Study
from bntheory.claims.sources import cohen2021
from bntheory.experiments.runs import FIRST_JUDGED

QUICK, NORMAL = Study("quick", seed=3), Study("normal", seed=3)


def at_level(level: Callable[[int], float], *, diverges: Callable[[str, int], bool] | None = None) -> Any:
    """The sharpness of every arm is exp(level(step)) times 2/eta, with a little that differs from seed to seed."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any] | None:
        if diverges is not None and diverges(arm, seed):
            return None
        rate = float(arm.rpartition(" ")[2])
        top = 2 / rate * math.exp(level(step) + 0.001 * (seed % 10 - 1))
        return {"sharpness": {"own": {"top": top, "converged": True}}}

    return values


@pytest.mark.parametrize(
    ("level", "outcomes"),
    [(0.0, ["holds", "holds"]), (0.4, ["holds", "fails"]), (-0.4, ["fails", "holds"]), (0.2225, ["holds", "undecided"])],
)  # fmt: skip
def test_the_band_has_two_sides(level: float, outcomes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = plant_points(monkeypatch, at_level(lambda step: level))
    checks = cohen2021.edge_of_stability(QUICK)
    assert [c.outcome for c in checks if c.decisive] == 2 * outcomes
    assert asked[0].seeds == tuple(3000 + FIRST_JUDGED + i for i in range(3))
    assert asked[0].protocol.batch_size == asked[0].protocol.images
    assert (asked[0].protocol.loss, asked[0].protocol.dtype) == ("squared-error", "float64")


def test_the_late_phase_alone_decides_and_is_seen_from_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the edge at first, then jumping from one side of it to the other at every step."""
    protocol = cohen2021.protocol_of(NORMAL)
    late = [step for step in protocol.record if 2 * step > protocol.steps]
    assert len(late) == 10
    assert {step % 2 for step in late} == {0, 1}
    assert min(protocol.record) < protocol.steps / 4

    def level(step: int) -> float:
        return (0.5 if step % 2 else -0.5) if 2 * step > protocol.steps else -3.0

    plant_points(monkeypatch, at_level(level))
    checks = cohen2021.edge_of_stability(NORMAL)
    assert {c.outcome for c in checks if c.decisive} == {"holds"}


def test_rates_at_which_the_edge_is_not_reached_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = at_level(lambda step: 0.0)

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        found: dict[str, Any] = plain(arm, seed, step)
        if arm.endswith("= 0.02"):
            found["sharpness"]["own"]["top"] /= 5
        return found

    plant_points(monkeypatch, values)
    checks = cohen2021.edge_of_stability(NORMAL)
    assert {c.outcome for c in checks if c.decisive} == {"holds"}
    shown = {c.name: c.outcome for c in checks if "the edge is reached" in c.name}
    assert {name.partition(":")[0]: outcome for name, outcome in shown.items()} == {
        "batch norm, eta = 0.1": "holds",
        "batch norm, eta = 0.2": "holds",
        "batch norm, eta = 0.02": "fails",
        "batch norm, eta = 0.05": "holds",
        "batch norm, eta = 0.4": "holds",
        "no normalisation, eta = 0.05": "holds",
    }


def test_what_diverges_is_counted_and_what_does_not_converge_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(arm: str, seed: int) -> bool:
        return seed % 10 == 1

    plant_points(monkeypatch, at_level(lambda step: 0.0, diverges=one))
    check = cohen2021.edge_of_stability(QUICK)[0]
    assert "1 run diverged" in check.scope
    assert check.outcome == "undecided"  # two seeds are too few

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        converged = seed % 10 != 1 or step < 300
        return {"sharpness": {"own": {"top": 2 / float(arm.rpartition(" ")[2]), "converged": converged}}}

    plant_points(monkeypatch, values)
    assert cohen2021.edge_of_stability(QUICK)[0].outcome == "undecided"

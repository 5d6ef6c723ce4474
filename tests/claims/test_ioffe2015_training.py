"""How far percentiles wander: courses that are known, and made-up records; running statistics decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from planted import plant_points

from bntheory.claims.claim import Study
from bntheory.claims.sources.ioffe2015 import training as ioffe2015_training
from bntheory.claims.sources.ioffe2015.training import unsteadiness
from bntheory.experiments.runs import FIRST_JUDGED

QUICK = Study("quick", seed=4)


def test_unsteadiness_of_courses_that_are_known() -> None:
    still = np.tile(np.array([-1.0, 0.0, 1.0])[None, :, None], (5, 1, 4))
    assert unsteadiness(still, relative=True) == 0
    drift = np.arange(5.0)[:, None, None]
    assert unsteadiness(still + drift, relative=True) == pytest.approx(2)  # moves by 4, width 2
    assert unsteadiness(still + drift, relative=False) == pytest.approx(4)
    assert unsteadiness(10 * (still + drift), relative=True) == pytest.approx(2)
    assert unsteadiness(10 * (still + drift), relative=False) == pytest.approx(40)
    back = still + drift * (drift < 4)  # wandering counts, also where it comes back
    assert unsteadiness(back, relative=False) == pytest.approx(3)
    one = still.copy()
    one[:, :, 0] += 100 * drift[:, :, 0]  # a single unit is not typical
    assert unsteadiness(one, relative=False) == 0


def records(batch: float, running: float, none: float, lost: int = -1) -> Any:
    """How far the percentiles drift from the first to the last step, by statistics."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any] | None:
        if seed % 10 == lost and arm == "batch":
            return None

        def at(drift: float) -> list[list[float]]:
            moved = drift * (1 + 0.02 * (seed % 3 - 1)) * step / 300
            return [[x + moved] * 4 for x in (-1.0, 0.0, 1.0)]

        of = (
            {"batch": at(batch), "running": at(running)}
            if arm == "batch"
            else dict.fromkeys(("batch", "running"), at(none))
        )
        return {"percentiles": of, "training": {"loss": 1.0, "accuracy": 0.5}, "held_out": 0.6}

    return values


@pytest.mark.parametrize(("running", "outcome"), [(0.4, "holds"), (8.0, "fails"), (2.0, "undecided")])
def test_running_statistics_decide(running: float, outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the statistics of the images looked at the normalised network is steadier in any case."""
    plain = records(0.2, running, 2.0)

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        return plain(arm, seed + (arm == "none"), step)  # type: ignore[no-any-return]

    asked = plant_points(monkeypatch, values)
    checks = ioffe2015_training.steadier_inputs(QUICK)
    (decisive,) = [c for c in checks if c.decisive]
    assert decisive.outcome == outcome
    assert "by running statistics" in decisive.name
    assert next(c for c in checks if "images looked at" in c.name).outcome == "holds"
    assert asked[0].seeds == tuple(4000 + FIRST_JUDGED + i for i in range(3))
    assert {a.name for a in asked[0].arms} == {"batch", "none"}


def test_a_training_that_diverged_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_points(monkeypatch, records(0.2, 0.4, 2.0, lost=2))
    check = ioffe2015_training.steadier_inputs(QUICK)[0]
    assert "1 of 3 seeds gave no number" in check.scope
    assert check.outcome == "undecided"  # two seeds are too few

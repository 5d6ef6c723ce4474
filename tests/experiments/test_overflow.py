"""On the brink of divergence a measured number may overflow; the record says that it is unknown, and the run goes on."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bntheory.evidence.study import Study
from bntheory.experiments import worker
from bntheory.experiments.experiment import Arm
from bntheory.experiments.runs import Protocol, each_seed


def test_a_number_that_overflowed_is_unknown_in_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(at: Any, asked: Any) -> dict[str, Any]:
        return {"norm": math.inf, "deep": {"list": [math.nan, 1.5, (2.0, -math.inf)]}, "step": at.step, "why": None}

    monkeypatch.setattr(worker, "measure", measured)
    arm = Arm("overflowing", "a", "mlp", {"layout": (3,), "norm": "none"}, 0.123)
    (runs,) = each_seed(Study(), [arm], Protocol(2, (1, 2), batch_size=4, measured=8, side=2), 1, "overflow")
    assert set(runs["a"].points) == {1, 2}
    point = runs["a"].points[2]
    assert (point["norm"], point["deep"], point["step"]) == (None, {"list": [None, 1.5, [2.0, None]]}, 2)

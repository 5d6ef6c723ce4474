"""Hessian trace against depth, read off made-up records: opposite things of the two depths, at equal losses."""

from __future__ import annotations

import math
from typing import Any

import pytest
from planted import plant_points

from bntheory.claims.claim import Study
from bntheory.claims.sources import yao2020

QUICK = Study("quick", seed=2)


def values_with(ratios: dict[int, float], untrained: str = "") -> Any:
    """With batch norm the loss falls three times as fast; the trace is the loss's square root times the depth's ratio."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        norm, blocks = arm.split(", ")
        loss = 2.2 * math.exp(-step / (10 if norm == "batch" else 30))
        ratio = ratios[int(blocks)] * (1 + 0.02 * (seed % 3 - 1)) if norm == "batch" else 1.0
        loss = 2.29 if arm == untrained else loss
        return {"trace": {"loss": loss, "value": 100 * math.sqrt(loss) * ratio, "error": 1.0}}

    return values


@pytest.mark.parametrize(
    ("ratios", "outcomes"),
    [
        ({1: 2.0, 2: 1.0, 4: 0.5}, ["holds", "holds"]),
        ({1: 0.5, 2: 1.0, 4: 2.0}, ["fails", "fails"]),
        ({1: 2.0, 2: 2.0, 4: 1.0}, ["holds", "undecided"]),
        ({1: 2.0, 2: 1.0, 4: 3.0}, ["holds", "fails"]),
    ],
)
def test_the_study_asks_opposite_things_of_the_two_depths(
    ratios: dict[int, float], outcomes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = plant_points(monkeypatch, values_with(ratios))
    checks = yao2020.trace_and_depth(QUICK)
    assert [c.outcome for c in checks if c.decisive] == outcomes
    equal = [c for c in checks if c.name.endswith("at equal losses") and "stage" in c.name]
    for check, blocks in zip(equal, (1, 2, 4), strict=True):
        assert sum(check.witness["values"]) / 3 == pytest.approx(math.log10(ratios[blocks]), abs=0.01)
    difference = checks[-1].witness["values"]
    assert difference == pytest.approx([math.log10(ratios[4] / ratios[1])] * 3, abs=1e-5)
    assert {a.name for a in asked[0].arms} == {f"{n}, {b}" for n in ("batch", "none") for b in (1, 2, 4)}


def test_a_depth_at_which_a_network_has_not_trained_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_points(monkeypatch, values_with({1: 2.0, 2: 1.0, 4: 0.5}, untrained="none, 4"))
    found = [c.outcome for c in yao2020.trace_and_depth(QUICK) if c.decisive]
    assert found == ["holds", "not comparable"]


def test_a_trace_that_is_not_positive_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = values_with({1: 2.0, 2: 1.0, 4: 0.5})

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        found: dict[str, Any] = plain(arm, seed, step)
        if seed % 10 == 1 and arm == "batch, 1":
            found["trace"]["value"] = -1.0
        return found

    plant_points(monkeypatch, values)
    check = yao2020.trace_and_depth(QUICK)[0]
    assert "1 of 3 seeds gave no number" in check.scope
    assert check.outcome == "undecided"

"""What the claims on detached statistics read off made-up records: which arm is above which, at equal rates and at the best ones."""

from __future__ import annotations

import math
from typing import Any

import pytest
from planted import plant_points

from bntheory.claims import registry
from bntheory.claims.claim import Study
from bntheory.claims.sources.bntheory2026 import detached
from bntheory.experiments.runs import FIRST_JUDGED
from bntheory.judges.verdict import evidence_of_checks, verdict_of

QUICK = Study("quick", seed=1)
OTHER = {"both": "detached", "mean": "detached-mean", "variance": "detached-variance"}


def planted(monkeypatch: pytest.MonkeyPatch, levels: Any, spread: float = 0.01) -> list[Any]:
    """levels(norm, rate): the loss that an arm has late in training, None where it diverged."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any] | None:
        norm, rate = arm.rsplit(" ", 1)
        level = levels(norm, float(rate))
        noise = 1 + spread * ((seed * (3 if norm == "batch" else 5)) % 7 - 3) / 3
        return None if level is None else {"progress": {"loss": level * noise, "gradient_norm": 1.0}}

    return plant_points(monkeypatch, values)


def status(name: str) -> str:
    found = registry()[f"bntheory2026.detached-statistics.{name}"]
    checks = found.check(QUICK)
    return verdict_of(found, [evidence_of_checks(checks, seconds=0.0, seed=1)]).status.value


@pytest.mark.parametrize(("factor", "expected"), [(1.3, "supported"), (0.8, "contradicted"), (1.0, "equivalent")])
@pytest.mark.parametrize("name", OTHER)
def test_higher_than_with_batch_norm(name: str, factor: float, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda norm, rate: 0.7 * (1 if norm == "batch" else factor), 0.002)
    assert status(name) == expected


def test_noise_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda norm, rate: 0.7, 0.5)
    assert status("both") == "inconclusive"


def test_only_rates_at_which_both_train_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 0.3 the detached arm diverges, at 0.03 batch norm is at guessing: what is left is 0.1, and the others are named."""

    def levels(norm: str, rate: float) -> float | None:
        if norm == "detached":
            return {0.03: 0.5, 0.1: 1.4, 0.3: None}[rate]
        return {0.03: math.log(10), 0.1: 0.7, 0.3: 0.6}[rate]

    asked = planted(monkeypatch, levels, 0.001)
    checks = [c for c in detached.both(QUICK) if c.decisive]
    assert len(checks) == 3
    for check in checks:
        assert check.outcome == "holds"
        assert check.right == pytest.approx(math.log10(2), abs=0.01)
        assert "left out: 0.03" in check.scope
        assert "0.3 (in 3 of 3 seeds: arm detached has diverged)" in check.scope
    assert asked[0].seeds == tuple(1000 + FIRST_JUDGED + i for i in range(3))
    assert min(asked[0].protocol.record) > 20  # the second half of 40 steps


def test_nothing_is_said_where_no_rate_trains_both(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda norm, rate: 2.3 if norm == "batch" else 0.5)
    assert status("both") == "unknown"


@pytest.mark.parametrize(("detached_best", "expected"), [(0.9, "supported"), (0.7, "supported"), (0.5, "contradicted")])
def test_forward_alone_compares_best_rates(
    detached_best: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best rates differ, and at every equal rate the order may be another one."""

    def levels(norm: str, rate: float) -> float | None:
        if norm == "detached":
            return {0.03: detached_best, 0.1: 1.5, 0.3: None}[rate]
        return {0.03: 1.5, 0.1: 0.7, 0.3: 0.8}[rate]

    planted(monkeypatch, levels, 0.002)
    assert status("forward-alone") == expected


def test_forward_alone_needs_a_network_that_trains_without(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, lambda norm, rate: 2.3 if norm == "none" else 0.5)
    assert status("forward-alone") == "unknown"


def test_a_loss_that_is_not_known_at_every_step_is_infinite() -> None:
    from bntheory.experiments.experiment import Arm
    from bntheory.experiments.runs import Protocol, Run, late_loss

    protocol = Protocol(10, (6, 8, 10))
    points = {s: {"progress": {"loss": x}} for s, x in ((6, 1.0), (8, 3.0), (10, 2.0))}
    arm = Arm("n", "a", "mlp", {}, 0.1)
    assert late_loss(Run(arm, protocol, 0, points, 0.1)) == pytest.approx(2.0)
    assert math.isinf(late_loss(Run(arm, protocol, 0, {6: points[6]}, 0.1)))

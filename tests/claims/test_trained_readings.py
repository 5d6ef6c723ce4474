"""What claims about trained networks read off made-up records: detached layer norm and robustness of inputs, with known answers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from planted import plant_points

from bntheory.claims import registry
from bntheory.claims.claim import Study
from bntheory.claims.sources import galloway2019
from bntheory.judges.verdict import evidence_of_checks, verdict_of

QUICK = Study("quick", seed=1)


def status(claim: str) -> str:
    found = registry()[claim]
    return verdict_of(found, [evidence_of_checks(found.check(QUICK), seconds=0.0, seed=1)]).status.value


# -- xu2019.derivatives-matter -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "detached", "none", "expected"),
    [
        (0.5, 0.9, 1.0, "supported"),
        (0.5, 1.5, 1.0, "supported"),  # beyond none: farther still from layer norm
        (0.5, 0.6, 1.0, "contradicted"),
        (0.5, math.sqrt(0.5), 1.0, "equivalent"),  # in the middle of the logarithms
        (1.0, 1.5, 1.0, "unknown"),  # layer norm gains nothing
        (0.5, 0.9, 2.3, "unknown"),  # without normalisation nothing is learnt
    ],
)
def test_derivatives_of_layer_norm(
    layer: float, detached: float, none: float, expected: str, monkeypatch: Any
) -> None:
    levels = {"layer": layer, "layer-detached": detached, "none": none}

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        noise = 1 + 0.002 * (seed % 3 - 1) * (1 if arm.startswith("layer-") else -1)
        return {"progress": {"loss": levels[arm.rsplit(" ", 1)[0]] * noise, "gradient_norm": 1.0}}

    plant_points(monkeypatch, values)
    assert status("xu2019.derivatives-matter") == expected


# -- galloway2019.input-robustness -------------------------------------------------------------------------------------


def robustness(
    monkeypatch: Any, noise: float, sign: float, *, speed: float = 2.0, trains: bool = True
) -> None:
    """Retained accuracies fall with the clean error e like 1 - e/2; batch norm's are ``noise`` and ``sign`` times that, and it learns faster."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        batch = arm.startswith("batch")
        error = 0.9 * math.exp(-step * (speed if batch else 1.0) / 30)
        base = (1 - error) * (1 - error / 2) * (1 + 0.001 * (seed % 3 - 1) * (1 if batch else -1))
        found = {
            "clean": 1 - error,
            "noise": {f"{galloway2019.NOISE:g}": base * (noise if batch else 1)},
            "sign": {f"{galloway2019.SIGN:g}": base * (sign if batch else 1)},
        }
        loss = 2 * error if trains or batch else 2.3
        return {"progress": {"loss": loss, "gradient_norm": 1.0}, "input_robustness": found}

    plant_points(monkeypatch, values)


@pytest.mark.parametrize(
    ("noise", "sign", "expected"),
    [
        (0.8, 0.6, "supported"),
        (0.8, 1.2, "contradicted"),
        (1.2, 0.8, "contradicted"),
        (0.8, 1.0, "equivalent"),
    ],
)
def test_both_disturbances_count(noise: float, sign: float, expected: str, monkeypatch: Any) -> None:
    # with one speed both arms are at one error at one step, so the planted factors are the whole difference
    robustness(monkeypatch, noise, sign, speed=1.0)
    assert status("galloway2019.input-robustness") == expected


def test_a_network_that_learns_faster_is_compared_at_equal_errors(monkeypatch: Any) -> None:
    """The faster one is more accurate at every step, so at equal steps it also retains more; at equal errors it does not."""
    robustness(monkeypatch, 0.99, 0.99)
    checks = galloway2019.input_robustness(QUICK)
    equal = [c for c in checks if "at loss" in c.name]
    start = [c for c in checks if "at the start" in c.name]
    assert len(equal) == 6
    for check in equal:
        assert check.left == pytest.approx(math.log10(0.99), abs=6e-3)
    assert all(c.left > 0.02 for c in start)


def test_an_arm_that_has_not_trained_is_not_compared(monkeypatch: Any) -> None:
    robustness(monkeypatch, 0.8, 0.8, trains=False)
    assert status("galloway2019.input-robustness") == "unknown"

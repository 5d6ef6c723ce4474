"""What the claims on partial twins and on progressive sharpening read off made-up eigenvalues: powers and shares that are known."""

from __future__ import annotations

import math
from typing import Any

import pytest
from planted import plant_points

from bntheory.claims import registry
from bntheory.claims.claim import Study
from bntheory.claims.sources.bntheory2026 import sharpness
from bntheory.experiments.experiment import Arm
from bntheory.experiments.runs import Protocol, Run
from bntheory.judges.verdict import evidence_of_checks, verdict_of

QUICK = Study("quick", seed=3)


def status(name: str) -> str:
    found = registry()[f"bntheory2026.{name}"]
    return verdict_of(found, [evidence_of_checks(found.check(QUICK), seconds=0.0, seed=1)]).status.value


def point(top: float | None, loss: float = 0.7) -> dict[str, Any]:
    return {"loss": loss, "gradient_norm": 1.0, "top": top, "top_error": 0.0, "converged": True, "refused": None}


@pytest.mark.parametrize(
    ("own", "mean", "variance", "expected"),
    [
        (0.1, 0.2, 0.8, "supported"),  # M = 0.70 > 0.5 and > 0.10
        (0.1, 0.6, 0.3, "contradicted"),  # the variance's
        (0.01, 0.2, 0.8, "contradicted"),  # M = 0.70 is less than half of 2: an interaction makes the most of it
        (0.1, 0.2, 0.2, "equivalent"),  # both alike
        (1.5, 0.2, 0.8, "unknown"),  # nothing is reduced
    ],
)
def test_partial_twins(own: float, mean: float, variance: float, expected: str, monkeypatch: Any) -> None:
    factors = {"twin": 1.0, "own": own, "mean-alive": mean, "variance-alive": variance}

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        noise = 1 + 0.004 * (seed % 3 - 1)
        tops = {n: 40.0 * step * f * (noise if n == "own" else 1.0) for n, f in factors.items()}
        return {"sharpness": {n: point(t) for n, t in tops.items()}}

    plant_points(monkeypatch, values)
    assert status("partial-twins") == expected


def test_interaction_and_refused_points(monkeypatch: Any) -> None:
    """R - M - V is shown; a point at which one of the four was refused is left out as a whole."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        tops = {"twin": 1.0, "own": 0.1 * (1 + 0.001 * (seed % 3)), "mean-alive": 0.2, "variance-alive": 0.8}
        if step == 8:
            tops |= {"own": 5.0}
        missing = "mean-alive" if step == 8 else ""
        return {"sharpness": {n: point(None if n == missing else t) for n, t in tops.items()}}

    plant_points(monkeypatch, values)
    checks = sharpness.partial_twins(QUICK)
    shown = [c for c in checks if c.name.startswith("R - M - V")]
    assert len(shown) == 2
    assert shown[0].right == pytest.approx(1 - 0.699 - 0.097, abs=2e-3)


def end(factor: float) -> dict[str, Any]:
    """What is shown beside at the end of a run."""
    return {
        "affine_defect": {"own": {"1": {"radius": 0.1, "defect": 1.0, "scaled": 8.0 * factor}}},
        "saturation": {
            "places": ["a", "b"],
            "before": [0.5, 0.5],
            "after": [0.4, 0.6],
            "moved": [0.1 * factor, 0.3 * factor],
        },
    }


@pytest.mark.parametrize(
    ("batch", "none", "expected"),
    [
        (-0.4, 1.5, "supported"),
        (0.0, 0.5, "supported"),
        (0.5, 1.5, "contradicted"),  # it rises with batch norm too
        (-0.4, -0.2, "contradicted"),  # it does not rise without
    ],
)
def test_progressive_sharpening(batch: float, none: float, expected: str, monkeypatch: Any) -> None:
    """lambda_max = 20 loss^-s: the power s is read back whatever the losses are."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        power = (batch if arm.startswith("batch") else none) + 0.01 * (seed % 3 - 1)
        loss = 2.2 * (1 + step / 20) ** (-0.5 if arm.startswith("batch") else -0.3)
        batch_norm = arm.startswith("batch")
        return {"sharpness": {"own": point(20 * loss**-power, loss)}, **end(0.5 if batch_norm else 1.0)}

    plant_points(monkeypatch, values)
    assert status("progressive-sharpening") == expected
    checks = sharpness.progressive_sharpening(QUICK)
    shown = [c.left for c in checks if "BN over none at the end" in c.name]
    assert shown == pytest.approx([math.log10(0.5)] * 4)
    own = next(c for c in checks if c.name.startswith("sharpening without"))
    assert own.right == pytest.approx(none, abs=0.02)


def run(points: dict[int, tuple[float, float]], rate: float = 0.01) -> Run:
    protocol = Protocol(max(points), tuple(points))
    made = {s: {"sharpness": {"own": point(top, loss)}} for s, (loss, top) in points.items()}
    return Run(Arm("n", "a", "mlp", {}, rate), protocol, 0, made, 0.1)


def test_points_beyond_the_edge_are_not_used() -> None:
    """At rate 0.01 the edge is at 200: the points above it would turn the slope around."""
    rising = {1: (2.0, 20.0), 2: (1.6, 31.25), 3: (1.25, 51.2), 4: (1.0, 80.0)}
    assert sharpness.sharpening(run(rising)) == pytest.approx(2.0)
    with_edge = {**rising, 5: (0.8, 201.0), 6: (0.5, 5000.0)}
    assert sharpness.sharpening(run(with_edge)) == pytest.approx(2.0)
    assert sharpness.edge_share(run(with_edge)) == pytest.approx(25.0)
    assert sharpness.sharpening(run(rising, rate=0.05)) is None  # only three points are below it
    near = {s: (1.0 + 0.05 * s, 20.0) for s in range(1, 6)}
    assert sharpness.sharpening(run(near)) is None  # the losses hardly differ


def test_a_network_that_has_not_trained_is_not_compared(monkeypatch: Any) -> None:
    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        loss = 2.3 if arm.startswith("none") else 2.2 / (1 + step)
        return {"sharpness": {"own": point(20.0, loss)}, **end(1.0)}

    plant_points(monkeypatch, values)
    assert status("progressive-sharpening") == "unknown"

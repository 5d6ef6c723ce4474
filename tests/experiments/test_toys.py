"""Toys in the laboratory: the same numbers as descent and dense Hessians by hand, kept in a store, nothing made twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bntheory.claims.sources.lesswrong2019.controls import relative
from bntheory.evidence.study import Study
from bntheory.experiments import toys
from bntheory.experiments.experiment import Arm
from bntheory.experiments.toy_runs import toy_runs
from bntheory.experiments.toys import GUESSING, KINDS
from bntheory.smoothness import dense_hessian

TRAIN = {"samples": 20, "features": 3, "rank": 2}
MATRIX = {"shape": (6, 5), "observed": 0.7, "rank": 2}
SIZES = [("tensor-train", TRAIN, 0.3), ("matrix-factorisation", MATRIX, 1.0)]
STEPS = (1, 4, 9)


def arms(kind: str, options: dict[str, object], rate: float) -> list[Arm]:
    return [Arm(kind, n, kind, {**options, "normalise": n == "batch"}, rate) for n in ("batch", "none")]


@pytest.mark.parametrize(("kind", "options", "rate"), SIZES)
def test_records_are_those_of_plain_descent_and_the_whole_hessian(
    kind: str, options: dict[str, object], rate: float
) -> None:
    (_, found) = toy_runs(Study(seed=1), arms(kind, options, rate), STEPS, 2, "toy", first=100)
    for name, run in found.items():
        assert run.seed == 1101
        model = KINDS[kind](1101, **options, normalise=name == "batch")
        x = model.initial(1101)
        for step in range(1, 10):
            x = x - rate * model.grad(x)
            if step not in STEPS:
                continue
            point = run.points[step]["linearity"]
            assert point.keys() == ({"own", "twin"} if name == "batch" else {"own"})
            for who in point:
                landscape = model if who == "own" else model.frozen_twin(x)
                eigenvalues = np.linalg.eigvalsh(dense_hessian(landscape, x))
                slope = landscape.grad(x)
                assert point[who]["loss"] == pytest.approx(model.value(x), rel=1e-9)
                assert point[who]["top"] == pytest.approx(eigenvalues[-1], rel=1e-3)
                expected = eigenvalues[-1] * model.value(x) / (slope @ slope)
                assert relative("top", who)(run.points[step]) == pytest.approx(expected, rel=1e-3)
                step_down = 0.1 * model.value(x) / (slope @ slope) * slope
                error = abs(landscape.value(x - step_down) - 0.9 * model.value(x)) / (0.1 * model.value(x))
                assert point[who]["linearity_error"] == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize(("kind", "options", "rate"), SIZES)
def test_guessing_zero_costs_half(kind: str, options: dict[str, object], rate: float) -> None:
    model = KINDS[kind](3, **options, normalise=False)
    assert float(np.mean(model.target**2)) / 2 == pytest.approx(GUESSING)


def test_a_store_keeps_what_was_made_and_a_run_that_diverged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(store=tmp_path / "records")
    wild = arms("tensor-train", dict(TRAIN), 1e4)
    first = toy_runs(study, wild, STEPS, 2, "toy")
    assert first[0]["none"].diverged_at is not None

    def nothing(*args: object, **more: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(toys, "train", nothing)
    assert toy_runs(study, wild, STEPS, 2, "toy") == first
    with pytest.raises(AssertionError, match="trained again"):
        toy_runs(study, wild, STEPS, 3, "toy")


def test_a_point_without_a_gradient_says_so() -> None:
    model = KINDS["matrix-factorisation"](0, **MATRIX, normalise=False)
    found = toys._point(model, np.zeros(model.dimension), 0)
    assert found.keys() == {"loss", "refused"}
    assert found["loss"] == pytest.approx(GUESSING)

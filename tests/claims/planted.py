"""Made-up records in the place of trained networks, for the tests of what claims read off them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bntheory.claims.claim import Study
from bntheory.experiments.experiment import Experiment

_RNG = np.random.default_rng(0)


def noisy(value: Any) -> Any:
    """Every fraction in it, moved in its last digits: equal numbers of a few seeds have no interval."""
    if isinstance(value, dict):
        return {k: noisy(v) for k, v in value.items()}
    if isinstance(value, list):
        return [noisy(v) for v in value]
    return value * (1 + 1e-11 * _RNG.standard_normal()) if isinstance(value, float) else value


def plant_points(
    monkeypatch: pytest.MonkeyPatch, values: Callable[[str, int, int], dict[str, Any] | None]
) -> list[Experiment]:
    """The records of every experiment, from an arm's name, a seed and a step; None: it had diverged. Returns what is asked for.

    Nothing is trained. No two numbers are the same (:func:`noisy`).
    """
    asked: list[Experiment] = []

    def recorded(study: Study, experiment: Experiment, *_: Any) -> list[dict[str, Any]]:
        asked.append(experiment)
        found = []
        for task in experiment.tasks():
            for step in experiment.protocol.record:
                point = values(task.arm.name, task.seed, step)
                known = {
                    "network": task.arm.network,
                    "arm": task.arm.name,
                    "seed": task.seed,
                    "step": step,
                    "diverged": point is None,
                }
                found.append({**known, **noisy(point or {})})
        return found

    monkeypatch.setattr("bntheory.experiments.runs.recorded", recorded)
    return asked

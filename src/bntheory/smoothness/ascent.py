"""Multi-start projected gradient ascent: how suprema are found here.

Many points are screened, the best ones climb. Steps are Barzilai-Borwein with a backtracking test of sufficient
increase, so no curvature of the (often non-concave, non-smooth) objective has to be known. What comes back is attained:
a lower bound on the supremum, with its witness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bntheory.arrays import Floats
from bntheory.smoothness.measure import Cost, Measure, NumberKind
from bntheory.smoothness.protocol import Vector

Objective = Callable[[Vector], float]
Gradient = Callable[[Vector], Vector]
_IDLE = 1e-10  # a step that gains less than this share of the value gains nothing


@dataclass(frozen=True)
class Ascent:
    """value at ``point``; ``steps`` accepted; ``settled``: whether it stopped because no step helped any more."""

    value: float
    point: Vector
    steps: int
    settled: bool

    def measure(self, name: str, cost: Cost, seed: int, witness: Mapping[str, Any]) -> Measure:
        """What was reached, as a lower bound."""
        note = "" if self.settled else "the ascent was still rising when its steps ran out"
        return Measure(name, self.value, NumberKind.LOWER_BOUND, cost, seed=seed, witness=witness, note=note)


def climb(
    objective: Objective,
    gradient: Gradient,
    project: Callable[[Vector], Vector],
    start: Vector,
    *,
    scale: float,
    max_steps: int = 60,
) -> Ascent:
    """Ascend from one start until a step gains less than 1e-10 of the value, twice in a row.

    ``scale`` is the length of the first step. Non-finite values of the objective count as minus infinity.
    """
    x = project(np.asarray(start, dtype=np.float64))
    value = _finite(objective(x))
    slope = gradient(x)
    size = float(np.linalg.norm(slope))
    if not np.isfinite(size) or size == 0 or not np.isfinite(value):
        return Ascent(value, x, 0, True)
    step = 0.1 * scale / size
    idle = 0
    for taken in range(max_steps):
        new, gained, better = x, 0.0, value
        for _ in range(30):
            new = project(x + step * slope)
            better = _finite(objective(new))
            gained = better - value
            if gained >= 1e-4 * float(slope @ (new - x)) and gained > 0:
                break
            step /= 4
            if step * size < 1e-15 * max(1.0, float(np.linalg.norm(x))):
                return Ascent(value, x, taken, True)
        else:
            return Ascent(value, x, taken, True)
        new_slope = gradient(new)
        if not np.isfinite(new_slope).all():
            return Ascent(better, new, taken + 1, True)
        moved, changed = new - x, slope - new_slope  # a concave piece has changed . moved > 0
        bend = float(moved @ changed)
        length = float(moved @ moved)
        step = length / bend if bend > 1e-300 else 4 * step
        x, value, slope = new, better, new_slope
        size = float(np.linalg.norm(slope))
        if size == 0:
            return Ascent(value, x, taken + 1, True)
        step = min(max(step, 1e-12 * scale / size), 1e3 * scale / size)
        idle = idle + 1 if gained <= _IDLE * abs(value) else 0
        if idle == 2:
            return Ascent(value, x, taken + 1, True)
    return Ascent(value, x, max_steps, False)


def maximise(
    objective: Objective,
    gradient: Gradient,
    project: Callable[[Vector], Vector],
    candidates: Floats,
    *,
    scale: float,
    climbs: int = 4,
    max_steps: int = 60,
) -> Ascent:
    """Screen all candidates (count, n), climb from the ``climbs`` best and return the highest point seen."""
    values = np.array([_finite(objective(project(c))) for c in candidates])
    if not np.isfinite(values).any():
        raise ValueError(
            f"the objective was non-finite at all {len(candidates)} candidates; restrict the region to where the landscape is "
            "defined"
        )
    order = np.argsort(-values, kind="stable")[:climbs]
    best = Ascent(float(values[order[0]]), project(candidates[order[0]]), 0, True)
    for i in order:
        if not np.isfinite(values[i]):
            continue
        reached = climb(objective, gradient, project, candidates[i], scale=scale, max_steps=max_steps)
        if reached.value > best.value:
            best = reached
    return best


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else -np.inf

"""Recorded trajectories of many runs at once: leading axes are runs (learning rates, seeds), the last is time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bntheory.arrays import Floats
from bntheory.models.checks import checked


class Outcome(Enum):
    """How a run ended; the value is the explanation."""

    CONVERGED = "the error fell below the tolerance"
    UNFINISHED = "neither converged nor diverged within the steps that were run"
    DIVERGED = "the iterate overflowed or passed the stated bound"


@dataclass(frozen=True)
class Trajectories:
    """Series recorded at ``steps`` (r,), each of shape (*runs, r), and the state after the last step."""

    steps: NDArray[np.int64]
    series: Mapping[str, Floats]
    final: Mapping[str, Floats]
    total_steps: int
    kind: str = "exact recursion in float64"

    def __getitem__(self, name: str) -> Floats:
        if name in self.series:
            return self.series[name]
        if name in self.final:
            return self.final[name]
        raise KeyError(f"no series {name!r}; recorded: {sorted(self.series)}, final state: {sorted(self.final)}")

    def last(self, name: str) -> Floats:
        """The value of a series at the last recorded step, shape (*runs,)."""
        return self.series[name][..., -1]


class Recorder:
    """Collects named scalars a run at the steps that :func:`recording_steps` chose."""

    def __init__(self, steps: NDArray[np.int64]) -> None:
        self.steps = steps
        self._wanted = {int(t): i for i, t in enumerate(steps)}
        self._series: dict[str, Floats] = {}

    def wants(self, step: int) -> bool:
        return step in self._wanted

    def store(self, step: int, **values: Any) -> None:
        column = self._wanted[step]
        for name, value in values.items():
            data = np.asarray(value, dtype=np.float64)
            if name not in self._series:
                self._series[name] = np.full((*data.shape, len(self.steps)), np.nan)
            self._series[name][..., column] = data

    def result(self, final: Mapping[str, Floats], total: int) -> Trajectories:
        return Trajectories(self.steps, dict(self._series), dict(final), total)


@checked()
def recording_steps(total: int, points: int | None = 64) -> NDArray[np.int64]:
    """Steps 0..total to record: all of them for ``points`` None, otherwise about that many, even in the logarithm.

    Raises ``ValueError`` for total < 1 or points < 2.
    """
    if total < 1:
        raise ValueError(f"steps must be at least 1, got {total}")
    if points is None:
        return np.arange(total + 1, dtype=np.int64)
    if points < 2:
        raise ValueError(f"points must be at least 2 (first and last step), got {points}")
    inner = np.round(np.geomspace(1, total, points)[1:]).astype(np.int64)
    return np.unique(np.concatenate([np.zeros(1, dtype=np.int64), inner]))

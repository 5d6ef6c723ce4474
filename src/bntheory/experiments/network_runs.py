"""The runs of one network in an experiment, by seed and arm: what comparisons and figures read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bntheory.experiments.experiment import Experiment
from bntheory.experiments.runs import Json, Run, runs_of


@dataclass(frozen=True)
class NetworkRuns:
    """All runs of one network: what comparisons and figures read.

    arms: names, "kind" at the common learning rate and "kind@rate" at the further ones. runs: by arm, seed after seed.
    """

    network: str
    rate: float
    arms: Mapping[str, float]
    seeds: tuple[int, ...]
    runs: tuple[Mapping[str, Run], ...]

    def at_rates(self, kind: str) -> dict[float, str]:
        """The arm of this kind at every rate at which it was trained."""
        return {rate: arm for arm, rate in self.arms.items() if arm.partition("@")[0] == kind}

    @property
    def steps(self) -> tuple[int, ...]:
        """After which something was measured."""
        return self.runs[0][next(iter(self.arms))].protocol.record

    def points(self, arm: str) -> Iterable[Json]:
        """Its points, seed after seed."""
        for runs in self.runs:
            yield from runs[arm].points.values()

    @property
    def guessing_loss(self) -> float:
        """The loss of guessing, as some last point says it; infinite where no run came that far."""
        known = (p["guessing_loss"] for arm in self.arms for p in self.points(arm) if "guessing_loss" in p)
        return next(known, math.inf)


def network_runs(experiment: Experiment, points: Iterable[Json]) -> dict[str, NetworkRuns]:
    """The runs of every network of the experiment; a point that has diverged, and all that would come later, is none of
    its run."""
    points = list(points)
    networks: dict[str, NetworkRuns] = {}
    for name in dict.fromkeys(arm.network for arm in experiment.arms):
        arms = [arm for arm in experiment.arms if arm.network == name]
        rate = next(arm.learning_rate for arm in arms if "@" not in arm.name)
        runs = tuple(runs_of(points, arms, experiment.protocol, experiment.seeds, math.nan))
        rates = {arm.name: arm.learning_rate for arm in arms}
        networks[name] = NetworkRuns(name, rate, rates, experiment.seeds, runs)
    return networks

"""Runs of toys, read from records as those of networks are: what claims about toys are functions of."""

from __future__ import annotations

from collections.abc import Sequence

from bntheory.evidence.study import Study
from bntheory.experiments.asking import points_of
from bntheory.experiments.experiment import DRAWN, Arm, Experiment, Measure, Protocol, needed
from bntheory.experiments.manifest import toy_conditions
from bntheory.experiments.runs import Run, runs_of
from bntheory.experiments.toys import MEASURE


def toy_runs(
    study: Study,
    arms: Sequence[Arm],
    record: Sequence[int],
    seeds: int,
    what: str,
    *,
    first: int = 0,
    measure: Measure = MEASURE,
) -> list[dict[str, Run]]:
    """The runs of all arms by name, seed after seed, looked at after the steps ``record``; made where the study's
    stores lack them."""
    numbers = study.seeds(seeds, first)
    protocol = Protocol(record[-1], tuple(record), 0, 0, DRAWN, loss="squared-error", dtype="float64")
    asked = list(needed(Experiment(what, tuple(arms), protocol, (measure,), numbers), toy_conditions()))
    return runs_of(points_of(study, asked, what), arms, protocol, numbers, 0.0)

"""Is it the smoothing that helps? Networks trained with batch normalisation's forward pass and without the gradient of
its statistics.

Batch normalisation changes what a network computes, and through the derivative of its mean and variance how the loss
changes along a step. Detaching the statistics keeps the first and takes the second away: a detached arm has the outputs
of batch normalisation at every step and moves by the gradient of its frozen-statistics twin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.comparable import guessing_loss, why_not_comparable
from bntheory.evidence.curves import log_ratio
from bntheory.evidence.looks import Looks
from bntheory.experiments.equal_rates import Rates, common_rates, name_at, names_at
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import (
    FIRST_JUDGED,
    Protocol,
    Run,
    check_of,
    each_seed,
    late_loss,
    progress_loss,
    until_decided,
)

KEY = "bntheory2026"
#: log10 of a ratio of losses: a twentieth more or less is too little to matter.
MARGIN = 0.02
_BATCH = 256


@dataclass(frozen=True)
class Network:
    """A network of these claims: kind and layout of its description; how many steps it is trained, on images of which
    side."""

    kind: str
    layout: tuple[Any, ...]
    steps: int
    side: int = 0


#: 0 in the VGG's layout is a pooling; it is that of the figures of Santurkar et al. 2018, on images halved beforehand.
NETWORKS: Mapping[str, Network] = {
    "MLP, 3 hidden layers of 64": Network("mlp", (64,) * 3, 120),
    "MLP, 5 hidden layers of 64": Network("mlp", (64,) * 5, 120),
    "MLP, 9 hidden layers of 64": Network("mlp", (64,) * 9, 120),
    "VGG, 6 convolutions": Network("vgg", (8, 0, 16, 0, 32, 32, 0, 64, 64, 0), 150, 14),
}
_SETTING = (
    "networks: MLPs of 3, 5 and 9 hidden layers of 64 units and a VGG of 6 convolutions on 14 x 14 images, plain SGD with batches of 64, "
    "from the same start and on the same batches; late loss: the training loss on 256 images in training mode, its mean over the second "
    "half of training"
)
_EQUAL_RATES = (
    "the number of a seed is the mean, over the learning rates of a grid of two decades at which both train, of log10 of the ratio of late "
    "losses; one decisive check a network"
)
_NOTE = (
    "Pilot: seeds 0 to 2 of a review, MLP of 5 layers at 0.01, 0.05 and 0.25 and the VGG at 0.02 and 0.1; judged on seeds from "
    f"{FIRST_JUDGED}. Ratios within {MARGIN} in log10, a twentieth, count as equal."
)


def _networks(study: Study) -> Mapping[str, Network]:
    quick = ("MLP, 3 hidden layers of 64", "MLP, 5 hidden layers of 64", "VGG, 6 convolutions")
    return {name: NETWORKS[name] for name in study.choose(quick=quick, normal=NETWORKS, thorough=NETWORKS)}


def _rates(study: Study) -> tuple[float, ...]:
    grid = (0.01, 0.03, 0.1, 0.3, 1.0)
    return study.choose(quick=(0.03, 0.1, 0.3), normal=grid, thorough=grid)


def _looks(study: Study) -> Looks:
    sizes: tuple[int, ...] = study.choose(quick=(3,), normal=(4, 8), thorough=(6, 12, 24))
    return Looks(sizes, checks=len(_networks(study)))


def _protocol(study: Study, network: Network) -> Protocol:
    """Looked at in the second half alone."""
    steps = study.choose(quick=40, normal=network.steps, thorough=10 * network.steps)
    points = 10
    record = tuple(steps // 2 + (steps - steps // 2) * (i + 1) // points for i in range(points))
    return Protocol(steps, record, measured=_BATCH, side=network.side)


def _runs(study: Study, network: Network, norms: Sequence[str], seeds: int) -> list[dict[str, Run]]:
    arms = [
        Arm(network.kind, name_at(norm, rate), network.kind, {"norm": norm, "layout": network.layout}, rate)
        for norm in norms
        for rate in _rates(study)
    ]
    asked = (Measure("progress", {"batch_size": _BATCH}),)
    return each_seed(
        study, arms, _protocol(study, network), seeds, "detached statistics", lambda arm: asked, first=FIRST_JUDGED
    )


def _checks(study: Study, own: str, other: str, words: str) -> list[Check]:
    """own's late loss is higher than other's at equal rates, network by network; beside it, each at its best rate, and
    rate by rate."""

    def read(seeds: int, confidence: float) -> list[Check]:
        checks = []
        for name in _networks(study):
            seen = _Compared(study, name, own, other, words, seeds)
            checks += [seen.at_equal_rates(confidence, decisive=True), seen.at_best_rates(0.95), *seen.by_rate()]
        return checks

    return until_decided(study, _looks(study), read)


class _Compared:
    """Two arms of a network, compared in every way that these claims show."""

    def __init__(self, study: Study, name: str, own: str, other: str, words: str, seeds: int) -> None:
        network = _networks(study)[name]
        self.study, self.name, self.own, self.other, self.words = study, name, own, other, words
        self.grid = _rates(study)
        self.runs = _runs(study, network, (own, other), seeds)
        self.scope = f"{name}, {_protocol(study, network).steps} steps"
        arms = [names_at(norm, self.grid) for norm in (own, other)]
        self.rates = common_rates(self.runs, arms, progress_loss)

    def at_equal_rates(self, confidence: float, *, decisive: bool) -> Check:
        """Higher at the rates at which both train."""
        numbers = [self._over(seed, self.rates.used) for seed in self.runs]
        return self._check("mean over equal rates", numbers, self.rates, confidence, decisive)

    def by_rate(self) -> list[Check]:
        """The same at each of these rates, deciding nothing."""
        return [
            self._check(f"rate {r:g}", [self._over(s, (r,)) for s in self.runs], Rates((r,), {}), 0.95, False)
            for r in self.rates.used
        ]

    def at_best_rates(self, confidence: float, *, decisive: bool = False) -> Check:
        """No lower, each at the rate of the grid at which its own late loss is lowest."""
        numbers, barred = [], ""
        for seed in self.runs:
            best = {n: min(late_loss(seed[name_at(n, r)]) for r in self.grid) for n in (self.own, self.other)}
            guessing = guessing_loss(round(1 / seed[name_at(self.own, self.grid[0])].chance))
            barred = barred or why_not_comparable(best, guessing)
            numbers.append(log_ratio(best[self.own], best[self.other]))
        return check_of(
            self.study,
            f"log10 of the late loss, {self.words}, each at its best rate: no lower, {self.name}",
            [] if barred else numbers,
            "above",
            -MARGIN,
            f"the best of learning rates {', '.join(f'{r:g}' for r in self.grid)}; {self.scope}",
            decisive=decisive,
            confidence=confidence,
            not_comparable=barred,
        )

    def _over(self, seed: Mapping[str, Run], rates: Sequence[float]) -> float | None:
        found = [
            log_ratio(late_loss(seed[name_at(self.own, r)]), late_loss(seed[name_at(self.other, r)])) for r in rates
        ]
        known = [x for x in found if x is not None]
        return sum(known) / len(known) if known and len(known) == len(found) else None

    def _check(
        self, place: str, numbers: Sequence[float | None], rates: Rates, confidence: float, decisive: bool
    ) -> Check:
        return check_of(
            self.study,
            f"log10 of the late loss, {self.words}, {place}, {self.name}",
            [] if rates.not_comparable else numbers,
            "above",
            0.0,
            f"{rates.scope}; {self.scope}",
            decisive=decisive,
            confidence=confidence,
            margin=MARGIN,
            not_comparable=rates.not_comparable,
        )


@claim(
    f"{KEY}.detached-statistics.both",
    kind="experiment",
    source=Source(KEY, "detached statistics", printed=False),
    statement=(
        r"\text{with batch normalisation's forward pass and no gradient through mean and variance, the late training loss is higher than "
        r"with batch normalisation}"
    ),
    reading=f"{_EQUAL_RATES}; {_SETTING}",
    note=_NOTE,
)
def both(study: Study) -> list[Check]:
    return _checks(study, "detached", "batch", "both statistics detached over BN")


@claim(
    f"{KEY}.detached-statistics.mean",
    kind="experiment",
    source=Source(KEY, "detached statistics", printed=False),
    statement=(
        r"\text{with batch normalisation's forward pass and no gradient through the mean, the late training loss is higher than with "
        r"batch normalisation}"
    ),
    reading=f"{_EQUAL_RATES}; {_SETTING}",
    note=_NOTE,
)
def mean(study: Study) -> list[Check]:
    return _checks(study, "detached-mean", "batch", "the mean detached over BN")


@claim(
    f"{KEY}.detached-statistics.variance",
    kind="experiment",
    source=Source(KEY, "detached statistics", printed=False),
    statement=(
        r"\text{with batch normalisation's forward pass and no gradient through the variance, the late training loss is higher than with "
        r"batch normalisation}"
    ),
    reading=f"{_EQUAL_RATES}; {_SETTING}",
    note=_NOTE,
)
def variance(study: Study) -> list[Check]:
    return _checks(study, "detached-variance", "batch", "the variance detached over BN")


@claim(
    f"{KEY}.detached-statistics.forward-alone",
    kind="experiment",
    source=Source(KEY, "detached statistics", printed=False),
    statement=(
        r"\text{the forward pass alone does not help: without the gradient through mean and variance the late training loss is no lower "
        r"than without normalisation}"
    ),
    reading=(
        "no lower: at most a twentieth below the network without normalisation, each at its own best rate of a grid of two decades, the "
        f"same grid for both, best by the late loss itself, in every seed; one decisive check a network; {_SETTING}"
    ),
    note=(
        f"{_NOTE} Each at its own rate, since at a small rate any change of scale at the start shows as a gain or a loss; equal rates, and "
        "rate by rate, are shown beside."
    ),
)
def forward_alone(study: Study) -> list[Check]:
    def read(seeds: int, confidence: float) -> list[Check]:
        checks = []
        for name in _networks(study):
            words = "both statistics detached over no normalisation"
            seen = _Compared(study, name, "detached", "none", words, seeds)
            checks += [
                seen.at_best_rates(confidence, decisive=True),
                seen.at_equal_rates(0.95, decisive=False),
                *seen.by_rate(),
            ]
        return checks

    return until_decided(study, _looks(study), read)

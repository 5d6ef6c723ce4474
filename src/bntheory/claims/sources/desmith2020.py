"""De and Smith: Batch normalization biases residual blocks towards the identity function in deep networks, NeurIPS
2020, arXiv 2002.10444."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.random_networks import exponent, passes
from bntheory.evidence.checks import Check
from bntheory.evidence.comparable import guessing_loss, why_not_comparable
from bntheory.evidence.decision import Side
from bntheory.evidence.looks import Looks
from bntheory.evidence.rates import slope_bound, slope_checks
from bntheory.experiments.equal_rates import name_at
from bntheory.experiments.experiment import Arm
from bntheory.experiments.runs import (
    FIRST_JUDGED,
    Protocol,
    Run,
    check_of,
    each_seed,
    held_out_accuracy,
    training_point,
    until_decided,
)

KEY = "desmith2020"


@claim(
    "desmith2020.branch-downscaled",
    kind="network",
    source=Source(KEY, "abstract", "arXiv 2002.10444", printed=False),
    statement=(
        r"\text{at initialisation BN downscales the residual branch relative to the skip connection by a factor of the order of }"
        r"\sqrt{\text{depth}}"
    ),
    reading=(
        "ratio of standard deviations, branch over skip, at block l of relu networks whose branch is normalised first: like l^(-1/2), "
        "exponent within 0.1; without normalisation no such factor, exponent within 0.1 of 0"
    ),
    note="The margins are ours.",
)
def branch_downscaled(study: Study) -> list[Check]:
    from bntheory.models.deep_random import DeepRandom

    depth = study.choose(quick=64, normal=128, thorough=256)
    blocks = np.unique(np.round(np.geomspace(4, depth, 8)).astype(int))
    scope = f"residual relu networks, width 64, batch 32, blocks 4 to {depth}"

    def ratios(norm: str) -> list[list[float]]:
        network = DeepRandom(64, depth, 32, norm=norm, residual=True)
        return [[float(p.branch_over_skip[b - 1]) for b in blocks] for p in passes(study, network)]

    plain = exponent(blocks.tolist(), ratios("none"))
    return [
        *slope_checks("branch over skip with BN", exponent(blocks.tolist(), ratios("batch")), -0.5, 0.1, scope),
        slope_bound("exponent without normalisation", plain, "above", -0.1, scope),
    ]


# -- large learning rates ----------------------------------------------------------------------------------------------

_GRID = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SMALL, LARGE = 8, 128
#: Of accuracy: less than two points is a minimal benefit.
MARGIN = 0.02
_KIND, _OPTIONS = "resnet", {"layout": ((8, 1), (16, 1)), "init": "he"}
_NORMS = ("batch", "none")


def _runs(study: Study, batch_size: int, seeds: int) -> list[dict[str, Run]]:
    """Equal epochs at either batch size, and a record at their end alone."""
    images, epochs = study.choose(quick=(256, 4), normal=(512, 8), thorough=(4096, 30))
    steps = epochs * images // batch_size
    arms = [
        Arm("resnet", name_at(norm, rate), _KIND, {**_OPTIONS, "norm": norm}, rate)
        for norm in _NORMS
        for rate in _rates(study)
    ]
    protocol = Protocol(steps, (steps,), batch_size=batch_size, measured=256, images=images, side=7)
    return each_seed(study, arms, protocol, seeds, f"batches of {batch_size}", first=FIRST_JUDGED)


def _rates(study: Study) -> tuple[float, ...]:
    return study.choose(quick=_GRID[2:6], normal=_GRID, thorough=_GRID)


@dataclass(frozen=True)
class Seed:
    """One seed at one batch size.

    best: the rate of the grid with the highest test accuracy, the smaller one of two, by arm. gain: by how much batch
    norm's accuracy at its best rate exceeds that at its best among the rates up to the other network's best. barred:
    why an arm says nothing.
    """

    best: Mapping[str, float]
    gain: float
    barred: str


def seen(seed: Mapping[str, Run], grid: Sequence[float]) -> Seed:
    """What a seed says of the rates of a grid."""
    accuracy = {
        norm: {r: held_out_accuracy(run := seed[name_at(norm, r)], run.protocol.steps) for r in grid} for norm in _NORMS
    }
    best = {norm: -max((of[r], -r) for r in grid)[1] for norm, of in accuracy.items()}
    reached = {
        norm: training_point(seed[name_at(norm, r)], seed[name_at(norm, r)].protocol.steps)[0]
        for norm, r in best.items()
    }
    with_bn = accuracy["batch"]
    small = max(with_bn[r] for r in grid if r <= best["none"])
    chance = guessing_loss(round(1 / seed[name_at("batch", grid[0])].chance))
    return Seed(best, max(with_bn.values()) - small, why_not_comparable(reached, chance))


@claim(
    "desmith2020.small-batches",
    kind="experiment",
    source=Source(KEY, "abstract", "arXiv 2002.10444", printed=False),
    statement=(
        r"\text{batch normalised networks can be trained with larger learning rates, but this is only beneficial in specific regimes, and has "
        r"minimal benefits when the batch size is small}"
    ),
    reading=(
        f"batches of {LARGE} and of {SMALL}, equal numbers of epochs, the same grid of learning rates over three decades, test accuracy at the end. "
        "With large batches the best rate with BN is above the best one without, and rates above the latter raise BN's accuracy by more than "
        f"{MARGIN:g}; with small batches they raise it by less than {MARGIN:g}; a residual network of 2 blocks on 7 x 7 images, He's initial "
        "weights, plain SGD"
    ),
    note=(
        "The gain is never negative, since the larger grid contains the smaller one, and each is the best of several: that biases it upwards, in "
        "favour of the statement with large batches and against it with small ones. The source varies batch sizes over three decades on CIFAR-10 and ImageNet, with a "
        f"schedule; the margin, {MARGIN:g} of accuracy, is ours. No pilot."
    ),
)
def small_batches(study: Study) -> list[Check]:
    def read(seeds: int, confidence: float) -> list[Check]:
        checks = []
        for size in (LARGE, SMALL):
            runs = _runs(study, size, seeds)
            found = [seen(seed, _rates(study)) for seed in runs]
            barred = next((s.barred for s in found if s.barred), "")
            ratios = [math.log10(s.best["batch"] / s.best["none"]) for s in found]
            steps = next(iter(runs[0].values())).protocol.steps
            large = size == LARGE
            rows: list[tuple[str, list[float], Side, float, bool]] = [
                ("log10 of the best rate with BN over the best without", ratios, "above", 0.0, large),
                (
                    "gain in test accuracy with BN by rates above the best without",
                    [s.gain for s in found],
                    "above" if large else "below",
                    MARGIN,
                    True,
                ),
            ]
            checks += [
                check_of(
                    study,
                    f"{words}, batches of {size}",
                    [] if barred else numbers,
                    side,
                    bound,
                    f"residual network, {steps} steps, learning rates {', '.join(f'{r:g}' for r in _rates(study))}",
                    decisive=decisive,
                    confidence=confidence if decisive else 0.95,
                    not_comparable=barred,
                )
                for words, numbers, side, bound, decisive in rows
            ]
        return checks

    sizes: tuple[int, ...] = study.choose(quick=(3,), normal=(4, 8), thorough=(6, 12))
    return until_decided(study, Looks(sizes, checks=3), read)

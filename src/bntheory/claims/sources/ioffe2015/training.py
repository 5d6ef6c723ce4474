"""Ioffe and Szegedy 2015, arXiv 1502.03167, section 4.1: the inputs of the last hidden layer's sigmoids along a training.

Three fully connected hidden layers of 100 sigmoid units each, small random Gaussian weights, batches of 60. The source's figure 1 shows
the 15th, 50th and 85th percentiles of the inputs of one typical sigmoid of the last hidden layer against the training step: with batch
norm they hardly move, without it they wander.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.seeds import over_seeds

if TYPE_CHECKING:
    from torch import Tensor, nn

KEY = "ioffe2015"
_RATE = 0.3
_BATCH = 60


@dataclass(frozen=True)
class Course:
    """One training. batch, running: the three percentiles of every unit's inputs at each time, (times, 3, units), with batch norm
    normalising by the statistics of the images looked at, or by its running ones; the same without batch norm. accuracy: at the end.
    """

    batch: Tensor
    running: Tensor
    accuracy: float


def unsteadiness(percentiles: Tensor, *, relative: bool) -> float:
    """How far a typical unit's percentiles wander over a training.

    For each unit the largest range over time of its three percentiles; relative to the mean over time of the distance between the
    outer two, unless ``relative`` is false, which leaves the units of the sigmoid's input. The median over units: a unit whose three
    percentiles never move gives 0. percentiles: (times, 3, units).
    """
    wandering = (percentiles.amax(0) - percentiles.amin(0)).amax(0)
    if relative:
        wandering = wandering / (percentiles[:, 2] - percentiles[:, 0]).mean(0)
    return float(wandering.quantile(0.5))


def follow(norm: str, seed: int, *, steps: int, times: int, device: str) -> Course | None:
    """Train as the source does, and look at the last hidden layer's sigmoids on the same test images at equally spaced steps.

    None for a training that diverged.
    """
    import torch

    from bntheory.bridge import NetworkSpec, activation_moments
    from bntheory.experiments.short_runs import accuracy, choose_images, train

    images = choose_images(10_000, side=28, seed=seed, device=device, tests=1000)
    spec = NetworkSpec("ioffe-mnist", norm=norm)
    every = steps // (times - 1)
    place = f"hidden{len(spec.layout) - 1}.act"
    seen: dict[bool, list[Tensor]] = {True: [], False: []}

    def visit(step: int, model: nn.Module) -> None:
        if step % every == 0:
            for training, percentiles in seen.items():
                model.train(training)
                found = activation_moments(model, images.test_inputs, places=[place])
                percentiles.append(found[place].percentiles)

    run = train(
        spec, images, seed=seed, rate=_RATE, steps=steps, batch_size=_BATCH, momentum=0.0, visit=visit
    )  # fmt: skip
    if run.diverged:
        return None
    return Course(torch.stack(seen[True]), torch.stack(seen[False]), accuracy(run.model, images))


def compare(pairs: list[tuple[Course | None, Course | None]], scope: str) -> list[Check]:
    """log10 of the unsteadiness with batch norm over that without, and what is shown beside. pairs: (with, without), one a seed."""
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    if lost := len(pairs) - len(both):
        scope += f"; {lost} seeds left out because a training diverged"

    def check(name: str, values: list[float], side: Literal["below", "above"], *, decisive: bool) -> Check:
        return over_seeds(name, values, side, 0.0, scope, decisive=decisive)

    def ratios(of: Callable[[Course], Tensor], *, relative: bool = True) -> list[float]:
        return [
            math.log10(unsteadiness(of(a), relative=relative) / unsteadiness(of(b), relative=relative))
            for a, b in both
        ]

    what = "with batch norm over without: log10 of how far the percentiles wander"
    fifth = len(both[0][0].batch) // 5 if both else 0
    return [
        check(f"{what}, relative to their distance", ratios(lambda c: c.batch), "below", decisive=True),
        check(
            f"{what}, in the sigmoid's own units",
            ratios(lambda c: c.batch, relative=False),
            "below",
            decisive=False,
        ),
        check(
            f"{what}, relative to their distance, without the first fifth of the training",
            ratios(lambda c: c.batch[fifth:]),
            "below",
            decisive=False,
        ),
        # before the first step the running statistics are those of nothing
        check(
            f"{what}, relative to their distance, by running statistics, from the second time on",
            ratios(lambda c: c.running[1:]),
            "below",
            decisive=False,
        ),
        check(
            "test accuracy with batch norm minus that without",
            [a.accuracy - b.accuracy for a, b in both],
            "above",
            decisive=False,
        ),
    ]


@claim(
    "ioffe2015.mnist-protocol",
    kind="experiment",
    source=Source(KEY, "section 4.1, figure 1"),
    statement=r"\text{with BN the distributions of the inputs of the last hidden layer's sigmoids are steadier along training}",
    reading=(
        "three hidden layers of 100 sigmoid units, Gaussian initial weights of standard deviation 0.1, plain stochastic gradient descent with batches "
        f"of {_BATCH} at rate {_RATE:g} for both networks; per unit of the last hidden layer the largest range over the training of the 15th, 50th "
        "and 85th percentile of its input, in units of the mean distance between the outer two; a typical unit: the median over the units; log10 "
        "of the ratio with BN over without, one number a seed"
    ),
    note=(
        "Scaled down: 10 000 images of Fashion-MNIST in the place of MNIST, fewer steps than the source's 50 000; the learning rate is this project's choice. "
        "The percentiles are those of a fixed set of test images, which BN normalises by "
        "their own statistics; beside, by its running ones."
    ),
)
def steadier_inputs(study: Study) -> list[Check]:
    seeds = study.choose(quick=3, normal=6, thorough=8)
    steps, times = study.choose(quick=(300, 16), normal=(2500, 26), thorough=(10_000, 51))
    pairs = []
    for i in range(seeds):
        seed = 1000 * study.seed + i
        pairs.append(
            tuple(
                follow(norm, seed, steps=steps, times=times, device=study.device)
                for norm in ("batch", "none")
            )
        )
        study.progress((i + 1) / seeds, f"seed {i}")
    return compare(pairs, f"{steps} steps, {times} times, 1000 test images")  # type: ignore[arg-type]

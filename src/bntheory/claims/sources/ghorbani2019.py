"""Ghorbani, Krishnan, Xiao, An investigation into neural net optimization via Hessian eigenvalue density, ICML 2019, arXiv 1901.10159.

The Hessian of a trained classifier has about as many eigenvalues far outside the bulk as there are classes, and the gradient lies
largely in their eigenvectors. With batch normalisation these outliers are pulled towards the bulk; they come back where the
normalisation uses constants, the statistics of the whole training set, in the place of the statistics of the present activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from bntheory.claims.claim import Effort, Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.seeds import over_seeds

if TYPE_CHECKING:
    from torch import nn

    from bntheory.bridge.objective import Mode
    from bntheory.experiments.short_runs import Images

KEY = "ghorbani2019"
#: The number of classes: where the source cuts the outliers off.
K = 10
#: Where a training is measured, as shares of its steps.
MARKS = (0.5, 1.0)
_READING = (
    "lambda_1 >= ... >= lambda_K the K = 10 (the number of classes) largest eigenvalues of the Hessian of the loss on all training images at once, "
    "in training mode; the gradient's share: that part of the squared norm of the gradient of the same loss which lies in their eigenvectors; "
    "log10 of the ratio, its mean over the middle and the end of the training, one number a seed"
)
_NOTE = (
    "Scaled down: a small VGG on a few hundred images, the same short training of both networks at rate 0.02, momentum 0.9 and "
    "batches of 64. The source measures networks for CIFAR-10 and ImageNet, along their training."
)


@dataclass(frozen=True)
class Outliers:
    """At one network: lambda_1 and lambda_K, the gradient's share in the K eigenvectors, the loss, whether the eigenvalues converged."""

    first: float
    last: float
    share: float
    loss: float
    converged: bool

    @property
    def ratio(self) -> float:
        """lambda_1/lambda_K; NaN where lambda_K is not positive."""
        return self.first / self.last if self.last > 0 else math.nan


def measure(model: nn.Module, images: Images, *, mode: Mode, seed: int) -> Outliers:
    """The top of the Hessian's spectrum on all images; ``mode="frozen"`` with their statistics as constants."""
    import torch.nn.functional as F

    from bntheory.bridge.curvature import gradient_share, hessian, top_eigenvalues

    with hessian(model, F.cross_entropy, images.whole, mode=mode) as op:
        spectrum = top_eigenvalues(op, K, tol=1e-3, seed=seed, max_products=400)
        share = gradient_share(op, spectrum).share
        return Outliers(
            float(spectrum.values[0]), float(spectrum.values[-1]), share, op.loss, spectrum.converged
        )


@dataclass(frozen=True)
class Seed:
    """The measurements of one seed at ``MARKS`` of the training; empty where it diverged."""

    normalised: tuple[Outliers, ...]
    frozen: tuple[Outliers, ...]
    standard: tuple[Outliers, ...]


def train_and_measure(
    seed: int, *, side: int, images: int, steps: int, device: str, arms: tuple[str, str] = ("batch", "none")
) -> Seed:
    """Train both arms on the same images and batches from the same initial values, and measure; arms: their normalisations."""
    from bntheory.bridge import NetworkSpec
    from bntheory.experiments.short_runs import choose_images, train

    data = choose_images(images, side=side, seed=seed, device=device)
    marks = {round(share * steps) for share in MARKS}

    def arm(norm: str) -> tuple[tuple[Outliers, ...], tuple[Outliers, ...]]:
        own: list[Outliers] = []
        frozen: list[Outliers] = []

        def visit(step: int, model: nn.Module) -> None:
            if step in marks:
                own.append(measure(model, data, mode="train", seed=seed))
                if norm == "batch":
                    frozen.append(measure(model, data, mode="frozen", seed=seed))

        spec = NetworkSpec("vgg", norm=norm, layout=(8, 0, 16, 0, 32), input_shape=(1, side, side))
        run = train(spec, data, seed=seed, rate=0.02, steps=steps, batch_size=64, visit=visit)
        return ((), ()) if run.diverged else (tuple(own), tuple(frozen))

    (first, frozen), (second, other) = (arm(norm) for norm in arms)
    return Seed(first, frozen or other, second)


@lru_cache(maxsize=4)
def _measured(effort: Effort, seed: int, device: str) -> tuple[tuple[Seed, ...], str]:
    """All seeds of a study and their scope in words: both claims are about the same networks."""
    study = Study(effort, seed, device)
    seeds = study.choose(quick=3, normal=6, thorough=8)
    side, images, steps = study.choose(quick=(7, 100, 60), normal=(14, 256, 200), thorough=(14, 600, 800))
    found = tuple(
        train_and_measure(1000 * seed + i, side=side, images=images, steps=steps, device=device)
        for i in range(seeds)
    )
    return found, f"{steps} steps, Hessian on all {images} training images of {side} x {side} pixels"


def compare(
    name: str,
    pairs: Sequence[tuple[tuple[Outliers, ...], tuple[Outliers, ...]]],
    side: Literal["below", "above"],
    scope: str,
) -> list[Check]:
    """log10 of lambda_1/lambda_K and of the gradient's share, left over right, and their side of 0; other numbers beside.

    pairs: (left, right), one a seed, each the measurements along one training.
    """
    both = [(a, b) for a, b in pairs if a and b and all(x.converged for x in a + b)]
    if lost := len(pairs) - len(both):
        scope += f"; {lost} seeds left out (a training diverged, or eigenvalues did not converge)"

    def check(what: str, of: Callable[[Outliers], float], *, decisive: bool) -> Check:
        kept = [[(of(a), of(b)) for a, b in zip(left, right, strict=True)] for left, right in both]
        usable = [seed for seed in kept if all(a > 0 and b > 0 for a, b in seed)]
        lost = len(kept) - len(usable)
        return over_seeds(
            f"log10 of {what}, {name}",
            [sum(math.log10(a / b) for a, b in seed) / len(seed) for seed in usable],
            side,
            0.0,
            scope + (f"; {lost} seeds left out (not positive)" if lost else ""),
            witness={"left and right": [[[float(f"{x:.6g}") for x in ab] for ab in seed] for seed in kept]},
            decisive=decisive,
        )

    return [
        check(f"lambda_1/lambda_{K}", lambda x: x.ratio, decisive=True),
        check(f"the gradient's share in the top {K} eigenvectors", lambda x: x.share, decisive=True),
        check("lambda_1", lambda x: x.first, decisive=False),
        check(f"lambda_{K}", lambda x: x.last, decisive=False),
        check("the loss", lambda x: x.loss, decisive=False),
    ]


@claim(
    "ghorbani2019.outliers",
    kind="experiment",
    source=Source(KEY, "batch normalisation and outliers", seen="recalled"),
    statement=(
        r"\lambda_1/\lambda_K \text{ and the gradient's share in the eigenvectors of } \lambda_1, \dots, \lambda_K "
        r"\text{ are smaller with batch normalisation than without}"
    ),
    reading=_READING + ": with batch norm over without",
    note=_NOTE
    + " At equal steps the losses differ, and the spectrum depends on the loss; they are shown beside.",
)
def outliers(study: Study) -> list[Check]:
    seeds, scope = _measured(study.effort, study.seed, study.device)
    return compare(
        "with batch norm over without", [(s.normalised, s.standard) for s in seeds], "below", scope
    )


@claim(
    "ghorbani2019.frozen-statistics",
    kind="experiment",
    source=Source(KEY, "statistics of the whole training set", seen="recalled"),
    statement=(
        r"\text{with the statistics of the whole training set as constants, the outliers come back: } \lambda_1/\lambda_K "
        r"\text{ and the gradient's share in the top eigenvectors are larger}"
    ),
    reading=(
        _READING
        + ": the Hessian of the same trained network at the same weights with every mean and variance replaced by the constant that it has on all "
        "training images, over the one in training mode; outputs and loss are equal"
    ),
    note=_NOTE + " Training with constant statistics is another question, which is not asked here.",
)
def frozen_statistics_of_the_whole_set(study: Study) -> list[Check]:
    seeds, scope = _measured(study.effort, study.seed, study.device)
    checks = compare(
        "statistics constant over statistics of the activations",
        [(s.frozen, s.normalised) for s in seeds],
        "above",
        scope,
    )
    return checks[:-1]  # the losses are equal

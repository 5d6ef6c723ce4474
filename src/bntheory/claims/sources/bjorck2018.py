"""Bjorck, Gomes, Selman, Weinberger, Understanding batch normalization, NeurIPS 2018, arXiv 1806.02375.

What batch normalisation buys are large learning rates: without it training diverges at rates that a normalised network bears well, and
at the small rates that both bear the normalised network has no great advantage. A residual network with batch norm and the same one
without are searched for the largest learning rate at which a short training is stable, and compared at equal small rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.seeds import over_seeds

if TYPE_CHECKING:
    from bntheory.bridge import NetworkSpec
    from bntheory.experiments.short_runs import Images, Run

KEY = "bjorck2018"
#: The grid of learning rates, from the top; refined by bisection below the lowest unstable rate above the first stable one.
GRID = tuple(4.0**k for k in range(2, -8, -1))
_STEP = math.log10(4.0)
#: Stable: every loss finite, and the mean training loss of the last quarter below this share of the loss of guessing, log 10. Close to 1:
#: a rate so small that little is learned in a short training is not unstable (0.9, tried on other seeds, took it for that).
STABLE_SHARE = 0.98
#: Diverged, the weaker failure that is shown beside: a training loss above this, or one that is not finite.
_DIVERGED = 1e3
#: "Brings little": a gain of less than this in test accuracy. Decided before any run.
_LITTLE = 0.05


@dataclass(frozen=True)
class Setting:
    """How long, and on what: the trainings of one search, and those that are compared at equal rate."""

    layout: tuple[tuple[int, int], ...]
    images: int
    search_steps: int
    halvings: int
    steps: int
    batch_size: int = 32

    @property
    def resolution(self) -> float:
        """The width of the bracket in log10 in which the search leaves the largest stable rate."""
        return _STEP * 0.5**self.halvings


def largest_stable(stable: Callable[[float], bool], halvings: int) -> tuple[float, bool]:
    """The largest stable rate of ``GRID``, refined by ``halvings`` bisections of its logarithm; whether the grid's top was stable.

    The search goes down from the top, so an unstable island below a stable rate does not end it. NaN where no rate of the grid is stable.
    """
    first = next((i for i, rate in enumerate(GRID) if stable(rate)), None)
    if first is None:
        return math.nan, False
    if first == 0:
        return GRID[0], True
    low, high = GRID[first], GRID[first - 1]
    for _ in range(halvings):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if stable(middle) else (low, middle)
    return low, False


def _train(spec: NetworkSpec, images: Images, seed: int, rate: float, steps: int, batch_size: int) -> Run:
    from bntheory.experiments.short_runs import train

    return train(
        spec, images, seed=seed, rate=rate, steps=steps, batch_size=batch_size, momentum=0.9, weight_decay=5e-4
    )  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    """What was found, by arm ("normalised", "standard"), one entry a seed.

    largest, bounded: log10 of the largest stable and of the largest not diverging rate. small: test accuracy at the equal small rate,
    NaN for a training that diverged. own: that of the normalised network at half its own largest stable rate.
    """

    largest: dict[str, list[float]]
    bounded: dict[str, list[float]]
    small: dict[str, list[float]]
    own: list[float]
    seeds: int
    above_grid: int


def search(spec: NetworkSpec, images: Images, seed: int, setting: Setting) -> tuple[float, float, bool]:
    """The largest stable rate, the largest rate of the grid at which no loss exceeded ``_DIVERGED``, and whether the grid's top was stable."""
    from bntheory.experiments.short_runs import CLASSES

    bounded: list[float] = []

    def stable(rate: float) -> bool:
        run = _train(spec, images, seed, rate, setting.search_steps, setting.batch_size)
        if rate in GRID and not run.diverged and run.losses.max() < _DIVERGED:
            bounded.append(rate)
        return run.late_loss() < STABLE_SHARE * math.log(CLASSES)

    rate, above = largest_stable(stable, setting.halvings)
    return rate, max(bounded, default=math.nan), above


def measure(study: Study, setting: Setting, seeds: int, arms: tuple[str, str] = ("batch", "none")) -> Numbers:
    """Search and compare. arms: the normalisations of the normalised and of the standard network."""
    from bntheory.bridge import NetworkSpec
    from bntheory.experiments.short_runs import accuracy, choose_images

    names = ("normalised", "standard")
    largest: dict[str, list[float]] = {name: [] for name in names}
    bounded: dict[str, list[float]] = {name: [] for name in names}
    small: dict[str, list[float]] = {name: [] for name in names}
    own: list[float] = []
    above = 0
    for i in range(seeds):
        seed = 1000 * study.seed + i
        images = choose_images(setting.images, side=7, seed=seed, device=study.device, tests=1000)
        specs = {
            name: NetworkSpec("resnet", norm=norm, layout=setting.layout, input_shape=(1, 7, 7))
            for name, norm in zip(names, arms, strict=True)
        }
        found = {name: search(spec, images, seed, setting) for name, spec in specs.items()}
        above += sum(top for _, _, top in found.values())
        if any(math.isnan(rate) for rate, _, _ in found.values()):
            continue
        for name in names:
            largest[name].append(math.log10(found[name][0]))
            bounded[name].append(math.log10(found[name][1]))

        def test_accuracy(name: str, rate: float, specs=specs, images=images, seed=seed) -> float:  # type: ignore[no-untyped-def]
            run = _train(specs[name], images, seed, rate, setting.steps, setting.batch_size)
            return math.nan if run.diverged else accuracy(run.model, images)

        for name in names:
            small[name].append(test_accuracy(name, found["standard"][0] / 2))
        own.append(test_accuracy("normalised", found["normalised"][0] / 2))
        study.progress((i + 1) / seeds, f"seed {seed}")
    return Numbers(largest, bounded, small, own, seeds, above)


def checks(numbers: Numbers, setting: Setting) -> list[Check]:
    """The ratio of the largest stable rates, the gain at equal small rate, and what is shown beside."""

    def differences(a: list[float], b: list[float]) -> list[float]:
        return [x - y for x, y in zip(a, b, strict=True)]

    scope = f"{setting.search_steps} steps a rate"
    if lost := numbers.seeds - len(numbers.own):
        scope += f"; {lost} seeds without a stable rate on the grid, left out"
    if numbers.above_grid:
        scope += f"; {numbers.above_grid} searches stable at the top of the grid"
    later = f"{setting.steps} steps; the small rate is half the largest stable one of the standard network"
    gains = differences(numbers.small["normalised"], numbers.small["standard"])
    more = differences(numbers.own, numbers.small["normalised"])
    if broken := sum(not math.isfinite(x) for x in gains + more):
        later += f"; {broken} differences left out because a training diverged"

    def ratio(name: str, rates: dict[str, list[float]], resolution: float, *, decisive: bool) -> Check:
        check = over_seeds(
            name,
            differences(rates["normalised"], rates["standard"]),
            "above",
            1.0,
            scope,
            decisive=decisive,
            witness={"log10 of the rates": rates},
        )
        # what lies above the grid is not known, so a search that ended at its top leaves the ratio open
        blur = math.inf if numbers.above_grid else check.uncertainty + resolution
        why = f"{check.why}, widened by the resolution {resolution:.3f} of the search, which no number of seeds averages away"
        return replace(check, uncertainty=blur, why=why)

    return [
        ratio(
            "log10 of the largest stable rate with batch norm over that without",
            numbers.largest,
            setting.resolution,
            decisive=True,
        ),
        over_seeds(
            "gain of batch norm in test accuracy at equal small rate",
            [x for x in gains if math.isfinite(x)],
            "below",
            _LITTLE,
            later,
            witness={"accuracies": numbers.small},
        ),
        ratio(
            f"log10 of the largest rate of the grid with no loss above {_DIVERGED:g}, with batch norm over without",
            numbers.bounded,
            _STEP,
            decisive=False,
        ),
        over_seeds(
            "batch norm: gain in test accuracy of half its own largest stable rate over the small rate",
            [x for x in more if math.isfinite(x)],
            "above",
            0.0,
            later,
            decisive=False,
        ),
    ]


@claim(
    "bjorck2018.learning-rate",
    kind="experiment",
    source=Source(KEY, "the role of the learning rate", seen="recalled", printed=False),
    statement=(
        r"\eta_{\max}(\text{batch norm}) \ge 10\, \eta_{\max}(\text{without}), \text{ and at equal small } \eta \text{ batch norm brings little}"
    ),
    reading=(
        "a learning rate is stable if every loss of a short training is finite and the mean training loss of its last quarter is below "
        f"{STABLE_SHARE:g} log 10, a little below the loss of guessing; the largest stable rate: the highest one of a grid of factor 4, refined by "
        "bisection, per seed; equal small rate: half the largest stable rate of the standard network; little: less than "
        f"{_LITTLE:.0%} of test accuracy"
    ),
    note=(
        "Scaled down: residual networks on images of 7 x 7 pixels, at normal effort 40 steps a rate in the search and 250 in the "
        "comparison (24 and 50 quick, 60 and 500 thorough) of stochastic gradient descent with momentum 0.9 and weight decay 5e-4, Glorot's "
        "initial values in both arms. The source's network has 110 layers, this one 6 (effort quick), 10 (normal) or 22 (thorough), and it is trained for a small part of the source's time, so that at small rates the comparison is one of speed more than of "
        "where training ends."
    ),
)
def learning_rate(study: Study) -> list[Check]:
    seeds = study.choose(quick=3, normal=6, thorough=8)
    setting: Setting = study.choose(
        quick=Setting(((8, 1), (16, 1)), 1000, 24, 1, 50),
        normal=Setting(((8, 2), (16, 2)), 2000, 40, 2, 250),
        thorough=Setting(((8, 5), (16, 5)), 4000, 60, 2, 500),
    )
    return checks(measure(study, setting, seeds), setting)

"""Bjorck, Gomes, Selman, Weinberger, Understanding batch normalization, NeurIPS 2018, arXiv 1806.02375.

What batch normalisation buys are large learning rates: without it training diverges at rates that a normalised network
bears well, and at the small rates that both bear the normalised network has no great advantage. A residual network with
batch norm and the same one without are searched for the largest learning rate at which a short training is stable, and
compared at equal small rate.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.comparable import guessing_loss
from bntheory.evidence.counts import counted
from bntheory.evidence.looks import Looks
from bntheory.experiments.asking import must_be_there
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import FIRST_JUDGED, Protocol, Run, check_of, each_seed, held_out_accuracy, until_decided

KEY = "bjorck2018"
#: The grid of learning rates, from the top; refined by bisection below the lowest unstable rate above the first stable
#: one.
GRID = tuple(4.0**k for k in range(2, -8, -1))
_STEP = math.log10(4.0)
#: Bisections: the bracket that is left is much narrower than what seeds differ by.
HALVINGS = 4
RESOLUTION = _STEP * 0.5**HALVINGS
#: Stable: every loss finite, and the mean training loss of the last quarter below this share of the loss of guessing.
#: Close to 1: a rate so small that little is learned in a short training is not unstable (0.9, tried on other seeds,
#: took it for that).
STABLE_SHARE = 0.98
#: Diverged, the weaker failure that is shown beside: a training loss above this, or one that is not finite.
_DIVERGED = 1e3
#: "Brings little": a gain of less than this in test accuracy. Decided before any run.
_LITTLE = 0.05
NORMS = ("batch", "none")
Part = Literal["ratio", "gain"]


@dataclass(frozen=True)
class Setting:
    """How long, and on what: the trainings of one search, and those that are compared at equal rate."""

    layout: tuple[tuple[int, int], ...]
    images: int
    search_steps: int
    steps: int

    @property
    def search(self) -> Protocol:
        """Looked at early, and four times in the last quarter."""
        n = self.search_steps
        record = (n // 4, *(n - n // 12 * i for i in (3, 2, 1, 0)))
        return Protocol(n, record, batch_size=32, measured=128, images=self.images, side=7)

    @property
    def comparison(self) -> Protocol:
        """Looked at when it is over."""
        return replace(self.search, steps=self.steps, record=(self.steps,))


def search() -> Generator[float, bool, tuple[float, bool]]:
    """Asks whether a rate is stable, rate after rate; returns the largest stable one, and whether the grid's top was
    stable.

    It goes down the grid from the top, so an unstable island below a stable rate does not end it, and then bisects the
    logarithm. NaN where no rate of the grid is stable.
    """
    first = None
    for i, rate in enumerate(GRID):
        if (yield rate):
            first = i
            break
    if first is None:
        return math.nan, False
    if first == 0:
        return GRID[0], True
    low, high = GRID[first], GRID[first - 1]
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if (yield middle) else (low, middle)
    return low, False


def is_stable(run: Run) -> bool:
    """By the reading: nothing that is not finite, and late losses below those of guessing."""
    if run.diverged_at is not None:
        return False
    late = [run.points[s]["progress"]["loss"] for s in run.after_start if 4 * s >= 3 * run.protocol.steps]
    if any(x is None for x in late):
        return False
    return bool(sum(late) / len(late) < STABLE_SHARE * guessing_loss(round(1 / run.chance)))


def has_exploded(run: Run) -> bool:
    """Whether a loss was above ``_DIVERGED`` or not finite."""
    losses = [run.points.get(s, {}).get("progress", {}).get("loss") for s in run.after_start]
    return any(x is None or x > _DIVERGED for x in losses)


@dataclass(frozen=True)
class Found:
    """Of one seed, by normalisation. largest: the largest stable rate, NaN where there is none; bounded: the largest
    one of the grid that did not explode; above: whether the top of the grid was stable. small: test accuracy at the
    equal small rate, own: that with batch norm at half its own largest stable rate; None for a training that diverged,
    or where there is no such rate.
    """

    largest: Mapping[str, float]
    bounded: Mapping[str, float]
    above: bool
    small: Mapping[str, float | None]
    own: float | None


Asked = Mapping[tuple[str, int], float]
"""A learning rate by normalisation and number of the seed."""


def _trained(
    study: Study, setting: Setting, protocol: Protocol, measure: Measure, asked: Sequence[Asked], seeds: int
) -> list[dict[tuple[str, int], Run]]:
    """The runs of what is asked for, all in one experiment: every rate on the seeds that ask for it."""
    wanted: dict[tuple[str, float], set[int]] = {}
    for of in asked:
        for (norm, seed), rate in of.items():
            wanted.setdefault((norm, rate), set()).add(seed)
    arms = {
        key: Arm(
            "resnet", f"{key[0]} at {key[1]!r}", "resnet", {"norm": key[0], "layout": setting.layout}, key[1],
            momentum=0.9, weight_decay=5e-4,
        )
        for key in wanted
    }  # fmt: skip
    first = 1000 * study.seed + FIRST_JUDGED
    measures = tuple(
        replace(measure, arms=(arms[key].name,), seeds=tuple(first + s for s in sorted(wanted[key]))) for key in wanted
    )
    runs = each_seed(
        study, list(arms.values()), protocol, seeds, "learning rates", lambda arm: measures, first=FIRST_JUDGED
    )
    return [{(norm, s): runs[s][arms[norm, rate].name] for (norm, s), rate in of.items()} if of else {} for of in asked]


def measured(study: Study, setting: Setting, seeds: int) -> list[Found]:
    """Search, all seeds and both networks in step, and compare."""
    searches = {(norm, s): search() for norm in NORMS for s in range(seeds)}
    asked = {key: next(of) for key, of in searches.items()}
    found: dict[tuple[str, int], tuple[float, bool]] = {}
    bounded: dict[tuple[str, int], float] = {}
    progress = Measure("progress", {"batch_size": setting.search.measured})
    while asked:
        (runs,) = _trained(study, setting, setting.search, progress, [asked], seeds)
        must_be_there(study)  # which rates are asked for next depends on them
        answers, asked = asked, {}
        for key, rate in answers.items():
            if rate in GRID and not has_exploded(runs[key]):
                bounded.setdefault(key, rate)
            try:
                asked[key] = searches[key].send(is_stable(runs[key]))
            except StopIteration as end:
                found[key] = end.value
    whole = [s for s in range(seeds) if all(math.isfinite(found[norm, s][0]) for norm in NORMS)]
    small = {(norm, s): found["none", s][0] / 2 for norm in NORMS for s in whole}
    own = {("batch", s): found["batch", s][0] / 2 for s in whole}
    ends: list[dict[tuple[str, int], Run]] = [{}, {}]
    if whole:
        tested = Measure("classification", {"test_size": 1000})
        ends = _trained(study, setting, setting.comparison, tested, [small, own], seeds)

    def accuracy(of: Mapping[tuple[str, int], Run], norm: str, s: int) -> float | None:
        run = of.get((norm, s))
        return None if run is None or run.diverged_at is not None else held_out_accuracy(run, setting.steps)

    return [
        Found(
            {norm: found[norm, s][0] for norm in NORMS},
            {norm: bounded.get((norm, s), math.nan) for norm in NORMS},
            any(found[norm, s][1] for norm in NORMS),
            {norm: accuracy(ends[0], norm, s) for norm in NORMS},
            accuracy(ends[1], "batch", s),
        )
        for s in range(seeds)
    ]


# -- from the seeds to checks ------------------------------------------------------------------------------------------


def _log_ratio(rates: Mapping[str, float]) -> float | None:
    with_norm, without = (rates[norm] for norm in NORMS)
    return math.log10(with_norm / without) if math.isfinite(with_norm / without) else None


def _difference(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def checks(
    study: Study, found: Sequence[Found], setting: Setting, confidence: float, parts: Sequence[Part]
) -> list[Check]:
    """The ratio of the largest stable rates, the gain at equal small rate, and what is shown beside."""
    scope = f"{setting.search_steps} steps a rate"
    above = sum(seed.above for seed in found)
    if above:
        scope += f"; {counted(above, 'seed')} with a search that was stable at the top of the grid"
    later = f"{setting.steps} steps; the small rate is half the largest stable one of the standard network"

    def ratio(name: str, values: list[float | None], resolution: float, *, decisive: bool) -> Check:
        check = check_of(study, name, values, "above", 1.0, scope, decisive=decisive, confidence=confidence)
        # what lies above the grid is not known, so a search that ended at its top leaves the ratio open
        blur = math.inf if above else check.uncertainty + resolution
        why = f"{check.why}, widened by the resolution {resolution:.3f} of the search, which no number of seeds averages away"
        return replace(check, uncertainty=blur, why=why)

    about_ratio = [
        ratio(
            "log10 of the largest stable rate with batch norm over that without",
            [_log_ratio(seed.largest) for seed in found],
            RESOLUTION,
            decisive=True,
        ),
        ratio(
            f"log10 of the largest rate of the grid with no loss above {_DIVERGED:g}, with batch norm over without",
            [_log_ratio(seed.bounded) for seed in found],
            _STEP,
            decisive=False,
        ),
    ]
    about_gain = [
        check_of(
            study,
            "gain of batch norm in test accuracy at equal small rate",
            [_difference(seed.small["batch"], seed.small["none"]) for seed in found],
            "below",
            _LITTLE,
            later,
            confidence=confidence,
        ),
        check_of(
            study,
            "batch norm: gain in test accuracy of half its own largest stable rate over the small rate",
            [_difference(seed.own, seed.small["batch"]) for seed in found],
            "above",
            0.0,
            later,
            decisive=False,
        ),
    ]
    return [*(about_ratio if "ratio" in parts else ()), *(about_gain if "gain" in parts else ())]


def _judged(study: Study, *parts: Part) -> list[Check]:
    setting: Setting = study.choose(
        quick=Setting(((8, 1), (16, 1)), 1000, 24, 50),
        normal=Setting(((8, 2), (16, 2)), 2000, 40, 250),
        thorough=Setting(((8, 5), (16, 5)), 4000, 60, 500),
    )

    def read(seeds: int, confidence: float) -> list[Check]:
        return checks(study, measured(study, setting, seeds), setting, confidence, parts)

    sizes = study.choose(quick=(3,), normal=(5, 10), thorough=(8, 16, 32))
    return until_decided(study, Looks(sizes, checks=len(parts)), read)


_STABLE = (
    "a learning rate is stable if every loss of a short training is finite and the mean of four training losses of its last quarter is below "
    f"{STABLE_SHARE:g} log 10, a little below the loss of guessing; the largest stable rate: the highest one of a grid of factor 4, refined by "
    f"{HALVINGS} bisections, per seed"
)
_SMALL = f"equal small rate: half the largest stable rate of the standard network; little: less than {_LITTLE:.0%} of test accuracy"
_NOTE = (
    "Scaled down: residual networks on images of 7 x 7 pixels, at normal effort 40 steps a rate in the search and 250 in the "
    "comparison (24 and 50 quick, 60 and 500 thorough) of stochastic gradient descent with momentum 0.9 and weight decay 5e-4, Glorot's "
    "initial values in both arms. The source's network has 110 layers, this one 6 (effort quick), 10 (normal) or 22 (thorough), and it is trained for a small part of the source's time, so that at small rates the comparison is one of speed more than of "
    f"where training ends. Seeds below {FIRST_JUDGED} were seen when this was designed, and are not used."
)
_SOURCE = Source(KEY, "the role of the learning rate", seen="recalled", printed=False)


@claim(
    "bjorck2018.learning-rate",
    kind="experiment",
    source=_SOURCE,
    statement=(
        r"\eta_{\max}(\text{batch norm}) \ge 10\, \eta_{\max}(\text{without}), \text{ and at equal small } \eta \text{ batch norm brings little}"
    ),
    reading=f"{_STABLE}; {_SMALL}",
    note=_NOTE + " Two statements in one: each is a claim of its own beside, with the same networks.",
)
def learning_rate(study: Study) -> list[Check]:
    return _judged(study, "ratio", "gain")


@claim(
    "bjorck2018.learning-rate.ratio",
    kind="experiment",
    source=_SOURCE,
    statement=r"\eta_{\max}(\text{batch norm}) \ge 10\, \eta_{\max}(\text{without})",
    reading=_STABLE,
    note=_NOTE,
)
def stable_rates(study: Study) -> list[Check]:
    return _judged(study, "ratio")


@claim(
    "bjorck2018.learning-rate.equal-small-rate",
    kind="experiment",
    source=_SOURCE,
    statement=r"\text{at equal small } \eta \text{ batch norm brings little}",
    reading=f"{_STABLE}; {_SMALL}",
    note=_NOTE,
)
def gain_at_equal_rate(study: Study) -> list[Check]:
    return _judged(study, "gain")

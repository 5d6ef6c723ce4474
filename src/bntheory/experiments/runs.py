"""Runs of paired arms, read from records: what the claims that compare trained networks are functions of.

What lives here: the recorded points of one run, and how points at several steps become one number a seed, and seeds a
check. What does not: how records are come by (:mod:`.asking`), which arms a claim compares, and what would support it.

Arms of one seed are paired: common parameters have the same initial values (:func:`bntheory.bridge.build_network`), and
step t has the same batch in all of them. No global random state is read or moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bntheory.errors import UserError
from bntheory.evidence.checks import Check
from bntheory.evidence.comparable import not_there
from bntheory.evidence.counts import counted
from bntheory.evidence.curves import mean_log_ratio_at_equal_loss, mean_of_known
from bntheory.evidence.decision import Side
from bntheory.evidence.looks import Looks
from bntheory.evidence.record import canonical
from bntheory.evidence.seeds import over_seeds, refuse_other_than_numbers
from bntheory.evidence.study import Study
from bntheory.experiments.asking import recorded
from bntheory.experiments.experiment import Arm, Experiment, Measure, several
from bntheory.experiments.experiment import Protocol as Protocol  # what a claim needs is imported from here
from bntheory.experiments.own import dataset

Json = Mapping[str, Any]
Numbers = Mapping[int, float | None]
#: The seeds before this one were looked at while the designs were reviewed: they are pilots, and what was chosen on
#: them is judged on others.
FIRST_JUDGED = 100
#: Loss and accuracy on training images, accuracy on the first 1000 test images.
CLASSIFICATION = Measure("classification", {"test_size": 1000})


@dataclass(frozen=True)
class Run:
    """One arm trained from one seed, as it was recorded.

    points: by step after the start; none from where the run was no longer finite. chance: the accuracy of guessing.
    diverged: whether a record says that it was no longer finite; None where that is all that missing points can mean.
    """

    arm: Arm
    protocol: Protocol
    seed: int
    points: Mapping[int, Json]
    chance: float
    diverged: bool | None = None

    @property
    def after_start(self) -> tuple[int, ...]:
        """The recorded steps after the first: the initial network is no part of training."""
        return tuple(step for step in self.protocol.record if step > 0)

    @property
    def diverged_at(self) -> int | None:
        """The first recorded step after the start at which it was no longer finite."""
        return next((step for step in self.after_start if step not in self.points), None)

    @property
    def lacks(self) -> str:
        """In words, that its end is not there, where no record says that it diverged before; else empty."""
        last = self.protocol.record[-1]
        if self.diverged is not False or last in self.points:
            return ""
        return not_there(last if self.points else None)


def each_seed(
    study: Study,
    arms: Sequence[Arm],
    protocol: Protocol,
    seeds: int,
    what: str,
    measures: Callable[[Arm], tuple[Measure, ...]] = lambda arm: (CLASSIFICATION,),
    *,
    first: int = 0,
) -> list[dict[str, Run]]:
    """The runs of all arms by name, seed after seed. measures: what is measured on an arm, after the start.

    first: added to every seed, for a claim whose design was chosen on the seeds before it. Raises UserError for a number
    of seeds, or a first one, that :meth:`bntheory.evidence.study.Study.seeds` does not have, and for arms or measures that
    are no lists of them.
    """
    several("arms", arms, Arm)
    if not callable(measures):
        raise UserError(f"measures is {measures!r:.60}; give a function of an arm, as lambda arm: (Measure('shift'),)")
    for arm in arms:
        several(f"what measures gives for the arm {arm.name!r:.40}", measures(arm), Measure)
    numbers = study.seeds(seeds, first)
    at = tuple(step for step in protocol.record if step > 0)
    shared = replace(protocol, record=at)
    chance = 1 / dataset(protocol.data).classes
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        groups.setdefault(canonical([asdict(m) for m in measures(arm)]), []).append(arm)
    points: list[Json] = []
    for group in groups.values() if numbers else ():
        experiment = Experiment(what, tuple(group), shared, measures(group[0]), numbers)
        points += recorded(study, experiment, protocol.data, what)
    return runs_of(points, arms, protocol, numbers, chance)


def runs_of(
    points: Iterable[Json], arms: Sequence[Arm], protocol: Protocol, seeds: Sequence[int], chance: float
) -> list[dict[str, Run]]:
    """The runs of these arms by name, seed after seed; a point that has diverged, and all that would come later, are
    none of its run."""
    found: dict[tuple[str, str, int], dict[int, Json]] = {}
    diverged: set[tuple[str, str, int]] = set()
    for point in points:
        own = (point["network"], point["arm"], point["seed"])
        if point["diverged"]:
            diverged.add(own)
        else:
            found.setdefault(own, {})[point["step"]] = point

    def run(arm: Arm, seed: int) -> Run:
        own = (arm.network, arm.name, seed)
        return Run(arm, protocol, seed, found.get(own, {}), chance, own in diverged)

    return [{arm.name: run(arm, seed) for arm in arms} for seed in seeds]


# -- numbers of a run at one step --------------------------------------------------------------------------------------


def training_point(run: Run, step: int) -> tuple[float, float]:
    """(loss, accuracy) on the measured training images; a run that has diverged has an infinite loss and guesses."""
    point = run.points.get(step)
    if point is None or point["training"]["loss"] is None:
        return math.inf, run.chance
    return float(point["training"]["loss"]), float(point["training"]["accuracy"])


def held_out_accuracy(run: Run, step: int) -> float:
    """Accuracy on the test images, in evaluation mode; a run that has diverged guesses."""
    point = run.points.get(step)
    return run.chance if point is None else float(point["held_out"])


def progress_loss(point: Json) -> float | None:
    """The loss of the measure "progress"; None where it overflowed."""
    found: float | None = point["progress"]["loss"]
    return found


def late_loss(run: Run) -> float:
    """The mean of :func:`progress_loss` over the recorded steps, those of the later part of a run; infinite where it
    diverged."""
    losses = [None if step not in run.points else progress_loss(run.points[step]) for step in run.after_start]
    known = [x for x in losses if x is not None]
    return sum(known) / len(known) if len(known) == len(losses) else math.inf


# -- from measurements at several steps to one number a seed, and from seeds to a check -------------------------------


def mean_difference(left: Numbers, right: Numbers, *, log: bool = False) -> float | None:
    """Mean of left - right (log: of log10(left/right)) over all the steps; None where one of them lacks a number at some
    step, since a mean over fewer steps would stand for another part of training than that of the other seeds."""
    pairs = [[_usable(side.get(s), log=log) for side in (left, right)] for s in sorted(left.keys() | right.keys())]
    differences = [None if a is None or b is None else a - b for a, b in pairs]
    return None if None in differences else mean_of_known(differences)


def difference_at_equal_loss(
    left: Numbers, right: Numbers, left_losses: Numbers, right_losses: Numbers
) -> float | None:
    """Mean of log10(left/right), right read where its loss is left's (:func:`bntheory.evidence.curves.at_loss`); None
    where it never is."""
    return mean_log_ratio_at_equal_loss(*_curve(left, left_losses), *_curve(right, right_losses))


def _curve(values: Numbers, losses: Numbers) -> tuple[list[float], list[float | None]]:
    """(losses, values) in the order of the steps."""
    known = [(loss, values[step]) for step in sorted(values) if (loss := losses.get(step)) is not None]
    return [loss for loss, _ in known], [value for _, value in known]


def _usable(value: float | None, *, log: bool) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    if log:
        return math.log10(value) if value > 0 else None
    return value


def check_of(
    study: Study, name: str, numbers: Sequence[float | None], side: Side, bound: float, scope: str, **options: Any
) -> Check:
    """:func:`over_seeds`, whose options it takes, on the seeds that gave a number; the others are counted in the
    scope.

    Raises UserError as that does, and for more numbers than seeds that the study has given out: several of one seed are
    no more independent than one.
    """
    refuse_other_than_numbers(name, numbers)
    if study.drawn and len(numbers) > len(study.drawn):
        raise UserError(
            f"check {name!r:.60}: {len(numbers)} numbers are given, but the study has asked for {counted(len(study.drawn), 'seed')} alone; "
            "numbers of one seed (its steps, its layers) are not independent: average them within each seed first, then give one number "
            "a seed, None for a seed that gave none"
        )
    values = [x for x in numbers if x is not None]
    missing = len(numbers) - len(values)
    if missing:
        scope = f"{scope}; {missing} of {len(numbers)} seeds gave no number"
    return over_seeds(name, values, side, bound, scope, witness={"seed": study.seed}, **options)


def until_decided(study: Study, looks: Looks, read: Callable[[int, float], Sequence[Check]]) -> list[Check]:
    """Add seeds, look after look, until every decisive check is decided or the last look is made.

    read(seeds, confidence): the checks from the first so many seeds, every decisive one with an interval at
    ``confidence``. A decisive check stands as it was at the first look that decided it, the others as they are at the
    last one. The probability that any decisive check lies on the wrong side is at most ``looks.alpha``
    (:mod:`bntheory.evidence.looks`).

    Raises ValueError where there are more decisive checks than the looks were made for, where two share a name, or
    where one stands at another confidence than the look's.
    """
    decided: dict[str, Check] = {}
    checks: list[Check] = []
    for number, size in enumerate(looks.sizes):
        study.progress(number / len(looks.sizes), f"{size} seeds")
        confidence = looks.confidence(size)
        checks = [
            replace(c, witness={**c.witness, "looks": looks.sizes, "look": size}) if c.decisive else c
            for c in read(size, confidence)
        ]
        if study.lacking:  # not to be looked at before it is there
            return checks
        decisive = [c for c in checks if c.decisive]
        _stated(decisive, looks, confidence)
        for c in decisive:
            if c.outcome not in ("undecided", "not comparable"):
                decided.setdefault(c.name, c)
        if all(c.name in decided or c.outcome == "not comparable" for c in decisive):
            break
    return [decided.get(c.name, c) if c.decisive else c for c in checks]


def _stated(decisive: Sequence[Check], looks: Looks, confidence: float) -> None:
    names = [c.name for c in decisive]
    if len(set(names)) != len(names):
        raise ValueError(f"looks: two decisive checks share a name among {names}")
    if len(names) > looks.checks:
        raise ValueError(
            f"looks: made for {looks.checks} decisive checks, but there are {len(names)}; give Looks(..., checks={len(names)})"
        )
    other = next((c for c in decisive if c.exactness == "statistical" and c.confidence != confidence), None)
    if other is not None:
        raise ValueError(
            f"looks: {other.name!r} has an interval at {other.confidence}, this look asks for {confidence}; pass it to check_of"
        )

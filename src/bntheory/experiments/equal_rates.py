"""Arms compared at equal learning rates: the one rule.

Descent at rate eta does not stay where lambda_max is far above 2/eta, so two arms at different rates differ in
curvature by that alone. Arms are therefore compared at every rate of a grid at which all of them train, in every seed;
the number of a seed is the mean over these rates (:func:`means_over`), and eta lambda_max is shown beside it. An effect may change along
training, so there is one number at each place: at the start (the first recorded step), at losses that both arms went
through, and at the end. Rates that only some arms survive are left out and named.

What lives here: functions of recorded runs. What does not: which arms a claim compares, and what is measured on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bntheory.evidence.checks import Check
from bntheory.evidence.comparable import guessing_loss, lacks_records, not_there, why_not_comparable
from bntheory.evidence.curves import at_loss, common_losses, course, log_ratio, mean_of_known
from bntheory.evidence.decision import Side
from bntheory.evidence.study import Study
from bntheory.experiments.runs import Json, Run, check_of

#: A number of a recorded point; None where it was not measured or refused.
Reader = Callable[[Json], float | None]
#: The name of an arm at each learning rate.
Arms = Mapping[float, str]
#: Losses that both arms went through, even in the logarithm, falling.
EQUAL_LOSSES = ("loss 1 of 3", "loss 2 of 3", "loss 3 of 3")
AFTER_START = (*EQUAL_LOSSES, "the end")
PLACES = ("the start", *AFTER_START)


def name_at(norm: str, rate: float) -> str:
    """The name of the arm with a normalisation that is trained at this rate."""
    return f"{norm} {rate:g}"


def names_at(norm: str, rates: Iterable[float]) -> Arms:
    """The same at every rate of a grid."""
    return {rate: name_at(norm, rate) for rate in rates}


@dataclass(frozen=True)
class Rates:
    """used: the rates at which all arms trained, in every seed. left_out: the others, and which arm did not, in how
    many seeds."""

    used: tuple[float, ...]
    left_out: Mapping[float, str]

    @property
    def scope(self) -> str:
        """Both in a few words."""
        used = ", ".join(f"{rate:g}" for rate in self.used)
        text = f"learning rate{'s' if len(self.used) > 1 else ''} {used}" if used else "no learning rate"
        return text + (f"; left out: {self._without}" if self.left_out else "")

    @property
    def _without(self) -> str:
        return "; ".join(f"{rate:g} ({why})" for rate, why in self.left_out.items())

    @property
    def not_comparable(self) -> str:
        """Why nothing can be compared; empty where something can."""
        if self.used:
            return ""
        if lacks_records(self._without):
            return f"at no learning rate is every arm there, and trained, in every seed: {self._without}"
        return f"at no learning rate do all arms train in every seed: {self._without}"

    def check(
        self, study: Study, name: str, values: Sequence[float | None], side: Side, scope: str, **options: Any
    ) -> Check:
        """That the numbers of the seeds, made at these rates, lie ``side`` 0; options: as of ``check_of``."""
        return check_of(
            study,
            name,
            values if self.used else [],
            side,
            0.0,
            f"{self.scope}; {scope}",
            not_comparable=self.not_comparable,
            **options,
        )


def common_rates(
    runs: Sequence[Mapping[str, Run]],
    arms: Sequence[Arms],
    loss: Reader,
    guessing: float | None = None,
    measured: str = "",
) -> Rates:
    """The rates of the grid at which every one of ``arms`` trained in every seed.

    guessing: the loss of guessing; by default the cross-entropy of guessing among the classes of the data. measured: what
    a point is called by that has this loss, where the record that has it may be missing beside others of its step.
    """
    used: list[float] = []
    left_out: dict[float, str] = {}
    for rate in sorted(set[float]().union(*arms)):
        names = [of[rate] for of in arms if rate in of]
        found = [_why_not(seed, rate, names, loss, guessing, measured) for seed in runs]
        barred = [why for why in found if why]
        if len(names) < len(arms):
            left_out[rate] = "not run in every arm"
        elif barred:
            left_out[rate] = _told(barred, len(runs))
        else:
            used.append(rate)
    return Rates(tuple(used), left_out)


def _told(barred: Sequence[str], seeds: int) -> str:
    """In how many seeds, and what the first says; apart from that, those in which records are not there."""
    lacking = [why for why in barred if lacks_records(why)]
    others = [why for why in barred if not lacks_records(why)]
    return "; ".join(f"in {len(part)} of {seeds} seeds: {part[0]}" for part in (others, lacking) if part)


def _why_not(
    seed: Mapping[str, Run], rate: float, names: Sequence[str], loss: Reader, guessing: float | None, measured: str
) -> str:
    """As :func:`why_not_comparable`, of arms by their names without the rate, which is said before."""
    short = {name: name.removesuffix(name_at("", rate)) for name in names}
    ends = {f"arm {short[name]}": end_of(seed[name], loss) for name in names}
    lacks = {f"arm {short[name]}": seed[name].lacks or _without_loss(seed[name], measured) for name in names}
    chance = guessing if guessing is not None else guessing_loss(round(1 / seed[names[0]].chance))
    return why_not_comparable(ends, chance, lacks)


def _without_loss(run: Run, measured: str) -> str:
    """In words, that the record of its last loss is not there, where others of that step are; else empty."""
    last = run.after_start[-1]
    return not_there(last) if measured and measured not in run.points.get(last, {measured: None}) else ""


def end_of(run: Run, read: Reader) -> float | None:
    """A number after the last step; None where the run had diverged by then, or its record is not there."""
    return number_at(run, run.after_start[-1], read)


def number_at(run: Run, step: int, read: Reader) -> float | None:
    """A number after a step; None where the run had diverged by then, or its record is not there."""
    point = run.points.get(step)
    return None if point is None else read(point)


def along_training(
    runs: Sequence[Mapping[str, Run]],
    own: Arms,
    other: Arms,
    rates: Sequence[float],
    loss: Reader,
    value: Reader,
    other_value: Reader | None = None,
) -> dict[str, list[float | None]]:
    """log10(own/other) at every place, one number a seed: the mean over ``rates`` (:func:`means_over`).

    other_value: how the number is read off the other arm, where not as off the own one. A frozen twin is the own arm
    read otherwise: it has the same loss at every point.
    """
    read = other_value or value
    found = [[_at_places(seed[own[r]], seed[other[r]], loss, value, read) for seed in runs] for r in rates]
    return {place: means_over([[at[place] for at in seeds] for seeds in found], len(runs)) for place in PLACES}


def at_common_losses(effects: Mapping[str, Sequence[float | None]]) -> list[float | None]:
    """Of :func:`along_training`: the mean over the losses that both arms went through, seed after seed; None where one
    is missing."""
    return means_over_places({place: effects[place] for place in EQUAL_LOSSES})


def _at_places(left: Run, right: Run, loss: Reader, value: Reader, other: Reader) -> dict[str, float | None]:
    found: dict[str, float | None] = dict.fromkeys(PLACES)
    for place, step in ((PLACES[0], left.after_start[0]), (PLACES[-1], left.after_start[-1])):
        found[place] = log_ratio(number_at(left, step, value), number_at(right, step, other))
    (losses, values), (other_losses, others) = _curve(left, loss, value), _curve(right, loss, other)
    if not losses or not other_losses:
        return found
    for place, x in zip(EQUAL_LOSSES, common_losses([losses, other_losses], len(EQUAL_LOSSES)), strict=False):
        found[place] = log_ratio(at_loss(losses, values, x), at_loss(other_losses, others, x))
    return found


def _curve(run: Run, loss: Reader, value: Reader) -> tuple[list[float], list[float | None]]:
    """(losses, values) in the order of the steps after the start."""
    points = [run.points[step] for step in run.after_start if step in run.points]
    known = [(x, value(point)) for point in points if (x := loss(point)) is not None]
    return [x for x, _ in known], [v for _, v in known]


# -- checks ------------------------------------------------------------------------------------------------------------


def along(
    study: Study,
    what: str,
    effects: Mapping[str, Sequence[float | None]],
    rates: Rates,
    scope: str,
    *,
    confidence: float,
    margin: float,
) -> list[Check]:
    """The decisive check that log10 of ``what`` is below 0 along training, and the effect at every place beside it.

    Decisive is the mean over all places after the start. Where the effect has opposite signs, beyond intervals at
    ``confidence``, at two of them, a mean would mix both sides: then the two places decide, each for itself. So there
    are at most two decisive checks.
    """
    later = {place: effects[place] for place in AFTER_START}
    crossing = None if rates.not_comparable else course(later, confidence).crossing
    chosen = (
        {f"log10 of {what}, at {place}": later[place] for place in crossing}
        if crossing
        else {f"log10 of {what}, mean along training": means_over_places(later)}
    )
    if crossing:
        scope = f"{scope}; the effect changes sign between {crossing[0]} and {crossing[1]}"
    decisive = [
        rates.check(study, name, values, "below", scope, confidence=confidence, margin=margin)
        for name, values in chosen.items()
    ]
    return [*decisive, *beside(study, what, effects, rates, scope, margin=margin)]


def beside(
    study: Study,
    what: str,
    effects: Mapping[str, Sequence[float | None]],
    rates: Rates,
    scope: str,
    *,
    side: Side = "below",
    margin: float | None = None,
) -> list[Check]:
    """log10 of ``what`` at every place: what decides nothing and shows the course, with its crossing where there is
    one."""
    crossing = None if rates.not_comparable else course(effects).crossing
    if crossing:
        scope = f"{scope}; crossing: opposite signs at {crossing[0]} and at {crossing[1]}"
    return [
        rates.check(study, f"log10 of {what}, at {place}", values, side, scope, decisive=False, margin=margin)
        for place, values in effects.items()
    ]


def from_the_edge(
    study: Study, what: str, runs: Sequence[Mapping[str, Run]], arms: Arms, rates: Rates, top: Reader, scope: str
) -> Check:
    """log10 of eta lambda_max/2 at the end, the mean over the rates: below 0 descent is stable, at 0 it is at the edge
    of stability."""
    numbers = over_the_edge(runs, arms, rates, top)
    name = f"log10 of learning rate times largest eigenvalue over 2, {what}, at the end: below the edge of stability"
    return rates.check(study, name, numbers, "below", scope, decisive=False)


def over_the_edge(runs: Sequence[Mapping[str, Run]], arms: Arms, rates: Rates, top: Reader) -> list[float | None]:
    """log10 of eta lambda_max/2 at the end, the mean over the rates, seed after seed."""
    by_rate = [[log_ratio(end_of(seed[arms[rate]], top), 2 / rate) for seed in runs] for rate in rates.used]
    return means_over(by_rate, len(runs))


def means_over(values: Sequence[Sequence[float | None]], seeds: int) -> list[float | None]:
    """The mean over rates (or steps), each with one number a seed, seed after seed: over the same ones in every seed.

    Those are the ones that have a number in every seed; where there is none, all that have one in any, and a seed that lacks one of
    them has no mean.
    """
    whole = [of for of in values if all(x is not None for x in of)]
    given = whole or [of for of in values if any(x is not None for x in of)]
    return means_over_places({str(i): of for i, of in enumerate(given)}) if given else [None] * seeds


def means_over_places(effects: Mapping[str, Sequence[float | None]]) -> list[float | None]:
    """The mean over the places, seed after seed.

    None where one is not known: a mean over the others would be of something else than that of the other seeds.
    """
    return [
        None if any(x is None or not math.isfinite(x) for x in values) else mean_of_known(values)
        for values in zip(*effects.values(), strict=True)
    ]

"""The kinds of number that a comparison takes from the runs of one network: by place along training, one a seed.

Everything here is a pure function of records. Within a seed arms share initial values and batches, so numbers are
paired; what is read at several learning rates is averaged over them (:mod:`bntheory.experiments.equal_rates`), which
leaves one number a seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bntheory.evidence.curves import course, log_ratio
from bntheory.experiments.equal_rates import (
    Arms,
    Rates,
    Reader,
    along_training,
    common_rates,
    end_of,
    means_over,
    means_over_places,
    number_at,
    over_the_edge,
)
from bntheory.experiments.network_runs import NetworkRuns
from bntheory.experiments.quantities import quantity
from bntheory.experiments.runs import Run

Read = Callable[[NetworkRuns], "Numbers"]
#: The measures that know lambda_max.
_CURVATURE = ("sharpness", "linearity")


@dataclass(frozen=True)
class Numbers:
    """By place, one number a seed in the order of the seeds (None: it gave none).

    deciding: the places that decide; the others show the course. scope: at which learning rates, in words. arms,
    measures: of the records behind the numbers. why: not comparable, else empty. picked_from: how many places the two that
    decide, a crossing, were picked from by what they say (0: those that decide were named beforehand).
    """

    places: Mapping[str, Sequence[float | None]]
    deciding: tuple[str, ...]
    scope: str
    arms: tuple[str, ...]
    measures: tuple[str, ...]
    why: str = ""
    picked_from: int = 0


def over_twin(name: str, own: str = "own", twin: str = "twin") -> Read:
    """log10 of a quantity of the network (or of a twin) over another twin's, at the same weights, after every step at
    which both are known.

    Its mean over the steps after the start decides, of the seeds at which it is known after each of them; where it changes sign between
    two of them, these two do.
    """

    def read(network: NetworkRuns) -> Numbers:
        rates = _rates(network, network.at_rates("batchnorm"))
        arms = [network.at_rates("batchnorm")[rate] for rate in rates.used]
        arms = [arm for arm in arms if any(quantity(p, name, twin) is not None for p in network.points(arm))]
        found: dict[str, list[float | None]] = {}
        for step in network.steps:
            by_rate = [
                [
                    log_ratio(*(number_at(run[arm], step, _reader(name, of)) for of in (own, twin)))
                    for run in network.runs
                ]
                for arm in arms
            ]
            values = means_over(by_rate, len(network.runs))
            if any(x is not None for x in values):
                found[f"step {step}"] = values
        later = {place: values for place, values in found.items() if place != "step 0"}
        crossing = course(later).crossing
        if later:
            mean = f"mean of steps {', '.join(place.removeprefix('step ') for place in later)}"
            found[mean] = means_over_places(later)
        deciding = crossing or tuple(found)[-1:]
        scope = "learning rates " + ", ".join(f"{network.arms[arm]:g}" for arm in arms)
        picked = len(later) if crossing else 0
        return Numbers(found, deciding, scope, tuple(arms), ("linearity", "sharpness"), rates.not_comparable, picked)

    return read


def at_equal_rates(name: str, kind: str, other: str) -> Read:
    """log10 of a quantity of one arm over another's along training, over all rates at which both train.

    The start, the middle one of the losses that both went through, and the end decide.
    """

    def read(network: NetworkRuns) -> Numbers:
        arms = _both(network, kind, other)
        rates = _rates(network, *arms)
        found = along_training(network.runs, *arms, rates.used, _reader("loss"), _reader(name))
        places = list(found)
        deciding = tuple(dict.fromkeys(places[i] for i in (0, len(places) // 2, -1))) if places else ()
        return _numbers(found, rates, arms, _CURVATURE, deciding)

    return read


def at_the_end(name: str, kind: str, other: str, *, ratio: bool = True) -> Read:
    """log10 of a quantity of one arm over another's after the last step (or their difference), the mean over all rates
    at which both train."""
    compare = log_ratio if ratio else _difference

    def read(network: NetworkRuns) -> Numbers:
        arms = _both(network, kind, other)
        rates = _rates(network, *arms)
        by_rate = [
            [compare(*(end_of(run[of[rate]], _reader(name)) for of in arms)) for run in network.runs]
            for rate in rates.used
        ]
        values = means_over(by_rate, len(network.runs))
        return _numbers({"the end": values}, rates, arms, ("accuracy",))

    return read


def rises(kind: str, other: str = "") -> Read:
    """d log lambda_max / d log loss along a run after the start: below 0, the curvature rises as the loss falls. Or the
    difference of two arms'.

    One slope for all rates at which the arms train, each with an intercept of its own, by least squares: a rate at
    which the loss hardly moves says little about it.
    """

    def read(network: NetworkRuns) -> Numbers:
        arms = [network.at_rates(k) for k in (kind, other) if k]
        rates = _rates(network, *arms)
        values: list[float | None] = []
        for run in network.runs:
            slopes = [_slope([run[of[rate]] for rate in rates.used]) for of in arms]
            known = [s for s in slopes if s is not None]
            values.append(None if len(known) < len(arms) else known[0] - sum(known[1:]))
        return _numbers({"along training": values}, rates, arms, _CURVATURE)

    return read


def from_the_edge(kind: str) -> Read:
    """log10 of the learning rate times lambda_max over 2 after the last step: below 0 descent is stable, at 0 it is at
    the edge of stability."""

    def read(network: NetworkRuns) -> Numbers:
        arms = network.at_rates(kind)
        rates = _rates(network, arms)
        values = over_the_edge(network.runs, arms, rates, _reader("top"))
        return _numbers({"the end": values}, rates, [arms], _CURVATURE)

    return read


def shift_by_halves(name: str) -> Read:
    """log10 of batch norm's covariate shift over the standard network's: the mean over the first half of the measured
    steps, and the second."""

    def read(network: NetworkRuns) -> Numbers:
        kinds = "batchnorm", "standard"
        arms = [{network.rate: kind} for kind in kinds]
        rates = _rates(network, *arms)
        steps = [step for step in network.steps if step > 0] if rates.used else []
        half = (len(steps) + 1) // 2

        found = {}
        for part in filter(None, (steps[:half], steps[half:])):
            place = f"steps {part[0]} to {part[-1]}" if len(part) > 1 else f"step {part[0]}"
            by_step = [
                [log_ratio(*(number_at(run[kind], step, _reader(name)) for kind in kinds)) for run in network.runs]
                for step in part
            ]
            found[place] = means_over(by_step, len(network.runs))
        return Numbers(found, tuple(found), rates.scope, kinds, ("shift",), rates.not_comparable)

    return read


def times_chance(share: str) -> Read:
    """log10 of a share of a layer's gradient over what chance gives, 1/m: the mean of share m over the layers, after
    every measured step."""

    def read(network: NetworkRuns) -> Numbers:
        values: list[float | None] = []
        for run in network.runs:
            shares = [
                s * layer["m"]
                for step, point in run["batchnorm"].points.items()
                if step > 0
                for layer in point["layers"]
                if (s := layer["split"][share]) is not None
            ]
            values.append(math.log10(float(np.mean(shares))) if shares and np.mean(shares) > 0 else None)
        place = "all steps"
        return Numbers({place: values}, (place,), f"rate {network.rate:g}", ("batchnorm",), ("theory",))

    return read


def _both(network: NetworkRuns, kind: str, other: str) -> tuple[Arms, Arms]:
    """The arms of both kinds at the rates at which both were asked for."""
    left, right = network.at_rates(kind), network.at_rates(other)
    rates = left.keys() & right.keys()
    return {r: left[r] for r in rates}, {r: right[r] for r in rates}


def _rates(network: NetworkRuns, *arms: Arms) -> Rates:
    return common_rates(network.runs, arms, _reader("training_loss"), network.guessing_loss, "training_loss")


def _numbers(
    places: Mapping[str, Sequence[float | None]],
    rates: Rates,
    arms: Sequence[Arms],
    measures: tuple[str, ...],
    deciding: tuple[str, ...] | None = None,
) -> Numbers:
    """Numbers made at these rates; all places decide where ``deciding`` does not say which."""
    names = tuple(of[rate] for of in arms for rate in rates.used)
    chosen = tuple(places) if deciding is None else deciding
    return Numbers(places, chosen, rates.scope, names, measures, rates.not_comparable)


def _reader(name: str, of: str = "own") -> Reader:
    return lambda point: quantity(point, name, of)


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _slope(runs: Sequence[Run]) -> float | None:
    """The common slope of log lambda_max over log loss; None where no run has three points."""
    along = across = 0.0
    for run in runs:
        known = [
            (math.log(loss), math.log(top))
            for step in run.after_start
            if (loss := number_at(run, step, _reader("loss"))) is not None
            and (top := number_at(run, step, _reader("top"))) is not None
            and min(loss, top) > 0
        ]
        if len(known) < 3:
            continue
        x, y = (np.array(column) - np.mean(column) for column in zip(*known, strict=True))
        along, across = along + float(x @ x), across + float(x @ y)
    return across / along if along > 0 else None

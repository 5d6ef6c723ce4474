"""Santurkar et al. 2018, figures 3 and 4: covariate shift, and smoothness along the gradient, at equal steps of
training.

The networks, their training and the steps at which they are looked at are those of figures 1 and 2
(:mod:`bntheory.claims.sources.santurkar2018.figure_1`). At a step everything is measured on the batch of that step, in
training mode. All quantities are in absolute units, as printed: a rescaled loss changes them, and a network on a
plateau looks smooth. So the same numbers against the frozen-statistics twin, and against the standard network at equal
loss, are shown beside; they decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.santurkar2018.figure_1 import (
    KEY,
    SCALED_DOWN,
    looks_of,
    protocol_of,
    runs_of,
    scope_of,
    vgg,
)
from bntheory.evidence.checks import Check
from bntheory.evidence.comparable import guessing_loss, why_not_comparable
from bntheory.evidence.counts import counted
from bntheory.evidence.looks import Looks
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import (
    CLASSIFICATION,
    FIRST_JUDGED,
    Protocol,
    Run,
    check_of,
    difference_at_equal_loss,
    each_seed,
    mean_difference,
    training_point,
    until_decided,
)
from bntheory.experiments.toy_runs import toy_runs
from bntheory.experiments.toys import SHIFT

_AVERAGED = (
    "the mean of log10 of BN's over the standard network's at evenly spaced steps after the first, one number a seed"
)


def _along(run: Run, quantity: str, *, twin: bool = False) -> dict[int, float | None]:
    """A quantity along the gradient at the recorded steps after the first; None where the run had diverged, or it
    overflowed."""
    place = "twin_walk" if twin else "walk"
    walks = {step: run.points.get(step, {}).get(place) for step in run.after_start}
    return {step: None if walk is None else _of(walk, quantity) for step, walk in walks.items()}


def _of(walk: Mapping[str, Any], quantity: str) -> float | None:
    value = walk["loss"] if quantity == "loss" else walk["along"][quantity]
    return None if value is None else float(value)


def _smoothness(study: Study, quantity: str, name: str) -> list[Check]:
    protocol = protocol_of(study)

    def read(seeds: int, confidence: float) -> list[Check]:
        runs = runs_of(study, [vgg("batch"), vgg("none")], protocol, seeds, f"figure 4, {name}")
        return _smoothness_checks(study, runs, quantity, name, scope_of(protocol), confidence)

    return until_decided(study, looks_of(study, 1), read)


def _smoothness_checks(
    study: Study, runs: Sequence[Mapping[str, Run]], quantity: str, name: str, scope: str, confidence: float
) -> list[Check]:
    standard, twin, equal = [], [], []
    for r in runs:
        own, other = (_along(r[arm], quantity) for arm in ("batch", "none"))
        losses, other_losses = (_along(r[arm], "loss") for arm in ("batch", "none"))
        standard.append(mean_difference(own, other, log=True))
        twin.append(mean_difference(own, _along(r["batch"], quantity, twin=True), log=True))
        equal.append(difference_at_equal_loss(own, other, losses, other_losses))
    return [
        check_of(
            study,
            f"log10 of {name}, BN over standard, equal steps",
            standard,
            "below",
            0.0,
            scope,
            confidence=confidence,
        ),
        check_of(
            study, f"log10 of {name}, BN over its frozen twin, same point", twin, "below", 0.0, scope, decisive=False
        ),
        check_of(
            study,
            f"log10 of {name}, BN over standard, equal loss",
            equal,
            "below",
            0.0,
            f"{scope}; BN's steps whose loss the standard network also had",
            decisive=False,
        ),
    ]


_ALONG = f"steps of 1/2 to 4 times the learning rate 0.1 along the gradient, same batch; {_AVERAGED}; {SCALED_DOWN}"
_ABSOLUTE = (
    "In absolute units, as printed. Beside it: the frozen-statistics twin, which contains all that rescaling does, and the standard "
    "network at equal loss, since a network on a plateau looks smooth."
)


@claim(
    "santurkar2018.figure-4.loss-variation",
    kind="experiment",
    source=Source(KEY, "Figure 4(a)", "arXiv v3"),
    statement=r"\text{the loss varies less along the gradient with batch normalisation}",
    reading=f"range of the loss; {_ALONG}",
    note=_ABSOLUTE,
)
def loss_variation(study: Study) -> list[Check]:
    return _smoothness(study, "loss_range", "the range of the loss along the gradient")


@claim(
    "santurkar2018.figure-4.gradient-predictiveness",
    kind="experiment",
    source=Source(KEY, "Figure 4(b)", "arXiv v3"),
    statement=r"\text{the gradient changes less along itself with batch normalisation}",
    reading=rf"range of ||grad(theta) - grad(theta - s grad)||; {_ALONG}",
    note=_ABSOLUTE,
)
def gradient_predictiveness(study: Study) -> list[Check]:
    return _smoothness(study, "gradient_range", "the range of the gradient's change along the gradient")


@claim(
    "santurkar2018.figure-4.effective-beta",
    kind="experiment",
    source=Source(KEY, "Figure 4(c)", "arXiv v3"),
    statement=r"\text{the effective } \beta \text{-smoothness along the gradient is better (smaller) with batch normalisation}",
    reading=f"largest change of the gradient over the distance moved; {_ALONG}",
    note=_ABSOLUTE,
)
def effective_smoothness(study: Study) -> list[Check]:
    return _smoothness(study, "effective_beta", "the effective beta along the gradient")


# -- figure 3 ---------------------------------------------------------------------------------------------------------

Shift = Mapping[int, tuple[float, float, float]]
"""By step: the shift's l2, 1 - cosine, and l2 over the gradient's norm, each summarised over the layers after the
first."""
DEEP_LINEAR_RATE = 0.1
#: Smaller by less than this factor is not reduced.
FACTOR = 1.25


def summarise_layers(l2: list[float], cosines: list[float], norms: list[float]) -> tuple[float, float, float]:
    """Geometric mean of the shifts, mean of 1 - cosine, geometric mean of the shifts over the gradients' norms; layers
    after the first."""
    turns = [1 - c for c in cosines]
    relative = [a / n if n > 0 else math.nan for a, n in zip(l2, norms, strict=True)]
    return _geometric(l2), sum(turns) / len(turns) if turns else math.nan, _geometric(relative)


def _geometric(values: list[float]) -> float:
    if not values or not all(v > 0 for v in values):
        return math.nan
    return math.exp(sum(math.log(v) for v in values) / len(values))


def _shift(run: Run) -> Shift:
    found = dict.fromkeys(run.after_start, (math.nan,) * 3)
    for step in run.after_start:
        shift = run.points.get(step, {}).get("step_shift")
        if shift is not None:
            l2, cosines, norms = (
                [math.nan if x is None else x for x in shift[key][1:]] for key in ("l2", "cosine", "gradient_norm")
            )
            found[step] = summarise_layers(l2, cosines, norms)
    return found


def _deep_linear(normalise: bool, samples: int) -> Arm:
    """25 layers of 10 x 10."""
    size = {"layers": 25, "width": 10, "samples": samples, "normalise": normalise}
    return Arm("deep-linear", "batch" if normalise else "none", "deep-linear", size, DEEP_LINEAR_RATE)


def _shift_checks(
    study: Study, pairs: Sequence[tuple[Shift, Shift]], what: str, scope: str, confidence: float
) -> list[Check]:
    """BN's shift over the standard network's, three measures of it, from (BN, standard) of every seed: not smaller than
    by the factor."""
    bound = -math.log10(FACTOR)
    measures: list[tuple[str, list[float | None]]] = []
    for index, name in enumerate(("the shift's l2 norm", "the shift's 1 - cosine", "the shift over the gradient")):
        numbers = []
        for pair in pairs:
            own, other = ({step: values[index] for step, values in side.items()} for side in pair)
            numbers.append(mean_difference(own, other, log=True))
        measures.append((f"log10 of {name}, BN over standard, {what}", numbers))
    return [
        *(
            check_of(
                study, f"{name}: not reduced by a factor {FACTOR:g}", numbers, "above", bound, scope,
                confidence=confidence,
            )
            for name, numbers in measures[:2]
        ),
        *(
            check_of(study, f"{name}: increased", numbers, "above", 0.0, scope, decisive=False)
            for name, numbers in measures
        ),
    ]  # fmt: skip


@claim(
    "santurkar2018.figure-3.covariate-shift",
    kind="experiment",
    source=Source(KEY, "Figure 3", "arXiv v3"),
    statement=r"\text{batch normalisation does not reduce internal covariate shift (Definition 2.1); often it increases it}",
    reading=(
        f"not reduced: ||G - G'|| and 1 - cosine of G and G' are with BN at least 1/{FACTOR:g} of what they are without, averaged over the layers "
        f"after the first, for the update of the step on its own batch; {_AVERAGED}; in {SCALED_DOWN}, and in a deep linear network of 25 layers "
        "of 10 x 10, full-batch gradient descent on Gaussian inputs and a linear target; learning rate 0.1 in both. That the shift is larger is "
        "shown beside"
    ),
    note=(
        "At equal learning rates, as printed: the shift is proportional to the rate and to the gradient's scale, so the shift over the "
        "gradient's norm is shown beside. The deep linear network's rate is this project's choice, and so is the factor. A seed in which the "
        "standard VGG has not trained by the end says nothing and is left out: where nothing is learned, nothing shifts."
    ),
)
def covariate_shift_not_reduced(study: Study) -> list[Check]:
    protocol = shift_protocol(study)
    samples = study.choose(quick=256, normal=1000, thorough=1000)
    steps = Protocol.even(min(protocol.steps, 480), study.choose(quick=4, normal=6, thorough=10)).record

    def read(seeds: int, confidence: float) -> list[Check]:
        runs = each_seed(
            study,
            [vgg("batch"), vgg("none")],
            protocol,
            seeds,
            "figure 3",
            lambda arm: (Measure("step-shift"), replace(CLASSIFICATION, at=(protocol.steps,))),
            first=FIRST_JUDGED,
        )
        deep_runs = toy_runs(
            study,
            [_deep_linear(True, samples), _deep_linear(False, samples)],
            steps[1:],
            seeds,
            "figure 3, deep linear network",
            first=FIRST_JUDGED,
            measure=SHIFT,
        )
        pairs = [(_shift(r["batch"]), _shift(r["none"])) if _trained(r["none"]) else ({}, {}) for r in runs]
        deep = [(_shift(r["batch"]), _shift(r["none"])) for r in deep_runs]
        scope = f"25 layers of 10 x 10, {samples} samples, {steps[-1]} steps at learning rate {DEEP_LINEAR_RATE:g}"
        for name, arm in (("BN", "batch"), ("standard", "none")):
            stopped = sum(r[arm].diverged_at is not None for r in deep_runs)
            if stopped:
                scope += f"; {counted(stopped, f'{name} run')} diverged, left out"
        return [
            *_shift_checks(study, pairs, "VGG", scope_of(protocol), confidence),
            *_shift_checks(study, deep, "deep linear network", scope, confidence),
        ]

    sizes = study.choose(quick=(3,), normal=(6, 12), thorough=(12, 24, 48))
    return until_decided(study, Looks(sizes, checks=4), read)


def shift_protocol(study: Study) -> Protocol:
    """As figures 1 and 2, looked at more often: the shift of one step differs much from that of another."""
    steps, points = study.choose(quick=(120, 6), normal=(240, 16), thorough=(1500, 50))
    return Protocol.even(steps, points)


def _trained(run: Run) -> bool:
    loss = training_point(run, run.protocol.steps)[0] if run.diverged_at is None else None
    return not why_not_comparable({run.arm.name: loss}, guessing_loss(round(1 / run.chance)))

"""A model with batch normalisation against its controls: the frozen twin at the same point, other arms at equal
learning rates.

The same for trained networks and for the toys: a recorded point holds the measure "linearity" of
:mod:`bntheory.experiments.measures.linearity`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bntheory.claims.claim import Study
from bntheory.evidence.checks import Check
from bntheory.experiments.equal_rates import (
    Arms,
    Rates,
    Reader,
    along,
    along_training,
    beside,
    common_rates,
    from_the_edge,
)
from bntheory.experiments.runs import Json, Run

#: A mean ratio between 1/1.25 and 1.25 is too small to matter.
EQUIVALENT_RATIO = 1.25
EQUIVALENT = math.log10(EQUIVALENT_RATIO)
DOMAIN_READING = (
    "'it' is that batch normalisation lowers the curvature of the loss along training beyond what its scaling does. Decisive: the "
    "relative curvature lambda_max f/||grad f||^2, which no rescaling of the loss or of all parameters by one factor changes, against the "
    "frozen-statistics twin at the same point: log10 of the ratio, averaged over three falling losses and the end and over the learning "
    "rates at which the model with batch normalisation trains, one number a seed; where the effect changes sign on the way, the two "
    f"places decide apart; a mean ratio between 1/{EQUIVALENT_RATIO:g} and {EQUIVALENT_RATIO:g} is 'equivalent'. Beside it, deciding "
    "nothing: lambda_max against the twin, and both against the standard model at equal learning rates, over those at which both "
    "train, at the start, at equal losses and at the end"
)


def number(key: str, of: str = "own") -> Reader:
    """Reads a number of the arm itself, or of one of its twins, off a point; None where it was refused."""
    return lambda point: point["linearity"][of].get(key)


def relative(curvature: str, of: str = "own") -> Reader:
    """A curvature times f/||grad f||^2 (f* = 0): no rescaling of the loss or of all parameters by one factor changes
    it."""

    def read(point: Json) -> float | None:
        found = point["linearity"][of]
        if found["refused"]:
            return None
        return float(found[curvature]) * float(found["loss"]) / float(found["gradient_norm"]) ** 2

    return read


LOSS = number("loss")
_Read = Callable[[str], Reader]


@dataclass(frozen=True)
class Compared:
    """The runs of one model.

    arms: by normalisation, the name at each rate. guessing: the loss of guessing, None for that of classes.
    """

    study: Study
    what: str
    runs: Sequence[Mapping[str, Run]]
    arms: Mapping[str, Arms]
    scope: str
    guessing: float | None = None

    def rates(self, *norms: str) -> Rates:
        """Those at which all of these arms trained."""
        return common_rates(self.runs, [self.arms[norm] for norm in norms], LOSS, self.guessing)

    def over_twin(self, read: _Read, of: str = "twin") -> dict[str, list[float | None]]:
        """log10 of what is read of the network over what is read of its twin, by place."""
        own, used = self.arms["batch"], self.rates("batch").used
        return along_training(self.runs, own, own, used, LOSS, read("own"), read(of))

    def over(self, read: _Read, norm: str = "none", own: str = "batch") -> dict[str, list[float | None]]:
        """log10 of what is read of one arm over what is read of another at equal learning rates, by place."""
        used = self.rates(own, norm).used
        return along_training(self.runs, self.arms[own], self.arms[norm], used, LOSS, read("own"))

    def shown(self, label: str, effects: Mapping[str, Sequence[float | None]], *norms: str) -> list[Check]:
        """An effect at every place, deciding nothing."""
        return beside(self.study, f"{label}, {self.what}", effects, self.rates(*norms), self.scope, margin=EQUIVALENT)

    def decisive(
        self, label: str, effects: Mapping[str, Sequence[float | None]], confidence: float, *norms: str
    ) -> list[Check]:
        """An effect along training, decisive, and at every place."""
        what, rates = f"{label}, {self.what}", self.rates(*norms)
        return along(self.study, what, effects, rates, self.scope, confidence=confidence, margin=EQUIVALENT)

    def edges(self) -> list[Check]:
        """How far every arm is from the edge of stability at its end."""
        return [
            from_the_edge(
                self.study, f"{self.what}, {norm}", self.runs, of, self.rates("batch", norm), number("top"), self.scope
            )
            for norm, of in self.arms.items()
        ]


def beyond_scaling(model: Compared, confidence: float) -> list[Check]:
    """Whether the curvature along training is lower than scaling alone makes it: the twin decides, the rest stands
    beside."""
    curvature, free = (lambda of: number("top", of)), (lambda of: relative("top", of))
    standard = "the standard model's at equal learning rate"
    return [
        *model.decisive("the relative curvature over the frozen twin's", model.over_twin(free), confidence, "batch"),
        *model.shown("the largest Hessian eigenvalue over the frozen twin's", model.over_twin(curvature), "batch"),
        *model.shown(f"the relative curvature over {standard}", model.over(free), "batch", "none"),
        *model.shown(f"the largest Hessian eigenvalue over {standard}", model.over(curvature), "batch", "none"),
        *model.edges(),
    ]

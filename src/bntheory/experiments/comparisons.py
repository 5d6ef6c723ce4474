"""The comparisons that every run makes, as a table: a statement, a control, a number, a direction, a margin.

Margins and thresholds stand here and were chosen before records existed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bntheory.evidence.decision import Side
from bntheory.experiments.effects import (
    Read,
    at_equal_rates,
    at_the_end,
    from_the_edge,
    over_twin,
    rises,
    shift_by_halves,
    times_chance,
)

__all__ = ["COMPARISONS", "QUESTIONS", "Comparison"]

#: Effects on curvature, and on a loss, that are too small to matter, as factors.
CURVATURE_MARGIN, LOSS_MARGIN = math.log10(1.25), math.log10(1.05)

#: From this factor on, a share is more than chance by as much as matters.
MORE_THAN_CHANCE = math.log10(1.5)

#: The discussion's questions, in the order of the report.
QUESTIONS: Mapping[str, str] = {
    "smoother": "Does batch norm smooth, and by which of its statistics?",
    "scaling": "Is it more than scaling?",
    "standard": "Is the network smoother than without batch norm, at equal learning rates?",
    "sharpening": "Does the curvature rise as the loss falls?",
    "help": "Does it help, and is it the gradient through the statistics that helps?",
    "shift": "Does it reduce internal covariate shift?",
    "affine": "Is what γ and β take off the gradient more than chance?",
    "relu": "What does ReLU change?",
}


@dataclass(frozen=True)
class Comparison:
    """One statement put to every network of a run.

    name: stable. question: a key of QUESTIONS. claims: ids that the answer bears on. statement: in words, so that "supported" is an answer to it.
    control: what batch norm is compared with. read: the numbers. claim, threshold: supported where the interval lies ``claim`` the
    threshold. margin: an effect so close to the threshold is too small to matter. unit: "ratio" for log10 of ratios. decisive:
    whether places decide or only illustrate; a place after step 0 never does, for nothing has been trained there.
    """

    name: str
    question: str
    claims: tuple[str, ...]
    statement: str
    control: str
    read: Read
    claim: Side
    threshold: float = 0.0
    margin: float | None = None
    unit: Literal["ratio", "slope", "difference"] = "ratio"
    decisive: bool = True


_SCALING = "lesswrong2019.more-than-scaling"
_TWIN = "its frozen twin"
_STANDARD = "standard network at equal rates"
_PARTIAL = "bntheory2026.partial-twins"
_DETACHED = "bntheory2026.detached-statistics."
_SHARPENING = "bntheory2026.progressive-sharpening"
_SHIFT = "santurkar2018.figure-3.covariate-shift"

COMPARISONS: tuple[Comparison, ...] = (
    Comparison(
        "top-eigenvalue.twin",
        "smoother",
        ("lesswrong2019.two-lipschitz.batchnorm-reduces.network",),
        "λ_max is lower than the twin's",
        _TWIN,
        over_twin("top"),
        "below",
        margin=CURVATURE_MARGIN,
    ),
    Comparison(
        "top-eigenvalue.mean-or-variance",
        "smoother",
        (_PARTIAL,),
        "the mean alone lowers λ_max more than the variance alone",
        "twin, variance alive",
        over_twin("top", "mean-alive", "variance-alive"),
        "below",
        margin=CURVATURE_MARGIN,
    ),
    Comparison(
        "top-eigenvalue.mean",
        "smoother",
        (_PARTIAL,),
        "the mean alone lowers λ_max",
        _TWIN,
        over_twin("top", "mean-alive"),
        "below",
        margin=CURVATURE_MARGIN,
        decisive=False,
    ),
    Comparison(
        "top-eigenvalue.variance",
        "smoother",
        (_PARTIAL,),
        "the variance alone lowers λ_max",
        _TWIN,
        over_twin("top", "variance-alive"),
        "below",
        margin=CURVATURE_MARGIN,
        decisive=False,
    ),
    Comparison(
        "relative-curvature.twin",
        "scaling",
        (_SCALING,),
        "the scale-free curvature λ_max·L/‖∇L‖² is lower than the twin's",
        _TWIN,
        over_twin("relative_curvature"),
        "below",
        margin=CURVATURE_MARGIN,
    ),
    Comparison(
        "linearity-error.twin",
        "scaling",
        (_SCALING,),
        "the linear prediction of a step that should remove a tenth of the loss errs less than the twin's",
        _TWIN,
        over_twin("linearity_error"),
        "below",
        margin=CURVATURE_MARGIN,
    ),
    Comparison(
        "gradient-norm.twin",
        "scaling",
        (),
        "the gradient norm is lower than the twin's",
        _TWIN,
        over_twin("gradient_norm"),
        "below",
        margin=CURVATURE_MARGIN,
        decisive=False,
    ),
    Comparison(
        "top-eigenvalue.standard",
        "standard",
        ("lesswrong2019.two-lipschitz.batchnorm-reduces.network",),
        "λ_max is lower than without batch norm",
        _STANDARD,
        at_equal_rates("top", "batchnorm", "standard"),
        "below",
        margin=CURVATURE_MARGIN,
    ),
    *(
        Comparison(
            f"edge.{kind}",
            "standard",
            (),
            f"{words} batch norm descent ends below the edge of stability: ηλ_max < 2",
            "the edge, 2",
            from_the_edge(kind),
            "below",
            margin=CURVATURE_MARGIN,
            decisive=False,
        )
        for kind, words in (("batchnorm", "with"), ("standard", "without"))
    ),
    Comparison(
        "sharpening.standard",
        "sharpening",
        (_SHARPENING,),
        "without batch norm λ_max rises as the loss falls",
        "no change",
        rises("standard"),
        "below",
        unit="slope",
    ),
    Comparison(
        "sharpening.batchnorm",
        "sharpening",
        (_SHARPENING,),
        "with batch norm λ_max rises as the loss falls",
        "no change",
        rises("batchnorm"),
        "below",
        unit="slope",
    ),
    Comparison(
        "sharpening.difference",
        "sharpening",
        (_SHARPENING,),
        "it rises less with batch norm than without",
        _STANDARD,
        rises("batchnorm", "standard"),
        "above",
        unit="slope",
    ),
    Comparison(
        "loss.standard",
        "help",
        (),
        "training ends at a lower loss than without batch norm",
        _STANDARD,
        at_the_end("training_loss", "batchnorm", "standard"),
        "below",
        margin=LOSS_MARGIN,
    ),
    Comparison(
        "loss.rescaled",
        "help",
        (_SCALING,),
        "it ends lower than without batch norm on a loss rescaled to the same initial gradient",
        "standard network, loss rescaled",
        at_the_end("training_loss", "batchnorm", "rescaled"),
        "below",
        margin=LOSS_MARGIN,
    ),
    Comparison(
        "loss.detached",
        "help",
        (_DETACHED + "both",),
        "the gradient through the statistics helps: it ends lower than with detached ones",
        "detached statistics",
        at_the_end("training_loss", "batchnorm", "detached"),
        "below",
        margin=LOSS_MARGIN,
    ),
    Comparison(
        "loss.detached-over-standard",
        "help",
        (_DETACHED + "forward-alone",),
        "the forward pass helps by itself: detached, it ends lower than without batch norm",
        _STANDARD,
        at_the_end("training_loss", "detached", "standard"),
        "below",
        margin=LOSS_MARGIN,
    ),
    Comparison(
        "loss.detached-mean-or-variance",
        "help",
        (_DETACHED + "mean",),
        "detaching the mean costs more than detaching the variance",
        "variance detached",
        at_the_end("training_loss", "detached-mean", "detached-variance"),
        "above",
        margin=LOSS_MARGIN,
    ),
    Comparison(
        "accuracy.standard",
        "help",
        (),
        "held-out accuracy is higher than without batch norm",
        _STANDARD,
        at_the_end("test_accuracy", "batchnorm", "standard", ratio=False),
        "above",
        margin=0.01,
        unit="difference",
        decisive=False,
    ),
    *(
        Comparison(
            f"covariate-shift.{key}",
            "shift",
            (_SHIFT,),
            f"covariate shift by {words} is not reduced by more than a fifth",
            "standard network at the same rate",
            shift_by_halves(f"shift_{key}"),
            "above",
            threshold=-CURVATURE_MARGIN,
        )
        for key, words in (("l2", "length"), ("angle", "angle"))
    ),
    Comparison(
        "affine-share.y-hat",
        "affine",
        ("santurkar2018.theorem-4.1.reduction-persists",),
        "the share of ŷ in a layer's gradient on this batch is above 1.5 times that of a random one, 1/m",
        "chance",
        times_chance("share_y_hat"),
        "above",
        threshold=MORE_THAN_CHANCE,
    ),
    Comparison(
        "affine-share.mean",
        "affine",
        ("santurkar2018.theorem-4.1.reduction-persists",),
        "the share of the mean is above 1.5 times that of a random gradient",
        "chance",
        times_chance("share_mean"),
        "above",
        threshold=MORE_THAN_CHANCE,
    ),
)

"""The comparisons that every run makes, as a table: a statement, a control, a number, a direction, a margin.

Margins and thresholds stand here and were chosen before records existed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
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

    question: a key of QUESTIONS. name: stable. statement: in words, so that "supported" is an answer to it. control:
    what batch norm is compared with. read: the numbers. claims: ids that the answer bears on. claim, threshold:
    supported where the interval lies ``claim`` the threshold. margin: an effect so close to the threshold is too small
    to matter. unit: "ratio" for log10 of ratios. decisive: whether places decide or only illustrate; a place after step
    0 never does, for nothing has been trained there.
    """

    question: str
    name: str
    statement: str
    control: str
    read: Read
    claims: tuple[str, ...] = ()
    claim: Side = "below"
    threshold: float = 0.0
    margin: float | None = None
    unit: Literal["ratio", "slope", "difference"] = "ratio"
    decisive: bool = True


_TWIN = "its frozen twin"
_STANDARD = "standard network at equal rates"
_SCALING = ("lesswrong2019.more-than-scaling",)
_TWO_LIPSCHITZ = ("lesswrong2019.two-lipschitz.batchnorm-reduces.network",)
_PARTIAL = ("bntheory2026.partial-twins",)
_DETACHED = "bntheory2026.detached-statistics."

_smoother = partial(Comparison, "smoother", margin=CURVATURE_MARGIN)
_scaling = partial(Comparison, "scaling", control=_TWIN, claims=_SCALING, margin=CURVATURE_MARGIN)
_standard = partial(Comparison, "standard", margin=CURVATURE_MARGIN)
_sharpening = partial(Comparison, "sharpening", claims=("bntheory2026.progressive-sharpening",), unit="slope")
_help = partial(Comparison, "help", margin=LOSS_MARGIN)
_affine = partial(
    Comparison,
    "affine",
    control="chance",
    claims=("santurkar2018.theorem-4.1.reduction-persists",),
    claim="above",
    threshold=MORE_THAN_CHANCE,
)
_end_of_loss = partial(at_the_end, "training_loss")

COMPARISONS: tuple[Comparison, ...] = (
    _smoother("top-eigenvalue.twin", "λ_max is lower than the twin's", _TWIN, over_twin("top"), _TWO_LIPSCHITZ),
    _smoother(
        "top-eigenvalue.mean-or-variance",
        "the mean alone lowers λ_max more than the variance alone",
        "twin, variance alive",
        over_twin("top", "mean-alive", "variance-alive"),
        _PARTIAL,
    ),
    *(
        _smoother(
            f"top-eigenvalue.{alive}",
            f"the {alive} alone lowers λ_max",
            _TWIN,
            over_twin("top", f"{alive}-alive"),
            _PARTIAL,
            decisive=False,
        )
        for alive in ("mean", "variance")
    ),
    _scaling(
        "relative-curvature.twin",
        "the scale-free curvature λ_max·L/‖∇L‖² is lower than the twin's",
        read=over_twin("relative_curvature"),
    ),
    _scaling(
        "linearity-error.twin",
        "the linear prediction of a step that should remove a tenth of the loss errs less than the twin's",
        read=over_twin("linearity_error"),
    ),
    _scaling(
        "gradient-norm.twin",
        "the gradient norm is lower than the twin's",
        read=over_twin("gradient_norm"),
        claims=(),
        decisive=False,
    ),
    _standard(
        "top-eigenvalue.standard",
        "λ_max is lower than without batch norm",
        _STANDARD,
        at_equal_rates("top", "batchnorm", "standard"),
        _TWO_LIPSCHITZ,
    ),
    *(
        _standard(
            f"edge.{kind}",
            f"{words} batch norm descent ends below the edge of stability: ηλ_max < 2",
            "the edge, 2",
            from_the_edge(kind),
            decisive=False,
        )
        for kind, words in (("batchnorm", "with"), ("standard", "without"))
    ),
    *(
        _sharpening(f"sharpening.{kind}", f"{words} batch norm λ_max rises as the loss falls", "no change", rises(kind))
        for kind, words in (("standard", "without"), ("batchnorm", "with"))
    ),
    _sharpening(
        "sharpening.difference",
        "it rises less with batch norm than without",
        _STANDARD,
        rises("batchnorm", "standard"),
        claim="above",
    ),
    _help(
        "loss.standard",
        "training ends at a lower loss than without batch norm",
        _STANDARD,
        _end_of_loss("batchnorm", "standard"),
    ),
    _help(
        "loss.rescaled",
        "it ends lower than without batch norm on a loss rescaled to the same initial gradient",
        "standard network, loss rescaled",
        _end_of_loss("batchnorm", "rescaled"),
        _SCALING,
    ),
    _help(
        "loss.detached",
        "the gradient through the statistics helps: it ends lower than with detached ones",
        "detached statistics",
        _end_of_loss("batchnorm", "detached"),
        (_DETACHED + "both",),
    ),
    _help(
        "loss.detached-over-standard",
        "the forward pass helps by itself: detached, it ends lower than without batch norm",
        _STANDARD,
        _end_of_loss("detached", "standard"),
        (_DETACHED + "forward-alone",),
    ),
    _help(
        "loss.detached-mean-or-variance",
        "detaching the mean costs more than detaching the variance",
        "variance detached",
        _end_of_loss("detached-mean", "detached-variance"),
        (_DETACHED + "mean",),
        "above",
    ),
    _help(
        "accuracy.standard",
        "held-out accuracy is higher than without batch norm",
        _STANDARD,
        at_the_end("test_accuracy", "batchnorm", "standard", ratio=False),
        claim="above",
        margin=0.01,
        unit="difference",
        decisive=False,
    ),
    *(
        Comparison(
            "shift",
            f"covariate-shift.{key}",
            f"covariate shift by {words} is not reduced by more than a fifth",
            "standard network at the same rate",
            shift_by_halves(f"shift_{key}"),
            ("santurkar2018.figure-3.covariate-shift",),
            "above",
            -CURVATURE_MARGIN,
        )
        for key, words in (("l2", "length"), ("angle", "angle"))
    ),
    _affine(
        "affine-share.y-hat",
        "the share of ŷ in a layer's gradient on this batch is above 1.5 times that of a random one, 1/m",
        read=times_chance("share_y_hat"),
    ),
    _affine(
        "affine-share.mean",
        "the share of the mean is above 1.5 times that of a random gradient",
        read=times_chance("share_mean"),
    ),
)

"""The post "Rethinking Batch Normalization" (2019), its discussion: smoothness along the training of real networks.

Whether batch normalisation lowers the second-order constant, whether that is more than a rescaling, and in which
architectures it holds. The discussion asks; readings and thresholds are ours. Networks, rates and seeds are in
:mod:`.trained`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.lesswrong2019.controls import (
    DOMAIN_READING,
    EQUIVALENT_RATIO,
    Compared,
    beyond_scaling,
    number,
    relative,
)
from bntheory.claims.sources.lesswrong2019.trained import FACTORS, compared, looks_of
from bntheory.evidence.checks import Check
from bntheory.evidence.distance import differs
from bntheory.experiments.equal_rates import AFTER_START, EQUAL_LOSSES, Rates, Reader
from bntheory.experiments.runs import until_decided

KEY = "lesswrong2019"
_DISCUSSION = Source(KEY, "discussion", printed=False)
_SCALE = (
    "Scaled down: the packaged Fashion-MNIST subset, batches of 64, plain SGD, 120 steps at each of five learning rates over two decades; "
    "curvature of one held batch of 64 training images in training mode. Seeds from 100 up: lower ones were seen by the review that "
    "asked for this design, and so served as its pilot. "
)
#: A difference of less than a tenth counts as none.
MARGIN_RATIO = 1.1


def _relative_curvature(of: str) -> Reader:
    return relative("top", of)


def _linearity_error(of: str) -> Reader:
    return number("linearity_error", of)


_SCALE_FREE = {"relative curvature": _relative_curvature, "linearity error": _linearity_error}


@claim(
    "lesswrong2019.two-lipschitz.batchnorm-reduces.network",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{BN reduces the 2-Lipschitz constant of the loss along the training of real networks}",
    reading=(
        "the constant at the points of a run, for displacements that tend to zero: the spectral norm ||H|| of the Hessian by all "
        "parameters. Decided without units, as ||H|| f/||grad f||^2, since a smaller loss alone has a smaller constant: once against the "
        "frozen-statistics twin at the same point, over the learning rates at which the network trains, and once against the standard "
        "network at equal learning rates, over those at which both train; log10 of the ratio, averaged over three losses that both "
        "have and the end, one number a seed; where the effect changes sign on the way, the two places decide apart; a mean ratio "
        f"between 1/{EQUIVALENT_RATIO:g} and {EQUIVALENT_RATIO:g} is 'equivalent'. ||H|| itself stands beside. Smooth activations, since "
        "the constant is infinite at a kink"
    ),
    note=_SCALE
    + "MLPs of 3 and 5 hidden layers with softplus; a network of 3 convolutions with GELU, average pooling, 14 x 14 images (with "
    "softplus and without BN it hardly leaves its first loss in so few steps). Over a region the constant can exceed the spectral norm at "
    "its centre.",
)
def two_lipschitz_in_networks(study: Study) -> list[Check]:
    names = study.choose(
        quick=("mlp-3-softplus",),
        normal=("mlp-3-softplus", "mlp-5-softplus", "vgg-3-gelu"),
        thorough=("mlp-3-softplus", "mlp-5-softplus", "vgg-3-gelu"),
    )
    return _until_decided(study, names, _two_lipschitz, checks_each=4)


def _two_lipschitz(model: Compared, confidence: float) -> list[Check]:
    def free(of: str) -> Reader:
        return relative("spectral_norm", of)

    def raw(of: str) -> Reader:
        return number("spectral_norm", of)

    standard = "the standard network's at equal learning rate"
    both = ("batch", "none")
    return [
        *model.decisive(
            "the relative spectral norm over the frozen twin's", model.over_twin(free), confidence, "batch"
        ),
        *model.decisive(f"the relative spectral norm over {standard}", model.over(free), confidence, *both),
        *model.shown("the spectral norm of the Hessian over the frozen twin's", model.over_twin(raw), "batch"),
        *model.shown(f"the spectral norm of the Hessian over {standard}", model.over(raw), *both),
        *model.edges(),
    ]


@claim(
    "lesswrong2019.more-than-scaling",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{the effect of BN on gradient norm and curvature is not that of any rescaling}",
    reading=(
        "a rescaling: of the loss by c, which multiplies gradient norm and curvature by c; of the parameters by a, which divides them by a "
        "and a^2; of the weights in front of every batch norm, which leaves the function alone. The first two change no scale-free measure. "
        "Looked at are two of these, the relative curvature and the relative error of the linear prediction for a gradient step that "
        "removes a tenth of the loss, each at three falling losses and at the end, averaged over learning rates. Decisive: at least one of "
        "these numbers differs by more than a tenth on average, in whichever direction: once against the frozen-statistics twin at the same "
        "points, whichever of five factors from 1/4 to 4 its weights in front of batch norm are multiplied by; and once against the "
        "standard network at equal learning rates and equal losses. Contradicted if for some factor none does. That the gradient "
        "norm or the curvature alone differs decides nothing"
    ),
    note=_SCALE
    + "ReLU; MLPs of 3 and 5 hidden layers; a network of 3 convolutions on 14 x 14 images. The twin's loss is equal at the point, so its "
    "ratio of relative curvatures is that of curvatures over that of squared gradient norms. Reparametrisations of the standard "
    "network layer by layer are not among its controls.",
)
def more_than_scaling(study: Study) -> list[Check]:
    names = study.choose(quick=("mlp-3",), normal=("mlp-3", "mlp-5", "vgg-3"), thorough=("mlp-3", "mlp-5", "vgg-3"))
    return _until_decided(study, names, _more_than_scaling, checks_each=2)


def _more_than_scaling(model: Compared, confidence: float) -> list[Check]:
    twins = ["twin", *(f"twin x {factor:g}" for factor in FACTORS)]
    against_twins = [[model.over_twin(read, of) for read in _SCALE_FREE.values()] for of in twins]
    against_standard = [model.over(read) for read in _SCALE_FREE.values()]
    largest = "middle of the interval of the largest |mean log10 ratio| of the scale-free measures"
    checks = [
        _differs(
            f"{largest} to the frozen twin's, least over its parametrisations, {model.what}",
            [[e[place] for e in of for place in AFTER_START] for of in against_twins],
            model,
            model.rates("batch"),
            confidence,
        ),
        _differs(
            f"{largest} to the standard network's at equal learning rate and loss, {model.what}",
            [[e[place] for e in against_standard for place in EQUAL_LOSSES]],
            model,
            model.rates("batch", "none"),
            confidence,
        ),
    ]
    for label, twin, standard in zip(_SCALE_FREE, against_twins[0], against_standard, strict=True):
        checks += model.shown(f"the {label} over the frozen twin's", twin, "batch")
        checks += model.shown(
            f"the {label} over the standard network's at equal learning rate", standard, "batch", "none"
        )
    return checks


def _differs(
    name: str, numbers: list[list[list[float | None]]], model: Compared, rates: Rates, confidence: float
) -> Check:
    """numbers: parametrisation, measure at a place, seed."""
    samples = np.array([[[math.nan if x is None else x for x in m] for m in of] for of in numbers], dtype=float)
    if rates.not_comparable:
        samples = samples[:, :, :0]
    found = differs(
        name,
        samples,
        math.log10(MARGIN_RATIO),
        f"{rates.scope}; {model.scope}",
        confidence=confidence,
        witness={"seed": model.study.seed, "measures": list(_SCALE_FREE)},
    )
    return replace(found, not_comparable=rates.not_comparable)


def _until_decided(
    study: Study,
    names: tuple[str, ...],
    checks_of: Callable[[Compared, float], list[Check]],
    *,
    checks_each: int,
    most: int = 12,
    norms: tuple[str, ...] = ("batch", "none"),
) -> list[Check]:
    """The checks of all these networks, corrected together, with seeds added until all decisive ones are decided."""

    def read(seeds: int, confidence: float) -> list[Check]:
        return [c for name in names for c in checks_of(compared(study, name, seeds, norms), confidence)]

    return until_decided(study, looks_of(study, checks_each * len(names), most), read)


def _domain(study: Study, *names: str, most: int = 12) -> list[Check]:
    used = study.choose(quick=names[:1], normal=names, thorough=names)
    return _until_decided(study, used, beyond_scaling, checks_each=2, most=most)


@claim(
    "lesswrong2019.domain.mlp",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for feed-forward networks}",
    reading=DOMAIN_READING,
    note=_SCALE + "Three and five hidden layers of 64, ReLU; at quick effort three.",
)
def mlp_domain(study: Study) -> list[Check]:
    return _domain(study, "mlp-3", "mlp-5")


@claim(
    "lesswrong2019.domain.vgg",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for VGG-like networks of convolutions}",
    reading=DOMAIN_READING,
    note=_SCALE
    + "Three and five layers of convolutions with 8 to 16 channels, ReLU, three poolings, 14 x 14 images; at quick effort three.",
)
def vgg_domain(study: Study) -> list[Check]:
    return _domain(study, "vgg-3", "vgg-5")


@claim(
    "lesswrong2019.domain.resnet",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for residual networks of convolutions}",
    reading=DOMAIN_READING,
    note=_SCALE + "Two residual blocks of 4 and 8 channels, ReLU, 14 x 14 images.",
)
def resnet_domain(study: Study) -> list[Check]:
    return _domain(study, "resnet")


@claim(
    "lesswrong2019.domain.transformer",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for transformers}",
    reading=DOMAIN_READING
    + ". Batch normalisation over batch and positions in the place of layer normalisation; the standard model has neither. Beside it "
    "also lambda_max against the same model with layer normalisation and with root-mean-square normalisation",
    note=_SCALE
    + "Two blocks of width 32, two heads, GELU, the normalisation in front of each branch; 7 tokens of 4 image rows. Layer and RMS "
    "normalisation on the first 3 seeds, and not at quick effort.",
)
def transformer_domain(study: Study) -> list[Check]:
    checks = _domain(study, "transformer")
    others = study.choose(quick=(), normal=("layer", "rms"), thorough=("layer", "rms"))
    other = compared(study, "transformer", 3, ("batch", "none", *others))
    for norm in others:
        what = f"the largest Hessian eigenvalue over the {norm}-normalised model's at equal learning rate"
        checks += other.shown(what, other.over(lambda of: number("top", of), norm), "batch", norm)
        what = (
            f"the largest Hessian eigenvalue with {norm} normalisation over the standard model's at equal learning rate"
        )
        checks += other.shown(what, other.over(lambda of: number("top", of), own=norm), norm, "none")
    return checks


@claim(
    "lesswrong2019.domain.rnn",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for recurrent networks, normalised over the batch at each time step}",
    reading=DOMAIN_READING
    + ". Statistics of each time step apart, one gamma and beta for all; the twin freezes each step's own statistics",
    note=_SCALE
    + "One recurrent layer of 32, tanh, the whole pre-activation normalised, gamma from 1; 7 steps of 4 image rows.",
)
def rnn_domain(study: Study) -> list[Check]:
    return _domain(study, "rnn", most=24)

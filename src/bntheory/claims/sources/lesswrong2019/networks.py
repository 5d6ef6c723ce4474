"""The post "Rethinking Batch Normalization" (2019), its discussion: smoothness along the training of real networks.

Whether batch normalisation lowers the second-order constant, whether that is more than a rescaling, and in which architectures it
holds. Small networks on the packaged images; the protocol is that of :mod:`bntheory.experiments.curvature_runs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.lesswrong2019.toys import DOMAIN_READING
from bntheory.evidence.checks import Check
from bntheory.evidence.seeds import over_seeds
from bntheory.experiments.matched import at_equal_loss, at_equal_points, run_effects, smoothing_checks

if TYPE_CHECKING:
    from bntheory.experiments.curvature_runs import NetworkCurvatures, SeedRun
    from bntheory.models.smoothness_along import Curvatures

KEY = "lesswrong2019"
_DISCUSSION = Source(KEY, "discussion", printed=False)
_SCALE = (
    "Scaled down: the packaged Fashion-MNIST subset, batches of 64, plain SGD; curvature of one held batch of 64 training images in "
    "training mode, on the way to the lowest loss reached. "
)
#: A difference of less than a tenth counts as none.
MARGIN_RATIO = 1.1
#: The weights in front of every batch norm times this: the reparametrised control.
FACTORS = (0.25, 0.5, 2.0, 4.0)
MEASURES = ("relative_curvatures", "linearity_errors")


@claim(
    "lesswrong2019.two-lipschitz.batchnorm-reduces.network",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{BN reduces the 2-Lipschitz constant of the loss along the training of real networks}",
    reading=(
        "the constant at the points of a run, for displacements that tend to zero: the spectral norm of the Hessian by all parameters; "
        "against the frozen-statistics twin at the same point, and against the standard network at the same loss; smooth activations, "
        "since the constant is infinite at a kink; the mean over a run of log10 of the ratio, one number a seed"
    ),
    note=_SCALE
    + "MLP with softplus; networks of convolutions with GELU, average pooling, 14 x 14 images (with softplus and without BN they hardly "
    "leave their first loss in so few steps, so no losses could be matched). Over a region the constant can exceed the spectral norm at "
    "its centre.",
)
def two_lipschitz_in_networks(study: Study) -> list[Check]:
    from bntheory.experiments.curvature_runs import NETWORKS, runs, scope

    names = study.choose(
        quick=("mlp-softplus",),
        normal=("mlp-softplus", "vgg-gelu"),
        thorough=("mlp-softplus", "vgg-gelu", "resnet-gelu"),
    )
    checks = []
    for name in names:
        found = runs(name, study)
        rows = [_effects(run, "hessian_norms") for run in found]
        checks += smoothing_checks(
            rows,
            NETWORKS[name][0],
            scope(found, study.effort),
            {"seed": study.seed},
            "spectral norm of the Hessian",
        )
    return checks


@claim(
    "lesswrong2019.more-than-scaling",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{the effect of BN on gradient norm and curvature is not that of any rescaling}",
    reading=(
        "a rescaling: of the loss by c, which multiplies gradient norm and curvature by c; of the parameters by a, which divides them by a "
        "and a^2; of the weights in front of every batch norm, which leaves the function alone. The first two change no scale-free measure. "
        "Decisive, once against the frozen-statistics twin at the same point and once against the standard network at the same loss: at "
        "least one of two scale-free measures, the relative curvature and the relative error of the linear prediction for a gradient step "
        "that removes a tenth of the loss, differs by more than a tenth on average, in whichever direction; against the twin, whichever of "
        "five factors from 1/4 to 4 its weights in front of batch norm are multiplied by. Contradicted if for some factor neither does. That either the "
        "gradient norm or the curvature alone differs decides nothing"
    ),
    note=_SCALE
    + "ReLU; 14 x 14 images for the network of convolutions. The twin's loss is equal at the point, so its ratio of relative "
    "curvatures is that of curvatures over that of squared gradient norms. Reparametrisations of the standard network layer by layer "
    "are not among its controls.",
)
def more_than_scaling(study: Study) -> list[Check]:
    names = study.choose(quick=("mlp",), normal=("mlp", "vgg"), thorough=("mlp", "vgg"))
    return [check for name in names for check in _beyond_rescaling(name, study)]


def _beyond_rescaling(name: str, study: Study) -> list[Check]:
    import math

    import numpy as np

    from bntheory.evidence.distance import differs
    from bntheory.experiments.curvature_runs import NETWORKS, runs, scope

    found, what = runs(name, study), NETWORKS[name][0]
    said, witness = scope(found, study.effort), {"seed": study.seed, "measures": list(MEASURES)}
    twins = [[run.twin, *_reparametrised_twins(name, run, study)] for run in found]
    against_twins = [
        [
            [at_equal_points(run.own, of_run[a], m) for run, of_run in zip(found, twins, strict=True)]
            for m in MEASURES
        ]
        for a in range(1 + len(FACTORS))
    ]
    against_standard = [[[at_equal_loss(run.own, run.standard, m) for run in found] for m in MEASURES]]
    margin = math.log10(MARGIN_RATIO)
    largest = "middle of the interval of the largest |mean log10 ratio| of the scale-free measures"
    checks = [
        differs(
            f"{largest} to the frozen twin's, least over its parametrisations, {what}",
            np.array(against_twins, dtype=float),
            margin,
            said,
            witness={**witness, "factors": [1.0, *FACTORS]},
        ),
        differs(
            f"{largest} to the standard network's at equal loss, {what}",
            np.array(against_standard, dtype=float),
            margin,
            said,
            witness=witness,
        ),
    ]
    scaled = "its loss rescaled to the same gradient norm"
    for label, values in [
        ("relative curvature over the frozen twin's", against_twins[0][0]),
        ("linearity error over the frozen twin's", against_twins[0][1]),
        (
            f"largest Hessian eigenvalue over the frozen twin's, {scaled}",
            [_beyond_gradient(at_equal_points, run.own, run.twin) for run in found],
        ),
        ("relative curvature over the standard network's at equal loss", against_standard[0][0]),
        ("linearity error over the standard network's at equal loss", against_standard[0][1]),
        (
            f"largest Hessian eigenvalue over the standard network's at equal loss, {scaled}",
            [_beyond_gradient(at_equal_loss, run.own, run.standard) for run in found],
        ),
    ]:
        finite = [v for v in values if math.isfinite(v)]
        checks.append(over_seeds(f"log10 of the {label}, {what}", finite, "below", 0.0, said, decisive=False))
    return checks


def _beyond_gradient(
    compare: Callable[[Curvatures, Curvatures, str], float], own: Curvatures, other: Curvatures
) -> float:
    """What is left of the ratio of curvatures when a rescaled loss has made the gradient norms equal."""
    return compare(own, other, "top_eigenvalues") - compare(own, other, "gradient_norms")


def _reparametrised_twins(name: str, run: SeedRun, study: Study) -> list[NetworkCurvatures]:
    """The twin along the run with the weights in front of every batch norm multiplied by each of ``FACTORS``."""
    from functools import partial

    from bntheory.bridge import reparametrised
    from bntheory.experiments.curvature_runs import build, measure_states, measured_batch, protocol

    batch = measured_batch(name, protocol(study.effort), run.seed, study.device)
    model = build(name, "batch", run.seed, study.device)
    return [
        measure_states(
            model,
            run.states,
            batch,
            seed=run.seed,
            frozen=True,
            change=partial(reparametrised, inputs=batch[0], factor=factor),
        )
        for factor in FACTORS
    ]


def _effects(run: SeedRun, curvature: str) -> dict[str, float]:
    """Those of every run, and what the learning rate does: a larger one leads to less curved places by itself."""
    import math

    same = math.nan if run.same_rate is None else at_equal_loss(run.own, run.same_rate, curvature)
    return {
        **run_effects(run.own, run.twin, run.standard, run.lowest, curvature),
        "rate, standard": math.log10(run.rates[0] / run.rates[1]),
        "curvature, same rate": same,
    }


def _domain(name: str, study: Study) -> list[Check]:
    from bntheory.experiments.curvature_runs import NETWORKS, runs, scope

    found = runs(name, study)
    rows = [_effects(run, "top_eigenvalues") for run in found]
    return smoothing_checks(rows, NETWORKS[name][0], scope(found, study.effort), {"seed": study.seed})


@claim(
    "lesswrong2019.domain.mlp",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for feed-forward networks}",
    reading=DOMAIN_READING,
    note=_SCALE + "Three hidden layers of 64, ReLU.",
)
def mlp_domain(study: Study) -> list[Check]:
    return _domain("mlp", study)


@claim(
    "lesswrong2019.domain.vgg",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for VGG-like networks of convolutions}",
    reading=DOMAIN_READING,
    note=_SCALE + "Four layers of convolutions with 8 to 16 channels, ReLU, three poolings, 14 x 14 images.",
)
def vgg_domain(study: Study) -> list[Check]:
    return _domain("vgg", study)


@claim(
    "lesswrong2019.domain.resnet",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for residual networks of convolutions}",
    reading=DOMAIN_READING,
    note=_SCALE + "Two residual blocks of 4 and 8 channels, ReLU, 14 x 14 images.",
)
def resnet_domain(study: Study) -> list[Check]:
    return _domain("resnet", study)


@claim(
    "lesswrong2019.domain.transformer",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for transformers}",
    reading=DOMAIN_READING
    + "; batch normalisation over batch and positions in the place of layer normalisation; the standard model has neither",
    note=_SCALE
    + "Two blocks of width 32, two heads, GELU, the normalisation in front of each branch; 7 tokens of 4 image rows.",
)
def transformer_domain(study: Study) -> list[Check]:
    return _domain("transformer", study)


@claim(
    "lesswrong2019.domain.rnn",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for recurrent networks, normalised over the batch at each time step}",
    reading=DOMAIN_READING
    + "; statistics of each time step apart, one gamma and beta for all; the twin freezes each step's own statistics",
    note=_SCALE
    + "One recurrent layer of 32, tanh, the whole pre-activation normalised, gamma from 1; 7 steps of 4 image rows.",
)
def rnn_domain(study: Study) -> list[Check]:
    return _domain("rnn", study)

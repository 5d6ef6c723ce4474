"""Ghorbani, Krishnan, Xiao, An investigation into neural net optimization via Hessian eigenvalue density, ICML 2019,
arXiv 1901.10159.

The Hessian of a trained classifier has about as many eigenvalues far outside the bulk as there are classes, and the
gradient lies largely in their eigenvectors. With batch normalisation these outliers are pulled towards the bulk; they
come back where the normalisation uses constants, the statistics of the whole training set, in the place of the
statistics of the present activations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.curves import log_ratio
from bntheory.evidence.looks import Looks
from bntheory.experiments.equal_rates import Reader, along_training, at_common_losses, common_rates, end_of
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import FIRST_JUDGED, Protocol, Run, check_of, each_seed, until_decided

KEY = "ghorbani2019"
#: The number of classes: where the source cuts the outliers off.
K = 10
RATE, MOMENTUM = 0.02, 0.9
_WHAT = (
    "lambda_1 >= ... >= lambda_K the K = 10 (the number of classes) largest eigenvalues of the Hessian of the loss on all training images at once, "
    "in training mode; the gradient's share: that part of the squared norm of the gradient of the same loss which lies in their eigenvectors"
)
_LOSSES = "log10 of the ratio at three losses, even in the logarithm, that both trainings of a seed went through; their mean is the number of a seed"
_FROZEN = (
    _WHAT
    + "; the Hessian of the same trained network at the same weights with every mean and variance replaced by the constant that it has on all "
    "training images, over the one in training mode; outputs and loss are equal; log10 of the ratio, its mean over the middle and the end of the "
    "training, one number a seed"
)
_NOTE = (
    f"Scaled down: a small VGG on a few hundred images, both networks trained at rate {RATE:g}, momentum {MOMENTUM:g} and batches of 64, where "
    "descent is stable up to eigenvalues of 2(1 + momentum)/rate = 190. The source measures networks for CIFAR-10 and ImageNet, along their "
    f"training. Seeds below {FIRST_JUDGED} were seen when this was designed, and are not used."
)


def _protocol(study: Study) -> Protocol:
    """Looked at after steps that double: the loss of the normalised network falls in the first of them."""
    side, images, record = study.choose(
        quick=(7, 100, (4, 8, 16, 30, 60)),
        normal=(14, 256, (4, 8, 16, 32, 64, 100, 200)),
        thorough=(14, 600, (4, 8, 16, 32, 64, 128, 200, 400, 800)),
    )
    return Protocol(record[-1], record, batch_size=64, measured=images, images=images, side=side)


def _looks(study: Study, checks: int) -> Looks:
    sizes: tuple[int, ...] = study.choose(quick=(3,), normal=(4, 8), thorough=(6, 12, 24))
    return Looks(sizes, checks=checks)


def vgg(norm: str) -> Arm:
    """The network with one normalisation or another."""
    return Arm("vgg", norm, "vgg", {"norm": norm, "layout": (8, 0, 16, 0, 32)}, RATE, momentum=MOMENTUM)


def _runs(study: Study, seeds: int, *norms: str) -> list[dict[str, Run]]:
    protocol = _protocol(study)
    options = {"batch_size": protocol.images, "count": K, "tolerance": 1e-3, "max_products": 400}
    return each_seed(
        study,
        [vgg(norm) for norm in norms],
        protocol,
        seeds,
        "outliers",
        lambda arm: (
            Measure("outliers", options),
            Measure("frozen-outliers", options, "batch normalised", at=protocol.record[-2:]),
        ),
        first=FIRST_JUDGED,
    )


def _scope(study: Study) -> str:
    p = _protocol(study)
    return f"{p.steps} steps at rate {RATE:g}, Hessian on all {p.images} training images of {p.side} x {p.side} pixels"


# -- what is read off a recorded point; None where the eigenvalues did not converge, or lambda_K is not positive -------


def _of(quantity: str, place: str = "outliers") -> Reader:
    def read(point: Mapping[str, Any]) -> float | None:
        found = point[place]
        if quantity == "loss":
            return float(found["loss"])
        if not found["converged"]:
            return None
        if quantity == "ratio":
            return float(found["first"] / found["last"]) if found["last"] > 0 else None
        return float(found[quantity])

    return read


_NAMES = {
    "ratio": f"lambda_1/lambda_{K}",
    "share": f"the gradient's share in the top {K} eigenvectors",
    "first": "lambda_1",
    "last": f"lambda_{K}",
    "loss": "the loss",
}


@claim(
    "ghorbani2019.outliers",
    kind="experiment",
    source=Source(KEY, "batch normalisation and outliers", seen="recalled"),
    statement=(
        r"\lambda_1/\lambda_K \text{ and the gradient's share in the eigenvectors of } \lambda_1, \dots, \lambda_K "
        r"\text{ are smaller with batch normalisation than without}"
    ),
    reading=f"{_WHAT}; {_LOSSES}: with batch norm over without",
    note=_NOTE
    + " At equal steps the losses differ by a factor of about ten, and the spectrum depends on the loss; the ratios at the "
    "end of the training are shown beside.",
)
def outliers(study: Study) -> list[Check]:
    def read(seeds: int, confidence: float) -> list[Check]:
        return outlier_checks(study, _runs(study, seeds, "batch", "none"), confidence, _scope(study))

    return until_decided(study, _looks(study, 2), read)


def outlier_checks(study: Study, runs: Sequence[Mapping[str, Run]], confidence: float, scope: str) -> list[Check]:
    """With batch norm over without: at equal losses what decides, at the end of the training what is shown."""
    own, other = {RATE: "batch"}, {RATE: "none"}
    rates = common_rates(runs, [own, other], _of("loss"))
    checks = []
    for quantity in ("ratio", "share", "first", "last"):
        effects = along_training(runs, own, other, [RATE], _of("loss"), _of(quantity))
        checks.append(
            check_of(
                study,
                f"log10 of {_NAMES[quantity]}, with batch norm over without, at equal losses",
                at_common_losses(effects),
                "below",
                0.0,
                scope,
                decisive=quantity in ("ratio", "share"),
                confidence=confidence,
                not_comparable=rates.not_comparable,
            )
        )
    for quantity in ("ratio", "share", "loss"):
        ends = [[end_of(seed[name], _of(quantity)) for name in ("batch", "none")] for seed in runs]
        checks.append(
            check_of(
                study,
                f"log10 of {_NAMES[quantity]}, with batch norm over without, at the end of the training",
                [log_ratio(*pair) for pair in ends],
                "below",
                0.0,
                scope,
                decisive=False,
                not_comparable=rates.not_comparable,
            )
        )
    return checks


def frozen_checks(
    study: Study,
    runs: Sequence[Mapping[str, Run]],
    confidence: float,
    scope: str,
    decisive: Sequence[Literal["ratio", "share"]],
) -> list[Check]:
    """Statistics as constants over statistics of the activations, at the middle and the end of one training."""
    rates = common_rates(runs, [{RATE: "batch"}], _of("loss"))

    def number(run: Run, quantity: str) -> float | None:
        points = [run.points[step] for step in run.after_start[-2:] if step in run.points]
        found = [log_ratio(_of(quantity, "frozen_outliers")(p), _of(quantity)(p)) for p in points]
        known = [x for x in found if x is not None]
        return sum(known) / len(known) if len(known) == 2 else None

    names = [*decisive, *(q for q in ("first", "last") if "ratio" in decisive)]
    return [
        check_of(
            study,
            f"log10 of {_NAMES[quantity]}, statistics constant over statistics of the activations",
            [number(seed["batch"], quantity) for seed in runs],
            "above",
            0.0,
            scope,
            decisive=quantity in decisive,
            confidence=confidence,
            not_comparable=rates.not_comparable,
        )
        for quantity in names
    ]


def _frozen(study: Study, *decisive: Literal["ratio", "share"]) -> list[Check]:
    def read(seeds: int, confidence: float) -> list[Check]:
        return frozen_checks(study, _runs(study, seeds, "batch"), confidence, _scope(study), decisive)

    return until_decided(study, _looks(study, len(decisive)), read)


_CONSTANT = " Training with constant statistics is another question, which is not asked here."


@claim(
    "ghorbani2019.frozen-statistics",
    kind="experiment",
    source=Source(KEY, "statistics of the whole training set", seen="recalled"),
    statement=(
        r"\text{with the statistics of the whole training set as constants, the outliers come back: } \lambda_1/\lambda_K "
        r"\text{ and the gradient's share in the top eigenvectors are larger}"
    ),
    reading=_FROZEN,
    note=_NOTE + _CONSTANT + " Two statements in one: each is a claim of its own beside, with the same networks.",
)
def frozen_statistics_of_the_whole_set(study: Study) -> list[Check]:
    return _frozen(study, "ratio", "share")


@claim(
    "ghorbani2019.frozen-statistics.outlier-ratio",
    kind="experiment",
    source=Source(KEY, "statistics of the whole training set", seen="recalled"),
    statement=(
        r"\text{with the statistics of the whole training set as constants } \lambda_1/\lambda_K \text{ is larger}"
    ),
    reading=_FROZEN,
    note=_NOTE + _CONSTANT,
)
def frozen_outlier_ratio(study: Study) -> list[Check]:
    return _frozen(study, "ratio")


@claim(
    "ghorbani2019.frozen-statistics.gradient-share",
    kind="experiment",
    source=Source(KEY, "statistics of the whole training set", seen="recalled"),
    statement=(
        r"\text{with the statistics of the whole training set as constants the gradient's share in the eigenvectors of } "
        r"\lambda_1, \dots, \lambda_K \text{ is larger}"
    ),
    reading=_FROZEN,
    note=_NOTE + _CONSTANT,
)
def frozen_gradient_share(study: Study) -> list[Check]:
    return _frozen(study, "share")

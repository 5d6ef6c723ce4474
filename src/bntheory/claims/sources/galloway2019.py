"""Galloway, Golubeva, Tanay, Moussa and Taylor: Batch normalization is a cause of adversarial vulnerability, 2019,
arXiv 1905.02161.

What is measured: accuracy on test images in evaluation mode, with Gaussian noise on the standardised pixels, and after
one step of the fast gradient sign method. Networks with and without batch normalisation are compared at equal learning
rates and where they classify clean images equally well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.looks import Looks
from bntheory.experiments.equal_rates import Rates, along, along_training, common_rates, name_at, names_at
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import FIRST_JUDGED, Json, Protocol, Run, each_seed, progress_loss, until_decided

KEY = "galloway2019"
#: In standard deviations of a pixel: Gaussian noise, and the step along the sign of the gradient.
NOISE, SIGN = 0.5, 0.1
#: log10 of a ratio of retained accuracies: a fiftieth more or less is too little to matter.
MARGIN = 0.01
_TRAINING, _ROBUSTNESS = 256, 1000
NETWORKS: Mapping[str, tuple[str, tuple[int, ...], int]] = {
    "VGG, 4 convolutions": ("vgg", (8, 0, 16, 0, 16, 16, 0), 14),
    "MLP, 3 hidden layers of 64": ("mlp", (64, 64, 64), 0),
}


def _runs(study: Study, network: str, grid: Sequence[float], seeds: int) -> list[dict[str, Run]]:
    kind, layout, side = NETWORKS[network]
    normal = (15, 30, 60, 120, 240)
    at = study.choose(quick=(10, 20, 40, 80), normal=normal, thorough=(*normal, 480, 960))
    asked = (
        Measure("progress", {"batch_size": _TRAINING}),
        Measure("input-robustness", {"test_size": _ROBUSTNESS, "noise": [NOISE], "sign": [SIGN]}),
    )
    arms = [
        Arm(kind, name_at(norm, rate), kind, {"norm": norm, "layout": layout}, rate)
        for norm in ("batch", "none")
        for rate in grid
    ]
    protocol = Protocol(at[-1], at, measured=_TRAINING, side=side)
    return each_seed(study, arms, protocol, seeds, "input robustness", lambda arm: asked, first=FIRST_JUDGED)


def clean_error(point: Json) -> float | None:
    """The share of clean test images that are misclassified."""
    return 1 - float(point["input_robustness"]["clean"])


def retained(kind: str, size: float, point: Json) -> float | None:
    """The accuracy on disturbed images over that on clean ones."""
    found = point["input_robustness"]
    return float(found[kind][f"{size:g}"]) / float(found["clean"]) if found["clean"] else None


@claim(
    "galloway2019.input-robustness",
    kind="experiment",
    source=Source(KEY, "abstract", "arXiv 1905.02161", printed=False),
    statement=(
        r"\text{batch normalisation reduces robustness to small adversarial input perturbations and to noise on the input}"
    ),
    reading=(
        f"retained accuracy, that on disturbed test images over that on clean ones, is smaller with BN than without: for Gaussian noise of {NOISE} "
        f"and for a step of {SIGN} along the sign of the input gradient, both in standard deviations of a pixel; log10 of the ratio at equal clean "
        "accuracy (three error rates that both runs of a seed went through) and at the end of training, at equal learning rates, its mean the "
        "number of a seed; plain SGD, a VGG on 14 x 14 images and an MLP"
    ),
    note=(
        "The source trains deep networks on SVHN, CIFAR-10 and ImageNet to the end and reports drops of double-digit percentages for some of them. "
        f"Retained accuracies within {MARGIN} in log10 count as equal. No pilot."
    ),
)
def input_robustness(study: Study) -> list[Check]:
    wide = (0.01, 0.03, 0.1, 0.3, 1.0)
    grid = study.choose(quick=(0.03, 0.1, 0.3), normal=wide, thorough=wide)
    networks = study.choose(quick=tuple(NETWORKS)[1:], normal=tuple(NETWORKS), thorough=tuple(NETWORKS))

    def read(seeds: int, confidence: float) -> list[Check]:
        checks = []
        for network in networks:
            runs = _runs(study, network, grid, seeds)
            arms = [names_at(norm, grid) for norm in ("batch", "none")]
            rates = common_rates(runs, arms, progress_loss)
            for kind, words in (("noise", f"with noise of {NOISE}"), ("sign", f"after a sign step of {SIGN}")):
                checks += _compared(study, network, runs, rates, kind, words, confidence)
        return checks

    # two decisive checks for each kind of disturbance where an effect changes sign along training
    sizes: tuple[int, ...] = study.choose(quick=(3,), normal=(4, 8), thorough=(8, 16))
    return until_decided(study, Looks(sizes, checks=4 * len(networks)), read)


def _compared(
    study: Study,
    network: str,
    runs: Sequence[Mapping[str, Run]],
    rates: Rates,
    kind: str,
    words: str,
    confidence: float,
) -> list[Check]:
    own, other = (names_at(norm, rates.used) for norm in ("batch", "none"))
    size = NOISE if kind == "noise" else SIGN

    def value(point: Json) -> float | None:
        return retained(kind, size, point)

    effects = along_training(runs, own, other, rates.used, clean_error, value)
    protocol = next(iter(runs[0].values())).protocol
    scope = f"the losses of the places are errors on clean test images; {network}, {protocol.steps} steps"
    what = f"retained accuracy {words}, BN over none, {network}"
    return along(study, what, effects, rates, scope, confidence=confidence, margin=MARGIN)

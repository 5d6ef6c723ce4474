"""Yao, Gholami, Keutzer, Mahoney, PyHessian: neural networks through the lens of the Hessian, IEEE Big Data 2020, arXiv
1912.07145.

The trace of the Hessian at the end of training, with batch normalisation and without, in residual networks of small and
of larger depth. The source finds that what batch norm does to it depends on the depth: in the shallow network the
Hessian trace is smaller without batch norm, in the deep one it is larger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.curves import log_ratio
from bntheory.evidence.decision import Side
from bntheory.evidence.looks import Looks
from bntheory.experiments.equal_rates import along_training, at_common_losses, common_rates, end_of
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import FIRST_JUDGED, Protocol, Run, check_of, each_seed, until_decided

KEY = "yao2020"
RATE = 0.02
_CHANNELS = (8, 16, 32)
_COUNTS = {1: "one block", 2: "two blocks", 4: "four blocks", 6: "six blocks"}


def resnet(norm: str, blocks: int) -> Arm:
    """Three stages of so many blocks each; two convolutions a block, and one before them."""
    layout = tuple((channels, blocks) for channels in _CHANNELS)
    options = {"norm": norm, "layout": layout}
    return Arm("resnet", f"{norm}, {blocks}", "resnet", options, RATE, momentum=0.9, weight_decay=5e-4)


def _depths(study: Study) -> tuple[int, int, int]:
    depths: tuple[int, int, int] = study.choose(quick=(1, 2, 4), normal=(1, 2, 4), thorough=(1, 3, 6))
    return depths


def _protocol(study: Study) -> tuple[Protocol, int, int]:
    """(protocol, images on which the trace is measured, random vectors); steps that double, for the losses fall like
    that."""
    images, last, measured, samples = study.choose(
        quick=(200, 64, 64, 5), normal=(500, 256, 100, 10), thorough=(1000, 1024, 200, 40)
    )
    record = tuple(2**k for k in range(3, 12) if 2**k <= last)
    protocol = Protocol(last, record, batch_size=50, measured=images, images=images, side=7)
    return protocol, measured, samples


def _trace(point: Mapping[str, Any]) -> float | None:
    return float(point["trace"]["value"])


def _loss(point: Mapping[str, Any]) -> float | None:
    return float(point["trace"]["loss"])


@claim(
    "yao2020.depth",
    kind="experiment",
    source=Source(KEY, "Hessian trace with and without batch normalisation", seen="recalled"),
    statement=(
        r"\mathrm{tr}\,\nabla^2 L(\text{without}) < \mathrm{tr}\,\nabla^2 L(\text{batch norm}) \text{ in a shallow ResNet}, \quad "
        r"\mathrm{tr}\,\nabla^2 L(\text{without}) > \mathrm{tr}\,\nabla^2 L(\text{batch norm}) \text{ in a deep one}"
    ),
    reading=(
        "trace of the Hessian by all parameters, in training mode, on training images; log10 of the ratio at three losses, even in the logarithm, "
        "that both trainings of a seed went through; their mean is the number of a seed. Shallow: one block in each of three stages (7 convolutions "
        "in a row), deep: several (at normal effort four, 25 in a row); a depth between them is shown"
    ),
    note=(
        "Scaled down: images of 7 x 7 pixels, 8 to 32 channels, a few hundred steps of stochastic gradient descent with momentum 0.9, weight decay "
        f"5e-4 and batches of 50 at rate {RATE:g} in both networks, Glorot's initial values. The source trains networks of 20 to 56 layers to the end, where its networks with and "
        "without batch norm have different losses; here that is shown and the comparison at equal loss decides. With batch norm the trace by "
        "weights that a normalisation follows is in inverse proportion to their squared norm. "
        f"Seeds below {FIRST_JUDGED} were seen when this was designed, and are not used."
    ),
)
def trace_and_depth(study: Study) -> list[Check]:
    protocol, measured, samples = _protocol(study)
    shallow, middle, deep = _depths(study)
    arms = [resnet(norm, blocks) for blocks in (shallow, middle, deep) for norm in ("batch", "none")]
    scope = (
        f"{protocol.steps} steps at rate {RATE:g}, {samples} random vectors on {measured} of {protocol.images} images"
    )
    options = {"batch_size": measured, "samples": samples}

    def read(seeds: int, confidence: float) -> list[Check]:
        runs = each_seed(
            study, arms, protocol, seeds, "Hessian trace", lambda arm: (Measure("trace", options),), first=FIRST_JUDGED
        )
        return depth_checks(study, runs, (shallow, middle, deep), confidence, scope)

    sizes = study.choose(quick=(3,), normal=(4, 8), thorough=(6, 12, 24))
    return until_decided(study, Looks(sizes, checks=2), read)


def depth_checks(
    study: Study, runs: Sequence[Mapping[str, Run]], depths: tuple[int, int, int], confidence: float, scope: str
) -> list[Check]:
    """Opposite sides of 0 at the two outer depths; the depth between, the difference, and the end of the training
    beside."""
    sides: tuple[Side, ...] = ("above", "below", "below")
    checks: list[Check] = []
    ratios: list[list[float | None]] = []
    for blocks, side in zip(depths, sides, strict=True):
        names = tuple(resnet(norm, blocks).name for norm in ("batch", "none"))
        own, other = ({RATE: name} for name in names)
        barred = common_rates(runs, [own, other], _loss).not_comparable
        effects = along_training(runs, own, other, [RATE], _loss, _trace)
        ratios.append(at_common_losses(effects))
        what = f"{_COUNTS.get(blocks, f'{blocks} blocks')} a stage: log10 of the {{}} with batch norm over that without"
        checks.append(
            check_of(
                study,
                what.format("Hessian trace") + ", at equal losses",
                ratios[-1],
                side,
                0.0,
                scope,
                decisive=blocks != depths[1],
                confidence=confidence,
                not_comparable=barred,
            )
        )
        for quantity, of, of_side in (("Hessian trace", _trace, side), ("loss", _loss, "below")):
            ends = [log_ratio(*(end_of(seed[name], of) for name in names)) for seed in runs]
            label = what.format(quantity) + ", at the end of the training"
            checks.append(check_of(study, label, ends, of_side, 0.0, scope, decisive=False, not_comparable=barred))
    differences = [
        deep - shallow if deep is not None and shallow is not None else None
        for shallow, deep in zip(ratios[0], ratios[2], strict=True)
    ]
    name = "log10 of the ratio of the traces at equal losses, with over without: deep minus shallow"
    checks.append(check_of(study, name, differences, "below", 0.0, scope, decisive=False))
    return checks

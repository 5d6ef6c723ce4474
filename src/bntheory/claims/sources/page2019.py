"""Page, How to train your ResNet 7: batch norm, 2019 (myrtle.ai).

Without normalisation, the post argues, the outlying curvature of a deep network belongs to the directions that move the
means of its hidden layers, so that internal covariate shift and a rough loss are two sides of one thing. Here that is
measured inside trained networks: the share of the sharpest direction that lies in the span of the gradients of the
channels' means (:mod:`bntheory.experiments.measures.mean_directions`), against as many random contrasts of the same
channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.decision import Side
from bntheory.evidence.looks import Looks
from bntheory.experiments.equal_rates import Rates, common_rates, name_at, names_at
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import FIRST_JUDGED, Json, Protocol, Run, check_of, each_seed, until_decided

KEY = "page2019"
_BATCH, _SIDE = 128, 14
_GRID = (0.03, 0.1)
_OPTIONS = {"batch_size": _BATCH, "tolerance": 1e-3, "max_products": 150}
#: Far more than chance: at least this factor.
FACTOR = 2.0
NETWORKS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "MLP, 3 hidden layers of 64": ("mlp", (64,) * 3),
    "MLP, 5 hidden layers of 64": ("mlp", (64,) * 5),
    "VGG, 4 convolutions": ("vgg", (8, 0, 16, 0, 16, 16, 0)),
}


def _runs(study: Study, network: str, seeds: int) -> list[dict[str, Run]]:
    kind, layout = NETWORKS[network]
    at = study.choose(quick=(30,), normal=(40, 120), thorough=(40, 120, 400, 1200))
    arms = [Arm(kind, f"none {r:g}", kind, {"norm": "none", "layout": layout}, r) for r in _GRID]
    asked = (Measure("mean-overlap", _OPTIONS),)
    protocol = Protocol(at[-1], at, measured=_BATCH, side=_SIDE)
    return each_seed(study, arms, protocol, seeds, "mean directions", lambda arm: asked, first=FIRST_JUDGED)


def _loss(point: Json) -> float | None:
    """Of the measured batch; where the Hessian was refused there is none, and the run is not compared."""
    found: float | None = point["mean_overlap"].get("loss")
    return found


def _log_ratio(top: str, bottom: str) -> Callable[[Json], float]:
    return lambda found: math.log10(found[top] / found[bottom])


#: By words: what is read off a point, side, bound, whether it decides.
_QUESTIONS: tuple[tuple[str, Callable[[Json], float], Side, float, bool], ...] = (
    (
        "log10 of the top eigenvector's share in the mean directions over that in random contrasts",
        _log_ratio("means", "contrasts"),
        "above",
        math.log10(FACTOR),
        True,
    ),
    (
        "log10 of lambda_max without the mean directions over lambda_max without the random contrasts",
        _log_ratio("without_means", "without_contrasts"),
        "below",
        0.0,
        True,
    ),
    (
        "log10 of the share in the mean directions over their share of all dimensions",
        lambda found: math.log10(found["means"] * found["parameters"] / found["dimension"]),
        "above",
        1.0,
        False,
    ),
    ("the top eigenvector's share in the mean directions", lambda found: float(found["means"]), "above", 0.5, False),
    (
        "log10 of lambda_max without the mean directions over lambda_max",
        _log_ratio("without_means", "top"),
        "below",
        0.0,
        False,
    ),
)


@claim(
    "page2019.shift-makes-curvature",
    kind="experiment",
    source=Source(KEY, "batch norm and curvature", printed=False),
    statement=(
        r"\text{in a network without batch normalisation the outlying curvature lies in directions that move the means of the hidden layers}"
    ),
    reading=(
        "mean directions: the gradients, by all parameters, of every hidden channel's mean pre-activation over the batch and its positions; "
        "contrasts: the gradients of one random contrast (weights of zero sum, of the length that the mean's have) of each of the same channels. "
        f"The top Hessian eigenvector's share (squared length of its projection) in the span of the mean directions is at least {FACTOR:g} times "
        "that in the span of the contrasts, and projecting the Hessian off the former leaves a smaller largest eigenvalue than projecting it off "
        "the latter; means over points of training at learning rates 0.03 and 0.1, one number a seed; both decide in every network: MLPs of 3 and 5 "
        "hidden layers and a VGG, 14 x 14 images"
    ),
    note=(
        "Any projection lowers the largest eigenvalue and any direction in which the network moves overlaps with its channels more than a random "
        "one does; so the contrasts, and not the dimension alone, are what chance gives. The share of the dimension is shown beside. No pilot."
    ),
)
def shift_makes_curvature(study: Study) -> list[Check]:
    names = tuple(NETWORKS)
    networks = study.choose(quick=(names[0], names[2]), normal=names, thorough=names)

    def read(seeds: int, confidence: float) -> list[Check]:
        checks = []
        for network in networks:
            runs = _runs(study, network, seeds)
            rates = common_rates(runs, [names_at("none", _GRID)], _loss)
            for words, value, side, bound, decisive in _QUESTIONS:
                numbers = [_over_points(seed, rates, value) for seed in runs]
                checks.append(
                    check_of(
                        study,
                        f"{words}, {network}",
                        [] if rates.not_comparable else numbers,
                        side,
                        bound,
                        f"{rates.scope}; {network}, {runs[0][f'none {_GRID[0]:g}'].protocol.steps} steps",
                        decisive=decisive,
                        confidence=confidence if decisive else 0.95,
                        not_comparable=rates.not_comparable,
                    )
                )
        return checks

    sizes: tuple[int, ...] = study.choose(quick=(4,), normal=(4, 8), thorough=(8, 16))
    return until_decided(study, Looks(sizes, checks=2 * len(networks)), read)


def _over_points(seed: Mapping[str, Run], rates: Rates, value: Callable[[Json], float]) -> float | None:
    """The mean over the points at which the eigenvalues were found and are positive."""
    points: Sequence[Json] = [
        p["mean_overlap"] for rate in rates.used for p in seed[name_at("none", rate)].points.values()
    ]
    usable = [
        p for p in points if p["refused"] is None and min(p["top"], p["without_means"], p["without_contrasts"]) > 0
    ]
    found = [value(p) for p in usable]
    return sum(found) / len(found) if found else None

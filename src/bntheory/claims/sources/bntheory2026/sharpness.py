"""Which statistic smooths, and how the sharpness of a network moves while its loss falls: largest Hessian eigenvalues
along training.

Both claims look at networks while they train. *Partial twins* freeze one statistic of batch normalisation at a point,
so the reduction of lambda_max splits into what the mean's and what the variance's dependence on the activations makes.
*Progressive sharpening* is the rise of lambda_max with a falling loss, looked at below the edge of stability, where
descent itself does not hold it back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import linear_regression

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.bntheory2026.detached import Network
from bntheory.evidence.checks import Check
from bntheory.evidence.curves import log_ratio
from bntheory.evidence.decision import Side
from bntheory.evidence.looks import Looks
from bntheory.experiments.equal_rates import Arms, common_rates, name_at, names_at
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import FIRST_JUDGED, Json, Protocol, Run, check_of, each_seed, until_decided

KEY = "bntheory2026"
_MLPS = {
    "MLP, 3 hidden layers of 64": Network("mlp", (64,) * 3, 120),
    "MLP, 5 hidden layers of 64": Network("mlp", (64,) * 5, 120),
}
_VGG = {"VGG, 4 convolutions": Network("vgg", (8, 0, 16, 0, 16, 16, 0), 120, 14)}
_RESNET = {"ResNet, 2 blocks": Network("resnet", ((4, 1), (8, 1)), 120, 14)}
_BATCH = 128
_SEARCH = {"batch_size": _BATCH, "tolerance": 0.02, "max_products": 80}
TWINS = ("twin", "own", "mean-alive", "variance-alive")


def _arm(network: Network, norm: str, rate: float) -> Arm:
    return Arm(network.kind, name_at(norm, rate), network.kind, {"norm": norm, "layout": network.layout}, rate)


def _loss(point: Json) -> float | None:
    found: float | None = point["sharpness"]["own"]["loss"]
    return found


# -- partial twins -----------------------------------------------------------------------------------------------------


def _partial_networks(study: Study) -> Mapping[str, Network]:
    every = _MLPS | _VGG | _RESNET
    return study.choose(quick=_MLPS, normal=every, thorough=every)


def _partial_runs(study: Study, network: Network, rates: Sequence[float], seeds: int) -> list[dict[str, Run]]:
    at = study.choose(quick=(8, 24), normal=(15, 40, 120), thorough=(15, 40, 120, 400, 1200))
    protocol = Protocol(at[-1], at, measured=_BATCH, side=network.side)
    asked = (Measure("sharpness", {**_SEARCH, "of": list(TWINS)}),)
    arms = [_arm(network, "batch", rate) for rate in rates]
    return each_seed(study, arms, protocol, seeds, "partial twins", lambda arm: asked, first=FIRST_JUDGED)


def reductions(point: Json) -> dict[str, float] | None:
    """log10 of the frozen twin's lambda_max over that with both statistics, the mean, the variance alive; None where
    one is missing."""
    tops = {name: point["sharpness"][name]["top"] for name in TWINS}
    if any(top is None or not top > 0 for top in tops.values()):
        return None
    twin = tops["twin"]
    names = {"both": "own", "mean": "mean-alive", "variance": "variance-alive"}
    return {which: math.log10(twin / tops[name]) for which, name in names.items()}


@claim(
    f"{KEY}.partial-twins",
    kind="experiment",
    source=Source(KEY, "partial twins", printed=False),
    statement=(
        r"\text{the reduction of } \lambda_{\max} \text{ against the frozen-statistics twin is mostly the mean's: with the mean's dependence "
        r"alone alive it is more than half of it, and more than with the variance's alone}"
    ),
    reading=(
        "at points of training with batch normalisation, R, M and V: log10 of the frozen twin's largest Hessian eigenvalue over that of the "
        "network, of the twin in which the variance alone is frozen (the mean alive), and of the one in which the mean alone is frozen (the "
        "variance alive); M > R/2 and M > V; one number a seed, the mean over the points of training at the learning rates 0.02 and 0.1; both "
        "checks decide in every network: MLPs of 3 and 5 hidden layers, a VGG and a ResNet on 14 x 14 images"
    ),
    note=(
        "Parts of a logarithm do not add up: the interaction R - M - V is shown beside. Pilot: 18 points of MLPs and a VGG, two seeds below "
        f"{FIRST_JUDGED}, with M between 0.16 and 0.72 and V between 0.09 and 0.25; judged on seeds from {FIRST_JUDGED}. Largest eigenvalues "
        "on 128 images to 2 %."
    ),
)
def partial_twins(study: Study) -> list[Check]:
    grid = (0.02, 0.1)
    networks = _partial_networks(study)

    def read(seeds: int, confidence: float) -> list[Check]:
        checks = []
        for name, network in networks.items():
            runs = _partial_runs(study, network, grid, seeds)
            rates = common_rates(runs, [names_at("batch", grid)], _loss)
            numbers = [_mean_reductions(seed, rates.used) for seed in runs]
            scope = f"{rates.scope}; {name}, along {runs[0][name_at('batch', grid[0])].protocol.steps} steps"
            checks += _shares(study, name, numbers, scope, rates.not_comparable, confidence)
        return checks

    sizes: tuple[int, ...] = study.choose(quick=(4,), normal=(6, 12), thorough=(8, 16))
    return until_decided(study, Looks(sizes, checks=2 * len(networks)), read)


def _mean_reductions(seed: Mapping[str, Run], rates: Sequence[float]) -> dict[str, float] | None:
    points = [p for rate in rates for p in seed[name_at("batch", rate)].points.values()]
    found = [r for p in points if (r := reductions(p)) is not None]
    return {k: sum(r[k] for r in found) / len(found) for k in found[0]} if found else None


def _shares(
    study: Study, name: str, numbers: Sequence[dict[str, float] | None], scope: str, barred: str, confidence: float
) -> list[Check]:
    """Both decisive checks of a network, and what they are made of."""

    def one(words: str, weights: Mapping[str, float], barred: str, *, decisive: bool) -> Check:
        values = [None if n is None else sum(w * n[which] for which, w in weights.items()) for n in numbers]
        return check_of(
            study,
            f"{words}, {name}",
            [] if barred else values,
            "above",
            0.0,
            scope,
            decisive=decisive,
            confidence=confidence if decisive else 0.95,
            margin=0.02,
            not_comparable=barred,
        )

    whole = one("R, log10 of the frozen twin's lambda_max over the network's", {"both": 1.0}, barred, decisive=False)
    if not barred and whole.outcome != "holds":
        barred = "there is no reduction to be shared: R is not above 0"
    decisive = [
        one("M - R/2, the mean's reduction over half of the whole", {"mean": 1.0, "both": -0.5}, barred, decisive=True),
        one("M - V, the mean's reduction over the variance's", {"mean": 1.0, "variance": -1.0}, barred, decisive=True),
    ]
    beside = [
        one("M, the mean's dependence alone", {"mean": 1.0}, barred, decisive=False),
        one("V, the variance's dependence alone", {"variance": 1.0}, barred, decisive=False),
        one("R - M - V, the interaction", {"both": 1.0, "mean": -1.0, "variance": -1.0}, barred, decisive=False),
    ]
    return [*decisive, whole, *beside]


# -- progressive sharpening --------------------------------------------------------------------------------------------

#: A power of the loss: lambda_max within a fifth while the loss falls to a tenth does not rise.
FLAT = 0.1
#: Of the losses between which a slope is taken: the least ratio, and the least number of points.
_RANGE, _POINTS = 1.5, 4
_RATE = 0.01


def sharpening(run: Run) -> float | None:
    """Minus the slope of log lambda_max against log loss, over the recorded points with learning rate times lambda_max
    below 2.

    Positive where the curvature rises as the loss falls. None where fewer than four points are below the edge, or where
    their losses do not differ by half.
    """
    points = [run.points[step]["sharpness"]["own"] for step in run.after_start if step in run.points]
    stable = [p for p in points if p["top"] is not None and 0 < p["top"] * run.arm.learning_rate < 2 and p["loss"] > 0]
    losses = [math.log10(p["loss"]) for p in stable]
    if len(stable) < _POINTS or max(losses) - min(losses) < math.log10(_RANGE):
        return None
    return -linear_regression(losses, [math.log10(p["top"]) for p in stable]).slope


def edge_share(run: Run) -> float | None:
    """The largest learning rate times lambda_max over 2 among the recorded points."""
    tops = [p["sharpness"]["own"]["top"] for p in run.points.values()]
    known = [top for top in tops if top is not None]
    return max(known) * run.arm.learning_rate / 2 if known else None


@claim(
    f"{KEY}.progressive-sharpening",
    kind="experiment",
    source=Source(KEY, "progressive sharpening", printed=False),
    statement=(
        r"\text{below the edge of stability the largest Hessian eigenvalue rises as the loss falls without batch normalisation, and does not "
        r"rise with it}"
    ),
    reading=(
        "sharpening: minus the slope of log lambda_max against log loss over the recorded points of a run at learning rate 0.01 at which "
        "learning rate times lambda_max is below 2; it is above 0.1 without batch norm, below 0.1 with it, and smaller with it than without, "
        "each in every network: MLPs of 3 and 5 hidden layers and a VGG on 14 x 14 images"
    ),
    note=(
        f"0.1: while the loss falls to a tenth, lambda_max grows by a quarter. Pilot: three seeds below {FIRST_JUDGED}; judged on seeds from "
        f"{FIRST_JUDGED}. Points at or beyond the edge are not used, since there descent itself holds lambda_max at 2/rate; how near a run "
        "came is shown beside. Loss and eigenvalue on the same 128 images."
    ),
)
def progressive_sharpening(study: Study) -> list[Check]:
    networks = study.choose(quick=_MLPS, normal=_MLPS | _VGG, thorough=_MLPS | _VGG)
    normal = (5, 15, 30, 60, 120, 200, 320, 480)
    at = study.choose(quick=(5, 20, 50, 100, 160), normal=normal, thorough=(*normal, 1000, 2000))
    asked = (
        Measure("sharpness", {**_SEARCH, "of": ["own"]}),
        Measure("affine-defect", {"batch_size": _BATCH, "steps": [1.0], "twin": False}, at=at[-1:]),
        Measure("saturation", {"batch_size": _BATCH, "flat": 0.05}, at=at[-1:]),
    )

    def read(seeds: int, confidence: float) -> list[Check]:
        checks = []
        for name, network in networks.items():
            arms = [_arm(network, norm, _RATE) for norm in ("batch", "none")]
            protocol = Protocol(at[-1], at, measured=_BATCH, side=network.side)
            runs = each_seed(
                study, arms, protocol, seeds, "progressive sharpening", lambda arm: asked, first=FIRST_JUDGED
            )
            checks += _slopes(study, name, runs, f"{name}, {at[-1]} steps at rate {_RATE:g}", confidence)
        return checks

    sizes: tuple[int, ...] = study.choose(quick=(4,), normal=(6, 12), thorough=(8, 16))
    return until_decided(study, Looks(sizes, checks=3 * len(networks)), read)


def _slopes(study: Study, name: str, runs: Sequence[Mapping[str, Run]], scope: str, confidence: float) -> list[Check]:
    batch, none = f"batch {_RATE:g}", f"none {_RATE:g}"
    arms: list[Arms] = [{_RATE: batch}, {_RATE: none}]
    barred = common_rates(runs, arms, _loss).not_comparable
    with_bn, without = ([sharpening(seed[arm]) for seed in runs] for arm in (batch, none))
    difference = [None if a is None or b is None else a - b for a, b in zip(with_bn, without, strict=True)]
    rows: list[tuple[str, list[float | None], Side, float]] = [
        ("sharpening without batch norm", without, "above", FLAT),
        ("sharpening with batch norm", with_bn, "below", FLAT),
        ("sharpening, with batch norm minus without", difference, "below", 0.0),
    ]
    decisive = [
        check_of(
            study,
            f"{words}, {name}",
            [] if barred else numbers,
            side,
            bound,
            scope,
            confidence=confidence,
            not_comparable=barred,
        )
        for words, numbers, side, bound in rows
    ]
    beside = [
        check_of(
            study,
            f"largest learning rate times lambda_max over 2 along the run, {words}, {name}: below the edge",
            [] if barred else [edge_share(seed[arm]) for seed in runs],
            "below",
            1.0,
            scope,
            decisive=False,
            not_comparable=barred,
        )
        for words, arm in (("with batch norm", batch), ("without", none))
    ]
    return [*decisive, *beside, *_at_the_end(study, name, runs, (batch, none), scope, barred)]


def scaled_defect(run: Run) -> float | None:
    """2 E/r^2 with E the affine defect within r, one training step, along the gradient, after the last step."""
    point = run.points.get(run.protocol.steps)
    found: float | None = None if point is None else point["affine_defect"]["own"]["1"]["scaled"]
    return found


def moved_units(run: Run) -> float | None:
    """The share of units that the next update moves into or out of a flat region, after the last step: the mean over
    nonlinearities."""
    point = run.points.get(run.protocol.steps)
    return None if point is None else sum(moved := point["saturation"]["moved"]) / len(moved)


def _at_the_end(
    study: Study, name: str, runs: Sequence[Mapping[str, Run]], arms: tuple[str, str], scope: str, barred: str
) -> list[Check]:
    """What deciding nothing is shown beside: curvature that survives ReLU, and how many units an update moves in or out
    of flat regions."""
    rows = [
        ("log10 of the affine defect within one step over its squared length", scaled_defect),
        ("log10 of the share of units that an update moves into or out of a flat region", moved_units),
    ]
    return [
        check_of(
            study,
            f"{words}, BN over none at the end, {name}",
            [] if barred else [log_ratio(read(seed[arms[0]]), read(seed[arms[1]])) for seed in runs],
            "below",
            0.0,
            scope,
            decisive=False,
            not_comparable=barred,
        )
        for words, read in rows
    ]

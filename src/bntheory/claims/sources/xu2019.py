"""Xu, Sun, Zhang, Zhao and Lin: Understanding and improving layer normalization, NeurIPS 2019, arXiv 1911.07013."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.curves import log_ratio
from bntheory.evidence.looks import Looks
from bntheory.experiments.equal_rates import Rates, common_rates, name_at, names_at
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import (
    FIRST_JUDGED,
    Protocol,
    Run,
    check_of,
    each_seed,
    late_loss,
    progress_loss,
    until_decided,
)
from bntheory.layer import LayerDomain, Statement, all_of, batch_mean, centre, eq, le
from bntheory.layer.vocabulary import Layer

KEY = "xu2019"


@claim(
    "xu2019.gradient-recentred",
    source=Source(KEY, "section 4", "arXiv 1911.07013", printed=False),
    statement=r"\langle 1,\nabla_y\hat L\rangle = 0, \qquad \|\nabla_y\hat L\|^2 \le \frac{\gamma^2}{\sigma^2}\|g - \bar g 1\|^2",
    domain=LayerDomain(eps="any"),
    reading=(
        "normalisation's backward pass re-centres the gradient and does not enlarge it beyond gamma/sigma; on one sample layer norm is "
        "this layer over the sample's features, with one gain for all of them (other gains go into g)"
    ),
)
def gradient_recentred(layer: Layer) -> Statement:
    bound = layer.gamma**2 / layer.sigma**2 * layer.norm2(centre(layer, layer.grad))
    return all_of(
        eq(batch_mean(layer, layer.input_grad), 0, "re-centred"),
        le(layer.norm2(layer.input_grad), bound, "not enlarged"),
    )


# -- trained networks --------------------------------------------------------------------------------------------------

_GRID = (0.01, 0.03, 0.1, 0.3, 1.0)
_ARMS = ("layer", "layer-detached", "none")
_BATCH = 256
#: log10 of a ratio of losses: a twentieth more or less is too little to matter.
MARGIN = 0.02
NETWORKS: Mapping[str, tuple[str, dict[str, Any], int]] = {
    "transformer, 2 blocks": ("transformer", {"layout": (32, 2, 2), "activation": "gelu"}, 120),
    "MLP, 5 hidden layers of 64": ("mlp", {"layout": (64,) * 5}, 120),
}


def _runs(study: Study, network: str, grid: Sequence[float], seeds: int) -> list[dict[str, Run]]:
    kind, options, steps = NETWORKS[network]
    arms = [Arm(kind, name_at(norm, r), kind, {**options, "norm": norm}, r) for norm in _ARMS for r in grid]
    steps = study.choose(quick=40, normal=steps, thorough=10 * steps)
    record = tuple(steps // 2 + (steps - steps // 2) * (i + 1) // 10 for i in range(10))
    asked = (Measure("progress", {"batch_size": _BATCH}),)
    protocol = Protocol(steps, record, measured=_BATCH)
    return each_seed(study, arms, protocol, seeds, "detached layer norm", lambda arm: asked, first=FIRST_JUDGED)


@claim(
    "xu2019.derivatives-matter",
    kind="experiment",
    source=Source(KEY, "abstract", "arXiv 1911.07013", printed=False),
    statement=(
        r"\text{the derivatives of the mean and variance are more important than forward normalisation: without them, training with layer "
        r"normalisation is nearer to training without normalisation than to layer normalisation}"
    ),
    reading=(
        "nearer: log10 of the late loss of the network whose mean and variance are detached lies above the middle between those of layer norm and "
        "of no normalisation; late loss: the training loss on 256 images, its mean over the second half of training; the number of a seed is the "
        "mean over the learning rates of a grid of two decades at which all three train; plain SGD, a transformer of 2 blocks on rows of images and "
        "an MLP of 5 hidden layers"
    ),
    note=(
        "The source tests translation, language models and classification, the sizes of which are not reached. Where layer norm itself does not "
        f"train better than no normalisation, there is nothing to be nearer to. Distances within {MARGIN} of the middle count as equal. No pilot."
    ),
)
def derivatives_matter(study: Study) -> list[Check]:
    grid = study.choose(quick=(0.03, 0.1, 0.3), normal=_GRID, thorough=_GRID)
    networks = study.choose(quick=tuple(NETWORKS)[1:], normal=tuple(NETWORKS), thorough=tuple(NETWORKS))

    def read(seeds: int, confidence: float) -> list[Check]:
        checks = []
        for network in networks:
            runs = _runs(study, network, grid, seeds)
            rates = common_rates(runs, [names_at(n, grid) for n in _ARMS], progress_loss)
            checks += _nearer(study, network, runs, rates, confidence)
        return checks

    sizes: tuple[int, ...] = study.choose(quick=(3,), normal=(4, 8), thorough=(6, 12))
    return until_decided(study, Looks(sizes, checks=len(networks)), read)


def _nearer(
    study: Study, network: str, runs: Sequence[Mapping[str, Run]], rates: Rates, confidence: float
) -> list[Check]:
    """Where the detached arm lies between the other two, and whether there is a distance between them at all."""

    def over_rates(weights: Mapping[str, float]) -> list[float | None]:
        return [
            sum(w * math.log10(late_loss(s[name_at(n, r)])) for r in rates.used for n, w in weights.items())
            / len(rates.used)
            for s in runs
        ]

    def one(words: str, weights: Mapping[str, float], barred: str, *, decisive: bool) -> Check:
        return check_of(
            study,
            f"log10 of the late loss, {words}, {network}",
            [] if barred else over_rates(weights),
            "above",
            0.0,
            f"{rates.scope}; {network}, {next(iter(runs[0].values())).protocol.steps} steps",
            decisive=decisive,
            confidence=confidence if decisive else 0.95,
            margin=MARGIN,
            not_comparable=barred,
        )

    barred = rates.not_comparable
    lead = one("no normalisation over layer norm", {"none": 1.0, "layer": -1.0}, barred, decisive=False)
    if not barred and lead.outcome != "holds":
        barred = "layer norm does not train better than no normalisation here, so there is nothing to be nearer to"
    middle = {"layer-detached": 1.0, "layer": -0.5, "none": -0.5}
    return [
        one("layer norm detached, minus the middle between layer norm and none", middle, barred, decisive=True),
        lead,
        one(
            "layer norm detached over layer norm",
            {"layer-detached": 1.0, "layer": -1.0},
            rates.not_comparable,
            decisive=False,
        ),
        one(
            "layer norm detached over none", {"layer-detached": 1.0, "none": -1.0}, rates.not_comparable, decisive=False
        ),
        *_at_best_rates(study, network, runs),
    ]


def _at_best_rates(study: Study, network: str, runs: Sequence[Mapping[str, Run]]) -> list[Check]:
    """Beside: each arm at the rate of the grid at which its own late loss is lowest, rates at which another arm
    diverges included."""
    best = [
        {n: min(late_loss(run) for name, run in s.items() if name.rsplit(" ", 1)[0] == n) for n in _ARMS} for s in runs
    ]
    return [
        check_of(
            study,
            f"log10 of the late loss, {words}, each at its best rate, {network}",
            [log_ratio(seed[own], seed[other]) for seed in best],
            "above",
            0.0,
            f"{network}, {next(iter(runs[0].values())).protocol.steps} steps",
            decisive=False,
            margin=MARGIN,
        )
        for words, own, other in (
            ("no normalisation over layer norm", "none", "layer"),
            ("layer norm detached over layer norm", "layer-detached", "layer"),
            ("layer norm detached over none", "layer-detached", "none"),
        )
    ]

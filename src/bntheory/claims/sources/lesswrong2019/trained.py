"""The post's discussion in trained networks: which networks, which arms at which learning rates, and what is measured
on them.

Everything is scaled down: the packaged Fashion-MNIST subset, batches of 64, plain SGD, 120 steps at normal effort.
Seeds begin at 100: those from 0 and from 1000 were seen by a review of an earlier design, which served as the pilot for
the grids of rates (a transformer without normalisation diverges at larger rates than these). Grids, margins and places
were written before there was any record of these seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bntheory.claims.claim import Study
from bntheory.claims.sources.lesswrong2019.controls import Compared
from bntheory.evidence.looks import Looks
from bntheory.experiments.equal_rates import Arms, names_at
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import Protocol, each_seed

FIRST_SEED = 100
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
#: The weights in front of every batch norm times this: the reparametrised control.
FACTORS = (0.25, 0.5, 2.0, 4.0)
MEASURED = 64


@dataclass(frozen=True)
class Network:
    """what: in words. side: of the images, averaged down. factors: whether reparametrised twins are measured."""

    what: str
    kind: str
    options: Mapping[str, Any]
    side: int = 0
    rates: tuple[float, ...] = RATES
    factors: tuple[float, ...] = field(default=())


_SMALL_VGG, _DEEPER_VGG = (8, 0, 16, 0, 16, 0), (8, 0, 16, 16, 0, 16, 16, 0)
NETWORKS: Mapping[str, Network] = {
    "mlp-3": Network("MLP of 3 hidden layers", "mlp", {"layout": (64,) * 3}, factors=FACTORS),
    "mlp-5": Network("MLP of 5 hidden layers", "mlp", {"layout": (64,) * 5}, factors=FACTORS),
    "vgg-3": Network("VGG of 3 convolutions", "vgg", {"layout": _SMALL_VGG}, 14, factors=FACTORS),
    "vgg-5": Network("VGG of 5 convolutions", "vgg", {"layout": _DEEPER_VGG}, 14),
    "resnet": Network("residual network", "resnet", {"layout": ((4, 1), (8, 1))}, 14),
    "transformer": Network(
        "transformer", "transformer", {"layout": (32, 2, 2), "activation": "gelu"}, rates=(0.003, 0.01, 0.03, 0.1, 0.3)
    ),
    "rnn": Network("recurrent network", "rnn", {"layout": (32,), "activation": "tanh"}),
    "mlp-3-softplus": Network(
        "MLP of 3 hidden layers, softplus", "mlp", {"layout": (64,) * 3, "activation": "softplus"}
    ),
    "mlp-5-softplus": Network(
        "MLP of 5 hidden layers, softplus", "mlp", {"layout": (64,) * 5, "activation": "softplus"}
    ),
    "vgg-3-gelu": Network(
        "VGG of 3 convolutions, GELU, average pooling",
        "vgg",
        {"layout": _SMALL_VGG, "activation": "gelu", "pool": "average"},
        14,
    ),
}


def protocol_of(study: Study, network: Network) -> Protocol:
    """Steps and records for an effort, the same for all claims of this source, so that they share their networks."""
    record = study.choose(quick=(1, 10, 40), normal=(1, 10, 40, 120), thorough=(1, 6, 20, 60, 160, 480))
    return Protocol(record[-1], record, batch_size=64, measured=MEASURED, side=network.side)


def looks_of(study: Study, checks: int, most: int = 24) -> Looks:
    """Seeds are added up to ``most``. checks: how many decisive ones there can be."""
    if study.effort == "quick":
        return Looks((3,), checks=checks)
    return Looks.doubling(6, study.choose(quick=3, normal=most, thorough=24), checks=checks)


def _arms(study: Study, network: Network, norm: str) -> Arms:
    """The name of the arm with this normalisation at every rate; at quick effort at the middle of the grid."""
    rates = study.choose(quick=network.rates[1:4], normal=network.rates, thorough=network.rates)
    return names_at(norm, rates)


def _measure(arm: Arm, network: Network) -> Measure:
    options = {"batch_size": MEASURED, "tolerance": 0.01, "max_products": 100, "fraction": 0.1}
    twin = arm.options["norm"] == "batch"
    return Measure("linearity", {**options, "twin": twin, "factors": network.factors if twin else ()})


def compared(study: Study, name: str, seeds: int, norms: Sequence[str] = ("batch", "none")) -> Compared:
    """The first so many seeds of a network with each of these normalisations, ready to be compared."""
    network = NETWORKS[name]
    arms = {norm: _arms(study, network, norm) for norm in norms}
    runs = each_seed(
        study,
        [
            Arm(network.kind, arm, network.kind, {**network.options, "norm": norm}, rate)
            for norm, of in arms.items()
            for rate, arm in of.items()
        ],
        protocol_of(study, network),
        seeds,
        network.what,
        lambda arm: (_measure(arm, network),),
        first=FIRST_SEED,
    )
    return Compared(study, network.what, runs, arms, f"{protocol_of(study, network).steps} steps")

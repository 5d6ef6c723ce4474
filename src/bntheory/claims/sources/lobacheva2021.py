"""Lobacheva, Kodryan, Chirkova, Malinin and Vetrov: On the periodic behavior of neural network training with batch
normalization and weight decay, NeurIPS 2021, arXiv 2106.15739."""

from __future__ import annotations

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical
from bntheory.evidence.rates import count_check

KEY = "lobacheva2021"


@claim(
    "lobacheva2021.periodic",
    kind="dynamics",
    source=Source(KEY, "abstract", "arXiv 2106.15739", printed=False),
    statement=r"\text{BN with weight decay at a constant learning rate is destabilised periodically}",
    reading=(
        "full-batch descent on scale-invariant losses: after a first quarter the loss rises by a factor of 1000 over its last minimum, again "
        "and again, at least 10 times within the intrinsic time eta lambda t = 45, at distances whose standard deviation is at most 30 % "
        "of their mean"
    ),
    note="As read here: the numbers are ours. Two small losses and an exact recursion, no networks.",
)
def periodic(study: Study) -> list[Check]:
    from bntheory.models.edge_of_stability import bursts
    from bntheory.models.scale_invariant import CircleOfMinima, RayleighPower, descend

    products = study.choose(quick=(1e-2,), normal=(1e-2, 6e-3), thorough=(1e-2, 6e-3, 4e-3))
    starts = study.choose(quick=3, normal=5, thorough=10)
    few, uneven, cases, shares, periods = 0, 0, 0, [], []
    for loss in (RayleighPower((0.0, 0.3, 0.6, 1.0), 1), CircleOfMinima(0.5)):
        for product in products:
            w0 = np.random.default_rng(study.seed).normal(size=(starts, loss.dimension))
            steps = int(60 / product)
            run = descend(loss, w0, 1.0, steps, weight_decay=product, points=None)
            for values in run["value"]:
                late = bursts(np.maximum(values[steps // 4 :], 1e-300))
                cases += 1
                few += len(late.times) < 10
                share = float(late.periods.std() / late.periods.mean()) if len(late.times) > 2 else float("inf")
                uneven += share > 0.3
                shares.append(share)
                periods.append(float(late.periods.mean() * product) if len(late.times) > 1 else float("nan"))
    scope = f"2 losses, eta lambda in {products}, {starts} starts each, eta lambda t from 15 to 60"
    witness = {"seed": study.seed, "spread": np.round(shares, 3).tolist(), "period": np.round(periods, 3).tolist()}
    return [
        count_check("runs with fewer than 10 bursts", few, cases, scope, witness=witness),
        count_check("runs whose bursts are uneven", uneven, cases, scope, witness=witness),
        numerical(
            "longest mean period over the shortest, in intrinsic time: the period is of the order 1/(eta lambda)",
            scope,
            witness=witness,
            decisive=False,
        ).le(np.nanmax(periods) / np.nanmin(periods), 10.0),
    ]

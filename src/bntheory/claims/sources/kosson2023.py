"""Kosson, Messmer and Jaggi: Rotational equilibrium: how weight decay balances learning across neural networks, 2023,
arXiv 2305.17212."""

from __future__ import annotations

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.seeds import over_seeds

KEY = "kosson2023"
_SOURCE = Source(KEY, "rotational equilibrium of AdamW", "arXiv 2305.17212", seen="recalled", printed=False)
_STATEMENT = r"\text{at equilibrium AdamW turns scale-invariant weights by } \sqrt{2\eta\lambda} \text{ a step}"
_MARGIN = 0.03


def _angles(study: Study, momentum: float, expected_momentum: float) -> list[Check]:
    from bntheory.models.adamw import adamw_rotation, predicted_angle

    product = study.choose(quick=1e-2, normal=4e-3, thorough=1e-3)
    run = adamw_rotation(
        lr=0.01, decay=product / 0.01, b1=momentum, seeds=study.choose(quick=5, normal=8, thorough=16), seed=study.seed
    )
    share = (run.angle / predicted_angle(0.01, product / 0.01, expected_momentum)).tolist()
    scope = f"random walk in R^64, b1 = {momentum:g}, b2 = 0.99, eta lambda = {product:g}, {run.steps} steps"
    name = f"root mean square angle over the stated one, b1 = {momentum:g}, is at"
    return [
        over_seeds(f"{name} least 1 up to 3 %", share, "above", 1 - _MARGIN, scope),
        over_seeds(f"{name} most 1 up to 3 %", share, "below", 1 + _MARGIN, scope),
        over_seeds(
            "||w|| over its prediction sqrt(eta d/(2 lambda))",
            np.abs(run.norm_ratio - 1).tolist(),
            "below",
            0.1,
            scope,
            decisive=False,
        ),
    ]


@claim(
    "kosson2023.adamw-rotation",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="whatever the momentum: root mean square angle between successive weights, b1 = 0 and b1 = 0.9",
)
def adamw_rotation(study: Study) -> list[Check]:
    return [check for b1 in (0.0, 0.9) for check in _angles(study, b1, 0.0)]


@claim(
    "kosson2023.adamw-rotation.no-momentum",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="without momentum, b1 = 0",
)
def adamw_rotation_plain(study: Study) -> list[Check]:
    return _angles(study, 0.0, 0.0)


@claim(
    "kosson2023.adamw-rotation.momentum",
    kind="dynamics",
    source=Source(KEY, "with momentum", seen="own"),
    statement=(
        r"\text{at equilibrium AdamW turns scale-invariant weights by } "
        r"\sqrt{2\eta\lambda\,\frac{1-\beta_1}{1+\beta_1}} \text{ a step}"
    ),
    repairs="kosson2023.adamw-rotation",
    note=(
        "Derived here. sqrt(2 eta lambda) is then the angle by which one gradient turns the weights in the end, spread over about "
        "1/(1 - b1) steps that overlap with the others'."
    ),
)
def adamw_rotation_momentum(study: Study) -> list[Check]:
    return [
        check
        for b1 in study.choose(quick=(0.9,), normal=(0.5, 0.9), thorough=(0.5, 0.9, 0.95))
        for check in _angles(study, b1, b1)
    ]

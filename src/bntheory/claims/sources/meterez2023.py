"""Meterez, Joudaki, Orabona, Immer, Raetsch and Daneshmand: Towards training without depth limits: batch normalization
without gradient explosion, ICLR 2024, arXiv 2310.02012."""

from __future__ import annotations

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.random_networks import passes
from bntheory.evidence.checks import Check
from bntheory.evidence.seeds import over_seeds

KEY = "meterez2023"
_SOURCE = Source(KEY, "abstract", "arXiv 2310.02012", printed=False)
_STATEMENT = r"\text{a linear network with BN and random orthogonal weights has bounded gradients at any depth, for linearly independent samples}"
_WIDTH = 32


def _growth(study: Study, weights: str, batch: int) -> tuple[list[float], str]:
    """By how much log10 of the gradient's norm grows per 100 layers towards the input, one number a seed."""
    from bntheory.models.deep_random import DeepRandom

    depth = study.choose(quick=150, normal=300, thorough=1000)
    network = DeepRandom(_WIDTH, depth, batch, norm="batch-rms", activation="linear", weights=weights)  # type: ignore[arg-type]
    rates = []
    for p in passes(study, network):
        # the middle third: before it H settles, after it the drawn gradient does
        logs = np.log10(p.gradient_norms[depth // 3 : 2 * depth // 3])
        rates.append(-100.0 * float(np.polyfit(np.arange(len(logs)), logs, 1)[0]))
    return (
        rates,
        f"linear networks of width {_WIDTH}, depth {depth}, root-mean-square BN over {batch} Gaussian samples, {weights} weights",
    )


def _bounded(study: Study, batch: int) -> list[Check]:
    orthogonal, scope = _growth(study, "orthogonal", batch)
    gaussian, other = _growth(study, "gaussian", batch)
    return [
        over_seeds("growth of log10 ||gradient|| per 100 layers", orthogonal, "below", 0.05, scope),
        over_seeds("the same with Gaussian weights, for comparison", gaussian, "above", 0.05, other, decisive=False),
    ]


@claim(
    "meterez2023.orthogonal-weights",
    kind="network",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="any linearly independent samples, fewer than the width; bounded: less than 12 % growth in 100 layers",
    note="The abstract names no batch size; the threshold is ours.",
)
def orthogonal_weights(study: Study) -> list[Check]:
    return _bounded(study, _WIDTH // 4)


@claim(
    "meterez2023.orthogonal-weights.square",
    kind="network",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="as many linearly independent samples as units; bounded: less than 12 % growth in 100 layers",
    repairs="meterez2023.orthogonal-weights",
    note=(
        "Then H tends to a multiple of an orthogonal matrix, every row of W H has the same length, and normalisation does nothing more: its "
        "backward pass only projects. With fewer samples the rows' lengths keep fluctuating, and E[1/sigma^2] > 1/E[sigma^2]."
    ),
)
def orthogonal_weights_square(study: Study) -> list[Check]:
    return _bounded(study, _WIDTH)

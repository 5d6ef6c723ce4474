"""De and Smith: Batch normalization biases residual blocks towards the identity function in deep networks, NeurIPS 2020, arXiv
2002.10444."""

from __future__ import annotations

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.random_networks import exponent, one_sided, passes
from bntheory.evidence.checks import Check
from bntheory.evidence.rates import slope_checks

KEY = "desmith2020"


@claim(
    "desmith2020.branch-downscaled",
    kind="network",
    source=Source(KEY, "abstract", "arXiv 2002.10444", printed=False),
    statement=(
        r"\text{at initialisation BN downscales the residual branch relative to the skip connection by a factor of the order of }"
        r"\sqrt{\text{depth}}"
    ),
    reading=(
        "ratio of standard deviations, branch over skip, at block l of relu networks whose branch is normalised first: like l^(-1/2), "
        "exponent within 0.1; without normalisation no such factor, exponent within 0.1 of 0"
    ),
    note="The margins are ours.",
)
def branch_downscaled(study: Study) -> list[Check]:
    from bntheory.models.deep_random import DeepRandom

    depth = study.choose(quick=64, normal=128, thorough=256)
    blocks = np.unique(np.round(np.geomspace(4, depth, 8)).astype(int))
    scope = f"residual relu networks, width 64, batch 32, blocks 4 to {depth}"

    def ratios(norm: str) -> list[list[float]]:
        network = DeepRandom(64, depth, 32, norm=norm, residual=True)
        return [[float(p.branch_over_skip[b - 1]) for b in blocks] for p in passes(study, network)]

    plain = exponent(blocks.tolist(), ratios("none"))
    return [
        *slope_checks(
            "branch over skip with BN", exponent(blocks.tolist(), ratios("batch")), -0.5, 0.1, scope
        ),
        one_sided("exponent without normalisation", plain, "above", -0.1, scope),
    ]

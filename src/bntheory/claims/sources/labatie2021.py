"""Labatie, Masters, Eaton-Rosen and Luschi: Proxy-normalizing activations to match batch normalization while removing
batch dependence, NeurIPS 2021, arXiv 2106.03743."""

from __future__ import annotations

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.random_networks import passes
from bntheory.evidence.checks import Check
from bntheory.evidence.seeds import over_seeds

KEY = "labatie2021"


@claim(
    "labatie2021.channel-constants",
    kind="network",
    source=Source(KEY, "abstract", "arXiv 2106.03743", printed=False),
    statement=r"\text{layer normalisation drives representations towards channel-wise constants with depth}",
    reading=(
        "random relu networks: the share of a representation's mean square that each unit gives to all samples alike rises by 0.3 from layer "
        "2 to the last, to 0.9 and more; with batch normalisation it stays below 0.5"
    ),
    note="As read here: the numbers are ours. Fully connected networks, where a channel is a unit.",
)
def channel_constants(study: Study) -> list[Check]:
    from bntheory.models.deep_random import DeepRandom, channel_share

    depth = study.choose(quick=30, normal=60, thorough=120)
    scope = f"relu networks of width 64, depth {depth}, 32 Gaussian samples"

    def shares(norm: str, layer: int) -> list[float]:
        return [channel_share(p.representations[layer]) for p in passes(study, DeepRandom(64, depth, 32, norm=norm))]

    early, late = shares("layer", 2), shares("layer", -1)
    return [
        over_seeds("share at the last layer, layer norm", late, "above", 0.9, scope),
        over_seeds(
            "rise of the share from layer 2, layer norm",
            [b - a for a, b in zip(early, late, strict=True)],
            "above",
            0.3,
            scope,
        ),
        over_seeds("share at the last layer, batch norm", shares("batch", -1), "below", 0.5, scope),
        over_seeds(
            "share at the last layer, no normalisation, for comparison",
            shares("none", -1),
            "above",
            0.5,
            scope,
            decisive=False,
        ),
    ]

"""Lubana, Dick and Tanaka: Beyond BatchNorm: towards a unified understanding of normalization in deep learning, NeurIPS
2021, arXiv 2106.05956."""

from __future__ import annotations

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.random_networks import exponent, passes
from bntheory.evidence.checks import Check
from bntheory.evidence.rates import slope_bound

KEY = "lubana2021"
_GROUPS = (4, 8, 16, 32, 64)


@claim(
    "lubana2021.group-size",
    kind="network",
    source=Source(KEY, "abstract", "arXiv 2106.05956", printed=False),
    statement=r"\text{in group normalisation small groups raise the gradients of early layers, large groups make samples alike}",
    reading=(
        "random relu networks of width 64, group sizes 4 to 64: the gradient's norm at the first layer falls with the group's size (exponent "
        "below 0), and the mean cosine between samples at the last layer rises with it (exponent above 0)"
    ),
    note="Groups of two are left out: their normalised values are 1 and -1, so that relu passes no gradient at all.",
)
def group_size(study: Study) -> list[Check]:
    from bntheory.models.deep_random import DeepRandom, mean_similarity

    depth = study.choose(quick=10, normal=20, thorough=40)
    scope = f"relu networks of width 64, depth {depth}, 16 Gaussian samples"
    runs = [passes(study, DeepRandom(64, depth, 16, norm=f"group-{size}")) for size in _GROUPS]
    gradients = [[float(p.gradient_norms[0]) for p in one] for one in zip(*runs, strict=True)]
    cosines = [[mean_similarity(p.representations[-1]) for p in one] for one in zip(*runs, strict=True)]
    return [
        slope_bound(
            "gradient at the first layer, in the group's size", exponent(_GROUPS, gradients), "below", 0.0, scope
        ),
        slope_bound("cosine between samples, in the group's size", exponent(_GROUPS, cosines), "above", 0.0, scope),
    ]

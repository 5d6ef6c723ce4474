"""Daneshmand, Kohler, Bach, Hofmann and Lucchi: Batch normalization provably avoids rank collapse for randomly
initialised deep networks, NeurIPS 2020, arXiv 2003.01652."""

from __future__ import annotations

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.random_networks import exponent, passes
from bntheory.evidence.checks import Check
from bntheory.evidence.rates import slope_bound
from bntheory.evidence.seeds import over_seeds

KEY = "daneshmand2020"


@claim(
    "daneshmand2020.rank",
    kind="network",
    source=Source(KEY, "abstract", "arXiv 2003.01652", printed=False),
    statement=(
        r"\text{without normalisation the rank of a deep linear network's hidden representation collapses to one; "
        r"with BN it is } \Omega(\sqrt{\text{width}}) \text{ at any depth}"
    ),
    reading=(
        "stable rank (sum s^2)^2/sum s^4 of a batch as large as the width, Gaussian weights; collapsed: below 1.5 on the mean; kept: an "
        "exponent in the width of at least 0.4"
    ),
    note="The bound's order was read in a transcription; the margins 1.5 and 0.4 are ours.",
)
def rank(study: Study) -> list[Check]:
    from bntheory.models.deep_random import DeepRandom, stable_rank

    widths = study.choose(quick=(8, 16, 32, 64), normal=(16, 32, 64, 128), thorough=(16, 32, 64, 128, 256))
    depth = study.choose(quick=10, normal=12, thorough=20)  # in widths: over such depths the plain network collapses
    scope = f"linear networks of width {widths[0]} to {widths[-1]}, {depth} times as deep, batch = width"

    def ranks(norm: str) -> list[list[float]]:
        by_width = []
        for width in widths:
            network = DeepRandom(width, depth * width, width, norm=norm, activation="linear")
            by_width.append([stable_rank(p.representations[-1]) for p in passes(study, network)])
        return [list(row) for row in zip(*by_width, strict=True)]

    plain, normalised = ranks("none"), ranks("batch")
    return [
        over_seeds(
            f"stable rank at width {widths[-1]} without normalisation", [r[-1] for r in plain], "below", 1.5, scope
        ),
        slope_bound(
            "exponent of the stable rank in the width, with BN", exponent(widths, normalised), "above", 0.4, scope
        ),
        over_seeds(
            f"stable rank at width {widths[-1]} with BN over the square root of the width",
            [r[-1] / widths[-1] ** 0.5 for r in normalised],
            "above",
            0.5,
            scope,
            decisive=False,
        ),
    ]

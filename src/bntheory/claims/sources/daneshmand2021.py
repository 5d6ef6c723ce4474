"""Daneshmand, Joudaki and Bach: Batch normalization orthogonalizes representations in deep random networks, NeurIPS
2021, arXiv 2106.03970."""

from __future__ import annotations

from typing import Any

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.random_networks import exponent, passes
from bntheory.evidence.checks import Check
from bntheory.evidence.rates import slope_checks
from bntheory.evidence.seeds import over_seeds

KEY = "daneshmand2021"
_SOURCE = Source(KEY, "abstract", "arXiv 2106.03970", printed=False)
_STATEMENT = (
    r"\text{the deviation of the representations from orthogonality rapidly decays with depth up to a term inversely proportional to the "
    r"width}"
)
_BATCH, _DEPTH = 4, 60


def _nearly_parallel(width: int, seed: int) -> Any:
    """Four samples that share nine tenths of their mean square."""
    rng = np.random.default_rng((seed, 7))
    return 3.0 * rng.normal(size=(width, 1)) + rng.normal(size=(width, _BATCH))


def _gaps(study: Study, power: int) -> tuple[tuple[int, ...], list[list[float]], list[float], list[float]]:
    """Widths; the plateau (mean over the last third) a seed and width; at the largest width the gap of the inputs and
    of the plateau."""
    from bntheory.models.deep_random import DeepRandom, orthogonality_gap

    widths = study.choose(quick=(16, 32, 64, 128), normal=(16, 32, 64, 128, 256), thorough=(16, 32, 64, 128, 256, 512))
    plateaus, first, last = [], [], []
    for width in widths:
        network = DeepRandom(width, _DEPTH, _BATCH, norm="batch-rms", activation="linear")
        gaps = [
            [orthogonality_gap(h) ** power for h in p.representations]
            for p in passes(study, network, lambda seed, w=width: _nearly_parallel(w, seed))  # type: ignore[misc]
        ]
        last = [float(np.mean(row[-_DEPTH // 3 :])) for row in gaps]
        first = [row[0] for row in gaps]
        plateaus.append(last)
    return widths, [list(row) for row in zip(*plateaus, strict=True)], first, last


def _checks(study: Study, power: int, name: str) -> list[Check]:
    widths, plateaus, first, last = _gaps(study, power)
    scope = (
        f"linear networks of depth {_DEPTH}, width {widths[0]} to {widths[-1]}, root-mean-square BN over {_BATCH} samples that start nearly "
        "parallel, Gaussian weights; plateau: mean over the last third of the layers"
    )
    return [
        over_seeds(
            f"log10 of the {name} at the plateau over that of the inputs, width {widths[-1]}",
            [float(np.log10(b / a)) for a, b in zip(first, last, strict=True)],
            "below",
            -0.5,
            scope,
        ),
        *slope_checks(f"{name} at the plateau, in the width", exponent(widths, plateaus), -1.0, 0.25, scope),
    ]


@claim(
    "daneshmand2021.orthogonality",
    kind="network",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="the deviation is the gap ||H'H/||H||^2 - I/n||_F itself, and the term's exponent in the width is -1 up to 0.25",
    note="The margins are ours. Centring is left out as in the source: centred columns cannot be orthogonal.",
)
def orthogonality(study: Study) -> list[Check]:
    return _checks(study, 1, "orthogonality gap")


@claim(
    "daneshmand2021.orthogonality.squared-gap",
    kind="network",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="the deviation is the square of that gap",
    repairs="daneshmand2021.orthogonality",
)
def orthogonality_squared(study: Study) -> list[Check]:
    return _checks(study, 2, "squared orthogonality gap")

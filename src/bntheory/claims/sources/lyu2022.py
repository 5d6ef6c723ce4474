"""Lyu, Li and Arora: Understanding the generalization benefit of normalization layers, NeurIPS 2022, arXiv
2206.07085."""

from __future__ import annotations

from collections.abc import Iterator

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact

KEY = "lyu2022"
_SOURCE = Source(KEY, "abstract and section 4", "arXiv 2206.07085", seen="recalled")
_STATEMENT = (
    r"\text{GD with weight decay drives}\ \frac{\eta}{\|w\|^2}\lambda_{\max}(\nabla^2_{\text{sphere}}L)\ \text{to}\ 2"
)


@claim(
    "lyu2022.spherical-sharpness",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="averages over times of order 1/(eta lambda), eta lambda -> 0, from a start near the edge; up to intrinsic time"
    " eta lambda t = 4",
    note="From far below the edge the oscillation dies out on the way up and the passage is delayed, in exact arithmetic too;"
    " at a minimum itself the gradient is zero and the ratio grows for ever.",
)
def spherical_sharpness(study: Study) -> Iterator[Check]:
    from bntheory.claims.sources.sphere import edge_checks

    return edge_checks(study)


@claim(
    "lyu2022.spherical-sharpness.for-ever",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="and keeps it there, however long one waits, at a fixed small eta lambda",
)
def spherical_sharpness_for_ever(study: Study) -> list[Check]:
    from bntheory.claims.sources.sphere import edge_for_ever_checks

    return edge_for_ever_checks(study)


@claim(
    "lyu2022.spherical-sharpness.every-start",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="from every start",
)
def spherical_sharpness_every_start(study: Study) -> list[Check]:
    from fractions import Fraction

    # f(w) = w_2^2/(2 ||w||^2), eta = 1, lambda = 1/2, w_0 = (1, 0): a minimum of sharpness 1, so w only
    # shrinks, by 1/2 a step.
    steps = 5
    norm2 = Fraction(1, 4) ** steps
    ratio = 1 / norm2
    return [
        exact(
            "normalised sharpness after 5 steps, and from then on, stays at most 4",
            "Rayleigh quotient in R^2, started at a minimum: w_t = (2^-t, 0), ratio 4^t",
            witness={"A": ["0", "1"], "w0": ["1", "0"], "eta": "1", "lambda": "1/2", "t": "5", "ratio": str(ratio)},
        ).le(ratio, 4.0)
    ]

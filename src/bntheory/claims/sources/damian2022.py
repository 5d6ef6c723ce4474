"""Damian, Nichani and Lee: Self-stabilization: the implicit bias of gradient descent at the edge of stability, ICLR
2023, arXiv 2209.15594."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical

KEY = "damian2022"
_SOURCE = Source(KEY, "abstract", "arXiv 2209.15594", printed=False)
_STATEMENT = (
    r"\text{at the edge gradient descent follows projected descent on } \{\lambda_{\max}(\nabla^2 L) \le 2/\eta\}"
)


@claim(
    "damian2022.projected-descent",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading=(
        "iterates averaged over a window of a twentieth of the run; follows: at half time and at the end no further from projected descent than "
        "a fifth of what free descent is; without normalisation"
    ),
    note="As read here: window and fifth are ours. One three-dimensional loss with progressive sharpening.",
)
def projected_descent(study: Study) -> Iterator[Check]:
    from bntheory.models.edge_of_stability import sharpening_run

    for pull in study.choose(quick=(0.05, 0.01), normal=(0.05, 0.01, 0.004), thorough=(0.05, 0.01, 0.004, 0.001)):
        run = sharpening_run(pull=pull)
        for when, value in (("halfway", run.distance_halfway), ("at the end", run.distance_end)):
            yield numerical(
                f"distance to projected descent over that of free descent, {when}, pull {pull:g}",
                f"{len(run.descent) - 1} steps at rate 0.1, window {run.window}",
            ).le(value, 0.2)


@claim(
    "damian2022.projected-descent.batchnorm",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading=(
        "with normalisation: a scale-invariant loss with a circle of minima under weight decay, from a start at the edge; follows: the sharpness "
        "on the sphere falls along the circle as projected descent says, up to a tenth of its fall, at intrinsic times 1 to 3"
    ),
    note="Projected descent slides along minima of equal loss towards less sharpness: this is the bias that Lyu et al. (2022) describe.",
)
def projected_descent_batchnorm(study: Study) -> list[Check]:
    from bntheory.models.edge_of_stability import projected_angle
    from bntheory.models.scale_invariant import CircleOfMinima
    from bntheory.models.spherical_sharpness import edge_run, edge_start

    tilt, phi0, product = 0.5, 0.6, study.choose(quick=2e-3, normal=1e-3, thorough=2e-4)
    loss = CircleOfMinima(tilt)
    w0 = edge_start(loss, [np.cos(phi0), np.sin(phi0), 0.0], [0.0, 0.0, 1.0], 1.0, product, ratio=1.9)
    run = edge_run(loss, w0, 1.0, product, intrinsic_time=3.5, windows=7)
    times = run.intrinsic_time
    expected = 1 + tilt * np.cos(projected_angle(float(np.linalg.norm(w0)), phi0, tilt, 1.0, times))
    error = np.abs(run.sharpness - expected) / (expected[0] - expected)[-1]
    return [
        numerical(
            f"error of projected descent's sharpness over its whole fall, at eta lambda t = {t:g}",
            f"eta = 1, eta lambda = {product:g}, circle of minima with tilt {tilt}",
        ).le(e, 0.1)
        for t, e in zip(times[2:], error[2:], strict=True)
    ]

"""Lyu, Li and Arora: Understanding the generalization benefit of normalization layers, NeurIPS 2022, arXiv
2206.07085."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact, numerical
from bntheory.evidence.rates import slope_bound

KEY = "lyu2022"
_SOURCE = Source(KEY, "abstract and section 4", "arXiv 2206.07085", seen="recalled")
_STATEMENT = (
    r"\text{GD with weight decay drives}\ \frac{\eta}{\|w\|^2}\lambda_{\max}(\nabla^2_{\text{sphere}}L)\ \text{to}\ 2"
)


def _edge(loss: Any, minimiser: Any, direction: Any, product: float, time: float, windows: int) -> Any:
    from bntheory.models.spherical_sharpness import edge_run, edge_start

    start = edge_start(loss, minimiser, direction, 1.0, product, ratio=1.9, amplitude=1.5)
    return edge_run(loss, start, 1.0, product, intrinsic_time=time, windows=windows)


def _edge_models() -> list[tuple[str, Any, Any, Any]]:
    from bntheory.models.scale_invariant import CircleOfMinima, RayleighPower

    return [
        ("two isolated minima (Rayleigh quotient in R^2)", RayleighPower((0.0, 1.0)), [1.0, 0.0], [0.0, 1.0]),
        (
            "a circle of minima of sharpness 1 + 0.5 cos(angle)",
            CircleOfMinima(0.5),
            [np.cos(0.8), np.sin(0.8), 0.0],
            [0.0, 0.0, 1.0],
        ),
    ]


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
    """Window means of the normalised sharpness as lr * decay -> 0: the limit, and the order at which it is
    approached."""
    from bntheory.evidence.slopes import fit_power_law

    products = study.choose(
        quick=np.array([4e-2, 2e-2, 1e-2, 5e-3]),
        normal=np.array([4e-2, 2e-2, 1e-2, 5e-3, 2.5e-3]),
        thorough=np.array([4e-2, 2e-2, 1e-2, 5e-3, 2.5e-3, 1.25e-3, 6e-4]),
    )
    for name, loss, minimiser, direction in _edge_models():
        means, widest = [], 0.0
        for product in products:
            run = _edge(loss, minimiser, direction, float(product), 4.0, 2)
            means.append(run.mean)
            widest = float(max(run.high.max() - 2, 2 - run.low.min()))
        gaps = np.abs(np.array(means) - 2).max(axis=1)
        scope = (
            f"{name}; start at ratio 1.9, lr*decay*t up to 4, lr*decay from {products[0]:g} down to {products[-1]:g}"
        )
        yield numerical(
            "largest |window mean - 2| at the smallest lr*decay, against five times lr*decay",
            scope,
            why="the edge itself lies at 2 (1 - lr*decay); 5 leaves room for the oscillation's own shift. Exact recursion; "
            f"single steps still lie up to {widest:.2g} from 2 (the oscillation it starts with)",
        ).le(gaps[-1], 5 * products[-1])
        if len(products) >= 4:
            # one curve: its residuals widen the interval where the gap is no clean power
            fit = fit_power_law(products, gaps)
            yield slope_bound("order at which the window mean approaches 2 is positive", fit, "above", 0.0, scope)


@claim(
    "lyu2022.spherical-sharpness.for-ever",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="and keeps it there, however long one waits, at a fixed small eta lambda",
)
def spherical_sharpness_for_ever(study: Study) -> list[Check]:
    """The same run on the circle, longer: once sharpness is least the oscillation is no longer damped and bursts."""
    product = 1e-2
    name, loss, minimiser, direction = _edge_models()[1]
    run = _edge(loss, minimiser, direction, product, 40.0, 20)
    late = run.intrinsic_time >= 20
    return [
        numerical(
            "largest distance of a late window's mean from 2, against five times lr*decay",
            f"{name}; lr*decay = {product:g}, intrinsic time 20 to 40",
            why=f"late values range from {run.low[late].min():.3g} to {run.high[late].max():.3g}: relaxation oscillations; "
            f"sharpness has reached its minimum {run.sharpness[-1]:.3g}",
        ).le(np.abs(run.mean[late] - 2).max(), 5 * product),
        numerical("the same in the windows up to intrinsic time 4", f"{name}; the same run", decisive=False).le(
            np.abs(run.mean[run.intrinsic_time < 4] - 2).max(), 5 * product
        ),
    ]


@claim(
    "lyu2022.spherical-sharpness.every-start",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="from every start",
)
def spherical_sharpness_every_start(study: Study) -> list[Check]:
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

"""The post "Rethinking Batch Normalization": its picture of a slope with a plateau and a cliff."""

from __future__ import annotations

from typing import Any

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical

KEY = "lesswrong2019"
_SOURCE = Source(KEY, "the post, on learning rates")
_STATEMENT = (
    r"\text{On a plateau with a cliff, GD stalls or explodes depending on the learning rate; smoothed, it does neither}"
)
_BUDGET = 1000


def _sweep(study: Study, smoothing: float) -> Any:
    from bntheory.models.slope import Slope, slope_descent

    rates = np.geomspace(1e-4, 10.0, study.choose(quick=51, normal=201, thorough=1001))
    return slope_descent(Slope(smoothing=smoothing), rates, steps=_BUDGET)


@claim(
    "lesswrong2019.learning-rate.slope",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="within a budget of 1000 steps: no rate from 1e-4 to 10 settles on the slope; smoothed over ten widths of the"
    " cliff, two decades of rates do",
)
def slope(study: Study) -> list[Check]:
    from bntheory.models.slope import Fate

    sharp, smooth = _sweep(study, 0.0), _sweep(study, 0.5)
    settled = int(np.sum(sharp.fate == Fate.SETTLED))
    window = smooth.window()
    inside = (smooth.lr >= (window or (1, 0))[0]) & (smooth.lr <= (window or (1, 0))[1])
    holes = int(np.sum(inside & (smooth.fate != Fate.SETTLED)))
    scope = f"{len(sharp.lr)} rates, 1e-4 to 10, {_BUDGET} steps, cliff 5 high and 0.05 wide, plateau of slope 0.002"
    fates = {f.name.lower(): int(np.sum(sharp.fate == f)) for f in Fate}
    return [
        numerical(
            "rates that settle on the unsmoothed slope",
            scope,
            why=f"fates: {fates}; definitions in bntheory.models.slope.Fate",
        ).eq(settled, 0.0),
        numerical(
            "decades of rates that settle once smoothed (standard deviation 0.5), at least 2",
            scope,
            why=f"from {window[0]:.3g} to {window[1]:.3g}" if window else "none settles",
        ).le(2.0, float(np.log10(window[1] / window[0])) if window else 0.0),
        numerical("rates inside that window that do not settle", scope).eq(holes, 0.0),
    ]


@claim(
    "lesswrong2019.learning-rate.slope.every-rate",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="smoothed, gradient descent neither stalls nor explodes at any learning rate",
    note="Smoothing widens the window of rates; it cannot remove its ends: 2/curvature above, the budget below.",
)
def slope_every_rate(study: Study) -> list[Check]:
    from bntheory.models.slope import Fate

    run = _sweep(study, 0.5)
    fates = {f.name.lower(): int(np.sum(run.fate == f)) for f in Fate}
    return [
        numerical(
            "rates that stall or explode on the smoothed slope",
            f"{len(run.lr)} rates, 1e-4 to 10, {_BUDGET} steps",
            why=f"fates: {fates}",
        ).eq(np.sum(run.fate != Fate.SETTLED), 0.0)
    ]


@claim(
    "lesswrong2019.learning-rate.slope.no-budget",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="unsmoothed, every learning rate stalls or explodes however many steps are allowed",
    note="A rate small enough to survive the cliff crosses the plateau in the end: the picture is about a budget.",
)
def slope_no_budget(study: Study) -> list[Check]:
    from bntheory.models.slope import Fate, Slope, slope_descent

    steps = 40_000
    run = slope_descent(Slope(), [0.02], steps=steps)
    return [
        numerical("runs at rate 0.02 that settle", f"unsmoothed slope, {steps} steps").eq(
            np.sum(run.fate == Fate.SETTLED), 0.0
        )
    ]

r"""Do two landscapes differ by more than a rescaling? One two-sided check from several scale-free measures and many
seeds.

Paired values d[a][j] of measure j, one a seed: log10 of the ratio of a scale-free measure to that of a control, and the
control in several parametrisations a. A rescaling of loss and of the unit of length changes no scale-free measure, so
if BN did only that, some a would have d = 0 in all measures. Looked at is

    D = min_a max_j |mean of d[a][j]|,

and the claim is D >= margin: it can fail, when the interval of D lies below the margin, and is not met by a difference
too small to matter. What lives here: the interval of D and the check. What does not: measures and networks.

The interval (level alpha/2 for each end). Let m, h be |mean| and the half-width of its Student interval. If the truth
is below the lower end min_a max_j(m - h), then at the best a of the truth some of its J intervals missed, on either
side, since the sign of a mean is lost: two-sided level alpha/(2J) each, probability alpha/2 at most. If it is above the
upper end min_a max_j(m + h), then for the a that attains this the interval of the one measure that is largest in truth
missed, on the one side that makes |mean| too small: one for each of A candidates, two-sided level alpha/A each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bntheory.arrays import Floats
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import statistical
from bntheory.evidence.counts import counted
from bntheory.evidence.decision import LEAST_SEEDS
from bntheory.evidence.intervals import half_width
from bntheory.evidence.intervals import means as means_of

#: The normal quantile of 80 %.
_POWER = 0.8416


def distance_interval(samples: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of D for samples of shape (parametrisations, measures, seeds); at least ``LEAST_SEEDS`` seeds."""
    candidates, measures, seeds = samples.shape
    if seeds < LEAST_SEEDS:
        raise ValueError(f"{seeds} seeds; at least {LEAST_SEEDS} are needed for an interval")
    means = np.abs(means_of(samples))
    alpha = 1 - confidence
    narrow, wide = (half_width(samples, 1 - share) for share in (alpha / (2 * measures), alpha / candidates))
    low = float(np.maximum(means - narrow, 0.0).max(axis=1).min())
    high = float((means + wide).max(axis=1).min())
    return low, max(low, high)


def _seeds_needed(samples: Floats, margin: float, confidence: float) -> int | None:
    """About how many seeds would put the interval on one side of the margin in 80 % of experiments, if means and
    spreads are these.

    The least of 4, 5, 6, 8, ... (steps of a quarter); None where ten thousand would not do.
    """
    candidates, measures, _ = samples.shape
    means, alpha, n = np.abs(means_of(samples)), 1 - confidence, LEAST_SEEDS + 1
    while n <= 10_000:
        narrow, wide = (
            half_width(samples, 1 - share, seeds=n, beyond=_POWER)
            for share in (alpha / (2 * measures), alpha / candidates)
        )
        low, high = (means - narrow).max(axis=1).min(), (means + wide).max(axis=1).min()
        if low > margin or high < margin:
            return n
        n += max(1, n // 4)
    return None


def differs(
    name: str,
    samples: Floats,
    margin: float,
    scope: str,
    *,
    confidence: float = 0.95,
    witness: Mapping[str, Any] | None = None,
) -> Check:
    """``margin <= D``, with D by the middle of its interval; the estimate, which lies elsewhere in it, is in the
    witness.

    A seed with a value that is not finite is left out and counted; too few seeds leave it undecided.
    """
    whole = np.isfinite(samples).all(axis=(0, 1))
    missing = int((~whole).sum())
    kept = samples[:, :, whole]
    middle, half, estimate = math.nan, math.inf, math.nan
    if kept.shape[2] >= LEAST_SEEDS:
        low, high = distance_interval(kept, confidence)
        if math.isfinite(high):
            middle, half = (low + high) / 2, (high - low) / 2
        estimate = float(np.abs(means_of(kept)).max(axis=1).min())
    check = statistical(
        name,
        f"{kept.shape[2]} seeds, {scope}" + (f"; {counted(missing, 'seed')} gave no number" if missing else ""),
        uncertainty=half,
        confidence=confidence,
        why="Student's intervals of the means over seeds, corrected for the number of measures and of parametrisations",
        witness={**(witness or {}), "estimate": round(estimate, 6), "values": np.round(kept, 6).tolist()},
    ).le(margin, middle)
    if check.outcome == "undecided" and math.isfinite(half):
        needed = _seeds_needed(kept, margin, confidence)
        return replace(check, witness={**check.witness, "seeds_for_80_percent_power": needed})
    return check

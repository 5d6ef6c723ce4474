"""One number a seed, many seeds, one check: how every trained network of a claim ends as evidence.

Everything within a seed is paired or averaged first, so the numbers are independent over seeds. What lives here: the interval over them
and the check that it makes. What does not: training, and what the number is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from bntheory.evidence.checks import Check

__all__ = ["LEAST_SEEDS", "over_seeds"]

#: With fewer numbers Student's interval is so wide, and normality so unchecked, that nothing is decided.
LEAST_SEEDS = 3


def over_seeds(
    name: str,
    values: Sequence[float],
    side: Literal["below", "above"],
    bound: float,
    scope: str,
    *,
    confidence: float = 0.95,
    decisive: bool = True,
    witness: Mapping[str, Any] | None = None,
) -> Check:
    """The mean over seeds lies ``side`` the bound, with Student's t interval.

    values: one number a seed. A seed that gave none is left out by the caller, who says so in ``scope``; a value that is not finite, or
    fewer than ``LEAST_SEEDS`` values, leave the check undecided. The values go into the witness.
    """
    x = np.asarray(list(values), dtype=float)
    enough = len(x) >= LEAST_SEEDS and bool(np.isfinite(x).all())
    mean, half = math.nan, math.inf
    if enough:
        from scipy.stats import t as student

        mean = float(x.mean())
        half = float(student.ppf((1 + confidence) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    left, right = (mean, bound) if side == "below" else (bound, mean)
    return Check(
        name,
        left,
        "le",
        right,
        "statistical",
        f"{len(x)} seeds, {scope}",
        uncertainty=half,
        confidence=confidence,
        why="Student's interval of the mean over seeds; everything within a seed is paired or averaged first",
        witness={**(witness or {}), "values": [round(float(v), 6) for v in x]},
        decisive=decisive,
    )

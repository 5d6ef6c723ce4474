"""From many seeds to one statement: medians, intervals that say what they cover, and outcomes computed from them.

Two intervals, for two purposes, both over seeds (one number a seed: everything within a seed is paired or averaged first):

- *shown*: the median with order statistics. The interval from the k-th smallest to the k-th largest of n values covers the
  population's median with probability 1 - 2 P(Binomial(n, 1/2) < k), whatever the distribution (exactly, for continuous ones).
  The narrowest one that reaches the asked confidence is taken, else smallest to largest, and its actual coverage is given.
- *decisive*: Student's t interval of the mean at 95 %. It assumes that the number (a log-ratio, mostly) is roughly normal over
  seeds, which a handful of seeds cannot confirm; in return it can decide with few. With one seed there is no interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Estimate", "Outcome", "Summary", "estimate", "outcome", "summarise"]

Outcome = Literal["supported", "contradicted", "inconclusive"]


@dataclass(frozen=True)
class Summary:
    """The median of n values, with the order-statistics interval and the probability with which it covers the true median."""

    n: int
    median: float
    low: float
    high: float
    coverage: float


@dataclass(frozen=True)
class Estimate:
    """The mean of n values with Student's t interval; low and high are infinite where n = 1 allows none.

    d: the effect in standard deviations (mean/standard deviation), NaN-free: 0 where n = 1.
    """

    n: int
    mean: float
    low: float
    high: float
    confidence: float
    values: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready: a missing bound is null."""
        plain = asdict(self)
        plain["low"] = self.low if math.isfinite(self.low) else None
        plain["high"] = self.high if math.isfinite(self.high) else None
        return plain


def summarise(values: Iterable[float], confidence: float = 0.95) -> Summary:
    """The median with its distribution-free interval. Raises ValueError for no values, or one that is not finite."""
    x = np.sort(_finite(values))
    n = len(x)
    chosen = 1
    for k in range(1, n // 2 + 1):
        if _coverage(n, k) >= confidence:
            chosen = k
    return Summary(n, float(np.median(x)), float(x[chosen - 1]), float(x[n - chosen]), _coverage(n, chosen))


def _coverage(n: int, k: int) -> float:
    """P(the k-th smallest <= median <= the k-th largest of n)."""
    below = sum(math.comb(n, j) for j in range(k))
    return float(max(0.0, 1 - 2 * below / 2**n))


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The mean with Student's t interval. Raises ValueError for no values, or one that is not finite."""
    x = _finite(values)
    n, mean = len(x), float(np.mean(x))
    if n == 1:
        return Estimate(1, mean, -math.inf, math.inf, confidence, (mean,))
    from scipy import stats

    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * float(np.std(x, ddof=1)) / math.sqrt(n)
    return Estimate(n, mean, mean - half, mean + half, confidence, tuple(map(float, x)))


def outcome(interval: Estimate, *, claim: Literal["above", "below"], threshold: float) -> Outcome:
    """What an interval says about "the mean is above (below) the threshold". The only place where this is decided.

    Supported where the whole interval lies strictly on the claim's side, contradicted where it lies strictly on the other.
    """
    if interval.low > threshold:
        return "supported" if claim == "above" else "contradicted"
    if interval.high < threshold:
        return "contradicted" if claim == "above" else "supported"
    return "inconclusive"


def _finite(values: Iterable[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    x = np.array(list(values), dtype=np.float64)
    if x.size == 0:
        raise ValueError("values: there are none to summarise")
    if not np.isfinite(x).all():
        raise ValueError(f"values: {int((~np.isfinite(x)).sum())} of {x.size} are not finite")
    return x

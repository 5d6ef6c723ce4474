"""From many seeds to one statement: medians and means with intervals that say what they cover.

Two intervals, for two purposes, both over seeds (one number a seed: everything within a seed is paired or averaged
first):

- *shown*: the median with order statistics. The interval from the k-th smallest to the k-th largest of n values covers
  the population's median with probability 1 - 2 P(Binomial(n, 1/2) < k), whatever the distribution (exactly, for
  continuous ones). The narrowest one that reaches the asked confidence is taken, else smallest to largest, and its
  actual coverage is given.
- *decisive*: Student's t interval of the mean at 95 %. It assumes that the number (a log-ratio, mostly) is roughly
  normal over seeds, which a handful of seeds cannot confirm; in return it can decide with few. Fewer than
  ``LEAST_SEEDS`` have no interval, nor have equal values fewer than a sign test needs (:func:`least_equal`): numbers
  that tie lie on a grid, and a spread of zero says no more than that.

What an interval decides is in :mod:`bntheory.evidence.decision`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.evidence.decision import LEAST_SEEDS
from bntheory.evidence.record import plain


@dataclass(frozen=True)
class Summary:
    """The median of n values, with the order-statistics interval and the probability with which it covers the true
    median."""

    n: int
    median: float
    low: float
    high: float
    coverage: float


@dataclass(frozen=True)
class Estimate:
    """The mean of n values with Student's t interval; low and high are infinite where there is none."""

    n: int
    mean: float
    low: float
    high: float
    confidence: float
    values: tuple[float, ...]

    @property
    def deviation(self) -> float:
        """The standard deviation of one value, 0 of equal ones whatever their mean is rounded to; NaN where there is only one."""
        if self.n == 1:
            return math.nan
        return float(np.std(self.values, ddof=1)) if min(self.values) < max(self.values) else 0.0

    def as_json(self) -> dict[str, Any]:
        """JSON-ready: a missing bound is null."""
        return dict(plain(asdict(self)))


def summarise(values: Iterable[float], confidence: float = 0.95) -> Summary:
    """The median with its distribution-free interval. Raises ValueError for no values, or one that is not finite."""
    checked_confidence(confidence)
    x = np.sort(_finite(values))
    n = len(x)
    low, high = 1, max(1, n // 2)
    while low < high:  # the coverage falls with k
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _coverage(n, middle) >= confidence else (low, middle - 1)
    chosen = low
    return Summary(n, float(np.median(x)), float(x[chosen - 1]), float(x[n - chosen]), _coverage(n, chosen))


def _coverage(n: int, k: int) -> float:
    """P(the k-th smallest <= median <= the k-th largest of n)."""
    from scipy.special import bdtr

    return float(max(0.0, 1 - 2 * bdtr(k - 1, n, 0.5)))


def estimate(values: Iterable[float], confidence: float = 0.95) -> Estimate:
    """The mean with Student's t interval. Raises ValueError for no values, or one that is not finite."""
    checked_confidence(confidence)
    x = _finite(values)
    n, mean = len(x), float(means(x))
    kept = tuple(map(float, x))
    half = float(half_width(x, confidence)) if n >= LEAST_SEEDS else math.inf
    return Estimate(n, mean, mean - half, mean + half, confidence, kept)


def means(samples: Floats) -> Floats:
    """Over the last axis; of equal values that value itself, which the sum of many of them may miss by its rounding."""
    equal = samples.min(axis=-1) == samples.max(axis=-1)
    return np.where(equal, samples[..., 0], samples.mean(axis=-1))


def half_width(samples: Floats, confidence: float, *, seeds: int = 0, beyond: float = 0.0) -> Floats:
    """Of Student's interval of means over the last axis, of ``LEAST_SEEDS`` values or more; infinite where equal ones have none.

    seeds: if there were so many, with this spread (0: as many as there are). beyond: standard errors more.
    """
    checked_confidence(confidence)
    n = seeds or samples.shape[-1]
    half = (student_quantile(n, confidence) + beyond) * np.std(samples, axis=-1, ddof=1) / math.sqrt(n)
    tied = samples.min(axis=-1) == samples.max(axis=-1)
    return np.where(tied, math.inf if n < least_equal(confidence) else 0.0, half)


def checked_confidence(confidence: float) -> None:
    """UserError for what is no confidence: 0 and 1 are those of a point and of everything."""
    if not 0 < confidence < 1:
        raise UserError(f"confidence: {confidence!r} is not between 0 and 1; 95 % is written 0.95")


def least_equal(confidence: float) -> int:
    """The least number of equal values that say at this confidence on which side of another number the median is: by a
    sign test, whose level is 2^(1 - n)."""
    return max(LEAST_SEEDS, 1 + math.ceil(-math.log2(1 - confidence) - 1e-9))


@lru_cache(maxsize=4096)
def student_quantile(n: int, confidence: float) -> float:
    """How many standard errors Student's two-sided interval of the mean of n values reaches to each side."""
    from scipy import stats

    return float(stats.t.ppf((1 + confidence) / 2, n - 1))


def simultaneous(confidence: float, checks: int) -> float:
    """The confidence of each of several intervals that together hold at ``confidence`` (Bonferroni, whatever their
    dependence).

    Raises UserError where there is no check, or for a confidence that is none.
    """
    checked_confidence(confidence)
    if checks < 1:
        raise ValueError(f"checks: {checks}; a correction needs at least one")
    return 1 - (1 - confidence) / checks


def _finite(values: Iterable[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    x = np.array(list(values), dtype=np.float64)
    if x.size == 0:
        raise ValueError("values: there are none to summarise")
    if not np.isfinite(x).all():
        raise ValueError(f"values: {int((~np.isfinite(x)).sum())} of {x.size} are not finite")
    return x

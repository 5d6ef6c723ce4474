"""What a comparison is, and the kinds of number that it can take from a seed's records.

Everything here is a pure function of the records. Within a seed arms share initial values and batches, so a comparison is a
paired log-ratio; it is averaged over the measured steps after the first, which leaves one number a seed, and only then
summarised over seeds. Quantities are compared at equal steps unless the comparison says "at matched loss".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bntheory.evidence.curves import log_ratio as paired_log_ratio
from bntheory.evidence.curves import mean_log_ratio_at_equal_loss
from bntheory.evidence.decision import Outcome, seeds_needed
from bntheory.evidence.intervals import Estimate
from bntheory.experiments.quantities import Points, quantity

__all__ = ["Comparison", "Effect", "affine_share", "at_matched_loss", "last_log_ratio", "log_ratio"]


@dataclass(frozen=True)
class Comparison:
    """One question put to every network of a run.

    name: stable. claims: ids that the answer bears on. question: the claim in words, so that "supported" is an answer to it.
    control: what batch norm is compared with. values: seed's arms -> one number, or None where it cannot be had.
    claim, threshold: supported where the number's interval lies ``claim`` the threshold. unit: "ratio" for log10 ratios.
    trained: arms that must have trained for the comparison to say anything.
    """

    name: str
    claims: tuple[str, ...]
    question: str
    control: str
    values: Callable[[Mapping[str, Points]], float | None]
    claim: Literal["above", "below"]
    threshold: float = 0.0
    unit: Literal["ratio", "share", "difference"] = "ratio"
    trained: tuple[str, ...] = ()


@dataclass(frozen=True)
class Effect:
    """A comparison's answer on one network.

    estimate: None where no seed gave a number. why: of "not comparable".
    """

    comparison: Comparison
    network: str
    seeds: tuple[int, ...]
    estimate: Estimate | None
    outcome: Outcome | Literal["not comparable"]
    why: str = ""

    @property
    def seeds_needed(self) -> int | None:
        """How many seeds would decide what is inconclusive, in 80 % of all experiments; None where none is known to."""
        e, c = self.estimate, self.comparison
        if self.outcome != "inconclusive" or e is None:
            return None
        return seeds_needed(e.mean, e.deviation, c.threshold, confidence=e.confidence)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        c = self.comparison
        return {
            "name": c.name,
            "claims": list(c.claims),
            "question": c.question,
            "control": c.control,
            "network": self.network,
            "unit": c.unit,
            "claim": c.claim,
            "threshold": c.threshold,
            "seeds": list(self.seeds),
            "estimate": None if self.estimate is None else self.estimate.as_json(),
            "outcome": self.outcome,
            "why": self.why,
            "seeds_needed": self.seeds_needed,
        }


# -- the kinds of comparison ----------------------------------------------------------------------------------------


def log_ratio(name: str, arm: str, other: str) -> Callable[[Mapping[str, Points]], float | None]:
    """Mean over steps after the first of log10(quantity of arm / quantity of the other)."""

    def values(arms: Mapping[str, Points]) -> float | None:
        ratios = [
            paired_log_ratio(quantity(point, name), quantity(arms[other][step], name))
            for step, point in sorted(arms.get(arm, {}).items())
            if step > 0 and step in arms.get(other, {})
        ]
        found = [r for r in ratios if r is not None]
        return float(np.mean(found)) if found else None

    return values


def last_log_ratio(name: str, arm: str, other: str) -> Callable[[Mapping[str, Points]], float | None]:
    """The log-ratio at the last step that both arms have, if that is after the first."""

    def values(arms: Mapping[str, Points]) -> float | None:
        step = max(arms.get(arm, {}).keys() & arms.get(other, {}).keys(), default=0)
        if step == 0:
            return None
        return paired_log_ratio(quantity(arms[arm][step], name), quantity(arms[other][step], name))

    return values


def at_matched_loss(name: str, arm: str, other: str) -> Callable[[Mapping[str, Points]], float | None]:
    """As a log-ratio, with the other arm read where its loss equals this arm's (:func:`bntheory.evidence.curves.at_loss`).

    Points whose loss the other arm never had are left out; None where nothing is left.
    """

    def values(arms: Mapping[str, Points]) -> float | None:
        own = [p for step, p in sorted(arms.get(arm, {}).items()) if step > 0]
        others = [p for _, p in sorted(arms.get(other, {}).items())]
        curves = [
            ([float(p["loss"]) for p in points], [quantity(p, name) for p in points])
            for points in (own, others)
        ]
        return mean_log_ratio_at_equal_loss(*curves[0], *curves[1])

    return values


def affine_share(arms: Mapping[str, Points]) -> float | None:
    """The share of y_hat at the last measured step, averaged over layers."""
    points = arms.get("batchnorm", {})
    if not points or max(points) == 0:
        return None
    layers = points[max(points)]["layers"]
    shares = [layer["split"]["share_y_hat"] for layer in layers if layer["split"]["share_y_hat"] is not None]
    return float(np.mean(shares)) if shares else None

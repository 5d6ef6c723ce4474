"""What the comparisons of a run come to: a row for every place at which a comparison is read, on every network.

Each place that decides (the start, a loss that both arms went through, the end, a mean over steps) is a row of its own,
its interval corrected for the number of them. An effect with opposite signs at two places is a crossing, told as such
and never averaged away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bntheory.evidence.curves import course
from bntheory.evidence.decision import Outcome, outcome
from bntheory.evidence.intervals import Estimate, estimate, simultaneous
from bntheory.evidence.power import seeds_needed
from bntheory.experiments.comparisons import COMPARISONS, Comparison
from bntheory.experiments.effects import Numbers
from bntheory.experiments.network_runs import NetworkRuns

#: The confidence at which all deciding rows of one comparison on one network hold together.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Effect:
    """A comparison's answer on one network at one place.

    estimate: None where no seed gave a number. numbers: of all places of the comparison there. why: of "not
    comparable".
    """

    comparison: Comparison
    network: str
    place: str
    seeds: tuple[int, ...]
    estimate: Estimate | None
    outcome: Outcome | Literal["not comparable"]
    numbers: Numbers
    decisive: bool
    why: str = ""

    @property
    def seeds_needed(self) -> int | None:
        """How many seeds would decide what is inconclusive, in 80 % of all experiments; None where none is known to."""
        e, c = self.estimate, self.comparison
        if self.outcome != "inconclusive" or e is None:
            return None
        return seeds_needed(e.mean, e.deviation, c.threshold, margin=c.margin, confidence=e.confidence)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        c, n = self.comparison, self.numbers
        return {
            "name": c.name,
            "question": c.question,
            "claims": list(c.claims),
            "statement": c.statement,
            "control": c.control,
            "network": self.network,
            "place": self.place,
            "scope": n.scope,
            "unit": c.unit,
            "claim": c.claim,
            "threshold": c.threshold,
            "margin": c.margin,
            "decisive": self.decisive,
            "seeds": list(self.seeds),
            "estimate": None if self.estimate is None else self.estimate.as_json(),
            "outcome": self.outcome,
            "why": self.why,
            "seeds_needed": self.seeds_needed,
            "arms": list(n.arms),
            "measures": list(n.measures),
        }


@dataclass(frozen=True)
class Crossing:
    """An effect that has opposite signs, beyond its intervals, at two places along training, the earlier first."""

    comparison: str
    network: str
    first: str
    then: str

    def as_json(self) -> dict[str, str]:
        """JSON-ready."""
        return {"comparison": self.comparison, "network": self.network, "first": self.first, "then": self.then}


def compare_all(networks: Mapping[str, NetworkRuns]) -> tuple[list[Effect], list[Crossing]]:
    """Every comparison on every network: the rows, and the crossings among them."""
    effects: list[Effect] = []
    crossings: list[Crossing] = []
    for network in networks.values():
        for comparison in COMPARISONS:
            numbers = comparison.read(network)
            found = list(effects_of(comparison, network.network, network.seeds, numbers))
            effects += found
            crossing = _crossing(numbers, found)
            if crossing is not None:
                crossings.append(Crossing(comparison.name, network.network, *crossing))
    return effects, crossings


def _crossing(numbers: Numbers, found: Sequence[Effect]) -> tuple[str, str] | None:
    """The two places that decide where they were picked out as a crossing; else what all places together show."""
    if numbers.picked_from and not numbers.why:
        first, then = numbers.deciding
        return first, then
    return course({e.place: e.estimate.values for e in found if e.estimate is not None}).crossing


def effects_of(comparison: Comparison, network: str, seeds: Sequence[int], numbers: Numbers) -> Iterator[Effect]:
    """One effect a place; where nothing may be compared, one for the comparison, which says why."""
    if numbers.why or not numbers.places:
        why = numbers.why or "not measured"
        yield Effect(comparison, network, "", (), None, "not comparable", numbers, comparison.decisive, why)
        return
    deciding = numbers.deciding if comparison.decisive else ()
    confidence = simultaneous(CONFIDENCE, max(len(deciding), numbers.picked_from, 1))
    for place, values in numbers.places.items():
        known = {s: x for s, x in zip(seeds, values, strict=True) if x is not None and math.isfinite(x)}
        decisive = place in deciding
        if not known:
            yield Effect(comparison, network, place, (), None, "inconclusive", numbers, decisive)
            continue
        interval = estimate(list(known.values()), confidence if decisive else CONFIDENCE)
        c = comparison
        answer = outcome(interval, claim=c.claim, threshold=c.threshold, margin=c.margin)
        yield Effect(comparison, network, place, tuple(known), interval, answer, numbers, decisive)

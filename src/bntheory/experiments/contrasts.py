"""What another activation does to batch norm's effects: networks that differ in nothing else, paired seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bntheory.evidence.decision import Outcome, outcome
from bntheory.evidence.intervals import Estimate, estimate
from bntheory.experiments.effects import Effect
from bntheory.experiments.preset import NetworkEntry

__all__ = ["CONTRASTED", "Contrast", "activation_contrasts", "activation_pairs"]

#: The comparisons whose effects are contrasted: curvature as it is, and what no rescaling of the loss changes.
CONTRASTED = (
    "top-eigenvalue.twin",
    "effective-beta.twin",
    "relative-curvature.twin",
    "linearity-error.twin",
    "trust-fraction.twin",
    "gradient-turn.twin",
    "top-eigenvalue.standard-at-matched-loss",
)


@dataclass(frozen=True)
class Contrast:
    """One comparison's effect with ReLU over its effect with a smooth activation; the estimate is of the log10 of that ratio.

    claim: the side on which the ratio lies where batch norm does more with ReLU: that of the comparison itself (a smaller factor on
    a curvature, a larger one on the trust fraction). outcome: of that claim. estimate is None where no seed has both effects.
    """

    comparison: str
    relu: str
    smooth: str
    activation: str
    claim: Literal["above", "below"]
    seeds: tuple[int, ...]
    estimate: Estimate | None
    outcome: Outcome

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": f"{self.comparison}.relu-over-{self.activation}",
            "comparison": self.comparison,
            "question": f"Batch norm does more with ReLU: its factor is {'smaller' if self.claim == 'below' else 'larger'}",
            "control": f"{self.activation} in place of ReLU",
            "relu": self.relu,
            "smooth": self.smooth,
            "activation": self.activation,
            "unit": "ratio",
            "claim": self.claim,
            "threshold": 0.0,
            "seeds": list(self.seeds),
            "estimate": None if self.estimate is None else self.estimate.as_json(),
            "outcome": self.outcome,
        }


def activation_pairs(networks: Sequence[NetworkEntry]) -> Iterator[tuple[NetworkEntry, NetworkEntry]]:
    """(with ReLU, with another activation) for networks that are the same otherwise."""
    for relu in networks:
        for other in networks:
            if (
                _activation(relu) == "relu" != _activation(other)
                and relu.kind == other.kind
                and _rest(relu) == _rest(other)
            ):
                yield relu, other


def _activation(network: NetworkEntry) -> str:
    return str(network.options.get("activation", "relu"))


def _rest(network: NetworkEntry) -> dict[str, Any]:
    return {key: value for key, value in network.options.items() if key != "activation"}


def activation_contrasts(effects: Sequence[Effect], networks: Sequence[NetworkEntry]) -> list[Contrast]:
    """Every contrasted comparison on every pair. Seeds that lack one of the two effects are left out."""
    found = {(e.comparison.name, e.network): _by_seed(e) for e in effects}
    claims = {e.comparison.name: e.comparison.claim for e in effects}
    contrasts = []
    for relu, smooth in activation_pairs(networks):
        for name in CONTRASTED:
            a, b = found.get((name, relu.name), {}), found.get((name, smooth.name), {})
            seeds = tuple(sorted(a.keys() & b.keys()))
            claim = claims[name]
            parts = (name, relu.name, smooth.name, _activation(smooth), claim, seeds)
            if not seeds:
                contrasts.append(Contrast(*parts, None, "inconclusive"))
                continue
            interval = estimate([a[s] - b[s] for s in seeds])
            answer = outcome(interval, claim=claim, threshold=0.0)
            contrasts.append(Contrast(*parts, interval, answer))
    return contrasts


def _by_seed(effect: Effect) -> dict[int, float]:
    if effect.estimate is None:
        return {}
    return dict(zip(effect.seeds, effect.estimate.values, strict=True))

"""What another activation does to batch norm's effects: networks that differ in nothing else, paired seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from bntheory.experiments.effects import Numbers
from bntheory.experiments.outcomes import Effect, effects_of
from bntheory.experiments.preset import NetworkEntry

#: The comparisons whose effects are contrasted, with what they are about: curvature as it is, and what no rescaling of
#: the loss changes.
CONTRASTED = {
    "top-eigenvalue.twin": "λ_max",
    "relative-curvature.twin": "the scale-free curvature",
    "linearity-error.twin": "the error of the linear prediction",
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


def activation_contrasts(effects: Sequence[Effect], networks: Sequence[NetworkEntry]) -> Iterator[Effect]:
    """Batch norm's factor with ReLU over its factor with the other activation, after the last step. Seeds that lack one
    of the two give none."""
    last: dict[tuple[str, str], Effect] = {(e.comparison.name, e.network): e for e in effects}
    for relu, smooth in activation_pairs(networks):
        for name, what in CONTRASTED.items():
            a, b = last[name, relu.name], last[name, smooth.name]
            left, right = _by_seed(a), _by_seed(b)
            seeds = tuple(sorted(left.keys() & right.keys()))
            activation = _activation(smooth)
            comparison = replace(
                a.comparison,
                name=f"{name}.relu-over-{activation}",
                question="relu",
                statement=f"batch norm lowers {what} against its twin more with ReLU than with {activation}",
                control=f"{activation} in place of ReLU",
            )
            places = {a.place: [left[s] - right[s] for s in seeds]} if seeds else {}
            numbers = Numbers(places, tuple(places), a.numbers.scope, a.numbers.arms, a.numbers.measures)
            yield from effects_of(comparison, f"{relu.name} / {smooth.name}", seeds, numbers)


def _by_seed(effect: Effect) -> dict[int, float]:
    if effect.estimate is None:
        return {}
    return dict(zip(effect.seeds, effect.estimate.values, strict=True))

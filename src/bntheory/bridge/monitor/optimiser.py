"""What an optimiser steps with, read from itself, so that schedules are included."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bntheory.errors import UserError

#: Their optimisers hold torch's and make its steps; any other that holds one may make others.
_TRAINERS = {"accelerate", "lightning", "lightning_fabric", "pytorch_lightning"}


@dataclass(frozen=True)
class StepSize:
    """The learning rate at one moment.

    rate: the largest over the groups that hold measured parameters. rates: of these groups.
    edge: the largest eigenvalue at which steps are stable on a quadratic loss, whatever its direction: 2/eta for gradient descent,
    (2/eta)(1 + b)/(1 - d) with momentum b and dampening d, (2/eta)(1 + b)/(1 + 2 b) with Nesterov's; less the weight decay (Cohen et
    al. 2021, appendix B); the least over the groups. None where groups differ in more than rate and weight decay, and for every other
    optimiser: what it steps along is not the gradient.
    """

    rate: float
    rates: tuple[float, ...] = ()
    edge: float | None = None


def step_size(source: Any, measured: Iterable[Tensor] = ()) -> StepSize | None:
    """Read ``source``: an optimiser, a number, a function without arguments that returns one, or None.

    Raises ValueError for anything else, for a rate that is no number, and for an optimiser of other parameters than the measured ones.
    """
    if source is None:
        return None
    groups = getattr(source, "param_groups", None)
    if groups is None:
        try:
            found = source() if callable(source) else source
        except Exception as error:
            raise UserError(
                f"optimizer: the function raised {type(error).__name__}: {error}; it has to return the learning rate"
            ) from error
        rate = _number(found)
        return StepSize(rate, (rate,), 2 / rate if rate > 0 else None)
    wanted = {id(p) for p in measured}
    held = [g for g in groups if not wanted or any(id(p) in wanted for p in g["params"])]
    if wanted and not held:
        raise UserError(
            f"optimizer: this {type(source).__name__} holds none of the trainable parameters of the measured model, so its learning rate is "
            "not theirs (was the model copied, or its layers replaced, after it was made?). Give their optimiser, or the rate as a number "
            "or a function"
        )
    # of schedules within an optimiser, what it stepped with
    rates = tuple(_number(g.get("scheduled_lr") or g.get("lr")) for g in held)
    if not rates:
        raise UserError("optimizer: has no group of parameters, and so no learning rate")
    return StepSize(max(rates), rates, _edge(source, held, rates))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(
            f"optimizer: {value!r:.60} is no learning rate; give a torch optimiser, a number, a function that returns one, or nothing"
        ) from None


def _edge(optimiser: Any, groups: Sequence[dict[str, Any]], rates: Sequence[float]) -> float | None:
    while type(optimiser).__module__.partition(".")[0] in _TRAINERS and hasattr(optimiser, "optimizer"):
        optimiser = optimiser.optimizer
    # torch decorates the step of every class; one that a subclass writes itself is another step
    own = inspect.unwrap(getattr(type(optimiser), "step", _edge))
    ways = {tuple(g.get(key) for key in ("momentum", "dampening", "nesterov", "maximize")) for g in groups}
    if own is not inspect.unwrap(torch.optim.SGD.step) or len(ways) > 1 or groups[0]["maximize"]:
        return None
    b, d = float(groups[0]["momentum"]), float(groups[0]["dampening"])
    lengthened = (1 + b) / (1 + 2 * b) if groups[0]["nesterov"] else (1 + b) / (1 - d if b else 1)
    edges = [2 * lengthened / r - float(g["weight_decay"]) for g, r in zip(groups, rates, strict=True) if r > 0]
    return min(edges, default=None)

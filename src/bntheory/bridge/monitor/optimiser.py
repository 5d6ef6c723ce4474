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
    al. 2021, appendix B); the least over the groups. None where groups differ in more than rate and weight decay, where measured parameters
    are in none, and for every other optimiser: what it steps along is not the gradient.
    """

    rate: float
    rates: tuple[float, ...] = ()
    edge: float | None = None


def step_size(source: Any, measured: Iterable[Tensor] = ()) -> StepSize | None:
    """Read ``source``: an optimiser, several of them, a number, a function without arguments that returns one, or None.

    A number alone does not say how it is stepped with; its edge is that of plain gradient descent.

    Raises ValueError for anything else, for a rate that is no number, and for an optimiser of other parameters than the measured ones.
    """
    if source is None:
        return None
    sources = source if isinstance(source, (list, tuple)) and source else [source]
    if not all(hasattr(one, "param_groups") for one in sources):
        try:
            found = source() if callable(source) else source
        except Exception as error:
            raise UserError(
                f"optimizer: the function raised {type(error).__name__}: {error}; it has to return the learning rate"
            ) from error
        rate = _number(found)
        return StepSize(rate, (rate,), 2 / rate if rate > 0 else None)
    wanted = {id(p) for p in measured}
    groups = [(one, group) for one in sources for group in one.param_groups]
    held = [(one, g) for one, g in groups if not wanted or any(id(p) in wanted for p in g["params"])]
    if wanted and not held:
        raise UserError(
            f"optimizer: this {type(sources[0]).__name__} holds none of the trainable parameters of the measured model, so its learning rate is "
            "not theirs (was the model copied, or its layers replaced, after it was made?). Give their optimiser, or the rate as a number "
            "or a function"
        )
    # of schedules within an optimiser, what it stepped with
    rates = tuple(_number(g.get("scheduled_lr") or g.get("lr")) for _, g in held)
    if not rates:
        raise UserError("optimizer: has no group of parameters, and so no learning rate")
    whole = wanted <= {id(p) for _, g in held for p in g["params"]}
    return StepSize(max(rates), rates, _edge(held, rates) if whole else None)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(
            f"optimizer: {value!r:.60} is no learning rate; give a torch optimiser, a number, a function that returns one, or nothing"
        ) from None


def _edge(held: Sequence[tuple[Any, dict[str, Any]]], rates: Sequence[float]) -> float | None:
    ways: set[tuple[Any, ...]] = {
        tuple(g.get(key) for key in ("momentum", "dampening", "nesterov", "maximize")) for _, g in held
    }
    if not all(_descends(one) for one, _ in held) or len(ways) > 1:
        return None
    ((b, d, nesterov, maximize),) = ways
    if maximize:
        return None
    lengthened = (1 + b) / (1 + 2 * b) if nesterov else (1 + b) / (1 - d if b else 1)
    edges = [2 * lengthened / r - float(g["weight_decay"]) for (_, g), r in zip(held, rates, strict=True) if r > 0]
    return float(min(edges)) if edges else None


def _descends(optimiser: Any) -> bool:
    """Whether its steps are those of torch's SGD."""
    while type(optimiser).__module__.partition(".")[0] in _TRAINERS and hasattr(optimiser, "optimizer"):
        optimiser = optimiser.optimizer
    # torch decorates the step of every class; one that a subclass writes itself is another step
    return inspect.unwrap(getattr(type(optimiser), "step", _edge)) is inspect.unwrap(torch.optim.SGD.step)

"""What an optimiser steps with, read from itself, so that schedules are included."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bntheory.errors import UserError


@dataclass(frozen=True)
class StepSize:
    """The learning rate at one moment.

    rate: the largest over the groups that hold measured parameters. rates: of these groups.
    edge: the largest eigenvalue at which steps of the rate are stable on a quadratic loss: 2/eta for gradient descent,
    (2/eta)(1 + b)/(1 - d) with momentum b and dampening d, (2/eta)(1 + b)/(1 + 2 b) with Nesterov's; less the weight decay (Cohen et
    al. 2021, appendix B). None for every other optimiser: what it steps along is not the gradient.
    """

    rate: float
    rates: tuple[float, ...] = ()
    edge: float | None = None


def step_size(source: Any, measured: Iterable[Tensor] = ()) -> StepSize | None:
    """Read ``source``: an optimiser, a number, a function without arguments that returns one, or None.

    Raises ValueError for anything else, and for a rate that is no number.
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
    held = [g for g in groups if any(id(p) in wanted for p in g["params"])] or list(groups)
    rates = tuple(_number(g["lr"]) for g in held)
    if not rates:
        raise UserError("optimizer: has no group of parameters, and so no learning rate")
    top = max(range(len(rates)), key=rates.__getitem__)
    return StepSize(rates[top], rates, _edge(source, held[top], rates[top]))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(
            f"optimizer: {value!r:.60} is no learning rate; give a torch optimiser, a number, or a function that returns one"
        ) from None


def _edge(optimiser: Any, group: dict[str, Any], rate: float) -> float | None:
    inner: Callable[..., Any] = getattr(optimiser, "optimizer", optimiser)  # as wrapped by a trainer
    if not isinstance(inner, torch.optim.SGD) or not rate > 0 or group.get("maximize"):
        return None
    b, d = float(group["momentum"]), float(group["dampening"])
    lengthened = (1 + b) / (1 + 2 * b) if group["nesterov"] else (1 + b) / (1 - d if b else 1)
    return 2 * lengthened / rate - float(group["weight_decay"])

"""One loss, one batch, one model: the value and the gradient, without touching ``.grad``.

What lives here: the calling convention of the whole room, ``loss(model(inputs), *targets)`` with
``batch = (inputs, *targets)``. What does not: anything that changes or measures a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.errors import UserError

__all__ = ["Batch", "Loss", "evaluate", "flat", "loss_and_gradients", "trainable"]

Loss = Callable[..., Tensor]
Batch = Sequence[Any]


def evaluate(model: nn.Module, loss: Loss, batch: Batch) -> Tensor:
    """``loss(model(inputs), *targets)``, a scalar in the graph; it may be infinite or NaN.

    ``inputs`` is a tensor, a tuple of positional arguments or a mapping of keyword arguments.

    Raises:
        ValueError: ``batch`` is no sequence (inputs, *targets), or the loss is no scalar tensor.
    """
    if isinstance(batch, Tensor) or not isinstance(batch, Sequence) or not batch:
        raise UserError(f"batch: a {type(batch).__name__} was given; use a tuple (inputs, *targets)")
    inputs, *targets = batch
    if isinstance(inputs, Mapping):
        outputs = model(**inputs)
    elif isinstance(inputs, (tuple, list)):
        outputs = model(*inputs)
    else:
        outputs = model(inputs)
    value = loss(outputs, *targets)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"loss: returned {what}; it must return one real number (reduce with mean or sum)")
    return value.reshape(())


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by name; shared ones once.

    Raises:
        ValueError: there are none.
    """
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise UserError("model: no parameter requires a gradient, so there is nothing to differentiate by")
    return found


def loss_and_gradients(
    model: nn.Module,
    loss: Loss,
    batch: Batch,
    parameters: Sequence[Tensor] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The loss (detached) and its gradients by ``parameters`` (default: all trainable), zeros where unused."""
    wanted = list(trainable(model).values()) if parameters is None else list(parameters)
    with torch.enable_grad():
        value = evaluate(model, loss, batch)
        if not value.requires_grad:
            raise UserError(
                "loss: does not depend on any parameter; is it computed under no_grad or detached?"
            )
        found = torch.autograd.grad(value, wanted, allow_unused=True)
    gradients = [torch.zeros_like(p) if g is None else g.detach() for p, g in zip(wanted, found, strict=True)]
    return value.detach(), gradients


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All entries as one float64 vector: sums over many float32 entries lose digits."""
    return torch.cat([t.detach().reshape(-1).double() for t in tensors])

"""Run a model in a chosen mode without leaving a trace, on copies of its buffers.

The copies matter twice: running statistics do not move, and a graph that was built on them stays valid when the
user goes on training. Everything else is put back by :func:`bntheory.bridge.networks.state.state_guard`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from bntheory.bridge.curvature.reference import Normalisation, detached_statistics, primitive_normalisation
from bntheory.bridge.curvature.selection import Activation
from bntheory.bridge.networks.normalisation import LpBatchNorm
from bntheory.bridge.networks.state import state_guard
from bntheory.errors import UserError

Mode = Literal["train", "eval", "frozen", "current"]
MODES = ("train", "eval", "frozen", "current")


@contextmanager
def isolated(
    model: nn.Module | None,
    mode: Mode = "train",
    *,
    normalisation: Normalisation = "native",
    dropout: Literal["refuse", "off"] = "refuse",
    reseed: int | None = None,
) -> Iterator[None]:
    """Context in which ``model`` is in ``mode``; afterwards everything is as it was.

    ``"train"``: statistics of the batch. ``"eval"``: running statistics. ``"frozen"``: statistics of the batch, as
    constants. ``"current"``: every module in the mode it is in. ``reseed`` seeds all random number generators
    inside, so that a second evaluation shows whether the loss draws from them.
    """
    with ExitStack() as stack:
        stack.enter_context(state_guard(*(() if model is None else (model,)), parameters=False))
        if model is not None:
            _switch(model, mode, dropout)
            for module in model.modules():
                for name, buffer in module._buffers.items():
                    if buffer is not None:
                        module._buffers[name] = buffer.clone()
                if mode == "frozen" and isinstance(module, LpBatchNorm):
                    module.__dict__["statistics"] = _detached(module.statistics)
        if mode == "frozen":
            stack.enter_context(detached_statistics(normalisation))
        elif normalisation == "primitive":
            stack.enter_context(primitive_normalisation())
        if reseed is not None:
            torch.manual_seed(reseed)
            np.random.seed(reseed)  # noqa: NPY002 - a user's model may draw from the global generator
            random.seed(reseed)
        with torch.enable_grad():
            yield


def _detached(
    statistics: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def constants(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, moment = statistics(x)
        return mean.detach(), moment.detach()

    return constants


def _switch(model: nn.Module, mode: Mode, dropout: str) -> None:
    if mode in ("train", "frozen"):
        model.train()
    elif mode == "eval":
        model.eval()
    active = [name or type(module).__name__ for name, module in model.named_modules() if _drops(module)]
    if not active:
        return
    if dropout == "off":
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
            elif _drops(module):
                setattr(module, "dropout", 0.0)  # noqa: B010 - typed as a submodule
        return
    shown = ", ".join(active[:5]) + (", ..." if len(active) > 5 else "")
    raise UserError(
        f"dropout is active in mode {mode!r} ({shown}): the loss is another function at every evaluation and has "
        "no Hessian. Pass dropout='off' to switch it off for the measurement, or set its p to 0"
    )


def _drops(module: nn.Module) -> bool:
    if not module.training:
        return False
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    recurrent_or_attention = isinstance(module, (nn.RNNBase, nn.MultiheadAttention))
    return recurrent_or_attention and float(module.dropout) > 0  # type: ignore[arg-type]


@contextmanager
def captured(model: nn.Module, activation: Activation) -> Iterator[list[Tensor]]:
    """The list into which the input or output of a module goes during the forward pass.

    The module receives (or passes on) a copy, so that an in-place operation behind it does not change the
    captured tensor.
    """
    found: list[Tensor] = []

    def keep(value: object) -> Tensor:
        if not isinstance(value, Tensor):
            raise UserError(
                f"{activation.name} is a {type(value).__name__}; an Activation has to be one tensor"
            )
        if not value.requires_grad:
            value = value.detach().requires_grad_()
        found.append(value)
        return value.clone()

    def before(module: nn.Module, arguments: tuple[object, ...]) -> tuple[object, ...]:
        return (keep(arguments[0]), *arguments[1:])

    def after(module: nn.Module, arguments: object, output: object) -> Tensor:
        return keep(output)

    module = model.get_submodule(activation.module)
    handle = (
        module.register_forward_pre_hook(before)
        if activation.at == "input"
        else module.register_forward_hook(after)
    )
    try:
        yield found
    finally:
        handle.remove()


@contextmanager
def counted_calls(model: nn.Module | None) -> Iterator[list[int]]:
    """Counts forward calls of the model's modules: calls during a backward pass are recomputation (checkpointing)."""
    calls = [0]
    known = set() if model is None else {id(module) for module in model.modules()}

    def note(module: nn.Module, arguments: object) -> None:
        calls[0] += id(module) in known

    handle = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield calls
    finally:
        handle.remove()

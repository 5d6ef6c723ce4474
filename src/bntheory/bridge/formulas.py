"""Normalisation by primitive operations: the reference for every derivative.

``torch.nn.functional.batch_norm``, ``layer_norm`` and ``group_norm`` have fused derivative formulas; some of the
routes to a second derivative through them are wrong (:mod:`bntheory.bridge.curvature.routes` measures which). A
mean, a subtraction and a square root have no such formulas to get wrong, so the same network with its
normalisation written out is the oracle. It also takes ``eps = 0`` and any order of derivative.

Nothing in the network is replaced: the calls are intercepted while the context is open, so parameters, hooks and
modules stay the user's own, and functional calls inside a user's ``forward`` are covered as well.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bntheory.bridge.functional_calls import FUNCTIONS, Call

Normalisation = Literal["native", "primitive"]


def _standardised(x: Tensor, axes: list[int], eps: float) -> Tensor:
    centred = x - x.mean(dim=axes, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dim=axes, keepdim=True) + eps)


def written_out(call: Call) -> Tensor:
    """A normalisation by primitive operations; ``eps = 0`` is allowed.

    Running statistics are read where the call takes them, and never written.
    """
    x, within = call.x, call.kind in ("layer", "rms")
    shape = call.layout if within else [1, -1] + [1] * (x.dim() - 2)
    axes = list(range(x.dim() - len(shape), x.dim())) if within else [axis for axis in range(x.dim()) if axis != 1]
    if call.running is not None:
        mean, variance = (t.reshape(shape) for t in call.running)
        y_hat = (x - mean) / torch.sqrt(variance + call.eps)
    elif call.kind == "rms":
        y_hat = x / torch.sqrt(x.square().mean(dim=axes, keepdim=True) + call.eps)
    elif within or call.kind == "batch":
        y_hat = _standardised(x, axes, call.eps)
    else:
        groups = x.shape[1] if call.kind == "instance" else call.layout
        y_hat = _standardised(x.reshape(x.shape[0], groups, -1), [2], call.eps).reshape(x.shape)
    if call.weight is not None:
        y_hat = y_hat * call.weight.reshape(shape)
    return y_hat if call.bias is None else y_hat + call.bias.reshape(shape)


class _WrittenOut(TorchFunctionMode):
    """Answers calls of the functional normalisers, by whichever of their names, while the context is open."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        read, named = FUNCTIONS.get(func), kwargs or {}
        return func(*args, **named) if read is None else written_out(read(*args, **named))


def primitive_normalisation() -> TorchFunctionMode:
    """Context in which torch's functional normalisations run as primitive operations."""
    return _WrittenOut()

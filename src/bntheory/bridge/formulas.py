"""Normalisation by primitive operations: the reference for every derivative.

``torch.nn.functional.batch_norm``, ``layer_norm`` and ``group_norm`` have fused derivative formulas; some of the
routes to a second derivative through them are wrong (:mod:`bntheory.bridge.curvature.routes` measures which). A
mean, a subtraction and a square root have no such formulas to get wrong, so the same network with its
normalisation written out is the oracle. It also takes ``eps = 0`` and any order of derivative.

Nothing in the network is replaced: the calls are intercepted while the context is open, so parameters, hooks and
modules stay the user's own, and functional calls inside a user's ``forward`` are covered as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Normalisation = Literal["native", "primitive"]


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch normalisation of ``x`` of shape (N, C, ...) by primitive operations; ``eps = 0`` is allowed.

    Running statistics are read when ``training`` is false and never written.
    """
    axes = [axis for axis in range(x.dim()) if axis != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    if training or running_mean is None or running_var is None:
        mean = x.mean(dim=axes, keepdim=True)
        variance = (x - mean).square().mean(dim=axes, keepdim=True)
    else:
        mean, variance = running_mean.reshape(shape), running_var.reshape(shape)
    normalised = (x - mean) / torch.sqrt(variance + eps)
    if weight is not None:
        normalised = normalised * weight.reshape(shape)
    return normalised if bias is None else normalised + bias.reshape(shape)


def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Layer normalisation over the last ``len(normalized_shape)`` axes by primitive operations."""
    axes = list(range(x.dim() - len(normalized_shape), x.dim()))
    mean = x.mean(dim=axes, keepdim=True)
    variance = (x - mean).square().mean(dim=axes, keepdim=True)
    normalised = (x - mean) / torch.sqrt(variance + eps)
    if weight is not None:
        normalised = normalised * weight
    return normalised if bias is None else normalised + bias


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Group normalisation of ``x`` of shape (N, C, ...) by primitive operations."""
    grouped = x.reshape(x.shape[0], num_groups, -1)
    mean = grouped.mean(dim=2, keepdim=True)
    variance = (grouped - mean).square().mean(dim=2, keepdim=True)
    normalised = ((grouped - mean) / torch.sqrt(variance + eps)).reshape(x.shape)
    shape = [1, -1] + [1] * (x.dim() - 2)
    if weight is not None:
        normalised = normalised * weight.reshape(shape)
    return normalised if bias is None else normalised + bias.reshape(shape)


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Instance normalisation of ``x`` of shape (N, C, ...) by primitive operations; running statistics are never written."""
    if use_input_stats or running_mean is None or running_var is None:
        return group_norm(x, x.shape[1], weight, bias, eps)
    return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)


class _Interception(TorchFunctionMode):
    """Answer calls of the functional normalisers with other functions, by name, while the context is open."""

    def __init__(self, replacements: dict[Any, Callable[..., Tensor]]) -> None:
        super().__init__()
        self._replacements = replacements

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        replacement = self._replacements.get(func)
        return (func if replacement is None else replacement)(*args, **(kwargs or {}))


def primitive_normalisation() -> TorchFunctionMode:
    """Context in which batch, layer, group and instance normalisation run as primitive operations."""
    return _Interception(
        {
            functional.batch_norm: batch_norm,
            functional.layer_norm: layer_norm,
            functional.group_norm: group_norm,
            functional.instance_norm: instance_norm,
        }
    )

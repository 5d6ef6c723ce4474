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


def _standardised(x: Tensor, axes: list[int], eps: float) -> Tensor:
    centred = x - x.mean(dim=axes, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dim=axes, keepdim=True) + eps)


def _affine(y_hat: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    """shape: with which gamma and beta meet the normalised values."""
    if weight is not None:
        y_hat = y_hat * weight.reshape(shape)
    return y_hat if bias is None else y_hat + bias.reshape(shape)


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
    shape = [1, -1] + [1] * (x.dim() - 2)
    if training or running_mean is None or running_var is None:
        normalised = _standardised(x, [axis for axis in range(x.dim()) if axis != 1], eps)
    else:
        normalised = (x - running_mean.reshape(shape)) / torch.sqrt(running_var.reshape(shape) + eps)
    return _affine(normalised, weight, bias, shape)


def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Layer normalisation over the last ``len(normalized_shape)`` axes by primitive operations."""
    normalised = _standardised(x, list(range(x.dim() - len(normalized_shape), x.dim())), eps)
    return _affine(normalised, weight, bias, normalized_shape)


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Group normalisation of ``x`` of shape (N, C, ...) by primitive operations."""
    normalised = _standardised(x.reshape(x.shape[0], num_groups, -1), [2], eps).reshape(x.shape)
    return _affine(normalised, weight, bias, [1, -1] + [1] * (x.dim() - 2))


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

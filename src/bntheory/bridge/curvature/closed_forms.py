"""Layers whose second backward pass has a closed form that is faster than torch's own: chosen as a forward pass meets them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from bntheory.bridge.curvature.batch_norm import batch_norm
from bntheory.bridge.curvature.convolution import LARGE, convolution
from bntheory.bridge.networks.evaluation import plain_storage


class ClosedForms(TorchFunctionMode):
    """Context in which batch normalisation by the statistics of large batches and convolutions have the closed form of this package.

    every: every convolution, and the fastest sums; otherwise convolutions where much is to be gained, and the rest is bit for bit torch's.
    """

    def __init__(self, *, every: bool = False) -> None:
        super().__init__()
        self._every, self._least = every, 0 if every else LARGE

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (functional.batch_norm, torch.conv2d) and len(args) >= 2:
            # what a tensor's class or a context around it makes of the call is not known here, and derivatives along a direction
            # (dual tensors, torch.func's transforms) take no autograd.Function of this kind
            around = [mode for mode in _get_current_function_mode_stack() if not isinstance(mode, DeviceContext)]
            tensors = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
            own = any(type(t) not in (Tensor, nn.Parameter) or not plain_storage(t) for t in tensors)
            if own or around or forward_ad._current_level >= 0:
                return func(*args, **kwargs)
            if func is functional.batch_norm:
                return batch_norm(*args, **kwargs, fused=self._every)
            return convolution(self._least, *args, **kwargs)
        return func(*args, **kwargs)

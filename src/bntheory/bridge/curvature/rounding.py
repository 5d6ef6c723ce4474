"""What the dtype's rounding does to a curvature product, measured: the same product with other rounding errors.

A first-order bound from the dtype alone, eps times the norm times the depth, is off by factors of a thousand either way: a
deep network on few examples magnifies rounding by its layers' condition, a shallow one averages it out. So every input of
a linear or normalising operation is moved by one eps of itself, at random (stochastic arithmetic: Vignes, A stochastic
arithmetic for reliable scientific computation, 1993), and the product is taken again.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, finfo
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bntheory.bridge.networks.evaluation import plain_storage, transformed

_OPERATIONS = frozenset(
    getattr(home, name)
    for home, names in (
        (
            functional,
            "linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d embedding",
        ),
        (functional, "batch_norm layer_norm group_norm instance_norm rms_norm scaled_dot_product_attention"),
        (functional, "softmax log_softmax cross_entropy mse_loss"),
        (torch, "matmul bmm addmm einsum softmax mean var"),
        (Tensor, "matmul __matmul__ mean var"),
    )
    for name in names.split()
)


class Jitter(TorchFunctionMode):
    """Context in which floating inputs of linear, normalising and averaging operations are moved by about one eps of themselves."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._generators: dict[torch.device, torch.Generator] = {}
        self._seed = seed

    def _moved(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point() or not plain_storage(value):
            return value
        device = value.device
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        if transformed(value):  # torch.vmap refuses random numbers: a quasi-random sequence of the same size
            count = torch.arange(value.numel(), dtype=torch.float64, device=device).mul_(math.sqrt(2)).frac_()
            noise = count.sub_(0.5).mul_(math.sqrt(12)).to(value.dtype).reshape(value.shape)
            return value * (noise * finfo(value.dtype).eps + 1)
        noise = torch.randn(value.shape, generator=self._generators[device], dtype=value.dtype, device=device)
        return value * noise.mul_(finfo(value.dtype).eps).add_(1)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _OPERATIONS and args:
            args = (self._moved(args[0]), *args[1:])
        return func(*args, **(kwargs or {}))

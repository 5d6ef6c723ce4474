"""Layers whose second backward pass has a closed form that is faster than torch's own: chosen as a forward pass meets them."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bntheory.bridge.curvature.batch_norm import batch_norm
from bntheory.bridge.curvature.convolution import LARGE, convolution

__all__ = ["ClosedForms"]


class ClosedForms(TorchFunctionMode):
    """Context in which batch normalisation by the statistics of large batches and convolutions have the closed form of this package.

    every: every convolution; otherwise those where much is to be gained, and the rest comes out bit for bit as torch has it.
    """

    def __init__(self, *, every: bool = False) -> None:
        super().__init__()
        self._least = 0 if every else LARGE

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.batch_norm:
            return batch_norm(*args, **(kwargs or {}))
        if func is torch.conv2d and len(args) >= 2:
            return convolution(self._least, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

"""Random directions that are the same on every device and in every precision: drawn in float64 on the CPU, from a generator of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normal_like(tensor: Tensor, generator: torch.Generator, shape: Sequence[int] | None = None) -> Tensor:
    """Standard normal numbers of a tensor's shape (or of this one), in its precision and on its device."""
    size = tensor.shape if shape is None else tuple(shape)
    return torch.randn(size, generator=generator, dtype=torch.float64, device="cpu").to(tensor)

"""A torch function as a landscape: double backward, numpy in and out.

Only ``autograd.grad`` twice is used: the nested ``torch.func`` routes are wrong through batch normalisation. The graph
of the gradient at a point is kept, so a Lanczos run at one point builds it once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bntheory.smoothness.protocol import Vector


class TorchLandscape:
    """``function`` maps a flat tensor of shape (dimension,) to a scalar tensor.

    dtype: name of a torch dtype; in float32 the measures see the rounding of float32. device: a torch device name.
    """

    def __init__(
        self, function: Callable[[Any], Any], dimension: int, *, dtype: str = "float64", device: str = "cpu"
    ) -> None:
        import torch

        if dimension < 1:
            raise ValueError(f"dimension is {dimension}; a landscape has at least one parameter")
        kind = getattr(torch, dtype, None)
        if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
            raise ValueError(f"dtype is {dtype!r}; give the name of a floating torch dtype such as 'float64'")
        self._function = function
        self._dimension = int(dimension)
        self._dtype, self._device = kind, torch.device(device)
        self._at: Vector | None = None
        self._leaf: Any = None
        self._grad: Any = None

    @property
    def dimension(self) -> int:
        return self._dimension

    def _tensor(self, x: Vector) -> Any:
        import torch

        return torch.as_tensor(x, dtype=self._dtype, device=self._device)

    def value(self, x: Vector) -> float:
        import torch

        with torch.no_grad():
            return float(self._function(self._tensor(x)))

    def _build(self, x: Vector) -> None:
        import torch

        if self._at is not None and np.array_equal(self._at, x):
            return
        leaf = self._tensor(x).clone().requires_grad_(True)
        value = self._function(leaf)
        if value.ndim != 0:
            raise ValueError(
                f"the function returned a tensor of shape {tuple(value.shape)}; a landscape needs a scalar: reduce it (mean, sum)"
            )
        (grad,) = torch.autograd.grad(value, leaf, create_graph=True)
        self._at, self._leaf, self._grad = np.array(x), leaf, grad

    def grad(self, x: Vector) -> Vector:
        self._build(x)
        return np.asarray(self._grad.detach().cpu().numpy(), dtype=np.float64)

    def hvp(self, x: Vector, v: Vector) -> Vector:
        import torch

        self._build(x)
        if not self._grad.requires_grad:  # an affine function: its gradient does not depend on x
            return np.zeros(self._dimension)
        (product,) = torch.autograd.grad(
            self._grad, self._leaf, grad_outputs=self._tensor(v), retain_graph=True, materialize_grads=True
        )
        return np.asarray(product.cpu().numpy(), dtype=np.float64)

"""Normalisation written out by hand: the networks of the cases by elementary operations only.

Shares neither torch's fused batch-norm derivatives nor the package's interception of them.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from curvature_cases import Functional
from torch import Tensor, nn
from torch.nn import functional


class HandBatchNorm(nn.Module):
    """Batch norm from elementary operations; its statistics may be set to constants."""

    def __init__(self, weight: Tensor | None, bias: Tensor | None, eps: float, running: tuple[Tensor, Tensor] | None):
        super().__init__()
        self.weight, self.bias, self.eps, self.running = weight, bias, eps, running
        self.constants: tuple[Tensor, Tensor] | None = None
        self.seen: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        moved = x.movedim(1, -1)
        flat = moved.reshape(-1, moved.shape[-1])
        mean = flat.sum(0) / flat.shape[0]
        var = (flat * flat).sum(0) / flat.shape[0] - mean * mean
        self.seen = (mean.detach(), var.detach())
        if self.constants is not None:
            mean, var = self.constants
        elif not self.training and self.running is not None:
            mean, var = self.running
        z = (moved - mean) * (var + self.eps) ** -0.5
        z = z if self.weight is None else z * self.weight
        z = z if self.bias is None else z + self.bias
        return z.movedim(-1, 1)


class HandGroupNorm(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor, eps: float, groups: int) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.groups = weight, bias, eps, groups

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(x.shape[0] * self.groups, -1)
        mean = rows.sum(1, keepdim=True) / rows.shape[1]
        var = (rows * rows).sum(1, keepdim=True) / rows.shape[1] - mean * mean
        z = ((rows - mean) * (var + self.eps) ** -0.5).reshape(x.shape)
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return z * self.weight.reshape(shape) + self.bias.reshape(shape)


def hand_written(module: nn.Module) -> nn.Module | None:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        running = None if module.running_mean is None else (module.running_mean, module.running_var)
        return HandBatchNorm(module.weight, module.bias, module.eps, running)
    if isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
        return HandGroupNorm(module.weight, module.bias, module.eps, getattr(module, "num_groups", 1))
    return None


class FunctionalByHand(nn.Module):
    def __init__(self, original: Functional) -> None:
        super().__init__()
        self.first, self.head, self.gain = original.first, original.head, original.gain
        self.norm = HandBatchNorm(original.gain, None, 1e-5, None)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.softplus(self.norm(self.first(x))))


def by_hand(net: nn.Module, x: Tensor, mode: str) -> tuple[nn.Module, list[Tensor]]:
    """A copy of ``net`` with hand-written normalisation, in ``mode``, and its parameters in the order of ``net``."""
    twin = copy.deepcopy(net)
    parameters = list(twin.parameters())
    if isinstance(twin, Functional):
        twin = FunctionalByHand(twin)
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            replacement = hand_written(child)
            if replacement is not None:
                setattr(parent, name, replacement)
    twin.train(mode != "eval")
    if mode == "frozen":
        with torch.no_grad():
            twin(x)
        for norm in twin.modules():
            if isinstance(norm, HandBatchNorm):
                norm.constants = norm.seen
    return twin, parameters


def double_backward(loss: Tensor, parameters: list[Tensor]) -> np.ndarray:
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = [
        torch.cat(
            [g.reshape(-1) for g in torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)]
        )
        for entry in gradient
    ]
    return torch.stack(rows).cpu().numpy()


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())

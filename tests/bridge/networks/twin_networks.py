"""Networks, batches and gradients for the tests of twins and of the other controls."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from bntheory.bridge.networks.images import NetworkSpec, build_network

KINDS = ["mlp", "vgg", "resnet", "rnn", "transformer"]


def network(kind: str, device: str, norm: str = "batch", **more: object) -> nn.Module:
    spec = NetworkSpec(kind, size="tiny", norm=norm, activation="tanh", input_shape=(1, 8, 8), **more)
    model = build_network(spec, 3, device=device, dtype=torch.float64)
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64))
    return model


def batch(device: str, n: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 8, 8, generator=g, dtype=torch.float64) * 2 + 0.5
    return x.to(device), (torch.arange(n) % 10).to(device)


def gradients(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    loss = F.cross_entropy(model(x), y)
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


class ByHand(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift, self.eps = (nn.Parameter(torch.rand(width) + 1), nn.Parameter(torch.rand(width)), 1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(0)
        return centred * torch.rsqrt(centred.pow(2).mean(0) + self.eps) * self.scale + self.shift

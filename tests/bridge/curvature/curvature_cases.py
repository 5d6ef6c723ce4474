"""Small networks that cover what a second derivative through a normalisation layer can meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(torch.tanh(self.bn1(self.conv1(x)))))
        return torch.tanh(x + inner)


class Tied(nn.Module):
    """One weight matrix used twice, with a batch normalisation in between."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5, bias=False)
        self.bn = nn.BatchNorm1d(5)
        self.second = nn.Linear(5, 5, bias=False)
        self.second.weight = self.first.weight
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.bn(self.first(x))))))


class Functional(nn.Module):
    """A batch normalisation that is no module, called in a user's own forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(5, 6), nn.Linear(6, 3)
        self.gain = nn.Parameter(torch.rand(6) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(
            functional.softplus(functional.batch_norm(self.first(x), None, None, self.gain, training=True))
        )


def _mlp(norm: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), norm(), nn.Tanh(), nn.Linear(6, 6), norm(), nn.Softplus(), nn.Linear(6, 3))


def _conv(norm: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        norm(),
        nn.Tanh(),
        nn.Conv2d(4, 4, 3, stride=2, groups=2, bias=False),
        norm(),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    examples: int = 9

    def make(self, device: str, seed: int = 0) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
        """The network in float64 with running statistics, affine parameters and data in general position."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = self.build().double()
            for module in net.modules():
                if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)):
                    if module.weight is not None:
                        nn.init.uniform_(module.weight, 0.5, 1.5)
                        nn.init.normal_(module.bias, std=0.3)
                    if getattr(module, "running_mean", None) is not None:
                        nn.init.normal_(module.running_mean, std=0.3)
                        nn.init.uniform_(module.running_var, 0.5, 1.5)
            x = torch.randn(self.examples, *self.shape, dtype=torch.float64)
            y = torch.randint(0, 3, (self.examples,))
        return net.to(device), (x.to(device), y.to(device))


CASES = [
    Case("batch-norm-1d", lambda: _mlp(lambda: nn.BatchNorm1d(6)), (5,)),
    Case("batch-norm-1d-no-affine", lambda: _mlp(lambda: nn.BatchNorm1d(6, affine=False)), (5,)),
    Case("batch-norm-1d-untracked", lambda: _mlp(lambda: nn.BatchNorm1d(6, track_running_stats=False)), (5,)),
    Case("batch-norm-2d-grouped-strided", lambda: _conv(lambda: nn.BatchNorm2d(4)), (2, 6, 6)),
    Case("batch-norm-2d-no-affine", lambda: _conv(lambda: nn.BatchNorm2d(4, affine=False)), (2, 6, 6)),
    Case("layer-norm", lambda: _mlp(lambda: nn.LayerNorm(6)), (5,)),
    Case("group-norm", lambda: _conv(lambda: nn.GroupNorm(2, 4)), (2, 6, 6)),
    Case(
        "residual",
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), Residual(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        ),
        (2, 5, 5),
    ),
    Case("tied", Tied, (5,)),
    Case("functional-batch-norm", Functional, (5,)),
]
BY_NAME = {case.name: case for case in CASES}

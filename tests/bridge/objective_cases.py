"""A small network, its data, and how it is held against the oracle: for tests of the front door."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge.curvature import hessian

CE = F.cross_entropy
torch.manual_seed(0)
X, Y = torch.randn(10, 5), torch.arange(10) % 3
W = torch.tensor([0.2, 1.0, 3.0])


def mlp(seed: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


class Wrapped(nn.Module):
    """The perceptron behind another calling convention."""

    def __init__(self, convention: str) -> None:
        super().__init__()
        self.net, self.convention = mlp(), convention
        self.register_buffer("shift", torch.zeros(5))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        x, *_ = (*args, *kwargs.values())
        if self.convention == "keyword":
            return self.net[3](self.net[2](self.net[1](input=self.net[0](input=x))))
        out = self.net(x + self.shift)
        if self.convention == "loss":
            return {"loss": CE(out, kwargs["labels"]), "logits": out}
        if self.convention == "logits":
            return SimpleNamespace(logits=out, hidden=x)
        if self.convention == "constant":
            return out @ torch.eye(3)
        if self.convention == "float":
            return out.float().to(torch.float32).type(torch.FloatTensor)
        return out


NET = mlp()


def measured(model: Any, loss: Any, batch: Any, **options: Any) -> np.ndarray:
    with hessian(model, loss, batch, dtype=torch.float64, **options) as op:
        return op.dense()


def assert_right(found: np.ndarray, expected: Tensor) -> None:
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-9 * float(expected.abs().max()))

"""After a measurement no tensor of it is left: a graph that refers to itself is never collected, and a long run ends in want of memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from bntheory.bridge import Monitor, Objective, along_gradient, capture, probe
from bntheory.bridge.curvature import hessian, spectral_density, top_eigenvalues, trace


class _Gated(nn.Module):
    """Operations that autograd keeps by their outputs: a sigmoid, a hyperbolic tangent, an exponential, a softmax, a root."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.sigmoid(x) * torch.tanh(x) + torch.exp(-x.square())
        return y * functional.softmax(y, dim=1) + torch.sqrt(1 + y.square())


def _given() -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), _Gated(), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 3)
    )
    return model, functional.cross_entropy, (torch.randn(16, 6), torch.randint(3, (16,)))


def _eigenvalues(**options: Any) -> None:
    with hessian(*_given(), **options) as operator:
        top_eigenvalues(operator, k=2, tol=1e-3)


def _traces() -> None:
    with hessian(*_given()) as operator:
        trace(operator)
        spectral_density(operator, probes=2, steps=5)


def _monitored() -> None:
    model, loss, (x, y) = _given()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = Monitor(model, loss, (x, y), optimizer=optimizer, every=1, share=None)
    for _ in range(2):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
        monitor.step()


_MEASUREMENTS: dict[str, Callable[[], Any]] = {
    "examination": lambda: Objective.of(*_given()).examination,
    "capture": lambda: capture(*_given()),
    "twin": lambda: Objective.of(*_given()).twin().examination,
    "along-gradient": lambda: along_gradient(*_given(), step_sizes=(0.1,)),
    "eigenvalues": _eigenvalues,
    "eigenvalues-of-the-twin": lambda: _eigenvalues(mode="frozen"),
    "eigenvalues-written-out": lambda: _eigenvalues(normalisation="primitive"),
    "traces": _traces,
    "probe": lambda: probe(*_given()),
    "monitor": _monitored,
}


def _tensors() -> int:
    gc.collect()
    return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())


@pytest.mark.long
@pytest.mark.parametrize("name", _MEASUREMENTS)
def test_no_tensor_of_a_measurement_is_left(name: str) -> None:
    measure = _MEASUREMENTS[name]
    measure()  # what is made once, at the first use
    before = _tensors()
    for _ in range(2):
        measure()
    assert _tensors() == before

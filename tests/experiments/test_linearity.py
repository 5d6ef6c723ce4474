"""The measure "linearity" against a network written out in plain torch with its whole float64 Hessian.

Independent: the forward pass, the frozen constants and the scaled weights are written here; the Hessian is dense and exact.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bntheory.bridge import load_dataset
from bntheory.experiments.experiment import Arm, Measure, Protocol, Task
from bntheory.experiments.measure import measure
from bntheory.experiments.measures.situation import Situation
from bntheory.experiments.worker import follow

EPS, FRACTION, FACTORS = 1e-3, 0.1, (0.5, 4.0)
OPTIONS = {"batch_size": 32, "tolerance": 1e-3, "max_products": 200, "fraction": FRACTION}


def situation(seed: int, norm: str = "batch") -> Situation:
    """One hidden layer of five softplus units on images of 2 x 2 pixels, trained for 12 steps: its Hessian is a small matrix."""
    options = {"layout": (5,), "activation": "softplus", "eps": EPS, "norm": norm}
    task = Task(Arm("tiny", norm, "mlp", options, 0.3), seed)
    protocol = Protocol(12, (12,), 16, 32, side=2)
    return next(follow(task, [12], load_dataset("fashion-mnist-subset"), "cpu", protocol))


def measured(at: Situation, factors: tuple[float, ...] = FACTORS, twin: bool = True) -> dict[str, Any]:
    found = measure(at, Measure("linearity", {**OPTIONS, "twin": twin, "factors": factors}))["linearity"]
    assert isinstance(found, dict)
    return found


def by_hand(at: Situation, fixed: bool, factor: float) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The loss as a function of one flat vector, and where the network is; its first weights are ``factor`` times the network's."""
    x, labels = (t.double() if t.is_floating_point() else t for t in at.batch(32))
    values = [p.detach().double() for p in at.model.parameters()]
    sizes = [p.numel() for p in values]
    y = x.flatten(1) @ values[0].T
    constants = (y.mean(0), ((y - y.mean(0)) ** 2).mean(0))

    def loss(flat: Tensor) -> Tensor:
        weight, gamma, beta, last, bias = (
            q.reshape(p.shape) for q, p in zip(torch.split(flat, sizes), values, strict=True)
        )
        y = x.flatten(1) @ (weight / factor).T
        mean, var = constants if fixed else (y.mean(0), ((y - y.mean(0)) ** 2).mean(0))
        hidden = F.softplus((y - mean) / torch.sqrt(var + EPS) * gamma + beta)
        return F.cross_entropy(hidden @ last.T + bias, labels)

    return loss, torch.cat([values[0].reshape(-1) * factor, *(p.reshape(-1) for p in values[1:])])


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 4])
def test_every_number_is_that_of_the_dense_hessian(seed: int) -> None:
    at = situation(seed)
    found = measured(at)
    assert list(found) == ["own", "twin", "twin x 0.5", "twin x 4"]
    for name, (fixed, factor) in zip(found, [(False, 1.0), (True, 1.0), (True, 0.5), (True, 4.0)], strict=True):
        loss, point = by_hand(at, fixed, factor)
        start = point.clone().requires_grad_()
        value = loss(start)
        (g,) = torch.autograd.grad(value, start)
        eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, point))  # type: ignore[no-untyped-call]
        promised = FRACTION * float(value.detach())
        there = float(loss(point - promised / float(g @ g) * g))
        numbers = found[name]
        assert numbers["loss"] == pytest.approx(float(value.detach()), rel=1e-5)
        assert numbers["gradient_norm"] == pytest.approx(float(g.norm()), rel=1e-4)
        assert numbers["top"] == pytest.approx(float(eigenvalues[-1]), rel=2e-3)
        assert numbers["spectral_norm"] == pytest.approx(float(eigenvalues.abs().max()), rel=2e-3)
        error = abs(there - (float(value.detach()) - promised)) / promised
        assert numbers["linearity_error"] == pytest.approx(error, rel=1e-2)
        assert numbers["refused"] is None
    assert found["own"]["top"] != pytest.approx(found["twin"]["top"], rel=5e-3)


@pytest.mark.long
def test_it_leaves_the_network_and_measures_no_twin_where_none_is_asked_for() -> None:
    at = situation(3)
    before = {name: t.clone() for name, t in at.model.state_dict().items()}
    assert list(measured(at, factors=())) == ["own", "twin"]
    assert all(torch.equal(t, before[name]) for name, t in at.model.state_dict().items())
    assert list(measured(situation(3, "none"), twin=False)) == ["own"]


def test_a_negative_end_that_is_larger_does_not_hide_the_top() -> None:
    """f = a^2 - 4 b^2 in the loss itself: the spectral norm is 8, the largest eigenvalue 2."""

    class Saddle(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Parameter(torch.tensor([1.0, 0.5]))

        def forward(self, x: Tensor) -> Tensor:
            return (self.a[0] ** 2 - 4 * self.a[1] ** 2 + 2) * torch.ones(len(x), 1)

    at = replace(situation(1), model=Saddle(), loss=lambda outputs, labels: outputs.mean())
    found = measured(at, twin=False)["own"]
    assert found["top"] == pytest.approx(2.0, rel=1e-3)
    assert found["spectral_norm"] == pytest.approx(8.0, rel=1e-3)


def test_on_the_brink_of_overflow_every_number_can_be_written() -> None:
    """A gradient whose squares overflow single precision has a finite norm, and one that is not finite is refused."""

    class Steep(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Parameter(torch.tensor([1.0, 2.0]))

        def forward(self, x: Tensor) -> Tensor:
            return self.a.square().sum() * torch.ones(len(x), 1)

    for size in (1e25, 1e38):
        at = replace(situation(1), model=Steep(), loss=lambda outputs, labels, c=size: c * outputs.mean())
        found = measured(at, twin=False)["own"]
        json.dumps(found, allow_nan=False)
        if size == 1e25:
            assert found["gradient_norm"] == pytest.approx(size * math.sqrt(20), rel=1e-5)
            assert found["top"] == pytest.approx(2 * size, rel=1e-3)
        else:
            assert found["refused"]


def test_no_gradient_is_refused_with_its_reason() -> None:
    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            return (self.a.square().sum() + 1) * torch.ones(len(x), 1)

    at = replace(situation(1), model=Flat(), loss=lambda outputs, labels: outputs.mean())
    assert measured(at, twin=False)["own"] == {"refused": "the gradient's norm is 0: no step can be predicted"}

"""A forward pass that changes parameters is refused in whatever way it does so, and leaves them as they were, bit for bit.

A change by way of ``.data`` leaves autograd's version as it was. Right numbers come from the dense Hessian, in float64, of the network
whose weights were changed before, as the message advises.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from objective_cases import CE, X, Y, assert_right, measured, mlp
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import Monitor, Objective, capture, state_fingerprint
from bntheory.bridge.curvature import hessian


def shortened(weight: Tensor) -> Tensor:
    return torch.renorm(weight, p=2, dim=0, maxnorm=0.5)


def replaced(weight: Tensor) -> None:
    weight.data = shortened(weight.data)


def set_anew(weight: Tensor) -> None:
    with torch.no_grad():
        weight.set_(shortened(weight))


def in_place(weight: Tensor) -> None:
    with torch.no_grad():
        weight.copy_(shortened(weight))


WAYS: dict[str, Callable[[Tensor], Any]] = {
    "data = ...": replaced,
    "data.copy_": lambda weight: weight.data.copy_(shortened(weight.data)),
    "data.clamp_": lambda weight: weight.data.clamp_(-0.2, 0.2),
    "data.mul_": lambda weight: weight.data.mul_(0.9).add_(0.1),
    "data[0] = ...": lambda weight: weight.data.__setitem__(0, 1.0),
    "detach().mul_": lambda weight: weight.detach().mul_(0.9),
    "set_": set_anew,
    "no_grad": in_place,
}


class Changing(nn.Module):
    """Changes the weight of a layer of its own, of a momentum encoder, or of nobody before it is used."""

    def __init__(self, change: Callable[[Tensor], Any] | None, whose: str = "net") -> None:
        super().__init__()
        self.net, self.momentum = mlp(), mlp(2).requires_grad_(False)
        self.change, self.whose = change, whose

    def forward(self, x: Tensor) -> Tensor:
        if self.change is not None:
            self.change(getattr(self, self.whose)[0].weight)
        return self.net(x) + self.momentum(x).detach()


def storages(model: nn.Module) -> list[int]:
    return [p.data_ptr() for p in model.parameters()]


@pytest.mark.parametrize("dtype", [None, torch.float64], ids=["own precision", "float64"])
@pytest.mark.parametrize("whose", ["net", "momentum"])
@pytest.mark.parametrize("way", WAYS)
def test_a_forward_pass_that_changes_a_parameter_is_refused_and_leaves_it(way: str, whose: str, dtype: Any) -> None:
    model = Changing(WAYS[way], whose)
    before, places = state_fingerprint(model), storages(model)
    objective = Objective(model, CE, (X, Y), dtype=dtype)
    doors: list[Callable[[], Any]] = [
        objective.loss_and_gradients,
        objective.loss_and_gradients,  # nor are stand-ins of another precision changed by the first
        lambda: hessian(model, CE, (X, Y), dtype=dtype, mode="frozen"),
        lambda: capture(model, CE, (X, Y), dtype=dtype),
    ]
    for door in doors:
        with pytest.raises(ValueError, match=rf"changes {whose}\.0\.weight in place.*after the optimiser's step"):
            door()
        assert state_fingerprint(model) == before
        assert storages(model) == places


@pytest.mark.parametrize("way", WAYS)
def test_so_is_a_loss_that_changes_parameters_of_a_module_beside(way: str) -> None:
    model, teacher = mlp(), mlp(2).requires_grad_(False)
    before, places = state_fingerprint(teacher), storages(teacher)

    def distilled(outputs: Tensor, targets: Tensor) -> Tensor:
        WAYS[way](teacher[3].weight)
        return CE(outputs, targets) + F.mse_loss(outputs, teacher(X))

    # in another precision a detached alias is a converted copy
    for dtype in (None,) if way in ("set_", "detach().mul_") else (None, torch.float64):
        with pytest.raises(ValueError, match=r"changes 3\.weight in place"):
            Objective(model, distilled, (X, Y), dtype=dtype).loss_value()
        assert state_fingerprint(teacher) == before
        assert storages(teacher) == places


def test_values_that_stay_in_another_storage_are_refused_too() -> None:
    """Weights that obey the bound today do not after the next step, and then second derivatives would be of the old ones."""
    model = Changing(replaced)
    with torch.no_grad():
        model.net[0].weight.mul_(0.1)
    assert torch.equal(shortened(model.net[0].weight), model.net[0].weight)
    with pytest.raises(ValueError, match=r"changes net\.0\.weight in place"):
        hessian(model, CE, (X, Y))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_changed_outside_of_forward_the_numbers_are_right(way: str, frozen: bool) -> None:
    model = Changing(None)
    WAYS[way](model.net[0].weight)
    _, _, expected = oracle.derivatives(model, CE, (X, Y), frozen=frozen)
    assert_right(measured(model, CE, (X, Y), mode="frozen" if frozen else "train"), expected)


class LaidOutAnew(nn.LSTM):
    """As torch does on CUDA: the weights move to one block of memory in the forward pass, with the values that they have."""

    def forward(self, *args: Any) -> Any:
        for parameter in self.parameters():
            parameter.data = parameter.data.clone()
        return super().forward(*args)


def test_weights_of_a_recurrent_layer_may_be_laid_out_anew() -> None:
    torch.manual_seed(0)
    plain = nn.LSTM(2, 3, batch_first=True).double()
    anew = LaidOutAnew(2, 3, batch_first=True).double()
    anew.load_state_dict(plain.state_dict())
    x = torch.randn(4, 5, 2, dtype=torch.float64)

    def loss(outputs: Any) -> Tensor:
        return outputs[0].square().mean()

    _, _, expected = oracle.derivatives(plain, loss, (x,))
    before, places = state_fingerprint(anew), storages(anew)
    assert_right(measured(anew, loss, (x,)), expected)
    assert state_fingerprint(anew) == before
    assert storages(anew) == places


@pytest.mark.parametrize("way", ["data = ...", "data.copy_", "data.mul_"])
def test_a_monitor_refuses_and_the_training_stays_bit_for_bit(way: str) -> None:
    """Also where the change sets in during the training."""

    def trained(monitored: bool) -> dict[str, Tensor]:
        model = Changing(None)
        optimizer = torch.optim.SGD(model.net.parameters(), lr=0.5)
        monitor = Monitor(model, CE, (X, Y), optimizer=optimizer, every=1, share=None) if monitored else None
        for step in range(4):
            model.change = WAYS[way] if step > 1 else None
            optimizer.zero_grad()
            CE(model(X), Y).backward()
            optimizer.step()
            if monitor is not None:
                monitor.step()
        if monitor is not None:
            assert {m.step for m in monitor.missing if r"changes net.0.weight in place" in m.reason} == {3, 4}
            assert np.isfinite([row["lambda_max"] for row in monitor.rows()[:2]]).all()
        return copy.deepcopy(model.state_dict())

    plain, watched = trained(False), trained(True)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    with pytest.raises(ValueError, match=r"changes net\.0\.weight in place"):
        Monitor(Changing(WAYS[way]), CE, (X, Y))

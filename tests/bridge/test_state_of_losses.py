"""What a model or a loss keeps outside of parameters and buffers is as it was after a measurement, and in it what one pass makes of it.

A plain tensor that a forward pass changes in place, an object that counts its calls, a teacher that a loss closes over: training goes
on with all of them. Right numbers come from the dense Hessian of the loss with what the first pass makes of the state written as a number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bntheory.bridge import Monitor, Objective
from bntheory.bridge.curvature import hessian, top_eigenvalues
from bntheory.bridge.networks.state import state_fingerprint


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double()


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(12, size, generator=generator, dtype=torch.float64) for size in (4, 3))


class Weighted:
    """Trebles its weights at every call, in place, and counts."""

    def __init__(self) -> None:
        self.weights = torch.ones(3, dtype=torch.float64)
        self.more = [torch.ones(1, dtype=torch.float64)]
        self.calls = 0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        self.weights.mul_(3)
        self.more[0].mul_(2)
        return (self.weights * self.more[0] * (outputs - targets) ** 2).mean()

    def method(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self(outputs, targets)


class WeightedModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Weighted()
        self.register_buffer("weights", torch.ones(3, dtype=torch.float64))
        self.more = [torch.ones(1, dtype=torch.float64)]
        self.calls = 0

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return Weighted.__call__(self, outputs, targets)  # type: ignore[arg-type]


class Holder:
    def __init__(self, criterion: nn.Module) -> None:
        self.criterion = criterion

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.criterion(outputs, targets)


def _closing_over(keeper: nn.Module) -> Callable[..., Tensor]:
    return lambda outputs, targets: keeper(outputs, targets)


LOSSES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "an object": lambda: (w := Weighted(), w),
    "a method": lambda: ((w := Weighted()).method, w),
    "a partial of a method": lambda: (partial((w := Weighted()).method), w),
    "a module": lambda: (w := WeightedModule(), w),
    "a function around a module": lambda: (_closing_over(w := WeightedModule()), w),
    "a method of what holds a module": lambda: (Holder(w := WeightedModule()).loss, w),
}


@pytest.mark.parametrize("dtype", [None, torch.float64], ids=["", "float64"])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_that_keeps_a_state_is_measured_and_left(kind: str, dtype: torch.dtype | None) -> None:
    loss, keeper = LOSSES[kind]()
    net, (x, y) = network(), data()
    with hessian(net, loss, (x, y), dtype=dtype) as operator:
        found = top_eigenvalues(operator, tol=1e-9).top
    names = dict(net.named_parameters())

    def right(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [p.numel() for p in names.values()])
        given = {name: part.reshape(p.shape) for (name, p), part in zip(names.items(), parts, strict=True)}
        return (6 * (torch.func.functional_call(net, given, (x,)) - y) ** 2).mean()

    point = torch.cat([p.detach().reshape(-1) for p in names.values()])
    dense = torch.autograd.functional.hessian(right, point)
    assert found == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-8)
    assert keeper.calls == 0
    assert keeper.weights.tolist() == [1.0] * 3
    assert keeper.more[0].tolist() == [1.0]


class Moving(nn.Module):
    """Keeps a moving mean in a plain attribute, and a history in a list, changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.mean, self.history = network(), torch.zeros(4, dtype=torch.float64), [torch.zeros(1)]

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        self.history[0].add_(1)
        return self.net(x - self.mean)


def test_a_monitor_leaves_plain_tensors_of_a_model() -> None:
    model = Moving()
    mean, history = model.mean, model.history[0]
    monitor = Monitor(model, nn.functional.mse_loss, data(), share=None, strict=True)
    monitor.measure()
    assert model.mean is mean
    assert model.history[0] is history
    assert not mean.any()
    assert not history.any()
    x, y = data()
    assert monitor.rows()[0]["loss"] == pytest.approx(float(nn.functional.mse_loss(model(x), y).detach()), rel=1e-12)
    assert mean.any()  # in training it moves


def test_the_teacher_of_a_loss_stays_what_it_was() -> None:
    teacher, (x, y) = network().train(), data()

    def distilled(outputs: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = teacher(x)
        return (outputs - wanted).square().mean() + (outputs - targets).square().mean()

    student = network()
    with torch.no_grad():
        student[0].weight.mul_(1.5)
    before = state_fingerprint(teacher)
    Monitor(student, distilled, (x, y), share=None, strict=True).measure()
    assert state_fingerprint(teacher) == before

    def followed(outputs: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            teacher[0].weight.lerp_(student[0].weight, 0.1)
        return distilled(outputs, targets)

    with pytest.raises(ValueError, match=r"changes 0\.weight in place"):
        Objective(student, followed, (x, y)).examination  # noqa: B018
    assert state_fingerprint(teacher) == before


@pytest.mark.parametrize("own", [False, True], ids=["global generator", "generator of the loader"])
def test_reading_a_loader_draws_nothing(own: bool) -> None:
    generator = torch.Generator().manual_seed(3) if own else None
    loader = DataLoader(TensorDataset(*data()), batch_size=6, generator=generator)
    net = network()
    drawn = (generator or torch.default_generator).get_state()
    monitor = Monitor(net, nn.functional.mse_loss, loader, every=1, share=None, measures=["loss"])
    monitor.step()
    monitor.step(loader)
    assert torch.equal((generator or torch.default_generator).get_state(), drawn)
    first, second = monitor.rows()
    assert first["loss"] == second["loss"]


def test_what_hooks_of_ones_own_keep_stays_as_it_was() -> None:
    """Activations in a list, a mean in an object, for a penalty that the training loop computes: none of a measurement's are among them."""
    model, activations, means = network(), [], Weighted()

    def note(module: nn.Module, given: Any, output: Tensor) -> None:
        activations.append(output)

    model[1].register_forward_hook(note)
    model[0].register_forward_hook(lambda module, given, output: means(output[:, :3], given[0][:, :3]) and None)

    def penalised(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.mse_loss(outputs, targets) + sum(a.abs().mean() for a in activations)

    x, y = data()
    monitor = Monitor(model, penalised, (x, y), share=None, strict=True)
    monitor.measure()
    assert activations == []
    assert means.calls == 0
    assert means.weights.tolist() == [1.0] * 3
    right = float(penalised(model(x), y).detach())
    assert monitor.rows()[0]["loss"] == pytest.approx(right, rel=1e-12)
    assert len(activations) == 1


@pytest.mark.parametrize("way", ["sharded", "synchronised"])
def test_what_needs_every_process_is_refused_before_a_pass(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass of one process alone would wait for the others for ever."""
    model, passes = network(), []
    if way == "synchronised":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda group: 2)
    else:
        model[0].weight.device_mesh = "of two"  # as the parameters of fully_shard have
    model.register_forward_hook(lambda *_: passes.append(1))
    with pytest.raises(
        ValueError, match=r"0\.weight is spread over|layer '1' \(SyncBatchNorm\) takes its statistics over"
    ):
        Monitor(model, nn.functional.mse_loss, data())
    assert not passes

"""The frozen twin agrees where it must and differs only in what it must.

Oracles: the model itself in training mode (outputs); torch's own batch norm in *evaluation* mode whose running
statistics were set to the batch's (gradients of the twin: another code path, and hand-set constants); finite
differences of the twin's loss; the projection formula for what freezing removes from the gradient.
"""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from twin_networks import KINDS, batch, gradients, network

from bntheory.bridge.networks.state import state_fingerprint
from bntheory.bridge.networks.twins import batch_norm_layers, frozen_twin
from bntheory.bridge.objective import Objective

pytestmark = pytest.mark.usefixtures("deterministic")


def with_constants_in_evaluation_mode(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """The same network with the batch's statistics as running statistics, momentum 1, set by torch itself."""
    other = copy.deepcopy(model).train()
    norms = [m for m in other.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for m in norms:
        m.momentum = 1.0
        m.register_forward_pre_hook(lambda m, a: setattr(m, "seen", a[0].numel() // a[0].shape[1]))
    other(x)
    for m in norms:
        m.running_var.mul_((m.seen - 1) / m.seen)  # torch stores the unbiased one
    return other.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_twin_outputs_and_gradients(kind: str, device: str) -> None:
    model = network(kind, device)
    x, y = batch(device)
    twin = frozen_twin(model, x)
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in model.named_parameters()]
    torch.testing.assert_close(twin(x), model(x), rtol=1e-11, atol=1e-11)
    found, expected = gradients(twin, x, y), gradients(with_constants_in_evaluation_mode(model, x), x, y)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-8, atol=1e-11, msg=name)
    live = gradients(model, x, y)
    first = next(iter(live))
    assert not torch.allclose(live[first], found[first], rtol=1e-3)  # the statistics do matter


@pytest.mark.parametrize("freeze", ["both", "mean", "variance"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_itself_as_its_twin_equals_the_copy(kind: str, freeze: str, device: str) -> None:
    """Without a copy, while an objective is evaluated; away from the batch the constants stay."""
    model = network(kind, device)
    x, y = batch(device)
    twin = frozen_twin(model, x, freeze=freeze)
    other, labels = batch(device, seed=9)
    objective = Objective(model, F.cross_entropy, (x, y), mode="frozen", freeze=freeze)
    before = state_fingerprint(model)
    for data in ((x, y), (other, labels)):
        expected = gradients(twin, *data)
        with objective.conditions():
            assert torch.equal(model(data[0]), twin(data[0]))
            found = gradients(model, *data)
        assert all(torch.equal(found[n], expected[n]) for n in expected)
    assert state_fingerprint(model) == before


class Partial(nn.Module):
    """Batch normalisation in primitive operations with one statistic detached: the oracle of partial twins."""

    def __init__(self, like: nn.Module, freeze: str) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.freeze = like.weight, like.bias, like.eps, freeze

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = [a for a in range(x.dim()) if a != 1]
        mean, variance = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
        mean = mean.detach() if self.freeze != "variance" else mean
        variance = variance.detach() if self.freeze != "mean" else variance
        shape = [1, -1] + [1] * (x.dim() - 2)
        y_hat = (x - mean) / torch.sqrt(variance + self.eps)
        return y_hat * self.weight.reshape(shape) + self.bias.reshape(shape)


@pytest.mark.parametrize("norm", ["batch", "batch-primitive"])
@pytest.mark.parametrize("freeze", ["mean", "variance", "both"])
@pytest.mark.parametrize("kind", ["mlp", "vgg"])
def test_partial_twins(kind: str, freeze: str, norm: str, device: str) -> None:
    """First and second derivatives at the point, where detached statistics and constants are the same to every order."""
    model = network(kind, device, norm)
    x, y = batch(device)
    twin, oracle = frozen_twin(model, x, freeze=freeze), copy.deepcopy(model)
    for name, layer in batch_norm_layers(oracle).items():
        parent, _, child = name.rpartition(".")
        setattr(oracle.get_submodule(parent), child, Partial(layer, freeze))
    torch.testing.assert_close(twin(x), model(x), rtol=1e-11, atol=1e-11)
    rows = []
    for net in (twin, oracle):
        parameters = list(net.parameters())
        first = torch.autograd.grad(F.cross_entropy(net(x), y), parameters, create_graph=True)
        g = torch.Generator().manual_seed(0)
        along = sum((f * torch.randn(f.shape, generator=g, dtype=f.dtype).to(f)).sum() for f in first)
        second = torch.autograd.grad(along, parameters)
        rows.append({"first": first, "second": second, "names": [n for n, _ in net.named_parameters()]})
    ours, theirs = rows
    for order in ("first", "second"):
        expected = dict(zip(theirs["names"], theirs[order], strict=True))
        for name, value in zip(ours["names"], ours[order], strict=True):
            torch.testing.assert_close(value, expected[name], rtol=1e-7, atol=1e-10, msg=f"{order} {name}")


def test_twin_is_affine_in_the_input_of_each_layer(device: str) -> None:
    model = nn.Sequential(nn.BatchNorm1d(4)).double().to(device)
    x = batch(device)[0].reshape(12, 64)[:, :4]
    twin = frozen_twin(model, x)
    zero = torch.zeros_like(x)
    u, v = torch.randn_like(x), torch.randn_like(x)
    torch.testing.assert_close(
        twin(u + 3 * v) - twin(zero), (twin(u) - twin(zero)) + 3 * (twin(v) - twin(zero)), rtol=1e-12, atol=1e-12
    )


def test_freezing_removes_exactly_the_projection(device: str) -> None:
    """One layer: live input gradient = P (frozen one), P = I - 11'/m - y_hat y_hat'/m."""
    layer = nn.BatchNorm1d(3, eps=1e-2).double().to(device)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, -2.0, 1.5]))
    y = batch(device)[0].reshape(12, 64)[:, :3].clone().requires_grad_()
    twin = frozen_twin(layer, y)
    target = batch(device, seed=2)[0].reshape(12, 64)[:, :3]

    def input_gradient(module: nn.Module) -> torch.Tensor:
        return torch.autograd.grad((module(y) - target).pow(4).sum(), y)[0]

    live, frozen = input_gradient(layer), input_gradient(twin)
    for c in range(3):
        column = y.detach()[:, c]
        y_hat = (column - column.mean()) / torch.sqrt(column.var(correction=0) + 1e-2)
        one = torch.ones_like(y_hat)
        g = frozen[:, c]
        expected = g - one * (one @ g) / 12 - y_hat * (y_hat @ g) / 12
        torch.testing.assert_close(live[:, c], expected, rtol=1e-10, atol=1e-10)


def test_twin_gradient_against_finite_differences(device: str) -> None:
    model = network("resnet", device)
    x, y = batch(device)
    twin = frozen_twin(model, x)
    found = gradients(twin, x, y)
    g = torch.Generator().manual_seed(2)
    h = 1e-5
    for name, p in twin.named_parameters():
        u = torch.randn(p.shape, generator=g, dtype=torch.float64).to(device)
        ends = []
        with torch.no_grad():
            for sign in (1, -1):
                p.add_(u, alpha=sign * h)
                ends.append(float(F.cross_entropy(twin(x), y)))
                p.sub_(u, alpha=sign * h)
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(float((found[name] * u).sum()), rel=1e-6, abs=1e-7)


def test_twin_of_a_model_in_evaluation_mode_has_the_statistics_of_training_mode(device: str) -> None:
    model = network("vgg", device)
    x, _ = batch(device)
    model(batch(device, seed=5)[0])  # running statistics now differ from the start and from the batch
    expected = model(x)
    twin = frozen_twin(model.eval(), x)
    torch.testing.assert_close(twin(x), expected, rtol=1e-11, atol=1e-11)
    assert not torch.allclose(model(x), expected, rtol=1e-2)


def test_dropout_is_drawn_as_the_next_forward_pass_draws_it(device: str) -> None:
    model = nn.Sequential(nn.Linear(64, 6), nn.Dropout(0.5), nn.BatchNorm1d(6)).double().to(device)
    x = batch(device)[0].reshape(12, 64)
    torch.manual_seed(8)
    twin = frozen_twin(model, x)
    torch.manual_seed(8)
    expected = model(x)
    torch.manual_seed(8)
    torch.testing.assert_close(twin(x), expected, rtol=1e-12, atol=1e-12)

"""A network is a landscape: value, gradient and Hessian product agree with differences, and measures written for plain
functions agree with those written for networks.

Oracles: central differences of the value and of the gradient (no second derivative of autograd in them); the bridge's
own measurement along the gradient, which moves the network's parameters instead of evaluating a function.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bntheory.bridge.curvature import hessian
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.state import state_fingerprint
from bntheory.bridge.networks.training import reproducible
from bntheory.bridge.networks.twins import frozen_twin
from bntheory.bridge.probes.along_gradient import along_gradient
from bntheory.bridge.probes.network_landscape import NetworkLandscape
from bntheory.smoothness.protocol import Landscape


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Exact equality between two evaluations is asked for below; on CUDA it needs deterministic algorithms."""
    with reproducible():
        yield


def network(kind: str, device: str, norm: str = "batch") -> nn.Module:
    spec = NetworkSpec(
        kind, size="tiny", norm=norm, activation="tanh", pool="average", input_shape=(1, 6, 6), classes=3, rows=2
    )
    return build_network(spec, 3, device=device, dtype=torch.float64)


def batch(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x.to(device), (torch.arange(8) % 3).to(device)


@pytest.mark.parametrize("kind", ["mlp", "vgg", "resnet", "rnn", "transformer"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_derivatives_against_differences(kind: str, mode: str, device: str) -> None:
    model = network(kind, device).train(mode == "train")
    before = state_fingerprint(model)
    landscape = NetworkLandscape(model, F.cross_entropy, batch(device), mode="current")
    assert isinstance(landscape, Landscape)
    x = landscape.point
    assert landscape.dimension == x.size == sum(p.numel() for p in model.parameters())
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, x.size))
    h = 1e-5
    slope = (landscape.value(x + h * u) - landscape.value(x - h * u)) / (2 * h)
    assert landscape.grad(x) @ u == pytest.approx(slope, rel=1e-6, abs=1e-8)
    difference = (landscape.grad(x + h * v) - landscape.grad(x - h * v)) / (2 * h)
    product = landscape.hvp(x, v)
    np.testing.assert_allclose(product, difference, rtol=1e-5, atol=1e-6 * np.abs(difference).max())
    assert u @ landscape.hvp(x, v) == pytest.approx(v @ landscape.hvp(x, u), rel=1e-9)
    assert np.array_equal(landscape.hvp(x, v), product)
    assert state_fingerprint(model) == before


def test_value_is_the_models_loss(device: str) -> None:
    model, (x, y) = network("vgg", device), batch(device)
    landscape = NetworkLandscape(model, F.cross_entropy, (x, y))
    assert landscape.value(landscape.point) == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-12)
    with torch.no_grad():
        model.output.bias.add_(1.0)  # the landscape holds a copy
    again = NetworkLandscape(model, F.cross_entropy, (x, y))
    assert not np.array_equal(again.point, landscape.point)


def test_points_may_alternate(device: str) -> None:
    """The graph of one point must not leak into another."""
    landscape = NetworkLandscape(network("mlp", device), F.cross_entropy, batch(device))
    x = landscape.point
    other = x + 0.1
    v = np.ones_like(x)
    first = landscape.hvp(x, v)
    landscape.value(other)
    assert np.array_equal(landscape.grad(other), NetworkLandscape.grad(landscape, other))
    assert not np.allclose(landscape.hvp(other, v), first)
    assert np.array_equal(landscape.hvp(x, v), first)
    landscape.value(x)
    assert np.array_equal(landscape.hvp(x, v), first)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_one_measure_two_implementations(norm: str, device: str) -> None:
    model, data = network("vgg", device, norm), batch(device)
    landscape = NetworkLandscape(model, F.cross_entropy, data)
    x, steps = landscape.point, [0.05, 0.1, 0.4]
    g = landscape.grad(x)
    changes = [float(np.linalg.norm(g - landscape.grad(x - s * g))) for s in steps]
    by_network = along_gradient(model, F.cross_entropy, data, steps)
    assert by_network.losses == pytest.approx([landscape.value(x - s * g) for s in steps], rel=1e-10)
    assert by_network.gradient_changes == pytest.approx(changes, rel=1e-9)
    beta = max(change / (s * np.linalg.norm(g)) for change, s in zip(changes, steps, strict=True))
    assert by_network.effective_beta == pytest.approx(beta, rel=1e-9)


@pytest.mark.parametrize("kind", ["mlp", "vgg", "resnet", "rnn", "transformer"])
def test_frozen_landscape_is_that_of_the_twin(kind: str, device: str) -> None:
    """At the model's own point: equal values, other derivatives; away from it the twin's statistics stay."""
    model, data = network(kind, device).eval(), batch(device)
    live = NetworkLandscape(model, F.cross_entropy, data)
    frozen = NetworkLandscape(model, F.cross_entropy, data, mode="frozen")
    x, same = live.point, frozen.point
    assert np.array_equal(x, same)
    assert not model.training
    assert frozen.value(x) == pytest.approx(live.value(x), rel=1e-11)
    twin = frozen_twin(model, data[0])
    F.cross_entropy(twin(data[0]), data[1]).backward()
    expected = np.concatenate([p.grad.cpu().numpy().ravel() for p in twin.parameters()])
    np.testing.assert_allclose(frozen.grad(x), expected, rtol=1e-9, atol=1e-13)
    assert not np.allclose(live.grad(x), expected, rtol=1e-3)
    v = np.random.default_rng(1).normal(size=x.size)
    with hessian(model, F.cross_entropy, data, mode="frozen") as operator:
        product = np.asarray(operator.matvec(v))
    np.testing.assert_allclose(frozen.hvp(x, v), product, rtol=1e-7, atol=1e-9 * np.abs(product).max())
    moved = x + 0.1 * v
    torch.nn.utils.vector_to_parameters(torch.from_numpy(moved).to(device), twin.parameters())
    assert frozen.value(moved) == pytest.approx(F.cross_entropy(twin(data[0]), data[1]).item(), rel=1e-11)


def test_dropout_is_one_function(device: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 3)).double().to(device)
    with pytest.raises(ValueError, match="dropout is active"):
        NetworkLandscape(model, F.cross_entropy, batch(device))
    first, second = (NetworkLandscape(model, F.cross_entropy, batch(device), seed=seed) for seed in (0, 1))
    x = first.point
    assert first.value(x + 1) == first.value(x + 1)
    assert first.value(x) != second.value(x)


def test_linear_loss_has_no_curvature(device: str) -> None:
    model = nn.Linear(4, 1).to(device)
    landscape = NetworkLandscape(model, lambda out: out.sum(), (torch.ones(2, 4, device=device),))
    assert not landscape.hvp(landscape.point, np.ones(5)).any()


def test_wrong_length(device: str) -> None:
    landscape = NetworkLandscape(nn.Linear(4, 1).to(device), lambda out: out.sum(), (torch.ones(2, 4),))
    with pytest.raises(ValueError, match="dimension 5"):
        landscape.value(np.ones(4))
    with pytest.raises(ValueError, match="dimension 5"):
        landscape.hvp(landscape.point, np.ones(6))
    with pytest.raises(ValueError, match="no parameter"):
        NetworkLandscape(nn.ReLU(), lambda out: out.sum(), (torch.ones(2, 4),))

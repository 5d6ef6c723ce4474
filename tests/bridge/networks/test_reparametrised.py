"""The controls that leave batch statistics alive: a rescaled loss, and other weights for the same function.

Oracle: the model itself; batch norm removes the factor of a weight (Ioffe and Szegedy 2015, section 3.3), and its gradient shrinks by it.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from twin_networks import KINDS, batch, gradients, network

from bntheory.bridge.networks.reparametrised import normalised_weight_layers, reparametrised
from bntheory.bridge.networks.twins import batch_norm_layers, rescaled_loss

pytestmark = pytest.mark.usefixtures("deterministic")


#: In a transformer no weight layer feeds a normalisation alone: the residual stream does.
REPARAMETRISED = [kind for kind in KINDS if kind != "transformer"]


def test_rescaled_loss(device: str) -> None:
    model = network("mlp", device)
    x, y = batch(device)
    half = rescaled_loss(F.cross_entropy, 0.5)
    assert float(half(model(x), y).detach()) == float(F.cross_entropy(model(x), y).detach()) / 2
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="factor"):
            rescaled_loss(F.cross_entropy, bad)


@pytest.mark.parametrize("kind", REPARAMETRISED)
@pytest.mark.parametrize("norm", ["batch", "l1", "linf"])
@pytest.mark.parametrize("factor", [4.0, 0.3])
def test_reparametrised_network_is_the_same_function(kind: str, norm: str, factor: float, device: str) -> None:
    model = network(kind, device, norm, bias=True)
    x, y = batch(device)
    model(x)  # moves the running statistics away from their start
    other = reparametrised(model, x, factor)
    weights = normalised_weight_layers(model, x)
    assert set(weights) == set(batch_norm_layers(model))
    found, expected = gradients(other, x, y), gradients(model, x, y)
    for name, p in model.named_parameters():
        scaled = name.rpartition(".")[0] in weights.values()
        torch.testing.assert_close(other.get_parameter(name), p * factor if scaled else p, rtol=1e-15, atol=0)
        # the gradient by a scaled weight shrinks by the factor: Ioffe and Szegedy, section 3.3
        torch.testing.assert_close(
            found[name] * (factor if scaled else 1), expected[name], rtol=1e-7, atol=1e-11, msg=name
        )
    for mode in (True, False):
        a, b = model.train(mode)(x), other.train(mode)(x)
        if factor == 4.0 and norm == "batch" and kind == "mlp" and mode:
            assert torch.equal(a, b)  # a power of two is not even rounded
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_eps_can_stay_and_then_matters(device: str) -> None:
    model = network("mlp", device, eps=1e-1)
    x, _ = batch(device)
    other = reparametrised(model, x, 100.0, scale_eps=False)
    assert not torch.allclose(other(x), model(x), rtol=1e-3)
    assert torch.allclose(reparametrised(model, x, 100.0)(x), model(x), rtol=1e-9)


class Leaks(nn.Module):
    """The weight layer feeds batch norm and, besides, the output."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        return self.norm(y) + y


class Fork(nn.Module):
    """One weight layer feeds two normalisations: the factor goes in once."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.left, self.right = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        return self.left(y) + torch.tanh(self.right(y))


@pytest.mark.parametrize("scale_eps", [True, False])
def test_one_weight_layer_before_two_normalisations(scale_eps: bool, device: str) -> None:
    model = Fork().double().to(device)
    x = batch(device)[0].reshape(12, 64)[:, :4]
    other = reparametrised(model, x, 2.0, scale_eps=scale_eps)
    torch.testing.assert_close(other.linear.weight, 2 * model.linear.weight, rtol=0, atol=0)
    assert other.left.eps == (4e-5 if scale_eps else 1e-5)
    assert torch.equal(other(x), model(x)) is scale_eps


def test_reparametrised_refusals(device: str) -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).to(device)
    for scale_eps in (True, False):
        with pytest.raises(ValueError, match="feeds something besides"):
            reparametrised(Leaks().to(device), x, 2.0, scale_eps=scale_eps)
    with pytest.raises(ValueError, match="fed directly"):
        reparametrised(nn.Sequential(nn.BatchNorm1d(4)).to(device), x, 2.0)
    with pytest.raises(ValueError, match="factor: -1"):
        reparametrised(Leaks().to(device), x, -1.0)

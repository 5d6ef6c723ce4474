"""Layers that leave a part of normalisation out have the outputs and the gradients that they say, and the bridge names them.

Oracles: torch's fused layers (outputs); frozen twins of a batch-normalised network with the same weights, which take their constants
by another code path (gradients of detached layers, at every step of a training run); formulas in numpy (RMS, variance alone, weights);
finite differences (layers whose gradient is the derivative of their output).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import twin_networks
from torch import nn
from twin_networks import gradients

from bntheory.bridge import batch_at, capture, load_dataset, probe
from bntheory.bridge.curvature import gauss_newton, hessian, top_eigenvalues
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.partial_normalisation import (
    DetachedBatchNorm,
    DetachedGroupNorm,
    DetachedLayerNorm,
    RootMeanSquareNorm,
    VarianceOnlyBatchNorm,
    WeightNorm,
)
from bntheory.bridge.networks.twins import frozen_twin

DETACHED = {"detached": "both", "detached-mean": "mean", "detached-variance": "variance"}


def network(kind: str, norm: str, **more: object) -> nn.Module:
    return twin_networks.network(kind, "cpu", norm, **more)


def batch(n: int = 12, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = twin_networks.batch("cpu", n, seed)
    return x.to(dtype), y


@pytest.mark.parametrize("norm", DETACHED)
@pytest.mark.parametrize("kind", ["mlp", "vgg", "resnet", "rnn", "transformer"])
def test_detached_batch_norm_follows_its_twin_at_every_step(kind: str, norm: str) -> None:
    """Batch norm's outputs, and the gradient of the network in which those statistics are frozen on the present batch."""
    live, detached = network(kind, "batch"), network(kind, norm)
    names = [n for n, _ in live.named_parameters()]
    assert [n for n, _ in detached.named_parameters()] == names
    for step in range(3):
        x, y = batch(seed=step)
        live.load_state_dict(detached.state_dict())
        twin = frozen_twin(live, x, freeze=DETACHED[norm])
        torch.testing.assert_close(detached(x), live(x), rtol=1e-11, atol=1e-11)
        for a, b in zip(detached.buffers(), live.buffers(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        expected, found = gradients(twin, x, y), gradients(detached, x, y)
        for name in names:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-7, atol=1e-10, msg=name)
        own = gradients(live, x, y)
        assert max(float((own[n] - found[n]).norm() / own[n].norm()) for n in names) > 0.05
        with torch.no_grad():
            for name, p in detached.named_parameters():
                p.sub_(0.1 * found[name])
    x, _ = batch(seed=7)
    live.load_state_dict(detached.state_dict())
    torch.testing.assert_close(detached.eval()(x), live.eval()(x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("detach", ["both", "mean", "variance"])
def test_detached_outputs_are_those_of_batch_norm_in_single_precision(detach: str) -> None:
    x, _ = batch(dtype=torch.float32)
    own, live = DetachedBatchNorm(1, detach=detach), nn.BatchNorm2d(1)
    torch.testing.assert_close(own(x), live(x), rtol=2e-6, atol=2e-6)
    with pytest.raises(ValueError, match="detach: 'all' is unknown"):
        DetachedBatchNorm(1, detach="all")


def test_no_gradient_passes_the_statistics_of_detached_layer_norm() -> None:
    """Values bit for bit; the input gradient is gamma g/sigma, with sigma in numpy."""
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    g = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layer = DetachedLayerNorm(6, 1e-3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1.0, 7.0))
    reference = nn.LayerNorm(6, 1e-3).double()
    reference.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), reference(x), rtol=1e-12, atol=1e-12)
    (pulled,) = torch.autograd.grad(layer(x), x, g)
    sigma = np.sqrt(x.detach().numpy().var(1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(pulled.numpy(), np.arange(1.0, 7.0) * g.numpy() / sigma, rtol=1e-12)
    image = x.detach().reshape(5, 3, 2, 1).requires_grad_()
    grouped = DetachedGroupNorm(1, 3, 1e-3).double()
    (pulled,) = torch.autograd.grad(grouped(image), image, g.reshape(5, 3, 2, 1))
    np.testing.assert_allclose(pulled.numpy().reshape(5, 6), g.numpy() / sigma, rtol=1e-12)
    torch.testing.assert_close(grouped(image), F.group_norm(image, 1, eps=1e-3), rtol=1e-12, atol=1e-12)


def test_values_of_the_other_parts() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 2, 2, generator=g, dtype=torch.float64) + 1.5
    y, gamma = x.numpy(), np.array([0.5, -1.0, 2.0])
    channel = gamma.reshape(1, 3, 1, 1)
    rms = RootMeanSquareNorm(3, 1e-3).double()
    alone = VarianceOnlyBatchNorm(3, 1e-3).double()
    for layer in (rms, alone):
        with torch.no_grad():
            layer.weight.copy_(torch.as_tensor(gamma))
    expected = channel * y / np.sqrt((y**2).mean((1, 2, 3), keepdims=True) + 1e-3)
    np.testing.assert_allclose(rms(x).detach(), expected, rtol=1e-12)
    expected = channel * y / np.sqrt(y.var((0, 2, 3), keepdims=True) + 1e-3)
    np.testing.assert_allclose(alone(x).detach(), expected, rtol=1e-12)
    conv, weights = nn.Conv2d(3, 3, 2, bias=False).double(), WeightNorm(3).double()
    with torch.no_grad():
        weights.weight.copy_(torch.as_tensor(gamma))
        weights.bias.fill_(0.25)
    w = conv.weight.detach().numpy()
    norms = np.sqrt((w**2).sum((1, 2, 3))).reshape(1, 3, 1, 1)
    expected = channel * conv(x).detach().numpy() / norms + 0.25
    np.testing.assert_allclose(weights(conv(x), conv.weight).detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("norm", ["rms", "weight", "variance-only"])
@pytest.mark.parametrize("kind", ["mlp", "vgg"])
def test_gradients_of_the_other_parts_are_the_derivatives(kind: str, norm: str) -> None:
    model = network(kind, norm, pool="average")
    x, y = batch(5)
    own, point = gradients(model, x, y), dict(model.named_parameters())
    g = torch.Generator().manual_seed(2)
    for name, p in point.items():
        v = torch.randn(p.shape, generator=g, dtype=torch.float64)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                p.add_(v, alpha=sign * 1e-5)
                values.append(float(F.cross_entropy(model(x), y)))
                p.sub_(v, alpha=sign * 1e-5)
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float((own[name] * v).sum()), rel=1e-5, abs=1e-8)


def test_a_weight_vector_keeps_its_unit_under_rescaling() -> None:
    model = network("mlp", "weight")
    x, _ = batch()
    before = model(x)
    with torch.no_grad():
        model.get_parameter("hidden1.weight_layer.weight").mul_(3.0)
    torch.testing.assert_close(model(x), before, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="'weight' divides by the norms of one layer's weights"):
        NetworkSpec("transformer", norm="weight")


# ------------------------------------------------------------------------------------------------ what the bridge says


@pytest.mark.parametrize(
    ("norm", "reason"),
    [
        ("detached", "no gradient through its mean and variance"),
        ("detached-mean", "no gradient through its mean,"),
        ("detached-variance", "no gradient through its variance,"),
        ("layer-detached", "no gradient through its mean and variance"),
        ("variance-only", "equals none of the closed forms"),
        ("batch-primitive", ""),
    ],
)
def test_what_has_no_closed_form_is_named_and_not_measured(norm: str, reason: str) -> None:
    model = network("mlp", norm)
    model.hidden0.norm = nn.BatchNorm1d(16).double()  # so that something is left to capture
    found = capture(model, F.cross_entropy, batch())
    assert list(found.layers) == (["hidden0.norm"] if reason else ["hidden0.norm", "hidden1.norm"])
    assert list(found.left_out) == (["hidden1.norm"] if reason else [])  # and no module around it
    assert reason in found.left_out.get("hidden1.norm", "")


@pytest.mark.parametrize(("kind", "form"), [("mlp", "rms"), ("vgg", "rms"), ("transformer", "rms")])
def test_root_mean_square_layers_are_captured(kind: str, form: str) -> None:
    layers = capture(network(kind, "rms"), F.cross_entropy, batch())
    assert len(layers) >= 2
    assert {layer.kind for layer in layers} == {form}
    assert not layers.left_out
    for layer in layers:
        assert layer.gradient_residual().passed.all()


def test_curvature_of_a_network_whose_gradient_is_not_its_derivative_is_refused() -> None:
    for norm in ("detached-mean", "layer-detached"):
        model, data = network("mlp", norm), batch()
        for operator in (hessian, gauss_newton):
            with (
                pytest.raises(ValueError, match=r"hidden0\.norm.*lets no gradient through its mean"),
                operator(model, F.cross_entropy, data),
            ):
                pass
    with pytest.raises(ValueError, match="no gradient through its"):
        probe(network("mlp", "detached"), F.cross_entropy, batch())
    # with running statistics, and with frozen ones, derivatives are what they should be
    model, live = network("mlp", "detached"), network("mlp", "batch")
    for mode in ("eval", "frozen"):
        tops = []
        for net in (model, live):
            with hessian(net, F.cross_entropy, batch(), mode=mode) as operator:
                tops.append(top_eigenvalues(operator, tol=1e-9).top)
        assert tops[0] == pytest.approx(tops[1], rel=1e-7)


def test_detached_batch_norm_trains_otherwise_than_batch_norm() -> None:
    """On images: the same start, the same batches, and another run."""
    data, losses = load_dataset("fashion-mnist-subset"), {}
    for norm in ("batch", "detached"):
        model = build_network(NetworkSpec("mlp", layout=(32, 32, 32), norm=norm), 0)
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        losses[norm] = []
        for step in range(20):
            x, y = batch_at(data, step, batch_size=32, seed=0)
            loss = F.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses[norm].append(loss.item())
    assert losses["detached"][0] == pytest.approx(losses["batch"][0], rel=1e-5)
    assert abs(losses["detached"][-1] - losses["batch"][-1]) > 0.05

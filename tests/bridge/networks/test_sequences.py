"""Recurrent networks and transformers compute what their definitions say, with and without normalisation.

Oracles: both written out once more in plain torch, from the weights by name, with torch's own fused attention and a
normalisation of two lines; the dense Hessian of that second implementation, whose batch norm has no fused derivative; for what
freezing removes, finite differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bntheory.bridge.curvature import hessian
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.primitive import to_primitive
from bntheory.bridge.networks.reparametrised import normalised_weight_layers, reparametrised
from bntheory.bridge.networks.sequences import image_sequence
from bntheory.bridge.networks.twins import batch_norm_layers, frozen_twin
from bntheory.bridge.objective import Objective

SPECS = {
    "rnn": NetworkSpec("rnn", activation="tanh"),
    "rnn of two layers": NetworkSpec("rnn", layout=(8, 6), activation="softplus", rows=7, eps=0.1),
    "transformer": NetworkSpec("transformer", activation="gelu"),
    "transformer, 14 tokens": NetworkSpec("transformer", layout=(12, 1, 3), activation="tanh", rows=2),
}
Arrays = dict[str, Tensor]


def network(spec: NetworkSpec, device: str) -> nn.Module:
    """In float64, with gammas, betas and biases that are not their trivial initial values."""
    model = build_network(spec, 2, device=device, dtype=torch.float64)
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 1:
                p.add_(0.3 * torch.randn(p.shape, generator=g, dtype=torch.float64).to(p))
    return model


def batch(device: str, spec: NetworkSpec, n: int = 20) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, *spec.input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x.to(device), (torch.arange(n) % spec.classes).to(device)


def standardised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    mean = x.mean(axes, keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(axes, keepdim=True) + eps)


def recurrent_by_hand(w: Arrays, x: Tensor, spec: NetworkSpec) -> Tensor:
    act: Callable[[Tensor], Tensor] = {"tanh": torch.tanh, "softplus": F.softplus}[spec.activation]
    steps = spec.input_shape[1] // spec.rows
    inputs = [x[:, :, t * spec.rows : (t + 1) * spec.rows].flatten(1) for t in range(steps)]
    for i, width in enumerate(spec.layout):
        name = f"layers.recurrent{i}"
        h, outputs = torch.zeros(len(x), width).to(x), []
        for u in inputs:
            split = u.shape[1]
            weight = w[f"{name}.weight_layer.weight"]
            y = u @ weight[:, :split].T + h @ weight[:, split:].T
            y = y + w.get(f"{name}.weight_layer.bias", 0.0)
            if spec.norm != "none":
                axes = (0,) if spec.norm == "batch" else (1,)
                y = standardised(y, axes, spec.eps) * w[f"{name}.norm.weight"] + w[f"{name}.norm.bias"]
            h = act(y)
            outputs.append(h)
        inputs = outputs
    return inputs[-1] @ w["output.weight"].T + w["output.bias"]


def transformer_by_hand(w: Arrays, x: Tensor, spec: NetworkSpec) -> Tensor:
    act: Callable[[Tensor], Tensor] = {"tanh": torch.tanh, "gelu": F.gelu}[spec.activation]
    width, blocks, heads = spec.layout
    tokens = spec.input_shape[1] // spec.rows

    def linear(name: str, u: Tensor) -> Tensor:
        return F.linear(u, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def norm(name: str, u: Tensor) -> Tensor:
        if spec.norm == "none":
            return u
        axes = (0, 1) if spec.norm == "batch" else (2,)
        return standardised(u, axes, spec.eps) * w[f"{name}.norm.weight"] + w[f"{name}.norm.bias"]

    angles = np.array(
        [[t / 10000 ** ((j - j % 2) / width) + (j % 2) * np.pi / 2 for j in range(width)] for t in range(tokens)]
    )
    u = torch.stack([x[:, :, t * spec.rows : (t + 1) * spec.rows].flatten(1) for t in range(tokens)], dim=1)
    u = linear("embed", u) + torch.from_numpy(np.sin(angles)).to(x)
    for i in range(blocks):
        block = f"blocks.block{i}"
        v = norm(f"{block}.first_norm", u)
        q, k, value = (
            linear(f"{block}.attention.{n}", v).unflatten(2, (heads, -1)).transpose(1, 2)
            for n in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(q, k, value).transpose(1, 2).flatten(2)
        u = u + linear(f"{block}.attention.project", mixed)
        v = norm(f"{block}.second_norm", u)
        u = u + linear(f"{block}.contract", act(linear(f"{block}.expand", v)))
    return linear("output", norm("last_norm", u).mean(1))


def by_hand(spec: NetworkSpec) -> Callable[[Arrays, Tensor, NetworkSpec], Tensor]:
    return recurrent_by_hand if spec.kind == "rnn" else transformer_by_hand


@pytest.mark.parametrize("norm", ["batch", "layer", "none", "batch-primitive"])
@pytest.mark.parametrize("name", SPECS)
def test_outputs_against_the_network_written_out(name: str, norm: str, device: str) -> None:
    described = asdict(SPECS[name]) | {"norm": norm, "bias": None}
    spec = NetworkSpec(**described)
    model, (x, _) = network(spec, device), batch(device, spec)
    plain = NetworkSpec(**(described | {"norm": norm.removesuffix("-primitive")}))
    expected = by_hand(spec)(dict(model.named_parameters()), x, plain)
    torch.testing.assert_close(model(x), expected, rtol=1e-11, atol=1e-12)


def test_an_image_is_read_from_top_to_bottom() -> None:
    x = torch.arange(2 * 3 * 8 * 5).reshape(2, 3, 8, 5)
    sequence = image_sequence(x, 2)
    assert sequence.shape == (2, 4, 30)
    for t in range(4):
        assert torch.equal(sequence[:, t], x[:, :, 2 * t : 2 * t + 2].flatten(1))


@pytest.mark.parametrize("name", SPECS)
def test_the_twin_has_the_networks_outputs(name: str, device: str) -> None:
    model, (x, _) = network(SPECS[name], device), batch(device, SPECS[name])
    twin = frozen_twin(model, x)
    torch.testing.assert_close(twin(x), model(x), rtol=1e-12, atol=1e-12)
    other = x + 1.0
    assert not torch.allclose(twin(other), model(other), rtol=1e-2)
    torch.testing.assert_close(to_primitive(model)(x), model(x), rtol=1e-12, atol=1e-12)


def test_each_time_step_is_frozen_with_its_own_statistics(device: str) -> None:
    spec = SPECS["rnn"]
    model, (x, labels) = network(spec, device), batch(device, spec)
    layers = batch_norm_layers(model)
    assert list(layers) == [f"layers.recurrent0.norm.steps.{t}" for t in range(7)]
    found = {name: calls[0] for name, calls in Objective(model, F.cross_entropy, (x, labels)).constants().items()}
    w = dict(model.named_parameters())
    weight = w["layers.recurrent0.weight_layer.weight"]
    h = torch.zeros(len(x), 32).to(x)
    for t, name in enumerate(layers):
        y = torch.cat([x[:, :, 4 * t : 4 * t + 4].flatten(1), h], dim=1) @ weight.T
        torch.testing.assert_close(found[name].mean, y.mean(0), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found[name].scale, (y.var(0, correction=0) + 1e-5).sqrt(), rtol=1e-10, atol=0)
        y_hat = standardised(y, (0,), 1e-5)
        h = torch.tanh(y_hat * w["layers.recurrent0.norm.weight"] + w["layers.recurrent0.norm.bias"])
    scales = torch.stack([s.scale for s in found.values()])
    assert float((scales[1:] / scales[:-1] - 1).abs().max()) > 0.01  # one constant could not stand for all


def test_running_statistics_are_kept_apart(device: str) -> None:
    spec = SPECS["rnn"]
    model, (x, labels) = network(spec, device), batch(device, spec)
    for step in model.layers.recurrent0.norm.steps:
        step.momentum = 1.0
    found = {name: calls[0] for name, calls in Objective(model, F.cross_entropy, (x, labels)).constants().items()}
    model(x)
    for name, step in batch_norm_layers(model).items():
        torch.testing.assert_close(step.running_mean, found[name].mean, rtol=1e-10, atol=1e-12)
    n = len(x)
    for step in model.layers.recurrent0.norm.steps:
        step.running_var.mul_((n - 1) / n)
    torch.testing.assert_close(model.eval()(x), model.train()(x), rtol=1e-10, atol=1e-11)


SMALL = {
    "rnn": NetworkSpec("rnn", layout=(3,), activation="tanh", input_shape=(1, 6, 3), classes=2, rows=2),
    "transformer": NetworkSpec(
        "transformer", layout=(4, 1, 2), activation="gelu", input_shape=(1, 4, 2), classes=2, rows=2
    ),
}


@pytest.mark.parametrize("frozen", [False, True], ids=["live", "frozen"])
@pytest.mark.parametrize("name", SMALL)
def test_curvature_against_a_dense_primitive_hessian(name: str, frozen: bool, device: str) -> None:
    """All columns of the operator; the oracle differentiates the network that is written out above twice backward."""
    spec = SMALL[name]
    model, (x, y) = network(spec, device), batch(device, spec, 9)
    names, values = zip(*model.named_parameters(), strict=True)
    sizes = [v.numel() for v in values]
    twin = frozen_twin(model, x)

    def loss(flat: Tensor) -> Tensor:
        parts = torch.split(flat, sizes)
        w = {n: p.reshape(v.shape) for n, p, v in zip(names, parts, values, strict=True)}
        if frozen:  # affine, so no normalisation has a derivative here
            return F.cross_entropy(torch.func.functional_call(twin, w, (x,)), y)
        return F.cross_entropy(by_hand(spec)(w, x, spec), y)

    flat = torch.cat([v.detach().reshape(-1) for v in values])
    with sdpa_kernel(SDPBackend.MATH):
        expected = torch.autograd.functional.hessian(loss, flat)
    with hessian(model, F.cross_entropy, (x, y), mode="frozen" if frozen else "train") as operator:
        found = torch.stack([operator.apply(e) for e in torch.eye(len(flat), dtype=x.dtype, device=x.device)])
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * scale)


def test_weight_layers_that_feed_a_norm(device: str) -> None:
    """One recurrent weight layer feeds the norms of all its steps; a transformer's are fed by the residual stream."""
    rnn, (x, _) = network(SPECS["rnn of two layers"], device), batch(device, SPECS["rnn of two layers"])
    feeds = normalised_weight_layers(rnn, x)
    assert len(feeds) == 8
    assert set(feeds.values()) == {f"layers.recurrent{i}.weight_layer" for i in (0, 1)}
    torch.testing.assert_close(reparametrised(rnn, x, 2.0)(x), rnn(x), rtol=1e-12, atol=1e-12)
    transformer, (x, _) = network(SPECS["transformer"], device), batch(device, SPECS["transformer"])
    with pytest.raises(ValueError, match="no batch-norm layer is fed directly"):
        reparametrised(transformer, x, 2.0)


def test_biases_on_the_residual_stream_are_cancelled_by_batch_norm(device: str) -> None:
    described = asdict(SPECS["transformer"])
    spec = NetworkSpec(**(described | {"bias": True}))
    model, (x, _) = network(spec, device), batch(device, spec)
    before = model(x)
    with torch.no_grad():
        for module in (model.embed, model.blocks.block0.attention.project, model.blocks.block1.contract):
            module.bias.add_(1.0)
    torch.testing.assert_close(model(x), before, rtol=1e-9, atol=1e-10)

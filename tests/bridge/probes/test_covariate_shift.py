"""Covariate shift by Definition 2.1 and by moments.

Oracles: a network of two scalar layers whose gradients are written out by hand; the definition computed the long way
on deep copies (no guard, no in-place moves); finite differences in the learning rate for its limit; numpy for moments
and percentiles; a Gaussian for the normalised shift.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.state import state_fingerprint
from bntheory.bridge.networks.training import SGDConfig, Trainer, reproducible
from bntheory.bridge.probes.activation_moments import activation_moments
from bntheory.bridge.probes.covariate_shift import covariate_shift, weight_layers


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Exact equality between two evaluations is asked for below; on CUDA it needs deterministic algorithms."""
    with reproducible():
        yield


def network(kind: str, device: str, norm: str = "batch") -> nn.Module:
    spec = NetworkSpec(kind, size="tiny", norm=norm, activation="tanh", input_shape=(1, 8, 8))
    return build_network(spec, 3, device=device, dtype=torch.float64)


def batch(device: str, n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x.to(device), (torch.arange(n) % 10).to(device)


# ------------------------------------------------------------------------------------------------------ Definition 2.1


def test_two_scalar_layers_by_hand(device: str) -> None:
    """L = (b a x - t)^2 / 2: dL/db = (b a x - t) a x, and with a' = a - lr (b a x - t) b x in place of a."""
    a, b, x, t, lr = 1.5, -0.5, 2.0, 1.0, 0.1
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double().to(device)
    with torch.no_grad():
        model[0].weight.fill_(a)
        model[1].weight.fill_(b)
    data = (torch.tensor([[x]]).double().to(device), torch.tensor([[t]]).double().to(device))
    first, second = covariate_shift(model, lambda o, y: (o - y).square().sum() / 2, data, learning_rate=lr)
    residual = b * a * x - t
    moved = a - lr * residual * b * x
    g, h = residual * a * x, (b * moved * x - t) * moved * x
    assert (first.index, first.l2, first.cosine) == (1, 0.0, pytest.approx(1.0))
    assert second.l2 == pytest.approx(abs(g - h), rel=1e-12)
    assert second.gradient_norm == pytest.approx(abs(g), rel=1e-12)
    assert second.shifted_norm == pytest.approx(abs(h), rel=1e-12)
    assert second.cosine == pytest.approx(math.copysign(1, g * h))
    assert second.relative == pytest.approx(abs(g - h) / abs(g), rel=1e-12)


@pytest.mark.parametrize("kind", ["mlp", "vgg", "resnet", "deep-linear", "rnn"])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("weights_only", [True, False])
def test_against_the_definition_on_copies(kind: str, norm: str, weights_only: bool, device: str) -> None:
    model = network(kind, device, norm)
    x, y = batch(device)
    lr = 0.3
    found = covariate_shift(model, F.cross_entropy, (x, y), learning_rate=lr, weights_only=weights_only)
    groups = weight_layers(model)
    assert [s.layer for s in found] == list(groups)
    names = [n for n, _ in model.named_parameters()]
    assert sorted(n for g in groups.values() for n in g) == sorted(names)

    def gradients(m: nn.Module) -> dict[str, torch.Tensor]:
        m = copy.deepcopy(m)
        F.cross_entropy(m(x), y).backward()
        return {n: p.grad for n, p in m.named_parameters()}

    at = gradients(model)
    moved: list[str] = []
    for shift in found:
        other = copy.deepcopy(model)
        with torch.no_grad():
            for n in moved:
                other.get_parameter(n).sub_(lr * at[n])
        there = gradients(other)
        of = [n for n in groups[shift.layer] if not weights_only or n.endswith("layer.weight") or n == "output.weight"]
        g = np.concatenate([at[n].cpu().numpy().ravel() for n in of])
        h = np.concatenate([there[n].cpu().numpy().ravel() for n in of])
        assert shift.l2 == pytest.approx(np.linalg.norm(g - h), rel=1e-9, abs=1e-14)
        assert shift.cosine == pytest.approx(g @ h / np.linalg.norm(g) / np.linalg.norm(h), rel=1e-12)
        moved += groups[shift.layer]
    assert found[0].l2 == 0
    assert all(s.l2 > 0 for s in found[1:])


def test_layers_of_other_architectures(device: str) -> None:
    model = nn.Sequential(
        nn.LayerNorm((2, 3)),
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)),
        nn.BatchNorm1d(4),
        nn.LSTM(4, 5),
        nn.TransformerEncoderLayer(4, 2, 8),
    ).to(device)
    found = weight_layers(model)
    assert list(found) == ["0", "1", "3", "4.self_attn", "4.self_attn.out_proj", "4.linear1", "4.linear2"]
    assert set(found["1"]) == {
        "1.bias", "1.parametrizations.weight.original0", "1.parametrizations.weight.original1", "2.weight", "2.bias",
    }  # fmt: skip
    assert len(found["3"]) == 4
    assert sum(map(len, found.values())) == len(list(model.parameters()))


class ChannelAffine(nn.Module):
    """As response norms, layer scales and layer norms over channels are written by hand."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.rand(1, channels, 1, 1)), nn.Parameter(torch.rand(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma + self.beta


@pytest.mark.parametrize(
    "norm", [lambda: nn.LayerNorm([3, 6, 6]), lambda: ChannelAffine(3)], ids=["layer norm", "by hand"]
)
def test_affine_maps_are_no_weights_whatever_their_shape(norm: Callable[[], nn.Module], device: str) -> None:
    torch.manual_seed(0)
    parts = [nn.Conv2d(1, 3, 3), norm(), nn.Tanh(), nn.Flatten(), nn.Linear(108, 1), nn.Linear(1, 10)]
    model, (x, y) = nn.Sequential(*parts).double().to(device), batch(device)
    own = [f"1.{name}" for name, _ in model[1].named_parameters()]
    groups = weight_layers(model)
    # torch's own layers have weights, of one unit as well
    assert groups == {"0": ("0.weight", "0.bias", *own), "4": ("4.weight", "4.bias"), "5": ("5.weight", "5.bias")}
    found = covariate_shift(model, F.cross_entropy, (x, y), learning_rate=0.1)
    F.cross_entropy(model(x), y).backward()
    for shift in found:
        expected = float(model.get_parameter(f"{shift.layer}.weight").grad.norm())
        assert shift.gradient_norm == pytest.approx(expected, rel=1e-12)


def test_linear_in_the_learning_rate(device: str) -> None:
    """The shift over the rate has a limit: it changes by O(rate) when the rate is halved."""
    model, data = network("vgg", device), batch(device)
    last = [covariate_shift(model, F.cross_entropy, data, learning_rate=lr)[-1].l2 / lr for lr in (1e-3, 5e-4, 2.5e-4)]
    assert abs(last[1] - last[2]) == pytest.approx(abs(last[0] - last[1]) / 2, rel=0.05)


def test_one_layer_has_none(device: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double().to(device)
    (only,) = covariate_shift(model, F.cross_entropy, batch(device), learning_rate=100.0)
    assert only.l2 == 0


def test_dropout_is_the_same_in_every_evaluation(device: str) -> None:
    layers = nn.Flatten(), nn.Linear(64, 40), nn.Dropout(0.5), nn.Linear(40, 10)
    model = nn.Sequential(*layers).double().to(device)
    first, second = covariate_shift(model, F.cross_entropy, batch(device), learning_rate=1e-9, seed=0)
    assert first.l2 == 0
    assert second.relative < 1e-6  # another mask would change it by far more


def test_momentum_goes_in_by_the_next_parameters(device: str) -> None:
    model, data = network("mlp", device), batch(device)
    trainer = Trainer(model, F.cross_entropy, SGDConfig(0.1))
    model.zero_grad()
    F.cross_entropy(model(data[0]), data[1]).backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    by_rate = covariate_shift(model, F.cross_entropy, data, learning_rate=0.1)
    by_parameters = covariate_shift(model, F.cross_entropy, data, next_parameters=trainer.next_parameters(gradients))
    assert [s.l2 for s in by_parameters] == pytest.approx([s.l2 for s in by_rate], rel=1e-9, abs=1e-15)


def test_rescaled_loss_keeps_the_relative_shift(device: str) -> None:
    model, data = network("resnet", device), batch(device)
    plain = covariate_shift(model, F.cross_entropy, data, learning_rate=0.2)
    scaled = covariate_shift(model, lambda o, y: F.cross_entropy(o, y) / 8, data, learning_rate=1.6)
    assert [s.relative for s in scaled] == pytest.approx([s.relative for s in plain], rel=1e-9, abs=1e-15)
    assert [s.l2 * 8 for s in scaled] == pytest.approx([s.l2 for s in plain], rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("measure", ["shift", "moments"])
def test_the_model_is_left_alone(measure: str, mode: str, device: str) -> None:
    model, data = network("resnet", device).train(mode == "train"), batch(device)
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    before = state_fingerprint(model)

    calls = iter(range(1, 1000))  # what a cell, a list or an attribute holds is put back

    def broken(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return F.cross_entropy(outputs, targets)

    if measure == "shift":
        covariate_shift(model, F.cross_entropy, data, learning_rate=0.1)
        assert state_fingerprint(model) == before
        with pytest.raises(KeyboardInterrupt):
            covariate_shift(model, broken, data, learning_rate=0.1)
    else:
        activation_moments(model, data[0])
        assert state_fingerprint(model) == before
        with pytest.raises((RuntimeError, ValueError)):
            activation_moments(model, data[0].repeat(1, 2, 1, 1))
    assert state_fingerprint(model) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one"),
        ({"learning_rate": 0.1, "next_parameters": {}}, "exactly one"),
        ({"next_parameters": {}}, "missing"),
        ({"learning_rate": 0.1, "layers": {"a": ("nothing",)}}, "unknown or repeated"),
        ({"learning_rate": 0.1, "layers": {"a": ("output.bias", "output.bias")}}, "unknown or repeated"),
    ],
    ids=str,
)
def test_bad_requests(arguments: dict[str, object], message: str, device: str) -> None:
    with pytest.raises(ValueError, match=message):
        covariate_shift(network("mlp", device), F.cross_entropy, batch(device), **arguments)


# ------------------------------------------------------------------------------------------------------------- moments


def test_moments_against_numpy(device: str) -> None:
    model, (x, _) = network("vgg", device), batch(device)
    seen: dict[str, np.ndarray] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Tanh):
            module.register_forward_pre_hook(
                lambda m, a, name=name: seen.__setitem__(name, a[0].detach().cpu().numpy())
            )
    found = activation_moments(model, x)
    assert list(found) == list(seen)
    for name, moments in found.items():
        y = np.moveaxis(seen[name], 1, 0).reshape(seen[name].shape[1], -1)
        np.testing.assert_allclose(moments.mean, y.mean(1), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(moments.std, y.std(1), rtol=1e-12)
        centred = y - y.mean(1, keepdims=True)
        np.testing.assert_allclose(moments.skewness, (centred**3).mean(1) / y.std(1) ** 3, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(moments.percentiles, np.percentile(y, [15, 50, 85], axis=1), rtol=1e-12, atol=1e-13)
        assert moments.m == y.shape[1]


class Shifted(nn.Module):
    """Passes its input through an affine map, so that the shift of its one place is known."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.act, self.scale, self.shift = nn.Tanh(), scale, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x * self.scale + self.shift)


def test_shift_of_a_known_change(device: str) -> None:
    x = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
    x = (x - x.mean(0)) / x.std(0, correction=0)
    earlier = activation_moments(Shifted(2.0, 0.5), x)
    later = activation_moments(Shifted(3.0, 1.5), x)
    for found, scale, shift in ((earlier["act"], 2.0, 0.5), (later["act"], 3.0, 1.5)):
        assert found.mean.numpy() == pytest.approx(shift, rel=1e-9)
        assert found.std.numpy() == pytest.approx(scale, rel=1e-9)
        assert found.percentiles[2].numpy() == pytest.approx(shift + 1.0364 * scale, rel=0.05)  # of a Gaussian


def test_a_constant_unit_has_no_skewness(device: str) -> None:
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
    x[:, 1] = 4.0
    assert float(activation_moments(Shifted(1.0, 0.0), x)["act"].skewness[1]) == 0


@pytest.mark.parametrize("value", [0.7, 0.1, 1e5 + 0.1])
def test_a_constant_unit_whose_mean_is_rounded_has_no_skewness(value: float, device: str) -> None:
    """The mean of 1000 times 0.7 is not 0.7 in float64."""
    x = torch.full((1000, 3), value, dtype=torch.float64, device=device)
    x[0, 2] += 1.0
    skewness = activation_moments(Shifted(1.0, 0.0), x)["act"].skewness
    assert skewness[:2].tolist() == [0.0, 0.0]
    assert float(skewness[2]) == pytest.approx(998 / math.sqrt(999), rel=1e-6)  # of one in 1000 that differs


def test_a_place_that_is_called_again_is_measured_at_its_first_call(device: str) -> None:
    act = nn.Tanh()
    x = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
    found = activation_moments(nn.Sequential(act, nn.Sequential(act)), x)["0"]
    torch.testing.assert_close(found.mean, x.mean(0).cpu(), rtol=1e-12, atol=1e-14)


def test_moment_requests(device: str) -> None:
    model, (x, _) = network("mlp", device), batch(device)
    assert list(activation_moments(model, x, places=["output"])) == ["output"]
    for places, message in (([], "no nonlinearity|name modules"), (["nowhere"], "no modules of the model")):
        with pytest.raises(ValueError, match=message):
            activation_moments(model, x, places=places)
    with pytest.raises(ValueError, match="no nonlinearity modules"):
        activation_moments(nn.Linear(3, 3), x)
    unreached = nn.ModuleDict({"a": nn.Tanh()})
    unreached.forward = lambda x: x
    with pytest.raises(ValueError, match="not reached"):
        activation_moments(unreached, x)

"""Networks have the published sizes, share initial values between arms, and start from the stated distributions.

Oracles: parameter counts computed by hand from the published architectures (VGG-11 and ResNet-18 for 32 x 32 images);
moments of the initial distributions from their formulas; finite differences for smooth networks.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.spec import INITS, KINDS, NORMS, initialise

IMAGES = ("vgg", "resnet")


def allowed(kind: str, norm: str) -> bool:
    if norm == "weight":
        return kind not in ("rnn", "transformer")
    return norm != "instance" or kind in IMAGES


CASES = [(kind, norm) for kind in KINDS for norm in NORMS if allowed(kind, norm)]


@pytest.mark.parametrize(("kind", "norm"), CASES)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=["28", "32"])
def test_every_network_runs_and_learns(kind: str, norm: str, shape: tuple[int, int, int], device: str) -> None:
    model = build_network(NetworkSpec(kind, size="tiny", norm=norm, input_shape=shape, classes=7), 0, device=device)
    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    y = model(x)
    assert y.shape == (6, 7)
    y.square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert torch.isfinite(p.grad).all(), name
        assert p.device.type == torch.device(device).type


# By hand: 3x3 kernels 9 c_in c_out, gamma and beta 2 c, output layer 10 (c + 1).
VGG11 = (
    9 * (3 * 64 + 64 * 128 + 128 * 256 + 256**2 + 256 * 512 + 3 * 512**2)
    + 2 * (64 + 128 + 2 * 256 + 4 * 512)
    + 10 * 513
)
RESNET18 = 11_173_962  # as counted for the common CIFAR-10 version with projection shortcuts


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (NetworkSpec("vgg", size="full", input_shape=(3, 32, 32)), VGG11),
        (NetworkSpec("vgg", size="full", input_shape=(3, 32, 32), norm="none"), VGG11 - (64 + 128 + 2 * 256 + 4 * 512)),
        (
            NetworkSpec(
                "vgg",
                layout=(64, 64, 0, 128, 128, 0, *(256,) * 3, 0, *(512,) * 3, 0, *(512,) * 3, 0),
                input_shape=(3, 32, 32),
                bias=True,
            ),
            14_728_266,
        ),
        (NetworkSpec("resnet", size="full", input_shape=(3, 32, 32)), RESNET18),
        (NetworkSpec("deep-linear", size="full", input_shape=(10,), norm="none", bias=False), 2510),
        (NetworkSpec("ioffe-mnist", norm="none"), 784 * 100 + 100 + 2 * (100 * 100 + 100) + 10 * 101),
    ],
    ids=lambda v: getattr(v, "kind", str(v)),
)
def test_published_sizes(spec: NetworkSpec, count: int) -> None:
    assert sum(p.numel() for p in build_network(spec, 0).parameters()) == count


@pytest.mark.parametrize(("kind", "norm"), [(k, n) for k, n in CASES if n not in ("batch", "instance")])
def test_arms_share_their_initial_values(kind: str, norm: str, device: str) -> None:
    a = build_network(NetworkSpec(kind, size="tiny", norm="batch", bias=True), 4, device=device)
    b = build_network(NetworkSpec(kind, size="tiny", norm=norm, bias=True), 4, device=device)
    own, other = dict(a.named_parameters()), dict(b.named_parameters())
    common = [name for name, p in own.items() if name in other and other[name].shape == p.shape]
    assert {n for n, p in a.named_parameters() if p.dim() > 1} <= set(common)
    for name in common:
        assert torch.equal(a.get_parameter(name), b.get_parameter(name)), name
    extra = {n for n, _ in b.named_parameters()} - set(common)
    assert not extra


def test_building_draws_nothing_from_the_global_generator(device: str) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = build_network(NetworkSpec("resnet", size="tiny"), 1, device=device)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again = build_network(NetworkSpec("resnet", size="tiny"), 1, device=device)
    other = build_network(NetworkSpec("resnet", size="tiny"), 2, device=device)
    for name, p in first.state_dict().items():
        assert torch.equal(p, again.state_dict()[name])
    assert not torch.equal(first.get_parameter("output.weight"), other.get_parameter("output.weight"))


def test_layers_of_equal_shape_start_differently() -> None:
    model = build_network(NetworkSpec("mlp", layout=(16, 16, 16)), 0)
    a, b = (model.get_parameter("hidden1.weight_layer.weight"), model.get_parameter("hidden2.weight_layer.weight"))
    assert a.shape == b.shape
    assert abs(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]).detach())[0, 1])) < 0.3


def test_float32_is_the_rounded_float64_network(device: str) -> None:
    spec = NetworkSpec("vgg", size="tiny")
    single = build_network(spec, 0, device=device)
    double = build_network(spec, 0, device=device, dtype=torch.float64)
    for name, p in double.named_parameters():
        assert torch.equal(single.get_parameter(name), p.float())


FORMULAS = {
    "glorot": lambda i, o: math.sqrt(2 / (i + o)),
    "glorot-normal": lambda i, o: math.sqrt(2 / (i + o)),
    "he": lambda i, o: math.sqrt(2 / i),
    "gaussian": lambda i, o: 0.1,
    "orthogonal": lambda i, o: math.sqrt(1 / max(i, o)),
}


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("layer", ["linear", "conv"])
def test_initial_distribution(init: str, layer: str) -> None:
    module = nn.Linear(300, 200) if layer == "linear" else nn.Conv2d(40, 60, 3)
    fan_in, fan_out = (300, 200) if layer == "linear" else (360, 540)
    scale = 0.1 if init == "gaussian" else 1.0
    initialise(nn.Sequential(module), init, scale, 0)
    w = module.weight.detach().double()
    std = FORMULAS[init](fan_in, 200 if init == "orthogonal" and layer == "linear" else fan_out)
    if init == "orthogonal":
        rows = w.reshape(w.shape[0], -1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows), dtype=torch.float64), rtol=0, atol=1e-6)
        return
    n = w.numel()
    assert float(w.mean()) == pytest.approx(0, abs=6 * std / math.sqrt(n))
    assert float(w.std()) == pytest.approx(std, rel=6 / math.sqrt(2 * n))
    kurtosis = float((w / w.std()).pow(4).mean())
    assert kurtosis == pytest.approx(1.8 if init == "glorot" else 3.0, abs=0.1)
    if init == "glorot":
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert bound * 0.999 < float(w.abs().max()) <= bound
    assert not module.bias.any()


def test_orthogonal_kernel_of_more_rows_than_columns() -> None:
    module = nn.Linear(5, 9)
    initialise(nn.Sequential(module), "orthogonal", 1.0, 0)
    gram = module.weight.detach().T @ module.weight.detach()
    torch.testing.assert_close(gram, torch.eye(5), rtol=0, atol=1e-6)


def test_deep_linear_network_is_linear(device: str) -> None:
    spec = NetworkSpec("deep-linear", size="full", input_shape=(10,), norm="none")
    model = build_network(spec, 0, device=device, dtype=torch.float64)
    eye = torch.eye(10, dtype=torch.float64, device=device)
    product = eye
    for name, p in model.named_parameters():
        if name.endswith("weight"):
            assert p.shape == (10, 10)
            product = product @ p.detach().T
    assert sum(name.endswith("weight") for name, _ in model.named_parameters()) == 25
    torch.testing.assert_close(model(eye).detach(), product, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["mlp", "vgg", "resnet", "rnn", "transformer"])
def test_smooth_networks_have_the_gradient_of_finite_differences(kind: str, device: str) -> None:
    spec = NetworkSpec(kind, size="tiny", activation="softplus", pool="average", input_shape=(1, 8, 8))
    model = build_network(spec, 0, device=device, dtype=torch.float64)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 1, 8, 8, generator=g, dtype=torch.float64).to(device)

    def loss() -> torch.Tensor:
        return model(x).square().mean()

    loss().backward()
    h = 1e-5
    for p in model.parameters():
        u = torch.randn(p.shape, generator=g, dtype=torch.float64).to(device)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                p.add_(u, alpha=sign * h)
                ends.append(float(loss()))
                p.sub_(u, alpha=sign * h)
        slope = float((p.grad * u).sum())
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_spec_round_trips_through_json() -> None:
    for kind in KINDS:
        spec = NetworkSpec(kind, activation="tanh", norm="l1")
        assert NetworkSpec(**json.loads(json.dumps(asdict(spec)))) == spec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "alexnet"}, "kind: 'alexnet' is unknown"),
        ({"kind": "mlp", "size": "huge"}, "size"),
        ({"kind": "mlp", "norm": "bn"}, "norm: 'bn' is unknown; choose one of none, batch"),
        ({"kind": "mlp", "init": "xavier"}, "init"),
        ({"kind": "mlp", "activation": "swish"}, "activation"),
        ({"kind": "vgg", "input_shape": (784,)}, "input_shape"),
        ({"kind": "vgg", "input_shape": (0, 8, 8)}, "input_shape"),
        ({"kind": "mlp", "classes": 0}, "classes"),
        ({"kind": "mlp", "init_scale": -1.0}, "init_scale"),
        ({"kind": "mlp", "layout": (16, 0)}, "layout"),
        ({"kind": "resnet", "layout": (16, 16)}, "pairs"),
        ({"kind": "vgg", "layout": (16, -1)}, "0 for a pooling"),
        ({"kind": "vgg", "norm": "group", "groups": 3}, "groups: 3 does not divide"),
        ({"kind": "mlp", "norm": "instance"}, "single value"),
        ({"kind": "vgg", "pool": "median"}, "pool"),
        ({"kind": "rnn", "rows": 5}, "rows: 5 does not divide the image's height, 28"),
        ({"kind": "transformer", "rows": 0}, "rows: 0"),
        ({"kind": "rnn", "input_shape": (784,)}, "input_shape"),
        ({"kind": "transformer", "layout": (32, 2)}, "width, blocks, heads"),
        ({"kind": "transformer", "layout": (32, 2, 3)}, "heads divide the width"),
        ({"kind": "rnn", "norm": "instance"}, "single value"),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values())),
)
def test_bad_specs(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkSpec(**arguments)


@pytest.mark.parametrize("norm", ["batch", "batch-primitive", "layer", "group", "l1", "l2", "linf", "noisy-batch"])
@pytest.mark.parametrize("kind", ["mlp", "vgg"])
def test_eps_and_momentum_arrive(kind: str, norm: str) -> None:
    model = build_network(NetworkSpec(kind, size="tiny", norm=norm, eps=0.25, momentum=0.5), 0)
    layers = [m for m in model.modules() if hasattr(m, "eps")]
    assert len(layers) == 2
    assert {m.eps for m in layers} == {0.25}
    assert {getattr(m, "momentum", 0.5) for m in layers} == {0.5}


def test_negative_seed() -> None:
    with pytest.raises(ValueError, match="seed: -1 is negative"):
        build_network(NetworkSpec("mlp"), -1)

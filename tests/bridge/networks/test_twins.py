"""The frozen twin agrees where it must and differs only in what it must.

Oracles: the model itself in training mode (outputs); torch's own batch norm in *evaluation* mode whose running
statistics were set to the batch's (gradients of the twin: another code path, and hand-set constants); finite
differences of the twin's loss; the projection formula for what freezing removes from the gradient.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.normalisation import PrimitiveBatchNorm
from bntheory.bridge.networks.reparametrised import normalised_weight_layers, reparametrised
from bntheory.bridge.networks.state import state_fingerprint
from bntheory.bridge.networks.training import reproducible
from bntheory.bridge.networks.twins import (
    FrozenBatchNorm,
    LayerStatistics,
    batch_norm_layers,
    batch_statistics,
    frozen_statistics,
    frozen_twin,
    rescaled_loss,
)

KINDS = ["mlp", "vgg", "resnet", "rnn", "transformer"]
#: In a transformer no weight layer feeds a normalisation alone: the residual stream does.
REPARAMETRISED = [kind for kind in KINDS if kind != "transformer"]


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Exact equality between two evaluations is asked for below; on CUDA it needs deterministic algorithms."""
    with reproducible():
        yield


def network(kind: str, device: str, norm: str = "batch", **more: object) -> nn.Module:
    spec = NetworkSpec(kind, size="tiny", norm=norm, activation="tanh", input_shape=(1, 8, 8), **more)
    model = build_network(spec, 3, device=device, dtype=torch.float64)
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64))
    return model


def batch(device: str, n: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 8, 8, generator=g, dtype=torch.float64) * 2 + 0.5
    return x.to(device), (torch.arange(n) % 10).to(device)


def gradients(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    loss = F.cross_entropy(model(x), y)
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


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


@pytest.mark.parametrize("kind", KINDS)
def test_functional_twin_equals_the_copy(kind: str, device: str) -> None:
    model = network(kind, device)
    x, y = batch(device)
    twin, statistics = frozen_twin(model, x), batch_statistics(model, x)
    other, labels = batch(device, seed=9)
    before = state_fingerprint(model)
    with frozen_statistics(model, statistics):
        for data in ((x, y), (other, labels)):
            assert torch.equal(model(data[0]), twin(data[0]))
            found, expected = gradients(model, *data), gradients(twin, *data)
            assert all(torch.equal(found[n], expected[n]) for n in expected)
    assert state_fingerprint(model) == before
    assert not torch.equal(model(x), twin(x) + 1)


def test_twin_is_affine_in_the_input_of_each_layer(device: str) -> None:
    model = nn.Sequential(nn.BatchNorm1d(4)).double().to(device)
    x = batch(device)[0].reshape(12, 64)[:, :4]
    twin = frozen_twin(model, x)
    zero = torch.zeros_like(x)
    u, v = torch.randn_like(x), torch.randn_like(x)
    torch.testing.assert_close(
        twin(u + 3 * v) - twin(zero),
        (twin(u) - twin(zero)) + 3 * (twin(v) - twin(zero)),
        rtol=1e-12,
        atol=1e-12,
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
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(
            float((found[name] * u).sum()), rel=1e-6, abs=1e-7
        )


LAYERS = {
    "1d": (lambda: nn.BatchNorm1d(3), (8, 3)),
    "1d sequence": (lambda: nn.BatchNorm1d(3), (4, 3, 5)),
    "2d": (lambda: nn.BatchNorm2d(3), (4, 3, 2, 2)),
    "3d": (lambda: nn.BatchNorm3d(3), (2, 3, 2, 2, 3)),
    "no affine": (lambda: nn.BatchNorm1d(3, affine=False), (8, 3)),
    "not tracked": (lambda: nn.BatchNorm1d(3, track_running_stats=False), (8, 3)),
    "cumulative": (lambda: nn.BatchNorm1d(3, momentum=None), (8, 3)),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_every_kind_of_layer(kind: str, mode: str, device: str) -> None:
    make, shape = LAYERS[kind]
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device) + 2
    for model in (make().double().to(device), nn.Sequential(nn.Sequential(make())).double().to(device)):
        model.train(mode == "train")
        before = state_fingerprint(model)
        twin = frozen_twin(model, x)
        assert state_fingerprint(model) == before
        assert twin.training is (mode == "train")
        expected = model.train()(x)
        torch.testing.assert_close(twin(x), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(twin.eval()(x), expected, rtol=1e-12, atol=1e-12)


def test_twin_of_a_model_in_evaluation_mode_has_the_statistics_of_training_mode(device: str) -> None:
    model = network("vgg", device)
    x, _ = batch(device)
    model(batch(device, seed=5)[0])  # running statistics now differ from the start and from the batch
    expected = model(x)
    twin = frozen_twin(model.eval(), x)
    torch.testing.assert_close(twin(x), expected, rtol=1e-11, atol=1e-11)
    assert not torch.allclose(model(x), expected, rtol=1e-2)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf", "mean-only", "batch-primitive", "noisy-batch"])
def test_twins_of_the_family(norm: str, device: str) -> None:
    model = network("vgg", device, norm)
    x, _ = batch(device)
    torch.testing.assert_close(frozen_twin(model, x)(x), model(x), rtol=1e-11, atol=1e-11)


def test_dropout_is_drawn_as_the_next_forward_pass_draws_it(device: str) -> None:
    model = nn.Sequential(nn.Linear(64, 6), nn.Dropout(0.5), nn.BatchNorm1d(6)).double().to(device)
    x = batch(device)[0].reshape(12, 64)
    torch.manual_seed(8)
    twin = frozen_twin(model, x)
    torch.manual_seed(8)
    expected = model(x)
    torch.manual_seed(8)
    torch.testing.assert_close(twin(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("action", ["statistics", "twin", "weight layers", "reparametrised"])
def test_the_model_is_left_alone(mode: str, action: str, device: str) -> None:
    model = network("resnet", device).train(mode == "train")
    x, _ = batch(device)
    before = state_fingerprint(model)
    actions = {
        "statistics": lambda: batch_statistics(model, x),
        "twin": lambda: frozen_twin(model, x),
        "weight layers": lambda: normalised_weight_layers(model, x),
        "reparametrised": lambda: reparametrised(model, x, 3.0),
    }
    actions[action]()
    assert state_fingerprint(model) == before
    with pytest.raises(RuntimeError):
        batch_statistics(
            model, x[:, :, :3, :3].repeat(1, 2, 1, 1)
        )  # two channels: the first convolution refuses
    assert state_fingerprint(model) == before


def test_context_restores_after_exceptions_and_keeps_a_users_forward(device: str) -> None:
    model = network("mlp", device)
    x, _ = batch(device)
    statistics = batch_statistics(model, x)
    layer = model.hidden0.norm
    own = layer.forward
    layer.forward = lambda input: own(input)
    kept = layer.__dict__["forward"]

    def interrupted() -> None:
        with frozen_statistics(model, statistics):
            assert layer.__dict__["forward"] is not kept
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert layer.__dict__["forward"] is kept
    assert "forward" not in model.hidden1.norm.__dict__


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.unused = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.relu(self.norm(x)))


class OwnForward(nn.BatchNorm1d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(4, 4), "no layer that normalises over the batch"),
        (nn.Sequential(nn.LayerNorm(4)), "no layer that normalises over the batch"),
        (Twice(), "norm: is called several times"),
        (nn.Sequential(OwnForward(4)), "0: OwnForward has a forward of its own"),
    ],
    ids=["no layer", "layer norm", "called twice", "own forward"],
)
def test_refusals(model: nn.Module, message: str, device: str) -> None:
    model.to(device)
    x = torch.randn(5, 4, device=device)
    before = state_fingerprint(model)
    with pytest.raises(ValueError, match=message):
        frozen_twin(model, x)
    assert state_fingerprint(model) == before


def test_unreached_layer_is_refused(device: str) -> None:
    class Skips(Twice):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x)

    with pytest.raises(ValueError, match="unused: was not reached"):
        frozen_twin(Skips().to(device), torch.randn(5, 4, device=device))


@pytest.mark.parametrize("how", ["positional", "keyword", "torch", "frozen already"])
def test_hidden_functional_batch_norm_is_refused(how: str, device: str) -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.primitive = nn.BatchNorm1d(4), PrimitiveBatchNorm(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.primitive(torch.relu(self.norm(x)))
            if how == "positional":
                return F.batch_norm(x, None, None, None, None, True)
            if how == "keyword":
                return F.batch_norm(x, None, None, training=True)
            if how == "torch":
                return torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False)
            return F.batch_norm(x, torch.zeros(4).to(x), torch.ones(4).to(x))

    model = Hidden().to(device)
    x = torch.randn(6, 4, device=device)
    if how == "frozen already":  # affine with constants anyway
        torch.testing.assert_close(frozen_twin(model, x)(x), model(x), rtol=1e-4, atol=1e-5)
        return
    before = state_fingerprint(model)
    with pytest.raises(ValueError, match=r"batch_norm 1 times outside"):
        frozen_twin(model, x)
    assert state_fingerprint(model) == before


def test_bad_statistics(device: str) -> None:
    model = network("mlp", device)
    three = torch.ones(3, device=device)
    for name, message in (("output", "no batch-norm layer"), ("hidden0.norm", "16 channels")):
        with (
            pytest.raises(ValueError, match=message),
            frozen_statistics(model, {name: LayerStatistics(three, three)}),
        ):
            raise AssertionError("the block must not run")


def test_shared_layers_stay_shared_in_the_twin(device: str) -> None:
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Linear(4, 4), norm)
    model.add_module("alias", nn.Identity())
    model.alias.reference = norm
    model.to(device)
    assert list(batch_norm_layers(model)) == ["1"]
    twin = frozen_twin(model, torch.randn(5, 4, device=device))
    assert isinstance(twin[1], FrozenBatchNorm)
    assert twin.alias.reference is twin[1]


# ------------------------------------------------------------------------------------------- rescaled, reparametrised


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
def test_reparametrised_network_is_the_same_function(
    kind: str, norm: str, factor: float, device: str
) -> None:
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

"""The frozen twin agrees where it must and differs only in what it must.

Oracles: the model itself in training mode (outputs); torch's own batch norm in *evaluation* mode whose running
statistics were set to the batch's (gradients of the twin: another code path, and hand-set constants); finite
differences of the twin's loss; the projection formula for what freezing removes from the gradient.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.reparametrised import normalised_weight_layers, reparametrised
from bntheory.bridge.networks.state import state_fingerprint
from bntheory.bridge.networks.training import reproducible
from bntheory.bridge.networks.twins import batch_norm_layers, frozen_twin, rescaled_loss
from bntheory.bridge.objective import Objective

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
    x, y = batch(device)
    before = state_fingerprint(model)
    actions = {
        "statistics": lambda: Objective(model, F.cross_entropy, (x, y)).constants(),
        "twin": lambda: frozen_twin(model, x),
        "weight layers": lambda: normalised_weight_layers(model, x),
        "reparametrised": lambda: reparametrised(model, x, 3.0),
    }
    actions[action]()
    assert state_fingerprint(model) == before
    with pytest.raises(ValueError, match=r"raised in layer '.*Conv2d.*plain forward and backward pass raises as well"):
        frozen_twin(model, x[:, :, :3, :3].repeat(1, 2, 1, 1))  # two channels: the first convolution refuses
    assert state_fingerprint(model) == before


def test_a_copy_that_calls_what_the_model_holds_is_refused(device: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).to(device)
    own = model[1].forward
    model[1].forward = lambda x: 2 * own(x)
    x, y = torch.randn(9, 4, device=device), torch.arange(9, device=device) % 2
    before = state_fingerprint(model)
    with pytest.raises(ValueError, match=r"still depends on 1\.weight of the model itself.*mode='frozen'"):
        frozen_twin(model, x)
    reparametrised(model, x, 2.0)
    assert state_fingerprint(model) == before
    assert Objective(model, F.cross_entropy, (x, y)).twin().loss_value() == pytest.approx(
        float(F.cross_entropy(model(x), y).detach())
    )


def test_a_users_own_forward_on_an_instance_is_kept(device: str) -> None:
    model = network("mlp", device)
    x, y = batch(device)
    layer = model.hidden0.norm
    own = layer.forward
    layer.forward = lambda input: 2 * own(input)
    kept = layer.__dict__["forward"]
    objective = Objective(model, F.cross_entropy, (x, y), mode="frozen")
    assert objective.loss_value() == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-12)

    def interrupted() -> None:
        with objective.conditions():
            assert layer.__dict__.get("forward") is not kept
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert layer.__dict__["forward"] is kept
    assert type(layer) is nn.BatchNorm1d


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.unused = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.relu(self.norm(x)))


class OwnForward(nn.BatchNorm1d):
    """A forward of its own: statistics inside, and more around them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(super().forward(2 * x)) + x


class Renorm(nn.BatchNorm1d):
    """Batch renormalisation (Ioffe 2017), written by hand: r and d are constants for the gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = x.mean(0), torch.sqrt(x.var(0, unbiased=False) + self.eps)
        r = (std.detach() / self.running_var.sqrt()).clamp(0.5, 2)
        d = ((mean.detach() - self.running_mean) / self.running_var.sqrt()).clamp(-1, 1)
        return self.weight * ((x - mean) / std * r + d) + self.bias


class ByHand(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift, self.eps = (nn.Parameter(torch.rand(width) + 1), nn.Parameter(torch.rand(width)), 1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(0)
        return centred * torch.rsqrt(centred.pow(2).mean(0) + self.eps) * self.scale + self.shift


class Functional(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.norm, self.how = nn.BatchNorm1d(4), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(x))
        if self.how == "positional":
            return F.batch_norm(x, None, None, None, None, True)
        if self.how == "keyword":
            return F.batch_norm(x, None, None, training=True)
        if self.how == "torch":
            return torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False)
        return F.batch_norm(x, torch.zeros(4).to(x), torch.ones(4).to(x))


SEEN = {
    "called twice": (Twice, ["norm"]),
    "own forward": (lambda: OwnForward(4), [""]),
    "batch renormalisation": (lambda: Renorm(4), [""]),
    "written by hand": (lambda: ByHand(4), [""]),
    "functional, positional": (lambda: Functional("positional"), ["", "norm"]),
    "functional, keyword": (lambda: Functional("keyword"), ["", "norm"]),
    "functional, torch": (lambda: Functional("torch"), ["", "norm"]),
    "functional, constants": (lambda: Functional("constants"), ["norm"]),
    "parametrised": (
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
            nn.utils.parametrize.register_parametrization(nn.BatchNorm1d(4), "weight", nn.Softplus()),
        ),
        ["1"],
    ),
}


@pytest.mark.parametrize("freeze", ["both", "mean", "variance"])
@pytest.mark.parametrize("name", SEEN)
def test_whatever_normalises_over_the_batch_is_frozen(name: str, freeze: str, device: str) -> None:
    """Outputs agree; and one step away from the batch the twin is what the constants make of it: affine or partly so.

    Oracle of the freezing: moving one example changes no other example's output when both statistics are constants, and does when
    one is live.
    """
    make, frozen = SEEN[name]
    torch.manual_seed(3)
    model = nn.Sequential(make(), nn.Linear(4, 3)).double().to(device)
    inner = model[0]
    x = torch.randn(9, 4, dtype=torch.float64, device=device)
    found = Objective(model, lambda out: out.square().sum(), (x,)).constants()
    assert sorted(found) == sorted(f"0.{n}" if n else "0" for n in frozen)
    twin = frozen_twin(model, x, freeze=freeze)
    expected = model(x)
    torch.testing.assert_close(twin(x), expected, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(twin.eval()(x), expected, rtol=1e-10, atol=1e-11)
    moved = x.clone()
    moved[0] += 1.5
    with torch.no_grad():
        others = (twin[0](moved) - twin[0](x))[1:].abs().amax()
    assert (others == 0) == (freeze == "both")
    wanted = list(twin.parameters())
    grads = torch.autograd.grad(twin(x).square().sum(), wanted, allow_unused=True)
    assert sum(g is not None for g in grads) >= len(wanted) - 2 * ("unused" in dict(inner.named_modules()))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(4, 4), "no layer that normalises over the batch"),
        (nn.Sequential(nn.LayerNorm(4)), "no layer that normalises over the batch"),
        (
            nn.Sequential(nn.Linear(4, 4), frozen_twin(nn.Sequential(nn.BatchNorm1d(4)), torch.randn(5, 4))),
            "nothing to freeze.*constants",
        ),
    ],
    ids=["no layer", "layer norm", "frozen already"],
)
def test_refusals(model: nn.Module, message: str, device: str) -> None:
    model.to(device)
    x = torch.randn(5, 4, device=device)
    before = state_fingerprint(model)
    with pytest.raises(ValueError, match=message):
        frozen_twin(model, x)
    assert state_fingerprint(model) == before


def test_an_unused_layer_takes_nothing_with_it(device: str) -> None:
    torch.manual_seed(0)
    model, x = Twice().to(device).double(), torch.randn(5, 4, dtype=torch.float64, device=device)
    torch.testing.assert_close(frozen_twin(model, x)(x), model(x), rtol=1e-12, atol=1e-12)
    left = {n.name: n.reason for n in Objective(model, lambda o: o.square().sum(), (x,)).normalisations if n.reason}
    assert left == {"unused": "the forward pass does not reach it"}


def test_a_twin_on_another_order_of_calls_is_refused(device: str) -> None:
    twin = frozen_twin(nn.Sequential(nn.BatchNorm1d(4)).to(device), torch.randn(5, 4, device=device))
    with pytest.raises(ValueError, match="4 channels receives"):
        twin(torch.randn(5, 3, device=device))


def test_shared_layers_stay_shared_in_the_twin(device: str) -> None:
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Linear(4, 4), norm)
    model.add_module("alias", nn.Identity())
    model.alias.reference = norm
    model.to(device)
    assert list(batch_norm_layers(model)) == ["1"]
    twin = frozen_twin(model, torch.randn(5, 4, device=device))
    assert twin[1].has_frozen_statistics
    assert twin.alias.reference is twin[1]


# ------------------------------------------------------------------------------------------- rescaled, reparametrised


class Sealed(nn.BatchNorm1d):
    """Lets no attribute but its mode be set, and wants no subclasses."""

    def __setattr__(self, name: str, value: object) -> None:
        if "sealed" in self.__dict__ and name != "training":
            raise AttributeError(name)
        super().__setattr__(name, value)

    def __init_subclass__(cls) -> None:
        raise TypeError("no subclasses")


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # the compiler's own
@pytest.mark.parametrize("layer", [nn.BatchNorm1d, Sealed, ByHand], ids=["torch's", "sealed", "by hand"])
def test_a_twin_is_copied_saved_compiled_and_frozen_no_further(layer: Any, device: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), layer(4), nn.Tanh(), nn.Linear(4, 2)).to(device, torch.float64)
    model[1].__dict__["sealed"] = True
    x = torch.randn(9, 4, dtype=torch.float64, device=device)
    twin = frozen_twin(model, x)
    outputs = twin(x)
    torch.testing.assert_close(outputs, model(x))
    others = [copy.deepcopy(twin)]
    if layer is not Sealed:  # pickle and the compiler set attributes
        others += [pickle.loads(pickle.dumps(twin)), torch.compile(twin, backend="eager")]
    for other in others:
        torch.testing.assert_close(other(x), outputs)
        torch.testing.assert_close(other(2 * x), twin(2 * x))
    with pytest.raises(ValueError, match=r"nothing to freeze \(1: its statistics are constants"):
        frozen_twin(twin, x)


@dataclass(slots=True)
class Inner:
    logits: torch.Tensor


@dataclass(slots=True)
class Outer:
    """As some libraries' models return what they found: no mapping, and without a dictionary of attributes."""

    inner: Inner
    name: str = "outputs"


class InDataclasses(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))

    def forward(self, x: torch.Tensor) -> Outer:
        return Outer(Inner(self.layers(x)))


def test_outputs_in_dataclasses_are_looked_into(device: str) -> None:
    torch.manual_seed(0)
    model = InDataclasses().to(device, torch.float64)
    x = torch.randn(9, 3, dtype=torch.float64, device=device)
    twin, scaled = frozen_twin(model, x), reparametrised(model, x, 3.0)
    plain = model.layers(x)
    torch.testing.assert_close(twin(x).inner.logits, plain)
    torch.testing.assert_close(scaled(x).inner.logits, plain)
    held = model.layers
    model.forward = lambda x: Outer(Inner(held(x)))  # a copy's forward is the model's own
    with pytest.raises(ValueError, match=r"a copy of it still depends on layers\.0\.weight"):
        frozen_twin(model, x)


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

"""Layers written by hand, however they are called, and their twins where the parameters have moved.

Right values: autograd in float64 on the same network with a node of one's own in front of the layer, and the same formulas with the numbers
of the statistics written in. Nothing of the bridge enters them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import network_oracle as oracle
import pytest
import torch
from statistics_by_hand import CE, X, Y, assert_right
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import along_gradient, capture, frozen_twin, probe
from bntheory.bridge.curvature import hessian


class Scaled(nn.Module):
    """Batch normalisation times a number, which takes its input in any place."""

    def forward(self, x: Any, scale: Any = 1.5, mask: Any = None, beside: Any = None) -> Tensor:
        if isinstance(x, float):
            x, scale = scale, x
        if isinstance(x, (tuple, list)):
            x, scale = x
        if isinstance(x, dict):
            x, scale = x["x"], x["scale"]
        if x is None:
            x = mask
        of = x if beside is None else beside
        return scale * (x - of.mean(0)) / torch.sqrt(of.var(0, unbiased=False) + 1e-5)


CALLS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "alone": lambda n, h: n(h),
    "a number first": lambda n, h: n(1.5, h),
    "a number by name first": lambda n, h: n(scale=1.5, x=h),
    "nothing by name first": lambda n, h: n(mask=None, x=h),
    "nothing first": lambda n, h: n(None, mask=h),
    "in a tuple": lambda n, h: n((h, 1.5)),
    "in a list": lambda n, h: n([h, 1.5]),
    "in a mapping": lambda n, h: n({"scale": 1.5, "x": h}),
    "twice": lambda n, h: n(h, beside=h),
}


class Net(nn.Module):
    def __init__(self, call: Callable[[nn.Module, Tensor], Tensor], norm: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.one, self.n, self.two, self.call = nn.Linear(4, 5), norm, nn.Linear(5, 3), call

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.call(self.n, self.one(x))))


@pytest.mark.parametrize("name", CALLS)
def test_a_layer_is_measured_as_it_is_called(name: str) -> None:
    model = Net(CALLS[name], Scaled()).double()
    h = model.one(X.double()).detach().requires_grad_()
    loss = CE(model.two(torch.tanh(model.call(model.n, h))), Y)
    (expected,) = torch.autograd.grad(loss, h)
    found = capture(model, CE, (X.double(), Y))
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-12)
    torch.testing.assert_close(found["n"].view.join(found["n"].input_grad), expected)
    assert bool(found["n"].gradient_residual().passed.all())
    with hessian(model, CE, (X.double(), Y)) as op:
        assert_right(op.dense(), oracle.derivatives(Net(CALLS[name], Scaled()), CE, (X, Y))[2])


class ByParameters(nn.Module):
    """Statistics of what a parameter has entered; ``held`` are their numbers, for the oracle."""

    held: Any = None

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.share = how, nn.Parameter(torch.full((5,), 0.4))
        self.weight, self.bias = nn.Parameter(torch.rand(5) + 0.5), nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.held or self.statistics(x)
        h = x * self.share if self.how == "scaled" else x
        if self.how == "halves":
            h = torch.cat(self.halves(x), 1)
        centred = h - self.share * mean if self.how == "graph" else h - mean
        z = centred / torch.sqrt(var + 1e-5) * self.weight + self.bias
        return torch.cat([z[:, :2], z[:, 2:] * self.share[2:]], 1) if self.how == "pieces" else z

    def halves(self, x: Tensor) -> list[Tensor]:
        return [torch.tanh(self.share[:2]) * x[:, :2], self.share[2:] * x.index_select(1, torch.tensor([2, 3, 4]))]

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x * self.share if self.how == "scaled" else x
        if self.how == "halves":
            h = torch.cat([part - 0.5 * part.mean(0) for part in self.halves(x)], 1)
            return torch.cat([part.mean(0) for part in self.halves(x)]), h.square().mean(0)
        if self.how == "pair":
            var, mean = torch.var_mean(h + self.share.square() * h.roll(1, 1), 0, unbiased=False)
            return h.mean(0), var + 0 * mean
        mean = h.mean(0)
        centred = h - self.share * mean if self.how == "graph" else h - mean
        return mean, centred.square().mean(0)


@pytest.mark.long
@pytest.mark.parametrize("how", ["scaled", "graph", "pair", "pieces", "halves"])
def test_a_twin_is_constant_where_its_parameters_move(how: str) -> None:
    torch.manual_seed(3)
    model = Net(lambda n, h: n(h), ByParameters(how)).double()
    given, twin = (X.double(), Y), frozen_twin(model, X.double())
    before, measured = along_gradient(model, CE, given, mode="frozen", step_sizes=[0.3]), probe(model, CE, given)
    with torch.no_grad():
        numbers = tuple(t.clone() for t in model.n.statistics(model.one(X.double())))
    model.n.held = numbers
    written = along_gradient(model, CE, given, step_sizes=[0.3])
    assert before.losses == pytest.approx(written.losses, rel=1e-10)
    assert before.gradient_changes == pytest.approx(written.gradient_changes, rel=1e-9)
    expected = probe(model, CE, given)
    assert measured.twin is not None
    for name in ("loss", "gradient_norm", "linearity_error", "gradient_cosine", "trust_fraction"):
        assert getattr(measured.twin, name) == pytest.approx(getattr(expected.network, name), rel=1e-8), name
    with torch.no_grad():
        for own, other in zip(twin.parameters(), model.parameters(), strict=True):
            other += 0.2 * torch.randn_like(other)
            own.copy_(other)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(twin(X.double()), model(X.double()))
    found, right = (
        torch.autograd.grad(CE(m(X.double()), Y), list(m.parameters()), materialize_grads=True) for m in (twin, model)
    )
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # the compiler's own
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("how", ["scaled", "graph", "pieces"])
def test_a_compiled_twin_is_the_twin_where_its_parameters_move(how: str, backend: str) -> None:
    torch.manual_seed(3)
    twin = frozen_twin(Net(lambda n, h: n(h), ByParameters(how)).double(), X.double())
    compiled = torch.compile(twin, backend=backend)
    for _ in range(3):
        found, right = (
            torch.autograd.grad(CE(m(X.double()), Y), list(twin.parameters()), materialize_grads=True)
            for m in (compiled, twin)
        )
        for a, b in zip(found, right, strict=True):
            torch.testing.assert_close(a, b)
        torch.testing.assert_close(compiled(2 * X.double()), twin(2 * X.double()))
        with torch.no_grad():
            for p in twin.parameters():
                p += 0.2 * torch.randn_like(p)
        twin.train(not twin.training)


class Part(nn.Module):
    """An affine map of each channel whose statistics are the batch's in part: what no closed form is."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.frozen, self.mix = how, False, nn.Parameter(torch.tensor([0.2, -0.3]))
        self.register_buffer("mean", torch.linspace(-1, 1, 5))
        self.register_buffer("var", torch.linspace(0.5, 2, 5))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = x.mean(0), x.var(0, unbiased=False)
        if self.frozen:
            mean, var = mean.detach(), var.detach()
        if self.how == "mean detached":
            return (x - mean.detach()) / torch.sqrt(var + 1e-5)
        share = self.mix.softmax(0)[0] if self.how == "learned" else 0.3
        return (x - (share * mean + (1 - share) * self.mean)) / torch.sqrt(share * var + (1 - share) * self.var + 1e-5)


@pytest.mark.parametrize("how", ["mean detached", "tracked", "learned"])
def test_statistics_that_are_the_batch_s_in_part_are_frozen(how: str) -> None:
    expected = Net(lambda n, h: n(h), Part(how))
    expected.n.frozen = True
    value, _, matrix = oracle.derivatives(expected, CE, (X, Y))
    with hessian(Net(lambda n, h: n(h), Part(how)), CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        if (
            how == "learned"
        ):  # the twin's statistics are the mixture's numbers, so that no curvature comes by way of the mixture
            assert op.loss == pytest.approx(value, rel=1e-11)
        else:
            assert_right(op.dense(), matrix)


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Moments()

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.inner(x)
        return (x - mean) / torch.sqrt(var + 1e-5)


class Moments(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean(0), x.var(0, unbiased=False)


def test_a_module_that_computes_a_layer_s_statistics_is_no_layer() -> None:
    found = capture(Net(lambda n, h: n(h), Nested()), CE, (X, Y), dtype=torch.float64)
    assert list(found.layers) == ["n"]
    assert not found.left_out


class Groups(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = 2

    def forward(self, x: Tensor) -> Tensor:
        h = x.reshape(len(x), self.parts, -1)
        centred = h - h.mean(2, keepdim=True)
        return (centred / torch.sqrt(centred.square().mean(2, keepdim=True) + 1e-5)).reshape(x.shape)


def test_groups_by_any_name() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 6), Groups(), nn.Tanh(), nn.Linear(6, 3))
    (layer,) = capture(model, CE, (X, Y), dtype=torch.float64)
    assert (layer.kind, layer.m, layer.units) == ("group", 3, 24)
    assert bool(layer.gradient_residual().passed.all())


class Ghost(nn.Module):
    def __init__(self, advised: bool) -> None:
        super().__init__()
        self.advised = advised

    def forward(self, x: Tensor) -> Tensor:
        if self.advised:
            return torch.cat([F.batch_norm(part, None, None, training=True) for part in x.chunk(3)])
        parts = x.reshape(3, -1, x.shape[1])
        centred = parts - parts.mean(1, keepdim=True)
        return (centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-5)).reshape(x.shape)


class Positions(nn.Module):
    def __init__(self, advised: bool) -> None:
        super().__init__()
        self.advised = advised

    def forward(self, x: Tensor) -> Tensor:
        h = x.reshape(len(x), 2, -1)  # two positions
        if self.advised:
            return F.batch_norm(h.flatten(1), None, None, training=True).reshape(x.shape)
        centred = h - h.mean(0)
        return (centred / torch.sqrt(centred.square().mean(0) + 1e-5)).reshape(x.shape)


@pytest.mark.parametrize("layer", [Ghost, Positions])
def test_the_advice_of_a_refusal_leads_to_the_twin(layer: Any) -> None:
    def network(advised: bool) -> nn.Module:
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(4, 6), layer(advised), nn.Tanh(), nn.Linear(6, 3))

    own = oracle.derivatives(network(False), CE, (X, Y))[2]
    if layer is Ghost:
        with pytest.raises(ValueError, match=r"layer '1' .*batch_norm \(of ghost batches once a part"):
            hessian(network(False), CE, (X, Y), mode="frozen")
    with hessian(network(True), CE, (X, Y), dtype=torch.float64) as op:
        assert_right(op.dense(), own)
    with hessian(network(True), CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), oracle.derivatives(network(True), CE, (X, Y), frozen=True)[2])

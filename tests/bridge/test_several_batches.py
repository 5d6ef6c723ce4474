"""What differs from batch to batch: layers that only one of them meets, data, noise and parameters that a pass on one of them changes.

Right values: the mean of the batches' own derivatives, each by autograd in float64 with its normalisation written out. The order in which
batches are given decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from statistics_by_hand import CE, Layer, X, Y, unbiased
from torch import Tensor, nn

from bntheory.bridge import NetworkLandscape, Objective, capture, probe
from bntheory.bridge.curvature import hessian, top_eigenvalues
from bntheory.errors import UserError

ORDERS = pytest.mark.parametrize("order", [1, -1])


class Domains(nn.Module):
    """A normalisation for each domain, which a number in the batch tells."""

    def __init__(self, *norms: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.one, self.norms, self.two = nn.Linear(4, 5), nn.ModuleList(norms), nn.Linear(5, 3)

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        return self.two(torch.tanh(self.norms[int(domain)](self.one(x))))


def domains(count: int = 2) -> list[Any]:
    return [((X.double() * (1 + d), torch.tensor(d)), Y) for d in range(count)]


NORMS: dict[str, Callable[[], list[nn.Module]]] = {
    "two of torch's": lambda: [nn.BatchNorm1d(5), nn.BatchNorm1d(5)],
    "torch's and one by hand": lambda: [nn.BatchNorm1d(5), Layer(unbiased)],
    "by hand and nothing": lambda: [Layer(unbiased), nn.Identity()],
    "nothing and torch's": lambda: [nn.Identity(), nn.BatchNorm1d(5)],
    "within examples and over the batch": lambda: [nn.LayerNorm(5), nn.BatchNorm1d(5)],
}


def frozen_hessian(model: nn.Module, batch: Any) -> Tensor:
    """Of the twin on one batch; a layer by hand has constants by its own switch."""
    for norm in model.norms:
        if isinstance(norm, Layer):
            norm.mean = norm.scale = Tensor.detach
    found = oracle.derivatives(model, CE, batch, frozen=True)[2]
    for norm in model.norms:
        if isinstance(norm, Layer):
            norm.mean = norm.scale = lambda t: t
    return found


@ORDERS
@pytest.mark.parametrize("norms", NORMS)
def test_each_batch_has_the_twin_of_the_layers_that_it_meets(norms: str, order: int) -> None:
    model, batches = Domains(*NORMS[norms]()).double(), domains()[::order]
    right = sum(frozen_hessian(model, b) for b in batches) / 2
    live = sum(oracle.derivatives(model, CE, b)[2] for b in batches) / 2
    assert float((right - live).norm()) > 0.05 * float(live.norm())  # the twin is another function
    with hessian(model, CE, batches, mode="frozen") as op:
        assert float((torch.as_tensor(op.dense()) - right).norm()) < 1e-9 * float(right.norm())
        assert op.unused == ()
    with hessian(model, CE, batches) as op:
        assert float((torch.as_tensor(op.dense()) - live).norm()) < 1e-9 * float(live.norm())


@pytest.mark.long
@ORDERS
def test_a_probe_has_the_layers_of_all_batches(order: int) -> None:
    model, batches = Domains(nn.BatchNorm1d(5), nn.BatchNorm1d(5)).double(), domains()[::order]
    found = probe(model, CE, batches)
    right = sum(frozen_hessian(model, b) for b in batches) / 2
    assert found.twin is not None
    assert found.twin.lambda_max == pytest.approx(oracle.top(right), rel=1e-6)
    assert found.unused == ()
    assert found.left_out == {}
    assert {layer.name for layer in found.layers} == {"norms.0", "norms.1"}
    for layer in found.layers:
        alone = capture(model, CE, domains()[int(layer.name[-1])])[layer.name].closed_form()
        assert layer.scaling == pytest.approx(float(((alone.gamma / alone.sigma) ** 2).mean()) ** 0.5)


def test_a_layer_that_no_batch_meets_is_named() -> None:
    model = Domains(*(nn.BatchNorm1d(5) for _ in range(3))).double()
    found = probe(model, CE, domains())
    assert list(found.left_out) == ["norms.2"]
    assert "does not reach it" in found.left_out["norms.2"]
    assert found.unused == ("norms.2.weight", "norms.2.bias")
    assert {n.name: n.reason for n in Objective(model, CE, domains()).normalisations if n.reason} == found.left_out


class Odd(nn.Module):
    """On small batches it does something else."""

    def __init__(self, what: str) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        if len(x) < 10:
            if self.what == "noise":
                x = x + torch.randn_like(x)
            elif self.what == "input":
                x.clamp_(-0.5, 0.5)
            elif self.what == "data of a parameter":
                self.net[0].weight.data.clamp_(-0.3, 0.3)
            elif self.what == "parameter":
                with torch.no_grad():
                    self.net[0].weight.clamp_(-0.3, 0.3)
            elif self.what == "no gradient":
                return self.net(x).detach()
            elif self.what == "evaluation":
                self.net[1].eval()
        return self.net(x)


def uneven(order: int) -> list[Any]:
    return [(X.double(), Y), (X[:6].double().clone(), Y[:6])][::order]


@ORDERS
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("noise", "not deterministic"),
        ("data of a parameter", r"changes net\.0\.weight"),
        ("parameter", r"changes net\.0\.weight"),
        ("no gradient", "requires no gradient"),
        ("evaluation", "used its running statistics"),
    ],
)
def test_what_is_refused_of_one_batch_is_refused_of_several_and_leaves_all_as_it_was(
    what: str, told: str, order: int
) -> None:
    model = Odd(what).double()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    objective = Objective(model, CE, uneven(order))
    for _ in range(2):  # asked again, it is refused again
        with pytest.raises(UserError, match=told) as error:
            objective.loss_value()
        assert str(error.value).startswith(f"batch[{(order - 1) // -2 ^ 1}]: ")
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@ORDERS
def test_a_batch_that_is_overwritten_is_measured_and_kept(order: int) -> None:
    model, batches = Odd("input").double(), uneven(order)
    kept = [x.clone() for x, _ in batches]
    right = sum(
        len(y) * oracle.derivatives(model.net, CE, (x.clamp(-0.5, 0.5) if len(x) < 10 else x, y))[2]
        for x, y in batches
    ) / 18  # fmt: skip
    for _ in range(2):
        with hessian(model, CE, batches) as op:
            assert float((torch.as_tensor(op.dense()) - right).norm()) < 1e-9 * float(right.norm())
    assert all(torch.equal(x, before) for (x, _), before in zip(batches, kept, strict=True))


@ORDERS
def test_a_gradient_penalty_of_one_batch_alone(order: int) -> None:
    model = Odd("").double()

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        value = CE(outputs, y)
        if len(y) > 10:
            return value
        (slope,) = torch.autograd.grad(value, model.net[3].weight, create_graph=True)
        return value + slope.square().sum()

    right = sum(len(b[1]) * oracle_of(model, loss, b) for b in uneven(order)) / 18
    with hessian(model, loss, uneven(order)) as op:
        assert float((torch.as_tensor(op.dense()) - right).norm()) < 1e-9 * float(right.norm())


def oracle_of(model: nn.Module, loss: Any, batch: Any) -> Tensor:
    """The Hessian where the loss refers to the model itself, which cannot be copied."""
    with oracle.written_out():
        wanted = list(model.parameters())
        first = torch.autograd.grad(loss(model(batch[0].clone()), batch[1]), wanted, create_graph=True)
        flat = torch.cat([g.reshape(-1) for g in first])
        rows = [torch.autograd.grad(g, wanted, retain_graph=True) for g in flat]
    return torch.stack([torch.cat([r.reshape(-1) for r in row]) for row in rows])


@pytest.mark.parametrize("first", ["value", "grad", "hvp"])
def test_a_twin_has_the_constants_of_where_the_model_is_on_every_batch(first: str) -> None:
    """Wherever it is asked first."""
    model = Odd("").double()
    batches = uneven(1)
    space = NetworkLandscape(Objective(model, CE, batches).twin())
    there = space.point + 0.3 * np.random.default_rng(0).standard_normal(space.dimension)
    alone = [NetworkLandscape(Objective(model, CE, b).twin()) for b in batches]
    getattr(space, first)(*((there, there) if first == "hvp" else (there,)))
    right = (12 * alone[0].value(there) + 6 * alone[1].value(there)) / 18
    assert space.value(there) == pytest.approx(right, rel=1e-12)
    slopes = (12 * alone[0].grad(there) + 6 * alone[1].grad(there)) / 18
    assert np.abs(space.grad(there) - slopes).max() < 1e-12
    assert space.value(space.point) == pytest.approx(NetworkLandscape(model, CE, batches).value(space.point), rel=1e-9)


def test_a_twin_that_is_moved_before_anything_is_asked_has_the_constants_of_its_start() -> None:
    model = Odd("").double()
    values = []
    for asked in (False, True):
        twin = Objective(model, CE, uneven(1), private=True).twin()
        if asked:
            twin.loss_value()
        with twin.movable(), torch.no_grad():
            for t in twin.parameters.values():
                t.mul_(1.3)
            values.append(twin.loss_value())
    assert values[0] == values[1]


class OnceDifferentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * g


@ORDERS
def test_a_function_of_ones_own_is_looked_at_on_the_batch_that_calls_it(order: int) -> None:
    model = Odd("").double()

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        return CE(OnceDifferentiable.apply(outputs) if len(y) < 10 else outputs, y)

    with pytest.raises(UserError, match=r"OnceDifferentiable|once_differentiable"):
        hessian(model, loss, uneven(order))


def test_each_batch_is_examined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[int] = []
    value = Objective.value

    def counted(self: Objective, index: int = 0) -> Tensor:
        evaluated.append(index)
        return value(self, index)

    monkeypatch.setattr(Objective, "value", counted)
    objective = Objective(Odd("").double(), CE, uneven(1))
    objective.check()
    assert evaluated == [0, 1, 0, 1]  # with a graph, and once more without
    with hessian(objective) as op:
        assert top_eigenvalues(op, tol=1e-4).converged
    assert evaluated == [0, 1] * 3

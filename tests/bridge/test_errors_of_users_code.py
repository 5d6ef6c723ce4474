"""What a user's own code, or torch, does not do under a measurement: right by ``network_oracle``, or told in one clear message."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import (
    Monitor,
    Objective,
    SGDConfig,
    Trainer,
    capture,
    evaluate,
    frozen_twin,
    loss_and_gradients,
    probe,
    state_fingerprint,
)
from bntheory.bridge.curvature import hessian, top_eigenvalues

X, Y = torch.randn(10, 4, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 3


class Forward(nn.Module):
    """A perceptron with batch norm behind a first layer that is called in the given way."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.norm, self.last = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)
        self.rows, self.way = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), way

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "nested":
            x = x.to_padded_tensor(0.0).mean(1)
        x = torch.vmap(lambda row: self.rows(row[None])[0])(x) if self.way == "vmap" else self.rows(x)
        h = self.first(x)
        if self.way == "hook":
            h.register_hook(lambda g: g.clamp(-1e9, 1e9))
        if self.way == "jacrev":
            slope = torch.func.vmap(torch.func.jacrev(lambda row: torch.tanh(self.first(row))))(x)
            h = h + slope.square().sum((1, 2))[:, None] * torch.arange(5)
        return self.last(torch.tanh(self.norm(h)))


def batch(way: str) -> tuple[Tensor, Tensor]:
    if way != "nested":
        return X, Y
    return torch.nested.nested_tensor([X[:2], X[2:5], X[5:6], X[6:]]), Y[:4]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("way", ["hook", "vmap", "jacrev", "nested"])
def test_hooks_transforms_and_nested_tensors_are_measured(way: str) -> None:
    model, data = Forward(way), batch(way)
    before = state_fingerprint(model, rng=False)
    loss, _, matrix = oracle.derivatives(Forward(way), F.cross_entropy, data)
    with hessian(model, F.cross_entropy, data, dtype=torch.float64) as op:
        np.testing.assert_allclose(op.dense(), matrix, atol=1e-9 * float(matrix.abs().max()))
    with hessian(model, F.cross_entropy, data) as op:  # float32, whose rounding is measured as well
        assert top_eigenvalues(op, tol=1e-4).top == pytest.approx(oracle.top(matrix), rel=2e-3)
    frozen = oracle.derivatives(Forward(way), F.cross_entropy, data, frozen=True)[2]
    found = probe(model, F.cross_entropy, data, tol=1e-9)
    assert found.network.loss == pytest.approx(loss, rel=1e-9)
    assert found.twin.lambda_max == pytest.approx(oracle.top(frozen), rel=1e-7)
    assert frozen_twin(model, data[0])(data[0]).shape == (len(data[1]), 3)
    if way != "jacrev":  # a loss that takes derivatives itself has no split by layers
        layers = capture(model, F.cross_entropy, data, dtype=torch.float64)
        assert layers.loss == pytest.approx(loss, rel=1e-9)
        assert "norm" in layers.layers
        assert ("rows.1" in layers.left_out) == (way == "vmap")
        assert all(bool(layer.gradient_residual().passed.all()) for layer in layers)
    assert state_fingerprint(model, rng=False) == before


def test_a_twin_that_would_keep_statistics_alive_inside_a_transform_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.norm = nn.BatchNorm1d(4, track_running_stats=False), nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(torch.vmap(self.inner)(x.reshape(2, 5, 4)).reshape(10, 4))

    with pytest.raises(ValueError, match=r"'inner' normalises over the batch and runs inside of torch\.vmap"):
        Objective(Two(), F.cross_entropy, (X, Y)).twin().loss_value()


class Unlucky(nn.Sequential):
    """Raises in one step and precision."""

    def __init__(self, step: str) -> None:
        super().__init__(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        if self.step == "everywhere" or (self.step == "float64" and h.dtype == torch.float64):
            raise KeyError("no such table")
        if self.step == "backward":
            h = Raising.apply(h)
        if self.step == "parameter":
            with torch.no_grad():
                self[0].weight.mul_(0.5)
        return h


class Raising(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        raise RuntimeError("no way back")


TOLD = {
    "everywhere": r"KeyError: 'no such table' \(raised in layer '\(model\)' \(Unlucky\) at test_errors_of_users_code\.py:\d+, the forward "
    r"pass in mode 'train'.*plain forward and backward pass raises as well",
    "float64": r"KeyError: 'no such table'.*converted to torch\.float64.*goes through.*own precision \(dtype=torch\.float32\)",
    "backward": r"RuntimeError: no way back .*the first backward pass.*raises as well \(RuntimeError: no way back\)",
    "parameter": r"changes 0\.weight in place",
}


@pytest.mark.parametrize("step", TOLD)
@pytest.mark.parametrize("by", ["capture", "hessian", "probe"])
def test_what_raises_is_told_with_step_layer_and_way_out(step: str, by: str) -> None:
    torch.manual_seed(0)
    model = Unlucky(step)
    before = state_fingerprint(model)
    dtype = None if step == "parameter" else torch.float64  # the parameters themselves, and no stand-ins for them

    def measure() -> Any:
        if by == "capture":
            found = capture(model, F.cross_entropy, (X, Y), dtype=dtype)
            return [layer.hessian_residual([0]) for layer in found]
        if by == "probe":
            found = probe(model, F.cross_entropy, (X, Y))
            raise ValueError(str(found.network.missing))  # what can be had is had, and the rest is told
        with hessian(model, F.cross_entropy, (X, Y), dtype=dtype) as op:
            return op.dense()

    with pytest.raises(ValueError, match=TOLD[step]) as caught:
        measure()
    if step in ("everywhere", "float64"):
        assert isinstance(caught.value.__cause__, KeyError)
    assert state_fingerprint(model) == before


@pytest.mark.parametrize("door", [evaluate, loss_and_gradients, lambda *three: Trainer(three[0], three[1], SGDConfig(0.1)).train_step(three[2])], ids=["value", "gradients", "trainer"])  # fmt: skip
def test_what_raises_in_a_plain_pass_is_told_with_step_and_layer(door: Any) -> None:
    given: list[tuple[str, Any, Any, type[BaseException], str]] = [
        ("everywhere", F.cross_entropy, (X, Y), KeyError, r"KeyError: 'no such table' \(raised in layer '\(model\)' \(Unlucky\) at .*forward pass"),
        ("", F.cross_entropy, (X[:, :2], Y), RuntimeError, r"layer '0' \(Linear\).*forward pass.*keyword arguments"),
        ("", F.cross_entropy, (X,), TypeError, r"TypeError.*the loss\)\. It is called as loss\(outputs, \*rest\)"),
        ("", F.cross_entropy, (X, Y + 7), IndexError, r"IndexError.*the loss\)"),
    ]  # fmt: skip
    if door is not evaluate:
        given.append(
            ("backward", F.cross_entropy, (X, Y), RuntimeError, r"RuntimeError: no way back.*the backward pass\)")
        )
    for step, loss, data, cause, told in given:
        with pytest.raises(ValueError, match=told) as caught:
            door(Unlucky(step), loss, data)
        assert isinstance(caught.value.__cause__, cause)


def test_the_monitor_notes_the_same_words() -> None:
    model = Unlucky("everywhere")
    model.step = ""
    monitor = Monitor(model, F.cross_entropy, (X, Y), every=1, measures=["loss"])
    model.step = "everywhere"
    monitor.measure()
    assert any("raised in layer '(model)'" in m.reason for m in monitor.missing)


class Hyperbolic(torch.autograd.Function):
    """tanh with a right first derivative; what its backward does about the second is its subclasses'."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * (1 - x.tanh() ** 2)


class MarkedOnce(Hyperbolic):
    backward = staticmethod(torch.autograd.function.once_differentiable(Hyperbolic.backward))


class Detached(Hyperbolic):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * (1 - ctx.saved_tensors[0].detach().tanh() ** 2)


class UnderNoGrad(Hyperbolic):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        with torch.no_grad():
            return g * (1 - ctx.saved_tensors[0].tanh() ** 2)


class Single(Hyperbolic):
    """Of a precision of its own: right in float32 and refused in any other."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        return Hyperbolic.forward(ctx, x)


class Applied(nn.Sequential):
    def __init__(self, function: Any, kink: bool = False) -> None:
        torch.manual_seed(0)
        middle = nn.ReLU() if kink else nn.Tanh()
        super().__init__(nn.Linear(4, 5), nn.BatchNorm1d(5), middle, nn.Linear(5, 3))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(super().forward(x))


@pytest.mark.parametrize("mode", ["train", "frozen"])
@pytest.mark.parametrize("function", [MarkedOnce, Detached, UnderNoGrad], ids=lambda f: f.__name__)
def test_a_function_whose_second_derivative_is_lost_has_no_curvature(function: Any, mode: str) -> None:
    """Torch gives a number, and often a symmetric matrix."""
    model, loss = Applied(function.apply), F.cross_entropy
    for dtype in (None, torch.float64):
        with pytest.raises(ValueError, match=f"second derivative through {function.__name__} is wrong"):
            hessian(model, loss, (X, Y), mode=mode, dtype=dtype)
    if mode == "train":
        value, gradient, _ = oracle.derivatives(Applied(torch.tanh), loss, (X, Y))
        found = probe(model, loss, (X, Y))
        assert function.__name__ in found.network.missing["lambda_max"]
        assert found.network.loss == pytest.approx(value, rel=1e-9)
        norm = sum(float(g.square().sum()) for g in gradient.values()) ** 0.5
        assert found.network.gradient_norm == pytest.approx(norm, rel=1e-9)
        (layer,) = capture(model, loss, (X, Y), dtype=torch.float64)
        assert bool(layer.gradient_residual().passed.all())
        with pytest.raises(ValueError, match=f"layer '1': the second derivative through {function.__name__}"):
            layer.hessian_residual([0])


@pytest.mark.parametrize("function", [Hyperbolic, Single], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kink", [False, True])
def test_a_function_with_a_second_derivative_has_its_curvature(function: Any, kink: bool) -> None:
    expected = oracle.derivatives(Applied(torch.tanh, kink), F.cross_entropy, (X, Y))[2]
    with hessian(Applied(function.apply, kink), F.cross_entropy, (X, Y)) as op:
        np.testing.assert_allclose(op.dense(), expected, atol=1e-5 * float(expected.abs().max()))


def _stopped_by_no_grad(outputs: Tensor) -> Tensor:
    with torch.no_grad():
        return outputs.roll(1, 0) * 1.0


@pytest.mark.parametrize("stopped", [lambda o: o.detach().roll(1, 0), _stopped_by_no_grad], ids=["detach", "no_grad"])
@pytest.mark.parametrize("right", [True, False])
def test_what_a_loss_holds_constant_stays_so_beside_a_users_function(right: bool, stopped: Any) -> None:
    """As in losses against a branch that is stopped: the gradient itself moves with that branch."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets) + (outputs - stopped(outputs)).square().mean()

    if not right:
        with pytest.raises(ValueError, match="second derivative through Detached is wrong"):
            hessian(Applied(Detached.apply), loss, (X, Y))
        return
    expected = oracle.derivatives(Applied(torch.tanh), loss, (X, Y))[2]
    with hessian(Applied(Hyperbolic.apply), loss, (X, Y), dtype=torch.float64) as op:
        np.testing.assert_allclose(op.dense(), expected, atol=1e-9 * float(expected.abs().max()))


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (x * 4).round() / 4

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g


def test_a_straight_through_estimator_is_measured_as_what_it_descends() -> None:
    expected = oracle.derivatives(Applied(lambda h: h + ((h * 4).round() / 4 - h).detach()), F.cross_entropy, (X, Y))
    with hessian(Applied(StraightThrough.apply), F.cross_entropy, (X, Y), dtype=torch.float64) as op:
        np.testing.assert_allclose(op.dense(), expected[2], atol=1e-9 * float(expected[2].abs().max()))


def test_a_model_that_refuses_to_be_copied_is_measured_in_place() -> None:
    class Alone(Applied):
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("no copies")

    with pytest.raises(ValueError, match=r"Alone cannot be copied \(RuntimeError: no copies\).*mode='frozen'"):
        frozen_twin(Alone(torch.tanh), X)
    expected = oracle.derivatives(Applied(torch.tanh), F.cross_entropy, (X, Y), frozen=True)[2]
    with hessian(Alone(torch.tanh), F.cross_entropy, (X, Y), mode="frozen", dtype=torch.float64) as op:
        np.testing.assert_allclose(op.dense(), expected, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("guarded", [False, True])
def test_a_hook_that_cuts_the_second_derivative_is_told(guarded: bool) -> None:
    class Hooked(Applied):
        def forward(self, x: Tensor) -> Tensor:
            h = self[0](x)
            if h.requires_grad or not guarded:
                h.register_hook(lambda g: g.detach() * 1.0)
            return self[3](self[2](self[1](h)))

    with pytest.raises(ValueError, match="second derivative through a hook on a tensor is wrong"):
        hessian(Hooked(None), F.cross_entropy, (X, Y))


class Equilibrium(Applied):
    """A fixed point, found without a graph and differentiated by a hook (the implicit function theorem)."""

    def __init__(self) -> None:
        super().__init__(None)
        self.mix = nn.Linear(5, 5, bias=False)
        nn.init.orthogonal_(self.mix.weight, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        u = self[1](self[0](x))
        z = torch.zeros_like(u)
        with torch.no_grad():
            for _ in range(40):
                z = torch.tanh(self.mix(z) + u)
        z = torch.tanh(self.mix(z) + u)
        if z.requires_grad:
            start = z.detach().requires_grad_()
            step = torch.tanh(self.mix(start) + u)

            def solved(g: Tensor) -> Tensor:
                found = g
                for _ in range(40):
                    found = torch.autograd.grad(step, start, found, retain_graph=True)[0] + g
                return found

            z.register_hook(solved)
        return self[3](z)


def test_a_fixed_point_that_is_differentiated_by_a_hook_has_no_second_derivative() -> None:
    """Its gradient is that of the loss, as differences of the loss say, though what it starts from was found without a graph."""
    model = Equilibrium()
    with pytest.raises(ValueError, match="second derivative through a hook on a tensor is wrong"):
        hessian(model, F.cross_entropy, (X, Y))
    found = Objective(model, F.cross_entropy, (X, Y), dtype=torch.float64, private=True)
    value, (slope,) = found.loss_and_gradients([model.mix.weight])
    leaf = found.measured(model.mix.weight)
    with found.movable():
        with torch.no_grad():
            leaf[1, 2] += 1e-5
        assert found.loss_value() - float(value) == pytest.approx(1e-5 * float(slope[1, 2]), rel=1e-3)


Two = namedtuple("Two", "a b")


class TakesOne(nn.Module):
    """Takes a list or a named tuple as its one argument, or a tensor and a factor."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.kind = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)), kind

    def forward(self, one: Any) -> Tensor:
        parts = (one.a, one.b) if self.kind is Two else one
        assert isinstance(one, self.kind)
        return self.net(torch.cat(list(parts)))


@pytest.mark.parametrize("whole", [[X[:3], X[3:]], (X[:3], X[3:]), Two(X[:3], X[3:])], ids=["list", "tuple", "named"])
def test_inputs_that_were_spread_and_are_one_argument_are_wrapped_once_more(whole: Any) -> None:
    """Oracle: the network on the tensor that the parts make."""
    model = TakesOne(type(whole))
    for door in (capture, hessian, lambda *three: Objective(*three, dtype=torch.float64).twin().loss_value()):
        with pytest.raises(
            ValueError, match=rf"TypeError.*a {type(whole).__name__}, and .*spread.*\(\(\[a, b\],\), y\)"
        ):
            door(model, F.cross_entropy, (whole, Y))
    _, _, expected = oracle.derivatives(model.net, F.cross_entropy, (X, Y))
    with hessian(model, F.cross_entropy, ((whole,), Y), dtype=torch.float64) as op:
        np.testing.assert_allclose(op.dense(), expected.numpy(), atol=1e-9 * float(expected.abs().max()))


def test_other_errors_are_not_told_to_wrap_anything() -> None:
    for step, inputs in (("everywhere", (X,)), ("everywhere", X)):
        with pytest.raises(ValueError, match="raises as well") as caught:
            capture(Unlucky(step), F.cross_entropy, (inputs, Y))
        assert "wrapping" not in str(caught.value)

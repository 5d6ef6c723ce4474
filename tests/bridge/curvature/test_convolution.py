"""The closed form of a convolution's second backward pass: against torch's own, and against sums over unfolded patches."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bntheory.bridge.curvature import convolution as closed_form
from bntheory.bridge.curvature import hessian
from bntheory.bridge.curvature.closed_forms import ClosedForms


def by_patches(x: Tensor, w: Tensor, b: Tensor | None, stride: int, padding: int, dilation: int) -> Tensor:
    """The convolution as a matrix product, whose derivatives know nothing of convolutions."""
    patches = functional.unfold(x, w.shape[2:], dilation, padding, stride)
    side = (x.shape[2] + 2 * padding - dilation * (w.shape[2] - 1) - 1) // stride + 1
    out = (w.flatten(1) @ patches).unflatten(2, (side, -1))
    return out if b is None else out + b.view(1, -1, 1, 1)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (1, 1, 1), (2, 1, 1), (3, 2, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_gradient_of_every_product_of_a_layer(stride: int, padding: int, dilation: int, bias: bool) -> None:
    """Also where only one of the gradients depends on what a direction is of."""
    torch.manual_seed(0)
    x = torch.randn(3, 2, 7, 7, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, dtype=torch.float64, requires_grad=True) if bias else None
    variables = [t for t in (x, w, b) if t is not None]
    for chosen in (variables, variables[1:], variables[:1], variables[-1:]):
        found = []
        for ours in (True, False):
            if ours:
                with ClosedForms(every=True):
                    y = functional.conv2d(x, w, b, stride, padding, dilation)
                assert type(y.grad_fn).__name__ == "_ForwardBackward"
            else:
                y = by_patches(x, w, b, stride, padding, dilation)
            gradients = torch.autograd.grad(torch.sin(y).square().sum(), chosen, create_graph=True)
            torch.manual_seed(1)
            directions = [torch.randn_like(g) for g in gradients]
            found.append(torch.autograd.grad(gradients, chosen, directions))
        for a, e in zip(*found, strict=True):
            assert float((a - e).abs().max()) < 1e-12 * float(e.abs().max())


class Scaled(nn.Conv2d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight * weight.abs().mean(), bias)


def hooked() -> nn.Module:
    layer = nn.Conv2d(2, 4, 3)
    layer.register_forward_pre_hook(lambda module, args: (1.3 * args[0],))
    layer.register_forward_hook(lambda module, args, out: out * out.abs().mean())
    return layer


class Called(nn.Module):
    """A kernel that is no leaf: expanded, permuted, computed from the data; the same layer twice; inside of a transform."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.same = (
            nn.Parameter(torch.randn(s)) for s in ((1, 2, 3, 3), (3, 3, 4, 2), (4, 4, 1, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        h = functional.conv2d(x, self.one.expand(4, -1, -1, -1), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
        h = functional.conv2d(torch.tanh(h), self.two.permute(3, 2, 1, 0), groups=1)
        h = functional.conv2d(torch.tanh(h), h[:2, :, :1, :1])
        h = functional.conv2d(functional.conv2d(h.repeat(1, 2, 1, 1), self.same), self.same)
        return torch.vmap(lambda example: functional.conv2d(example[None], self.same)[0])(torch.tanh(h))


@pytest.mark.parametrize(
    "layers",
    [
        [Scaled(2, 4, 3, padding="same", padding_mode="reflect"), nn.Tanh(), nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 2, 3))],
        [hooked(), nn.Tanh(), nn.Conv2d(4, 2, (2, 1), stride=(3, 2), padding=(4, 3), dilation=(2, 1)).to(memory_format=torch.channels_last)],
        [Called()],
        [nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 4, 3, groups=2, padding=1)],
        [nn.Conv2d(2, 4, (3, 1), stride=(2, 1), padding=(1, 0)), nn.Softplus(), nn.Conv2d(4, 2, 3, padding="same")],
        [nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.Tanh(), nn.ConvTranspose2d(4, 2, 3)],
    ],
    ids=["an own forward", "hooks and formats", "any kernel", "groups", "pairs and words", "circular and transposed"],
)  # fmt: skip
def test_products_are_those_of_torch(layers: list[nn.Module]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*layers, nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3))
    batch = (torch.randn(6, 2, 6, 6), torch.randint(3, (6,)))
    net(batch[0])
    with (
        hessian(net, functional.cross_entropy, batch, dtype=torch.float64) as op,
        hessian(net, functional.cross_entropy, batch, dtype=torch.float64, closed_forms=False) as reference,
    ):
        a, b = op.dense(), reference.dense()
    assert abs(a - b).max() < 1e-12 * abs(b).max()


def test_for_every_convolution_or_for_large_ones_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    batch = (torch.randn(5, 2, 6, 6), torch.randint(3, (5,)))
    calls: list[torch.Size] = []
    plain = closed_form._first
    monkeypatch.setattr(closed_form, "_first", lambda *args: calls.append(args[2].shape) or plain(*args))

    def product(**options: bool) -> Tensor:
        calls.clear()
        with hessian(net, functional.cross_entropy, batch, **options) as op:
            return op.apply(torch.ones(op.size))

    small = product(closed_forms=False)
    assert not calls
    torch.testing.assert_close(product(), small, rtol=1e-4, atol=1e-6)
    assert calls
    multiplications = 72 * 36  # entries of the weight, and positions
    monkeypatch.setattr("bntheory.bridge.curvature.closed_forms.LARGE", multiplications)
    torch.testing.assert_close(product(closed_forms=False), small, rtol=1e-4, atol=1e-6)
    assert calls
    monkeypatch.setattr("bntheory.bridge.curvature.closed_forms.LARGE", multiplications + 1)
    assert torch.equal(product(closed_forms=False), small)
    assert not calls


def test_no_parameter_of_the_layer_measured_and_inputs_that_need_no_gradient() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Softplus(), nn.Conv2d(4, 3, 4), nn.Flatten())
    batch = (torch.randn(6, 2, 6, 6), torch.randint(3, (6,)))
    for chosen in (["0"], ["2.bias"], ["2.weight", "0.bias"]):
        matrices = []
        for every in (True, False):
            with hessian(
                net, functional.cross_entropy, batch, dtype=torch.float64, parameters=chosen, closed_forms=every
            ) as op:
                matrices.append(op.dense())
        assert abs(matrices[0] - matrices[1]).max() < 1e-12 * abs(matrices[1]).max()


class _Transformed(nn.Module):
    """Convolution and batch normalisation under a transform of torch.func; written without it where ``plainly``."""

    def __init__(self, kind: str, plainly: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.out = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)
        self.kind, self.plainly = kind, plainly

    def _inner(self, y: Tensor) -> Tensor:
        if self.kind == "an example at a time":
            return self.b(y) if self.plainly else torch.vmap(lambda t: self.b(t[None])[0])(y)
        if self.kind == "statistics of groups":
            groups = y.unflatten(0, (2, -1))
            each = torch.stack([self.norm(g) for g in groups]) if self.plainly else torch.vmap(self.norm)(groups)
            return self.b(each.flatten(0, 1))
        along = torch.ones_like(y)
        if self.plainly:
            return self.b(y) + functional.conv2d(along, self.b.weight)
        return self.b(y) + torch.func.jvp(self.b, (y,), (along,))[1]

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self._inner(torch.tanh(self.a(x)))).mean((2, 3)))


@pytest.mark.filterwarnings("ignore:.*jit.script.*")  # torch's own, at its first derivative along a direction
@pytest.mark.parametrize("kind", ["an example at a time", "statistics of groups", "a derivative along a direction"])
def test_layers_under_a_transform_are_left_to_torch(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bntheory.bridge.curvature.batch_norm._ENTRIES", 1)
    monkeypatch.setattr("bntheory.bridge.curvature.batch_norm._POSITIONS", 1)
    x, y = torch.randn(6, 2, 6, 6, dtype=torch.float64), torch.randint(3, (6,))
    plain = _Transformed(kind, plainly=True).double()
    used = {name: p for name, p in plain.named_parameters() if kind == "statistics of groups" or "norm" not in name}
    slopes = torch.autograd.grad(functional.cross_entropy(plain(x), y), list(used.values()), create_graph=True)
    direction = [torch.randn_like(p) for p in used.values()]
    right = torch.autograd.grad(slopes, list(used.values()), direction)
    with hessian(
        _Transformed(kind, plainly=False), functional.cross_entropy, (x, y), dtype=torch.float64,
        parameters=list(used),
    ) as op:  # fmt: skip
        found = op.apply(torch.cat([v.reshape(-1) for v in direction]))
    torch.testing.assert_close(found, torch.cat([r.reshape(-1) for r in right]), rtol=1e-10, atol=1e-13)


class _Squaring(Tensor):
    """A tensor whose convolutions and normalisations are by its square."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in (torch.conv2d, functional.batch_norm):
            return super().__torch_function__(func, types, args, kwargs or {})
        plain = [_squared(a) if isinstance(a, _Squaring) else a for a in args]
        named = {k: _squared(a) if isinstance(a, _Squaring) else a for k, a in (kwargs or {}).items()}
        return func(*plain, **named)


def _squared(t: Tensor) -> Tensor:
    return t.as_subclass(Tensor).square()


class _Halving(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.conv2d:
            args = (args[0], args[1] / 2, *args[2:])
        return func(*args, **(kwargs or {}))


class _Meaning(nn.Module):
    """A convolution that is more than its arguments, and the same by a weight that says all of it."""

    def __init__(self, kind: str, plainly: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.out = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)
        self.kind, self.plainly = kind, plainly

    def _inner(self, y: Tensor) -> Tensor:
        w, b = self.b.weight, self.b.bias
        if self.kind == "a class of its own":
            if self.plainly:
                return functional.batch_norm(
                    functional.conv2d(y, w.square(), b), None, None, w[0, :, 0, 0].square(), b, True
                )
            z = functional.conv2d(y, w.as_subclass(_Squaring), b)
            return functional.batch_norm(z, None, None, w[0, :, 0, 0].as_subclass(_Squaring), b, True)
        if self.kind == "a context around it":
            return functional.conv2d(y, w / 2 if self.plainly else w, b)
        if self.kind == "numbers of another kind":
            two = 2 if self.plainly else np.int64(2)
            return functional.conv2d(y, w, b, two, two // 2)
        along = torch.ones_like(y)
        if self.plainly:
            return functional.conv2d(y, w, b) + functional.conv2d(along, w)
        with forward_ad.dual_level():
            value, slope = forward_ad.unpack_dual(functional.conv2d(forward_ad.make_dual(y, along), w, b))
        return value + slope

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(
            self.a(x)
            if self.kind != "a context around it"
            else functional.conv2d(x, self.a.weight / (2 if self.plainly else 1), self.a.bias)
        )
        return self.out(torch.tanh(self._inner(y)).mean((2, 3)))


@pytest.mark.filterwarnings("ignore:.*jit.script.*")
@pytest.mark.parametrize(
    "kind", ["a class of its own", "a context around it", "numbers of another kind", "dual tensors"]
)
def test_calls_that_mean_more_than_their_arguments(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bntheory.bridge.curvature.batch_norm._ENTRIES", 1)
    monkeypatch.setattr("bntheory.bridge.curvature.batch_norm._POSITIONS", 1)
    x, y = torch.randn(6, 2, 6, 6, dtype=torch.float64), torch.randint(3, (6,))
    plain = _Meaning(kind, plainly=True).double()
    weights = list(plain.parameters())
    slopes = torch.autograd.grad(functional.cross_entropy(plain(x), y), weights, create_graph=True)
    direction = [torch.randn_like(p) for p in weights]
    right = torch.autograd.grad(slopes, weights, direction)
    around = _Halving() if kind == "a context around it" else contextlib.nullcontext()
    with around, hessian(_Meaning(kind, plainly=False), functional.cross_entropy, (x, y), dtype=torch.float64) as op:
        found = op.apply(torch.cat([v.reshape(-1) for v in direction]))
    torch.testing.assert_close(found, torch.cat([r.reshape(-1) for r in right]), rtol=1e-10, atol=1e-13)


def test_a_derivative_taken_past_torchs_functions_is_seen() -> None:
    """The loss contains a gradient that the engine was asked for directly; right is that of sums over patches and written-out statistics."""
    torch.manual_seed(0)
    first, norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
    net = nn.Sequential(first, norm, nn.Flatten(), nn.Linear(48, 2))
    x, targets = torch.randn(4, 2, 6, 6, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)

    def asked(points: Tensor, y: Tensor) -> Tensor:
        engine = torch.autograd.Variable._execution_engine
        given = ((torch.sin(y).sum(),), (torch.ones((), dtype=y.dtype),), True, True, (points,))
        return engine.run_backward(*given, allow_unreachable=True, accumulate_grad=False)[0]

    def penalised(model: nn.Module) -> Tensor:
        points = x.clone().requires_grad_()
        slope = asked(points, norm(first(points)))
        return (model(x) - targets).square().mean() + slope.square().mean()

    def written(points: Tensor) -> Tensor:
        y = by_patches(points, first.weight, first.bias, 1, 0, 1)
        centred = y - y.mean((0, 2, 3), keepdim=True)
        scale = (centred.square().mean((0, 2, 3), keepdim=True) + norm.eps).sqrt()
        return centred / scale * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)

    with hessian(net, penalised, dtype=torch.float64) as op:
        found = op.dense()
    weights = list(net.double().parameters())
    points = x.clone().requires_grad_()
    z = written(points)
    (slope,) = torch.autograd.grad(torch.sin(z).sum(), points, create_graph=True)
    value = (net[3](z.flatten(1)) - targets).square().mean() + slope.square().mean()
    slopes = torch.autograd.grad(value, weights, create_graph=True)
    rows = [
        torch.autograd.grad(s, weights, retain_graph=True, materialize_grads=True)
        for s in torch.cat([g.reshape(-1) for g in slopes])
    ]
    right = torch.stack([torch.cat([t.reshape(-1) for t in row]) for row in rows]).numpy()
    assert abs(found - right).max() < 1e-11 * abs(right).max()


def test_derivatives_beyond_the_second_are_those_of_patches() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 2, 6, 6, dtype=torch.float64)
    w, b = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((4, 2, 3, 3), (4,)))
    found = []
    for ours in (True, False):
        with ClosedForms(every=True):
            y = functional.conv2d(x, w, b, 2, 1) if ours else by_patches(x, w, b, 2, 1, 1)
        value = torch.sin(y).square().sum()
        for _ in range(3):
            gradients = torch.autograd.grad(value, (w, b), create_graph=True)
            value = sum((torch.sin(g).sum() for g in gradients), torch.zeros(()))
        found.append(gradients)
    for a, e in zip(*found, strict=True):
        assert float((a - e).detach().abs().max()) < 1e-11 * float(e.detach().abs().max())

"""Networks, losses and batches that are made in unusual ways: the Hessian, its twin's and the layers' gradients are right in each.

Right values come from ``network_oracle`` (primitive operations, double backward in float64, nothing of the bridge).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from bntheory.bridge import capture, state_fingerprint
from bntheory.bridge.curvature import hessian, top_eigenvalues

CE = F.cross_entropy
DRAW = torch.Generator().manual_seed(3)
X, Y = torch.randn(12, 4, generator=DRAW), torch.arange(12) % 3
IMAGES, LABELS = torch.randn(6, 2, 4, 4, generator=DRAW), torch.arange(6) % 3


def mlp(norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), norm, nn.Tanh(), nn.Linear(5, 3))


def convolutional() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3))


class By(nn.Module):
    """A perceptron's parts, put together by a function."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)
        self.by = forward

    def forward(self, x: Tensor) -> Any:
        return self.by(self, x)


def two_sizes(net: By, x: Tensor) -> Tensor:
    h = net.first(x)
    return net.last(torch.tanh(torch.cat([net.norm(h), net.norm(2 * h[:5])])))


def two_outputs(net: By, x: Tensor) -> dict[str, Tensor]:
    h = net.norm(net.first(x))
    return {"logits": net.last(torch.tanh(h)), "hidden": h}


def consults_the_mode(net: By, x: Tensor) -> Tensor:
    h = net.first(x)
    return net.last(torch.tanh(net.norm(h) if net.training else 7 * h))


def of_complex(net: By, x: Tensor) -> Tensor:
    return net.last(torch.tanh(net.norm(net.first(torch.view_as_real(x.to(torch.complex128)).flatten(1)))))


def in_place_behind(net: By, x: Tensor) -> Tensor:
    return net.last(F.leaky_relu(net.norm(net.first(x)), 0.2, inplace=True))


class Square(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return w.square() + 0.1


def parametrised() -> nn.Module:
    model = mlp(nn.BatchNorm1d(5))
    for name in ("weight", "bias"):
        parametrize.register_parametrization(model[1], name, Square())
    return model


def lazy() -> nn.Module:
    model = nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(3))
    model(X)
    return model


class Extended(nn.Module):
    """A parameter without entries, and a layer norm over one entry, of which its beta is left."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.none, self.single = mlp(nn.BatchNorm1d(5)), nn.Parameter(torch.zeros(0, 3)), nn.LayerNorm(1)
        nn.init.constant_(self.single.bias, 0.7)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x * self.single(x[:, :1])) + self.none.sum()


def with_constant_feature() -> nn.Module:
    model = mlp(nn.BatchNorm1d(5))
    with torch.no_grad():
        model[0].weight[2] = 0
    return model


def with_gamma_zero() -> nn.Module:
    model = mlp(nn.BatchNorm1d(5))
    nn.init.zeros_(model[1].weight)
    return model


def some_frozen() -> nn.Module:
    model = mlp(nn.BatchNorm1d(5))
    model[1].requires_grad_(False)
    model[3].bias.requires_grad_(False)
    return model


def counting() -> Any:
    seen: list[float] = []

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        seen.append(float(outputs.detach().mean()))
        return CE(outputs, labels)

    return loss


class Centres(nn.Module):
    """A loss that moves centres of the classes along, in its own precision and in place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(3, 3))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        loss = CE(outputs, labels) + 0.1 * (outputs - self.centres[labels]).square().mean()
        with torch.no_grad():
            self.centres.lerp_(torch.stack([outputs[labels == k].mean(0) for k in range(3)]), 0.5)
        return loss


HOLES = torch.where(torch.arange(12) % 5 == 2, -100, Y)
SUMMED = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5]), ignore_index=-100, reduction="sum", label_smoothing=0.1)  # fmt: skip

CASES: dict[str, tuple[Callable[[], nn.Module], Any, Any]] = {
    "one layer on batches of two sizes": (lambda: By(two_sizes), lambda o, y: CE(o, torch.cat([y, y[:5]])), (X, Y)),
    "several outputs, and a loss of them": (
        lambda: By(two_outputs), lambda o, y: CE(o["logits"], y) + 0.3 * o["hidden"].pow(4).mean(), (X, Y),
    ),
    "a forward pass that asks for its mode": (lambda: By(consults_the_mode), CE, (X, Y)),
    "complex inputs": (lambda: By(of_complex), CE, (torch.complex(X[:, :2], X[:, 2:]), Y)),
    "an activation in place": (lambda: By(in_place_behind), CE, (X, Y)),
    "no momentum": (lambda: mlp(nn.BatchNorm1d(5, momentum=None)), CE, (X, Y)),
    "neither parameters nor running statistics": (
        lambda: mlp(nn.BatchNorm1d(5, affine=False, track_running_stats=False)), CE, (X, Y),
    ),
    "gamma and beta parametrised": (parametrised, CE, (X, Y)),
    "lazy layers that have their values": (lazy, CE, (X, Y)),
    "a constant feature": (with_constant_feature, CE, (X, Y)),
    "gamma zero": (with_gamma_zero, CE, (X, Y)),
    "some parameters without gradients": (some_frozen, CE, (X, Y)),
    "a weighted sum with labels left out": (lambda: mlp(nn.BatchNorm1d(5)), SUMMED, (X, HOLES)),
    "a loss that keeps a record": (lambda: mlp(nn.BatchNorm1d(5)), counting(), (X, Y)),
    "a loss with a memory": (lambda: mlp(nn.BatchNorm1d(5)), Centres(), (X, Y)),
    "channels last": (
        lambda: convolutional().to(memory_format=torch.channels_last), CE,
        (IMAGES.to(memory_format=torch.channels_last), LABELS),
    ),
    "inputs with strides": (convolutional, CE, (IMAGES.repeat(1, 1, 2, 2)[:, :, ::2, 1::2].flip(2), LABELS)),
    "one example, many positions": (convolutional, CE, (IMAGES[:1], LABELS[:1])),
    "nothing, and one entry": (Extended, CE, (X, Y)),
    "inputs of 1e-20": (lambda: mlp(nn.BatchNorm1d(5)), CE, (1e-20 * X, Y)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_unusual_networks_are_measured_right(name: str) -> None:
    make, loss, batch = CASES[name]

    def made() -> nn.Module:
        torch.manual_seed(1)
        return make()

    for frozen in (False, True):
        model = made()
        before = state_fingerprint(model)
        double = SUMMED.__class__(SUMMED.weight.double(), ignore_index=-100, reduction="sum", label_smoothing=0.1)
        right = double if loss is SUMMED else Centres().double() if isinstance(loss, Centres) else loss
        value, _, matrix = oracle.derivatives(made(), right, batch, frozen=frozen)
        mode = "frozen" if frozen else "train"
        with hessian(model, loss, batch, mode=mode, dtype=torch.float64) as op:
            np.testing.assert_allclose(op.dense(), matrix, atol=1e-9 * float(matrix.abs().max()))
            assert op.loss == pytest.approx(value, rel=1e-12)
        assert state_fingerprint(model) == before
    layers = capture(made(), loss, batch, dtype=torch.float64)
    assert len(layers) == (2 if "two sizes" in name else 1)
    assert all(bool(layer.gradient_residual().passed.all()) for layer in layers)
    assert all(bool(layer.hessian_residual().passed.all()) for layer in layers)


def test_a_mean_far_beyond_the_deviation_is_measured_in_float64() -> None:
    torch.manual_seed(1)
    model, batch = mlp(nn.BatchNorm1d(5)), (0.01 * X + 10, Y)
    expected = oracle.top(oracle.derivatives(model, CE, batch)[2])
    with pytest.raises(ValueError, match=r"not symmetric.*dtype=torch\.float64"):
        top_eigenvalues(hessian(model, CE, batch))
    assert top_eigenvalues(hessian(model, CE, batch, dtype=torch.float64)).top == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_loss_that_calls_the_model_again(frozen: bool) -> None:
    """Consistency under a change of the input: the second call has statistics of its own."""

    def loss_of(model: nn.Module) -> Any:
        return lambda o, x, y: CE(o, y) + F.mse_loss(o, model(2 * x + 1 - x.roll(1, 0)))

    torch.manual_seed(1)
    model = mlp(nn.BatchNorm1d(5))
    double = oracle.plain(model)
    names = list(double.parameters())
    with oracle.written_out(frozen):
        value = loss_of(double)(double(X.double()), X.double(), Y)
        slopes = torch.autograd.grad(value, names, create_graph=True)
        rows = [torch.autograd.grad(e, names, retain_graph=True) for e in torch.cat([g.reshape(-1) for g in slopes])]
    matrix = torch.stack([torch.cat([r.reshape(-1) for r in row]) for row in rows])
    for dtype, digits in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        with hessian(model, loss_of(model), (X, X, Y), mode="frozen" if frozen else "train", dtype=dtype) as op:
            np.testing.assert_allclose(op.dense(), matrix, atol=digits * float(matrix.abs().max()))
            assert op.loss == pytest.approx(float(value.detach()), rel=digits)


def test_a_variance_beyond_float32_is_refused_there_and_right_in_float64() -> None:
    torch.manual_seed(1)
    model = mlp(nn.BatchNorm1d(5))
    with pytest.raises(ValueError, match=r"layer '1' receives pre-activations.*overflow.*dtype=torch\.float64"):
        hessian(model, CE, (1e20 * X, Y))
    value, _, _ = oracle.derivatives(model, CE, (1e20 * X, Y))
    assert capture(model, CE, (1e20 * X, Y), dtype=torch.float64).loss == pytest.approx(value, rel=1e-12)


class Spectral(nn.Module):
    """Weights of a layer in the frequency domain, read as complex numbers behind a parameter of an odd number of entries; or in real
    arithmetic, by sums of cosines and sines."""

    def __init__(self, plainly: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shift, self.weight = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3, 2, 3, 2))
        self.last, self.plainly = nn.Linear(3, 3), plainly

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(2)[..., :6]
        if self.plainly:
            phase = 2 * torch.pi * torch.outer(torch.arange(3), torch.arange(6)).to(h) / 6
            real, imaginary = h @ phase.cos().T, -h @ phase.sin().T
            a, b = self.weight.unbind(-1)
            re = torch.einsum("nik,oik->nok", real, a) - torch.einsum("nik,oik->nok", imaginary, b)
            im = torch.einsum("nik,oik->nok", real, b) + torch.einsum("nik,oik->nok", imaginary, a)
            share = h.new_tensor([1.0, 2.0, 2.0])[:, None] / 6
            back = re @ (share * phase.cos()) - im @ (share * phase.sin())
        else:
            product = torch.einsum("nik,oik->nok", torch.fft.rfft(h)[..., :3], torch.view_as_complex(self.weight))
            back = torch.fft.irfft(product, n=6)
        return self.last(torch.tanh(back + self.shift[:, None]).mean(2))


class Hard(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x + 3) / 6


def with_a_bias_alone(norm: nn.Module) -> nn.Module:
    norm.register_parameter("weight", None)
    return nn.Sequential(nn.Conv2d(2, 4, 3), norm, nn.Softplus(), nn.Flatten(), nn.Linear(16, 3))


def gated(gate: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Hardswish(), gate, nn.Flatten(), nn.Linear(16, 3))


WITHOUT_A_SECOND_DERIVATIVE_IN_TORCH: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "complex weights at an odd place": (lambda: Spectral(False), lambda: Spectral(True)),
    "a hard gate": (lambda: gated(nn.Hardsigmoid()), lambda: gated(Hard())),
    "a hard gate in place": (lambda: gated(nn.Hardsigmoid(inplace=True)), lambda: gated(Hard())),
    **{
        f"a bias alone, {name}": (lambda make=make: with_a_bias_alone(make()),) * 2
        for name, make in {
            "batch": lambda: nn.BatchNorm2d(4), "instance": lambda: nn.InstanceNorm2d(4, affine=True),
            "layer": lambda: nn.LayerNorm((2, 2)), "group": lambda: nn.GroupNorm(2, 4),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_A_SECOND_DERIVATIVE_IN_TORCH)
def test_what_torch_cannot_differentiate_twice_as_it_is_called(name: str) -> None:
    make, plainly = WITHOUT_A_SECOND_DERIVATIVE_IN_TORCH[name]
    torch.manual_seed(5)
    model = make()
    other = plainly()
    other.load_state_dict(model.state_dict())
    value, _, matrix = oracle.derivatives(other, CE, (IMAGES, LABELS))
    with hessian(model, CE, (IMAGES, LABELS), dtype=torch.float64) as op:
        assert op.loss == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(op.dense(), matrix.numpy(), atol=1e-12 * float(matrix.abs().max()))

"""Normalisation by primitive operations computes what it should, to any order of derivative.

Oracles: torch's fused layers (other code, values and first derivatives), hand-written numpy for the l_p scales, and
finite differences (``gradcheck``, ``gradgradcheck``) for derivatives, which share nothing with autograd's formulas.
The noise of figure 2 is tested by its distribution, drawn from the definition.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from bntheory.bridge.networks.noise import ActivationNoise, set_noise_step
from bntheory.bridge.networks.normalisation import (
    LpBatchNorm,
    PrimitiveBatchNorm,
    PrimitiveGroupNorm,
    PrimitiveLayerNorm,
)
from bntheory.bridge.networks.primitive import to_primitive

SHAPES = {"1d": (7, 3), "1d sequence": (4, 3, 5), "2d": (4, 3, 5, 2), "3d": (2, 3, 3, 2, 4)}
FUSED = {"1d": nn.BatchNorm1d, "1d sequence": nn.BatchNorm1d, "2d": nn.BatchNorm2d, "3d": nn.BatchNorm3d}
P_VALUES = {"l1": 1.0, "l2": 2.0, "l3": 3.0, "linf": math.inf, "mean-only": 0.0}


def draw(shape: tuple[int, ...], device: str, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return (2.5 * torch.randn(shape, generator=g, dtype=torch.float64) + 0.7).to(device)


def randomise(module: nn.Module, seed: int = 1) -> None:
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64))


# ------------------------------------------------------------------------------------------------ against fused ones


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_equals_the_fused_layer(kind: str, momentum: float | None, affine: bool, device: str) -> None:
    fused = FUSED[kind](3, eps=1e-3, momentum=momentum, affine=affine).double().to(device)
    randomise(fused)
    own = PrimitiveBatchNorm(3, 1e-3, momentum, affine, device=device, dtype=torch.float64)
    own.load_state_dict(fused.state_dict())
    for step in range(3):  # the running statistics of one step enter the next
        x = draw(SHAPES[kind], device, seed=step).requires_grad_()
        a, b = fused(x), own(x)
        weight = draw(SHAPES[kind], device, seed=10 + step)
        wanted = [x, *fused.parameters()], [x, *own.parameters()]
        for u, v in zip(
            torch.autograd.grad((a * weight).sum(), wanted[0]),
            torch.autograd.grad((b * weight).sum(), wanted[1]),
            strict=True,
        ):
            torch.testing.assert_close(u, v, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    for name, value in fused.state_dict().items():
        torch.testing.assert_close(own.state_dict()[name], value, rtol=1e-12, atol=1e-14)
    x = draw(SHAPES[kind], device, seed=9)
    torch.testing.assert_close(own.eval()(x), fused.eval()(x), rtol=1e-12, atol=1e-12)


def test_without_running_statistics_evaluation_uses_the_batch(device: str) -> None:
    x = draw((6, 3), device)
    own = PrimitiveBatchNorm(3, track_running_stats=False, device=device, dtype=torch.float64).eval()
    fused = nn.BatchNorm1d(3, track_running_stats=False).double().to(device).eval()
    torch.testing.assert_close(own(x), fused(x), rtol=1e-12, atol=1e-12)
    assert own.state_dict().keys() == fused.state_dict().keys()


@pytest.mark.parametrize(
    ("shape", "groups"), [((5, 6), 1), ((5, 6), 2), ((2, 6, 3, 4), 1), ((2, 6, 3, 4), 2), ((2, 6, 3, 4), 6)]
)
def test_group_norm_equals_the_fused_layer(shape: tuple[int, ...], groups: int, device: str) -> None:
    fused = nn.GroupNorm(groups, 6, eps=1e-3).double().to(device)
    randomise(fused)
    own = PrimitiveGroupNorm(groups, 6, eps=1e-3, device=device, dtype=torch.float64)
    own.load_state_dict(fused.state_dict())
    x = draw(shape, device)
    torch.testing.assert_close(own(x), fused(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("axes", [(4,), (3, 4)])
def test_layer_norm_equals_the_fused_layer(axes: tuple[int, ...], bias: bool, device: str) -> None:
    fused = nn.LayerNorm(axes, eps=1e-3, bias=bias).double().to(device)
    randomise(fused)
    own = PrimitiveLayerNorm(axes, 1e-3, bias=bias, device=device, dtype=torch.float64)
    own.load_state_dict(fused.state_dict())
    x = draw((5, 3, 4), device)
    torch.testing.assert_close(own(x), fused(x), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------------- l_p scales


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("norm", P_VALUES)
@pytest.mark.parametrize("eps", [0.0, 0.01])
def test_lp_scale_against_numpy(kind: str, norm: str, eps: float, device: str) -> None:
    p = P_VALUES[norm]
    layer = LpBatchNorm(3, eps, p=p, device=device, dtype=torch.float64)
    randomise(layer)
    x = draw(SHAPES[kind], device)
    y = np.moveaxis(x.cpu().numpy(), 1, 0).reshape(3, -1)
    centred = y - y.mean(1, keepdims=True)
    if p == 0:
        scale = np.ones(3)
    elif math.isinf(p):
        scale = np.abs(centred).max(1) + eps
    else:
        scale = (np.mean(np.abs(centred) ** p, axis=1) + eps) ** (1 / p)
    y_hat = centred / scale[:, None]
    if eps == 0 and 0 < p < math.inf:
        assert np.sum(np.abs(y_hat) ** p, axis=1) == pytest.approx([y.shape[1]] * 3, rel=1e-12)
    expected = y_hat * layer.weight.detach().cpu().numpy()[:, None] + layer.bias.detach().cpu().numpy()[:, None]
    result = np.moveaxis(layer(x).detach().cpu().numpy(), 1, 0).reshape(3, -1)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("norm", ["l1", "l2", "l3", "linf"])
def test_lp_is_scale_and_shift_invariant_at_eps_zero(norm: str, device: str) -> None:
    layer = LpBatchNorm(3, 0.0, p=P_VALUES[norm], device=device, dtype=torch.float64)
    x = draw((9, 3), device)
    torch.testing.assert_close(layer(x), layer(8.0 * x - 3.0), rtol=1e-12, atol=1e-12)


def test_raw_scale_reading(device: str) -> None:
    layer = LpBatchNorm(3, 0.0, p=1.0, scale_of="raw", affine=False, device=device, dtype=torch.float64)
    x = draw((9, 3), device)
    expected = (x - x.mean(0)) / x.abs().mean(0)
    torch.testing.assert_close(layer(x), expected, rtol=1e-13, atol=1e-13)


def test_lp_evaluation_mode_uses_running_statistics(device: str) -> None:
    layer = LpBatchNorm(2, 0.0, momentum=1.0, p=1.0, affine=False, device=device, dtype=torch.float64)
    x = draw((50, 2), device)
    trained = layer(x)
    torch.testing.assert_close(layer.eval()(x), trained, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer(x + 5.0), trained + 5.0 / layer.running_var, rtol=1e-11, atol=1e-11)


# ------------------------------------------------------------------------------------------- derivatives of any order


@pytest.mark.parametrize("eps", [0.0, 1e-2])
@pytest.mark.parametrize("norm", ["l1", "l2", "l3", "linf", "mean-only"])
def test_derivatives_against_finite_differences(norm: str, eps: float, device: str) -> None:
    layer = LpBatchNorm(2, eps, p=P_VALUES[norm], device=device, dtype=torch.float64)
    randomise(layer)
    x = draw((5, 2, 2), device).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,))


@pytest.mark.parametrize("eps", [0.0, 1e-2])
def test_third_derivative_against_finite_differences(eps: float, device: str) -> None:
    layer = PrimitiveBatchNorm(2, eps, affine=False, device=device, dtype=torch.float64)
    x, u = draw((4, 2), device), draw((4, 2), device, seed=3)
    weight = draw((4, 2), device, seed=4)

    def second(x: torch.Tensor, create_graph: bool) -> torch.Tensor:
        x = x if x.requires_grad else x.detach().requires_grad_()
        (first,) = torch.autograd.grad((layer(x).pow(3) * weight).sum(), x, create_graph=True)
        (hvp,) = torch.autograd.grad((first * u).sum(), x, create_graph=create_graph)
        return (hvp * u).sum()

    at = x.clone().requires_grad_()
    (third,) = torch.autograd.grad(second(at, True), at)
    h = 1e-4
    difference = (second(x + h * u, False) - second(x - h * u, False)) / (2 * h)
    torch.testing.assert_close((third * u).sum(), difference, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------------------- degenerate input


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (PrimitiveBatchNorm(3), torch.ones(4, 3, dtype=torch.int64), "int64"),
        (PrimitiveBatchNorm(3), torch.ones(4, 2), r"\(4, 2\)"),
        (PrimitiveBatchNorm(3), torch.ones(3), r"\(3,\)"),
        (PrimitiveBatchNorm(3), torch.ones(1, 3), "fewer than 2 values"),
        (PrimitiveBatchNorm(3, eps=0.0), torch.ones(4, 3), "constant"),
        (LpBatchNorm(3, 0.0, p=1.0), torch.ones(4, 3), "constant"),
        (PrimitiveGroupNorm(1, 3, eps=0.0), torch.ones(4, 3), "constant"),
        (PrimitiveLayerNorm(3), torch.ones(4, 2), r"last axes must be \(3,\)"),
        (PrimitiveGroupNorm(1, 3), torch.ones(4, 2), r"\(N, 3"),
    ],
    ids=str,
)
def test_degenerate_input_is_refused(layer: nn.Module, x: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LpBatchNorm(0), "num_features"),
        (lambda: LpBatchNorm(3, eps=-1e-5), "eps"),
        (lambda: LpBatchNorm(3, eps=float("nan")), "eps"),
        (lambda: LpBatchNorm(3, p=0.5), "no norm"),
        (lambda: LpBatchNorm(3, scale_of="other"), "scale_of"),
        (lambda: PrimitiveGroupNorm(2, 3), "does not divide"),
        (lambda: ActivationNoise(0, unit="layer"), "unit"),
        (lambda: ActivationNoise(0, dose=-1.0), "dose"),
    ],
)
def test_bad_arguments_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_mean_only_takes_a_constant_batch(device: str) -> None:
    layer = LpBatchNorm(3, 0.0, p=0.0, device=device)
    assert not layer(torch.ones(4, 3, device=device)).any()


# ------------------------------------------------------------------------------------------------------ to_primitive


class Zoo(nn.Module):
    """Every kind of layer, one of them used twice, one nested in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.batch = nn.BatchNorm2d(4)
        self.shared = nn.ModuleList([self.batch, nn.GroupNorm(2, 4)])
        self.instance = nn.InstanceNorm2d(4, affine=True)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 9, 5), nn.BatchNorm1d(5), nn.LayerNorm(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.batch(self.conv(x)))
        for layer in self.shared:
            x = layer(x)
        return self.head(self.instance(x))


@pytest.fixture
def zoo(device: str) -> nn.Module:
    torch.manual_seed(0)
    model = Zoo().double().to(device)
    randomise(model)
    return model


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_to_primitive_is_the_same_function(zoo: nn.Module, mode: str, device: str) -> None:
    x = draw((6, 2, 3, 3), device)
    zoo(x)
    zoo.train(mode == "train")
    before = copy.deepcopy(zoo.state_dict())
    twin = to_primitive(zoo)
    fused = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)
    assert not [m for m in twin.modules() if isinstance(m, fused)]
    assert twin.shared[0] is twin.batch
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in zoo.named_parameters()]
    assert list(twin.state_dict()) == list(zoo.state_dict())
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in zoo.parameters()}
    a, b = zoo(x), twin(x)
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    weight = draw(a.shape, device, seed=5)
    for u, v in zip(
        torch.autograd.grad((a * weight).sum(), list(zoo.parameters()), allow_unused=True),
        torch.autograd.grad((b * weight).sum(), list(twin.parameters()), allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(u, v, rtol=1e-8, atol=1e-8)
    if mode == "eval":
        assert all(torch.equal(before[n], v) for n, v in zoo.state_dict().items())
    for name, value in zoo.state_dict().items():
        torch.testing.assert_close(twin.state_dict()[name], value, rtol=1e-11, atol=1e-11)


def test_to_primitive_of_a_bare_layer_and_hooks(device: str) -> None:
    layer = nn.BatchNorm1d(3, affine=False).to(device)
    fired = []
    layer.register_forward_hook(lambda *a: fired.append(1))
    twin = to_primitive(layer)
    twin(torch.randn(4, 3, device=device))
    assert isinstance(twin, PrimitiveBatchNorm)
    assert fired == [1]


class OwnForward(nn.BatchNorm1d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (OwnForward(3), "0: .*OwnForward has a forward of its own"),
        (nn.InstanceNorm1d(3, track_running_stats=True), "InstanceNorm with running statistics"),
    ],
)
def test_to_primitive_refuses_the_unknown(layer: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_primitive(nn.Sequential(layer))


# ------------------------------------------------------------------------------------------------------------- noise


def test_noise_has_the_distribution_of_figure_2(device: str) -> None:
    units, n = 2000, 400
    noise = ActivationNoise(3)
    zero, one = torch.zeros(n, units, device=device), torch.ones(n, units, device=device)
    shift = noise(zero).double().cpu()
    factor = noise(one).double().cpu() - shift
    mu, s = shift.mean(0), factor.mean(0)
    # U(mu - 0.1, mu + 0.1) has deviation 0.1/sqrt(3); the bounds are six standard errors
    assert float((shift - mu).std()) == pytest.approx(0.1 / math.sqrt(3), rel=0.01)
    assert float((shift - mu).abs().max()) < 0.1 + 6 * 0.058 / math.sqrt(n)
    assert float((factor - s).std()) == pytest.approx(0.1, rel=0.01)
    assert float(((factor - s) / 0.1).pow(4).mean()) == pytest.approx(3, rel=0.03)  # Gaussian
    for values, low, high in ((mu, -0.5, 0.5), (s, 1.0, 1.25)):
        assert float(values.mean()) == pytest.approx((low + high) / 2, abs=6 * (high - low) / math.sqrt(12 * units))
        assert float(values.std()) == pytest.approx((high - low) / math.sqrt(12), rel=0.08)
        assert float(values.min()) > low - 0.04
        assert float(values.max()) < high + 0.04


@pytest.mark.parametrize("dose", [0.0, 0.5, 1.0, 2.0])
def test_the_dose_scales_what_the_noise_does(dose: float, device: str) -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(2)).to(device)
    done = ActivationNoise(3, dose=dose)(x) - x
    torch.testing.assert_close(done, dose * (ActivationNoise(3)(x) - x), rtol=1e-5, atol=1e-6)


def test_noise_is_a_function_of_seed_and_step(device: str) -> None:
    x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)).to(device)
    model = nn.Sequential(ActivationNoise(1), ActivationNoise(2, unit="activation"))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = model(x)
    assert torch.equal(model(x), first)
    assert torch.equal(torch.get_rng_state(), state)
    set_noise_step(model, 1)
    other = model(x)
    assert not torch.equal(other, first)
    set_noise_step(model, 0)
    assert torch.equal(model(x), first)
    assert torch.equal(model.eval()(x), x)


@pytest.mark.parametrize(("unit", "shared"), [("channel", True), ("activation", False)])
def test_noise_units(unit: str, shared: bool, device: str) -> None:
    out = ActivationNoise(0, unit=unit)(torch.zeros(3, 2, 4, 4, device=device))
    assert bool((out == out[:, :, :1, :1]).all()) is shared

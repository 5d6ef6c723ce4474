"""A reparametrised network is one: what enters each batch norm is scaled, and what comes out is the same, in training and in evaluation.

Oracle: the model and the copy run side by side, with hooks on their batch norms.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from bntheory.bridge.networks.reparametrised import reparametrised
from bntheory.bridge.networks.state import state_fingerprint

pytestmark = [
    pytest.mark.usefixtures("deterministic"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning"),
]


def images(dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    return torch.randn(8, 6, 5, 5, generator=torch.Generator().manual_seed(1)).to(device, dtype)


def watched(model: nn.Module, x: Tensor, training: bool) -> tuple[list[Tensor], Tensor]:
    """What enters the batch norms of the model, and its outputs."""
    entered: list[Tensor] = []
    model.train(training)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    handles = [m.register_forward_pre_hook(lambda _, a: entered.append(a[0].detach().clone())) for m in norms]
    with torch.no_grad():
        outputs = model(x)
    for handle in handles:
        handle.remove()
    return entered, outputs


class Tied(nn.Module):
    """One weight in two layers, each before a batch norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(6, 6, 1, bias=False), nn.Conv2d(6, 6, 1)
        self.b.weight = self.a.weight
        self.m, self.n = nn.BatchNorm2d(6), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.n(self.b(self.m(self.a(x)).relu()))


class SharedNorm(nn.Module):
    """One batch norm that two layers feed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(6, 5, 3), nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.a(x)) + 2 * self.norm(self.b(x)).relu()


def before_a_norm(layer: nn.Module, features: int = 5) -> nn.Module:
    return nn.Sequential(layer, nn.BatchNorm2d(features), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))


MADE: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "plain": (lambda: before_a_norm(nn.Conv2d(6, 5, 3)), ["0.weight", "0.bias"]),
    "transposed": (lambda: before_a_norm(nn.ConvTranspose2d(6, 5, 3)), ["0.weight", "0.bias"]),
    "weight norm": (
        lambda: before_a_norm(parametrizations.weight_norm(nn.Conv2d(6, 5, 3))),
        ["0.bias", "0.parametrizations.weight.original0"],
    ),
    "older weight norm": (
        lambda: before_a_norm(nn.utils.weight_norm(nn.Conv2d(6, 5, 3, bias=False))),
        ["0.weight_g"],
    ),
    "pruned": (lambda: before_a_norm(prune.l1_unstructured(nn.Conv2d(6, 5, 3), "weight", 0.5)), ["0.bias", "0.weight_orig"]),
    "tied": (Tied, ["a.weight", "b.bias"]),
    "shared norm": (SharedNorm, ["a.weight", "a.bias", "b.weight", "b.bias"]),
}  # fmt: skip


@pytest.mark.parametrize("factor", [2.0, 0.25, 3.0])
@pytest.mark.parametrize("kind", MADE)
def test_what_enters_each_batch_norm_is_scaled_and_nothing_else_changes(kind: str, factor: float, device: str) -> None:
    torch.manual_seed(0)
    make, expected = MADE[kind]
    model, x = make().to(device), images(device=device)
    with torch.no_grad():
        model(x)  # moves the running statistics, and fills the last layer
    other = reparametrised(model, x, factor)
    ones = dict(other.named_parameters())
    scaled = [name for name, p in model.named_parameters() if not torch.equal(ones[name], p)]
    assert scaled == expected
    for name in scaled:
        torch.testing.assert_close(ones[name], factor * model.get_parameter(name), rtol=1e-6, atol=0)
    for training in (False, True):  # training moves the running statistics
        before, out = watched(model, x, training)
        after, same = watched(other, x, training)
        assert len(before) == len(after) > 0
        exact = factor != 3.0
        for a, b in zip(before, after, strict=True):
            torch.testing.assert_close(b, factor * a, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-5)
        torch.testing.assert_close(same, out, rtol=0 if exact else 1e-4, atol=0 if exact else 1e-4)


@pytest.mark.parametrize("factor", [2.0, 8.0])
@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (lambda: nn.utils.spectral_norm(nn.Conv2d(6, 5, 3, bias=False)), "SpectralNorm"),
        (lambda: parametrizations.spectral_norm(nn.Conv2d(6, 5, 3)), "_SpectralNorm"),
        (lambda: parametrizations.orthogonal(nn.Conv2d(6, 5, 3)), "_Orthogonal"),
    ],
    ids=["older spectral norm", "spectral norm", "orthogonal"],
)
def test_a_weight_that_no_tensor_scales_is_refused_by_name(
    layer: Callable[[], nn.Module], kind: str, factor: float, device: str
) -> None:
    torch.manual_seed(0)
    model, x = before_a_norm(layer()).to(device), images(device=device)
    with torch.no_grad():
        model(x)
    before = state_fingerprint(model)
    with pytest.raises(ValueError, match=rf"^0: its weight or bias is computed \({kind}\).*remove_parametrizations"):
        reparametrised(model, x, factor)
    assert state_fingerprint(model) == before
    # the way out that the message gives
    plain = copy.deepcopy(model)
    if parametrize.is_parametrized(plain[0]):
        parametrize.remove_parametrizations(plain[0], "weight")
    else:
        nn.utils.remove_spectral_norm(plain[0])
    torch.testing.assert_close(reparametrised(plain, x, factor)(x), plain(x))


class Skip(nn.Module):
    """A part of what enters the batch norm goes around it, as the layer scale of a residual network begins."""

    def __init__(self, leak: float) -> None:
        super().__init__()
        self.layer, self.norm, self.scale = nn.Conv2d(6, 5, 3), nn.BatchNorm2d(5), nn.Parameter(torch.tensor(leak))

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return self.norm(y) + self.scale * y


class EvaluationOnly(Skip):
    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return self.norm(y) if self.training else self.norm(y) + self.scale * y


class HalfScaled(nn.Module):
    """The batch norm is fed by a layer, and by the data as well."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x)) + self.norm(x)


@pytest.mark.parametrize("factor", [0.01, 2.0, 16.0])
@pytest.mark.parametrize(("leak", "dtype"), [(1e-5, torch.float32), (0.02, torch.bfloat16), (1e-12, torch.float64)])
def test_a_small_leak_is_refused(leak: float, dtype: torch.dtype, factor: float, device: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"changed the output in training mode.*feeds something besides"):
        reparametrised(Skip(leak).to(device, dtype), images(dtype, device), factor)
    reparametrised(Skip(0.0).to(device, dtype), images(dtype, device), factor)


def test_what_leaks_in_evaluation_or_enters_unscaled_is_refused(device: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="changed the output in evaluation mode"):
        reparametrised(EvaluationOnly(0.1).to(device), images(device=device), 2.0)
    with pytest.raises(ValueError, match=r"^norm: with the weights of layer multiplied by.*not 1024 times what it was"):
        reparametrised(HalfScaled().to(device), images(device=device), 2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("factor", [2.0, 0.3, 100.0])
def test_rounding_that_depth_magnifies_is_no_leak(factor: float, dtype: torch.dtype, device: str) -> None:
    torch.manual_seed(0)
    parts = [layer for _ in range(8) for layer in (nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())]
    model, x = nn.Sequential(*parts).to(device, dtype), torch.randn(16, 16).to(device, dtype)
    other = reparametrised(model, x, factor)
    for number in range(0, len(parts), 3):
        torch.testing.assert_close(other[number].weight, model[number].weight * factor, rtol=0, atol=0)


def test_a_factor_beyond_the_range_of_the_dtype_is_refused(device: str) -> None:
    model = before_a_norm(nn.Conv2d(6, 5, 3)).to(device)
    model(images(device=device))
    for factor in (1e30, 1e200, 1e-30):
        with pytest.raises(ValueError, match=r"out of the range of torch\.float32"):
            reparametrised(model, images(device=device), factor)

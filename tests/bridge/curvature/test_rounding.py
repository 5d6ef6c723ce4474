"""The error bar of a float32 eigenvalue, rounding included: against the same eigenvalue measured in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge.curvature import Spectrum, hessian, spectral_density, top_eigenvalues, trace
from bntheory.bridge.curvature.rounding import Jitter

EPS = float(torch.finfo(torch.float32).eps)


def deep(examples: int, seed: int, depth: int = 6) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """Normalised layers on few examples magnify rounding."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for index in range(depth):
        layers += [nn.Linear(20 if index == 0 else 32, 32), nn.BatchNorm1d(32), nn.Tanh()]
    net = nn.Sequential(*layers, nn.Linear(32, 5))
    return net, (torch.randn(examples, 20), torch.randint(5, (examples,)))


def residual(examples: int, seed: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(seed)

    class Block(nn.Module):
        def __init__(self, before: int, after: int) -> None:
            super().__init__()
            self.main = nn.Sequential(
                nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
                nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
            )  # fmt: skip
            self.short = nn.Sequential(nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after))

        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(self.main(x) + self.short(x))

    net = nn.Sequential(
        Block(3, 8), Block(8, 16), Block(16, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)
    )
    return net, (torch.randn(examples, 3, 16, 16), torch.randint(5, (examples,)))


def measured(case: tuple[nn.Module, tuple[Tensor, Tensor]], which: str = "LA") -> tuple[Spectrum, np.ndarray]:
    net, batch = case
    with hessian(net, functional.cross_entropy, batch) as op:
        found = top_eigenvalues(op, 1, which, tol=1e-6)
    with hessian(net, functional.cross_entropy, batch, dtype=torch.float64) as op:
        return found, top_eigenvalues(op, 1, which, tol=1e-11).values


@pytest.mark.long
@pytest.mark.parametrize("make", [deep, residual])
@pytest.mark.parametrize("examples", [4, 16])
def test_a_float32_value_lies_within_its_error_of_the_float64_value(make, examples: int) -> None:
    exceeds = 0
    for seed in range(4):
        found, truth = measured(make(examples, seed), "both" if seed % 2 else "LA")
        gap = np.abs(found.values - truth)
        assert np.all(gap <= found.errors), seed
        assert np.all(found.errors <= 1e-2 * np.abs(truth).max())
        assert not found.accurate
        assert "float64" in found.note
        exceeds += bool(np.any(gap > 8 * EPS * np.abs(truth).max() + found.errors - found.rounding))
    if make is deep and examples == 4:
        assert exceeds  # the dtype alone, without what the layers make of it, would not have covered this


@pytest.mark.long
def test_rounding_is_measured_once_and_only_where_it_matters() -> None:
    net, batch = deep(16, 0)
    with hessian(net, functional.cross_entropy, batch) as op:
        coarse = top_eigenvalues(op, tol=1e-3)
        assert coarse.accurate
        assert op._rounding is None
        before = op.products
        fine = top_eigenvalues(op, tol=1e-6)
        known = op._rounding
        assert known is not None
        assert fine.rounding[0] < coarse.rounding[0]
        top_eigenvalues(op, tol=1e-6, seed=1)
        assert op._rounding == known
        assert op.products > before
    with hessian(net, functional.cross_entropy, batch, dtype=torch.float64) as op:
        assert top_eigenvalues(op, tol=1e-9).accurate
        assert op._rounding is None


def test_jitter_moves_what_a_network_computes_by_about_one_rounding_and_nothing_else() -> None:
    net, (x, _) = deep(16, 0, depth=1)
    plain = net(x)
    before = torch.get_rng_state()
    with Jitter():
        moved = net(x)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(net(x), plain)
    change = float(((moved - plain).norm() / plain.norm()).detach())
    assert 0.1 * EPS < change < 30 * EPS


class Crooked(torch.autograd.Function):
    """A derivative that belongs to no function: its own derivative is not symmetric."""

    @staticmethod
    def forward(ctx: Any, w: Tensor) -> Tensor:
        ctx.save_for_backward(w)
        return w.square()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (w,) = ctx.saved_tensors
        return g * (2 * w + w.square().cumsum(1))


class Constant(nn.Module):
    """All logits are the same, so that the loss is log 3 whatever the weights are; beside it a small term whose derivative is wrong."""

    def __init__(self, share: float) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1))
        self.share = share

    def forward(self, x: Tensor) -> Any:
        beside = self.share * Crooked.apply(self.net[0].weight).sum() if self.share else 0.0
        return self.net(x) @ torch.ones(1, 3), beside


def constant(outputs: Any, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs[0], y) + outputs[1]


DOORS: dict[str, Callable[[Any], Any]] = {
    "eigenvalues": lambda op: top_eigenvalues(op, 2),
    "trace": lambda op: trace(op, samples=8),
    "density": lambda op: spectral_density(op, probes=2, steps=5),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_matrix_of_zero_is_not_called_asymmetric_and_its_values_are_told_as_rounding(dtype: Any, door: str) -> None:
    torch.manual_seed(0)
    batch = torch.randn(16, 6), torch.arange(16) % 3
    model = Constant(0.0).double()
    held = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def value(flat: Tensor) -> Tensor:
        pieces = flat.split([p.numel() for p in model.parameters()])
        given = {n: v.reshape(p.shape) for (n, p), v in zip(model.named_parameters(), pieces, strict=True)}
        h = torch.tanh(
            nn.functional.batch_norm(
                batch[0].double() @ given["net.0.weight"].T + given["net.0.bias"],
                None,
                None,
                given["net.1.weight"],
                given["net.1.bias"],
                True,
            )
        )
        logits = (h @ given["net.3.weight"].T + given["net.3.bias"]).expand(-1, 3)
        return (logits.exp().sum(1).log() - logits[:, 0]).mean()

    assert float(torch.autograd.functional.hessian(value, held).abs().max()) < 1e-13
    for mode in ("train", "frozen"):
        with hessian(Constant(0.0), constant, batch, dtype=dtype, mode=mode) as op:
            found = DOORS[door](op)
            assert found.symmetry_defect > op.symmetry_tolerance()
            if door == "eigenvalues":
                assert (np.abs(found.values) <= found.errors).all()
                assert not found.accurate


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("share", [1.0, 1e-4, 1e-8, 1e-12])
def test_a_small_matrix_that_is_not_symmetric_is_refused(share: float, door: str) -> None:
    torch.manual_seed(0)
    batch = torch.randn(16, 6), torch.arange(16) % 3
    with (
        hessian(Constant(share), constant, batch, dtype=torch.float64) as op,
        pytest.raises(ValueError, match="not symmetric"),
    ):
        DOORS[door](op)

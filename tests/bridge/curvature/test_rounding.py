"""The error bar of a float32 eigenvalue, rounding included: against the same eigenvalue measured in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge.curvature import Spectrum, hessian, top_eigenvalues
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

"""Gradients and curvatures whose squares leave the range of their dtype: what is measured does not depend on the loss's scale.

The oracles: the same with the loss as it is, which scaling changes by exactly that power of two; and numpy's eigenvalues.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge import along_gradient, covariate_shift, probe
from bntheory.bridge.curvature import FunctionOperator, spectral_density, top_eigenvalues, trace
from bntheory.bridge.curvature.accumulation import norm
from bntheory.bridge.ranges import in_range, length, lengths, root_of_squares

FAR = [-1000, -565, -535, -520, -470, 500, 560, 900]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 6, generator=generator), torch.randint(3, (12,), generator=generator)


def scaled(exponent: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda outputs, targets: functional.cross_entropy(outputs, targets) * 2.0**exponent


def matrix(size: int) -> np.ndarray:
    drawn = np.random.default_rng(3).normal(size=(size, size))
    return drawn + drawn.T


@pytest.mark.parametrize("exponent", FAR)
@pytest.mark.parametrize("size", [1, 12])
def test_eigenvalues_far_from_one(exponent: int, size: int) -> None:
    a = matrix(size)
    values = np.linalg.eigvalsh(a)
    op = FunctionOperator.of_matrix(np.ldexp(a, exponent))
    seen: list[float] = []
    found = top_eigenvalues(op, 1, "both" if size > 1 else "LA", tol=1e-9, callback=lambda n, v: seen.append(v[0]))
    here = np.ldexp(found.values, -exponent)
    errors = np.ldexp(found.errors, -exponent)
    wanted = np.array([values[-1], values[0]])[: len(here)]
    assert np.all(np.abs(here - wanted) <= errors)
    assert np.all(errors <= 1e-6 * np.abs(values).max())
    assert found.converged
    assert found.products == op.products
    assert seen[-1] == found.values[0]


@pytest.mark.parametrize("exponent", FAR)
def test_trace_and_density_far_from_one(exponent: int) -> None:
    a = matrix(12)
    near, far = FunctionOperator.of_matrix(a), FunctionOperator.of_matrix(np.ldexp(a, exponent))
    for method, samples in (("hutchinson", 40), ("hutch++", 30)):
        one, two = trace(near, samples, method=method), trace(far, samples, method=method)
        assert np.ldexp(two.value, -exponent) == pytest.approx(one.value, rel=1e-9)
        assert np.ldexp(two.error, -exponent) == pytest.approx(one.error, rel=1e-6)
    density, other = (spectral_density(op, steps=6, probes=4) for op in (near, far))
    assert np.ldexp(other.nodes, -exponent) == pytest.approx(density.nodes, rel=1e-9)
    assert other.weights == pytest.approx(density.weights, rel=1e-6)
    assert np.ldexp(other.trace(), -exponent) == pytest.approx(density.trace(), rel=1e-9)


def test_an_operator_in_range_is_not_scaled() -> None:
    a = matrix(12)
    near, far = (top_eigenvalues(FunctionOperator.of_matrix(np.ldexp(a, k)), 2) for k in (0, -300))
    assert np.array_equal(np.ldexp(far.values, 300), near.values)
    assert far.products == near.products


@pytest.mark.long
@pytest.mark.parametrize("exponent", [-565, -525, 540])
def test_a_probe_in_float64_does_not_depend_on_the_scale(exponent: int) -> None:
    one, two = (probe(network(), scaled(k), batch()) for k in (0, exponent))
    assert dict(two.network.missing) == {}
    for name in ("gradient_norm", "lambda_max"):
        assert np.ldexp(getattr(two.network, name), -exponent) == pytest.approx(getattr(one.network, name), rel=1e-5)
    for name in ("relative_curvature", "linearity_error", "trust_fraction", "gradient_cosine"):
        assert getattr(two.network, name) == pytest.approx(getattr(one.network, name), rel=1e-5), name
    for name in ("share_mean", "share_y_hat", "left"):
        assert getattr(two.layers[0], name) == pytest.approx(getattr(one.layers[0], name), rel=1e-9), name


@pytest.mark.parametrize("exponent", [-100, -75, -67, 65, 90])
@pytest.mark.parametrize("batches", [1, 2])
def test_shares_in_float32_do_not_depend_on_the_scale(exponent: int, batches: int) -> None:
    data = [batch()] * batches
    one, two = (
        probe(network(), scaled(k), data, dtype=torch.float32, curvature=False).layers[0] for k in (0, exponent)
    )
    for name in ("share_mean", "share_y_hat", "left", "scaling"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-5), name
    assert two.residual == pytest.approx(one.residual, rel=1e-3)  # measured, and not zero because its square is
    assert 0 < two.residual <= two.tolerance


def test_shares_over_batches_whose_gradients_differ_in_size() -> None:
    """A batch whose gradient is smaller by 2**-600 changes nothing, before or after the other."""
    x, y = batch()

    def loss(outputs: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets) * weight.mean()

    large, small = (x, y, torch.ones(12)), (x.flip(0), y, torch.full((12,), 2.0**-600, dtype=torch.float64))
    for order in ([large, small], [small, large]):
        found = probe(network(), loss, order, curvature=False).layers[0]
        alone = probe(network(), loss, large, curvature=False).layers[0]
        for name in ("share_mean", "share_y_hat", "left"):
            assert getattr(found, name) == pytest.approx(getattr(alone, name), rel=1e-9)


@pytest.mark.parametrize("exponent", [-565, 540])
def test_along_the_gradient_and_covariate_shift(exponent: int) -> None:
    model, (x, y) = network().double(), batch()
    data = (x.double(), y)
    rate = 0.1
    one, two = (along_gradient(model, scaled(k), data, step_sizes=[rate * 2.0**-k]) for k in (0, exponent))
    assert np.ldexp(two.gradient_norm, -exponent) == pytest.approx(one.gradient_norm, rel=1e-9)
    assert np.ldexp(two.gradient_changes, -exponent) == pytest.approx(one.gradient_changes, rel=1e-9)
    assert two.cosines == pytest.approx(one.cosines, rel=1e-9)
    assert two.linear_errors == pytest.approx(one.linear_errors, rel=1e-6)
    shift, other = (covariate_shift(model, scaled(k), data, learning_rate=rate * 2.0**-k)[1] for k in (0, exponent))
    assert np.ldexp(other.l2, -exponent) == pytest.approx(shift.l2, rel=1e-9)
    assert other.cosine == pytest.approx(shift.cosine, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_are_those_of_hypot(dtype: torch.dtype) -> None:
    far = (-120, 0, 110) if dtype == torch.float32 else (-1040, -600, 0, 600, 1010)
    for exponent in far:
        vector = torch.tensor([3.0, 4.0, 12.0], dtype=torch.float64).mul(2.0 ** (exponent // 2))
        vector = vector.mul(2.0 ** (exponent - exponent // 2)).to(dtype)
        exact = 13 * 2.0**exponent
        for found in (norm(vector), length(vector), float(lengths(vector[None])[0]), root_of_squares([norm(vector)])):
            assert found == exact
    for plain in (torch.tensor([1.5, 2.5], dtype=dtype), torch.zeros(3, dtype=dtype)):
        assert in_range(plain)[0] is plain or not plain.any()
    assert norm(torch.zeros(3, dtype=dtype)) == 0
    assert norm(torch.tensor([1.0, torch.inf], dtype=dtype)) == torch.inf


def test_who_measures_in_float64_is_not_told_to() -> None:
    for dtype in (torch.float32, torch.float64):
        crooked = torch.randn(8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
        with pytest.raises(ValueError, match="not symmetric") as refusal:
            top_eigenvalues(FunctionOperator(lambda v, a=crooked: a @ v, 8, dtype=dtype))
        assert ("float64" in str(refusal.value)) == (dtype == torch.float32)

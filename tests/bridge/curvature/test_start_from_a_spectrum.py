"""A start from a spectrum whose vectors span, nearly or exactly, an invariant space, where a larger eigenvalue has risen beside it.

Nothing of the old vectors, nor their residuals, tells of that one. The truth comes from LAPACK.
"""

from __future__ import annotations

import copy
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from bntheory.bridge import Monitor
from bntheory.bridge.curvature import FunctionOperator, Spectrum, top_eigenvalues


def pair(size: int, turned: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An operator, and the one after a step that has turned its vectors and lifted one out of the bulk."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    d = np.concatenate([[1.45, 1.35, 1.08, 0.9], rng.uniform(-0.4, 0.6, size - 4)])
    later = d * (1 + 0.02 * rng.standard_normal(size))
    later[10] = 2.5
    turn = rng.standard_normal((size, size))
    p, _ = np.linalg.qr(q + turned / np.sqrt(size) * q @ (turn - turn.T))
    return (q * d) @ q.T, (p * later) @ p.T


@pytest.mark.parametrize("stop", ["estimate", "error"])
@pytest.mark.parametrize("turned", [0.0, 0.02])
@pytest.mark.parametrize("size", [30, 60, 100])
def test_what_has_risen_beside_an_invariant_space_is_found(
    size: int, turned: float, stop: Literal["estimate", "error"]
) -> None:
    for seed in range(20):
        before, after = (FunctionOperator.of_matrix((a + a.T) / 2) for a in pair(size, turned, seed))
        start = top_eigenvalues(before, tol=1e-2, seed=seed, stop=stop)
        found = top_eigenvalues(after, tol=1e-2, seed=seed, stop=stop, start=start, max_basis=32)
        truth = np.linalg.eigvalsh(after.dense())[-1]
        assert found.converged
        assert abs(found.top - truth) <= min(1e-2 * truth, float(found.errors[0]))


def test_the_other_ends_and_several_values() -> None:
    for seed in range(8):
        before, after = (FunctionOperator.of_matrix((a + a.T) / 2) for a in pair(80, 0.02, seed))
        truth = np.linalg.eigvalsh(after.dense())[::-1]
        start = top_eigenvalues(before, 3, tol=1e-3, seed=seed)
        found = top_eigenvalues(after, 3, tol=1e-3, seed=seed, start=start)
        np.testing.assert_allclose(found.values, truth[:3], rtol=1e-3)
        lowest = [FunctionOperator(lambda v, op=op: -op.apply(v), 80) for op in (before, after)]
        for which in ("SA", "LM"):
            first: Spectrum = top_eigenvalues(lowest[0], 1, which, tol=1e-3, seed=seed)
            second = top_eigenvalues(lowest[1], 1, which, tol=1e-3, seed=seed, start=first)
            assert second.top == pytest.approx(-truth[0], rel=1e-3)


def dense_top(model: nn.Sequential, x: torch.Tensor, labels: torch.Tensor) -> float:
    """From second derivatives of the written-out network, in float64."""
    network = copy.deepcopy(model).double().train()
    parameters = dict(network.named_parameters())
    flat = torch.cat([p.detach().reshape(-1) for p in parameters.values()])
    sizes = [p.numel() for p in parameters.values()]

    def loss(vector: torch.Tensor) -> torch.Tensor:
        w, b, gain, shift, last, end = (
            part.reshape(p.shape) for part, p in zip(vector.split(sizes), parameters.values(), strict=True)
        )
        h = x.double() @ w.T + b
        h = (h - h.mean(0)) / torch.sqrt(h.var(0, unbiased=False) + 1e-5) * gain + shift
        return nn.functional.cross_entropy(torch.tanh(h) @ last.T + end, labels)

    hessian = torch.autograd.functional.hessian(loss, flat)
    return float(torch.linalg.eigvalsh((hessian + hessian.T) / 2)[-1])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_first_product_has_every_vector_and_as_much_of_a_random_one(k: int) -> None:
    matrix = torch.from_numpy(pair(60, 0.0, 0)[0])
    start, seen = top_eigenvalues(FunctionOperator.of_matrix(matrix), k, tol=1e-8), []

    def product(v: torch.Tensor) -> torch.Tensor:
        seen.append(v / v.norm())
        return matrix @ v

    top_eigenvalues(FunctionOperator(product, 60), k, start=start, tol=1e-2)
    along = (start.vectors.T @ seen[0]).abs()
    assert float(along.square().sum()) == pytest.approx(0.5, abs=0.25)
    assert float(along.min()) > 0.3 * float(along.max())


def test_a_monitor_follows_a_second_eigenvalue_that_overtakes_the_first() -> None:
    """A training with sharpness-aware steps, in which the top eigenvalue of the one measurement is the second of the next."""
    torch.manual_seed(0)
    x, labels = torch.randn(64, 6), torch.randint(0, 3, (64,))
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 3))
    torch.manual_seed(5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    held, loss = (x[:20].clone(), labels[:20].clone()), nn.functional.cross_entropy
    monitor = Monitor(model, loss, held, optimizer=optimizer, every=3, share=None, measures=["sharpness"])
    for step in range(1, 13):
        chosen = torch.randint(0, 64, (16,))
        optimizer.zero_grad()
        loss(model(x[chosen]), labels[chosen]).backward()
        with torch.no_grad():
            climbs = [0.1 * p.grad for p in model.parameters() if p.grad is not None]
            for p, climb in zip(model.parameters(), climbs, strict=True):
                p.add_(climb)
        optimizer.zero_grad()
        loss(model(x[chosen]), labels[chosen]).backward()
        with torch.no_grad():
            for p, climb in zip(model.parameters(), climbs, strict=True):
                p.sub_(climb)
        optimizer.step()
        monitor.step()
        if step % 3 == 0:
            row = monitor.rows()[-1]
            assert row["step"] == step
            assert row["lambda_max"] == pytest.approx(dense_top(model, *held), rel=1e-2)

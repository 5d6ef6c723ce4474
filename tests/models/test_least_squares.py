"""Least squares with BN: the problem, and the trajectories of gradient descent on it.

Oracles, and why they are independent of the code under test: (1) torch's own ``batch_norm`` on real data,
differentiated by autograd, knows nothing of covariances; (2) the iteration as printed, in a plain loop over
one run in the original basis, shares neither the eigenbasis nor the batching; (3) rational arithmetic; (4)
for the certificate, long runs, which never look at it.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from bntheory.models.least_squares import LeastSquares
from bntheory.models.least_squares_dynamics import bngd, gradient_descent, kohler_descent, trap_certificate


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) + 3.0
    return X, X @ rng.normal(size=6) + rng.normal(size=40) - 1.0


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.5], ids=lambda e: f"eps={e}")
def test_loss_and_gradient_are_those_of_torchs_batch_norm(batch, eps):
    X, y = batch
    problem = LeastSquares.from_batch(X, y, eps=eps)
    rng = np.random.default_rng(6)
    for _ in range(3):
        a, w = rng.normal(), rng.normal(size=6)
        ta = torch.tensor(a, dtype=torch.float64, requires_grad=True)
        tw = torch.tensor(w, requires_grad=True)
        pre = torch.tensor(X) @ tw
        if eps:
            z = torch.nn.functional.batch_norm(pre[:, None], None, None, training=True, eps=eps)[:, 0]
        else:  # torch refuses eps = 0
            z = (pre - pre.mean()) / pre.std(unbiased=False)
        target = torch.tensor(y) - y.mean()
        loss = ((target - ta * z) ** 2).mean() / 2
        da, dw = torch.autograd.grad(loss, (ta, tw))
        assert problem.loss(a, w) == pytest.approx(loss.item(), rel=1e-10)
        mine = problem.gradient(a, w)
        assert mine[0] == pytest.approx(da.item(), rel=1e-8, abs=1e-10)
        np.testing.assert_allclose(mine[1], dw.numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("eps", [0.0, 1e-3, 0.3], ids=lambda e: f"eps={e}")
def test_trajectory_is_the_printed_iteration(eps):
    problem = LeastSquares.random(5, 30.0, seed=1, eps=eps)
    rng = np.random.default_rng(2)
    w0, lr, lr_a = rng.normal(size=5), 0.7, 0.4
    run = bngd(problem, w0, lr, 25, a0=0.3, lr_a=lr_a, points=None)
    S, b = problem.covariance, problem.correlation
    a, w = 0.3, w0.copy()
    for t in range(25):
        s = np.sqrt(w @ S @ w + eps)
        assert run["a"][t] == pytest.approx(a, rel=1e-9)
        assert run["norm"][t] == pytest.approx(np.linalg.norm(w), rel=1e-9)
        assert run["alignment"][t] == pytest.approx(w @ b / s, rel=1e-9)
        assert run["effective_step"][t] == pytest.approx(lr * (a / s) * (w @ b / s**2), rel=1e-9)
        if eps == 0:  # the printed update; for eps > 0 the paper has none, and J's own gradient is the reference
            new_a, new_w = a + lr_a * (w @ b / s - a), w + lr * (a / s) * (b - (w @ b / s**2) * (S @ w))
        else:
            da, dw = problem.gradient(a, w)
            new_a, new_w = a - lr_a * da, w - lr * dw
        a, w = new_a, new_w
    np.testing.assert_allclose(run["w"], w, rtol=1e-9)


def test_runs_are_independent_of_how_they_are_batched():
    problem = LeastSquares.random(4, 10.0, seed=0)
    w0 = np.random.default_rng(0).normal(size=(3, 1, 4))
    lr = np.array([0.1, 1.0, 1e4])
    together = bngd(problem, w0, lr, 50)
    assert together["excess"].shape == (3, 3, len(together.steps))
    for i in range(3):
        for j in range(3):
            alone = bngd(problem, w0[i, 0], lr[j], 50)
            np.testing.assert_allclose(together["norm"][i, j], alone["norm"], rtol=1e-12)
            np.testing.assert_allclose(together["w"][i, j], alone["w"], rtol=1e-9)


def test_more_runs_than_a_block_holds():
    problem = LeastSquares.random(3, 4.0, seed=0)
    w0 = np.random.default_rng(1).normal(size=(5000, 3))
    run = bngd(problem, w0, 0.5, 4)
    np.testing.assert_allclose(run["w"][4321], bngd(problem, w0[4321], 0.5, 4)["w"], rtol=1e-12)


def test_excess_splits_the_loss():
    problem = LeastSquares.random(6, 50.0, seed=2)
    rng = np.random.default_rng(3)
    a, w = rng.normal(size=10), rng.normal(size=(10, 6))
    lowest = problem.loss(np.sqrt(problem.signal), problem.solution)
    expected = (a - w @ problem.correlation / problem.scale(w)) ** 2 / 2 + problem.excess(w) / 2
    np.testing.assert_allclose(problem.loss(a, w) - lowest, expected, rtol=1e-9, atol=1e-12)


def test_effective_eigenvalues_are_the_non_zero_ones_of_s_star():
    for seed in range(5):
        problem = LeastSquares.random(7, 300.0, seed=seed)
        b = problem.correlation
        s_star = problem.covariance - np.outer(b, b) / problem.signal
        direct = np.sort(np.linalg.eigvalsh(s_star))
        assert abs(direct[0]) < 1e-12
        np.testing.assert_allclose(problem.effective_eigenvalues, direct[1:], rtol=1e-8)
        np.testing.assert_allclose(s_star @ problem.solution, 0, atol=1e-12)


def test_contraction_in_rationals():
    """One step, exact: the error contracts at least as (I - step S) does, and the norm grows by
    Pythagoras."""
    S = [[Fraction(2), Fraction(1)], [Fraction(1), Fraction(3)]]
    u, w, ratio = [Fraction(1), Fraction(-2)], [Fraction(3), Fraction(1)], Fraction(2, 7)  # ratio = lr a/s

    def times(v):
        return [S[0][0] * v[0] + S[0][1] * v[1], S[1][0] * v[0] + S[1][1] * v[1]]

    def dot(x, y):
        return x[0] * y[0] + x[1] * y[1]

    def error(v):
        c = dot(v, times(u)) / dot(v, times(v))
        return c, [u[i] - c * v[i] for i in range(2)]

    c, e = error(w)
    new = [w[i] + ratio * times(e)[i] for i in range(2)]
    model = [e[i] - ratio * c * times(e)[i] for i in range(2)]
    left, right = dot(error(new)[1], times(error(new)[1])), dot(model, times(model))
    assert left < right
    assert dot(new, new) == dot(w, w) + ratio**2 * dot(times(e), times(e))
    problem = LeastSquares(np.array(S, dtype=float), np.array(times(u), dtype=float))
    assert problem.excess(np.array(new, dtype=float)) == pytest.approx(float(left), rel=1e-12)


def test_gradient_descent_diverges_exactly_beyond_its_limit():
    problem = LeastSquares.random(5, 20.0, seed=4)
    lr = problem.gradient_descent_limit * np.array([0.999, 1.001])
    run = gradient_descent(problem, np.ones(5), lr, 200000)
    assert run.last("distance")[0] < 1e-8 < 1e8 < run.last("distance")[1]
    w = np.ones(5)
    for _ in range(7):
        w = w - 0.3 * (problem.covariance @ w - problem.correlation)
    np.testing.assert_allclose(gradient_descent(problem, np.ones(5), 0.3, 7)["w"], w, rtol=1e-12)


@pytest.mark.parametrize("lr_a", [1.0, 0.3])
def test_certificate_of_convergence_against_long_runs(lr_a):
    problem = LeastSquares.random(3, 3.0, seed=8)
    rng = np.random.default_rng(9)
    w0 = rng.normal(size=(60, 1, 3))
    w0 *= np.sign(w0 @ problem.correlation)[..., None]
    lr = np.geomspace(0.02, 50.0, 12)
    early = bngd(problem, w0, lr, 5, lr_a=lr_a)
    certificate = trap_certificate(problem, early.last("a"), early["w"], lr)
    late = bngd(problem, w0, lr, 30000, lr_a=lr_a)
    assert 0.2 < certificate.holds.mean() < 0.95  # neither side of the comparison is empty
    held = certificate.holds
    assert late.last("excess")[held].max() < 1e-9
    limit = late.last("effective_step")[held]
    assert np.all(limit <= certificate.step_high[held] * (1 + 1e-6))
    assert np.all(limit >= certificate.step_low[held] * (1 - 1e-6))
    assert np.all(late.last("norm")[held] ** 2 <= certificate.norm2_high[held] * (1 + 1e-9))


def test_certificate_refuses_states_that_move_away():
    problem = LeastSquares.random(3, 3.0, seed=8)
    w = problem.solution[None] * np.array([[1.0], [-1.0]])
    assert trap_certificate(problem, 1.0, w, 1e-3).holds.tolist() == [True, False]
    assert trap_certificate(problem, -1.0, w, 1e-3).holds.tolist() == [False, True]
    np.testing.assert_allclose(
        trap_certificate(problem, -1.0, w[1], 1e-3).step_low, trap_certificate(problem, 1.0, w[0], 1e-3).step_low
    )
    with pytest.raises(ValueError, match="eps = 0"):
        trap_certificate(LeastSquares.random(3, 3.0, seed=8, eps=1e-3), 1.0, w, 1.0)


def test_adaptive_rate_is_gradient_descent_on_rho_and_has_effective_step_one_over_l():
    problem = LeastSquares.random(5, 8.0, seed=3)
    w0 = np.random.default_rng(1).normal(size=5)
    run = kohler_descent(problem, w0, 1)
    w = torch.tensor(w0, requires_grad=True)
    S, b = torch.tensor(problem.covariance.copy()), torch.tensor(problem.correlation.copy())
    rho = -((w @ b) ** 2) / (w @ S @ w)
    (gradient,) = torch.autograd.grad(rho, w)
    L = problem.eigenvalues[-1]
    step = (w @ S @ w) / (2 * L * rho.abs())
    np.testing.assert_allclose(run["w"], (w - step * gradient).detach().numpy(), rtol=1e-10)
    gap = rho.item() + problem.signal
    assert run["gap"][0] == pytest.approx(gap, rel=1e-9)
    c = (w0 @ problem.correlation) / problem.scale(w0) ** 2
    projected = c * w0 + (problem.covariance @ problem.error(w0)) / L
    np.testing.assert_allclose(c * run["w"], projected, rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LeastSquares(np.eye(2), np.zeros(2)), "correlation is zero"),
        (lambda: LeastSquares(np.diag([1.0, 0.0]), np.ones(2)), "positive definite"),
        (lambda: LeastSquares(np.array([[1.0, 2.0], [0.0, 1.0]]), np.ones(2)), "symmetric"),
        (lambda: LeastSquares(np.eye(2), np.ones(3)), "correlation"),
        (lambda: LeastSquares(np.eye(2), np.ones(2), eps=-1.0), "eps"),
        (lambda: LeastSquares(np.eye(2), np.ones(2), label_power=0.1), "label_power"),
        (lambda: LeastSquares.from_batch(np.ones((3, 2)), np.ones(4)), "X must be"),
        (lambda: bngd(LeastSquares.random(2, 2, seed=0), np.zeros(2), 1.0, 1), "w0"),
        (lambda: bngd(LeastSquares.random(2, 2, seed=0), np.ones(3), 1.0, 1), "dimension 2"),
        (lambda: bngd(LeastSquares.random(2, 2, seed=0), np.ones(2), -1.0, 1), "lr must be positive"),
        (lambda: bngd(LeastSquares.random(2, 2, seed=0), np.ones(2), 1.0, 0), "steps"),
        (lambda: kohler_descent(LeastSquares(np.eye(2), np.array([1.0, 0.0])), np.array([0.0, 1.0]), 1), "rho"),
    ],
)
def test_bad_input_says_what_and_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()

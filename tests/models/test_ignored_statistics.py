"""Ignored batch statistics: exact numbers in rationals, and the same in a network.

Oracles: the closed form b_t = b_0 - lr t <1, g> against the recursion in rationals; torch's own
``batch_norm`` (whose autograd does differentiate the statistics) against the network written here; and
what must not change, the loss.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from bntheory.models.ignored_statistics import ignored_mean_descent, network_run

INPUTS, TARGETS = [Fraction(1), Fraction(-2), Fraction(7, 3)], [Fraction(1, 2), Fraction(3), Fraction(-5)]


def test_bias_grows_linearly_and_the_loss_stays_exactly():
    run = ignored_mean_descent(INPUTS, TARGETS, Fraction(1, 3), 50, bias0=Fraction(5))
    assert run.gradient_sum == -sum(TARGETS) / 3 != 0
    assert run.bias == tuple(Fraction(5) - Fraction(1, 3) * t * run.gradient_sum for t in range(51))
    assert set(run.loss) == {run.loss[0]}


def test_no_growth_where_the_gradient_sums_to_zero():
    run = ignored_mean_descent(INPUTS, [Fraction(1), Fraction(2), Fraction(-3)], Fraction(1, 3), 10)
    assert run.gradient_sum == 0
    assert set(run.bias) == {0}


def test_a_trained_shift_bounds_the_bias():
    run = ignored_mean_descent(
        INPUTS, TARGETS, Fraction(1, 3), 40, train_shift=True, bias0=Fraction(2), shift0=Fraction(-1)
    )
    assert all(b - 2 == s + 1 for b, s in zip(run.bias, run.shift, strict=True))
    limit = sum(TARGETS) / 3  # beta's optimum: the centred unit contributes no mean
    assert abs(run.shift[-1] - limit) == abs(run.shift[0] - limit) * Fraction(2, 3) ** 40


def test_differentiating_the_mean_keeps_the_bias_still():
    run = ignored_mean_descent(INPUTS, TARGETS, Fraction(1, 3), 10, statistics="differentiated", bias0=Fraction(2))
    assert set(run.bias) == {2}


def test_floats_lose_the_loss_only_when_the_bias_has_eaten_their_digits():
    run = ignored_mean_descent([0.1, 0.2, 0.4], [1.0, 2.0, 4.0], 1e15, 3)
    assert run.bias[-1] > 1e15
    assert run.loss[-1] != pytest.approx(run.loss[0], rel=1e-3)


def test_network_bias_only(device):
    run = network_run(steps=200, device=device)
    np.testing.assert_allclose(run.loss, run.loss[0], rtol=1e-12)
    np.testing.assert_allclose(run.bias_norm, run.bias_norm[1] * np.arange(201), rtol=1e-9, atol=1e-12)
    still = network_run(steps=50, statistics="differentiated", device=device)
    assert still.bias_norm.max() < 1e-12
    assert still.loss[0] == pytest.approx(run.loss[0], rel=1e-12)


def test_network_with_everything_trained_learns_and_its_bias_moves_only_if_ignored(device):
    ignored = network_run(steps=200, trained="all", device=device)
    proper = network_run(steps=200, trained="all", statistics="differentiated", device=device)
    assert ignored.loss[-1] < 0.5 * ignored.loss[0]
    assert proper.loss[-1] < 0.5 * proper.loss[0]
    assert ignored.bias_norm[-1] > 0.1
    assert proper.bias_norm[-1] < 1e-12


def test_differentiated_network_is_torchs_batch_norm():
    """First step of everything, recomputed with F.batch_norm and the same draws."""
    run = network_run(steps=1, trained="all", statistics="differentiated", seed=3, lr=0.1, width=5, batch=12)
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    x = draw(12, 8)
    target = torch.sin(x[:, :1] * 2) + x[:, 1:2] * x[:, 2:3]
    weight, head = draw(8, 5) / 8**0.5, draw(5, 1) / 5**0.5
    parameters = [weight, torch.ones(5).double(), torch.zeros(5).double(), head, torch.zeros(1).double()]
    losses = []
    for _ in range(2):
        w, gamma, beta, h, c = parameters = [p.detach().requires_grad_(True) for p in parameters]
        z = torch.nn.functional.batch_norm(x @ w, None, None, gamma, beta, training=True, eps=1e-5)
        loss = ((torch.tanh(z) @ h + c - target) ** 2).mean() / 2
        losses.append(loss.item())
        parameters = [p - 0.1 * g for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True)]
    np.testing.assert_allclose(run.loss, losses, rtol=1e-10)


def test_ignored_statistics_are_those_of_evaluation_mode():
    """torch in evaluation mode, its running statistics set to the batch's, treats both as constants."""
    run = network_run(steps=1, trained="all", seed=3, lr=0.1, width=5, batch=12)
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    x = draw(12, 8)
    target = torch.sin(x[:, :1] * 2) + x[:, 1:2] * x[:, 2:3]
    weight, head = draw(8, 5) / 8**0.5, draw(5, 1) / 5**0.5
    one, zero = torch.ones(5).double(), torch.zeros(5).double()
    parameters = [weight, zero, one, zero, head, torch.zeros(1).double()]
    losses = []
    for _ in range(2):
        w, b, gamma, beta, h, c = (p.detach().requires_grad_(True) for p in parameters)
        pre = x @ w + b
        mean, var = pre.detach().mean(0), pre.detach().var(0, unbiased=False)
        z = torch.nn.functional.batch_norm(pre, mean, var, gamma, beta, training=False, eps=1e-5)
        loss = ((torch.tanh(z) @ h + c - target) ** 2).mean() / 2
        losses.append(loss.item())
        moving = [w, b, gamma, beta, h, c]
        gradients = torch.autograd.grad(loss, moving)
        parameters = [p - 0.1 * g for p, g in zip(moving, gradients, strict=True)]
    np.testing.assert_allclose(run.loss, losses, rtol=1e-10)
    assert run.bias_norm[1] == pytest.approx(parameters_norm_after_one_step(x, target, weight, head), rel=1e-10)


def parameters_norm_after_one_step(x, target, weight, head):
    """The bias after one step at rate 0.1, by hand: gradient of the loss in b with mean and variance
    constant."""
    pre = x @ weight
    sigma = torch.sqrt(pre.var(0, unbiased=False) + 1e-5)
    hidden = torch.tanh((pre - pre.mean(0)) / sigma)
    residual = (hidden @ head - target) / len(x)
    return float((0.1 * ((residual @ head.T) * (1 - hidden**2) / sigma).sum(0)).norm())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ignored_mean_descent([1.0], [1.0], 1, 1), "at least 2"),
        (lambda: ignored_mean_descent([1.0, 2.0], [1.0], 1, 1), "equally long"),
        (lambda: ignored_mean_descent([1.0, 2.0], [1.0, 2.0], 1, 1, statistics="x"), "statistics"),
        (lambda: network_run(steps=1, trained="x"), "option"),
    ],
)
def test_bad_input_says_what_and_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()

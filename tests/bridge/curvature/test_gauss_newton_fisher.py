"""Gauss-Newton and Fisher products against their definitions.

Gauss-Newton: J' H J with J from the hand-written twin, one output at a time, and H from its formula. Fisher: the sum
over all labellings of the batch of outer products of scores, weighted with the network's own probabilities; no
identity between the two is used.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from curvature_cases import BY_NAME
from hand_written import by_hand, relative
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge.curvature import empirical_fisher, fisher, gauss_newton, hessian

MODES = ("train", "eval", "frozen")


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["batch-norm-1d", "batch-norm-2d-grouped-strided", "group-norm"])
def test_gauss_newton_is_the_jacobian_squared_around_the_loss_hessian(name: str, mode: str, device: str) -> None:
    """J from the hand-written twin one output at a time; the loss Hessian diag(p) - pp' from its formula."""
    net, (x, y) = BY_NAME[name].make(device)
    if mode == "frozen" and name == "group-norm":
        with pytest.raises(ValueError, match="nothing to freeze"):
            gauss_newton(net, functional.cross_entropy, (x, y), mode=mode)
        return
    twin, parameters = by_hand(net, x, mode)
    outputs = twin(x)
    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(o, parameters, retain_graph=True)])
        for o in outputs.reshape(-1)
    ]
    jacobian = torch.stack(rows).cpu().numpy().reshape(*outputs.shape, -1)
    p = outputs.softmax(1).detach().cpu().numpy()
    expected = 0.0
    for i in range(len(p)):
        expected = expected + jacobian[i].T @ (np.diag(p[i]) - np.outer(p[i], p[i])) @ jacobian[i] / len(p)
    with (
        gauss_newton(net, functional.cross_entropy, (x, y), mode=mode) as ggn,
        fisher(net, (x, y), mode=mode) as exact,
        hessian(net, functional.cross_entropy, (x, y), mode=mode) as full,
    ):
        assert relative(ggn.dense(), expected) < 1e-10
        assert relative(exact.dense(), expected) < 1e-10
        assert relative(ggn.gradient.cpu().numpy(), full.gradient.cpu().numpy()) < 1e-12
        assert relative(full.dense(), expected) > 1e-3, "the Hessian is another matrix, or this test shows nothing"


def test_fisher_is_the_expected_outer_product_of_scores_over_all_labellings(device: str) -> None:
    """By definition: sum over all 3^3 labellings of the batch, with the network's own probabilities."""
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 3)).double().to(device)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
    parameters = list(net.parameters())
    expected: np.ndarray | float = 0.0
    for labels in itertools.product(range(3), repeat=3):
        y = torch.tensor(labels, device=device)
        log_likelihood = -functional.cross_entropy(net(x), y, reduction="sum")
        score = torch.cat([g.reshape(-1) for g in torch.autograd.grad(log_likelihood, parameters)]).cpu().numpy()
        expected = expected + float(log_likelihood.detach().exp()) * np.outer(score, score)
    with fisher(net, (x, y)) as op:
        assert relative(op.dense(), expected / 3) < 1e-10


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_fisher_of_other_likelihoods_is_the_mean_over_samples_of_scores(likelihood: str, device: str) -> None:
    """Bernoulli by enumeration of all labels; Gaussian from J'J, the textbook form."""
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 1)).double().to(device)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
    parameters = list(net.parameters())
    out = net(x).reshape(-1)
    rows = [torch.autograd.grad(o, parameters, retain_graph=True) for o in out]
    jacobian = torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows]).cpu().numpy()
    expected = jacobian.T @ jacobian
    if likelihood == "bernoulli":
        p = out.sigmoid().detach().cpu().numpy()
        expected = np.zeros_like(expected)
        for labels in itertools.product((0.0, 1.0), repeat=4):
            t = np.array(labels)
            probability = float(np.prod(np.where(t == 1, p, 1 - p)))
            score = jacobian.T @ (t - p)
            expected += probability * np.outer(score, score)
    targets = torch.zeros(4, 1, dtype=torch.float64, device=device)
    with fisher(net, (x, targets), likelihood=likelihood) as op:
        assert relative(op.dense(), expected / 4) < 1e-10


def test_empirical_fisher_is_the_mean_outer_product_of_example_gradients(device: str) -> None:
    """With the other examples' part in each gradient, since batch normalisation couples them."""
    net, (x, y) = BY_NAME["batch-norm-1d"].make(device)
    twin, parameters = by_hand(net, x, "train")
    losses = functional.cross_entropy(twin(x), y, reduction="none")
    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, retain_graph=True)]) for loss in losses
    ]
    g = torch.stack(rows).cpu().numpy()

    def each(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, reduction="none")

    with empirical_fisher(net, each, (x, y)) as op:
        assert relative(op.dense(), g.T @ g / len(g)) < 1e-10
        assert relative(op.gradient.cpu().numpy(), g.mean(0)) < 1e-10

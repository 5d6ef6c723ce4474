"""Downstream losses: their stated derivatives against autograd of their own ``value``, and of formulas from torch itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bntheory.layer.losses import Linear, LocalQuadratic, Logistic, Softmax, Squared, layer_with_loss

RNG = np.random.default_rng(3)
SHAPE = (2, 4, 6)  # two groups of four units, six examples


def tensor(x):
    return torch.tensor(x, dtype=torch.float64)


A, T = tensor(RNG.normal(size=SHAPE)), tensor(RNG.normal(size=SHAPE))
SIGNS = tensor(RNG.choice([-1.0, 1.0], size=SHAPE))
ONE_HOT = F.one_hot(torch.tensor(RNG.integers(0, 4, size=(2, 6))), 4).swapaxes(-1, -2).double()
DIAGONAL = tensor(RNG.normal(size=SHAPE))
LOSSES = {
    "linear": (Linear(A), lambda z: (A * z).sum()),
    "squared": (Squared(T), lambda z: F.mse_loss(z, T, reduction="sum") / 2),
    "logistic": (
        Logistic(SIGNS),
        lambda z: F.binary_cross_entropy_with_logits(z, (SIGNS + 1) / 2, reduction="sum"),
    ),
    "softmax": (Softmax(ONE_HOT), lambda z: F.cross_entropy(z, ONE_HOT.argmax(-2), reduction="sum")),
    "local-quadratic": (
        LocalQuadratic(T, A, lambda v: DIAGONAL * v),
        lambda z: (A * (z - T)).sum() + (DIAGONAL * (z - T) ** 2).sum() / 2,
    ),
}


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("name", LOSSES)
def test_value_gradient_and_hessian(name, scale, device):
    loss, torch_loss = LOSSES[name]
    z = (scale * tensor(np.random.default_rng(0).normal(size=SHAPE))).requires_grad_()
    v = tensor(np.random.default_rng(1).normal(size=SHAPE))
    value = torch_loss(z)
    (grad,) = torch.autograd.grad(value, z, create_graph=True)
    product = torch.zeros_like(z)
    if grad.requires_grad:
        (product,) = torch.autograd.grad((grad * v).sum(), z)
    point = z.detach()
    torch.testing.assert_close(loss.value(point).sum(), value.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss.grad(point), grad.detach(), rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(loss.hess(point)(v), product, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("x", [-800.0, 800.0])
def test_logistic_does_not_overflow(x):
    loss = Logistic(np.array([1.0, -1.0]))
    z = np.array([x, x])
    assert np.isfinite(loss.value(z)).all()
    assert np.isfinite(loss.grad(z)).all()
    assert loss.value(z)[0] == pytest.approx(800.0)


@pytest.mark.parametrize("normaliser", ["batch", "rms", "l1"])
def test_softmax_couples_units_and_the_joint_hessian_is_still_right(normaliser):
    """With a loss over a group the product is that of the joint Hessian, other units moving along."""
    y = tensor(np.random.default_rng(5).normal(size=SHAPE))
    gamma = tensor(np.random.default_rng(6).normal(size=(2, 4, 1)))
    layer = layer_with_loss(Softmax(ONE_HOT), y, normaliser=normaliser, gamma=gamma, eps=0.1)
    leaf = y.clone().requires_grad_()
    c = leaf if normaliser == "rms" else leaf - leaf.mean(-1, keepdim=True)
    scale = (
        c.abs().mean(-1, keepdim=True) + 0.1
        if normaliser == "l1"
        else torch.sqrt((c**2).mean(-1, keepdim=True) + 0.1)
    )
    value = F.cross_entropy(gamma * c / scale, ONE_HOT.argmax(-2), reduction="sum")
    (grad,) = torch.autograd.grad(value, leaf, create_graph=True)
    v = tensor(np.random.default_rng(7).normal(size=SHAPE))
    (product,) = torch.autograd.grad((grad * v).sum(), leaf)
    torch.testing.assert_close(layer.input_grad, grad.detach(), rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(layer.input_hess(v), product, rtol=1e-10, atol=1e-12)

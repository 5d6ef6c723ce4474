"""Every member of the family against autograd through its definition, and what metamorphic relations demand.

Independent: the oracle differentiates the few primitive operations that *define* each normaliser, twice, by torch's autograd; the
closed form never differentiates. The metamorphic tests need no oracle at all: scaling, shifting and permuting the batch must act
on gradient and Hessian as the chain rule says.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bntheory.layer import BatchNormLayer, make_layer

NORMALISERS = ["batch", "unbiased", "mean-only", "rms", "frozen", "l1", "l2", "linf"]


def definition(name, y, eps, y0):
    def mean(t):
        return t.mean(-1, keepdim=True)

    if name == "rms":
        return y / torch.sqrt(mean(y**2) + eps)
    if name == "frozen":
        return (y - mean(y0)) / torch.sqrt(mean((y0 - mean(y0)) ** 2) + eps)
    c = y - mean(y)
    if name == "mean-only":
        return c
    if name == "l1":
        return c / (mean(c.abs()) + eps)
    if name == "linf":
        return c / c.abs().amax(-1, keepdim=True)
    if name == "unbiased":
        return c / torch.sqrt(y.var(-1, keepdim=True) + eps)
    return c / torch.sqrt(mean(c**2) + eps)


def draw(shape=(3, 7), seed=0):
    rng = np.random.default_rng(seed)
    y, g, v = rng.normal(size=(3, *shape))
    a = rng.normal(size=(*shape, shape[-1]))
    return y, g, a + a.swapaxes(-1, -2), v, rng.normal(size=(*shape[:-1], 1))


@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize("name", NORMALISERS)
def test_against_autograd_of_the_definition(name, eps, device):
    if name == "linf" and eps:
        pytest.skip("no standard form")
    y, g, H, v, gamma = (torch.tensor(x, device=device) for x in draw())
    layer = make_layer(name, y, g, H, gamma=gamma, beta=0.2, eps=eps)
    leaf = y.clone().requires_grad_()
    z = gamma * definition(name, leaf, eps, y) + 0.2
    d = z - layer.z
    loss = (g * d).sum() + (d * (H @ d[..., None])[..., 0]).sum() / 2
    (grad,) = torch.autograd.grad(loss, leaf, create_graph=True)
    (product,) = torch.autograd.grad((grad * v).sum(), leaf)
    torch.testing.assert_close(layer.z, z.detach(), rtol=0, atol=1e-13)
    torch.testing.assert_close(layer.input_grad, grad.detach(), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(layer.input_hess(v), product, rtol=1e-10, atol=1e-11)
    jvp = torch.autograd.functional.jvp(lambda t: gamma * definition(name, t, eps, y), y, v)[1]
    torch.testing.assert_close(layer.jac(v), jvp, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close((layer.vjp(g) * v).sum(), (layer.jac(v) * g).sum(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("m", [2, 3, 6])
@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize("name", NORMALISERS)
def test_norm_and_traces_are_those_of_the_dense_matrices(name, eps, m):
    if name == "linf" and (eps or m == 2):
        pytest.skip("no standard form, or no derivative")
    y, g, H, _, gamma = (torch.tensor(x) for x in draw((m,), seed=m))
    layer = make_layer(name, y, g, H, gamma=gamma, beta=0.2, eps=eps)

    def output(t):
        return gamma * definition(name, t, eps, y) + 0.2

    def loss(t):
        d = output(t) - layer.z
        return g @ d + d @ H @ d / 2

    jacobian = torch.autograd.functional.jacobian(output, y)
    hessian = torch.autograd.functional.hessian(loss, y)
    size = jacobian.norm() + 1
    assert abs(layer.jac_norm - torch.linalg.matrix_norm(jacobian, 2)) <= 1e-7 * size
    assert abs(layer.trace(layer.jac) - jacobian.trace()) <= 1e-12 * size
    assert abs(layer.trace(layer.input_hess) - hessian.trace()) <= 1e-11 * (1 + hessian.norm())
    torch.testing.assert_close(layer.trace(layer.hess)[0], H.trace())


@pytest.mark.parametrize("name", NORMALISERS)
def test_numpy_and_torch_are_one_code(name):
    y, g, H, v, gamma = draw()
    ours = make_layer(name, y, g, H, gamma=gamma)
    theirs = make_layer(name, *map(torch.tensor, (y, g, H)), gamma=torch.tensor(gamma))
    for quantity in (
        "mu",
        "var",
        "sigma",
        "y_hat",
        "dual",
        "z",
        "jac_norm",
        "input_grad",
        "beta_grad",
        "gamma_grad",
        "one",
    ):
        np.testing.assert_allclose(
            getattr(theirs, quantity).numpy(), getattr(ours, quantity), rtol=1e-12, atol=1e-13, err_msg=quantity
        )
    np.testing.assert_allclose(theirs.input_hess(torch.tensor(v)).numpy(), ours.input_hess(v), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["batch", "unbiased", "l1", "l2", "linf", "rms"])
@pytest.mark.parametrize("a", [1e-6, 0.5, 3.0, 1e6])
def test_rescaling_the_batch_divides_gradient_and_hessian(name, a):
    """z(a y) = z(y) for a > 0 and eps = 0, so grad at a y is grad/a and the Hessian is divided by a^2."""
    y, g, H, v, gamma = draw()
    one, other = make_layer(name, y, g, H, gamma=gamma), make_layer(name, a * y, g, H, gamma=gamma)
    np.testing.assert_allclose(other.z, one.z, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(other.input_grad * a, one.input_grad, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(other.input_hess(v) * a**2, one.input_hess(v), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["batch", "l1", "l2", "linf", "mean-only"])
def test_shift_and_permutation_of_the_batch(name):
    y, g, H, v, gamma = draw()
    layer = make_layer(name, y, g, H, gamma=gamma, eps=0.0)
    shifted = make_layer(name, y + 5.0, g, H, gamma=gamma)
    np.testing.assert_allclose(shifted.input_hess(v), layer.input_hess(v), rtol=1e-10, atol=1e-11)
    order = np.random.default_rng(0).permutation(7)
    permuted = make_layer(name, y[:, order], g[:, order], H[:, order][:, :, order], gamma=gamma)
    np.testing.assert_allclose(permuted.input_hess(v[:, order]), layer.input_hess(v)[:, order], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("m", [2, 3, 17])
def test_dense_matrices_are_symmetric_and_the_scale_direction_is_free(m):
    """At eps = 0 the loss does not change along y - mu nor along 1: both lie in the kernel of the Jacobian, and the
    Hessian maps y - mu to minus the gradient (differentiate grad(a y) = grad(y)/a at a = 1)."""
    y, g, H, _, gamma = draw((4, m), seed=m)
    layer = BatchNormLayer(y, g, H, gamma=gamma)
    dense = layer.dense(layer.input_hess)
    size = np.abs(gamma / layer.sigma * g).max()
    bend = np.abs((gamma / layer.sigma) ** 2).max() * np.abs(H).sum(-1).max() + np.abs(g / layer.sigma**2 * gamma).max()
    np.testing.assert_allclose(dense, dense.swapaxes(-1, -2), atol=1e-13 * m * bend)
    np.testing.assert_allclose(layer.jac(layer.one), 0, atol=1e-13 * size)
    np.testing.assert_allclose(layer.input_hess(layer.one), 0, atol=1e-13 * m * bend)
    np.testing.assert_allclose(layer.input_hess(layer.centred), -layer.input_grad, atol=1e-12 * m * bend)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_float32_stays_within_what_its_roundoff_allows(kind):
    y, g, H, _, gamma = draw((50, 64))
    truth = BatchNormLayer(y, g, H, gamma=gamma, eps=1e-5)
    cast = (lambda x: x.astype(np.float32)) if kind == "numpy" else (lambda x: torch.tensor(x, dtype=torch.float32))
    layer = BatchNormLayer(*map(cast, (y, g, H)), gamma=cast(gamma), eps=1e-5)
    grad = np.asarray(layer.input_grad)
    assert grad.dtype == np.float32
    size = np.abs(gamma / truth.sigma) * np.linalg.norm(g, axis=-1, keepdims=True)
    kappa = np.abs(y).max(-1, keepdims=True) / truth.sigma
    assert (
        np.linalg.norm(grad - truth.input_grad, axis=-1, keepdims=True) <= 2**-23 * 8 * (3 + 2 * kappa) * size
    ).all()

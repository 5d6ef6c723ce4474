"""The closed form against finite differences of the definition at 60 digits.

Why this is independent: the oracle evaluates only the *definition* of batch normalisation and a quadratic loss, in ball arithmetic
at 60 digits (python-flint), and differences it. It shares no formula with the closed form: no projection, no Jacobian, and no
rounding either, since truncation (h^2, h = 1e-14 of the batch's scale) and cancellation (1e-60/h^2) both lie below 1e-24. Errors
are relative to the size of the largest term of the closed form: at m = 2 and eps = 0 the gradient itself is zero.
"""

from __future__ import annotations

import flint
import numpy as np
import pytest

from bntheory.layer import BatchNormLayer

GRADIENT, HESSIAN = 1e-12, 1e-9
CASES = [
    pytest.param(m, eps, gamma, scale, id=f"m{m}-eps{eps:g}-gamma{gamma:g}-scale{scale:g}")
    for m in (2, 3, 8, 64)
    for eps in (0.0, 1e-5, 0.7)
    for gamma in (1.3, -0.4, 0.0)
    for scale in (1e-8, 1.0, 1e8)
] + [
    pytest.param(4096, 0.0, -1.7, 1.0, id="m4096-eps0"),
    pytest.param(4096, 1e-3, 0.9, 1e-2, id="m4096-eps"),
    pytest.param(1000, 0.0, 2.5, 1e8, id="m1000-large"),
    pytest.param(1000, 1e-5, 2.5, 1e-8, id="m1000-small"),
]


def exact(x):
    return np.array([flint.arb(float(e)) for e in np.ravel(x)], dtype=object)


def midpoint(ball, room):
    """The ball's centre, once its radius is shown to be far below the room that the test leaves."""
    assert float(ball.rad()) <= 1e-3 * room
    return float(ball.mid())


def draw(m, scale, seed):
    rng = np.random.default_rng(seed)
    y = scale * (rng.normal(size=m) + rng.normal())
    g, diagonal, a = rng.normal(size=(3, m))
    return y, g, diagonal, a, rng


def definition(y, eps, gamma, beta):
    """gamma (y - mean)/sqrt(variance + eps) + beta, in balls."""
    mean = np.sum(y) / len(y)
    centred = y - mean
    return gamma * centred / (np.sum(centred * centred) / len(y) + eps).sqrt() + beta


def loss(z, z0, g, diagonal, a):
    """<g,d> + 1/2 d'(D + aa')d with d = z - z0."""
    d = z - z0
    return np.sum(g * d) + np.sum(diagonal * d * d) / 2 + np.sum(a * d) * np.sum(a * d) / 2


@pytest.mark.parametrize(("m", "eps", "gamma", "scale"), CASES)
def test_gradient_and_hessian_products(m, eps, gamma, scale):
    y, g, diagonal, a, rng = draw(m, scale, seed=m)
    beta = 0.3
    layer = BatchNormLayer(
        y, g, lambda v: diagonal * v + a * np.sum(a * v, -1, keepdims=True), gamma=gamma, beta=beta, eps=eps
    )
    directions = [np.eye(m)[0], np.eye(m)[m // 2], rng.normal(size=m), y / scale]
    directions = [d / np.linalg.norm(d) for d in directions]
    sigma, norm_y = float(layer.sigma[0]), np.linalg.norm(layer.y_hat)
    slope = abs(gamma) / sigma
    gradient_size = slope * np.linalg.norm(g) * (1 + norm_y**2 / m)
    h_norm = np.abs(diagonal).max() + a @ a
    hessian_size = slope**2 * h_norm + 3 * slope / (m * sigma) * norm_y * np.linalg.norm(g) * (1 + norm_y**2 / m)

    with flint.ctx.workdps(60):
        Y, G, D, A = map(exact, (y, g, diagonal, a))
        E, C, B = flint.arb(eps), flint.arb(gamma), flint.arb(beta)
        Z0 = definition(Y, E, C, B)
        step = flint.arb(10) ** -14 * flint.arb(sigma)

        def f(point):
            return loss(definition(point, E, C, B), Z0, G, D, A)

        steps = [exact(d) * step for d in directions]
        for d, h in zip(directions, steps, strict=True):
            slope_fd = (f(Y + h) - f(Y - h)) / (2 * step)
            assert (
                abs(midpoint(slope_fd, GRADIENT * max(gradient_size, 1e-300)) - float(layer.input_grad @ d))
                <= GRADIENT * gradient_size
            )
        u, w = directions[2], directions[3]
        hu, hw = steps[2], steps[3]
        bend_fd = (f(Y + hu + hw) - f(Y + hu - hw) - f(Y - hu + hw) + f(Y - hu - hw)) / (4 * step * step)
        assert (
            abs(midpoint(bend_fd, HESSIAN * max(hessian_size, 1e-300)) - float(u @ layer.input_hess(w)))
            <= HESSIAN * hessian_size
        )
        assert (
            abs(midpoint(bend_fd, HESSIAN * max(hessian_size, 1e-300)) - float(w @ layer.input_hess(u)))
            <= HESSIAN * hessian_size
        )


def test_the_oracle_would_notice_a_wrong_constant():
    """The tolerance is far below what a slip in the formula changes: 1/m against 1/(m-1) at m = 64."""
    y, g, diagonal, a, _ = draw(64, 1.0, seed=64)
    layer = BatchNormLayer(y, g, lambda v: diagonal * v + a * np.sum(a * v))
    slip = layer.input_grad - layer.gamma / layer.sigma * layer.y_hat * layer.gamma_grad / (64 * 63)
    assert np.linalg.norm(slip - layer.input_grad) > 1e4 * GRADIENT * np.linalg.norm(layer.input_grad)

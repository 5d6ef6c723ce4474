"""The single unit as a landscape, its controls, and landscapes made of landscapes.

Gradients and products are held against central differences of values alone and against double backward through the definition;
the claims about scaling in eps and w compare the landscape with itself at another point, which no shared formula can satisfy by
accident.
"""

from __future__ import annotations

import numpy as np
import pytest

from bntheory.smoothness import (
    LOSSES,
    AffinePullback,
    BatchNormUnit,
    FrozenUnit,
    Landscape,
    Scaled,
    TorchLandscape,
    cosine_loss,
    dense_hessian,
    line,
    plane,
)
from bntheory.smoothness.unit.rough_layer import RoughLayer

RNG = np.random.default_rng(8)
Y = RNG.normal(size=6)
SIGNS = np.array([1.0, -1.0, -1.0, 1.0, 1.0, -1.0])
X = RNG.normal(size=(6, 3))


def check_derivatives(landscape: Landscape, x: np.ndarray) -> None:
    """Order of convergence: the central difference's error falls like h^2 until rounding."""
    rng = np.random.default_rng(0)
    v = rng.normal(size=x.size)
    g, hv = landscape.grad(x), landscape.hvp(x, v)
    errors = []
    for h in (1e-2, 1e-3):
        slope = (landscape.value(x + h * v) - landscape.value(x - h * v)) / (2 * h)
        bend = (landscape.grad(x + h * v) - landscape.grad(x - h * v)) / (2 * h)
        errors.append((abs(slope - g @ v), float(np.linalg.norm(bend - hv))))
    size = 1 + float(np.linalg.norm(g)) + float(np.linalg.norm(hv))
    for first, second in zip(*errors, strict=True):
        assert second < max(first / 30, 1e-8 * size)
    w = rng.normal(size=x.size)
    hw = landscape.hvp(x, w)
    size = np.linalg.norm(v) * np.linalg.norm(hw) + np.linalg.norm(w) * np.linalg.norm(hv)
    assert abs(v @ hw - w @ hv) <= 1e-13 * size


@pytest.mark.parametrize("eps", [0.0, 0.2])
@pytest.mark.parametrize("name", list(LOSSES))
def test_units_and_their_twins(name: str, eps: float) -> None:
    unit = BatchNormUnit(SIGNS, name, gamma=0.9, beta=0.2, eps=eps)
    twin = unit.frozen_at(Y)
    for landscape in (unit, twin, AffinePullback(unit, X), AffinePullback(twin, X)):
        check_derivatives(landscape, Y if landscape.dimension == 6 else np.array([0.4, -1.0, 0.7]))
    assert twin.value(Y) == pytest.approx(unit.value(Y))  # they meet at the point
    away = Y + 0.3 * RNG.normal(size=6)
    assert twin.value(away) != pytest.approx(unit.value(away), rel=1e-6)


@pytest.mark.parametrize("name", list(LOSSES))
def test_losses_against_autograd(name: str, device: str) -> None:
    import torch

    z, t = torch.linspace(-3, 3, 13, dtype=torch.float64, device=device), torch.ones(13, dtype=torch.float64)
    t = torch.where(torch.arange(13) % 2 == 0, 1.0, -1.0).double().to(device)
    formulas = {
        "squared": lambda z: 0.5 * (z - t) ** 2,
        "logistic": lambda z: torch.nn.functional.softplus(-t * z),
        "cross-entropy": lambda z: torch.nn.functional.softplus(z) - t * z,
        "log-cosh": lambda z: torch.log(torch.cosh(z - t)),
        "linear": lambda z: -t * z,
        "quartic": lambda z: 0.25 * (z - t) ** 4,
        "cosine (amplitude 1, frequency 1)": lambda z: 1 - torch.cos(z - t),
    }
    loss = LOSSES[name]
    landscape = TorchLandscape(lambda v: formulas[name](v).sum(), 13, device=device)
    points, targets = z.cpu().numpy(), t.cpu().numpy()
    assert loss.total(points, targets) == pytest.approx(landscape.value(points))
    np.testing.assert_allclose(loss.first(points, targets), landscape.grad(points), atol=1e-12)
    np.testing.assert_allclose(np.diag(loss.second(points, targets)), dense_hessian(landscape, points), atol=1e-12)


def test_losses_do_not_overflow() -> None:
    z = np.array([-1e6, 1e6])
    for name in ("logistic", "log-cosh"):
        loss = LOSSES[name]
        for f in (loss.value, loss.first, loss.second):
            assert np.isfinite(f(z, np.ones(2))).all()


@pytest.mark.parametrize("scale", [0.01, 7.0])
def test_eps_only_sets_the_unit_of_length(scale: float) -> None:
    """f_eps(y) = f_1(y/sqrt eps): values, and with them every constant, scale exactly, in y and in the weights."""
    eps = scale**2
    big = BatchNormUnit(SIGNS, "logistic", gamma=1.5, eps=eps)
    one = BatchNormUnit(SIGNS, "logistic", gamma=1.5, eps=1.0)
    assert big.value(scale * Y) == pytest.approx(one.value(Y), rel=1e-12)
    np.testing.assert_allclose(big.grad(scale * Y), one.grad(Y) / scale, rtol=1e-10)
    np.testing.assert_allclose(dense_hessian(big, scale * Y), dense_hessian(one, Y) / eps, rtol=1e-9, atol=1e-12 / eps)
    w = np.array([0.3, 0.1, -0.2])
    np.testing.assert_allclose(
        dense_hessian(AffinePullback(big, X), scale * w), dense_hessian(AffinePullback(one, X), w) / eps, rtol=1e-9, atol=1e-10 / eps
    )  # fmt: skip


def test_curvature_at_a_constant_batch() -> None:
    """The Hessian at w = 0 with squared loss is (gamma^2/eps) X'CX, above every frozen twin's for centred inputs."""
    centred = X - X.mean(axis=0)
    unit = BatchNormUnit(RNG.normal(size=6), gamma=0.5, eps=1e-3)
    weights = AffinePullback(unit, centred)
    at_zero = dense_hessian(weights, np.zeros(3))
    np.testing.assert_allclose(at_zero, 250 * centred.T @ centred, rtol=1e-9)
    for seed in range(10):
        w = np.random.default_rng(seed).normal(size=3)
        twin = AffinePullback(unit.frozen_at(centred @ w), centred)
        assert np.linalg.norm(dense_hessian(twin, w), 2) < np.linalg.norm(at_zero, 2)


def test_gradient_descent_never_shortens_the_weights_and_stays_within_the_sphere_s_constant() -> None:
    unit = AffinePullback(BatchNormUnit(RNG.normal(size=6), gamma=1.2, beta=0.1), X)
    sphere_points = np.random.default_rng(0).normal(size=(400, 3))
    at_unit_norm = [np.linalg.norm(dense_hessian(unit, p / np.linalg.norm(p)), 2) for p in sphere_points]
    w = np.array([0.2, -0.1, 0.3])
    start = float(np.linalg.norm(w))
    length = start
    for _ in range(30):
        g = unit.grad(w)
        assert abs(w @ g) < 1e-12 * (1 + np.linalg.norm(g))
        w = w - 0.05 * g
        assert np.linalg.norm(w) >= length * (1 - 1e-14)
        length = float(np.linalg.norm(w))
        assert np.linalg.norm(dense_hessian(unit, w), 2) <= 1.05 * max(at_unit_norm) / start**2


def test_line_and_plane() -> None:
    unit = BatchNormUnit(SIGNS, "log-cosh", eps=0.1)
    u, v = RNG.normal(size=(2, 6))
    along = line(unit, Y, u)
    check_derivatives(along, np.array([0.3]))
    assert along.value(np.array([2.0])) == pytest.approx(unit.value(Y + 2 * u / np.linalg.norm(u)))
    across = plane(unit, Y, u, v)
    check_derivatives(across, np.array([0.3, -0.2]))
    np.testing.assert_allclose(across.matrix.T @ across.matrix, np.eye(2), atol=1e-14)
    with pytest.raises(ValueError, match="parallel"):
        plane(unit, Y, u, -2 * u)
    with pytest.raises(ValueError, match="zero vector"):
        line(unit, Y, np.zeros(6))
    check_derivatives(Scaled(unit, -2.5), Y)


def test_one_rough_layer_has_no_shift_and_two_have() -> None:
    for roughness in (1.0, 1e6):
        run = RoughLayer(roughness).train(steps=10, learning_rate=0.3 / roughness)
        assert run.input_shift == 0.0
        assert run.gradient_shift == 0.0
        assert run.distance > 0
    deeper = RoughLayer(1.0, depth=2).train(steps=10, learning_rate=0.3)
    assert deeper.input_shift > 0
    assert deeper.gradient_shift > 0


def test_roughness_is_the_curvature() -> None:
    loss = cosine_loss(3.0, 4.0)
    z = np.linspace(-4, 4, 20001)
    assert np.max(np.abs(loss.second(z, np.zeros_like(z)))) == pytest.approx(48.0)


def test_rough_layer_gradient_against_differences() -> None:
    network = RoughLayer(5.0, depth=2, frequency=2.0)
    for layer in range(3 - 1):
        gradient = network.gradient(network.weights, layer)
        w = network.weights[layer]
        direction = np.random.default_rng(layer).normal(size=w.shape)
        h = 1e-6
        moved = [
            network.value([*network.weights[:layer], w + s * h * direction, *network.weights[layer + 1 :]])
            for s in (1, -1)
        ]
        assert (moved[0] - moved[1]) / (2 * h) == pytest.approx(float(np.sum(gradient * direction)), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BatchNormUnit([1.0]), "m >= 2"),
        (lambda: BatchNormUnit([1.0, np.nan]), "non-finite"),
        (lambda: BatchNormUnit([1.0, 2.0], "hinge"), "no loss is called"),
        (lambda: BatchNormUnit([1.0, 2.0], eps=-1.0), "eps"),
        (lambda: BatchNormUnit([1.0, 2.0], gamma=np.inf), "gamma"),
        (lambda: BatchNormUnit([1.0, 2.0]).value(np.array([3.0, 3.0])), "eps = 0"),
        (lambda: AffinePullback(FrozenUnit([1.0, 2.0]), np.ones((3, 2))), "dimension 2"),
        (lambda: TorchLandscape(lambda x: x, 2).grad(np.zeros(2)), "scalar"),
        (lambda: TorchLandscape(lambda x: x.sum(), 2, dtype="int64"), "floating"),
        (lambda: RoughLayer(0.0), "roughness"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

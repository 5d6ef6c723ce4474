"""The single unit with squared loss: spectrum, conditions, 2-Lipschitz constant.

Oracles, and why they are independent. (1) ``numpy.linalg.eigvalsh`` on the dense matrix of the layer's Hessian products: it shares
the layer's formula for the Hessian but nothing of the diagonalisation. (2) Double backward in torch through the definition of
batch normalisation: it shares no formula at all. (3) sympy on the scalar conditions that the derivation ends in. (4) For
the 2-Lipschitz constant an ascent over u that knows only values and gradients.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from bntheory.layer import BatchNormLayer
from bntheory.smoothness import (
    AffinePullback,
    BatchNormUnit,
    Sphere,
    TorchLandscape,
    dense_hessian,
    derivative_lipschitz_constant,
    squared_loss_spectrum,
    two_lipschitz,
)

RNG = np.random.default_rng


def random_layer(seed: int, m: int, eps: float) -> tuple[np.ndarray, np.ndarray, float]:
    rng = RNG(seed)
    y = rng.normal(size=m) * 10 ** rng.uniform(-1, 1) + rng.normal()
    t = rng.normal(size=m) * 10 ** rng.uniform(-1, 1)
    gamma = rng.choice([-1, 1]) * 10 ** rng.uniform(-1.5, 1.5)
    return y, t, float(gamma)


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1, 3.0], ids=lambda e: f"eps={e:g}")
@pytest.mark.parametrize("m", [2, 3, 4, 5, 17, 100, 500], ids=lambda m: f"m={m}")
def test_spectrum_against_eigvalsh(m: int, eps: float) -> None:
    """Relative error below 1e-10 (it is near 1e-15), relative to the spectral norm of both terms of the Hessian."""
    for seed in range(1 if m == 500 else 3 if m == 100 else 20):
        y, t, gamma = random_layer(seed, m, eps)
        spectrum = squared_loss_spectrum(y, t, gamma=gamma, eps=eps)
        computed = np.linalg.eigvalsh(dense_hessian(BatchNormUnit(t, gamma=gamma, beta=0.7, eps=eps), y))
        # at m = 2 and eps = 0 the Hessian is exactly zero: the scale is that of the terms that cancel
        scale = max(float(np.max(np.abs(computed))), spectrum.twin)
        assert np.max(np.abs(spectrum.eigenvalues - computed)) < 1e-10 * scale
        assert sum(spectrum.distinct.values()) == m


@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_spectrum_against_double_backward_through_the_definition(eps: float, device: str) -> None:
    import torch

    y, t, gamma = random_layer(5, 7, eps)
    target = torch.as_tensor(t, device=device)

    def loss(v: torch.Tensor) -> torch.Tensor:
        centred = v - v.mean()
        return ((gamma * centred / (centred.square().mean() + eps).sqrt() + 0.2 - target) ** 2).sum() * 1.5

    computed = np.linalg.eigvalsh(dense_hessian(TorchLandscape(loss, 7, device=device), y))
    spectrum = squared_loss_spectrum(y, t, gamma=gamma, eps=eps, h=3.0)
    assert spectrum.eigenvalues == pytest.approx(computed, rel=1e-10, abs=1e-10 * np.max(np.abs(computed)))


@pytest.mark.long
def test_conditions_never_disagree_with_computed_spectra() -> None:
    """10 000 random layers, both conditions; ties (within 1e-9 of the twin) aside, and there are few of them."""
    wrong, ties, below, norm_below, layers = 0, 0, 0, 0, 0
    for m in range(2, 12):
        rng = RNG(m)
        count = 1000
        y = rng.normal(size=(count, m)) * 10 ** rng.uniform(-1, 1, size=(count, 1)) + rng.normal(size=(count, 1))
        t = rng.normal(size=(count, m)) * 10 ** rng.uniform(-1, 1, size=(count, 1))
        gamma = rng.choice([-1, 1], size=(count, 1)) * 10 ** rng.uniform(-1.5, 1.5, size=(count, 1))
        eps = rng.choice([0.0, 0.0, 1e-3, 0.1, 1.0, 10.0], size=(count, 1))
        z = BatchNormLayer(y, gamma=gamma, eps=eps).z
        layer = BatchNormLayer(y, z - t, lambda v: v, gamma=gamma, eps=eps)
        spectra = np.linalg.eigvalsh(layer.dense(layer.input_hess))
        for i, computed in enumerate(spectra):
            exact = squared_loss_spectrum(y[i], t[i], gamma=float(gamma[i, 0]), eps=float(eps[i, 0]))
            layers += 1
            for value, margin in ((computed[-1], exact.top_margin), (np.max(np.abs(computed)), exact.norm_margin)):
                if abs(value - exact.twin) < 1e-9 * exact.twin:
                    ties += 1
                else:
                    wrong += bool(value < exact.twin) != (margin > 0)
            below += exact.top_margin > 0
            norm_below += exact.norm_margin > 0
    assert layers == 10_000
    assert wrong == 0
    assert ties < 100
    assert 1000 < norm_below < below < 9000  # both answers occur often, and the two conditions differ


@pytest.mark.parametrize("sign", [-1, 1])
def test_condition_in_gradients(sign: int) -> None:
    """At eps = 0: gamma dL_hat/dgamma > (sigma/gamma)^2 ||dL_hat/dy||^2, quantities that a network has for free."""
    for seed in range(300):
        y, t, gamma = random_layer(seed, 6, 0.0)
        gamma = sign * abs(gamma)
        layer = BatchNormUnit(t, gamma=gamma).layer(y)
        free = gamma * float(layer.gamma_grad[0]) - float(layer.sigma[0] / gamma) ** 2 * float(
            layer.norm2(layer.input_grad)[0]
        )
        assert (free > 0) == (squared_loss_spectrum(y, t, gamma=gamma).top_margin > 0)


@pytest.mark.parametrize("m", [3, 4, 12])
def test_where_gamma_is_stationary_the_top_eigenvalue_is_not_below_the_twin(m: int) -> None:
    for seed in range(50):
        y, t, _ = random_layer(seed, m, 0.0)
        y_hat = (y - y.mean()) / y.std()
        best_gamma = float(y_hat @ t) / m
        spectrum = squared_loss_spectrum(y, t, gamma=best_gamma)
        assert spectrum.rho == pytest.approx(0, abs=1e-12)
        assert spectrum.top > spectrum.twin


def test_the_two_readings_of_the_condition_meet_in_algebra() -> None:
    """sympy: at eps = 0 the eigenvalue condition is rho > tau^2, and with the norm |1 - rho| + tau^2 < 1."""
    import sympy as sp

    rho, tau = sp.symbols("rho tau", real=True)
    block = sp.Matrix([[0, -tau], [-tau, 1 - rho]])
    upper, lower = (sp.eye(2) - block).det(), (sp.eye(2) + block).det()
    assert sp.expand(upper - (rho - tau**2)) == 0
    assert sp.expand(lower - (2 - rho - tau**2)) == 0


@pytest.mark.long
@pytest.mark.parametrize("m", [3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_two_lipschitz_against_ascent(m: int, seed: int) -> None:
    """The ascent approaches the closed form from below and never passes it; the norm of the Hessian stays below both."""
    y, t, gamma = random_layer(seed, m, 0.0)
    spectrum = squared_loss_spectrum(y, t, gamma=gamma)
    unit = BatchNormUnit(t, gamma=gamma)
    measured = two_lipschitz(unit, y, reach=float(np.linalg.norm(y - y.mean())), samples=400, climbs=20, seed=seed)
    assert measured.value <= spectrum.two_lipschitz * (1 + 1e-6)
    assert measured.value >= 0.9 * spectrum.two_lipschitz
    assert spectrum.norm < measured.value


def test_two_lipschitz_is_approached_at_the_constant_batch() -> None:
    y, t, gamma = random_layer(3, 5, 0.0)
    unit = BatchNormUnit(t, gamma=gamma)
    exact = squared_loss_spectrum(y, t, gamma=gamma)
    centred = t - t.mean()
    towards = -math.copysign(1.0, gamma * exact.phi * gamma) * centred  # opposite to y's side of the target
    ratios = []
    for s in (1e-2, 1e-3, 1e-4):
        end = y.mean() + s * towards / np.linalg.norm(centred)
        u = end - y
        ratios.append(2 * abs(unit.value(end) - unit.value(y) - unit.grad(y) @ u) / (u @ u))
    assert ratios == sorted(ratios)
    assert ratios[-1] == pytest.approx(exact.two_lipschitz, rel=1e-3)


def test_worst_case_over_a_sphere_of_batches() -> None:
    """sup over all y of one sigma of the top eigenvalue is (2/sqrt 3)|gamma|T/sigma^2: ascent over the centred sphere."""
    rng = RNG(2)
    m, gamma = 5, 0.8
    t = rng.normal(size=m)
    basis = np.linalg.svd(np.eye(m) - 1 / m)[0][:, : m - 1]
    unit = AffinePullback(BatchNormUnit(t, gamma=gamma), basis)
    radius = math.sqrt(m)  # sigma = 1
    found = derivative_lipschitz_constant(
        unit, Sphere(np.zeros(m - 1), radius), samples=200, climbs=6, segments=0, seed=0
    )
    assert found.value == pytest.approx(2 / math.sqrt(3) * gamma * t.std(), rel=1e-6)


@pytest.mark.parametrize("whitened_columns", [2, 3])
def test_whitened_weight_space(whitened_columns: int) -> None:
    """X'1 = 0, X'X = m I: on the unit sphere sup ||Hess_w|| = (2/sqrt 3) m |gamma| T_X, and Hess_w(w) = Hess_w(w/|w|)/|w|^2."""
    rng = RNG(whitened_columns)
    m, gamma = 9, -1.4
    t = rng.normal(size=m)
    raw = rng.normal(size=(m, whitened_columns))
    x = np.linalg.qr(raw - raw.mean(axis=0))[0] * math.sqrt(m)
    weights = AffinePullback(BatchNormUnit(t, gamma=gamma), x)
    found = derivative_lipschitz_constant(
        weights, Sphere(np.zeros(whitened_columns)), samples=200, climbs=6, segments=0, seed=1
    )
    projected = np.std(x @ (x.T @ t) / m)
    assert found.value == pytest.approx(2 / math.sqrt(3) * m * abs(gamma) * projected, rel=1e-6)
    w = rng.normal(size=whitened_columns)
    length = float(np.linalg.norm(w))
    np.testing.assert_allclose(
        dense_hessian(weights, w), dense_hessian(weights, w / length) / length**2, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(
    ("y", "t", "options", "message"),
    [
        ([1.0], [1.0], {}, "m >= 2"),
        ([1.0, 1.0, 1.0], [0.0, 1.0, 2.0], {}, "eps > 0"),
        ([0.1, 0.1, 0.1], [0.0, 1.0, 2.0], {}, "eps > 0"),
        ([1e-200, 2e-200, 4e-200], [0.0, 1.0, 2.0], {}, "rescale"),
        ([1e200, 2e200, 4e200], [0.0, 1.0, 2.0], {}, "rescale"),
        ([1.0, 2.0, 3.0], [0.0, 1.0], {}, "shape"),
        ([1.0, 2.0, np.inf], [0.0, 1.0, 2.0], {}, "non-finite"),
        ([1.0, 2.0, 3.0], [0.0, 1.0, 2.0], {"eps": -1.0}, "eps"),
        ([1.0, 2.0, 3.0], [0.0, 1.0, 2.0], {"h": 0.0}, "h is"),
    ],
)
def test_bad_input_is_named(y: list[float], t: list[float], options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        squared_loss_spectrum(y, t, **options)


def test_degenerate_layers() -> None:
    constant = squared_loss_spectrum([2.0, 2.0, 2.0, 2.0], [0.0, 1.0, 2.0, 5.0], gamma=3.0, eps=0.5)
    assert constant.eigenvalues == pytest.approx([0.0, 18.0, 18.0, 18.0])  # gamma^2/eps
    assert constant.top_margin == 0  # a tie with the twin
    still = squared_loss_spectrum([1.0, 2.0, 4.0], [0.0, 1.0, 5.0], gamma=0.0)
    assert not still.eigenvalues.any()
    assert still.two_lipschitz == 0
    with pytest.raises(ValueError, match="eps = 0 only"):
        _ = constant.two_lipschitz

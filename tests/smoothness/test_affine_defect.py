"""The affine defect and second differences against exact values.

Oracle: Chebyshev's equioscillation by hand (a parabola, a kink, a saddle), and for random functions a linear programme over a
dense grid, whose value the exchange must lie below and near.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import linprog

from bntheory.smoothness import (
    AffinePullback,
    FunctionLandscape,
    TorchLandscape,
    affine_defect,
    affine_defect_exponent,
    averaged_second_difference,
    two_lipschitz,
)
from bntheory.smoothness.functions import quadratic, relu, sine


@pytest.mark.parametrize("r", [1e-3, 0.5, 4.0])
def test_exact_values(r: float) -> None:
    assert affine_defect(relu().landscape, 0.0, r).value == pytest.approx(r / 4)
    assert affine_defect(FunctionLandscape(1, lambda x: abs(float(x[0])), np.sign), 0.0, r).value == pytest.approx(
        r / 2
    )
    parabola = affine_defect(quadratic([[3.0]]).landscape, 1.3, r)
    assert parabola.value == pytest.approx(3 * r * r / 4, rel=1e-6)
    assert parabola.witness["scaled"] == pytest.approx(1.5, rel=1e-6)  # half of the 2-Lipschitz constant
    saddle = affine_defect(quadratic(np.diag([3.0, -3.0])).landscape, [0.2, -0.1], r)
    assert saddle.witness["scaled"] == pytest.approx(3.0, rel=1e-3)  # all of it
    assert affine_defect(quadratic([[0.0]], [2.0]).landscape, 0.4, r).value == pytest.approx(0.0, abs=1e-12)


def test_below_the_two_lipschitz_constant_within_the_radius() -> None:
    for x in (0.0, 0.5, 1.5):
        for r in (0.1, 1.0, 3.0):
            defect = affine_defect(sine().landscape, x, r)
            assert defect.witness["scaled"] <= two_lipschitz(sine().landscape, x, radius=r).value * (1 + 1e-6)


def test_against_a_dense_linear_programme() -> None:
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(5, 2))

    def f(x: np.ndarray) -> float:
        return float(np.sin(waves @ x).sum())

    landscape = FunctionLandscape(2, f, lambda x: np.cos(waves @ x) @ waves)
    angle, length = np.meshgrid(np.linspace(0, 2 * np.pi, 121), np.linspace(0, 1, 40))
    grid = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=-1).reshape(-1, 2)  # the rim included
    values = np.array([f(u) for u in grid])
    affine = np.concatenate([np.ones((len(grid), 1)), grid], axis=1)
    one = np.ones((len(grid), 1))
    dense = linprog(
        [0, 0, 0, 1.0],
        A_ub=np.block([[affine, -one], [-affine, -one]]),
        b_ub=np.concatenate([values, -values]),
        bounds=[(None, None)] * 4,
    ).fun
    found = affine_defect(landscape, np.zeros(2), 1.0)
    assert found.value == pytest.approx(dense, rel=5e-3)
    assert dense <= (found.value + found.error) * (1 + 1e-3)


@pytest.mark.parametrize(
    ("landscape", "x", "exponent"),
    [
        (relu().landscape, 0.0, -1.0),
        (quadratic(np.diag([1.0, -2.0])).landscape, [0.3, 0.4], 0.0),
        (sine().landscape, math.pi / 2, 0.0),
        (sine().landscape, 0.0, 1.0),  # an inflection: the cubic term decides
        (FunctionLandscape(1, lambda x: float(x[0] ** 4), lambda x: 4 * x**3), 0.0, 2.0),
    ],
    ids=["kink", "quadratic", "curvature", "inflection", "flat minimum"],
)
def test_exponent_tells_a_kink_from_a_curvature(landscape: FunctionLandscape, x: object, exponent: float) -> None:
    found = affine_defect_exponent(landscape, x, [0.002, 0.01, 0.05])
    assert found.value == pytest.approx(exponent, abs=0.02)


def test_a_small_relu_network_has_a_finite_defect_at_its_kink(device: str) -> None:
    import torch

    torch.manual_seed(0)
    first, second = torch.randn(2, 6, 3, dtype=torch.float64, device=device)

    def network(x: torch.Tensor) -> torch.Tensor:
        return ((torch.relu(first @ x) * second[:, 0]).sum() - 0.3) ** 2

    landscape = TorchLandscape(network, 3, device=device)
    at_kink = np.linalg.svd(first[:1].cpu().numpy())[2][-1]  # the first unit's pre-activation is zero there
    assert two_lipschitz(landscape, at_kink).diverges
    scaled = [affine_defect(landscape, at_kink, r).witness["scaled"] for r in (1e-2, 1e-3)]
    assert scaled[1] == pytest.approx(10 * scaled[0], rel=0.1)


def test_second_differences() -> None:
    # the mean over directions of |u'Au| for a multiple of the identity is exact and has no spread
    mean = averaged_second_difference(quadratic(3 * np.eye(4)).landscape, np.ones(4), 0.1)
    assert mean.value == pytest.approx(3.0, rel=1e-9)
    assert mean.error < 1e-9


def test_too_many_parameters_are_refused_with_two_ways_out() -> None:
    big = quadratic(np.eye(40)).landscape
    with pytest.raises(ValueError, match="averaged_second_difference"):
        affine_defect(big, np.zeros(40), 1.0)
    on_plane = AffinePullback(big, np.eye(40)[:, :2])
    assert affine_defect(on_plane, np.zeros(2), 1.0).value == pytest.approx(0.25, rel=1e-3)

"""Exact eigenvalues of one unit with a separable loss, by inertia.

The oracle is ``numpy.linalg.eigvalsh`` on the dense Hessian: it shares the formula of the Hessian product, which is tested
elsewhere against autograd and finite differences, and nothing of the counting. Squared loss has a second oracle, the closed form.
"""

from __future__ import annotations

import numpy as np
import pytest

from bntheory.smoothness import (
    LOSSES,
    BatchNormUnit,
    SeparableSpectrum,
    cosine_loss,
    dense_hessian,
    extreme_eigenpairs,
    squared_loss_spectrum,
)


def draw(seed: int, name: str, *, most: int = 30) -> tuple[BatchNormUnit, np.ndarray]:
    rng = np.random.default_rng(seed)
    m = int(rng.integers(3, most))
    eps = float(rng.choice([0.0, 1e-5, 0.3]))
    gamma = float(rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 1.5))
    t = rng.choice([-1.0, 1.0], size=m) if name == "logistic" else rng.normal(size=m)
    y = rng.normal(size=m) * 3 + 5
    if seed % 5 == 0:
        y = np.round(y)  # equal entries: equal deltas, which must be merged
        y[0] += 0.5
    return BatchNormUnit(t, name, gamma=gamma, beta=float(rng.normal()), eps=eps), y


@pytest.mark.long
@pytest.mark.parametrize("name", list(LOSSES))
def test_every_eigenvalue_against_eigvalsh(name: str) -> None:
    for seed in range(60):
        unit, y = draw(seed, name)
        spectrum = SeparableSpectrum(unit, y)
        computed = np.linalg.eigvalsh(dense_hessian(unit, y))
        found = np.array([spectrum.eigenvalue(k) for k in range(spectrum.m)])
        assert np.max(np.abs(found - computed)) < 1e-12 * spectrum.scale, (seed, unit.gamma)


@pytest.mark.parametrize("name", list(LOSSES))
def test_counts_and_comparison_with_the_twin(name: str) -> None:
    answers = set()
    for seed in range(150):
        unit, y = draw(seed, name)
        spectrum = SeparableSpectrum(unit, y)
        computed = np.linalg.eigvalsh(dense_hessian(unit, y))
        tie = 1e-9 * spectrum.scale
        for x in np.linspace(computed[0] - tie, computed[-1] + tie, 7):
            if np.min(np.abs(computed - x)) > 1e-12 * spectrum.scale:
                assert spectrum.count_below(x) == int(np.sum(computed < x))
        if abs(computed[-1] - spectrum.twin_top) > tie:
            assert spectrum.top_below_twin() == (computed[-1] < spectrum.twin_top)
            answers.add(spectrum.top_below_twin())
        norm = float(np.max(np.abs(computed)))
        if abs(norm - spectrum.twin_norm) > tie:
            assert spectrum.norm_below_twin() == (norm < spectrum.twin_norm)
        np.testing.assert_allclose(
            spectrum.twin_norm, np.linalg.norm(dense_hessian(unit.frozen_at(y), y), 2), rtol=1e-12, atol=0
        )
    assert answers == ({False} if name == "linear" else {True, False})


def test_squared_loss_meets_the_closed_form() -> None:
    for m in (3, 40, 3000):
        rng = np.random.default_rng(m)
        y, t = rng.normal(size=(2, m))
        spectrum = SeparableSpectrum(BatchNormUnit(t, gamma=0.6, eps=1e-3), y)
        exact = squared_loss_spectrum(y, t, gamma=0.6, eps=1e-3)
        assert spectrum.top == pytest.approx(exact.top, rel=1e-13)
        assert spectrum.bottom == pytest.approx(exact.bottom, rel=1e-13)
        assert spectrum.eigenvalue(m // 2) == pytest.approx(exact.eigenvalues[m // 2], abs=1e-13 * exact.norm)


def test_large_batch_against_lanczos() -> None:
    """A third route, which knows products only."""
    m = 5000
    rng = np.random.default_rng(4)
    unit = BatchNormUnit(rng.choice([-1.0, 1.0], size=m), "logistic", gamma=2.0, eps=1e-5)
    y = rng.normal(size=m)
    spectrum = SeparableSpectrum(unit, y)
    measured = spectrum.measure()
    pair = extreme_eigenpairs(unit, y, which="top", tolerance=1e-12)[0]
    assert spectrum.top == pytest.approx(pair.value, abs=10 * pair.residual + 1e-12)
    assert measured.value == pytest.approx(max(spectrum.top, -spectrum.bottom))
    assert measured.witness["evaluations"] < 100


def test_evaluations_do_not_grow_with_the_batch() -> None:
    counts = []
    for m in (100, 10_000):
        rng = np.random.default_rng(m)
        unit = BatchNormUnit(rng.normal(size=m), cosine_loss(1.0, 3.0), gamma=1.5, eps=1e-5)
        counts.append(SeparableSpectrum(unit, rng.normal(size=m)).measure().witness["evaluations"])
    assert counts[1] <= 2 * counts[0] + 20


def test_index_out_of_range_is_named() -> None:
    unit, y = draw(1, "logistic")
    with pytest.raises(ValueError, match="numbered 0"):
        SeparableSpectrum(unit, y).eigenvalue(unit.dimension)


@pytest.mark.parametrize(
    ("gamma", "target", "eps", "name"),
    [
        (0.0, [4.0, 1.0, 0.0, 2.0, 3.0], 0.0, "squared"),
        (0.0, [1.0, 1.0, 1.0, 1.0, 1.0], 1e-5, "logistic"),
        (1.0, [0.0, 0.0, 0.0, 0.0, 0.0], 0.0, "squared"),  # constant targets: the Hessian is zero by cancellation
        (3.0, [0.0, 0.0, 0.0, 0.0, 0.0], 1.0, "linear"),
        (1e8, [1.0, 1.0, 1.0, 1.0, 1.0], 0.0, "logistic"),
    ],
)
def test_degenerate_units(gamma: float, target: list[float], eps: float, name: str) -> None:
    unit, y = BatchNormUnit(target, name, gamma=gamma, eps=eps), np.array([1.0, 2.0, 4.0, 3.0, 0.0])
    spectrum = SeparableSpectrum(unit, y)
    computed = np.linalg.eigvalsh(dense_hessian(unit, y))
    found = np.array([spectrum.eigenvalue(k) for k in range(5)])
    assert np.max(np.abs(found - computed)) <= spectrum.rounding + 1e-300
    assert spectrum.measure().error == spectrum.rounding

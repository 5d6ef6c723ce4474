"""Measures along a run against a quadratic whose every number is known, and their independence of scale.

The oracle is a diagonal quadratic: relative curvature, gradient and eigenvalues in closed form. The property is the
one that the measures exist for: multiplying the loss by a constant changes none of them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from bntheory.evidence.curves import at_loss
from bntheory.models.gradient_descent import train
from bntheory.models.smoothness_along import best_run, smoothness_along
from bntheory.models.tensor_train import TensorTrain, tensor_train_data
from bntheory.smoothness import FunctionLandscape, Scaled

D = np.array([0.5, 1.0, 3.0])
QUADRATIC = FunctionLandscape(3, lambda x: float(x @ (D * x)) / 2, lambda x: D * x, lambda x, v: D * v)


def test_quadratic_in_closed_form() -> None:
    run = train(QUADRATIC, np.ones(3), learning_rate=0.1, steps=60, points=None)
    found = smoothness_along(lambda x: QUADRATIC, run, points=5)
    assert len(found.losses) == 5
    assert np.all(np.diff(found.losses) < 0)
    np.testing.assert_allclose(found.top_eigenvalues, 3.0, rtol=1e-6)
    for loss, norm in zip(found.losses, found.gradient_norms, strict=True):
        step = int(np.flatnonzero(run.losses == loss)[0])
        x = (1 - 0.1 * D) ** step
        assert norm == pytest.approx(np.linalg.norm(D * x), rel=1e-12)
    assert np.all(found.trust_fractions == 1.0) or np.all(found.trust_fractions > 0)


def test_scaling_the_loss_changes_nothing_that_is_scale_free() -> None:
    run = train(QUADRATIC, np.ones(3), learning_rate=0.1, steps=40, points=None)
    scaled = Scaled(QUADRATIC, 0.01)
    one, other = (smoothness_along(lambda x, f=f: f, run, points=4) for f in (QUADRATIC, scaled))  # type: ignore[misc]
    np.testing.assert_allclose(other.losses, 0.01 * one.losses, rtol=1e-12)
    np.testing.assert_allclose(other.relative_curvatures, one.relative_curvatures, rtol=1e-6)
    np.testing.assert_allclose(other.trust_fractions, one.trust_fractions, rtol=1e-9)
    np.testing.assert_allclose(other.gradient_cosines, one.gradient_cosines, rtol=1e-9)


def test_interpolation_at_a_loss() -> None:
    run = train(QUADRATIC, np.ones(3), learning_rate=0.1, steps=60, points=None)
    found = smoothness_along(lambda x: QUADRATIC, run, points=5)
    middle = math.sqrt(found.losses[1] * found.losses[2])
    expected = math.sqrt(found.gradient_norms[1] * found.gradient_norms[2])
    assert at_loss(found.losses.tolist(), found.gradient_norms.tolist(), middle) == pytest.approx(expected)
    assert math.isnan(at_loss(found.losses.tolist(), found.gradient_norms.tolist(), 2 * found.losses[0]))


def test_best_run_skips_divergence_and_prefers_the_lower_loss() -> None:
    x, y = tensor_train_data(30, 3, seed=2)
    model = TensorTrain(x, y, rank=2)
    run = best_run(model, [1e-4, 0.1, 1e6], steps=40)
    assert run.learning_rate == 0.1
    with pytest.raises(ValueError, match="every run diverged"):
        best_run(model, [1e6], steps=40)
    with pytest.raises(ValueError, match="empty"):
        best_run(model, [], steps=40)
    with pytest.raises(ValueError, match="points=1"):
        smoothness_along(lambda x: model, run, points=1)

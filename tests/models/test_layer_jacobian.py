"""Singular values of layer Jacobians against the law of large Gaussian matrices, and against correlations.

For white inputs the Gram matrix of the Jacobian must be numpy's
correlation matrix of the outputs, which involves no derivative at all.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from bntheory.models.activations import activation
from bntheory.models.layer_jacobian import layer_jacobian, quarter_circle_share


def test_white_inputs_give_the_correlation_matrix_of_the_outputs() -> None:
    # x with exactly the identity as covariance: J J' = Corr(z), so the mean square of the singular values is 1
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((40, 6))
    raw -= raw.mean(0)
    x = np.linalg.qr(raw)[0] * math.sqrt(40)
    w = rng.standard_normal((6, 6))
    z = x @ w.T
    jacobian = w / z.std(0)[:, None]
    np.testing.assert_allclose(jacobian @ jacobian.T, np.corrcoef(z.T), atol=1e-12)
    assert np.trace(jacobian @ jacobian.T) / 6 == pytest.approx(1.0, rel=1e-12)


def test_linear_layers_follow_the_quarter_circle_law_and_ignore_the_scale() -> None:
    found = layer_jacobian(activation("linear"), width=256, batch_size=4096, depth=0, seed=1)
    assert found.share_within(2.0) == pytest.approx(quarter_circle_share(2.0), abs=0.02)
    assert found.share_within(1.25) == pytest.approx(quarter_circle_share(1.25), abs=0.03)
    assert found.root_mean_square == pytest.approx(1.0, abs=0.02)
    assert found.singular_values.max() == pytest.approx(2.0, abs=0.1)
    scaled = layer_jacobian(activation("linear"), width=256, batch_size=4096, depth=0, seed=1, weight_scale=50.0)
    np.testing.assert_allclose(scaled.singular_values, found.singular_values, rtol=1e-7, atol=1e-9)
    plain = layer_jacobian(activation("linear"), width=64, weight_scale=50.0, normalise=False, seed=1)
    assert plain.root_mean_square == pytest.approx(50.0, rel=0.05)


def test_quarter_circle_share_against_quadrature() -> None:
    from scipy.integrate import quad

    for factor in (1.1, 2.0, 5.0):
        mass = quad(lambda s: math.sqrt(4 - s * s) / math.pi, 1 / factor, min(factor, 2.0))[0]
        assert quarter_circle_share(factor) == pytest.approx(mass, abs=1e-9)


def test_relu_has_exact_zeros() -> None:
    found = layer_jacobian(activation("relu"), width=64, batch_size=256, seed=2)
    zeros = np.mean(found.singular_values < 1e-12)
    assert 0.3 < zeros < 0.7


@pytest.mark.parametrize(
    ("options", "words"),
    [({"width": 1}, "width=1"), ({"weight_scale": 0.0}, "weight_scale must be positive"), ({"depth": -1}, "depth=-1")],
    ids=["width", "scale", "depth"],
)
def test_errors_name_the_argument(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        layer_jacobian(activation("relu"), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="factor"):
        quarter_circle_share(0.5)

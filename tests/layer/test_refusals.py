"""What cannot be normalised is refused with its name, its value and what to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bntheory.layer import BatchNormLayer, LayerDomain, le, lt, make_layer
from bntheory.layer.relations import as_statement

Y = np.array([[1.0, 2.0, 4.0], [0.5, -1.0, 3.0]])
ASYMMETRIC = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
BAD = {
    "batch of one": (lambda: BatchNormLayer(np.array([[1.0]])), r"m = 1.*at least 2"),
    "single number": (lambda: BatchNormLayer(3.0), r"y is a single number"),
    "constant batch": (lambda: BatchNormLayer(np.full((2, 5), 0.1)), r"constant over the batch in 2 layer.*eps > 0"),
    "variance below the smallest float": (
        lambda: BatchNormLayer(np.array([0.0, 1e-200, 0.0])),
        r"constant over the batch",
    ),
    "constant float32": (lambda: BatchNormLayer(np.full(7, 1e8, np.float32)), r"constant over the batch"),
    "nan": (lambda: BatchNormLayer(np.array([1.0, np.nan])), r"y has 1 non-finite.*\(1,\)"),
    "inf": (lambda: BatchNormLayer(torch.tensor([[1.0, torch.inf]])), r"y has 1 non-finite.*\(0, 1\)"),
    "inf in grad": (lambda: BatchNormLayer(Y, Y * np.inf), r"grad has 6 non-finite"),
    "integers": (lambda: BatchNormLayer(np.array([1, 2, 3])), r"y has dtype int64.*astype"),
    "integer tensor": (lambda: BatchNormLayer(torch.tensor([1, 2])), r"y has dtype torch.int64"),
    "negative eps": (lambda: BatchNormLayer(Y, eps=-1e-5), r"eps is -1e-05.*>= 0"),
    "nan gamma": (lambda: BatchNormLayer(Y, gamma=np.nan), r"gamma has 1 non-finite"),
    "grad of another m": (lambda: BatchNormLayer(Y, np.ones((2, 4))), r"grad has shape \(2, 4\).*y has shape \(2, 3\)"),
    "grad of other layers": (lambda: BatchNormLayer(Y, np.ones((5, 3))), r"leading axes"),
    "gamma of another size": (lambda: BatchNormLayer(Y, gamma=np.ones(5)), r"gamma has shape \(5,\)"),
    "numpy and torch": (lambda: BatchNormLayer(Y, torch.tensor(Y)), r"both as numpy or both as torch"),
    "two precisions": (lambda: BatchNormLayer(Y, Y.astype(np.float32)), r"float32.*float64"),
    "dense Hessian of another m": (lambda: BatchNormLayer(Y, Y, np.eye(4)), r"hess has shape \(4, 4\)"),
    "asymmetric Hessian": (lambda: BatchNormLayer(Y, Y, ASYMMETRIC), r"hess is not symmetric"),
    "unknown free quantity": (lambda: BatchNormLayer(Y).scalar("a"), r"no free quantity 'a'"),
    "zero batch under rms": (lambda: make_layer("rms", np.zeros(3)), r"root mean square is zero"),
    "eps under linf": (lambda: make_layer("linf", Y, eps=0.1), r"eps = 0"),
    "unknown normaliser": (lambda: make_layer("bacth", Y), r"'bacth'.*'batch'"),
    "domain eps": (lambda: LayerDomain(eps="small"), r"eps is 'small'.*'zero'"),
    "domain min_m": (lambda: LayerDomain(min_m=1), r"min_m is 1"),
    "domain name twice": (lambda: LayerDomain(scalars={"a": "any"}, vectors=("a",)), r"'a' is declared twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_is_refused_by_name(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_eps_makes_a_constant_batch_acceptable():
    layer = BatchNormLayer(np.full((2, 5), 0.1), np.ones((2, 5)), eps=1e-3)
    np.testing.assert_allclose(layer.y_hat, 0, atol=1e-12)
    assert np.isfinite(layer.input_hess(np.arange(5.0))).all()


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_extreme_scales_do_not_overflow_inside(scale):
    layer = BatchNormLayer(scale * Y, scale * Y[::-1].copy())
    assert np.isfinite(layer.input_grad).all()
    np.testing.assert_allclose(layer.y_hat, BatchNormLayer(Y).y_hat, rtol=1e-12)


def test_two_examples_without_eps_have_no_gradient_at_all():
    """At m = 2 and eps = 0 the output is a pair of signs, so the loss cannot depend on y."""
    rng = np.random.default_rng(0)
    y, g = rng.normal(size=(2, 1000, 2))
    layer = BatchNormLayer(y, g)
    size = np.linalg.norm(g, axis=-1, keepdims=True) / layer.sigma
    assert (np.abs(layer.input_grad) <= 2**-53 * 40 * (1 + np.abs(y).max(-1, keepdims=True) / layer.sigma) * size).all()


def test_a_relation_has_no_truth_value():
    with pytest.raises(TypeError, match="all_of"):
        bool(le(1, 2))
    with pytest.raises(TypeError, match="lt"):
        as_statement(True)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        all(lt(a, b) for a, b in ((1, 2), (2, 3)))

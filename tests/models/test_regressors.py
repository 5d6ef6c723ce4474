"""Deep linear network, tensor train and matrix factorisation: values, derivatives, twins, invariances, training.

Oracles that share no code with the models: the tensor train as a dense coefficient tensor contracted by einsum over
all 2^F monomials; the deep linear network and its gradient by hand-written matrix products; the matrix factorisation
as a full matrix product; batch normalisation as numpy's mean and variance. Derivatives against central differences
of the value, whose own convergence order is checked. The twin and the invariances are identities of the theory.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from bntheory.models.deep_linear import DeepLinear, linear_data
from bntheory.models.gradient_descent import train
from bntheory.models.matrix_factorisation import MatrixFactorisation, low_rank_data
from bntheory.models.normalised_regressor import NormalisedRegressor
from bntheory.models.tensor_train import TensorTrain, tensor_train_data
from bntheory.models.trajectory import Outcome
from bntheory.smoothness import FunctionLandscape, Landscape, scale_free

KINDS = ["deep linear", "tensor train", "matrix factorisation"]


def build(kind: str, normalise: bool, eps: float = 1e-5, device: str = "cpu") -> NormalisedRegressor:
    if kind == "deep linear":
        return DeepLinear(*linear_data(30, 3, seed=1), layers=4, normalise=normalise, eps=eps, device=device)
    if kind == "tensor train":
        x, y = tensor_train_data(30, 4, seed=1)
        return TensorTrain(x, y, rank=3, normalise=normalise, eps=eps, device=device)
    rows, columns, values = low_rank_data((6, 5), observed=0.8, seed=1)
    return MatrixFactorisation(rows, columns, values, shape=(6, 5), rank=2, normalise=normalise, eps=eps, device=device)


def numpy_norm(p: dict[str, np.ndarray], stage: int, h: np.ndarray, eps: float) -> np.ndarray:
    if f"gamma{stage}" not in p:
        return h
    return (h - h.mean(0)) / np.sqrt(h.var(0) + eps) * p[f"gamma{stage}"] + p[f"beta{stage}"]


def numpy_prediction(model: NormalisedRegressor, x: np.ndarray) -> np.ndarray:
    p = model.unflatten(x)
    if isinstance(model, DeepLinear):
        h = model.inputs
        for level in range(model.layers - 1):
            h = numpy_norm(p, level, np.einsum("ni,io->no", h, p[f"W{level}"]), model.eps)
        return np.einsum("ni,io->no", h, p[f"W{model.layers - 1}"])
    if isinstance(model, TensorTrain):
        local = np.stack([np.ones_like(model.inputs), model.inputs], axis=2)
        h = np.ones((len(model.inputs), 1))
        for site in range(model.features):
            h = numpy_norm(p, site, np.einsum("nl,lsr,ns->nr", h, p[f"A{site}"], local[:, site]), model.eps)
        return np.einsum("nr,r->n", h, p["a"])
    assert isinstance(model, MatrixFactorisation)
    u = numpy_norm(p, 0, p["U"][model.rows], model.eps)
    full = u @ p["V"].T
    return full[np.arange(len(model.rows)), model.columns]


@pytest.mark.parametrize("normalise", [False, True], ids=["standard", "batch norm"])
@pytest.mark.parametrize("kind", KINDS)
def test_value_and_prediction_against_numpy(kind: str, normalise: bool, device: str) -> None:
    model = build(kind, normalise, device=device)
    x = model.initial(0) + 0.1 * np.random.default_rng(3).standard_normal(model.dimension)
    expected = numpy_prediction(model, x)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-11, atol=1e-12)
    assert model.value(x) == pytest.approx(np.mean((expected - model.target) ** 2) / 2, rel=1e-12)
    assert isinstance(model, Landscape)
    loss, gradient = model.value_and_grad(x)
    assert loss == model.value(x)
    np.testing.assert_array_equal(gradient, model.grad(x))


@pytest.mark.parametrize("normalise", [False, True], ids=["standard", "batch norm"])
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_against_central_differences(kind: str, normalise: bool, device: str) -> None:
    model = build(kind, normalise, device=device)
    rng = np.random.default_rng(7)
    x = model.initial(0) + 0.1 * rng.standard_normal(model.dimension)
    v = rng.standard_normal(model.dimension)
    v /= np.linalg.norm(v)

    def slope(h: float) -> float:
        return (model.value(x + h * v) - model.value(x - h * v)) / (2 * h)

    def bend(h: float) -> np.ndarray:
        return (model.grad(x + h * v) - model.grad(x - h * v)) / (2 * h)

    exact, product = float(model.grad(x) @ v), model.hvp(x, v)
    coarse, fine = abs(slope(2e-3) - exact), abs(slope(1e-3) - exact)
    assert fine <= 1e-4 * abs(exact) + 1e-7
    assert fine < 0.3 * coarse  # second order: the truncation error falls by 4
    first, second = (float(np.linalg.norm(bend(h) - product)) for h in (2e-3, 1e-3))
    assert second <= 1e-4 * float(np.linalg.norm(product))
    assert second < 0.3 * first
    u = np.random.default_rng(0).normal(size=x.size)
    assert u @ product == pytest.approx(v @ model.hvp(x, u), rel=1e-9)


def test_tensor_train_is_the_multilinear_polynomial_of_its_coefficients() -> None:
    model = build("tensor train", False)
    assert isinstance(model, TensorTrain)
    x = model.initial(4)
    p = model.unflatten(x)
    cores = [p[f"A{site}"] for site in range(model.features)]
    dense = functools.reduce(lambda left, core: np.tensordot(left, core, axes=1), cores)
    dense = np.tensordot(dense, p["a"], axes=1)[0]  # shape (2, ..., 2): one coefficient a monomial
    for sample, prediction in zip(model.inputs, model.predict(x), strict=True):
        total = sum(
            dense[index] * math.prod(float(sample[j]) ** power for j, power in enumerate(index))
            for index in np.ndindex(*dense.shape)
        )
        assert prediction == pytest.approx(total, rel=1e-10)


def test_deep_linear_gradient_by_hand() -> None:
    model = build("deep linear", False)
    assert isinstance(model, DeepLinear)
    x = model.initial(2)
    p = model.unflatten(x)
    ws = [p[f"W{level}"] for level in range(model.layers)]
    product = functools.reduce(np.matmul, ws)
    outer = model.inputs.T @ (model.inputs @ product - model.target) / model.target.size
    gradient = model.unflatten(model.grad(x))
    for level in range(model.layers):
        before = functools.reduce(np.matmul, ws[:level], np.eye(3))
        after = functools.reduce(np.matmul, ws[level + 1 :], np.eye(3))
        np.testing.assert_allclose(gradient[f"W{level}"], before.T @ outer @ after.T, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_twin_agrees_at_its_point_and_nowhere_else(kind: str) -> None:
    model = build(kind, True)
    x = model.initial(0)
    twin = model.frozen_twin(x)
    np.testing.assert_allclose(twin.predict(x), model.predict(x), rtol=1e-13, atol=1e-14)
    assert twin.value(x) == pytest.approx(model.value(x), rel=1e-13)
    away = x + 0.1
    assert abs(twin.value(away) - model.value(away)) > 1e-6
    assert model.frozen_twin(away).value(away) == pytest.approx(model.value(away), rel=1e-12)
    # what is downstream of the last normalisation has the same gradient; what is upstream has not
    own, frozen = model.unflatten(model.grad(x)), model.unflatten(twin.grad(x))
    last = {"deep linear": "W3", "tensor train": "a", "matrix factorisation": "V"}[kind]
    first = {"deep linear": "W0", "tensor train": "A0", "matrix factorisation": "U"}[kind]
    np.testing.assert_allclose(own[last], frozen[last], atol=1e-13)
    assert np.linalg.norm(own[first] - frozen[first]) > 1e-3 * np.linalg.norm(own[first])


@pytest.mark.parametrize("kind", KINDS)
def test_scale_invariance_of_normalised_weights_at_eps_zero(kind: str) -> None:
    model = build(kind, True, eps=0.0)
    p = model.unflatten(model.initial(0))
    name = {"deep linear": "W1", "tensor train": "A2", "matrix factorisation": "U"}[kind]
    grown = {**p, name: 3.0 * p[name]}
    x = model.flatten(p)
    assert model.value(model.flatten(grown)) == pytest.approx(model.value(x), rel=1e-12)
    # Euler: the gradient is orthogonal to weights that only a normalisation sees
    gradient = model.unflatten(model.grad(x))[name]
    assert abs(float(np.sum(gradient * p[name]))) <= 1e-13 * np.linalg.norm(gradient) * np.linalg.norm(p[name]) * 10
    assert np.linalg.norm(gradient) > 1e-3
    plain = build(kind, False)
    q = plain.unflatten(plain.initial(0))
    assert plain.value(plain.flatten({**q, name: 3.0 * q[name]})) != pytest.approx(
        plain.value(plain.initial(0)), rel=1e-3
    )


@pytest.mark.parametrize("normalise", [False, True], ids=["standard", "batch norm"])
@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_loss_and_records_what_it_says(kind: str, normalise: bool) -> None:
    model = build(kind, normalise)
    rate = 1.0 if kind == "matrix factorisation" else 0.1
    run = train(model, model.initial(0), learning_rate=rate, steps=150, points=10)
    assert run.outcome is Outcome.UNFINISHED
    assert (run.steps[0], run.steps[-1], len(run.all_losses)) == (0, 150, 151)
    assert run.losses[-1] < 0.5 * run.losses[0]
    for point, loss, norm in zip(run.points, run.losses, run.gradient_norms, strict=True):
        assert model.value(point) == loss
        assert np.linalg.norm(model.grad(point)) == norm
    assert model.value(run.final) == run.all_losses[-1]


def test_training_against_the_exact_solution_of_a_quadratic() -> None:
    # f = x'Dx/2: x_k = (1 - lr d)^k x_0, in closed form
    d = np.array([0.5, 1.0, 3.0])
    quadratic = FunctionLandscape(3, lambda x: float(x @ (d * x)) / 2, lambda x: d * x, lambda x, v: d * v)
    run = train(quadratic, np.ones(3), learning_rate=0.2, steps=40, points=None)
    np.testing.assert_allclose(run.points, (1 - 0.2 * d) ** run.steps[:, None], rtol=1e-12)
    wild = train(quadratic, np.ones(3), learning_rate=10.0, steps=4000)
    assert wild.outcome is Outcome.DIVERGED
    assert np.all(np.isfinite(wild.points))
    done = train(quadratic, np.ones(3), learning_rate=0.5, steps=4000, tolerance=1e-6)
    assert done.outcome is Outcome.CONVERGED
    assert done.losses[-1] <= 1e-6 < done.all_losses[-2]


def test_measures_of_smoothness_apply() -> None:
    model = build("tensor train", True)
    run = train(model, model.initial(0), learning_rate=0.1, steps=20, points=4)
    found = scale_free(model, run.final)
    assert found.relative_curvature.value > 0
    assert 0 < found.trust_fraction.value <= 1


def test_santurkar_network_has_its_size() -> None:
    inputs, target = linear_data(64, 10)
    assert DeepLinear(inputs, target).dimension == 25 * 100
    assert DeepLinear(inputs, target, normalise=True).dimension == 25 * 100 + 24 * 20


def test_data_have_the_stated_structure() -> None:
    inputs, target = linear_data(50, 4, condition=100.0, seed=3)
    matrix = np.linalg.lstsq(inputs, target, rcond=None)[0]
    np.testing.assert_allclose(np.linalg.svd(matrix)[1], np.geomspace(1, 0.01, 4), rtol=1e-9)
    rows, columns, values = low_rank_data((8, 7), rank=2, observed=1.0, seed=3)
    full = np.zeros((8, 7))
    full[rows, columns] = values
    assert np.linalg.matrix_rank(full) == 2
    assert len(values) == 56
    _, smooth = tensor_train_data(500, 4, seed=3)
    assert (smooth.mean(), smooth.std()) == pytest.approx((0.0, 1.0), abs=1e-12)


INPUTS, TARGET = linear_data(8, 2)
ERRORS = {
    "shapes": (lambda: DeepLinear(INPUTS, TARGET[:-1]), "same number of samples"),
    "layers": (lambda: DeepLinear(INPUTS, TARGET, layers=1), "layers=1"),
    "eps": (lambda: DeepLinear(INPUTS, TARGET, eps=-1.0), "eps=-1"),
    "tensor target": (lambda: TensorTrain(INPUTS, TARGET), "needs"),
    "tensor inputs": (lambda: TensorTrain(np.full((8, 2), np.nan), TARGET[:, 0]), "inputs: every entry"),
    "tensor spread": (lambda: TensorTrain(INPUTS, TARGET[:, 0], spread=0.0), "spread=0"),
    "rank": (lambda: TensorTrain(INPUTS, TARGET[:, 0], rank=0), "rank=0"),
    "indices": (lambda: MatrixFactorisation([0, 5], [0, 1], [1.0, 2.0], shape=(3, 3)), "rows: indices"),
    "float indices": (lambda: MatrixFactorisation([0.0, 1.0], [0, 1], [1.0, 2.0], shape=(3, 3)), "whole numbers"),
    "twin": (lambda: build("deep linear", False).frozen_twin(build("deep linear", False).initial(0)), "no statistics"),
    "flatten": (lambda: build("deep linear", False).flatten({}), "W0"),
    "rate": (lambda: train(build("deep linear", False), np.zeros(36), learning_rate=0.0, steps=3), "learning_rate=0"),
    "infinite start": (
        lambda: train(FunctionLandscape(1, lambda x: math.inf, lambda x: x), [1.0], learning_rate=1.0, steps=3),
        "start where it is finite",
    ),
    "constant unit": (lambda: build("deep linear", True, eps=0.0).value(np.zeros(36 + 18)), "constant over the batch"),
    "condition": (lambda: linear_data(condition=0.5), "condition=0.5"),
    "observed": (lambda: low_rank_data(observed=0.0), "observed=0"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_argument(case: str) -> None:
    call, words = ERRORS[case]
    with pytest.raises(ValueError, match=words):
        call()

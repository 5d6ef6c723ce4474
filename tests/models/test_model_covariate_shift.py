"""Definition 2.1 on the regressors against the Hessian, which the shift never computes.

To first order the shift of stage i is the Hessian applied to the step of the earlier stages, read off at stage i: the
oracle is the model's Hessian product, itself held against finite differences elsewhere. The error of that prediction
must fall like the square of the learning rate.
"""

from __future__ import annotations

import numpy as np
import pytest

from bntheory.models.covariate_shift import covariate_shift
from bntheory.models.deep_linear import DeepLinear, linear_data
from bntheory.models.matrix_factorisation import MatrixFactorisation, low_rank_data
from bntheory.models.normalised_regressor import NormalisedRegressor
from bntheory.models.tensor_train import TensorTrain, tensor_train_data


def build(kind: str, normalise: bool) -> NormalisedRegressor:
    if kind == "deep linear":
        return DeepLinear(*linear_data(30, 3, seed=1), layers=4, normalise=normalise)
    if kind == "tensor train":
        return TensorTrain(*tensor_train_data(30, 4, seed=1), rank=3, normalise=normalise)
    rows, columns, values = low_rank_data((6, 5), observed=0.8, seed=1)
    return MatrixFactorisation(rows, columns, values, shape=(6, 5), rank=2, normalise=normalise)


@pytest.mark.parametrize("normalise", [False, True], ids=["standard", "batch norm"])
@pytest.mark.parametrize("kind", ["deep linear", "tensor train", "matrix factorisation"])
def test_shift_is_the_hessian_block_to_first_order(kind: str, normalise: bool) -> None:
    model = build(kind, normalise)
    x = model.initial(3)
    gradient = model.grad(x)
    errors = []
    for rate in (2e-3, 1e-3):
        found = covariate_shift(model, x, rate)
        assert found.distances[0] == 0.0  # nothing comes before the first stage
        assert found.cosines[0] == 1.0
        worst = 0.0
        for name, distance in zip(found.names[1:], found.distances[1:], strict=True):
            parts = model.unflatten(gradient)
            earlier = {k: v if model.stage_of(k) < model.stage_of(name) else np.zeros_like(v) for k, v in parts.items()}
            predicted = rate * np.linalg.norm(model.unflatten(model.hvp(x, model.flatten(earlier)))[name])
            assert predicted > 0
            worst = max(worst, abs(distance - predicted))
            assert distance == pytest.approx(predicted, rel=0.05)
        errors.append(worst)
    assert errors[1] < 0.35 * errors[0]


def test_order_of_the_stages() -> None:
    deep = build("deep linear", True)
    assert covariate_shift(deep, deep.initial(0), 0.1).names == ("W0", "W1", "W2", "W3")
    train = build("tensor train", True)
    assert covariate_shift(train, train.initial(0), 0.1).names == ("A0", "A1", "A2", "A3", "a")
    factors = build("matrix factorisation", True)
    assert covariate_shift(factors, factors.initial(0), 0.1).names == ("U", "V")


def test_errors_name_the_argument() -> None:
    model = build("deep linear", False)
    with pytest.raises(ValueError, match="learning_rate=0"):
        covariate_shift(model, model.initial(0), 0.0)
    with pytest.raises(ValueError, match="gradient of W0 is zero"):
        covariate_shift(model, np.zeros(model.dimension), 0.1)

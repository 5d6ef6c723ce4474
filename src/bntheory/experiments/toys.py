"""Toy regressors in the laboratory: trained by full-batch gradient descent, measured like networks, kept in the same
store.

A toy is an arm like any other: its kind names the model, its options say how large it is and whether it is normalised.
The loss is that of :class:`bntheory.models.normalised_regressor.NormalisedRegressor`, half the mean squared error in
float64, on data whose mean square is 1: guessing 0 costs 1/2. A record holds what the measure "linearity", or
"step-shift", holds of networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bntheory.evidence.record import Json
from bntheory.experiments.experiment import DRAWN as DRAWN  # with the toys it belongs to
from bntheory.experiments.experiment import Measure, Task
from bntheory.models.covariate_shift import covariate_shift
from bntheory.models.deep_linear import DeepLinear, linear_data
from bntheory.models.gradient_descent import train
from bntheory.models.matrix_factorisation import MatrixFactorisation, low_rank_data
from bntheory.models.normalised_regressor import NormalisedRegressor
from bntheory.models.tensor_train import TensorTrain, tensor_train_data
from bntheory.smoothness.eigenpairs import extreme_eigenpairs
from bntheory.smoothness.protocol import Landscape
from bntheory.smoothness.scale_free import linearity_error

#: The loss of guessing 0.
GUESSING = 0.5
#: Relative accuracy of the eigenvalues, far below the differences that matter.
MEASURE = Measure("linearity", {"tolerance": 1e-3, "fraction": 0.1})
#: Of a deep linear network, whose every layer has a shift.
SHIFT = Measure("step-shift")


def tensor_train(seed: int, *, samples: int, features: int, rank: int, normalise: bool) -> NormalisedRegressor:
    """A tensor train of this bond dimension; the target is a random one of bond dimension 2."""
    inputs, target = tensor_train_data(samples, features, seed=seed)
    return TensorTrain(inputs, target, rank=rank, normalise=normalise)


def matrix_factorisation(
    seed: int, *, shape: Sequence[int], observed: float, rank: int, normalise: bool
) -> NormalisedRegressor:
    """A factorisation of this rank; the matrix has rank 2 and is observed in part."""
    size = (int(shape[0]), int(shape[1]))
    rows, columns, values = low_rank_data(size, observed=observed, seed=seed)
    values = values / np.sqrt(np.mean(values**2))
    return MatrixFactorisation(rows, columns, values, shape=size, rank=rank, normalise=normalise)


#: By an arm's kind.
KINDS: Mapping[str, Callable[..., NormalisedRegressor]] = {
    "tensor-train": tensor_train,
    "matrix-factorisation": matrix_factorisation,
}


def looked_at(task: Task, steps: Sequence[int]) -> Iterator[Json | None]:
    """The values of the measure after each of the steps, in their order; None, and nothing after it, where the run had
    diverged."""
    model = KINDS[task.arm.kind](task.seed, **task.arm.options)
    run = train(model, model.initial(task.seed), learning_rate=task.arm.learning_rate, steps=steps[-1], points=None)
    place = {int(step): i for i, step in enumerate(run.steps)}
    for step in steps:
        if step not in place:
            yield None
            return
        x = run.points[place[step]]
        values = {"own": _point(model, x, task.seed)}
        if model.normalise:
            values["twin"] = _point(model.frozen_twin(x), x, task.seed)
        yield {"linearity": values}


def _point(landscape: Landscape, x: np.ndarray[Any, Any], seed: int) -> Json:
    try:
        top = extreme_eigenpairs(landscape, x, which="top", tolerance=MEASURE.options["tolerance"], seed=seed)[0]
        error = linearity_error(landscape, x, fraction=MEASURE.options["fraction"]).value
    except (ValueError, RuntimeError) as why:  # no gradient or no loss left; no convergence
        return {"loss": landscape.value(x), "refused": str(why)}
    return {
        "loss": landscape.value(x),
        "gradient_norm": float(np.linalg.norm(landscape.grad(x))),
        "top": top.value,
        "linearity_error": error if np.isfinite(error) else None,
        "refused": None,
    }


def shifted_at(task: Task, steps: Sequence[int]) -> Iterator[Json | None]:
    """The covariate shift of every layer of a deep linear network, as of :func:`looked_at`; its options are its size
    and its samples.

    Gaussian inputs, and a target that is an orthogonal map of them.
    """
    size, seed = task.arm.options, task.seed
    inputs, target = linear_data(size["samples"], size["width"], seed=seed)
    model = DeepLinear(inputs, target, layers=size["layers"], normalise=size["normalise"])
    rate = task.arm.learning_rate
    with np.errstate(over="ignore"):  # on the way to divergence
        run = train(model, model.initial(seed), learning_rate=rate, steps=steps[-1], points=None)
    for step in steps:
        if step >= len(run.points):
            yield None
            return
        yield {"step_shift": _shift(model, run.points[step], rate)}


def _shift(model: DeepLinear, x: np.ndarray[Any, Any], rate: float) -> Json | None:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found = covariate_shift(model, x, rate)
    except ValueError:  # no gradient left, or the step leads beyond what floats hold
        return None
    return {
        "layers": list(found.names),
        "l2": found.distances.tolist(),
        "cosine": found.cosines.tolist(),
        "gradient_norm": found.gradient_norms.tolist(),
    }


#: What is measured of toys, by the measure's name.
MEASURES: Mapping[str, Callable[[Task, Sequence[int]], Iterator[Json | None]]] = {
    MEASURE.name: looked_at,
    SHIFT.name: shifted_at,
}

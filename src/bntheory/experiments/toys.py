"""Toy regressors in the laboratory: trained by full-batch gradient descent, measured like networks, kept in the same store.

A toy is an arm like any other: its kind names the model, its options say how large it is and whether it is normalised. The loss is
that of :class:`bntheory.models.normalised_regressor.NormalisedRegressor`, half the mean squared error in float64, on data whose mean
square is 1: guessing 0 costs 1/2. A record holds what the measure "linearity" holds of networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bntheory.evidence.closure import package, place_of
from bntheory.evidence.record import Record
from bntheory.evidence.study import Study
from bntheory.experiments.experiment import (
    Arm,
    Conditions,
    Experiment,
    Measure,
    Protocol,
    Task,
    freshest,
    missing,
    needed,
)
from bntheory.experiments.quantities import merged
from bntheory.experiments.runs import Protocol as Shared
from bntheory.experiments.runs import Run, store_of
from bntheory.models.gradient_descent import train
from bntheory.models.matrix_factorisation import MatrixFactorisation, low_rank_data
from bntheory.models.normalised_regressor import NormalisedRegressor
from bntheory.models.tensor_train import TensorTrain, tensor_train_data
from bntheory.smoothness.eigenpairs import extreme_eigenpairs
from bntheory.smoothness.protocol import Landscape
from bntheory.smoothness.scale_free import linearity_error

__all__ = ["GUESSING", "KINDS", "toy_runs"]

Json = dict[str, Any]
#: The loss of guessing 0.
GUESSING = 0.5
#: Relative accuracy of the eigenvalues, far below the differences that matter.
_MEASURE = Measure("linearity", {"tolerance": 1e-3, "fraction": 0.1})


def tensor_train(
    seed: int, *, samples: int, features: int, rank: int, normalise: bool
) -> NormalisedRegressor:
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


def toy_runs(
    study: Study, arms: Sequence[Arm], record: Sequence[int], seeds: int, what: str, *, first: int = 0
) -> list[dict[str, Run]]:
    """The runs of all arms by name, seed after seed, looked at after the steps ``record``; made where the study's store lacks them."""
    numbers = tuple(1000 * study.seed + first + index for index in range(seeds))
    shared = Protocol(0, 0, tuple(record), loss="squared-error", dtype="float64")
    experiment = Experiment(what, tuple(arms), shared, (_MEASURE,), numbers)
    now = _conditions()
    asked = list(needed(experiment, now))
    store = store_of(study)
    found = freshest(asked, store.read().versions)
    left = {n.task.name: n.task for n in missing(asked, found)}
    if left:
        with store.lock(wait=True):
            for done, task in enumerate(left.values()):
                store.append(list(_recorded(task, shared, now)))
                study.progress((done + 1) / len(left), f"{what}, seed {task.seed}")
        found = freshest(asked, store.read().versions)
    points: dict[tuple[str, int], dict[int, Json]] = {}
    for point in merged(asked, found):
        if not point["diverged"]:
            points.setdefault((point["arm"], point["seed"]), {})[point["step"]] = point
    protocol = Shared(shared.at[-1], shared.at, batch_size=0, measured=0, data="")
    return [
        {arm.name: Run(arm, protocol, seed, points.get((arm.name, seed), {}), 0.0) for arm in arms}
        for seed in numbers
    ]


def _conditions() -> Conditions:
    import torch

    code = package().fingerprint([place_of(_recorded)])
    versions = {"torch": str(torch.__version__), "numpy": np.__version__}
    return Conditions({"name": "drawn from the seed"}, "cpu", versions, {_MEASURE.name: code})


def _recorded(task: Task, protocol: Protocol, now: Conditions) -> Iterator[Record]:
    """One record a step, up to the one at which the run had diverged."""
    model = KINDS[task.arm.kind](task.seed, **task.arm.options)
    run = train(
        model,
        model.initial(task.seed),
        learning_rate=task.arm.learning_rate,
        steps=protocol.at[-1],
        points=None,
    )
    place = {int(step): i for i, step in enumerate(run.steps)}
    for step in protocol.at:
        diverged = step not in place
        values: Json = {}
        if not diverged:
            x = run.points[place[step]]
            values = {"own": _point(model, x, task.seed)}
            if model.normalise:
                values["twin"] = _point(model.frozen_twin(x), x, task.seed)
        yield Record(
            task.arm.network,
            task.arm.name,
            task.seed,
            step,
            _MEASURE.name,
            now.setting(task.arm, protocol, _MEASURE),
            {"linearity": values} if values else {},
            diverged,
            now.made(_MEASURE.name),
        )
        if diverged:
            return


def _point(landscape: Landscape, x: np.ndarray[Any, Any], seed: int) -> Json:
    try:
        top = extreme_eigenpairs(
            landscape, x, which="top", tolerance=_MEASURE.options["tolerance"], seed=seed
        )[0]
        error = linearity_error(landscape, x, fraction=_MEASURE.options["fraction"]).value
    except (ValueError, RuntimeError) as why:  # no gradient or no loss left; no convergence
        return {"loss": landscape.value(x), "refused": str(why)}
    return {
        "loss": landscape.value(x),
        "gradient_norm": float(np.linalg.norm(landscape.grad(x))),
        "top": top.value,
        "linearity_error": error if np.isfinite(error) else None,
        "refused": None,
    }

"""The post "Rethinking Batch Normalization" (2019), its discussion: does any of it hold outside neural networks?

Two models without activations and without layers of weights that multiply activations of a layer before: a tensor train
(matrix product state) whose weights multiply the inputs site by site, and a matrix factorisation. Each is trained by
full-batch gradient descent with and without batch normalisation, at the best of the same learning rates, and measured along
its run: against the frozen-statistics twin at the same points, and against the standard model where it has the same loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.experiments.matched import run_effects, smoothing_checks

if TYPE_CHECKING:
    from bntheory.models.normalised_regressor import NormalisedRegressor

KEY = "lesswrong2019"
DOMAIN_READING = (
    "'it' is that batch normalisation lowers the curvature of the loss along training beyond what its scaling does: the largest Hessian "
    "eigenvalue against the frozen-statistics twin at the same point, and against the standard model at the same loss; the mean over a "
    "run of log10 of the ratio, one number a seed"
)


def _compare(
    study: Study, build: Callable[[bool, int], NormalisedRegressor], rates: Sequence[float], what: str
) -> list[Check]:
    from bntheory.models.smoothness_along import best_run, smoothness_along

    seeds = study.choose(quick=3, normal=8, thorough=24)
    steps = study.choose(quick=50, normal=120, thorough=400)
    rows = []
    for index in range(seeds):
        seed = 1000 * study.seed + index
        normalised, standard = build(True, seed), build(False, seed)
        run, plain = (best_run(model, rates, steps=steps, seed=seed) for model in (normalised, standard))
        own = smoothness_along(lambda x, model=normalised: model, run, points=6)  # type: ignore[misc]
        twin = smoothness_along(normalised.frozen_twin, run, points=6)
        other = smoothness_along(lambda x, model=standard: model, plain, points=8)  # type: ignore[misc]
        lowest = float(run.all_losses.min()), float(plain.all_losses.min())
        rows.append(run_effects(own.after_start(), twin.after_start(), other, lowest))
        study.progress((index + 1) / seeds, f"{what}, seed {seed}")
    scope = f"{steps} steps at the best of the learning rates {', '.join(f'{r:g}' for r in rates)}"
    return smoothing_checks(rows, what, scope, {"seed": study.seed})


@claim(
    "lesswrong2019.domain.tensor-train",
    kind="experiment",
    source=Source(KEY, "discussion", printed=False),
    statement=r"\text{it holds for a tensor train (matrix product state) regressor trained by gradient descent}",
    reading=DOMAIN_READING,
    note="Bonds normalised over the batch; 5 features, bond dimension 3, target a random tensor train of bond dimension 2.",
)
def tensor_train_domain(study: Study) -> list[Check]:
    from bntheory.models.tensor_train import TensorTrain, tensor_train_data

    def build(normalise: bool, seed: int) -> NormalisedRegressor:
        inputs, target = tensor_train_data(96, 5, seed=seed)
        return TensorTrain(inputs, target, rank=3, normalise=normalise)

    return _compare(study, build, (0.1, 0.3, 1.0), "tensor train")


@claim(
    "lesswrong2019.domain.matrix-factorisation",
    kind="experiment",
    source=Source(KEY, "discussion", printed=False),
    statement=r"\text{it holds for a matrix factorisation trained by gradient descent}",
    reading=DOMAIN_READING,
    note="Row factors normalised over the observed entries; a 20 x 15 matrix of rank 2, 60 % observed, factors of rank 3.",
)
def matrix_factorisation_domain(study: Study) -> list[Check]:
    from bntheory.models.matrix_factorisation import MatrixFactorisation, low_rank_data

    def build(normalise: bool, seed: int) -> NormalisedRegressor:
        rows, columns, values = low_rank_data(seed=seed)
        return MatrixFactorisation(rows, columns, values, shape=(20, 15), rank=3, normalise=normalise)

    return _compare(study, build, (1.0, 3.0, 10.0), "matrix factorisation")

"""The post "Rethinking Batch Normalization" (2019), its discussion: does any of it hold outside neural networks?

Two models without activations and without layers of weights that multiply activations of a layer before: a tensor train
(matrix product state) whose weights multiply the inputs site by site, and a matrix factorisation. Each is trained by
full-batch gradient descent with and without batch normalisation, at the best of the same learning rates, and measured along
its run: against the frozen-statistics twin at the same points, and against the standard model where it has the same loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bntheory.claims._seeds import over_seeds
from bntheory.claims.core import Source, Study, claim
from bntheory.claims.evidence import Check

if TYPE_CHECKING:
    from bntheory.models.normalised_regressor import NormalisedRegressor

KEY = "lesswrong2019"
_READING = (
    "'it' is that batch normalisation lowers the curvature of the loss along training beyond what its scaling does: the largest Hessian "
    "eigenvalue against the frozen-statistics twin at the same point, and against the standard model at the same loss; the mean over a "
    "run of log10 of the ratio, one number a seed"
)


def _compare(
    study: Study, build: Callable[[bool, int], NormalisedRegressor], rates: Sequence[float], what: str
) -> list[Check]:
    import math

    import numpy as np

    from bntheory.models.smoothness_along import best_run, smoothness_along

    seeds = study.choose(quick=3, normal=8, thorough=24)
    steps = study.choose(quick=50, normal=120, thorough=400)
    numbers: dict[str, list[float]] = {
        name: []
        for name in (
            "curvature, twin",
            "curvature, standard",
            "relative curvature, twin",
            "gradient norm, twin",
            "loss, standard",
        )
    }
    for index in range(seeds):
        seed = 1000 * study.seed + index
        normalised, standard = build(True, seed), build(False, seed)
        run, plain = (best_run(model, rates, steps=steps, seed=seed) for model in (normalised, standard))
        own = smoothness_along(lambda x, model=normalised: model, run, points=6)  # type: ignore[misc]
        twin = smoothness_along(normalised.frozen_twin, run, points=6)
        other = smoothness_along(lambda x, model=standard: model, plain, points=8)  # type: ignore[misc]
        # the first point is the initialisation, the same for every learning rate: it is no part of training
        after = slice(1, None)
        for name, left, right in [
            ("curvature, twin", own.top_eigenvalues, twin.top_eigenvalues),
            ("relative curvature, twin", own.relative_curvatures, twin.relative_curvatures),
            ("gradient norm, twin", own.gradient_norms, twin.gradient_norms),
        ]:
            numbers[name].append(float(np.mean(np.log10(left[after] / right[after]))))
        matched = [
            math.log10(top / other.at_loss("top_eigenvalues", loss))
            for loss, top in zip(own.losses[after], own.top_eigenvalues[after], strict=True)
            if other.at_loss("top_eigenvalues", loss) > 0
        ]
        if matched:
            numbers["curvature, standard"].append(float(np.mean(matched)))
        numbers["loss, standard"].append(math.log10(run.all_losses.min() / plain.all_losses.min()))
        study.progress((index + 1) / seeds, f"{what}, seed {seed}")

    checks = []
    for name, label, decisive in [
        ("curvature, twin", "log10 of the largest Hessian eigenvalue over the frozen twin's", True),
        (
            "curvature, standard",
            "log10 of the largest Hessian eigenvalue over the standard model's at equal loss",
            True,
        ),
        ("relative curvature, twin", "log10 of the relative curvature over the frozen twin's", False),
        ("gradient norm, twin", "log10 of the gradient norm over the frozen twin's", False),
        ("loss, standard", "log10 of the lowest loss over the standard model's", False),
    ]:
        checks.append(
            over_seeds(
                f"{label}, {what}",
                numbers[name],
                "below",
                0.0,
                f"{steps} steps at the best of the learning rates {', '.join(f'{r:g}' for r in rates)}",
                witness={"seed": study.seed},
                decisive=decisive,
            )
        )
    return checks


@claim(
    "lesswrong2019.domain.tensor-train",
    kind="experiment",
    source=Source(KEY, "discussion"),
    statement=r"\text{it holds for a tensor train (matrix product state) regressor trained by gradient descent}",
    reading=_READING,
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
    source=Source(KEY, "discussion"),
    statement=r"\text{it holds for a matrix factorisation trained by gradient descent}",
    reading=_READING,
    note="Row factors normalised over the observed entries; a 20 x 15 matrix of rank 2, 60 % observed, factors of rank 3.",
)
def matrix_factorisation_domain(study: Study) -> list[Check]:
    from bntheory.models.matrix_factorisation import MatrixFactorisation, low_rank_data

    def build(normalise: bool, seed: int) -> NormalisedRegressor:
        rows, columns, values = low_rank_data(seed=seed)
        return MatrixFactorisation(rows, columns, values, shape=(20, 15), rank=3, normalise=normalise)

    return _compare(study, build, (1.0, 3.0, 10.0), "matrix factorisation")

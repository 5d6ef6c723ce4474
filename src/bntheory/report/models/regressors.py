"""Figures of the regressors with optional normalisation: deep linear network, tensor train, matrix factorisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bntheory.report.models.figure import ModelFigure
from bntheory.report.style import COLOURS, legend_below, new_grid

__all__ = ["deep_linear", "matrix_factorisation", "tensor_train"]


def deep_linear(
    *, layers: int = 25, width: int = 10, samples: int = 200, steps: int = 250, seed: int = 0
) -> ModelFigure:
    """A deep linear network, by default 25 layers of 10 x 10, with and without BN (Santurkar et al. 2018, figure 4).

    ``prediction = BN(... BN(X W_1) W_2 ...) W_L``, full-batch gradient descent on half the mean squared error, target linear
    in X. Left: the loss at the best of three learning rates. Right: relative curvature along the runs, which no rescaling
    of the loss changes.
    """
    from bntheory.models.deep_linear import DeepLinear, linear_data

    inputs, target = linear_data(samples, width, seed=seed)
    return _regressor(
        f"Deep linear network, {layers} layers of {width} × {width}",
        lambda normalise: DeepLinear(inputs, target, layers=layers, normalise=normalise),
        (0.01, 0.1, 0.5),
        steps,
        seed,
    )


def tensor_train(
    *, features: int = 6, rank: int = 4, samples: int = 256, steps: int = 300, seed: int = 0
) -> ModelFigure:
    """A tensor-train (matrix product state) regressor with and without BN on its bonds.

    ``h_j = h_{j-1}(A_j[:,0,:] + x_j A_j[:,1,:])``, ``prediction = h_F a``; the target is a random tensor train of rank 2.
    Left: the loss under gradient descent at the best of four learning rates. Right: relative curvature along the runs.
    """
    from bntheory.models.tensor_train import TensorTrain, tensor_train_data

    inputs, target = tensor_train_data(samples, features, seed=seed)
    return _regressor(
        f"Tensor train, {features} sites of rank {rank}",
        lambda normalise: TensorTrain(inputs, target, rank=rank, normalise=normalise),
        (0.03, 0.1, 0.3, 1.0),
        steps,
        seed,
    )


def matrix_factorisation(
    *, rank: int = 3, noise: float = 0.0, steps: int = 300, seed: int = 0
) -> ModelFigure:
    """Matrix factorisation ``<u_i, v_j>`` with factors of rank ``rank``, of a 20 x 15 matrix of rank 2, with and without BN of its row factors.

    Left: the loss under gradient descent at the best of five learning rates. Right: relative curvature along the runs.
    """
    from bntheory.models.matrix_factorisation import MatrixFactorisation, low_rank_data

    rows, columns, values = low_rank_data(noise=noise, seed=seed)
    return _regressor(
        f"Factors of rank {rank}, matrix of rank 2",
        lambda normalise: MatrixFactorisation(
            rows, columns, values, shape=(20, 15), rank=rank, normalise=normalise
        ),
        (0.3, 1.0, 3.0, 10.0, 30.0),
        steps,
        seed,
    )


def _regressor(
    title: str, build: Callable[[bool], Any], rates: Sequence[float], steps: int, seed: int
) -> ModelFigure:
    from bntheory.models.smoothness_along import best_run, smoothness_along

    figure, (left, right) = new_grid(
        1, 2, [title, "Curvature that no rescaling changes"], width=5.2, height=4.4
    )
    final, found = {}, {}
    for normalise, arm, label in [(False, "standard", "standard"), (True, "batchnorm", "batch norm")]:
        model = build(normalise)
        run = best_run(model, rates, steps=steps, seed=seed)
        final[arm] = float(run.all_losses[-1])
        line = "-" if normalise else "--"
        left.plot(
            run.all_losses,
            color=COLOURS[arm],
            linestyle=line,
            label=f"{label}, learning rate {run.learning_rate:g}",
        )
        found[arm] = smoothness_along(lambda x, model=model: model, run, points=8, seed=seed)  # type: ignore[misc]
        if normalise:
            found["twin"] = smoothness_along(model.frozen_twin, run, points=8, seed=seed)
    styles = {
        "standard": ("standard", "^:"),
        "batchnorm": ("batch norm", "o-"),
        "twin": ("its frozen-statistics twin", "s--"),
    }
    for arm, smooth in found.items():
        label, style = styles[arm]
        right.plot(smooth.losses, smooth.relative_curvatures, style, color=COLOURS[arm], label=label)
    left.set(yscale="log", xlabel="step", ylabel="loss")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="loss, which training lowers to the right",
        ylabel=r"relative curvature $\lambda_{\max} f/\|\nabla f\|^2$",
    )
    right.invert_xaxis()
    legend_below(left, columns=2)
    legend_below(right, columns=2)
    own, twin = found["batchnorm"].relative_curvatures, found["twin"].relative_curvatures
    sentence = (
        f"After {steps} steps at its best learning rate the loss is {final['batchnorm']:.2g} with BN and {final['standard']:.2g} without. "
        f"Along the BN run the relative curvature is below that of the frozen-statistics twin at {int(np.sum(own < twin))} of {len(own)} "
        "points: what is left of BN's effect once rescaling cannot count."
    )
    return ModelFigure(figure, sentence)

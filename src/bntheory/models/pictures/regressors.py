"""Figures of the regressors with optional normalisation: deep linear network, tensor train, matrix factorisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bntheory.drawing import COLOURS, CaptionedFigure, legend_below, new_grid
from bntheory.errors import UserError
from bntheory.evidence.progress import Progress, silent


def deep_linear(
    *,
    layers: int = 25,
    width: int = 10,
    samples: int = 200,
    steps: int = 250,
    seed: int = 0,
    progress: Progress = silent,
) -> CaptionedFigure:
    """A deep linear network, by default 25 layers of 10 x 10, with and without BN (Santurkar et al. 2018, figure 4).

    ``prediction = BN(... BN(X W_1) W_2 ...) W_L``, full-batch gradient descent on half the mean squared error, target linear
    in X. Left: the loss, both at the largest of three learning rates at which neither diverges. Right: relative curvature along the
    runs, which no rescaling of the loss changes.
    """
    from bntheory.models.deep_linear import DeepLinear, linear_data

    inputs, target = linear_data(samples, width, seed=seed)
    return _regressor(
        f"Deep linear network, {layers} layers of {width} × {width}",
        lambda normalise: DeepLinear(inputs, target, layers=layers, normalise=normalise),
        (0.01, 0.1, 0.5),
        steps,
        seed,
        progress,
    )


def tensor_train(
    *,
    features: int = 6,
    rank: int = 4,
    samples: int = 256,
    steps: int = 300,
    seed: int = 0,
    progress: Progress = silent,
) -> CaptionedFigure:
    """A tensor-train (matrix product state) regressor with and without BN on its bonds.

    ``h_j = h_{j-1}(A_j[:,0,:] + x_j A_j[:,1,:])``, ``prediction = h_F a``; the target is a random tensor train of rank 2.
    Left: the loss, both at the largest of four learning rates at which neither diverges. Right: relative curvature along the runs.
    """
    from bntheory.models.tensor_train import TensorTrain, tensor_train_data

    inputs, target = tensor_train_data(samples, features, seed=seed)
    return _regressor(
        f"Tensor train, {features} sites of rank {rank}",
        lambda normalise: TensorTrain(inputs, target, rank=rank, normalise=normalise),
        (0.03, 0.1, 0.3, 1.0),
        steps,
        seed,
        progress,
    )


def matrix_factorisation(
    *, rank: int = 3, noise: float = 0.0, steps: int = 300, seed: int = 0, progress: Progress = silent
) -> CaptionedFigure:
    """Matrix factorisation ``<u_i, v_j>`` with factors of rank ``rank``, of a 20 x 15 matrix of rank 2, with and without BN of its row factors.

    Left: the loss, both at the largest of five learning rates at which neither diverges. Right: relative curvature along the runs.
    """
    from bntheory.models.matrix_factorisation import MatrixFactorisation, low_rank_data

    rows, columns, values = low_rank_data(noise=noise, seed=seed)
    return _regressor(
        f"Factors of rank {rank}, matrix of rank 2",
        lambda normalise: MatrixFactorisation(rows, columns, values, shape=(20, 15), rank=rank, normalise=normalise),
        (0.3, 1.0, 3.0, 10.0, 30.0),
        steps,
        seed,
        progress,
    )


def _regressor(
    title: str, build: Callable[[bool], Any], rates: Sequence[float], steps: int, seed: int, progress: Progress
) -> CaptionedFigure:
    from bntheory.models.gradient_descent import train
    from bntheory.models.trajectory import Outcome

    figure, (left, right) = new_grid(1, 2, [title, "Curvature that no rescaling changes"], width=5.2, height=4.4)
    models = {"standard": build(False), "batchnorm": build(True)}
    progress(0.0, "training at falling rates, until none diverges")
    for rate in sorted(rates, reverse=True):  # descent at other rates stays in places of other curvature
        runs = {
            arm: train(model, model.initial(seed), learning_rate=rate, steps=steps, points=8)
            for arm, model in models.items()
        }
        if all(run.outcome is not Outcome.DIVERGED for run in runs.values()):
            break
    else:
        raise UserError(f"steps={steps}: at every learning rate of {list(rates)} a model diverges; give fewer")
    found: dict[str, tuple[list[float], list[float]]] = {}
    for arm, run in runs.items():
        line = "-" if arm == "batchnorm" else "--"
        left.plot(run.all_losses, color=COLOURS[arm], linestyle=line, label=_LABELS[arm][0])
        progress(0.3 + 0.2 * len(found), f"curvature, {_LABELS[arm][0]}")
        model = models[arm]
        found[arm] = _relative_curvatures(run, model, seed)
        if arm == "batchnorm":
            found["twin"] = _relative_curvatures(run, model, seed, twin=True)
    for arm, (losses, values) in found.items():
        label, style = _LABELS[arm]
        right.plot(losses, values, style, color=COLOURS[arm], label=label)
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
    own, twin = np.array(found["batchnorm"][1]), np.array(found["twin"][1])
    end = {arm: float(run.all_losses[-1]) for arm, run in runs.items()}
    sentence = (
        f"After {steps} steps at learning rate {rate:g}, the largest of those tried at which neither diverges, the loss is "
        f"{end['batchnorm']:.2g} with BN and {end['standard']:.2g} without. Along the BN run the relative curvature is below that of the "
        f"frozen-statistics twin at {int(np.sum(own < twin))} of {len(own)} points: what is left of BN's effect once rescaling cannot count."
    )
    return CaptionedFigure(figure, sentence)


_LABELS = {
    "standard": ("standard", "^:"),
    "batchnorm": ("batch norm", "o-"),
    "twin": ("its frozen-statistics twin", "s--"),
}


def _relative_curvatures(run: Any, model: Any, seed: int, *, twin: bool = False) -> tuple[list[float], list[float]]:
    """(losses, relative curvatures) at the recorded points that have a loss and a gradient: of the model, or of its twin at each."""
    from bntheory.smoothness import relative_curvature

    usable = [i for i in range(len(run.points)) if run.losses[i] > 0 and run.gradient_norms[i] > 0]
    points = [run.points[i] for i in usable]
    landscapes = [model.frozen_twin(x) if twin else model for x in points]
    values = [relative_curvature(f, x, seed=seed).value for f, x in zip(landscapes, points, strict=True)]
    return [float(run.losses[i]) for i in usable], values

"""All drawn models by name, as ``bntheory model NAME`` offers them."""

from __future__ import annotations

from collections.abc import Callable

from bntheory.report.models.descent import ignored_statistics, least_squares, slope
from bntheory.report.models.figure import ModelFigure
from bntheory.report.models.initialisation import deep_random
from bntheory.report.models.regressors import deep_linear, matrix_factorisation, tensor_train
from bntheory.report.models.spectra import conditioning, fisher, layer_jacobian, mean_field
from bntheory.report.models.sphere import exponential_lr, scale_invariant, spherical_sharpness, weight_decay
from bntheory.report.models.training import adamw, logistic, periodic, projected_descent

__all__ = ["MODELS"]

MODELS: dict[str, Callable[..., ModelFigure]] = {
    "least-squares": least_squares,
    "scale-invariant": scale_invariant,
    "weight-decay": weight_decay,
    "exponential-lr": exponential_lr,
    "spherical-sharpness": spherical_sharpness,
    "ignored-statistics": ignored_statistics,
    "slope": slope,
    "adamw": adamw,
    "logistic": logistic,
    "projected-descent": projected_descent,
    "periodic": periodic,
    "mean-field": mean_field,
    "conditioning": conditioning,
    "fisher": fisher,
    "layer-jacobian": layer_jacobian,
    "deep-random": deep_random,
    "deep-linear": deep_linear,
    "tensor-train": tensor_train,
    "matrix-factorisation": matrix_factorisation,
}

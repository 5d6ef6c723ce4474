"""All drawn models and pictures by name, as ``bntheory model NAME``, ``bntheory smooth`` and ``bntheory.models.show`` offer them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from bntheory.drawing import CaptionedFigure
from bntheory.errors import UserError
from bntheory.models.pictures.descent import ignored_statistics, least_squares, slope
from bntheory.models.pictures.initialisation import deep_random
from bntheory.models.pictures.limits import check_parameters
from bntheory.models.pictures.regressors import deep_linear, matrix_factorisation, tensor_train
from bntheory.models.pictures.smoothness import rough_layer, single_unit, two_lipschitz
from bntheory.models.pictures.spectra import conditioning, fisher, layer_jacobian, mean_field
from bntheory.models.pictures.sphere import exponential_lr, scale_invariant, spherical_sharpness, weight_decay
from bntheory.models.pictures.training import adamw, logistic, periodic, projected_descent

#: what ``bntheory smooth --example`` draws
SMOOTH: dict[str, Callable[..., CaptionedFigure]] = {
    "single-unit": single_unit,
    "two-lipschitz": two_lipschitz,
    "rough-layer": rough_layer,
}
MODELS: dict[str, Callable[..., CaptionedFigure]] = {
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


def picture(name: str, **parameters: Any) -> CaptionedFigure:
    """The picture of this name with these parameters, which are those of ``bntheory model NAME --help``. UserError for what is not known."""
    every = {**SMOOTH, **MODELS}
    if name not in every:
        raise UserError(f"there is no picture {name!r}; there are {', '.join(every)}")
    known = inspect.signature(every[name]).parameters
    for parameter in parameters:
        if parameter not in known:
            raise UserError(f"{name} has no parameter {parameter!r}; it has {', '.join(known)}")
    check_parameters(name, parameters)
    return every[name](**parameters)

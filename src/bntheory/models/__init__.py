"""Analytic toy models with exact dynamics, each small, each saying something about normalisation that can be tested.

Here live least squares with BN and its dynamics, scale-invariant losses with weight decay, ignored statistics, the
one-dimensional slope, mean-field gradient propagation, conditioning, Fisher spectra, layer Jacobians, and regressors
that need not be neural networks (deep linear, tensor train, matrix factorisation). A model is a landscape or a
trajectory; networks of ``nn.Module`` s live in :mod:`bntheory.bridge`, claims about models in :mod:`bntheory.claims`.
Names load on first use, so importing the room is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "trajectory": "Outcome Trajectories",
    "least_squares": "LeastSquares",
    "least_squares_dynamics": "bngd kohler_descent trap_certificate",
    "scale_invariant": "CircleOfMinima RayleighPower ScaleInvariantLoss descend",
    "weight_decay": "simulate_equilibrium",
    "exponential_lr": "ExponentialSchedule compare_runs exponential_schedule",
    "spherical_sharpness": "edge_run edge_start",
    "ignored_statistics": "ignored_mean_descent network_run",
    "activations": "ACTIVATIONS Activation activation leaky_relu",
    "mean_field": "leaky_relu_rate linear_rate overflow_depth relu_limit relu_rate residual_growth",
    "mean_field_quadrature": "rate_by_quadrature",
    "mean_field_monte_carlo": "depth_profile monte_carlo_limit monte_carlo_rate residual_profile",
    "conditioning": "best_diagonal_scaling condition_number",
    "fisher": "RandomNetwork fisher_scaling top_eigenvalue",
    "normalised_regressor": "NormalisedRegressor",
    "deep_linear": "DeepLinear linear_data",
    "tensor_train": "TensorTrain tensor_train_data",
    "matrix_factorisation": "MatrixFactorisation low_rank_data",
    "gradient_descent": "Descent train",
    "covariate_shift": "CovariateShift",
}
# Functions that share their module's name (conditioning, covariate_shift, ...) are imported from the module.
_NAMES = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = sorted([*_NAMES, "show"])


def show(name: str, **parameters: Any) -> Any:
    """The picture of a model, as a matplotlib Figure: ``show("slope")``, ``show("slope", smoothing=1.0)``.

    The names are those of ``bntheory model --help`` and, of ``bntheory smooth``, single-unit, two-lipschitz and
    rough-layer; parameters are the options of that command. In a notebook the figure is shown by being the cell's last
    value; elsewhere ``figure.savefig("slope.png")``. Raises UserError for a name or parameter that there is not.
    """
    from bntheory.models.pictures.catalogue import picture

    return picture(name, **parameters).figure


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'bntheory.models' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)

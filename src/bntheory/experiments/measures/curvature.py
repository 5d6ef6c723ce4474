"""The Hessian's spectrum, and what no rescaling of the loss changes; of the network and of its frozen-statistics twin."""

from __future__ import annotations

import torch
from torch import nn

from bntheory.bridge.curvature import hessian, top_eigenvalues
from bntheory.bridge.networks.evaluation import flat, loss_and_gradients
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.networks.twins import frozen_twin
from bntheory.bridge.probes.scale_free_point import scale_free_point
from bntheory.experiments.measures.landscape import along
from bntheory.experiments.measures.situation import Json, Options, Situation

__all__ = ["curvature", "scale_free", "twin"]


def curvature(at: Situation, options: Options) -> Json:
    """The ends of the Hessian's spectrum."""
    return curvature_or_why(at.model, at, options)


def scale_free(at: Situation, options: Options) -> Json:
    """What no rescaling of the loss changes."""
    return {"scale_free": scale_free_point(at.model, at.loss, at.batch(options["batch_size"]))}


def twin(at: Situation, options: Options) -> Json:
    """All of the above of the frozen-statistics twin.

    It is made on the very batch on which it is measured, the smaller one of the curvature included, since only there its outputs
    are the network's own.
    """
    small = at.batch(options["batch_size"])
    near = frozen_twin(at.model, small[0])
    return {
        "twin": {
            **along(frozen_twin(at.model, at.batch()[0]), at, at.batch(), options),
            **curvature_or_why(near, at, options),
            "scale_free": scale_free_point(near, at.loss, small),
        }
    }


def curvature_or_why(model: nn.Module, at: Situation, options: Options) -> Json:
    """The curvature; or, where the operator refuses (asymmetric beyond rounding, as on the brink of overflow), the reason."""
    try:
        return {"curvature": _spectrum_ends(model, at, options), "curvature_refused": None}
    except ValueError as error:
        return {"curvature": None, "curvature_refused": str(error)}


def _spectrum_ends(model: nn.Module, at: Situation, options: Options) -> Json:
    batch = at.batch(options["batch_size"])
    with state_guard(model, parameters=False):
        loss, gradients = loss_and_gradients(model, at.loss, batch)
    with hessian(model, at.loss, batch, mode="current") as operator:
        ends = top_eigenvalues(
            operator,
            which="both",
            tol=options["tolerance"],
            seed=at.task.seed,
            max_products=options["max_products"],
        )
    return {
        "loss": float(loss),
        "gradient_norm": float(torch.linalg.vector_norm(flat(gradients))),
        "top": ends.top,
        "top_error": float(ends.errors[0]),
        "top_residual": float(ends.residuals[0]),
        "bottom": ends.bottom,
        "bottom_error": float(ends.errors[1]),
        "bottom_residual": float(ends.residuals[1]),
        "converged": ends.converged,
        "products": ends.products,
        "symmetry_defect": ends.symmetry_defect,
        "batch_size": options["batch_size"],
    }

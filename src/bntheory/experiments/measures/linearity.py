"""Is it more than scaling? A point of training, its frozen twin, and the twin with other weights in front of every
batch norm.

Each is known by its loss, its gradient norm, the largest eigenvalue and the spectral norm of its Hessian, and by the
relative error of the linear prediction for the gradient step that would remove a fixed fraction of the loss. From these
come the scale-free numbers that no rescaling of the loss, or of all parameters by one factor, changes.

The twin whose weights in front of batch norm are a times as large, its constants along with them, is the same function
of other coordinates, W = a W': with D = 1/a on these weights and 1 elsewhere its gradient is D g, its Hessian D H D,
and a step s down its gradient moves the twin by -s D^2 g.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bntheory.bridge.curvature import FunctionOperator, SymmetricOperator, top_eigenvalues
from bntheory.bridge.networks.reparametrised import normalised_weight_layers
from bntheory.bridge.objective import Objective
from bntheory.errors import UserError
from bntheory.experiments.measures.situation import Json, Options, Situation, number, recorded_hessian


def linearity(at: Situation, options: Options) -> Json:
    """By name ("own", "twin", "twin x 0.5", ...): loss, gradient_norm, top, top_error, spectral_norm, converged,
    linearity_error.

    options: batch_size; tolerance, max_products of the eigenvalues; fraction of the loss that the linear prediction
    removes; twin: whether the frozen twin is measured; factors: by which the twin's weights in front of batch norm are
    multiplied, each a further one.
    """
    batch, search = at.batch(options["batch_size"]), at.search(options)
    own = Objective(at.model, at.loss, batch, mode="current")
    found = _in_coordinates(own, {"own": {}}, search, options["fraction"])
    if options["twin"]:
        coordinates: dict[str, dict[str, float]] = {"twin": {}}
        if options["factors"]:
            feeding = set(normalised_weight_layers(at.model, batch[0]).values())
            if not feeding:
                raise UserError(f"{at.task.name}: no batch norm is fed directly by a layer of weights")
            coordinates |= {f"twin x {factor:g}": dict.fromkeys(feeding, factor) for factor in options["factors"]}
        found |= _in_coordinates(own.twin(), coordinates, search, options["fraction"])
    return {"linearity": found}


def _in_coordinates(
    objective: Objective, coordinates: Mapping[str, Mapping[str, float]], search: Mapping[str, Any], fraction: float
) -> dict[str, Json]:
    """What one function is in several coordinates, each given by the factors on the weights of some layers.

    Where the operator refuses (asymmetric beyond rounding, as on the brink of overflow) there is the reason instead of
    numbers.
    """
    found: dict[str, Json] = {}
    moves: dict[str, tuple[Tensor, float]] = {}
    try:
        with recorded_hessian(objective) as operator:
            loss = float(operator.loss)
            for name, factors in coordinates.items():
                scale = torch.cat(
                    [
                        torch.full((torch.Size(shape).numel(),), 1 / factors.get(of.rpartition(".")[0], 1.0))
                        for of, shape in zip(operator.names, operator.shapes, strict=True)
                    ]
                ).to(operator.gradient)
                gradient = scale * operator.gradient
                norm = float(gradient.double().norm())  # squares of single precision overflow early
                if not 0 < norm < math.inf:
                    found[name] = {"refused": f"the gradient's norm is {norm:g}: no step can be predicted"}
                    continue
                found[name] = {"loss": loss, "gradient_norm": norm} | _ends(operator, scale, search)
                promised = fraction * loss
                moves[name] = (scale * gradient * (promised / norm**2), promised)
    except ValueError as error:
        return {name: {"refused": str(error)} for name in coordinates}
    for name, (move, promised) in moves.items():
        there = _loss_after(objective, move)
        found[name]["linearity_error"] = number(abs(there - (loss - promised)) / promised)
    return found


def _ends(operator: SymmetricOperator, scale: Tensor, search: Mapping[str, Any]) -> Json:
    def product(v: Tensor) -> Tensor:
        return scale * operator.apply(scale * v)

    scaled = FunctionOperator(product, operator.size, dtype=operator.dtype, device=operator.device)
    try:
        extreme = top = top_eigenvalues(scaled, which="LM", **search)
        if extreme.top <= 0:  # the largest in magnitude is at the other end
            top = top_eigenvalues(scaled, which="LA", **search)
    except ValueError as error:
        return {"refused": str(error)}
    return {
        "top": top.top,
        "top_error": number(float(top.errors[0])),
        "spectral_norm": abs(extreme.top),
        "converged": top.converged and extreme.converged,
        "refused": None,
    }


@torch.no_grad()
def _loss_after(objective: Objective, move: Tensor) -> float:
    """The loss with ``move`` taken off the parameters, to the precision of the network."""
    parameters = list(objective.parameters.values())
    with objective.movable():
        for p, part in zip(parameters, torch.split(move, [p.numel() for p in parameters]), strict=True):
            p.sub_(part.reshape(p.shape))
        return objective.loss_value()

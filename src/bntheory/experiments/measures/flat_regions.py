"""Where a network does not bend and where it does not respond: its affine defect along the gradient, and units in flat
regions.

The affine defect survives ReLU, whose kinks make every second derivative along a finite step a matter of luck. Units in
flat regions pass no gradient; the *counterfactual update* is the step that the arm would take now, made on a copy of
the weights and taken back.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from bntheory.bridge.networks.evaluation import loss_and_gradients, trainable
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.probes.activation_moments import NONLINEARITIES
from bntheory.bridge.probes.network_landscape import NetworkLandscape
from bntheory.errors import UserError
from bntheory.experiments.measures.situation import Json, Options, Situation, number
from bntheory.smoothness.affine_defect import best_affine_fit
from bntheory.smoothness.restriction import line

#: Of the segment: an even function's fit touches at both ends and in the middle, and a kink anywhere is met within a
#: sixtieth.
_POINTS = 65


def affine_defect(at: Situation, options: Options) -> Json:
    """How far the loss is from affine on the segment of half-length r about the point, along the gradient.

    options: batch_size; steps: radii in lengths of the arm's plain gradient step; twin: whether that of the
    frozen-statistics twin is measured along its own gradient too. Values by network and radius: ``radius``, ``defect``
    E(r) (a lower bound: that on 65 even points), ``scaled`` = 2 E/r^2, to be compared with a second derivative. In
    float64.
    """
    batch = at.batch(options["batch_size"])
    modes = {"own": "train", **({"twin": "frozen"} if options["twin"] else {})}
    places = np.linspace(-1.0, 1.0, _POINTS)
    found: Json = {}
    for name, mode in modes.items():
        landscape = NetworkLandscape(at.model, at.loss, batch, mode=mode)
        gradient = landscape.grad(landscape.point)
        length = float((gradient**2).sum() ** 0.5)
        segment = line(landscape, landscape.point, gradient)
        found[name] = {}
        for steps in options["steps"]:
            radius = steps * at.task.arm.learning_rate * length
            values = np.array([segment.value(np.array([radius * t])) for t in places])
            defect = best_affine_fit(places[:, None], values)[1] if np.isfinite(values).all() else math.inf
            found[name][f"{steps:g}"] = {
                "radius": radius,
                "defect": number(defect),
                "scaled": number(2 * defect / radius**2),
            }
    return {"affine_defect": found}


def saturation(at: Situation, options: Options) -> Json:
    """The share of units (times examples and positions) in flat regions, before and after the counterfactual update, by
    nonlinearity.

    options: batch_size of the measured batch; flat: below which absolute slope of its nonlinearity a unit counts as
    flat. The update is the plain gradient step of the arm's rate on the batch of the step. ``moved``: the share that is
    flat on one side of it alone.

    Raises UserError for a network without nonlinearities.
    """
    inputs, flat = at.batch(options["batch_size"])[0], float(options["flat"])
    before = _flat_units(at.model, inputs, flat)
    if not before:
        raise UserError(f"saturation: {type(at.model).__name__} has no nonlinearity that could be flat")
    parameters = list(trainable(at.model).values())
    with state_guard(at.model):
        _, gradients = loss_and_gradients(at.model, at.loss, at.training_batch(), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=at.task.arm.learning_rate)
        after = _flat_units(at.model, inputs, flat)
    return {
        "saturation": {
            "places": list(before),
            "before": [float(b.double().mean()) for b in before.values()],
            "after": [float(a.double().mean()) for a in after.values()],
            "moved": [float((before[n] != after[n]).double().mean()) for n in before],
        }
    }


def _flat_units(model: nn.Module, inputs: Tensor, flat: float) -> dict[str, Tensor]:
    """By nonlinearity, whether the slope at each of its inputs is below ``flat`` in absolute value."""
    found: dict[str, Tensor] = {}

    def observe(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            with torch.enable_grad():
                y = arguments[0].detach().requires_grad_()
                (slope,) = torch.autograd.grad(type(module).forward(module, y).sum(), y)
            found[name] = slope.abs() < flat

        module.register_forward_pre_hook(hook)

    with state_guard(model, parameters=False), torch.no_grad():  # which takes the hooks out again
        for name, module in model.named_modules():
            if isinstance(module, NONLINEARITIES):
                observe(name, module)
        model(inputs)
    return found

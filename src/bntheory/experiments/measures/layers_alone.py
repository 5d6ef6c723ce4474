"""What the layers one by one say of the curvature that batch norm takes away, beside what the whole network has."""

from __future__ import annotations

import math

from torch import Tensor

from bntheory.bridge.curvature import top_eigenvalues
from bntheory.bridge.curvature.linear import FunctionOperator
from bntheory.bridge.networks.twins import frozen_twin
from bntheory.bridge.probes.capture import capture
from bntheory.bridge.probes.captured import CapturedLayer
from bntheory.experiments.measures.situation import Json, Options, Situation, recorded_hessian


def layers_alone(at: Situation, options: Options) -> Json:
    """ "network": the largest eigenvalues of the network's Hessian and of its frozen twin's; "layers": those of each
    layer's own Hessian, d2L_hat/dy2 over all of its units, and of the same layer with its statistics frozen,
    (gamma/sigma) H (gamma/sigma).

    options: batch_size, tolerance.
    """
    batch, tolerance = at.batch(options["batch_size"]), options["tolerance"]
    network = [
        top_eigenvalues(recorded_hessian(model, at.loss, batch), tol=tolerance, stop="estimate").top
        for model in (at.model, frozen_twin(at.model, batch[0]))
    ]
    layers = [_alive_and_frozen(layer, tolerance) for layer in capture(at.model, at.loss, batch)]
    return {"layers_alone": {"network": network, "layers": layers}}


def _alive_and_frozen(layer: CapturedLayer, tolerance: float) -> list[float]:
    form, shape = layer.closed_form(), layer.y.shape
    slope = form.gamma / form.sigma

    def alive(v: Tensor) -> Tensor:
        return layer.whole_input_hess(v.view(shape)).flatten()

    def frozen(v: Tensor) -> Tensor:
        product: Tensor = slope * layer.whole_hess(slope * v.view(shape))
        return product.flatten()

    return [
        top_eigenvalues(
            FunctionOperator(product, math.prod(shape), dtype=layer.y.dtype, device=layer.y.device),
            tol=tolerance,
            stop="estimate",
        ).top
        for product in (alive, frozen)
    ]

"""Internal covariate shift by Definition 2.1, and how moments move, in one step of descent."""

from __future__ import annotations

import torch

from bntheory.bridge.networks.evaluation import loss_and_gradients, trainable
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.probes.activation_moments import activation_moments, moment_shift
from bntheory.bridge.probes.covariate_shift import covariate_shift
from bntheory.bridge.probes.identities import check_identity
from bntheory.experiments.measures.situation import Batch, Json, Options, Situation, number

__all__ = ["shift", "step_shift"]


def shift(at: Situation, options: Options) -> Json:
    """Internal covariate shift of every weight layer by Definition 2.1, and of moments, for the plain gradient step of the arm's rate."""
    found = covariate_shift(at.model, at.loss, at.batch(), learning_rate=at.task.arm.learning_rate)
    shift = {
        "layers": [s.layer for s in found],
        "l2": [number(s.l2) for s in found],
        "relative": [number(s.relative) for s in found],
        "cosine": [number(s.cosine) for s in found],
        "moments": _moments(at, at.batch(options["batch_size"])),
    }
    l2 = torch.tensor([found[0].l2], dtype=torch.float64)
    zero = torch.zeros_like(l2)
    first = check_identity(
        "first-layer-shift", found[0].layer, left=l2, right=zero, relative=l2, tolerance=zero
    )
    return {"shift": shift, "identities": [first.as_json()]}


def _moments(at: Situation, batch: Batch) -> Json:
    """How the distribution of every nonlinearity's input moves in one gradient step, in standard deviations (medians over units).

    The reading of Ioffe and Szegedy, over the same step as Definition 2.1.
    """
    model = at.model
    before = activation_moments(model, batch[0])
    parameters = list(trainable(model).values())
    with state_guard(model):
        _, gradients = loss_and_gradients(model, at.loss, batch, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=at.task.arm.learning_rate)
        after = activation_moments(model, batch[0])
    moved = moment_shift(before, after)
    return {"places": list(moved), "shift": [number(m.wasserstein) for m in moved.values()]}


def step_shift(at: Situation, options: Options) -> Json:
    """Internal covariate shift of every weight layer (Definition 2.1) for the update of this step on its own batch."""
    found = covariate_shift(at.model, at.loss, at.training_batch(), learning_rate=at.task.arm.learning_rate)
    return {
        "step_shift": {
            "layers": [s.layer for s in found],
            "l2": [number(s.l2) for s in found],
            "cosine": [number(s.cosine) for s in found],
            "gradient_norm": [number(s.gradient_norm) for s in found],
        }
    }
